/** What of an adapter's folder is published. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../errors.js';
import { requireUnchanged } from '../files/file-digests.js';
import { SafetensorsFile } from '../formats/safetensors.js';
import type { PushedFile } from '../hub/push-files.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, PROCESSOR_FILES } from '../lora/adapter-folder.js';
import { readAdapterConfig } from '../lora/read-adapter.js';
import { visionServingAdvice } from '../lora/target-modules.js';
import { modelPart, parseAdapterTensorName } from '../model/tensor-names.js';
import { type AdapterFacts, adapterSubject } from './adapter-card.js';
import { hubName, type Upload } from './upload.js';

/**
 * @param base the base model's name. Default: what the adapter was saved with
 * @throws CheckpointError if the folder holds no sound adapter; ConfigError for a base model that is a folder
 */
export async function adapterUpload(directory: string, base: string | undefined): Promise<Upload> {
  const { config, origin } = await readAdapterConfig(directory);
  const baseModel = await hubName(base ?? origin.baseModelNameOrPath, 'adapter');
  const contents = await readFacts(directory);
  const vision = contents.layers.vision + contents.layers.projector;
  return {
    files: [
      await configFile(directory, baseModel),
      { path: ADAPTER_WEIGHTS_FILE, source: join(directory, ADAPTER_WEIGHTS_FILE) },
      ...(await processorFiles(directory)),
    ],
    warnings: vision > 0 ? [visionServingAdvice(vision, vision + contents.layers.language)] : [],
    subject: (repoId) => adapterSubject({ repoId, baseModel, config, ...contents }),
  };
}

/** Files that say how the adapter's input is made, as far as the folder has them. */
async function processorFiles(directory: string): Promise<PushedFile[]> {
  const isThere = await Promise.all(
    PROCESSOR_FILES.map((name) =>
      stat(join(directory, name)).then(
        (entry) => entry.isFile(),
        () => false,
      ),
    ),
  );
  return PROCESSOR_FILES.filter((_, i) => isThere[i]).map((path) => ({ path, source: join(directory, path) }));
}

/** The configuration as it is, but for the base model's name. */
async function configFile(directory: string, baseModel: string | undefined): Promise<PushedFile> {
  const source = join(directory, ADAPTER_CONFIG_FILE);
  const text = await readFile(source, 'utf8');
  const json = JSON.parse(text) as Record<string, unknown>;
  if ((json.base_model_name_or_path ?? undefined) === baseModel) return { path: ADAPTER_CONFIG_FILE, text };
  const changed = { ...json, base_model_name_or_path: baseModel ?? null };
  return { path: ADAPTER_CONFIG_FILE, text: `${JSON.stringify(changed, null, 2)}\n` };
}

/** What the weights' header tells. Those of a checkpoint must be the ones that were written there. */
async function readFacts(directory: string): Promise<Pick<AdapterFacts, 'layers' | 'maxRank' | 'trainedParameters'>> {
  await requireUnchanged(directory, [ADAPTER_WEIGHTS_FILE]);
  const file = await SafetensorsFile.open(join(directory, ADAPTER_WEIGHTS_FILE));
  try {
    const layers = { language: 0, vision: 0, projector: 0 };
    let [maxRank, trainedParameters] = [0, 0];
    const faults: string[] = [];
    for (const { name, shape } of file.tensors.values()) {
      const parsed = parseAdapterTensorName(name);
      const part = parsed && modelPart(parsed.module);
      if (!parsed || part === undefined || part === 'other' || shape.length !== 2) {
        faults.push(`${name}: not a LoRA matrix of a linear layer`);
        continue;
      }
      trainedParameters += shape[0]! * shape[1]!;
      if (parsed.factor === 'B') continue;
      layers[part]++;
      maxRank = Math.max(maxRank, shape[0]!);
    }
    if (maxRank === 0) faults.push('there is no LoRA matrix in it');
    if (faults.length > 0) {
      throw new CheckpointError(`${file.path} is not to be published:\n  - ${faults.join('\n  - ')}`, {
        details: { path: file.path, faults },
      });
    }
    return { layers, maxRank, trainedParameters };
  } finally {
    await file.close();
  }
}
