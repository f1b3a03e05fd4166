/**
 * The header of a safetensors file: eight bytes with its length N (little-endian), N bytes of JSON, then the data.
 * Each entry gives dtype, shape and the byte range of a tensor, counted from the end of the header.
 * Format: https://github.com/huggingface/safetensors#format
 */
import { CheckpointError } from '../errors.js';
import { sizeOf } from './tensor.js';

/** Bits of one element. */
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

/** Number formats by their names in the file. */
export type SafetensorsDType = keyof typeof DTYPE_BITS;

/** One tensor of a file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
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
export function tensorByteLength(dtype: SafetensorsDType, shape: readonly number[]): number | undefined {
  const bits = sizeOf(shape) * DTYPE_BITS[dtype];
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

/**
 * Reads and checks the JSON part of a header.
 * @param dataLength bytes that follow the header in the file
 * @throws CheckpointError listing every fault: bad JSON, unknown dtype, bad shape, byte range that does not fit its
 *   dtype and shape, ranges that overlap, leave a hole or leave the file, a name that comes twice
 */
export function parseHeader(json: Uint8Array, dataLength: number, path: string): SafetensorsHeader {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(json);
    header = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`${path}: the safetensors header is not valid JSON`, { cause, details: { path } });
  }
  if (!isRecord(header)) throw new CheckpointError(`${path}: the safetensors header is not a JSON object`);

  const faults: string[] = repeatedKeys(text).map((name) => `the name "${name}" comes more than once`);
  let metadata: Record<string, string> = {};
  const infos: TensorInfo[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (isRecord(entry) && Object.values(entry).every((value) => typeof value === 'string')) {
        metadata = Object.fromEntries(Object.entries(entry)) as Record<string, string>;
      } else faults.push('`__metadata__` is not an object of strings');
      continue;
    }
    const info = readEntry(name, entry);
    if (typeof info === 'string') faults.push(`"${name}": ${info}`);
    else infos.push(info);
  }

  infos.sort((a, b) => a.dataOffset - b.dataOffset || a.byteLength - b.byteLength);
  if (faults.length === 0) faults.push(...rangeFaults(infos, dataLength));
  if (faults.length > 0) {
    const listed = faults.slice(0, MAX_LISTED_FAULTS);
    if (faults.length > listed.length) listed.push(`and ${faults.length - listed.length} more`);
    throw new CheckpointError(`${path}: bad safetensors header:\n  - ${listed.join('\n  - ')}`, {
      hint: 'The file is damaged or was cut off; download or write it again.',
      details: { path, faults },
    });
  }
  return { tensors: new Map(infos.map((info) => [info.name, info])), metadata };
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

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((extent) => Number.isSafeInteger(extent) && extent >= 0);
}

/** The entry, or what is wrong with it. */
function readEntry(name: string, entry: unknown): TensorInfo | string {
  if (!isRecord(entry)) return 'the entry is not an object';
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BITS, dtype)) return `unknown dtype ${JSON.stringify(dtype)}`;
  if (!isShape(shape)) return `bad shape ${JSON.stringify(shape)}`;
  if (!isShape(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    return `bad data_offsets ${JSON.stringify(offsets)}`;
  }
  const known = dtype as SafetensorsDType;
  const byteLength = tensorByteLength(known, shape);
  if (byteLength === undefined) return `${dtype} [${shape}] is not a whole number of bytes or is too large`;
  if (byteLength !== offsets[1]! - offsets[0]!) {
    return `${dtype} [${shape}] takes ${byteLength} bytes, data_offsets give ${offsets[1]! - offsets[0]!}`;
  }
  return { name, dtype: known, shape, byteLength, dataOffset: offsets[0]! };
}

/** The ranges, sorted, must tile the data from its first byte to its last. */
function rangeFaults(infos: readonly TensorInfo[], dataLength: number): string[] {
  const faults: string[] = [];
  let end = 0;
  for (const { name, dataOffset, byteLength } of infos) {
    if (dataOffset < end) faults.push(`"${name}" starts at byte ${dataOffset}, inside the tensor that ends at ${end}`);
    else if (dataOffset > end) faults.push(`bytes ${end} to ${dataOffset}, before "${name}", belong to no tensor`);
    end = Math.max(end, dataOffset + byteLength);
  }
  if (end !== dataLength) faults.push(`the tensors take ${end} bytes, the file holds ${dataLength} after its header`);
  return faults;
}

/** Names that the outermost object holds more than once; JSON.parse keeps only the last. `text` is valid JSON. */
function repeatedKeys(text: string): string[] {
  const seen = new Set<string>();
  const repeated = new Set<string>();
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++;
      let next = i + 1;
      while (' \t\r\n'.includes(text[next]!)) next++;
      if (depth !== 1 || text[next] !== ':') continue;
      const name = JSON.parse(text.slice(start, i + 1)) as string;
      if (seen.has(name)) repeated.add(name);
      seen.add(name);
    }
  }
  return [...repeated];
}
