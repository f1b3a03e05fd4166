/** Values in the pages of a Parquet column. @throws Error, for the caller to explain */

export type ParquetValue = Buffer | number | bigint | boolean;

export const PLAIN = 0;
const DICTIONARY = [2, 8];
const ENCODING_NAMES: Readonly<Record<number, string>> = {
  3: 'RLE',
  4: 'BIT_PACKED',
  5: 'DELTA_BINARY_PACKED',
  6: 'DELTA_LENGTH_BYTE_ARRAY',
  7: 'DELTA_BYTE_ARRAY',
  9: 'BYTE_STREAM_SPLIT',
};

/** `count` values of a page. @param dictionary of the column, if it has one */
export function decodeValues(
  bytes: Buffer,
  count: number,
  encoding: number,
  column: { readonly type: number; readonly length: number },
  dictionary: readonly ParquetValue[] | undefined,
): ParquetValue[] {
  if (encoding === PLAIN) return plainValues(bytes, count, column);
  if (!DICTIONARY.includes(encoding)) {
    throw new Error(`the encoding ${ENCODING_NAMES[encoding] ?? encoding}, which is not read here`);
  }
  if (!dictionary) throw new Error('a page without its dictionary');
  if (count === 0) return [];
  const places = decodeRuns(bytes.subarray(1), bytes[0] ?? 0, count);
  return Array.from(places, (place) => {
    const value = dictionary[place];
    if (value === undefined) throw new Error(`entry ${place} of a dictionary of ${dictionary.length}`);
    return value;
  });
}

/** `count` numbers of `width` bits, in runs of equal ones and in packed groups of eight. */
export function decodeRuns(bytes: Buffer, width: number, count: number): Uint32Array {
  if (width > 32) throw new Error(`numbers of ${width} bits`);
  const out = new Uint32Array(count);
  const mask = width === 32 ? 0xffffffff : 2 ** width - 1;
  let [at, end] = [0, 0];
  while (end < count) {
    let head = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 28) throw new Error('runs that break off');
      head += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    const length = Math.floor(head / 2);
    if (head % 2 === 0) {
      const size = Math.ceil(width / 8);
      if (at + size > bytes.length || length === 0) throw new Error('runs that break off');
      const value = size === 0 ? 0 : bytes.readUIntLE(at, size);
      at += size;
      out.fill(value, end, Math.min(count, end + length));
      end += length;
      continue;
    }
    const stop = at + length * width;
    if (length === 0) throw new Error('runs that break off');
    let [buffer, bits] = [0, 0];
    for (let i = 0; i < length * 8 && end < count; i++) {
      // Up to 32 bits and a byte: more than bitwise operators hold.
      while (bits < width) {
        if (at >= bytes.length) throw new Error('runs that break off');
        buffer += bytes[at++]! * 2 ** bits;
        bits += 8;
      }
      out[end++] = width === 32 ? buffer % 2 ** 32 : buffer & mask & 0xffffffff;
      buffer = Math.floor(buffer / 2 ** width);
      bits -= width;
    }
    at = stop;
  }
  return out;
}

function plainValues(
  bytes: Buffer,
  count: number,
  { type, length }: { readonly type: number; readonly length: number },
): ParquetValue[] {
  // Each value takes at least a bit.
  if (count > bytes.length * 8) throw new Error(`${count} values in ${bytes.length} bytes`);
  const values: ParquetValue[] = [];
  const fixed = (width: number, read: (at: number) => ParquetValue): ParquetValue[] => {
    if (width <= 0 || count * width > bytes.length) throw new Error(`${count} values in ${bytes.length} bytes`);
    for (let i = 0; i < count; i++) values.push(read(i * width));
    return values;
  };
  switch (type) {
    case 0:
      for (let i = 0; i < count; i++) values.push(((bytes[i >> 3]! >> (i & 7)) & 1) === 1);
      return values;
    case 1:
      return fixed(4, (at) => bytes.readInt32LE(at));
    case 2:
      return fixed(8, (at) => bytes.readBigInt64LE(at));
    case 4:
      return fixed(4, (at) => bytes.readFloatLE(at));
    case 5:
      return fixed(8, (at) => bytes.readDoubleLE(at));
    case 7:
      return fixed(length, (at) => bytes.subarray(at, at + length));
    case 6:
      break;
    default:
      throw new Error(`values of type ${type}, which are not read here`);
  }
  for (let i = 0, at = 0; i < count; i++) {
    if (at + 4 > bytes.length) throw new Error(`${i} of ${count} values`);
    const size = bytes.readUInt32LE(at);
    at += 4;
    if (at + size > bytes.length) throw new Error(`${i} of ${count} values`);
    values.push(bytes.subarray(at, at + size));
    at += size;
  }
  return values;
}
