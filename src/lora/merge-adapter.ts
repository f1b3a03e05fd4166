/**
 * Merges an adapter into its base checkpoint, tensor by tensor: W + scale · B·A, computed in float32 and rounded once to
 * the dtype of W; an FP8 checkpoint becomes bfloat16.
 */
import { copyFile, readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { WorkerThreads } from '../async/worker-threads.js';
import { checkNames, parseOptions, requirePath } from '../config.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { writeFileAtomically } from '../files/atomic-file.js';
import type { HeldSource } from '../formats/held-source.js';
import { QuantizedCheckpoint } from '../formats/quantized-checkpoint.js';
import { engineDtype, ShardedCheckpoint, type TensorToWrite, writeSafetensors } from '../formats/safetensors.js';
import { DTYPE_BYTES } from '../formats/weight-source.js';
import program from '../generated/merge-worker.js';
import { describeGiven, isKind } from '../messages/given-kind.js';
import { linearModuleName, toDiskName, toMemoryName } from '../model/tensor-names.js';
import { requireOneObject } from '../require-given.js';
import { CHAT_TEMPLATE_FILE, PROCESSOR_FILES } from './adapter-folder.js';
import { baseOf, otherBaseWarning } from './base-model.js';
import {
  type ChatTemplateSource,
  chatTemplateFields,
  chatTemplateText,
  type TemplateHolder,
} from './chat-template-option.js';
import { heldImageProcessor, imageConfigTexts } from './image-config.js';
import { type LoraAdapter, requireAdapter } from './lora-adapter.js';
import { warnWith } from './lora-host.js';
import { baseName, freeFolder, mergedCard, ownFiles, requireCheckpoint, smallFiles } from './merge-files.js';
import { MergeOutput, type UntiedHead, type WrittenTensor } from './merge-output.js';
import { MergePlace } from './merge-place.js';
import { type MergedRows, mergeRows, type RowsToMerge } from './merged-weight.js';
import { type AdapterData, type AdapterModuleData, adapterData, OUTPUT_HEAD, readAdapter } from './read-adapter.js';

/** Options of {@link mergeAdapter}: either `adapterDir` or `adapter`, not both. */
export interface MergeAdapterOptions {
  /** Folder of the base model: safetensors files, config and tokenizer. Required. */
  readonly checkpointDir: string;
  /** Folder of an adapter; or `adapter`: one of the two. Default: none. */
  readonly adapterDir?: string | undefined;
  /** An adapter that sits on a model in memory; or `adapterDir`: one of the two. Default: none. */
  readonly adapter?: LoraAdapter | undefined;
  /** Folder of the merged model; must not exist, or be empty. It appears when it is complete. Required. */
  readonly outputDir: string;
  /**
   * The chat template that the adapter was trained with, or its Jinja source, for the merged model. Default: that of
   * `processor`, else of the adapter's files, else of the base.
   */
  readonly chatTemplate?: ChatTemplateSource | undefined;
  /**
   * What `fromPretrained` or `loadProcessor` gave, or a collator: its chat template is taken, and how its image processor
   * resizes. Default: none; the image processor of the adapter's files, else of the base.
   */
  readonly processor?: TemplateHolder | undefined;
  /** Receives what needs care, a line each. Default: a warning of the process, once for each line. */
  readonly onWarning?: ((line: string) => void) | undefined;
  /** Called after each tensor. Default: none. */
  readonly onProgress?: ((progress: MergeProgress) => void) | undefined;
  /** Stops the merge; nothing stays of it. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** How far a merge is. */
export interface MergeProgress {
  /** Name in the file of the tensor that was written. */
  readonly tensor: string;
  /** Bytes of tensors written so far. */
  readonly bytesDone: number;
  /** Bytes of all tensors. */
  readonly bytesTotal: number;
}

/** What a merge wrote. */
export interface MergeResult {
  /** Its real path. */
  readonly outputDir: string;
  /** Linear layers that were changed. */
  readonly mergedModules: number;
  /** Tensors written; the scales of a base in 8 or 4 bits are left out. */
  readonly tensors: number;
  /** Bytes of all tensors. */
  readonly bytes: number;
  /** Names of all files in the folder. */
  readonly files: readonly string[];
}

const OPTIONS = {
  checkpointDir: false,
  adapterDir: false,
  adapter: false,
  outputDir: false,
  chatTemplate: false,
  processor: false,
  onWarning: false,
  onProgress: false,
  signal: false,
} as const;

/** A large model has billions of rows to merge, and one thread takes minutes; more threads wait for the disk. */
const WORKERS = Math.min(16, availableParallelism());
const CHUNK_BYTES = 8 * 1024 * 1024;
/** Of rows that are merged; a smaller tensor is not worth a thread. */
const MERGE_CHUNK_BYTES = 4 * 1024 * 1024;

/** Other words for them. */
const ALIASES: Readonly<Record<string, string>> = {
  ...{ base: 'checkpointDir', basedir: 'checkpointDir', basemodel: 'checkpointDir', model: 'checkpointDir' },
  ...{ modeldir: 'checkpointDir', checkpoint: 'checkpointDir', output: 'outputDir', out: 'outputDir' },
};
const ELSEWHERE: Readonly<Record<string, string>> = {
  dtype: 'leave it out: the result is stored as the base model is',
  torchdtype: 'leave it out: the result is stored as the base model is',
};

/**
 * Writes a copy of a checkpoint with the adapter merged in: same shards, names, dtypes and small files. A tied output
 * head stays tied, unless the adapter (of another tool) has adapted it: then it becomes a tensor of its own, and
 * config.json says so, for the embedding stays as it was in training. Tokenizer, processor and chat template are those
 * of the adapter where it has its own, and a README.md names the base model where its name on the Hub is known. FP8
 * weights and 4-bit ones of bitsandbytes, changed or not, are written as bfloat16, and the copy has neither their scales
 * nor a `quantization_config`.
 * Everything is written into a temporary folder beside `outputDir`, which then takes its name; what a killed merge left
 * of one is removed by the next merge beside it.
 * @throws CheckpointError if the adapter does not fit, the weights are quantised in another way, the merged weights are
 *   not finite, or the output folder is not free or is being written by another merge
 * @example
 * ```ts
 * await saveAdapter(adapter, 'adapter');
 * await mergeAdapter({ checkpointDir: 'models/ministral-3b', adapterDir: 'adapter', outputDir: 'merged' });
 * ```
 */
export async function mergeAdapter(options: MergeAdapterOptions): Promise<MergeResult> {
  if (typeof options === 'string' || isKind(options, 'model')) {
    throw new ConfigError(`mergeAdapter: expected an object of options, got ${describeGiven(options)}`, {
      hint: 'Write mergeAdapter({ checkpointDir, adapterDir, outputDir }): folders of the base model, the adapter, the result.',
    });
  }
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'mergeAdapter', 'await mergeAdapter({ checkpointDir, adapterDir, outputDir })');
  checkNames(options, OPTIONS, 'mergeAdapter', ALIASES, ELSEWHERE);
  const { checkpointDir, adapterDir, adapter } = options;
  if ((adapterDir === undefined) === (adapter === undefined)) {
    const both = adapter !== undefined ? 'both' : 'neither';
    throw new ConfigError(`mergeAdapter: give either \`adapterDir\` or \`adapter\`, got ${both}`);
  }
  requirePath(checkpointDir, 'mergeAdapter: `checkpointDir`');
  requirePath(options.outputDir, 'mergeAdapter: `outputDir`');
  if (adapter === undefined) requirePath(adapterDir, 'mergeAdapter: `adapterDir`');
  else requireAdapter(adapter, 'mergeAdapter', 'mergeAdapter({ adapter, checkpointDir, outputDir })');
  const { chatTemplate, processor } = options;
  const parsedTemplate = parseOptions(z.strictObject(chatTemplateFields), { chatTemplate, processor }, 'mergeAdapter');
  const sources = [checkpointDir, ...(adapterDir === undefined ? [] : [adapterDir])];
  const outputDir = await freeFolder(resolve(options.outputDir), sources);

  await requireCheckpoint(checkpointDir);
  const checkpoint = await ShardedCheckpoint.open(checkpointDir);
  const threads = new WorkerThreads<RowsToMerge, MergedRows>(program, WORKERS);
  const place = new MergePlace(outputDir, options);
  try {
    const quantized = await QuantizedCheckpoint.of(checkpoint, undefined);
    const { linears, untied } = linearTensors(checkpoint, quantized);
    const data = adapter ? await adapterData(adapter) : await readAdapter(adapterDir!, [...linears.values()]);
    const merged = modulesByTensor(data, linears, checkpoint, quantized);
    const changes = data.modules.some(({ name }) => name === OUTPUT_HEAD);
    const output = await MergeOutput.of(checkpoint, { changes, untied: changes ? untied : undefined });
    const small = new Map(await smallFiles(checkpoint));
    if (adapterDir !== undefined) {
      for (const [name, path] of await ownFiles(adapterDir, PROCESSOR_FILES)) small.set(name, path);
    }
    const trainedOn = (adapter && baseOf(adapter.model).name) ?? data.origin.baseModelNameOrPath;
    const other = otherBaseWarning(trainedOn, { nameOrPath: resolve(checkpointDir) });
    warnWith(options.onWarning, other === undefined ? data.warnings : [...data.warnings, other]);
    const template = chatTemplateText(parsedTemplate) ?? data.origin.chatTemplate;
    const images = heldImageProcessor(parsedTemplate.processor) ?? data.origin.imageProcessor;

    const partial = await place.open();
    await freeFolder(outputDir, sources);
    const bytesTotal = output.bytes;
    let bytesDone = 0;
    const progress = ({ name, byteLength }: WrittenTensor): void => {
      bytesDone += byteLength;
      options.onProgress?.({ tensor: name, bytesDone, bytesTotal });
    };
    for (const file of checkpoint.files) {
      const tensors = output.inFile(file.path).map((tensor): TensorToWrite => {
        const { name, dtype, shape } = tensor;
        const chunks = async function* (): AsyncGenerator<Uint8Array> {
          const module = merged.get(name);
          yield* module
            ? mergedRows(output.source(name), module, threads, options.signal)
            : copiedBytes(tensor, options.signal);
          progress(tensor);
        };
        return { name, dtype, shape, chunks };
      });
      await writeSafetensors(join(partial, basename(file.path)), tensors, file.metadata);
    }
    for (const [name, path] of small) await copyFile(path, join(partial, name));
    await output.writeJson(partial);
    for (const [name, text] of images ? await imageConfigTexts(images, partial, false) : []) {
      await writeFileAtomically(join(partial, name), text);
    }
    if (template !== undefined) await writeFileAtomically(join(partial, CHAT_TEMPLATE_FILE), template);
    const card = mergedCard(baseName(adapter, data, checkpointDir));
    if (card !== undefined) await writeFileAtomically(join(partial, 'README.md'), card);
    await place.finish();
    return {
      outputDir,
      mergedModules: merged.size,
      tensors: output.tensors.size,
      bytes: bytesTotal,
      files: (await readdir(outputDir)).sort(),
    };
  } catch (error) {
    throw await place.reasonOf(error);
  } finally {
    await threads.close(new Error('the merge has ended'));
    await checkpoint.close();
    await place.close();
  }
}

interface LinearTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly tensor: string;
}

/**
 * Linear layers of a checkpoint, by their names in memory. An output head that is tied to the embedding is one too: the
 * embedding stays as it is, for the adapter of a head was trained beside it, and the head gets a tensor of its own.
 */
function linearTensors(
  checkpoint: ShardedCheckpoint,
  quantized: QuantizedCheckpoint,
): {
  linears: Map<string, LinearTensor>;
  untied: UntiedHead | undefined;
} {
  const linears = new Map<string, LinearTensor>();
  let untied: UntiedHead | undefined;
  for (const tensor of checkpoint.tensors.keys()) {
    const shape = quantized.shapeOf(tensor);
    const name = linearModuleName(tensor, shape);
    if (name !== undefined) linears.set(name, { name, shape, tensor });
  }
  const embedding = [...checkpoint.tensors.values()].find(
    ({ name, shape }) => toMemoryName(name) === EMBEDDING && shape.length === 2,
  );
  if (embedding && !linears.has(OUTPUT_HEAD)) {
    const isOld = embedding.name !== EMBEDDING;
    untied = { name: isOld ? toDiskName(`${OUTPUT_HEAD}.weight`) : `${OUTPUT_HEAD}.weight`, embedding: embedding.name };
    linears.set(OUTPUT_HEAD, { name: OUTPUT_HEAD, shape: embedding.shape, tensor: untied.name });
  }
  return { linears, untied };
}

const EMBEDDING = 'model.language_model.embed_tokens.weight';

/** Stored tensor name → what is added to it. */
function modulesByTensor(
  data: AdapterData,
  linears: ReadonlyMap<string, LinearTensor>,
  checkpoint: ShardedCheckpoint,
  quantized: QuantizedCheckpoint,
): Map<string, AdapterModuleData> {
  const merged = new Map<string, AdapterModuleData>();
  const faults: string[] = [];
  for (const module of data.modules) {
    const linear = linears.get(module.name);
    if (!linear) {
      faults.push(`${module.name}: the checkpoint has no such layer`);
      continue;
    }
    const [out, inner] = linear.shape as readonly [number, number];
    const dtype = checkpoint.tensors.get(linear.tensor)?.dtype ?? 'F32';
    if (module.a.length !== module.r * inner || module.b.length !== out * module.r) {
      faults.push(`${module.name}: the adapter was made for another shape than [${out}, ${inner}]`);
    } else if (!engineDtype(dtype) && !quantized.formatOf(linear.tensor)) {
      faults.push(`${linear.tensor}: stored as ${dtype}, expected F32, BF16, F16, F8_E4M3 or NF4 of bitsandbytes`);
    }
    merged.set(linear.tensor, module);
  }
  if (faults.length > 0) {
    throw new CheckpointError(`${checkpoint.directory}: the adapter cannot be merged:\n  - ${faults.join('\n  - ')}`, {
      hint: 'Merge into the base model that the adapter was trained on.',
      details: { faults },
    });
  }
  return merged;
}

/** The merged tensor in chunks of whole rows, in order; some are read and merged ahead of the one that is written. */
async function* mergedRows(
  source: HeldSource,
  module: AdapterModuleData,
  threads: WorkerThreads<RowsToMerge, MergedRows>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const { dtype, shape, byteLength } = source;
  const [, inner] = shape as readonly [number, number];
  const rowBytes = inner * DTYPE_BYTES[dtype];
  const chunkBytes = Math.max(1, Math.floor(MERGE_CHUNK_BYTES / rowBytes)) * rowBytes;
  const { r, scale, a, b } = module;
  const merge = async (offset: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(Math.min(chunkBytes, byteLength - offset));
    await source.read(bytes, offset);
    const [first, end] = [offset / rowBytes, (offset + bytes.length) / rowBytes];
    const rows = { bytes, dtype, lora: { r, scale, a, b: b.slice(first * r, end * r) } };
    const result = byteLength < MERGE_CHUNK_BYTES ? mergeRows(rows) : await threads.run(rows, [bytes.buffer], signal);
    if ('bytes' in result) return result.bytes;
    throw beyondError(source, result.beyond);
  };
  const ahead: Promise<Uint8Array>[] = [];
  for (let offset = 0; offset < byteLength || ahead.length > 0; ) {
    signal?.throwIfAborted();
    for (; offset < byteLength && ahead.length <= WORKERS; offset += chunkBytes) {
      const chunk = merge(offset);
      // Awaited later, or never if an earlier one fails.
      chunk.catch(() => undefined);
      ahead.push(chunk);
    }
    yield await ahead.shift()!;
  }
}

function beyondError({ name, dtype }: HeldSource, element: number): CheckpointError {
  return new CheckpointError(`${name}: the merged weight has an element ${element}`, {
    hint: Number.isFinite(element)
      ? `That is more than ${dtype} holds: the training has diverged, or the base is to be stored as bfloat16 first.`
      : 'The base weight or the adapter holds values that are not finite. If its training has diverged, use an earlier checkpoint.',
    details: { name },
  });
}

async function* copiedBytes(
  { byteLength, read }: WrittenTensor,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < byteLength; offset += CHUNK_BYTES) {
    signal?.throwIfAborted();
    const bytes = new Uint8Array(Math.min(CHUNK_BYTES, byteLength - offset));
    await read(bytes, offset);
    yield bytes;
  }
}
