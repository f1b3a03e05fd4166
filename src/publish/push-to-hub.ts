/** An adapter's folder, onto the Hub: checked, described, and uploaded as far as it changed. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { parseOptions, requirePath } from '../config.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { requireUnchanged } from '../files/file-digests.js';
import { SafetensorsFile } from '../formats/safetensors.js';
import { ownedRepoId, type PushedFile, type PushResult, pushFiles, pushFilesSchema } from '../hub/push-files.js';
import { parseRepoId, plainRepoName } from '../hub/repo-id.js';
import {
  ADAPTER_CONFIG_FILE,
  ADAPTER_WEIGHTS_FILE,
  CHAT_TEMPLATE_FILE,
  PROCESSOR_FILES,
} from '../lora/adapter-folder.js';
import { whileUploading } from '../lora/adapter-lock.js';
import { chatTemplateFields, chatTemplateText } from '../lora/chat-template-option.js';
import { readAdapterConfig } from '../lora/read-adapter.js';
import { visionServingAdvice } from '../lora/target-modules.js';
import { modelPart, parseAdapterTensorName } from '../model/tensor-names.js';
import { isReplaceable, markedCard } from './card-mark.js';
import { type AdapterFacts, modelCardSchema, picturePath, renderModelCard } from './model-card.js';

/** Options of {@link pushToHub}: names, defaults and ranges. */
export const pushToHubSchema = pushFilesSchema.extend({
  /** What the page says. Default: what can be told from the adapter alone. */
  modelCard: modelCardSchema.prefault({}),
  /**
   * Replace a README.md on the Hub that people have edited. Default false: it is kept as it is, with a warning, and
   * `kept` of the result names it.
   */
  overwriteCard: z.boolean().default(false),
  /**
   * The chat template that the adapter was trained with, or its Jinja source: uploaded as chat_template.jinja. Default:
   * that of `processor`, else the folder's.
   */
  chatTemplate: chatTemplateFields.chatTemplate,
  /** What `fromPretrained` gave: its chat template is taken. */
  processor: chatTemplateFields.processor,
});

/** What a user may write. @useDeclaredType */
export type PushToHubOptions = z.input<typeof pushToHubSchema>;

/**
 * Uploads an adapter: `adapter_config.json`, `adapter_model.safetensors`, the chat template and the files of tokenizer
 * and processor that the folder has, a README.md made from `modelCard`, and its images; nothing else in the folder.
 * The repository is made if need be, public unless `private` says otherwise. Called again with the same content it
 * commits nothing; after a failure it goes on with what is missing. A README.md that people have edited on the Hub is
 * kept, and nothing in the repository is deleted; the adapter's own files are always those of the folder. (With
 * `createPr` each call opens a pull request, until one is merged.)
 * @param directory what `saveAdapter` wrote
 * @param id `OWNER/NAME`, or a name alone for an owner that is whoever the token belongs to
 * @throws CheckpointError if the folder holds no sound adapter; ConfigError for bad options, without a token, or if the
 *   base model's name is a path of this machine; HubError, explained; the signal's reason
 */
export async function pushToHub(directory: string, id: string, options: PushToHubOptions = {}): Promise<PushResult> {
  requirePath(directory, 'pushToHub');
  const parsed = parseOptions(pushToHubSchema, options, 'pushToHub');
  // Configuration and weights are read at different times, and must be of one save.
  return whileUploading(directory, parsed, () => push(directory, id, parsed));
}

async function push(directory: string, id: string, options: z.output<typeof pushToHubSchema>): Promise<PushResult> {
  const { modelCard: card, overwriteCard, chatTemplate, processor, ...push } = options;
  const { config, origin } = await readAdapterConfig(directory);
  const baseModel = await hubName(card.baseModel ?? origin.baseModelNameOrPath);
  const template = chatTemplateText({ chatTemplate, processor });
  const contents = await readFacts(directory);
  const repoId = await ownedRepoId(id, push);
  const facts: AdapterFacts = { repoId, baseModel, config, ...contents };
  const vision = facts.layers.vision + facts.layers.projector;
  const warn = push.onWarning ?? ((line: string) => process.emitWarning(line, 'LoraWarning'));
  if (vision > 0) {
    warn(visionServingAdvice(vision, vision + facts.layers.language));
  }
  const files: PushedFile[] = [
    await configFile(directory, baseModel),
    { path: ADAPTER_WEIGHTS_FILE, source: join(directory, ADAPTER_WEIGHTS_FILE) },
    ...(template === undefined ? [] : [{ path: CHAT_TEMPLATE_FILE, text: template }]),
    ...(await processorFiles(directory, template === undefined)),
    ...card.pictures.map(({ path }) => ({ path: picturePath(path), source: path })),
    cardFile(renderModelCard(card, facts), overwriteCard),
  ];
  const names = files.map(({ path }) => path);
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length > 0)
    throw new ConfigError(`pushToHub: several pictures would become ${[...new Set(twice)].join(', ')}`);
  const commitMessage = push.commitMessage ?? 'Upload adapter with ministral-tune';
  const result = await pushFiles(repoId, files, { ...push, commitMessage });
  if (result.kept.length > 0) {
    warn(
      `${repoId}: README.md on the Hub was edited there and is kept, so it does not show what \`modelCard\` says now; ` +
        '`overwriteCard: true` replaces it',
    );
  }
  return result;
}

/** The page, in place of one that this package has made, or that has no text; others only if they may be overwritten. */
function cardFile(card: string, overwrite: boolean): PushedFile {
  const merge = (there: string): string | undefined =>
    overwrite || isReplaceable(there) ? markedCard(card, there) : undefined;
  return { path: 'README.md', text: markedCard(card), merge };
}

/** The base model's name, after checking that strangers can do something with it. */
async function hubName(name: string | undefined): Promise<string | undefined> {
  if (name === undefined) return undefined;
  const isFolder = await stat(name).then(
    (found) => found.isDirectory(),
    () => false,
  );
  try {
    if (!isFolder) return parseRepoId(plainRepoName(name));
  } catch {
    // Told below.
  }
  throw new ConfigError(`the adapter's base model "${name}" is a folder of this machine, which helps nobody else`, {
    hint: "Give the base model's name on the Hub as `modelCard: { baseModel: ... }`.",
    details: { baseModel: name },
  });
}

/** Files that say how the adapter's input is made, as far as the folder has them. */
async function processorFiles(directory: string, withTemplate: boolean): Promise<PushedFile[]> {
  const names = PROCESSOR_FILES.filter((name) => withTemplate || name !== CHAT_TEMPLATE_FILE);
  const isThere = await Promise.all(
    names.map((name) =>
      stat(join(directory, name))
        .then((entry) => entry.isFile())
        .catch(() => false),
    ),
  );
  return names.filter((_, i) => isThere[i]).map((path) => ({ path, source: join(directory, path) }));
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
async function readFacts(directory: string): Promise<Pick<AdapterFacts, 'layers' | 'maxRank' | 'trainedNumbers'>> {
  await requireUnchanged(directory, [ADAPTER_WEIGHTS_FILE]);
  const file = await SafetensorsFile.open(join(directory, ADAPTER_WEIGHTS_FILE));
  try {
    const layers = { language: 0, vision: 0, projector: 0 };
    let [maxRank, trainedNumbers] = [0, 0];
    const faults: string[] = [];
    for (const { name, shape } of file.tensors.values()) {
      const parsed = parseAdapterTensorName(name);
      const part = parsed && modelPart(parsed.module);
      if (!parsed || part === undefined || part === 'other' || shape.length !== 2) {
        faults.push(`${name}: not a LoRA matrix of a linear layer`);
        continue;
      }
      trainedNumbers += shape[0]! * shape[1]!;
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
    return { layers, maxRank, trainedNumbers };
  } finally {
    await file.close();
  }
}
