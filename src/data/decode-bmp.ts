/**
 * Windows bitmaps, which the decoding library does not read: 1, 4, 8, 16, 24 and 32 bits, palettes, bit fields and
 * run lengths, bottom-up and top-down. Alpha is dropped, as everywhere.
 */
import type { RgbImage } from './types.js';

export interface BmpHeader {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  readonly isTopDown: boolean;
  readonly bits: number;
  /** 0 none, 1 run lengths of 8 bits, 2 of 4 bits, 3 and 6 bit fields. */
  readonly compression: number;
  /** Where the pixels begin. */
  readonly pixelsAt: number;
  /** [256 × 3] red, green, blue of each index. */
  readonly palette: Uint8Array | undefined;
  /** Of red, green and blue. */
  readonly masks: readonly [number, number, number];
}

/** @throws Error with the reason */
export function readBmpHeader(bytes: Uint8Array): BmpHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bytes.length >= 18 ? view.getUint32(14, true) : 0;
  if (size < 12 || 14 + size > bytes.length) throw new Error('the header is cut short');
  const isCore = size === 12;
  const width = isCore ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = isCore ? view.getUint16(20, true) : view.getInt32(22, true);
  const bits = view.getUint16(isCore ? 24 : 28, true);
  const compression = size >= 20 ? view.getUint32(30, true) : 0;
  const height = Math.abs(signedHeight);
  if (width <= 0 || height === 0) throw new Error(`${width} × ${signedHeight} pixels`);
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw new Error(`${bits} bits a pixel are not known`);
  const isRunLength = (compression === 1 && bits === 8) || (compression === 2 && bits === 4);
  const hasFields = (compression === 3 || compression === 6) && (bits === 16 || bits === 32);
  if (compression !== 0 && !isRunLength && !hasFields)
    throw new Error(`compression ${compression} with ${bits} bits a pixel is not known`);
  let paletteAt = 14 + size;
  let masks: [number, number, number] = bits === 16 ? [0x7c00, 0x3e0, 0x1f] : [0xff0000, 0xff00, 0xff];
  if (hasFields) {
    if (54 + 12 > bytes.length) throw new Error('the header is cut short');
    masks = [0, 4, 8].map((at) => view.getUint32(54 + at, true)) as [number, number, number];
    if (size === 40) paletteAt += compression === 6 ? 16 : 12;
  }
  return {
    width,
    height,
    isTopDown: signedHeight < 0,
    bits,
    compression,
    pixelsAt: view.getUint32(10, true),
    palette: bits <= 8 ? readPalette(bytes, view, bits, size, paletteAt) : undefined,
    masks,
  };
}

/** Indices behind the end of the palette are grey levels, as Pillow has them. */
function readPalette(bytes: Uint8Array, view: DataView, bits: number, size: number, at: number): Uint8Array {
  const palette = new Uint8Array(256 * 3).map((_, i) => Math.floor(i / 3));
  const entry = size === 12 ? 3 : 4;
  const declared = size >= 36 ? view.getUint32(46, true) : 0;
  const count = Math.min(declared || 2 ** bits, 256);
  for (let i = 0; i < count && at + i * entry + 3 <= bytes.length; i++)
    for (let c = 0; c < 3; c++) palette[i * 3 + c] = bytes[at + i * entry + 2 - c]!;
  return palette;
}

/** @throws Error with the reason if there are fewer pixels than the header says */
export function decodeBmp(bytes: Uint8Array, header: BmpHeader): RgbImage {
  const { width, height, bits, isTopDown, palette } = header;
  const isRunLength = header.compression === 1 || header.compression === 2;
  const stride = isRunLength ? width : Math.ceil((width * bits) / 32) * 4;
  // The padding of the last row is missing in some files.
  const needed = stride * (height - 1) + Math.ceil((width * bits) / 8);
  if (!isRunLength && header.pixelsAt + needed > bytes.length)
    throw new Error(`${bytes.length} bytes, where ${header.pixelsAt + needed} were expected`);
  const stored = isRunLength ? unpackRuns(bytes, header) : bytes.subarray(header.pixelsAt);
  const data = new Uint8Array(width * height * 3);
  const color = palette ? undefined : trueColour(stored, header);
  const perByte = 8 / (isRunLength ? 8 : bits);
  for (let y = 0, to = 0; y < height; y++) {
    const row = (isTopDown ? y : height - 1 - y) * stride;
    for (let x = 0; x < width; x++, to += 3) {
      if (color) {
        color(row, x, data, to);
        continue;
      }
      const byte = stored[row + Math.floor(x / perByte)]!;
      const index = perByte === 1 ? byte : (byte >> (8 - bits * ((x % perByte) + 1))) & (2 ** bits - 1);
      for (let c = 0; c < 3; c++) data[to + c] = palette![index * 3 + c]!;
    }
  }
  return { width, height, data };
}

type PixelReader = (row: number, x: number, data: Uint8Array, to: number) => void;

function trueColour(stored: Uint8Array, { bits, masks }: BmpHeader): PixelReader {
  if (bits === 24) {
    return (row, x, data, to) => {
      for (let c = 0; c < 3; c++) data[to + c] = stored[row + x * 3 + 2 - c]!;
    };
  }
  const view = new DataView(stored.buffer, stored.byteOffset, stored.byteLength);
  const shifts = masks.map((mask) => (mask === 0 ? 0 : 31 - Math.clz32(mask & -mask)));
  const largest = masks.map((mask, c) => mask >>> shifts[c]! || 1);
  return (row, x, data, to) => {
    const value = bits === 16 ? view.getUint16(row + x * 2, true) : view.getUint32(row + x * 4, true);
    for (let c = 0; c < 3; c++) data[to + c] = Math.floor((((value & masks[c]!) >>> shifts[c]!) * 255) / largest[c]!);
  };
}

/** One byte an index; what no run covers is index 0. */
function unpackRuns(bytes: Uint8Array, { width, height, compression, pixelsAt }: BmpHeader): Uint8Array {
  const indices = new Uint8Array(width * height);
  let x = 0;
  let y = 0;
  let at = pixelsAt;
  const put = (index: number) => {
    if (x < width && y < height) indices[y * width + x] = index;
    x++;
  };
  const nibble = (byte: number, i: number) => (i % 2 === 0 ? byte >> 4 : byte & 15);
  while (y < height) {
    if (at + 2 > bytes.length) throw new Error('the pixels are cut short');
    const count = bytes[at]!;
    const value = bytes[at + 1]!;
    at += 2;
    if (count > 0) {
      for (let i = 0; i < count; i++) put(compression === 2 ? nibble(value, i) : value);
    } else if (value === 0) {
      x = 0;
      y++;
    } else if (value === 1) {
      break;
    } else if (value === 2) {
      if (at + 2 > bytes.length) throw new Error('the pixels are cut short');
      x += bytes[at]!;
      y += bytes[at + 1]!;
      at += 2;
    } else {
      const length = compression === 2 ? Math.ceil(value / 2) : value;
      if (at + length > bytes.length) throw new Error('the pixels are cut short');
      for (let i = 0; i < value; i++) put(compression === 2 ? nibble(bytes[at + (i >> 1)]!, i) : bytes[at + i]!);
      at += length + (length % 2);
    }
  }
  return indices;
}
