/** A checkpoint folder in the published layout, opened: the model, and what turns images and text into its input. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkNames, requirePath } from '../config.js';
import { ChatTemplate } from '../data/chat-template.js';
import { ImageProcessor } from '../data/image-processor.js';
import { MinistralTokenizer } from '../data/tokenizer.js';
import { createEngine, ENGINE_CHOICES, type EngineChoice } from '../engine/create-engine.js';
import { type DeviceMapOptions, requireDeviceMap } from '../engine/device-map.js';
import type { Engine, ModelShapes } from '../engine/engine.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { describeFolder } from '../files/describe-folder.js';
import { readJson } from '../files/read-json.js';
import { exists } from '../files/regular-file.js';
import { QuantizedCheckpoint } from '../formats/quantized-checkpoint.js';
import { MISTRAL_NATIVE_HINT, ShardedCheckpoint } from '../formats/safetensors.js';
import { showValue } from '../messages/show-value.js';
import { requireCallback } from '../require-given.js';
import type { ModelConfig } from './model-config.js';
import type { LoadProgress } from './network/load-weights.js';
import { type ModelOrigin, VisionLanguageModel } from './network/vision-language-model.js';
import { parseModelConfig } from './parse-config.js';
import {
  LOAD_ALIASES,
  parseQuantizationOption,
  type QuantizationMethod,
  type QuantizationOptions,
} from './quantization.js';
import { QuantizationPlan, type StoredTensor } from './quantization-plan.js';
import { indexByMemoryName, linearModuleName } from './tensor-names.js';

/** Options of {@link loadModel}. */
export interface LoadOptions extends DeviceMapOptions {
  /**
   * Takes the weights: an engine, or the name of one. An engine that is given stays the caller's; one that is made
   * from a name is disposed of by `model.dispose()`. `auto` is cuda where a card and its libraries are found, else a GPU
   * through WebGPU where its package is installed, else cpu.
   * Default: `auto`.
   */
  engine?: Engine | EngineChoice | undefined;
  /**
   * Keeps the linear layers of the decoder in 4 bits (`nf4`) or 8 bits (`fp8`), or all in 16 bits (`none`); an object sets
   * details, e.g. `skipModules`. 16-bit and FP8 checkpoints are quantised while they are loaded.
   * Default: 4-bit checkpoints of bitsandbytes stay in 4 bits, FP8 ones are dequantised to bfloat16.
   */
  quantization?: QuantizationMethod | QuantizationOptions | undefined;
  /** Receives what is worth knowing about the checkpoint, a line each. Default: a warning of the process. */
  onNotice?: ((line: string) => void) | undefined;
  /** Called after each weight that the engine has taken. Default: none. */
  onLoadProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** What turns images and text into the input of a model, as its checkpoint says. */
export interface ModelProcessor {
  /** From tokenizer.json and the configuration beside it. */
  readonly tokenizer: MinistralTokenizer;
  /** From processor_config.json, in older checkpoints preprocessor_config.json. */
  readonly imageProcessor: ImageProcessor;
  /** The checkpoint's own template; undefined in a Base repository. */
  readonly chatTemplate: ChatTemplate | undefined;
}

/**
 * Loads a model: config.json, generation_config.json, and model.safetensors or its shards. Both naming schemes of
 * tensors are accepted; weights keep their stored number format (float32, bfloat16 or float16), those of an FP8
 * checkpoint become bfloat16, those of a 4-bit one of bitsandbytes stay in 4 bits, unless `quantization` is given. Every
 * tensor of the files must have its place in the model that config.json describes.
 * @throws ConfigError or CheckpointError naming every fault, EngineError if the model does not fit or the engine does not
 *   support the format that `quantization` names
 * @example
 * ```ts
 * const model = await loadModel('models/ministral-3b', { engine });
 * const { tokenizer, imageProcessor, chatTemplate } = await loadProcessor('models/ministral-3b');
 * ```
 */
export async function loadModel(dir: string, options: LoadOptions = {}): Promise<VisionLanguageModel> {
  const names = {
    ...{ engine: false, deviceMap: false, maxMemory: false },
    ...{ quantization: false, onNotice: false, onLoadProgress: false },
  };
  checkNames(options, names, 'loadModel', LOAD_ALIASES);
  const hint = "e.g. { onLoadProgress: showProgress('weights') }.";
  requireCallback(options.onLoadProgress, 'loadModel: `onLoadProgress`', hint, true);
  return loadFrom(dir, options, { nameOrPath: dir }, 'loadModel');
}

/** @param what who asks, for messages */
export async function loadFrom(
  dir: string,
  { engine: given, quantization, onNotice, onLoadProgress, deviceMap, maxMemory }: LoadOptions,
  origin: ModelOrigin,
  what: string,
): Promise<VisionLanguageModel> {
  requirePath(dir, what);
  requireEngine(given, what, { deviceMap, maxMemory });
  const option = parseQuantizationOption(quantization, what);
  const config = await readConfig(dir);
  const { engine, ownsEngine } = await engineOf(given, { deviceMap, maxMemory });
  try {
    const loading = { option, onNotice, onLoadProgress, what };
    return await loadInto(engine, dir, config, loading, { ...origin, folder: dir, ownsEngine });
  } catch (error) {
    if (ownsEngine) await engine.dispose();
    throw error;
  }
}

async function loadInto(
  engine: Engine,
  dir: string,
  config: ModelConfig,
  { option, onNotice, onLoadProgress, what }: Loading,
  origin: ModelOrigin,
): Promise<VisionLanguageModel> {
  const checkpoint = await ShardedCheckpoint.open(dir);
  try {
    const stored = indexByMemoryName(checkpoint.tensors.keys());
    const quantized = await QuantizedCheckpoint.of(checkpoint, config.quantization);
    const tensors = tensorsOf(stored, quantized);
    engine.requireRoom?.(shapesOf(tensors));
    const plan = new QuantizationPlan(engine, tensors, option, what);
    if (plan.notice !== undefined) {
      // A quantisation that the caller chose is no reason for a process warning.
      const warn = (line: string): void => process.emitWarning(line, 'QuantizedCheckpoint');
      (onNotice ?? (option ? () => {} : warn))(`${dir}: ${plan.notice}`);
    }
    const provider = {
      description: dir,
      has: (name: string) => stored.has(name),
      source: (name: string) => plan.apply(name, quantized.source(stored.get(name)!)),
      order: stored.keys(),
      required: tensors.map(({ name }) => name).filter((name) => !isComputedTable(name)),
      onProgress: onLoadProgress,
    };
    return await VisionLanguageModel.load(engine, config, provider, { ...origin, quantization: plan.description });
  } finally {
    await checkpoint.close();
  }
}

/** Options of a load, and the name of the public function for messages. */
interface Loading extends Pick<LoadOptions, 'onNotice' | 'onLoadProgress'> {
  readonly option: QuantizationOptions | undefined;
  readonly what: string;
}

/** The engine itself, or one of this name that goes with the model. */
async function engineOf(
  given: Engine | EngineChoice = 'auto',
  devices: DeviceMapOptions,
): Promise<{ engine: Engine; ownsEngine: boolean }> {
  if (typeof given !== 'string') return { engine: given, ownsEngine: false };
  return { engine: await createEngine(given, devices), ownsEngine: true };
}

/**
 * @param devices go with the name of an engine alone
 * @throws ConfigError for what is neither an engine nor the name of one, e.g. the promise of one
 */
export function requireEngine(engine: unknown, what: string, devices: DeviceMapOptions = {}): void {
  requireDeviceMap(devices, what);
  if (devices.deviceMap !== undefined && typeof engine === 'object' && engine !== null) {
    throw new ConfigError(`${what}: \`deviceMap\` is of an engine that is made here, and an engine is given`, {
      hint: "Leave `engine` out, or make it so: createEngine('cuda', { deviceMap: 'auto' }).",
    });
  }
  if (devices.deviceMap !== undefined && ['cpu', 'tfjs', 'webgpu'].includes(engine as string)) {
    // Before gigabytes are downloaded.
    throw new ConfigError(`${what}: \`deviceMap\` is for cards, and the ${engine} engine uses none`, {
      hint: "Leave it out, or `engine: 'cuda'`.",
    });
  }
  if (engine === undefined || typeof (engine as Engine | null)?.loadWeight === 'function') return;
  if (typeof engine === 'string' && ENGINE_CHOICES.includes(engine as EngineChoice)) return;
  const given = engine instanceof Promise ? 'a promise: await createEngine(…)' : showValue(engine);
  throw new ConfigError(`${what}: \`engine\` must be an engine or one of ${ENGINE_CHOICES.join(', ')}, got ${given}`);
}

/** All tensors but the scales and quant states of others. */
function tensorsOf(stored: ReadonlyMap<string, string>, quantized: QuantizedCheckpoint): StoredTensor[] {
  return [...stored].flatMap(([name, file]) => {
    if (quantized.isCompanion(file)) return [];
    return [{ name, stored: quantized.formatOf(file), shape: quantized.shapeOf(file), bytes: quantized.bytesOf(file) }];
  });
}

/** Tables that the model computes itself. */
function isComputedTable(name: string): boolean {
  return /\.(inv_freq|original_inv_freq|position_ids)$/.test(name);
}

function shapesOf(tensors: readonly StoredTensor[]): ModelShapes {
  const isAdaptable = (name: string, shape: readonly number[]): boolean =>
    ![undefined, 'lm_head'].includes(linearModuleName(name, shape));
  return {
    weights: tensors.map(({ shape }) => shape),
    linear: tensors.filter(({ name, shape }) => isAdaptable(name, shape)).map(({ shape }) => shape),
  };
}

/** Tokenizer, image processor and chat template of a checkpoint folder. */
export async function loadProcessor(dir: string): Promise<ModelProcessor> {
  requirePath(dir, 'loadProcessor');
  const [tokenizer, imageProcessor, chatTemplate] = await Promise.all([
    MinistralTokenizer.fromFolder(dir),
    findImageProcessor(dir),
    ChatTemplate.findInFolder(dir),
  ]);
  if (imageProcessor) return { tokenizer, imageProcessor, chatTemplate };
  const missing = 'no processor_config.json with an image_processor, and no preprocessor_config.json';
  throw new CheckpointError(`${dir} has ${missing}`, {
    hint: 'these files say how images are resized and normalised; copy them from the original checkpoint',
  });
}

/** From processor_config.json, in older checkpoints preprocessor_config.json with or without it; undefined without either. */
export async function findImageProcessor(dir: string): Promise<ImageProcessor | undefined> {
  const [processor, preprocessor] = await Promise.all(
    ['processor_config.json', 'preprocessor_config.json'].map((name) => readOptionalJson(join(dir, name))),
  );
  const nested = typeof processor === 'object' && processor !== null && 'image_processor' in processor;
  if (nested) return ImageProcessor.fromConfig(processor);
  return preprocessor === undefined
    ? undefined
    : ImageProcessor.fromConfig(preprocessor, { processorConfig: processor });
}

async function readOptionalJson(path: string): Promise<unknown> {
  return (await exists(path)) ? readConfigFile(path) : undefined;
}

/**
 * Names what is wrong with a folder that can be no model, before files of it are missed one by one.
 * @throws CheckpointError
 */
export async function requireModelFolder(dir: string): Promise<void> {
  const folder = await stat(dir).catch(() => undefined);
  if (!folder?.isDirectory()) {
    throw new CheckpointError(`${dir} is not a folder`, {
      hint: folder
        ? 'it is a file: give the folder that holds config.json, the tokenizer and the safetensors files'
        : 'give the folder that holds config.json, the tokenizer and the safetensors files of a checkpoint; fromPretrained takes a name on the Hub, "owner/name", as well',
      details: { path: dir },
    });
  }
  if (await exists(join(dir, 'config.json'))) return;
  const { kind, text, children } = await describeFolder(dir);
  throw new CheckpointError(`${dir} holds no config.json, so it is no model: it ${text}`, {
    hint: HINTS[kind]?.(children[0]) ?? 'give the folder that holds config.json and model*.safetensors of a checkpoint',
    details: { path: dir, kind },
  });
}

const HINTS: Readonly<Record<string, (child: string | undefined) => string>> = {
  adapter: () =>
    'fromPretrained(folder) loads an adapter with its base model; loadAdapter(folder, model) puts it onto a model that is loaded',
  foreign: () => 'export it in the Hugging Face layout with the tool that made it (an adapter: in that of PEFT)',
  mlx: () => 'an adapter of mlx has another layout: fuse it into its model with mlx first',
  mistral: () => MISTRAL_NATIVE_HINT,
  images: () => 'an image folder is read by ImageFolder.load or KaggleImageFolder.fromFolder',
  parent: (child) => `give the subfolder, e.g. ${child}`,
};

async function readConfig(dir: string): Promise<ModelConfig> {
  const path = join(dir, 'config.json');
  await requireModelFolder(dir);
  const config = parseModelConfig(await readConfigFile(path), path);
  const generationPath = join(dir, 'generation_config.json');
  const generation = ((await readOptionalJson(generationPath)) ?? {}) as { eos_token_id?: unknown };
  const eos = [generation.eos_token_id ?? config.eosTokenIds].flat();
  const valid = eos.every((id): id is number => typeof id === 'number' && Number.isSafeInteger(id) && id >= 0);
  if (!valid || eos.length === 0) {
    throw new CheckpointError(
      `${generationPath}: eos_token_id is ${showValue(generation.eos_token_id)}, expected token ids`,
    );
  }
  return { ...config, eosTokenIds: eos };
}

async function readConfigFile(path: string): Promise<unknown> {
  try {
    return await readJson(path);
  } catch (cause) {
    if (cause instanceof SyntaxError) {
      throw new CheckpointError(`${path} is not JSON of a configuration: ${cause.message}`, { cause });
    }
    throw new CheckpointError(`${path} cannot be read: ${(cause as Error).message}`, {
      cause,
      hint: 'is this the folder of a complete checkpoint?',
    });
  }
}
