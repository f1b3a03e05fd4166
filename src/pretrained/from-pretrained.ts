/** A model by its name on the Hub, or from a folder, with its processor; of an adapter, the base model with it on. */

import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { callback, type Given, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ChatTemplate } from '../data/chat-template.js';
import { MinistralTokenizer } from '../data/tokenizer.js';
import type { EngineChoice } from '../engine/create-engine.js';
import { type DeviceMapOptions, deviceMapShape } from '../engine/device-map.js';
import type { Engine } from '../engine/engine.js';
import { CheckpointError, ConfigError, HubError } from '../errors.js';
import { exists } from '../files/regular-file.js';
import { INDEX_FILE, readShardIndex } from '../formats/safetensors.js';
import { type HubDownload, type HubDownloadOptions, hubDownloadSchema } from '../hub/hub-options.js';
import { plainRepoName } from '../hub/repo-id.js';
import { type FileSelection, folderOrSnapshot, MODEL_FILES } from '../hub/snapshot-download.js';
import { putFilesOn } from '../lora/adapter-file.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_SELECTION, PROCESSOR_FILES } from '../lora/adapter-folder.js';
import { adapterNameSchema, type LoraAdapter } from '../lora/apply-lora.js';
import { isLocalName } from '../lora/base-model.js';
import { readAdapterConfig, requireSoundWeights } from '../lora/read-adapter.js';
import { warningLine } from '../messages/one-line.js';
import {
  findImageProcessor,
  loadFrom,
  loadProcessor,
  type ModelProcessor,
  requireEngine,
  requireModelFolder,
} from '../model/load.js';
import type { LoadProgress } from '../model/network/load-weights.js';
import type { VisionLanguageModel } from '../model/network/vision-language-model.js';
import {
  LOAD_ALIASES,
  parseQuantizationOption,
  type QuantizationMethod,
  type QuantizationOptions,
} from '../model/quantization.js';

/** Options of {@link fromPretrained}; for a folder, those of the download but `signal` do nothing. */
export interface FromPretrainedOptions extends HubDownloadOptions, DeviceMapOptions {
  /**
   * Takes the weights: an engine, or the name of one. An engine that is given stays the caller's; one that is made
   * from a name is disposed of by `model.dispose()`. `auto` is cuda where a card and its libraries are found, else a GPU
   * through WebGPU where its package is installed, else cpu.
   * Default: `auto`.
   */
  engine?: Engine | EngineChoice | undefined;
  /**
   * For an adapter: the base model, a name on the Hub or a folder, in place of the one that its configuration names.
   * Nothing for a model. Default: the one that it names.
   */
  baseModel?: ModelId | undefined;
  /** For an adapter: its name among the adapters of the model. Nothing for a model. Default: `default`. */
  adapterName?: string | undefined;
  /**
   * A name on the Hub or a folder: tokenizer, image processor and chat template are taken from there. For a repository
   * that has none of its own in the Hugging Face layout, as that of Mistral Small 3.2. Default: the model's own.
   */
  processor?: string | undefined;
  /**
   * Keeps the linear layers of the decoder in 4 bits (`nf4`) or 8 bits (`fp8`), or all in 16 bits (`none`); an object sets
   * details, e.g. `skipModules`. 16-bit and FP8 checkpoints are quantised while they are loaded. For an adapter it
   * applies to the base model. Default: 4-bit checkpoints of bitsandbytes stay in 4 bits, FP8 ones are dequantised to
   * bfloat16.
   */
  quantization?: QuantizationMethod | QuantizationOptions | undefined;
  /** Receives what is worth knowing about the checkpoint, a line each. Default: a warning of the process. */
  onNotice?: ((line: string) => void) | undefined;
  /** Called after each weight that the engine has taken; `onProgress` is for the download before. Default: none. */
  onLoadProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** Name of a model: the published sizes of Ministral 3 that are not quantised, or any other name or folder. */
export type ModelId =
  | 'mistralai/Ministral-3-3B-Instruct-2512-BF16'
  | 'mistralai/Ministral-3-8B-Instruct-2512-BF16'
  | 'mistralai/Ministral-3-14B-Instruct-2512-BF16'
  | (string & {});

/** What {@link fromPretrained} gives. */
export interface Pretrained {
  /** With the adapter on, if the name was that of an adapter; else `applyLora` and `loadAdapter` put one on. */
  readonly model: VisionLanguageModel;
  /** Read from the same folder; of an adapter, its own files first and the base model's where it has none. */
  readonly processor: ModelProcessor;
  /** The adapter, if the name was that of one. */
  readonly adapter: LoraAdapter | undefined;
  /** Folder of the files: the one given, or a snapshot in the cache. */
  readonly folder: string;
  /** Of the snapshot; undefined for a folder of one's own. */
  readonly commit: string | undefined;
}

const schema = hubDownloadSchema().extend({
  ...deviceMapShape(),
  engine: z.custom<Engine | EngineChoice>((value) => value !== undefined, 'expected an engine').optional(),
  baseModel: z.string().min(1).optional(),
  adapterName: adapterNameSchema().optional(),
  processor: z.string().min(1).optional(),
  quantization: z.custom<FromPretrainedOptions['quantization']>((value) => value !== undefined).optional(),
  onNotice: callback<string>().optional(),
  onLoadProgress: callback<LoadProgress>().optional(),
});
type _Input = NoMismatch<Mismatch<Given<z.input<typeof schema>>, Given<FromPretrainedOptions>>>;

type Options = z.output<typeof schema>;

/**
 * Loads a model and its processor. A folder is read where it is; a name such as
 * `mistralai/Ministral-3-3B-Instruct-2512-BF16` is downloaded into the cache that is shared with Python's tools, unless
 * it is there: four files at a time, resumed, checked against the Hub's digests.
 *
 * The folder or repository of an adapter loads its base model, as its adapter_config.json names it (with its revision),
 * and puts the adapter on. Where a folder holds both, it is a model, and a notice says so.
 * @param idOrFolder an existing folder wins over a repository of the same name
 * @throws ConfigError for bad options, or an adapter that names no base model; HubError, explained, if files are
 *   missing and cannot be fetched; as `loadModel`, `loadProcessor` and `loadAdapter` do; the signal's reason
 * @example
 * ```ts
 * const { model, processor } = await fromPretrained('mistralai/Ministral-3-3B-Instruct-2512-BF16', {
 *   onProgress: showProgress('download'),
 * });
 * ```
 */
export async function fromPretrained(idOrFolder: ModelId, options: FromPretrainedOptions = {}): Promise<Pretrained> {
  const parsed = parseOptions(schema, options, 'fromPretrained', LOAD_ALIASES);
  const {
    engine,
    quantization,
    onNotice,
    onLoadProgress,
    deviceMap,
    maxMemory,
    baseModel: _base,
    adapterName: _name,
    processor: from,
    ...download
  } = parsed;
  requireEngine(engine, 'fromPretrained', { deviceMap, maxMemory });
  // Before gigabytes are downloaded.
  parseQuantizationOption(quantization, 'fromPretrained');
  const { folder, commit } = await folderOrSnapshot(idOrFolder, download, selectionOf(from));
  const isAdapter = await exists(join(folder, ADAPTER_CONFIG_FILE));
  if (isAdapter && !(await hasModel(folder))) return loadWithAdapter(idOrFolder, folder, commit, parsed);
  if (isAdapter) {
    const notify = onNotice ?? ((line: string) => process.emitWarning(line, 'AdapterBesideModel'));
    notify(
      warningLine(`${folder} holds a model and an adapter: the model is loaded, and loadAdapter puts the adapter on`),
    );
  }
  await requireModelFolder(folder);
  // The processor is read first: it is small, and a fault in it should not wait for the weights.
  const processor = await processorOf(folder, from, download);
  download.signal?.throwIfAborted();
  const model = await loadFrom(
    folder,
    { engine, deviceMap, maxMemory, quantization, onNotice, onLoadProgress },
    originOf(idOrFolder, commit, download),
    'fromPretrained',
  );
  return { model, processor, adapter: undefined, folder, commit };
}

/** The base model of the adapter in a folder, with it on. */
async function loadWithAdapter(
  idOrFolder: string,
  folder: string,
  commit: string | undefined,
  options: Options,
): Promise<Pretrained> {
  const { engine, deviceMap, maxMemory, quantization, onNotice, onLoadProgress, ...others } = options;
  const { baseModel, adapterName, processor: from, ...download } = others;
  const { origin } = await readAdapterConfig(folder);
  // Before gigabytes of its base model are fetched.
  await requireSoundWeights(folder);
  const name = baseModel ?? (origin.baseModelNameOrPath && plainRepoName(origin.baseModelNameOrPath));
  if (name === undefined) {
    throw new ConfigError(`${idOrFolder} is an adapter whose ${ADAPTER_CONFIG_FILE} names no base model`, {
      hint: "Say it: fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder }).",
      details: { folder },
    });
  }
  const isOwn = baseModel === undefined;
  const baseDownload = { ...download, revision: (isOwn && origin.revision) || 'main' };
  const base = await baseFolder(idOrFolder, name, baseDownload, isOwn, baseSelection(from));
  const [processor, own] = await Promise.all([processorOf(base.folder, from, download), ownProcessor(folder)]);
  download.signal?.throwIfAborted();
  const model = await loadFrom(
    base.folder,
    { engine, deviceMap, maxMemory, quantization, onNotice, onLoadProgress },
    originOf(name, base.commit, baseDownload),
    'fromPretrained',
  ).catch((error: unknown) => {
    // Tools that train on 4-bit weights name those as the base; its 16-bit form goes with the adapter as well.
    if (!isOwn || !(error instanceof ConfigError || error instanceof CheckpointError)) throw error;
    throw new CheckpointError(`the base model of ${idOrFolder}, "${name}", cannot be loaded: ${error.summary}`, {
      hint: "Say another form of it: fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder }).",
      details: error.details,
      cause: error,
    });
  });
  try {
    const adapter = await putFilesOn(folder, model, { adapterName, onWarning: download.onWarning });
    return { model, processor: mergedProcessor(processor, own), adapter, folder, commit };
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** @throws as `folderOrSnapshot`; CheckpointError if it is an adapter too; ConfigError for a path to nothing */
async function baseFolder(
  adapter: string,
  name: string,
  download: HubDownload,
  isOwn: boolean,
  selection: FileSelection,
): Promise<{ readonly folder: string; readonly commit: string | undefined }> {
  const hint = `Say where the base model is: fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder }).`;
  const found = await folderOrSnapshot(name, download, selection).catch(async (error: unknown) => {
    if (!isOwn) throw error;
    if (error instanceof ConfigError) {
      const isFolder = await isLocalName(name);
      const what = isFolder
        ? 'a folder that is not on this machine'
        : 'which is neither a folder nor a name on the Hub';
      throw new ConfigError(`${adapter} is an adapter of "${name}", ${what}${await nearAdapter(name, adapter)}`, {
        hint,
        details: { baseModel: name },
        cause: error,
      });
    }
    if (!(error instanceof HubError)) throw error;
    throw error.with({
      summary: `the base model of ${adapter} cannot be had: ${error.summary}`,
      details: { ...error.details, baseModel: name },
      hint: error.hint === undefined ? hint : `${error.hint} Or: ${hint}`,
    });
  });
  if ((await exists(join(found.folder, ADAPTER_CONFIG_FILE))) && !(await hasModel(found.folder))) {
    throw new CheckpointError(`${adapter} names "${name}" as its base model, which is an adapter too`, {
      hint: `An adapter on an adapter is not supported: merge that one into its base first. ${hint}`,
      details: { folder: found.folder },
    });
  }
  await requireModelFolder(found.folder);
  return found;
}

/** A relative path is read from the working folder, as in Python; one that was meant from the adapter's is named. */
async function nearAdapter(name: string, adapter: string): Promise<string> {
  if (/^([/\\~]|[A-Za-z]:|\w+:\/\/)/.test(name)) return '';
  const beside = resolve(adapter, name);
  const from = `; a relative path is read from ${process.cwd()}`;
  return (await exists(join(beside, 'config.json'))) ? `${from}; seen from the adapter it is ${beside}` : from;
}

function originOf(
  name: string,
  commit: string | undefined,
  { revision }: HubDownload,
): { nameOrPath: string; revision: string | undefined } {
  return { nameOrPath: name, revision: commit === undefined || revision === 'main' ? undefined : revision };
}

/** The parts of a processor that an adapter's folder holds. @throws as `loadProcessor` */
async function ownProcessor(
  folder: string,
): Promise<{ readonly [K in keyof ModelProcessor]: ModelProcessor[K] | undefined }> {
  const hasTokenizer = await exists(join(folder, 'tokenizer.json'));
  const [tokenizer, imageProcessor, chatTemplate] = await Promise.all([
    hasTokenizer ? MinistralTokenizer.fromFolder(folder) : undefined,
    findImageProcessor(folder),
    ChatTemplate.findInFolder(folder),
  ]);
  return { tokenizer, imageProcessor, chatTemplate };
}

/** The adapter's own parts win; its template speaks of the tokens of the tokenizer that is used. */
function mergedProcessor(base: ModelProcessor, own: Awaited<ReturnType<typeof ownProcessor>>): ModelProcessor {
  const tokenizer = own.tokenizer ?? base.tokenizer;
  const imageProcessor = own.imageProcessor ?? base.imageProcessor;
  const template = own.chatTemplate ?? base.chatTemplate;
  const { bosToken, eosToken } = tokenizer;
  const chatTemplate = template && new ChatTemplate(template.source, { bosToken, eosToken });
  return { tokenizer, imageProcessor, chatTemplate: own.chatTemplate || own.tokenizer ? chatTemplate : template };
}

async function hasModel(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((): string[] => []);
  return names.includes('config.json') && names.some((name) => /^model.*\.safetensors(\.index\.json)?$/.test(name));
}

const isAdapterRepo = (paths: readonly string[]): boolean =>
  paths.includes(ADAPTER_CONFIG_FILE) && !paths.some((path) => /^model.*\.safetensors$/.test(path));

/** @param from where the processor is, if not beside the model */
function baseSelection(from: string | undefined): FileSelection {
  return {
    allowPatterns: MODEL_FILES,
    refuse: (paths) => {
      const has = (pattern: RegExp): boolean => paths.some((path) => pattern.test(path));
      if (has(/^config\.json$/) && has(/^model.*\.safetensors$/)) {
        // Before the weights are fetched: such a repository is of no use by itself.
        return from !== undefined || has(/^tokenizer\.json$/) || !has(/^tekken\.json$/) ? undefined : ONLY_TEKKEN;
      }
      if (has(/^adapter_config\.json$/))
        return 'it holds an adapter, not a model; an adapter on an adapter is not supported';
      if (has(/^(params\.json|consolidated.*\.safetensors)$/))
        return 'it has only the Mistral-native files, which are not read';
      if (has(/\.gguf$/)) return 'it has GGUF files, which are not read: take the repository that they were made from';
      return 'it has no config.json with model*.safetensors';
    },
    missingFrom: async (folder) => {
      const names = new Set(await readdir(folder).catch((): string[] => []));
      const missing = ['config.json'].filter((name) => !names.has(name));
      const weights = names.has('model.safetensors') ? [] : await indexedShards(folder);
      const processor = from === undefined ? await PROCESSOR_SELECTION.missingFrom(folder) : [];
      return [...missing, ...processor, ...weights.filter((name) => !names.has(name))];
    },
  };
}

/** Those of Mistral Small 3.1 have the vocabulary of 3.2. */
const ONLY_TEKKEN =
  'it has no tokenizer.json, only tekken.json, which is not read; say whose tokenizer to take, e.g. for Mistral Small ' +
  "3.2: fromPretrained(name, { processor: 'mistralai/Mistral-Small-3.1-24B-Instruct-2503' })";

const PROCESSOR_SELECTION = {
  allowPatterns: PROCESSOR_FILES,
  missingFrom: async (folder: string) => {
    const names = await readdir(folder).catch((): string[] => []);
    const parts = [['tokenizer.json'], ['processor_config.json', 'preprocessor_config.json']];
    return parts.flatMap((either) => (either.some((name) => names.includes(name)) ? [] : either[0]!));
  },
} as const satisfies FileSelection;

async function processorOf(folder: string, from: string | undefined, download: HubDownload): Promise<ModelProcessor> {
  if (from === undefined) return loadProcessor(folder);
  const found = await folderOrSnapshot(from, { ...download, revision: 'main' }, PROCESSOR_SELECTION);
  return loadProcessor(found.folder);
}

/** The shards that the index names, or the index itself if it cannot be read. */
async function indexedShards(folder: string): Promise<string[]> {
  try {
    return [...new Set((await readShardIndex(folder)).values())];
  } catch {
    return [INDEX_FILE];
  }
}

/** A model, or an adapter. */
function selectionOf(from: string | undefined): FileSelection {
  const base = baseSelection(from);
  return {
    allowPatterns: [...MODEL_FILES, ...ADAPTER_SELECTION.allowPatterns],
    refuse: (paths, commit) => (isAdapterRepo(paths) ? ADAPTER_SELECTION.refuse(paths) : base.refuse?.(paths, commit)),
    missingFrom: async (folder) => {
      const names = await readdir(folder).catch((): string[] => []);
      return isAdapterRepo(names) ? ADAPTER_SELECTION.missingFrom(folder) : base.missingFrom!(folder);
    },
  };
}
