/** The model that is planned for, by its configuration alone: no weights are read. */
import { join } from 'node:path';
import { type ChatTemplateName, namedTemplate } from '../data/chat-template.js';
import { VlmCollator } from '../data/vlm-collator.js';
import { ConfigError, reasonOf } from '../errors.js';
import { readJson } from '../files/read-json.js';
import { exists } from '../files/regular-file.js';
import { hubDownloadSchema } from '../hub/hub-options.js';
import { folderOrSnapshot } from '../hub/snapshot-download.js';
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';
import { loadProcessor, type ModelProcessor } from '../model/load.js';
import { configJsonOf, MINISTRAL_SIZES, type MinistralSize, repositoryOf } from '../model/ministral3/sizes.js';
import { parseModelConfig } from '../model/parse-config.js';
import type { PlannedModel } from './counted-model.js';

/** What is fetched of a repository: no weights. */
const SMALL_FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'processor_config.json',
  'preprocessor_config.json',
  'chat_template.*',
  'model.safetensors.index.json',
];

function isSize(model: string): model is MinistralSize {
  return (MINISTRAL_SIZES as readonly string[]).includes(model);
}

/** @param model a size, a folder with a config.json, or a name on the Hub, of which no weights are fetched */
export async function plannedModel(model: string, signal?: AbortSignal): Promise<PlannedModel> {
  if (isSize(model)) {
    const json = configJsonOf(model);
    return { name: `Ministral 3 ${model}`, config: parseModelConfig(json), tied: json.tie_word_embeddings === true };
  }
  if (!model.includes('/') && !(await exists(model))) {
    const near = nearestName(model, MINISTRAL_SIZES);
    throw new ConfigError(
      `plan: \`model\`: ${showValue(model)} is neither a size nor a folder${near ? `; did you mean "${near}"?` : ''}`,
      { hint: `Sizes are ${MINISTRAL_SIZES.join(', ')}; a name on the Hub is OWNER/NAME.`, details: { model } },
    );
  }
  const path = join(await smallFilesOf(model, ['config.json'], signal), 'config.json');
  const json = (await readJson(path).catch((cause: unknown) => {
    throw new ConfigError(`${path} cannot be read: ${reasonOf(cause)}`, {
      hint: `Give a folder with the config.json of a checkpoint, a name on the Hub, or a size: ${MINISTRAL_SIZES.join(', ')}.`,
      cause,
    });
  })) as Record<string, unknown>;
  const config = parseModelConfig(json, path);
  return { name: model, config, tied: await isTied(json, path) };
}

/** transformers ties by its flag, and this package where the checkpoint has no lm_head: its index tells, if it is there. */
async function isTied(json: Record<string, unknown>, configPath: string): Promise<boolean> {
  const index = configPath.replace(/config\.json$/, 'model.safetensors.index.json');
  if (await exists(index)) {
    const { weight_map: names = {} } = (await readJson(index)) as { weight_map?: object };
    return !Object.keys(names).some((name) => name.endsWith('lm_head.weight'));
  }
  const text = json.text_config as Record<string, unknown> | undefined;
  return (json.tie_word_embeddings ?? text?.tie_word_embeddings ?? true) === true;
}

/** The collator of a checkpoint's own tokenizer, image processor and template. @param from a folder, or a name on the Hub */
export async function collatorFrom(
  from: string,
  chatTemplate: 'own' | ChatTemplateName,
  options: { readonly maxLength?: number | undefined },
  signal?: AbortSignal,
): Promise<VlmCollator> {
  const processor = await loadProcessor(await smallFilesOf(from, ['tokenizer.json'], signal));
  return new VlmCollator({
    ...options,
    ...(options.maxLength === undefined ? {} : { overlong: 'drop' }),
    ...partsOf(processor, chatTemplate, from),
  });
}

function partsOf(processor: ModelProcessor, template: 'own' | ChatTemplateName, from: string) {
  const chatTemplate = template === 'own' ? processor.chatTemplate : namedTemplate(template, processor.tokenizer);
  if (chatTemplate) return { ...processor, chatTemplate };
  throw new ConfigError(`${from} has no chat template`, {
    hint: 'Give a `collator` with the template of the run, or `chatTemplate: "tutorial"` (--template tutorial).',
  });
}

async function smallFilesOf(name: string, needed: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  const from = isSize(name) ? repositoryOf(name) : name;
  const download = hubDownloadSchema().parse(signal ? { signal } : {});
  const { folder } = await folderOrSnapshot(from, download, {
    allowPatterns: SMALL_FILES,
    missingFrom: async (dir) => {
      const found = await Promise.all(needed.map((file) => exists(join(dir, file))));
      return needed.filter((_, i) => !found[i]);
    },
  });
  return folder;
}
