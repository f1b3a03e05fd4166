/** A model by its name on the Hub, or from a folder: downloaded if need be, loaded, with its processor. */
import { readdir } from 'node:fs/promises';
import { z } from 'zod';
import { callback, parseOptions } from '../config.js';
import type { Engine } from '../engine/engine.js';
import { INDEX_FILE, readShardIndex } from '../engine/safetensors.js';
import { type HubDownloadOptions, hubDownloadSchema } from '../hub/hub-options.js';
import { localFolder } from '../hub/repo-id.js';
import { type FileSelection, fetchSnapshot } from '../hub/snapshot-download.js';
import { loadMinistral3, loadProcessor, type Ministral3Processor, requireEngine } from './load.js';
import type { Ministral3 } from './ministral3/model.js';

/** What {@link fromPretrained} reads of a checkpoint; never the Mistral-native `consolidated.safetensors`. */
export const MODEL_FILES: readonly string[] = [
  'config.json',
  'generation_config.json',
  'model*.safetensors',
  'model.safetensors.index.json',
  'tokenizer*.json',
  'special_tokens_map.json',
  'processor_config.json',
  'preprocessor_config.json',
  'chat_template.*',
];

/** Options of {@link fromPretrained}; for a folder, those of the download but `signal` do nothing. */
export interface FromPretrainedOptions extends HubDownloadOptions {
  /** Takes the weights: an engine itself, not the promise of one. The model does not dispose of it. */
  engine: Engine;
  /** Receives what is worth knowing about the checkpoint, a line each. Default: a warning of the process. */
  onNotice?: ((line: string) => void) | undefined;
}

/** What {@link fromPretrained} gives. */
export interface Pretrained {
  /** Without an adapter: `applyLora` and `loadAdapter` put one on. */
  readonly model: Ministral3;
  /** Read from the same folder. */
  readonly processor: Ministral3Processor;
  /** Folder of the files: the one given, or a snapshot in the cache. */
  readonly folder: string;
  /** Of the snapshot; undefined for a folder of one's own. */
  readonly commit: string | undefined;
}

const schema = hubDownloadSchema.extend({
  engine: z.custom<Engine>((value) => typeof value === 'object' && value !== null, 'expected an engine'),
  onNotice: callback<string>().optional(),
});

/**
 * Loads a model and its processor. A folder is read where it is; a name such as
 * `mistralai/Ministral-3-3B-Instruct-2512-BF16` is downloaded into the cache that is shared with Python's tools, unless
 * it is there: four files at a time, resumed, checked against the Hub's digests.
 * @param idOrFolder an existing folder wins over a repository of the same name
 * @throws ConfigError for bad options; HubError, explained, if files are missing and cannot be fetched; as
 *   `loadMinistral3` and `loadProcessor` do; the signal's reason
 */
export async function fromPretrained(idOrFolder: string, options: FromPretrainedOptions): Promise<Pretrained> {
  const { engine, onNotice, ...download } = parseOptions(schema, options ?? {}, 'fromPretrained');
  requireEngine(engine, 'fromPretrained');
  const own = await localFolder(idOrFolder);
  const { folder, commit } = own
    ? { folder: own, commit: undefined }
    : await fetchSnapshot(idOrFolder, download, MODEL_SELECTION);
  // The processor is read first: it is small, and a fault in it should not wait for the weights.
  const processor = await loadProcessor(folder);
  download.signal?.throwIfAborted();
  return { model: await loadMinistral3(folder, { engine, onNotice }), processor, folder, commit };
}

const MODEL_SELECTION: FileSelection = {
  allowPatterns: MODEL_FILES,
  refuse: (paths) => {
    const has = (pattern: RegExp): boolean => paths.some((path) => pattern.test(path));
    if (has(/^config\.json$/) && has(/^model.*\.safetensors$/)) return undefined;
    if (has(/^adapter_config\.json$/))
      return 'it holds an adapter, not a model: load its base model, then `loadAdapter`';
    if (has(/^(params\.json|consolidated.*\.safetensors)$/))
      return 'it has only the Mistral-native files, which are not read';
    if (has(/\.gguf$/)) return 'it has GGUF files, which are not read: take the repository that they were made from';
    return 'it has no config.json with model*.safetensors';
  },
  missingFrom: async (folder) => {
    const names = new Set(await readdir(folder).catch((): string[] => []));
    const missing = ['config.json', 'tokenizer.json'].filter((name) => !names.has(name));
    if (!names.has('processor_config.json') && !names.has('preprocessor_config.json'))
      missing.push('processor_config.json');
    const weights = names.has('model.safetensors') ? [] : await indexedShards(folder);
    return [...missing, ...weights.filter((name) => !names.has(name))];
  },
};

/** The shards that the index names, or the index itself if it cannot be read. */
async function indexedShards(folder: string): Promise<string[]> {
  try {
    return [...new Set((await readShardIndex(folder)).values())];
  } catch {
    return [INDEX_FILE];
  }
}
