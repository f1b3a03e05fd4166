/**
 * Which way up an image is meant to be, found where Pillow's `exif_transpose` looks: the EXIF block, in a PNG also one in
 * a text chunk named `Raw profile type exif`, and the XMP packet if no EXIF block has the tag. Decoders look at the EXIF
 * block alone, and at that of a PNG only if it comes before the pixels.
 */
import { inflateSync } from 'node:zlib';
import type { ImageFormat } from './image-format.js';
import { readTiffTags, TAG } from './tiff-tags.js';
import type { RgbImage } from './types.js';

/** What Pillow accepts of a text chunk; more is made to fill memory. */
const MAX_TEXT = 1_048_576;

interface ImageMetadata {
  readonly exif?: Uint8Array | undefined;
  readonly xmp?: Uint8Array | undefined;
}

/** 1 to 8 as in EXIF; 1 (as it is stored) for values that mean nothing. */
export function orientationOf(bytes: Uint8Array, format: ImageFormat, metadata: ImageMetadata): number {
  // An AVIF file says it to its decoder, which has turned the image by then.
  if (format === 'avif' || format === 'bmp' || format === 'gif') return 1;
  const png = format === 'png' ? readPngMetadata(bytes) : metadata;
  const tags = format === 'tiff' ? readTiffTags(bytes) : png.exif ? readTiffTags(png.exif) : undefined;
  const found = tags?.entries.has(TAG.orientation) ? tags.numbers.get(TAG.orientation) : inXmp(png.xmp);
  return found !== undefined && Number.isInteger(found) && found >= 1 && found <= 8 ? found : 1;
}

function inXmp(xmp: Uint8Array | undefined): number | undefined {
  if (!xmp) return undefined;
  const digit = /tiff:Orientation(?:="|>)([0-9])/.exec(Buffer.from(xmp).toString('latin1'))?.[1];
  return digit === undefined ? undefined : Number(digit);
}

/** EXIF and XMP of a PNG, before or after the pixels; the last chunk of a kind counts. */
function readPngMetadata(bytes: Uint8Array): ImageMetadata {
  const png = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let exif: Uint8Array | undefined;
  let rawProfile: string | undefined;
  let xmp: Uint8Array | undefined;
  for (let at = 8; at + 12 <= png.length; ) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    if (type === 'IEND') break;
    const data = png.subarray(at + 8, at + 8 + length);
    if (type === 'eXIf') exif = data;
    else if (/^[tzi](EXt|TXt)$/.test(type)) {
      const key = data.toString('latin1', 0, Math.max(0, data.subarray(0, 80).indexOf(0)));
      if (key === 'Raw profile type exif') rawProfile = textOf(type, data, key)?.toString('latin1') ?? rawProfile;
      if (key === 'XML:com.adobe.xmp') xmp = textOf(type, data, key) ?? xmp;
    }
    at += 12 + length;
  }
  return { exif: exif ?? fromRawProfile(rawProfile), xmp };
}

function textOf(type: string, data: Buffer, key: string): Buffer | undefined {
  let text = data.subarray(key.length + 1);
  let isPacked = type === 'zTXt';
  if (isPacked) text = text.subarray(1);
  if (type === 'iTXt') {
    isPacked = text[0] !== 0;
    if (isPacked && text[1] !== 0) return undefined;
    text = text.subarray(2);
    // A language and a translated key word come before the text.
    for (let i = 0; i < 2; i++) text = text.subarray(text.indexOf(0) + 1);
  }
  if (!isPacked) return text.length <= MAX_TEXT ? text : undefined;
  try {
    return inflateSync(text, { maxOutputLength: MAX_TEXT });
  } catch {
    return undefined;
  }
}

/** ImageMagick's form: a line break, the name, the length, and the bytes in hexadecimal lines. */
function fromRawProfile(text: string | undefined): Uint8Array | undefined {
  return text === undefined ? undefined : Buffer.from(text.split('\n').slice(3).join('').replaceAll(/\s/g, ''), 'hex');
}

export function orient(image: RgbImage, orientation: number): RgbImage {
  if (orientation === 1) return image;
  const { width: from, height: rows, data } = image;
  const [width, height] = orientation >= 5 ? [rows, from] : [from, rows];
  const isMirroredX = [2, 3, 7, 8].includes(orientation);
  const isMirroredY = [3, 4, 6, 7].includes(orientation);
  const turned = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const [column, row] = orientation >= 5 ? [y, x] : [x, y];
      const source = ((isMirroredY ? rows - 1 - row : row) * from + (isMirroredX ? from - 1 - column : column)) * 3;
      turned[to] = data[source]!;
      turned[to + 1] = data[source + 1]!;
      turned[to + 2] = data[source + 2]!;
    }
  }
  return { width, height, data: turned };
}
