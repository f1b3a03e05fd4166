/** The compressions of Parquet's pages. Each gives exactly the bytes announced, or fails. */
import * as zlib from 'node:zlib';

const NAMES = ['none', 'Snappy', 'gzip', 'LZO', 'Brotli', 'LZ4', 'Zstandard', 'LZ4 (raw)'];

/**
 * The most that a compressed byte becomes, by codec. Snappy's copies of 64 bytes take three, gzip's of 258 two bits;
 * for the others it is what is taken: images do not get near it.
 */
const MAX_RATIO: Readonly<Record<number, number>> = { 0: 1, 1: 22, 2: 1040, 4: 2000, 6: 2000 };

/** @throws Error, for the caller to explain */
export function decompress(codec: number, bytes: Buffer, size: number): Buffer {
  const ratio = MAX_RATIO[codec];
  if (ratio === undefined)
    throw new Error(`${NAMES[codec] ?? `unknown (${codec})`} compression, which is not read here`);
  if (size > 64 + ratio * bytes.length) throw new Error(`${bytes.length} bytes that claim to become ${size}`);
  const limit = { maxOutputLength: Math.max(1, size) };
  const whole = ((): Buffer => {
    switch (codec) {
      case 0:
        return bytes;
      case 1:
        return unsnappy(bytes, size);
      case 2:
        return zlib.gunzipSync(bytes, limit);
      case 4:
        return zlib.brotliDecompressSync(bytes, limit);
      default: {
        const unzstd = (zlib as unknown as { zstdDecompressSync?: typeof zlib.gunzipSync }).zstdDecompressSync;
        if (!unzstd) throw new Error('Zstandard compression, which Node has from 22.15 on');
        return unzstd(bytes, limit);
      }
    }
  })();
  if (whole.length !== size) throw new Error(`${whole.length} of ${size} bytes`);
  return whole;
}

function unsnappy(bytes: Buffer, size: number): Buffer {
  let at = 0;
  let announced = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    if (byte === undefined || shift > 28) throw new Error('no Snappy data');
    announced += (byte & 127) * 2 ** shift;
    if (byte < 128) break;
  }
  if (announced !== size) throw new Error(`${announced} bytes for ${size}`);
  const out = Buffer.allocUnsafe(size);
  let end = 0;
  while (at < bytes.length) {
    const tag = bytes[at++]!;
    const kind = tag & 3;
    if (kind === 0) {
      let length = tag >> 2;
      if (length >= 60) {
        const width = length - 59;
        if (at + width > bytes.length) throw new Error('Snappy data that break off');
        length = bytes.readUIntLE(at, width);
        at += width;
      }
      length++;
      if (at + length > bytes.length || end + length > size) throw new Error('Snappy data that break off');
      bytes.copy(out, end, at, at + length);
      at += length;
      end += length;
      continue;
    }
    const width = kind === 3 ? 4 : kind;
    if (at + width > bytes.length) throw new Error('Snappy data that break off');
    const low = bytes.readUIntLE(at, width);
    at += width;
    const length = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const offset = kind === 1 ? ((tag >> 5) << 8) | low : low;
    if (offset === 0 || offset > end || end + length > size) throw new Error('a Snappy copy of nothing');
    // Source and target may overlap: what was written just now is copied again.
    for (let i = 0; i < length; i++) out[end + i] = out[end + i - offset]!;
    end += length;
  }
  if (end !== size) throw new Error(`${end} of ${size} bytes`);
  return out;
}
