/** The ways in which rows refer to images: paths, addresses, data: URLs, cells of Hugging Face tables. */
import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageError } from '../../errors.js';
import { cutText } from '../../messages/cut-text.js';
import { oneLine } from '../../messages/one-line.js';
import { ImageFile, imageFormatOf, type OpenedImage, openImage } from '../decode-image.js';
import { describeKind, findUnknownKey, isRecord, unknownKey } from '../known-keys.js';
import type { ImageInput, LazyImage, RgbImage } from '../types.js';
import { mismatch, RowFault } from './row-fault.js';

/** In characters: more than file systems take. */
const LONGEST_PATH = 4096;
/** As encoded bytes; as base64 they take a third more. */
const MAX_EMBEDDED_BYTES = 67_108_864;

export interface ImageCellOptions {
  /** Absolute: what paths are relative to. */
  readonly imageRoot: string;
  readonly onBadImage: 'error' | 'skip';
  readonly maxPixels?: number | undefined;
}

/** An image whose encoded bytes are in the row. */
export class EmbeddedImage implements LazyImage {
  readonly path: string;
  readonly onBadImage: LazyImage['onBadImage'];
  /** What is wrong with them as far as it shows without decoding. */
  readonly fault: string | undefined;
  readonly #bytes: Uint8Array;
  readonly #maxPixels: number | undefined;

  /** @param name the row and the place in it */
  constructor(name: string, bytes: Uint8Array, options: ImageCellOptions) {
    this.path = name;
    this.onBadImage = options.onBadImage;
    this.#bytes = bytes;
    this.#maxPixels = options.maxPixels;
    this.fault = imageFormatOf(bytes) ? undefined : `${bytes.length} bytes that are no JPEG, PNG, WebP or GIF image`;
  }

  get content(): { readonly bytes: Uint8Array; readonly bitDepth?: undefined } {
    return { bytes: this.#bytes };
  }

  /** Reads the header. @throws ImageError naming the row */
  async open(): Promise<OpenedImage> {
    if (this.fault) throw new ImageError(`${oneLine(this.path)}: ${this.fault}`, { details: { path: this.path } });
    const { path: name } = this;
    return openImage(this.#bytes, this.#maxPixels === undefined ? { name } : { name, maxPixels: this.#maxPixels });
  }

  async decode(): Promise<RgbImage> {
    return (await this.open()).decode();
  }
}

/**
 * @param where the place in the row, e.g. `images[0]`
 * @param row how messages call the row
 * @throws RowFault for what cannot be an image that is read here; files are not looked at
 */
export function readImageCell(cell: unknown, where: string, row: string, options: ImageCellOptions): ImageInput {
  const name = `${row}, ${where}`;
  if (typeof cell === 'string') return ofText(cell, where, name, options);
  if (cell instanceof Uint8Array) return embedded(cell, where, name, options);
  if (isRecord(cell)) {
    // In memory there may be images that are images already.
    if (typeof cell['decode'] === 'function' || 'data' in cell) return cell as unknown as ImageInput;
    const unknown = findUnknownKey(cell, ['bytes', 'path']);
    if (unknown === undefined && ('bytes' in cell || 'path' in cell)) {
      const { bytes, path } = cell;
      if (bytes !== undefined && bytes !== null) return embedded(bytesOf(bytes, where), where, name, options);
      if (typeof path === 'string') return ofText(path, where, name, options);
      throw new RowFault(
        `${where}: neither \`bytes\` nor \`path\` has a value`,
        'the row has no image: remove the cell',
      );
    }
    if (unknown !== undefined && ('bytes' in cell || 'path' in cell)) {
      throw new RowFault(`${where}: ${unknownKey(unknown, ['bytes', 'path'])}`, 'an image cell is { bytes, path }');
    }
  }
  throw mismatch(
    where,
    'an image',
    cell,
    'write a path relative to the file, a data: URL, or { bytes, path } as Hugging Face data sets have it',
  );
}

function ofText(text: string, where: string, name: string, options: ImageCellOptions): ImageInput {
  if (text.trim() === '')
    throw new RowFault(`${where}: the path is empty`, 'write the path of the image, or leave it out');
  if (/^data:/i.test(text)) return embedded(bytesOfDataUrl(text, where), where, name, options);
  if (isEncodedImage(text)) return embedded(fromBase64(text, where), where, name, options);
  if (text.length > LONGEST_PATH) {
    throw new RowFault(
      `${where}: a text of ${text.length} characters is no path: ${shorten(text, 40)}`,
      'an image within the row is a data: URL (data:image/png;base64,…) or { "bytes": its base64 }',
    );
  }
  let path = text;
  if (/^file:/i.test(text)) {
    try {
      path = fileURLToPath(text);
    } catch (cause) {
      throw new RowFault(`${where}: ${shorten(text)} names no file here: ${(cause as Error).message}`, 'write a path');
    }
  } else if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text)) {
    throw new RowFault(
      `${where}: ${shorten(text)} is an address, not a file`,
      'nothing is fetched while data is read: download the images, and write their paths relative to the file',
    );
  }
  const { imageRoot, onBadImage, maxPixels } = options;
  return new ImageFile(isAbsolute(path) ? path : resolve(imageRoot, path), {
    onBadImage,
    ...(maxPixels !== undefined && { maxPixels }),
  });
}

/** Base64 of a JPEG, PNG, GIF or WebP file without anything before it, as transformers takes it too. */
function isEncodedImage(text: string): boolean {
  return /^(?:\/9j\/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/]/.test(text) && text.length >= 64 && !/\.\w+$/.test(text);
}

function embedded(bytes: Uint8Array, where: string, name: string, options: ImageCellOptions): EmbeddedImage {
  if (bytes.length > MAX_EMBEDDED_BYTES) throw tooLarge(where);
  return new EmbeddedImage(name, bytes, options);
}

/** `bytes` of a cell: bytes in memory, what JSON makes of a Buffer, or base64. */
function bytesOf(value: unknown, where: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return /^data:/i.test(value) ? bytesOfDataUrl(value, where) : fromBase64(value, where);
  const list = isRecord(value) && value['type'] === 'Buffer' ? value['data'] : value;
  if (Array.isArray(list) && list.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256)) {
    return Uint8Array.from(list as number[]);
  }
  throw new RowFault(`${where}: \`bytes\` are ${describeKind(value)}`, 'expected bytes, or their base64');
}

function bytesOfDataUrl(url: string, where: string): Uint8Array {
  const comma = url.indexOf(',');
  const head = comma < 0 || comma > 200 ? '' : url.slice(5, comma).toLowerCase();
  const match = /^image\/(jpeg|jpg|png|webp|gif)((?:;[a-z0-9-]+=[^;,]*)*);base64$/.exec(head.replaceAll(' ', ''));
  if (match) return fromBase64(url.slice(comma + 1), where);
  throw new RowFault(
    `${where}: ${shorten(url, 60)} is no data: URL of an image that is read here`,
    'expected data:image/jpeg;base64,… with jpeg, png, webp or gif',
  );
}

/** Node's own decoder passes over whatever is no base64. */
function fromBase64(text: string, where: string): Uint8Array {
  if (text.length > MAX_EMBEDDED_BYTES * 1.4) throw tooLarge(where);
  const plain = /\s/.test(text) ? text.replaceAll(/\s+/g, '') : text;
  const padded = /^[A-Za-z0-9+/]*={0,2}$/.test(plain) && plain.length % 4 !== 1;
  const urlSafe = !padded && /^[A-Za-z0-9_-]*={0,2}$/.test(plain) && plain.length % 4 !== 1;
  if (plain !== '' && (padded || urlSafe)) return Buffer.from(plain, urlSafe ? 'base64url' : 'base64');
  throw new RowFault(
    `${where}: ${plain === '' ? 'there is nothing behind the comma' : 'it is not base64'}`,
    'the image was not encoded to its end, or cut: encode it again',
  );
}

function tooLarge(where: string): RowFault {
  return new RowFault(
    `${where}: an image of more than ${MAX_EMBEDDED_BYTES} bytes in a row`,
    'write the image to a file, and its path into the row',
  );
}

function shorten(text: string, length = 100): string {
  return oneLine(cutText(text, length));
}
