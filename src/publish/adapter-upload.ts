/** What of an adapter's folder is published, and what its page says. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../errors.js';
import { requireUnchanged } from '../files/file-digests.js';
import { SafetensorsFile } from '../formats/safetensors.js';
import type { PushedFile } from '../hub/push-files.js';
import {
  ADAPTER_CONFIG_FILE,
  ADAPTER_WEIGHTS_FILE,
  CHAT_TEMPLATE_FILE,
  PROCESSOR_FILES,
} from '../lora/adapter-folder.js';
import type { LoraConfig } from '../lora/lora-config.js';
import { readAdapterConfig } from '../lora/read-adapter.js';
import { visionServingAdvice } from '../lora/target-modules.js';
import { modelPart, parseAdapterTensorName } from '../model/tensor-names.js';
import { baseLink, type CardSubject, fence, row, usageSection } from './model-card.js';
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
    subject: (repoId, hasTemplate) => adapterSubject({ repoId, baseModel, config, hasTemplate, ...contents }),
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

/** What the weights' header says. Those of a checkpoint must be the ones that were written there. */
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

interface AdapterFacts {
  readonly repoId: string;
  readonly baseModel: string | undefined;
  readonly config: LoraConfig;
  /** Whether the chat template of the training lies beside the adapter. */
  readonly hasTemplate: boolean;
  /** Adapted layers. */
  readonly layers: { readonly language: number; readonly vision: number; readonly projector: number };
  readonly maxRank: number;
  readonly trainedParameters: number;
}

/** What the page says of an adapter. */
export function adapterSubject(facts: AdapterFacts): CardSubject {
  const { repoId, baseModel } = facts;
  return {
    repoId,
    baseModel,
    noun: 'adapter',
    introduction: `A LoRA adapter for ${baseLink(baseModel)}, trained with ministral-tune.`,
    library: 'peft',
    tags: [
      'lora',
      'peft',
      familyTag(baseModel),
      'ministral-tune',
      ...(baseModel ? [`base_model:adapter:${baseModel}`] : []),
    ],
    sections: [adapterSection(facts), usage(facts), serving(facts)],
  };
}

/** As the Hub's models of the family are tagged. */
function familyTag(baseModel: string | undefined): string {
  return /mistral-small/i.test(baseModel ?? '') ? 'mistral-small' : 'ministral-3';
}

function adapterSection({ config, layers, maxRank, trainedParameters }: AdapterFacts): string {
  const parts = Object.entries(layers).filter(([, count]) => count > 0);
  const scale = config.useRslora ? 'alpha / √r (rsLoRA)' : 'alpha / r';
  return [
    '## Adapter',
    '',
    '| | |',
    '| --- | --- |',
    row(['rank', config.r === maxRank ? String(config.r) : `${config.r}, in single layers up to ${maxRank}`]),
    row(['alpha', String(config.alpha)]),
    row(['scale', scale]),
    row(['dropout in training', String(config.dropout)]),
    row(['adapted layers', parts.map(([part, count]) => `${count} ${part}`).join(', ')]),
    row(['trained parameters', trainedParameters.toLocaleString('en-US')]),
  ].join('\n');
}

function usage({ repoId, baseModel, hasTemplate }: AdapterFacts): string {
  const base = baseModel ?? 'BASE_MODEL';
  const more = baseModel ? '' : ", { baseModel: 'BASE_MODEL' }";
  const typescript = [
    "import { fromPretrained } from 'ministral-tune';",
    '',
    `const { model, processor, adapter } = await fromPretrained('${repoId}'${more});`,
  ];
  const python = [
    ...(hasTemplate ? ['from huggingface_hub import hf_hub_download'] : []),
    'from peft import PeftModel',
    'from transformers import AutoModelForImageTextToText, AutoProcessor',
    '',
    `model = AutoModelForImageTextToText.from_pretrained("${base}", dtype="auto", device_map="auto")`,
    `model = PeftModel.from_pretrained(model, "${repoId}")`,
    `processor = AutoProcessor.from_pretrained("${base}")`,
    ...(hasTemplate
      ? [
          `with open(hf_hub_download("${repoId}", "${CHAT_TEMPLATE_FILE}")) as file:`,
          '    processor.chat_template = file.read()  # that of the training',
        ]
      : []),
  ];
  return usageSection(typescript, python);
}

/** Values of vLLM's `--max-lora-rank`. */
const VLLM_RANKS = [8, 16, 32, 64, 128, 256, 320, 512];

function serving({ repoId, baseModel, layers, maxRank, hasTemplate }: AdapterFacts): string {
  const vision = layers.vision + layers.projector;
  const rank = VLLM_RANKS.find((known) => known >= maxRank);
  const note =
    vision > 0
      ? `${vision} of the adapted layers belong to the vision tower or the projector. vLLM ignores such layers of ` +
        'Mistral 3, even with `--enable-tower-connector-lora` (as of 2026): merge the adapter into its base model first.'
      : rank === undefined
        ? `vLLM takes ranks up to ${VLLM_RANKS.at(-1)}: merge the adapter into its base model first.`
        : 'Only the language model is adapted, which vLLM serves without further switches. Its names are those of the ' +
          'Hugging Face files: that is what the format flags are for.';
  const needsMerge = vision > 0 || rank === undefined;
  const format = '--config-format hf --load-format safetensors --tokenizer-mode hf';
  const lines = needsMerge
    ? [
        `npx ministral-tune merge --adapter ${repoId} --output merged${baseModel ? '' : ' --model BASE_MODEL'}`,
        `vllm serve ./merged ${format}`,
      ].join('\n')
    : [
        `vllm serve ${baseModel ?? 'BASE_MODEL'}`,
        format,
        `--enable-lora --max-lora-rank ${rank}`,
        `--lora-modules ${repoId.split('/')[1]}=${repoId}`,
        ...(hasTemplate ? [`--chat-template ./${CHAT_TEMPLATE_FILE}`] : []),
      ].join(' \\\n  ');
  // vLLM takes the base's template otherwise, which is another prompt than that of the training.
  const fetched = hasTemplate && !needsMerge ? `hf download ${repoId} ${CHAT_TEMPLATE_FILE} --local-dir .\n` : '';
  return `### vLLM\n\n${fence(`${fetched}${lines}`, 'sh')}\n\n${note}`;
}
