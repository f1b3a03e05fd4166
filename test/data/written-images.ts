/** Image files written byte by byte, of kinds that sharp does not write. */
import { deflateSync } from 'node:zlib';

/** The CRC-32 of PNG chunks. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

export function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8 + data.length + 4);
  frame.writeUInt32BE(data.length, 0);
  body.copy(frame, 4);
  frame.writeUInt32BE(checksum(body), 8 + data.length);
  return frame;
}

/** A PNG written by hand: rows of samples as they are stored. */
export function png(
  width: number,
  height: number,
  depth: number,
  colourType: number,
  rows: Buffer[],
  extra: Buffer = Buffer.alloc(0),
): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = depth;
  header[9] = colourType;
  const pixels = Buffer.concat(rows.map((row) => Buffer.concat([Buffer.of(0), row])));
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    pngChunk('IHDR', header),
    extra,
    pngChunk('IDAT', deflateSync(pixels)),
    pngChunk('IEND', Buffer.alloc(0)),
  ]);
}

/** One row of 16-bit grey samples. */
export function grey16Png(samples: readonly number[], alpha?: number): Buffer {
  const words = alpha === undefined ? samples : samples.flatMap((sample) => [sample, alpha]);
  const row = Buffer.alloc(words.length * 2);
  words.forEach((word, i) => {
    row.writeUInt16BE(word, i * 2);
  });
  return png(samples.length, 1, 16, alpha === undefined ? 0 : 4, [row]);
}

/** A bitmap of 24 bits, all of one colour (200, 100, 50). */
export function bmpOf(width: number, height: number): Buffer {
  const stride = Math.ceil((width * 3) / 4) * 4;
  const file = Buffer.alloc(54 + stride * height);
  file.write('BM', 'latin1');
  file.writeUInt32LE(file.length, 2);
  file.writeUInt32LE(54, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(width, 18);
  file.writeInt32LE(height, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(24, 28);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) file.set([50, 100, 200], 54 + y * stride + x * 3);
  return file;
}

/** An uncompressed TIFF of one channel, little-endian; `tags` are put in or take the place of others. */
export function tiffOf(
  width: number,
  height: number,
  bits: number,
  samples: Uint8Array,
  tags: Readonly<Record<number, number>> = {},
): Buffer {
  const all: Record<number, number> = {
    ...{ 256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: height, 279: samples.length },
    ...tags,
  };
  const entries = Object.entries(all).sort(([a], [b]) => Number(a) - Number(b));
  const head = Buffer.alloc(8 + 2 + entries.length * 12 + 4);
  head.write('II*\0', 'latin1');
  head.writeUInt32LE(8, 4);
  head.writeUInt16LE(entries.length, 8);
  for (const [i, [tag, value]] of entries.entries()) {
    const at = 10 + i * 12;
    head.writeUInt16LE(Number(tag), at);
    head.writeUInt16LE(4, at + 2);
    head.writeUInt32LE(1, at + 4);
    head.writeUInt32LE(tag === '273' ? head.length : value, at + 8);
  }
  return Buffer.concat([head, samples]);
}
