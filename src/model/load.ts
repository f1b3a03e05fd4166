/** A checkpoint folder in the published layout, opened: the model, and what turns pictures and text into its input. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { requirePath } from '../config.js';
import { ChatTemplate } from '../data/chat-template.js';
import { ImageProcessor } from '../data/image-processor.js';
import { MinistralTokenizer } from '../data/tokenizer.js';
import type { Engine, ModelShapes } from '../engine/engine.js';
import { checkpointSource } from '../engine/fp8-checkpoint.js';
import { isMistralNative, MISTRAL_NATIVE_HINT, ShardedCheckpoint } from '../engine/safetensors.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { readJson } from '../read-json.js';
import { exists } from '../regular-file.js';
import { showValue } from '../show-value.js';
import { type Ministral3Config, parseMinistral3Config } from './ministral3/config.js';
import { Ministral3 } from './ministral3/model.js';
import { indexByMemoryName, linearModuleName } from './tensor-names.js';

/** Options of {@link loadMinistral3}. */
export interface LoadOptions {
  /** Takes the weights: an engine itself, not the promise of one. The model does not dispose of it. */
  engine: Engine;
  /** Receives what is worth knowing about the checkpoint, a line each. Default: a warning of the process. */
  onNotice?: ((line: string) => void) | undefined;
}

/** What turns pictures and text into the input of a model, as its checkpoint says. */
export interface Ministral3Processor {
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
 * checkpoint become bfloat16.
 * @throws ConfigError or CheckpointError naming every fault, EngineError if the model does not fit
 */
export async function loadMinistral3(dir: string, options: LoadOptions): Promise<Ministral3> {
  requirePath(dir, 'loadMinistral3');
  requireEngine(options?.engine, 'loadMinistral3');
  const config = await readConfig(dir);
  const checkpoint = await ShardedCheckpoint.open(dir);
  try {
    const stored = indexByMemoryName(checkpoint.tensors.keys());
    options.engine.requireRoom?.(shapesOf(checkpoint));
    const quantized = [...checkpoint.tensors.values()].filter(({ dtype }) => dtype === 'F8_E4M3');
    if (quantized.length > 0) {
      const notify = options.onNotice ?? ((line: string) => process.emitWarning(line, 'QuantizedCheckpoint'));
      notify(
        `${dir}: ${quantized.length} FP8 matrices are dequantised to bfloat16 and take as much memory as those of the ` +
          'BF16 checkpoint',
      );
    }
    return await Ministral3.load(options.engine, config, {
      description: dir,
      has: (name) => stored.has(name),
      source: (name) => checkpointSource(checkpoint, stored.get(name)!, config.quantization),
      order: stored.keys(),
    });
  } finally {
    await checkpoint.close();
  }
}

/** @throws ConfigError for what is no engine, e.g. the promise of one */
export function requireEngine(engine: unknown, what: string): void {
  if (typeof (engine as Engine | undefined)?.loadWeight === 'function') return;
  const given = engine instanceof Promise ? 'a promise: await createEngine(…)' : showValue(engine);
  throw new ConfigError(`${what}: \`engine\` must be an engine, got ${given}`);
}

function shapesOf({ tensors }: ShardedCheckpoint): ModelShapes {
  const isAdaptable = (name: string, shape: readonly number[]): boolean =>
    ![undefined, 'lm_head'].includes(linearModuleName(name, shape));
  const all = [...tensors].map(([name, { shape }]) => ({ shape, isLinear: isAdaptable(name, shape) }));
  return {
    weights: all.map(({ shape }) => shape),
    linear: all.filter(({ isLinear }) => isLinear).map(({ shape }) => shape),
  };
}

/** Tokenizer, image processor and chat template of a checkpoint folder. */
export async function loadProcessor(dir: string): Promise<Ministral3Processor> {
  requirePath(dir, 'loadProcessor');
  const [tokenizer, imageProcessor, chatTemplate] = await Promise.all([
    MinistralTokenizer.fromFolder(dir),
    loadImageProcessor(dir),
    ChatTemplate.findInFolder(dir),
  ]);
  return { tokenizer, imageProcessor, chatTemplate };
}

/** processor_config.json, in older checkpoints preprocessor_config.json with or without the other beside it. */
async function loadImageProcessor(dir: string): Promise<ImageProcessor> {
  const [processor, preprocessor] = await Promise.all(
    ['processor_config.json', 'preprocessor_config.json'].map((name) => readOptionalJson(join(dir, name))),
  );
  const nested = typeof processor === 'object' && processor !== null && 'image_processor' in processor;
  if (nested) return ImageProcessor.fromConfig(processor);
  if (preprocessor !== undefined) return ImageProcessor.fromConfig(preprocessor, { processorConfig: processor });
  throw new CheckpointError(
    `${dir} has no processor_config.json with an image_processor, and no preprocessor_config.json`,
    {
      hint: 'these files say how pictures are resized and normalised; copy them from the original checkpoint',
    },
  );
}

async function readOptionalJson(path: string): Promise<unknown> {
  return (await exists(path)) ? readConfigFile(path) : undefined;
}

async function readConfig(dir: string): Promise<Ministral3Config> {
  const path = join(dir, 'config.json');
  const folder = await stat(dir).catch(() => undefined);
  if (!folder?.isDirectory()) {
    throw new CheckpointError(`${dir} is not a folder`, {
      hint: 'give the folder that holds config.json, the tokenizer and the safetensors files of a Ministral 3 checkpoint',
    });
  }
  if (!(await exists(path)) && (await isMistralNative(dir))) {
    throw new CheckpointError(`${dir} holds no config.json`, { hint: MISTRAL_NATIVE_HINT });
  }
  const config = parseMinistral3Config(await readConfigFile(path), path);
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
