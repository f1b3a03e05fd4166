/**
 * The header of a safetensors file: eight bytes with its length N (little-endian), N bytes of JSON, then the data.
 * Each entry gives dtype, shape and the byte range of a tensor, counted from the end of the header.
 * Format: https://github.com/huggingface/safetensors#format
 */
import { CheckpointError, ConfigError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { firstLines } from '../messages/short-list.js';
import { showValue } from '../messages/show-value.js';
import { isOptions } from '../require-given.js';
import { type ScannedEntry, type ScannedHeader, scanHeader } from './safetensors-scanner.js';
import { sizeOf } from './weight-source.js';

const DTYPE_BITS = {
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
  F32: 32,
  I32: 32,
  U32: 32,
  F16: 16,
  BF16: 16,
  I16: 16,
  U16: 16,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I8: 8,
  U8: 8,
  BOOL: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
} as const;

/** Number formats by their names in the file. @useDeclaredType */
export type SafetensorsDType = keyof typeof DTYPE_BITS;

/** One tensor of a file. */
export interface TensorInfo {
  /** As the file has it. */
  readonly name: string;
  /** Number format, as the file names it. */
  readonly dtype: SafetensorsDType;
  /** Outermost extent first; empty for a single number. */
  readonly shape: readonly number[];
  /** Bytes of the data: what dtype and shape come to. */
  readonly byteLength: number;
  /** First byte, counted from the end of the header. */
  readonly dataOffset: number;
}

export interface SafetensorsHeader {
  /** In the order of the data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The official reader's limit: a longer header is an attack or a damaged file. */
export const MAX_HEADER_BYTES = 100_000_000;
const MAX_LISTED_FAULTS = 20;

/** Bytes that a tensor takes, or undefined where the elements do not fill whole bytes. */
function tensorByteLength(dtype: SafetensorsDType, shape: readonly number[]): number | undefined {
  const bits = sizeOf(shape) * DTYPE_BITS[dtype];
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

/**
 * Reads and checks the JSON part of a header.
 * @param dataLength bytes that follow the header in the file
 * @throws CheckpointError if it is no such header, or a name comes twice; listing every unknown dtype, bad shape, byte
 *   range that does not fit its dtype and shape, and ranges that overlap, leave a hole or leave the file
 */
export function parseHeader(json: Uint8Array, dataLength: number, path: string): SafetensorsHeader {
  let scanned: ScannedHeader;
  try {
    scanned = scanHeader(json);
  } catch (cause) {
    throw new CheckpointError(`${path}: bad safetensors header: ${(cause as Error).message}`, {
      hint: 'The file is damaged, or no safetensors file; download or write it again.',
      details: { path },
      cause,
    });
  }
  const faults: string[] = [];
  const infos: TensorInfo[] = [];
  for (const entry of scanned.entries) {
    const info = readEntry(entry);
    if (typeof info === 'string') faults.push(`"${entry.name}": ${info}`);
    else infos.push(info);
  }
  infos.sort((a, b) => a.dataOffset - b.dataOffset || a.byteLength - b.byteLength);
  if (faults.length === 0) addRangeFaults(infos, dataLength, faults);
  if (faults.length > 0) {
    const listed = firstLines(faults, MAX_LISTED_FAULTS);
    throw new CheckpointError(`${path}: bad safetensors header:\n  - ${listed.join('\n  - ')}`, {
      hint: 'The file is damaged or was cut off; download or write it again.',
      details: { path, faults: listed },
    });
  }
  return {
    tensors: new Map(infos.map((info) => [info.name, info])),
    metadata: Object.fromEntries(scanned.metadata),
  };
}

/** Length field and JSON, padded with spaces so that the data starts at a multiple of eight bytes. */
export function serializeHeader(
  tensors: readonly TensorInfo[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const entries = tensors.map(({ name, dtype, shape, dataOffset, byteLength }) => {
    const entry = { dtype, shape, data_offsets: [dataOffset, dataOffset + byteLength] };
    return `${JSON.stringify(name)}:${JSON.stringify(entry)}`;
  });
  if (Object.keys(metadata).length > 0) entries.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const json = new TextEncoder().encode(`{${entries.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new CheckpointError(`the header takes ${length} bytes; safetensors allows ${MAX_HEADER_BYTES}`);
  }
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/** Where each tensor goes: wide elements first and then by name, as the official writer does, so that all are aligned. */
export function layOut(
  tensors: readonly { name: string; dtype: SafetensorsDType; shape: readonly number[] }[],
): TensorInfo[] {
  const sorted = [...tensors].sort(
    (a, b) => DTYPE_BITS[b.dtype] - DTYPE_BITS[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
  let dataOffset = 0;
  return sorted.map(({ name, dtype, shape }) => {
    const byteLength = DTYPE_BITS[dtype] && isShape(shape) ? tensorByteLength(dtype, shape) : undefined;
    if (byteLength === undefined) {
      throw new CheckpointError(`"${name}": ${dtype} [${shape}] cannot be stored in a safetensors file`);
    }
    const info = { name, dtype, shape, byteLength, dataOffset };
    dataOffset += byteLength;
    return info;
  });
}

function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((extent) => Number.isSafeInteger(extent) && extent >= 0);
}

/** The entry, or what is wrong with it. */
function readEntry({ name, dtype, shape, offsets }: ScannedEntry): TensorInfo | string {
  if (!Object.hasOwn(DTYPE_BITS, dtype)) return `unknown dtype ${showValue(dtype)}`;
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined || offsets.length !== 2 || begin > end) {
    return `bad data_offsets ${showValue(offsets)}`;
  }
  const known = dtype as SafetensorsDType;
  const byteLength = tensorByteLength(known, shape);
  if (byteLength === undefined) return `${dtype} [${shape}] is not a whole number of bytes or is too large`;
  if (byteLength !== end - begin)
    return `${dtype} [${shape}] takes ${byteLength} bytes, data_offsets give ${end - begin}`;
  return { name, dtype: known, shape, byteLength, dataOffset: begin };
}

/** The ranges, sorted, must tile the data from its first byte to its last. */
function addRangeFaults(infos: readonly TensorInfo[], dataLength: number, faults: string[]): void {
  let end = 0;
  for (const { name, dataOffset, byteLength } of infos) {
    if (dataOffset < end) faults.push(`"${name}" starts at byte ${dataOffset}, inside the tensor that ends at ${end}`);
    else if (dataOffset > end) faults.push(`bytes ${end} to ${dataOffset}, before "${name}", belong to no tensor`);
    end = Math.max(end, dataOffset + byteLength);
  }
  if (end !== dataLength) faults.push(`the tensors take ${end} bytes, the file holds ${dataLength} after its header`);
}

const TENSOR_HINT = 'Write [{ name, dtype: "F32", shape: [2, 3], data: new Float32Array(6) }].';

/** @throws ConfigError for what is no list, or metadata that are no texts by name */
export function checkTensors(tensors: unknown, metadata: unknown): void {
  const isList =
    typeof tensors !== 'string' && typeof (tensors as Iterable<unknown> | null)?.[Symbol.iterator] === 'function';
  if (!isList) {
    throw new ConfigError(`writeSafetensors: expected a list of tensors, got ${describeGiven(tensors)}`, {
      hint: TENSOR_HINT,
    });
  }
  const wrong = isObject(metadata) ? Object.entries(metadata).find(([, text]) => typeof text !== 'string') : undefined;
  if (isOptions(metadata) && wrong === undefined) return;
  const came = wrong ? `${describeGiven(wrong[1])} as ${showValue(wrong[0])}` : describeGiven(metadata);
  throw new ConfigError(`writeSafetensors: \`metadata\`: expected an object of names and texts, got ${came}`);
}

/** @throws ConfigError for what is no tensor; its bytes are counted when they are written */
export function checkTensor(tensor: unknown): void {
  const { name, dtype, shape, data, chunks } = isObject(tensor) ? tensor : {};
  const isShape = Array.isArray(shape) && shape.every((extent) => typeof extent === 'number');
  const isKnown = typeof dtype === 'string' && Object.hasOwn(DTYPE_BITS, dtype);
  if (typeof name === 'string' && isKnown && isShape && (ArrayBuffer.isView(data) || typeof chunks === 'function'))
    return;
  throw new ConfigError(`writeSafetensors: expected a tensor, got ${describeGiven(tensor)}`, { hint: TENSOR_HINT });
}
