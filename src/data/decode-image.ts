/**
 * From an encoded picture to 8-bit RGB, as Pillow's `open`, `exif_transpose` and `convert('RGB')` would give it:
 * alpha is dropped and not blended, colour profiles are ignored, CMYK is converted without a profile, EXIF orientation is
 * applied, an animation gives its first frame. Two differences: pixels that a GIF marks as transparent come out black
 * and not in their palette colour, and 16-bit grey is scaled by its own range (see `narrowGrey16`), where Pillow clips.
 */
import sharp, { type Metadata } from 'sharp';
import { ImageError } from '../errors.js';
import { oneLine } from '../one-line.js';
import { readRegularFile } from '../regular-file.js';
import type { ImageInput, LazyImage, RgbImage } from './types.js';

/** The picture formats that are read, told by their first bytes and never by a file name. */
export type ImageFormat = 'jpeg' | 'png' | 'webp' | 'gif';

/** First bytes that `imageFormatOf` needs to see. */
export const IMAGE_HEADER_BYTES = 12;

/** Pixels above which a picture is refused: where Pillow stops by default (2 × 89,478,485), 537 MB decoded. */
export const DEFAULT_MAX_PIXELS = 178_956_970;

/** An uncompressed pixel of 16 bits a channel, and room for profiles and previews beside the pixels. */
const MAX_PIXEL_BYTES = 8;
const MAX_EXTRA_BYTES = 67_108_864;
/** The largest picture that is let in takes a few; a file made to be slow, by many passes over it, takes for ever. */
const MAX_SECONDS = 30;

/** Options of `decodeImage` and `imageSize`, for paths and encoded bytes. */
export interface DecodeOptions {
  /** Refuse pictures of more pixels than this, before decoding them. Default 178,956,970. */
  readonly maxPixels?: number;
  /** How messages call a picture that is given as bytes. Default: its length. */
  readonly name?: string;
}

export interface ImageFileOptions extends DecodeOptions {
  /** For whoever makes batches: what becomes of the sample if the file cannot be read by then. Default 'error'. */
  readonly onBadImage?: LazyImage['onBadImage'];
}

/** A picture file that is read and decoded each time it is asked for. */
export class ImageFile implements LazyImage {
  readonly path: string;
  readonly onBadImage: LazyImage['onBadImage'];
  readonly #options: DecodeOptions;

  constructor(path: string, { onBadImage, ...options }: ImageFileOptions = {}) {
    this.path = path;
    this.onBadImage = onBadImage;
    this.#options = options;
  }

  /** @throws ImageError naming the file, if it cannot be read or decoded */
  decode(): Promise<RgbImage> {
    return decodeImage(this.path, this.#options);
  }

  /** Width and height in pixels, from the header alone. */
  size(): Promise<{ width: number; height: number }> {
    return imageSize(this.path, this.#options);
  }
}

/** The format of encoded picture bytes (at least 12 of them), or undefined if they are no picture that is read here. */
export function imageFormatOf(bytes: Uint8Array): ImageFormat | undefined {
  const ascii = (from: number, to: number) => String.fromCharCode(...bytes.subarray(from, to));
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg';
  if (ascii(0, 8) === '\x89PNG\r\n\x1a\n') return 'png';
  if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') return 'webp';
  if (ascii(0, 6) === 'GIF87a' || ascii(0, 6) === 'GIF89a') return 'gif';
  return undefined;
}

/**
 * Decodes a picture: a file path, encoded bytes, a lazy handle, or pixels, which are checked and passed through.
 * Decoding runs on libuv's threads.
 * @throws ImageError (`details.path`) for a file that is missing, no picture, damaged, cut short, or too large
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<RgbImage> {
  const name = imageName(input, options);
  if (typeof input !== 'string' && !(input instanceof Uint8Array)) {
    return checkRgbImage('decode' in input ? await input.decode() : input, name);
  }
  const { bytes, header } = await readHeader(input, name, options);
  try {
    return await decodeBytes(bytes, header, options);
  } catch (cause) {
    throw new ImageError(`${name}: the picture does not decode: ${reasonOf(cause)}`, {
      hint: 'The file is damaged or was not copied to its end; fetch it again, or leave it out.',
      details: { path: name, format: header.format },
      cause,
    });
  }
}

/**
 * Width and height in pixels after EXIF orientation, from the header where the picture is encoded. A lazy handle that
 * is no `ImageFile` is decoded.
 * @throws ImageError as `decodeImage`; damage behind the header is not seen
 */
export async function imageSize(
  input: ImageInput,
  options: DecodeOptions = {},
): Promise<{
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
}> {
  if (input instanceof ImageFile) return input.size();
  if (typeof input === 'string' || input instanceof Uint8Array) {
    const { header } = await readHeader(input, imageName(input, options), options);
    return { width: header.autoOrient.width, height: header.autoOrient.height };
  }
  const { width, height } = await decodeImage(input, options);
  return { width, height };
}

/** How messages call a picture. */
export function imageName(input: ImageInput, options: DecodeOptions = {}): string {
  if (typeof input === 'string') return oneLine(input);
  if (input instanceof Uint8Array) return options.name ?? `picture of ${input.byteLength} bytes`;
  if (input !== null && typeof input === 'object' && 'path' in input) return oneLine(input.path);
  return options.name ?? 'picture given as pixels';
}

async function readHeader(input: string | Uint8Array, name: string, options: DecodeOptions) {
  const maxPixels = options.maxPixels ?? DEFAULT_MAX_PIXELS;
  const bytes = typeof input === 'string' ? await readPicture(input, maxPixels) : input;
  if (imageFormatOf(bytes) === undefined) {
    throw new ImageError(`${name}: not a JPEG, PNG, WebP or GIF picture (${describeStart(bytes)})`, {
      hint: 'The content counts, not the ending of the name. Convert other formats first.',
      details: { path: name },
    });
  }
  let header: Metadata;
  try {
    // Only the header counts here: a cut that lies in the pixels is found, and said, when they are decoded.
    header = await sharp(bytes, { limitInputPixels: false, failOn: 'none' }).metadata();
  } catch (cause) {
    throw new ImageError(`${name}: the header of the picture cannot be read: ${reasonOf(cause)}`, {
      hint: 'The file is damaged or was not copied to its end; fetch it again, or leave it out.',
      details: { path: name },
      cause,
    });
  }
  if (header.width * header.height > maxPixels) {
    throw new ImageError(
      `${name}: ${header.width} × ${header.height} pixels are more than the limit of ${maxPixels.toLocaleString('en')}`,
      {
        hint: 'Shrink the picture, or raise `maxPixels` if you trust where it comes from.',
        details: { path: name, width: header.width, height: header.height, maxPixels },
      },
    );
  }
  return { bytes, header };
}

/** The file is read here and not by sharp, whose cache goes by name and would return a file's earlier content. */
async function readPicture(path: string, maxPixels: number): Promise<Uint8Array> {
  try {
    return await readRegularFile(path, MAX_PIXEL_BYTES * maxPixels + MAX_EXTRA_BYTES);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const isAddress = /^(https?|data):/i.test(path);
    const shown = isAddress ? `${path.slice(0, 80)}${path.length > 80 ? '…' : ''}` : oneLine(path);
    const why = code === 'ENOENT' ? 'no such file' : reasonOf(cause);
    throw new ImageError(`${shown}: cannot read the picture: ${why}`, {
      ...(isAddress ? { hint: 'A string is a file path. Fetch the address yourself and give the bytes.' } : {}),
      details: { path: shown },
      cause,
    });
  }
}

async function decodeBytes(bytes: Uint8Array, header: Metadata, options: DecodeOptions): Promise<RgbImage> {
  const picture = sharp(bytes, {
    autoOrient: true,
    ignoreIcc: true,
    // Warnings are common in files that every viewer shows; missing or corrupt pixels are not accepted.
    failOn: 'error',
    limitInputPixels: options.maxPixels ?? DEFAULT_MAX_PIXELS,
  }).timeout({ seconds: MAX_SECONDS });
  if (header.space === 'cmyk') {
    const raw = picture.pipelineColourspace('cmyk').toColourspace('cmyk').raw();
    const { data, info } = await raw.toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: rgbFromCmyk(data, info.channels) };
  }
  if (header.space === 'grey16') {
    const raw = picture.toColourspace('grey16').raw({ depth: 'ushort' });
    const { data, info } = await raw.toBuffer({ resolveWithObject: true });
    const samples = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
    return { width: info.width, height: info.height, data: narrowGrey16(samples, info.channels) };
  }
  const raw = picture.toColourspace('srgb').removeAlpha().raw();
  const { data, info } = await raw.toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`${info.channels} channels instead of 3`);
  return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

/** Pillow's conversion: every ink darkens what the black ink leaves; divisions by 255 are rounded. */
function rgbFromCmyk(cmyk: Uint8Array, channels: number): Uint8Array {
  const pixels = cmyk.length / channels;
  const rgb = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) {
    const light = 255 - cmyk[i * channels + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = cmyk[i * channels + c]! * light + 128;
      rgb[i * 3 + c] = Math.max(0, light - (((product >> 8) + product) >> 8));
    }
  }
  return rgb;
}

/** Bits a pixel of radiography detectors; the smallest that holds the brightest pixel is taken for the picture's. */
const GREY_DEPTHS = [8, 10, 12, 14, 16];

/**
 * 16-bit grey to 8-bit RGB. A PNG of an X-ray often holds 10, 12 or 14 bits in 16 without saying so, and its high byte
 * alone is black. So the depth is the smallest of 8, 10, 12, 14 and 16 bits that holds the brightest pixel, and the
 * upper eight of those bits are kept.
 */
function narrowGrey16(samples: Uint16Array, channels: number): Uint8Array {
  const pixels = samples.length / channels;
  let brightest = 0;
  for (let i = 0; i < pixels; i++) if (samples[i * channels]! > brightest) brightest = samples[i * channels]!;
  const shift = GREY_DEPTHS.find((bits) => brightest < 2 ** bits)! - 8;
  const rgb = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) {
    const level = samples[i * channels]! >> shift;
    rgb[i * 3] = level;
    rgb[i * 3 + 1] = level;
    rgb[i * 3 + 2] = level;
  }
  return rgb;
}

function checkRgbImage(image: RgbImage, name: string): RgbImage {
  const { width, height, data } = image ?? {};
  const fault = !(Number.isInteger(width) && width > 0 && Number.isInteger(height) && height > 0)
    ? `width ${width} and height ${height} must be positive integers`
    : !(data instanceof Uint8Array)
      ? '`data` must be a Uint8Array'
      : data.length !== width * height * 3
        ? `${width} × ${height} RGB pixels are ${width * height * 3} bytes, but \`data\` has ${data.length}`
        : undefined;
  if (fault === undefined) return image;
  throw new ImageError(`${name}: not an RGB picture: ${fault}`, {
    hint: 'Give { width, height, data } with three bytes a pixel, or a path, or encoded bytes.',
    details: { path: name },
  });
}

function describeStart(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'it is empty';
  const start = [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `${bytes.length} bytes that start with ${start}`;
}

function reasonOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).trim().replaceAll(/\s*\n\s*/g, '; ');
}
