/** Short marks of what images hold, computed without decoding them. Bytes of files pass through and are not kept. */
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { openRegularFile } from '../files/regular-file.js';
import { EmbeddedImage } from './conversations/image-cells.js';
import { ImageFile } from './decode-image.js';
import type { RgbImage } from './types.js';

/** Bytes that are looked at whole, over all images of a digester; of those beyond, the size and some pieces. */
const WHOLE_BYTES = 1_073_741_824;
/** Evenly spread over an image that is not looked at whole, its first and last bytes among them. */
const PIECES = 3;
const PIECE_BYTES = 16_384;
const READ_BYTES = 262_144;

export type ImageSource =
  | { readonly kind: 'file'; readonly path: string; readonly bitDepth?: number | undefined }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'pixels'; readonly image: RgbImage }
  /** A handle of the caller's own: its pixels show only when it is decoded. `path` may be that of a file. */
  | { readonly kind: 'handle'; readonly path: string; readonly decode: () => Promise<RgbImage> }
  | { readonly kind: 'none' };

export function imageSource(input: unknown): ImageSource {
  if (typeof input === 'string') return { kind: 'file', path: input };
  if (input instanceof Uint8Array) return { kind: 'bytes', bytes: input };
  if (input instanceof ImageFile) return { kind: 'file', path: input.path, bitDepth: input.content.bitDepth };
  if (input instanceof EmbeddedImage) return { kind: 'bytes', bytes: input.content.bytes };
  if (typeof input !== 'object' || input === null) return { kind: 'none' };
  const { decode, path, data } = input as { decode?: unknown; path?: unknown; data?: unknown };
  if (typeof decode === 'function') {
    const handle = input as { decode: () => Promise<RgbImage> };
    return { kind: 'handle', path: String(path), decode: () => handle.decode() };
  }
  return data instanceof Uint8Array ? { kind: 'pixels', image: input as RgbImage } : { kind: 'none' };
}

interface FileToDigest {
  readonly file: FileHandle;
  readonly size: number;
}

/** Digests images in the order in which it is asked, which decides which ones are looked at whole. */
export class ImageDigester {
  #left: number;

  /** @param wholeBytes bytes of all images that are looked at to the last one */
  constructor(wholeBytes: number = WHOLE_BYTES) {
    this.#left = wholeBytes;
  }

  /** Of bytes in memory. @param name of what they are, so that pixels and encoded bytes differ */
  ofBytes(bytes: Uint8Array, name = ''): string {
    const hash = createHash('sha256').update(`${name} ${bytes.length}`);
    for (const [from, to] of this.ranges(bytes.length)) hash.update(bytes.subarray(from, to));
    return hash.digest('base64');
  }

  ofPixels({ width, height, data }: RgbImage): string {
    return this.ofBytes(data, `${width} ${height}`);
  }

  /** Which bytes of so many are looked at: asked for in the order of the images. */
  ranges(size: number): readonly (readonly [from: number, to: number])[] {
    if (size <= this.#left) {
      this.#left -= size;
      return size === 0 ? [] : [[0, size]];
    }
    if (size <= PIECES * PIECE_BYTES) return [[0, size]];
    return Array.from({ length: PIECES }, (_, i) => {
      const from = Math.floor((i * (size - PIECE_BYTES)) / (PIECES - 1));
      return [from, from + PIECE_BYTES] as const;
    });
  }
}

/** Opens a file of images; what keeps it from being read, where something does. The caller closes it. */
export async function openToDigest(path: string): Promise<FileToDigest | string> {
  try {
    return await openRegularFile(path);
  } catch (error) {
    return `unreadable ${(error as NodeJS.ErrnoException).code ?? ''}`;
  }
}

/** Of the ranges of an open file, which it closes. @param scratch holds a piece of it meanwhile */
export async function digestFile(
  { file, size }: FileToDigest,
  ranges: ReturnType<ImageDigester['ranges']>,
  bitDepth: number | undefined,
): Promise<string> {
  const hash = createHash('sha256').update(` ${size}`);
  try {
    for (const [from, to] of ranges) await hashRange(hash, file, from, to);
  } catch (error) {
    return `unreadable ${(error as NodeJS.ErrnoException).code ?? ''}`;
  } finally {
    await file.close();
  }
  // A depth of 16 is what files have that say nothing.
  if (bitDepth !== undefined && bitDepth !== 16) hash.update(` bitDepth ${bitDepth}`);
  return hash.digest('base64');
}

async function hashRange(hash: Hash, file: FileHandle, from: number, to: number): Promise<void> {
  const scratch = Buffer.allocUnsafe(Math.min(READ_BYTES, to - from));
  for (let at = from; at < to; ) {
    const { bytesRead } = await file.read(scratch, 0, Math.min(scratch.length, to - at), at);
    if (bytesRead === 0) return;
    hash.update(scratch.subarray(0, bytesRead));
    at += bytesRead;
  }
}
