/**
 * Merges an adapter into its base checkpoint: W + scale · B·A, computed in float32 and rounded once to the dtype in
 * which W is stored. Works tensor by tensor, so a model of any size needs little memory. Of an FP8 checkpoint comes a
 * bfloat16 one.
 */
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, realpath, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { requirePath } from '../config.js';
import type { HeldSource } from '../engine/float8.js';
import { engineDtype, ShardedCheckpoint, type TensorToWrite, writeSafetensors } from '../engine/safetensors.js';
import { DTYPE_BYTES } from '../engine/tensor.js';
import { CheckpointError, ConfigError } from '../errors.js';
import { linearModuleName } from '../model/tensor-names.js';
import { type AdapterData, type AdapterModuleData, adapterData, readAdapter } from './adapter-file.js';
import type { LoraAdapter } from './apply-lora.js';
import { MergeOutput, type WrittenTensor } from './merge-output.js';
import { MergePool } from './merge-pool.js';
import { mergeRows } from './merged-weight.js';

/** Options of {@link mergeAdapter}: either `adapterDir` or `adapter`, not both. */
export interface MergeAdapterOptions {
  /** Folder of the base model: safetensors files, config and tokenizer. */
  readonly checkpointDir: string;
  /** Folder of an adapter; or `adapter`. */
  readonly adapterDir?: string | undefined;
  /** An adapter that sits on a model in memory; or `adapterDir`. */
  readonly adapter?: LoraAdapter | undefined;
  /** Folder of the merged model; must not exist, or be empty. It appears when it is complete. */
  readonly outputDir: string;
  /** Called after each tensor. */
  readonly onProgress?: ((progress: MergeProgress) => void) | undefined;
  /** Stops the merge; nothing stays of it. */
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
  /** Tensors written; the scales of an FP8 base are left out. */
  readonly tensors: number;
  /** Bytes of all tensors. */
  readonly bytes: number;
  /** Names of all files in the folder. */
  readonly files: readonly string[];
}

const CHUNK_BYTES = 8 * 1024 * 1024;
/** Of rows that are merged; a smaller tensor is not worth a thread. */
const MERGE_CHUNK_BYTES = 4 * 1024 * 1024;

/** Weights in other forms, and files about the base model that would mislead beside the merged one. */
const NOT_COPIED =
  /\.(safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack|onnx|npz)$|\.index\.json$|^(params\.json|README\.md|adapter_config\.json|\..*)$/i;

/**
 * Writes a copy of a checkpoint with the adapter merged in: same shards, names, dtypes and small files. A tied output
 * head stays tied. FP8 weights, changed or not, are written as bfloat16, and the copy has neither their scales nor a
 * `quantization_config`. Everything is written into a temporary folder beside `outputDir`, which then takes its name.
 * @throws CheckpointError if the adapter does not fit, the weights are quantised in another way, the merged weights are
 *   not finite, or the output folder is not free
 */
export async function mergeAdapter(options: MergeAdapterOptions): Promise<MergeResult> {
  const { checkpointDir, adapterDir, adapter } = options ?? {};
  if ((adapterDir === undefined) === (adapter === undefined)) {
    throw new ConfigError('mergeAdapter: give either `adapterDir` or `adapter`');
  }
  requirePath(checkpointDir, 'mergeAdapter: `checkpointDir`');
  requirePath(options.outputDir, 'mergeAdapter: `outputDir`');
  if (adapter === undefined) requirePath(adapterDir, 'mergeAdapter: `adapterDir`');
  const outputDir = await freeFolder(resolve(options.outputDir), [
    checkpointDir,
    ...(adapterDir === undefined ? [] : [adapterDir]),
  ]);

  const checkpoint = await ShardedCheckpoint.open(checkpointDir);
  const pool = new MergePool();
  const partial = join(dirname(outputDir), `.${basename(outputDir)}.${randomBytes(4).toString('hex')}.partial`);
  try {
    const linears = linearTensors(checkpoint);
    const data = adapter ? await adapterData(adapter) : await readAdapter(adapterDir!, [...linears.values()]);
    const merged = modulesByTensor(data, linears, checkpoint);
    const output = await MergeOutput.of(checkpoint);
    const small = await smallFiles(checkpoint);

    await mkdir(partial, { recursive: true });
    const bytesTotal = output.bytes;
    let bytesDone = 0;
    const progress = ({ name, byteLength }: WrittenTensor): void => {
      bytesDone += byteLength;
      options.onProgress?.({ tensor: name, bytesDone, bytesTotal });
    };
    for (const file of checkpoint.files) {
      const kept = [...file.tensors.keys()].flatMap((name) => output.tensors.get(name) ?? []);
      const tensors = kept.map((tensor): TensorToWrite => {
        const { name, dtype, shape } = tensor;
        const chunks = async function* (): AsyncGenerator<Uint8Array> {
          const module = merged.get(name);
          yield* module
            ? mergedRows(output.source(name), module, pool, options.signal)
            : copiedBytes(tensor, options.signal);
          progress(tensor);
        };
        return { name, dtype, shape, chunks };
      });
      await writeSafetensors(join(partial, basename(file.path)), tensors, file.metadata);
    }
    for (const [name, path] of small) await copyFile(path, join(partial, name));
    await output.writeJson(partial);
    // The folder is free or empty; an empty one makes way.
    await rmdir(outputDir).catch(() => undefined);
    await rename(partial, outputDir);
    return {
      outputDir,
      mergedModules: merged.size,
      tensors: output.tensors.size,
      bytes: bytesTotal,
      files: (await readdir(outputDir)).sort(),
    };
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  } finally {
    await pool.close();
    await checkpoint.close();
  }
}

interface LinearTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly tensor: string;
}

/** Linear layers of a checkpoint, by their names in memory. */
function linearTensors(checkpoint: ShardedCheckpoint): Map<string, LinearTensor> {
  const linears = new Map<string, LinearTensor>();
  for (const { name: tensor, shape } of checkpoint.tensors.values()) {
    const name = linearModuleName(tensor, shape);
    if (name !== undefined) linears.set(name, { name, shape, tensor });
  }
  return linears;
}

/** Stored tensor name → what is added to it. */
function modulesByTensor(
  data: AdapterData,
  linears: ReadonlyMap<string, LinearTensor>,
  checkpoint: ShardedCheckpoint,
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
    const { dtype } = checkpoint.fileOf(linear.tensor).info(linear.tensor);
    if (module.a.length !== module.r * inner || module.b.length !== out * module.r) {
      faults.push(`${module.name}: the adapter was made for another shape than [${out}, ${inner}]`);
    } else if (!engineDtype(dtype) && dtype !== 'F8_E4M3') {
      faults.push(`${linear.tensor}: stored as ${dtype}, expected F32, BF16, F16 or F8_E4M3`);
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
  pool: MergePool,
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
    const result = byteLength < MERGE_CHUNK_BYTES ? mergeRows(rows) : await pool.merge(rows);
    if ('bytes' in result) return result.bytes;
    throw beyondError(source, result.beyond);
  };
  const ahead: Promise<Uint8Array>[] = [];
  for (let offset = 0; offset < byteLength || ahead.length > 0; ) {
    signal?.throwIfAborted();
    for (; offset < byteLength && ahead.length <= pool.workers; offset += chunkBytes) {
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
      : 'The adapter holds numbers that are not finite: its training has diverged. Use an earlier checkpoint.',
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

/**
 * Name and real path of config, tokenizer, processor, chat template, generation settings, licence, and the index of
 * the shards. A link may lead into the folder itself or into the store of the Hub's cache that it belongs to; where
 * another one leads, there may be what its maker wants to see published with the merged model.
 * @throws CheckpointError naming a link that leads elsewhere
 */
async function smallFiles({ directory, indexFile }: ShardedCheckpoint): Promise<[name: string, path: string][]> {
  const home = await realpath(directory);
  const stores = [home, resolve(home, '..', '..', 'blobs')];
  const files: [string, string][] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const { name } = entry;
    if (NOT_COPIED.test(name) && name !== indexFile) continue;
    const path = join(directory, name);
    if (entry.isFile()) files.push([name, path]);
    if (!entry.isSymbolicLink()) continue;
    const real = await realpath(path).catch((cause: Error) => {
      throw new CheckpointError(`${path}: a symbolic link that cannot be followed: ${cause.message}`, { cause });
    });
    if (!stores.some((store) => real.startsWith(store + sep))) {
      throw new CheckpointError(`${path}: a symbolic link to ${real}, which does not belong to the checkpoint`, {
        hint: 'Remove the link, or put the file itself in its place if it is to be part of the merged model.',
        details: { path, real },
      });
    }
    if ((await stat(real)).isFile()) files.push([name, real]);
  }
  return files;
}

/** The output folder's real path, after checking that it is empty or absent and lies in none of the sources. */
async function freeFolder(outputDir: string, sources: readonly string[]): Promise<string> {
  const output = await realParent(outputDir);
  for (const source of sources) {
    const real = await realpath(source).catch(() => resolve(source));
    if (output === real || output.startsWith(real + sep)) {
      throw new CheckpointError(`${outputDir} lies in the source folder ${source}`, {
        hint: 'Give a folder of its own for the merged model.',
      });
    }
  }
  const entries = await readdir(outputDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new CheckpointError(`${outputDir} is not a folder`, { cause: error });
  });
  if (entries.length > 0) {
    throw new CheckpointError(`${outputDir} is not empty: it holds ${entries.slice(0, 5).join(', ')}`, {
      hint: 'Give a new folder, so that files of two models cannot mix.',
    });
  }
  return output;
}

/** The real path of a folder that need not exist: links in the part that exists are resolved. */
async function realParent(path: string): Promise<string> {
  const real = await realpath(path).catch(() => undefined);
  if (real !== undefined) return real;
  const parent = dirname(path);
  return parent === path ? path : join(await realParent(parent), basename(path));
}
