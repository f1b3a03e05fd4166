/**
 * Safetensors files: checked when they are opened, read lazily by position, written whole or not at all.
 * A checkpoint is one file, or several shards with an index that says which tensor lies where.
 */

import { type FileHandle, readdir, stat } from 'node:fs/promises';
import { endianness } from 'node:os';
import { basename, join } from 'node:path';
import { requirePath } from '../config.js';
import { CheckpointError, ConfigError, reasonOf, type TuneErrorOptions } from '../errors.js';
import { writeFileAtomically } from '../files/atomic-file.js';
import { readJson } from '../files/read-json.js';
import { openRegularFile } from '../files/regular-file.js';
import { describeGiven } from '../messages/given-kind.js';
import { nearestName } from '../messages/nearest-name.js';
import { firstLines } from '../messages/short-list.js';
import { showValue } from '../messages/show-value.js';
import { requireInteger, requireText } from '../require-given.js';
import { bfloat16ToFloat32, float16ToFloat32 } from './half-precision.js';
import {
  checkTensor,
  checkTensors,
  layOut,
  MAX_HEADER_BYTES,
  parseHeader,
  type SafetensorsDType,
  type SafetensorsHeader,
  serializeHeader,
  type TensorInfo,
} from './safetensors-header.js';
import type { DType, WeightSource } from './weight-source.js';

export type { SafetensorsDType, TensorInfo } from './safetensors-header.js';

/** The name in a file of each number format that an engine can hold. */
export const FILE_DTYPES: Readonly<Record<DType, SafetensorsDType>> = { f32: 'F32', bf16: 'BF16', f16: 'F16' };

/** The number format of an engine for a name in a file; undefined for formats that no engine holds. */
export function engineDtype(dtype: SafetensorsDType): DType | undefined {
  return (Object.keys(FILE_DTYPES) as DType[]).find((key) => FILE_DTYPES[key] === dtype);
}

/** Where the shards of a model are listed. */
export const INDEX_FILE = 'model.safetensors.index.json';
/** Some 100 bytes for each tensor. */
const MAX_INDEX_BYTES = 33_554_432;
/** The largest published checkpoints have some hundred. */
const MAX_SHARDS = 2000;
const MAX_LISTED_FAULTS = 20;

/** Bytes per system call: few calls, and a read that can be cancelled between them. */
const READ_CHUNK = 32 * 1024 * 1024;

/** What `readArray` gives: values as they are stored; half formats are widened, booleans and 8-bit floats are bytes. */
// biome-ignore format: floats and integers
export type StoredArray =
  | Float32Array | Float64Array
  | BigInt64Array | BigUint64Array | Int32Array | Uint32Array | Int16Array | Uint16Array | Int8Array | Uint8Array;

/** By number format; the others are widened, or come as bytes. */
const ARRAY_TYPES: Readonly<Partial<Record<SafetensorsDType, new (buffer: ArrayBuffer) => StoredArray>>> = {
  ...{ F64: Float64Array, F32: Float32Array, I64: BigInt64Array, U64: BigUint64Array },
  ...{ I32: Int32Array, U32: Uint32Array, I16: Int16Array, U16: Uint16Array, I8: Int8Array },
};

/** An open safetensors file. Reads are by position, so any number may run at once. */
export class SafetensorsFile {
  /** As given to `open`. */
  readonly path: string;
  /** In the order of the data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Free text that the writer left, e.g. `{ format: 'pt' }`. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly #file: FileHandle;
  readonly #dataStart: number;

  private constructor(path: string, header: SafetensorsHeader, file: FileHandle, dataStart: number) {
    this.path = path;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
    this.#file = file;
    this.#dataStart = dataStart;
  }

  /**
   * Opens a file and checks its whole header; no tensor is read.
   * @throws CheckpointError if the file cannot be opened, is cut off, or has a bad header (every fault is listed)
   * @example
   * ```ts
   * await saveAdapter(adapter, 'adapter');
   * const file = await SafetensorsFile.open('adapter/adapter_model.safetensors');
   * console.log([...file.tensors.keys()]);
   * await file.close();
   * ```
   */
  static async open(path: string): Promise<SafetensorsFile> {
    requirePath(path, 'SafetensorsFile.open');
    if (endianness() !== 'LE') throw new CheckpointError('safetensors files need a little-endian machine');
    const { file, size } = await openRegularFile(path).catch((cause) => {
      throw new CheckpointError(`cannot open ${path}: ${(cause as Error).message}`, { cause, details: { path } });
    });
    try {
      if (size < 8) throw damaged(path, `${size} bytes are too few for a safetensors file`);
      const prefix = new Uint8Array(8);
      await readFully(file, prefix, 0, path);
      const length = new DataView(prefix.buffer).getBigUint64(0, true);
      if (length > BigInt(MAX_HEADER_BYTES) || Number(length) > size - 8) {
        const other = OTHER_STARTS[new TextDecoder('latin1').decode(prefix)];
        if (other !== undefined) throw damaged(path, other[0], { hint: other[1] });
        throw damaged(path, `its header would take ${length} bytes, the file has ${size - 8} after the length field`);
      }
      const json = new Uint8Array(Number(length));
      await readFully(file, json, 8, path);
      const dataStart = 8 + json.length;
      return new SafetensorsFile(path, parseHeader(json, size - dataStart, path), file, dataStart);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** @throws CheckpointError with the nearest name if the file has no such tensor */
  info(name: string): TensorInfo {
    return lookUp(this.tensors, name, this.path);
  }

  /**
   * A tensor to be streamed into an engine.
   * @throws CheckpointError if its dtype is not F32, BF16 or F16
   */
  source(name: string): WeightSource {
    const { dtype, shape, byteLength } = this.info(name);
    const held = engineDtype(dtype);
    if (!held) {
      throw new CheckpointError(`${this.path}: "${name}" is stored as ${dtype}; expected F32, BF16 or F16`, {
        hint: dtype.startsWith('F8')
          ? 'This is a quantised checkpoint. Use an FP8 one (F8_E4M3) or the model in bfloat16, e.g. the repository whose name ends in -BF16.'
          : 'Convert the checkpoint to bfloat16 first.',
        details: { path: this.path, name, dtype },
      });
    }
    const read = (target: Uint8Array, offset = 0): Promise<void> => this.readBytes(name, target, offset);
    return { name, shape, dtype: held, byteLength, read };
  }

  /** Fills `target`, which may lie in shared memory, with the tensor's bytes from `offset` on. */
  async readBytes(name: string, target: Uint8Array, offset = 0): Promise<void> {
    const { dataOffset, byteLength } = this.info(name);
    if (typeof offset !== 'number') requireInteger(offset, 'readBytes: `offset`', 0);
    if (!(target instanceof Uint8Array)) {
      throw new ConfigError(`readBytes: \`target\`: expected a Uint8Array to be filled, got ${describeGiven(target)}`);
    }
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + target.length > byteLength) {
      const range = `bytes ${offset} to ${offset + target.length}`;
      throw new CheckpointError(`${this.path}: "${name}" has ${byteLength} bytes, ${range} were asked for`);
    }
    const position = this.#dataStart + dataOffset + offset;
    try {
      await readFully(this.#file, target, position, this.path);
    } catch (cause) {
      if (cause instanceof CheckpointError) throw cause;
      throw new CheckpointError(`${this.path}: "${name}" cannot be read: ${(cause as Error).message}`, {
        cause,
        details: { path: this.path, name },
      });
    }
  }

  /**
   * A whole tensor as float32: F32, BF16 and F16 exactly, F64 rounded to the nearest.
   * @throws CheckpointError for any other dtype
   */
  async readFloat32(name: string): Promise<Float32Array> {
    const { dtype } = this.info(name);
    if (!engineDtype(dtype) && dtype !== 'F64') {
      throw new CheckpointError(`${this.path}: "${name}" is stored as ${dtype}; expected F32, BF16, F16 or F64`);
    }
    const array = await this.readArray(name);
    return array instanceof Float32Array
      ? (array as Float32Array<ArrayBuffer>)
      : Float32Array.from(array as Float64Array);
  }

  /** A whole tensor in the typed array nearest to its dtype. */
  async readArray(name: string): Promise<StoredArray> {
    const { dtype, byteLength } = this.info(name);
    const bytes = new Uint8Array(byteLength);
    await this.readBytes(name, bytes);
    if (dtype === 'BF16') return bfloat16ToFloat32(new Uint16Array(bytes.buffer));
    if (dtype === 'F16') return float16ToFloat32(new Uint16Array(bytes.buffer));
    const type = ARRAY_TYPES[dtype];
    return type ? new type(bytes.buffer) : bytes;
  }

  /** Releases the file; what was read stays valid. May be called twice. */
  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** The safetensors files of a model folder: `model.safetensors`, or the shards of `model.safetensors.index.json`. */
export class ShardedCheckpoint {
  /** As given to `open`. */
  readonly directory: string;
  /** Open; shards sorted by name. */
  readonly files: readonly SafetensorsFile[];
  /** Tensors of all files by their stored names. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Name of the index file in the folder, where there is one. */
  readonly indexFile: string | undefined;
  readonly #fileOf: ReadonlyMap<string, SafetensorsFile>;

  private constructor(directory: string, files: readonly SafetensorsFile[], indexFile: string | undefined) {
    this.directory = directory;
    this.files = files;
    this.indexFile = indexFile;
    this.tensors = new Map(files.flatMap((file) => [...file.tensors]));
    this.#fileOf = new Map(files.flatMap((file) => [...file.tensors.keys()].map((name) => [name, file] as const)));
  }

  /**
   * Opens every file of a model folder and checks the index against them.
   * @throws CheckpointError listing every shard that is missing or damaged, every tensor that the index puts into a
   *   shard that does not hold it, and every tensor that lies in two shards
   */
  static async open(directory: string): Promise<ShardedCheckpoint> {
    requirePath(directory, 'ShardedCheckpoint.open');
    const single = join(directory, 'model.safetensors');
    if (await isFile(single)) return new ShardedCheckpoint(directory, [await SafetensorsFile.open(single)], undefined);

    const indexFile = INDEX_FILE;
    const weightMap = await readShardIndex(directory);
    const faults: string[] = [];
    const files = new Map<string, SafetensorsFile>();
    const shards = [...new Set(weightMap.values())].sort();
    if (shards.length > MAX_SHARDS) {
      throw new CheckpointError(
        `${directory}: ${indexFile} names ${shards.length} files, at most ${MAX_SHARDS} are read`,
      );
    }
    for (const name of shards) {
      try {
        files.set(name, await SafetensorsFile.open(join(directory, name)));
      } catch (error) {
        faults.push(`shard ${name}: ${error instanceof CheckpointError ? error.summary : reasonOf(error)}`);
      }
    }
    for (const [tensor, name] of weightMap) {
      const file = files.get(name);
      if (file && !file.tensors.has(tensor)) faults.push(`"${tensor}" is not in ${name}, where the index puts it`);
    }
    const seen = new Map<string, string>();
    for (const [name, file] of files) {
      for (const tensor of file.tensors.keys()) {
        if (seen.has(tensor)) faults.push(`"${tensor}" is both in ${seen.get(tensor)} and in ${name}`);
        else seen.set(tensor, name);
      }
    }
    if (faults.length > 0) {
      await Promise.all([...files.values()].map((file) => file.close()));
      const listed = firstLines(faults, MAX_LISTED_FAULTS);
      throw new CheckpointError(`${directory}: the checkpoint is not complete:\n  - ${listed.join('\n  - ')}`, {
        hint: 'Download the missing or damaged shards again.',
        details: { directory, faults: listed },
      });
    }
    return new ShardedCheckpoint(directory, [...files.values()], indexFile);
  }

  /** The file that holds a tensor. @throws CheckpointError with the nearest name if there is none */
  fileOf(name: string): SafetensorsFile {
    return lookUp(this.#fileOf, name, this.directory);
  }

  /** See {@link SafetensorsFile.source}. */
  source(name: string): WeightSource {
    return this.fileOf(name).source(name);
  }

  /** See {@link SafetensorsFile.readFloat32}. */
  async readFloat32(name: string): Promise<Float32Array> {
    return this.fileOf(name).readFloat32(name);
  }

  /** Closes every file; what was read stays valid. May be called twice. */
  async close(): Promise<void> {
    await Promise.all(this.files.map((file) => file.close()));
  }
}

/** A tensor to be written: all of its bytes, or a function that produces them piece by piece. */
export type TensorToWrite = {
  /** Unique in the file, and not `__metadata__`. */
  readonly name: string;
  /** Number format of the bytes; nothing is converted. */
  readonly dtype: SafetensorsDType;
  /** Outermost extent first. */
  readonly shape: readonly number[];
} & (
  | {
      /** Little-endian, row-major; exactly the bytes of dtype and shape, in an array of any type. */
      readonly data: ArrayBufferView;
    }
  | {
      /** Called once; each piece is written before the next is asked for, so that its buffer may be used again. */
      readonly chunks: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
    }
);

/**
 * Writes a safetensors file in the official writer's layout. Tensors given as `chunks` are asked for one at a time,
 * in the order of the file, so that a checkpoint larger than memory can be written. The file appears under its name
 * only when it is whole and on the disk.
 * @throws CheckpointError for a repeated name, or data that does not fill its dtype and shape
 */
export function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  return writeTensorFile(path, tensors, metadata, true);
}

/** As {@link writeSafetensors}. @param flush false where whoever calls flushes the file later */
export async function writeTensorFile(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>>,
  flush: boolean,
): Promise<void> {
  requirePath(path, 'writeSafetensors');
  checkTensors(tensors, metadata);
  const byName = new Map<string, TensorToWrite>();
  for (const tensor of tensors) {
    checkTensor(tensor);
    if (byName.has(tensor.name) || tensor.name === '__metadata__') {
      throw new CheckpointError(
        `${path}: the tensor name "${tensor.name}" is ${byName.has(tensor.name) ? 'given twice' : 'reserved'}`,
      );
    }
    byName.set(tensor.name, tensor);
  }
  const infos = layOut([...byName.values()]);
  if ((await stat(path).catch(() => undefined))?.isDirectory()) {
    throw new CheckpointError(`writeSafetensors: ${path} is a folder`, { hint: 'Give the path of a file.' });
  }
  const write = async (file: FileHandle): Promise<void> => {
    await writeFully(file, serializeHeader(infos, metadata));
    for (const { name, byteLength } of infos) {
      const tensor = byName.get(name)!;
      let written = 0;
      for await (const chunk of 'data' in tensor ? [bytesOf(tensor.data)] : tensor.chunks()) {
        written += chunk.length;
        if (written > byteLength) break;
        await writeFully(file, chunk);
      }
      if (written !== byteLength) {
        const came = written > byteLength ? 'more' : `${written}`;
        throw new CheckpointError(`${path}: "${name}" [${tensor.shape}] takes ${byteLength} bytes, ${came} came`);
      }
    }
  };
  await writeFileAtomically(path, write, { flush });
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** First eight bytes of what often lies in place of a file → what it is, what to do. */
const OTHER_STARTS: Readonly<Record<string, readonly [string, string]>> = {
  'version ': ['it is a pointer of Git LFS, not the file itself', 'Fetch the file with `git lfs pull`.'],
  '<!DOCTYP': ['it is a web page', 'The download was answered by a page, such as a login: download the file again.'],
  '<!doctyp': ['it is a web page', 'The download was answered by a page, such as a login: download the file again.'],
};

function damaged(path: string, reason: string, options: TuneErrorOptions = {}): CheckpointError {
  return new CheckpointError(`${path} is not a whole safetensors file: ${reason}`, {
    hint: 'Download or write the file again.',
    details: { path },
    ...options,
  });
}

function lookUp<T>(map: ReadonlyMap<string, T>, name: string, where: string): T {
  requireText(name, `${where}: name of a tensor`);
  const found = map.get(name);
  if (found !== undefined) return found;
  const near = nearestName(name, [...map.keys()]);
  throw new CheckpointError(`${where} has no tensor "${name}"${near ? `; the nearest name is "${near}"` : ''}`, {
    details: { where, name },
  });
}

async function readFully(file: FileHandle, target: Uint8Array, position: number, path: string): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await file.read(target, done, Math.min(READ_CHUNK, target.length - done), position + done);
    if (bytesRead === 0) throw damaged(path, `it ends at byte ${position + done}, inside a tensor`);
    done += bytesRead;
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(READ_CHUNK, bytes.length - done));
    done += bytesWritten;
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
}

/** For a folder in Mistral's own layout, whose names and row order are others. */
export const MISTRAL_NATIVE_HINT =
  'This folder has only the Mistral-native files (params.json, consolidated*.safetensors); download config.json and ' +
  'the model*.safetensors files too.';

async function isMistralNative(directory: string): Promise<boolean> {
  const names = await readdir(directory).catch(() => []);
  return names.some((name) => name === 'params.json' || /^consolidated.*\.safetensors$/.test(name));
}

async function missingWeightsHint(directory: string): Promise<string> {
  if (await isMistralNative(directory)) return MISTRAL_NATIVE_HINT;
  const names = await readdir(directory).catch((): string[] => []);
  if (names.some((name) => /^model-\d+-of-\d+\.safetensors$/.test(name))) {
    return `It has the shards but not their index: download ${INDEX_FILE} too.`;
  }
  const pickle = names.find((name) => /^pytorch_model.*\.bin$/.test(name));
  if (pickle !== undefined) return `${pickle} is a Python pickle, which is never read: take the model as safetensors.`;
  if (names.some((name) => name.endsWith('.gguf'))) return 'GGUF files are not read: take the model as safetensors.';
  return 'Give the folder of a downloaded model.';
}

/** Tensor name → shard file name. @throws CheckpointError if there is no sound index */
export async function readShardIndex(directory: string): Promise<Map<string, string>> {
  const path = join(directory, INDEX_FILE);
  if (!(await isFile(path))) {
    throw new CheckpointError(`${directory} holds neither model.safetensors nor ${INDEX_FILE}`, {
      hint: await missingWeightsHint(directory),
      details: { directory },
    });
  }
  let index: unknown;
  try {
    index = await readJson(path, { maxBytes: MAX_INDEX_BYTES, anyKey: true });
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new CheckpointError(`${path} is no index of shards: ${reason}`, { cause, details: { path } });
  }
  const weightMap = (index as { weight_map?: unknown } | null)?.weight_map;
  const entries = typeof weightMap === 'object' && weightMap !== null ? Object.entries(weightMap) : [];
  // A shard is a plain file name in the same folder; anything else could lead out of it.
  const bad = entries.filter(
    ([, file]) => typeof file !== 'string' || basename(file) !== file || /^\.|[\\/\0]/.test(file),
  );
  if (entries.length === 0 || bad.length > 0) {
    const names = bad.slice(0, 5).map(([name, file]) => `${showValue(name)}: ${showValue(file)}`);
    throw new CheckpointError(
      `${path}: expected a \`weight_map\` of tensor names to file names${names.length ? `; bad: ${names.join(', ')}` : ''}`,
    );
  }
  return new Map(entries as [string, string][]);
}
