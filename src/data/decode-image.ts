/**
 * From an encoded image to 8-bit RGB, as Pillow's `open`, `exif_transpose` and `convert('RGB')` would give it: alpha is
 * dropped and not blended, colour profiles are ignored, CMYK is converted without a profile, the orientation of EXIF or
 * XMP is applied, an animation gives its first frame and a TIFF its first page. Two differences: pixels that a GIF marks
 * as transparent come out black and not in their palette colour, and 16-bit grey is scaled by one range for all images
 * (see `sample-depth.ts`), where Pillow clips.
 */
import type { Metadata, Sharp } from 'sharp';
import { checkNames } from '../config.js';
import { ConfigError, ImageError, reasonOf } from '../errors.js';
import { describeGiven, isKind, isObject } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import { decodeBmp } from './decode-bmp.js';
import {
  DAMAGED,
  DEFAULT_MAX_PIXELS,
  type DecodeOptions,
  type ImageHeader,
  imageError,
  readHeader,
} from './image-header.js';
import { orient } from './image-orientation.js';
import { loadSharp } from './load-sharp.js';
import { DepthWatch, LOOKS_NARROW, narrowSamples } from './sample-depth.js';
import type { ImageInput, LazyImage, RgbImage } from './types.js';

export { IMAGE_HEADER_BYTES, type ImageFormat, imageFormatOf } from './image-format.js';

/** The largest image that is let in takes a few; a file made to be slow, by many passes over it, takes for ever. */
const MAX_SECONDS = 30;

export interface ImageFileOptions extends DecodeOptions {
  /** For whoever makes batches: what becomes of the sample if the file cannot be read by then. Default 'error'. */
  readonly onBadImage?: LazyImage['onBadImage'];
}

/** An image file that is read and decoded each time it is asked for. */
export class ImageFile implements LazyImage {
  readonly path: string;
  readonly onBadImage: LazyImage['onBadImage'];
  readonly #options: DecodeOptions;

  constructor(path: string, { onBadImage, ...options }: ImageFileOptions = {}) {
    this.path = path;
    this.onBadImage = onBadImage;
    this.#options = options;
  }

  /** What its file's bytes become besides what they say: `bitDepth`, where it is given. */
  get content(): { readonly bytes?: undefined; readonly bitDepth: number | undefined } {
    return { bitDepth: this.#options.bitDepth };
  }

  /** @throws ImageError naming the file, if it cannot be read or decoded */
  decode(): Promise<RgbImage> {
    return decodeImage(this.path, this.#options);
  }

  /** Reads it up to where it is decoded. @throws ImageError as `decode` */
  open(): Promise<OpenedImage> {
    return openImage(this.path, this.#options);
  }

  /** Width and height in pixels, from the header alone. */
  size(): Promise<{ width: number; height: number }> {
    return imageSize(this.path, this.#options);
  }
}

/**
 * Decodes an image: a file path, encoded bytes, a lazy handle, or pixels, which are checked and passed through.
 * Decoding runs on libuv's threads.
 * @throws ImageError (`details.path`) for a file that is missing, no image, damaged, cut short, too large, or of samples
 *   without a known range (32 bits, floating point)
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<RgbImage> {
  requireImage(input, 'decodeImage');
  checkNames(options, DECODE_OPTIONS, 'decodeImage');
  const name = imageName(input, options);
  checkBitDepth(options.bitDepth);
  if (typeof input !== 'string' && !(input instanceof Uint8Array)) {
    return checkRgbImage('decode' in input ? await input.decode() : input, name);
  }
  return (await openImage(input, options)).decode();
}

export interface OpenedImage {
  /** What its pixels take: while they are decoded, and with a copy for a worker. */
  readonly bytes: number;
  /** @throws ImageError */
  decode(): Promise<RgbImage>;
}

/** The first half of `decodeImage`. @throws ImageError for all that the header shows */
export async function openImage(input: string | Uint8Array, options: DecodeOptions = {}): Promise<OpenedImage> {
  checkBitDepth(options.bitDepth);
  const name = imageName(input, options);
  const header = await readHeader(input, name, options);
  const decode = async (): Promise<RgbImage> => {
    try {
      return await decodeBytes(header, name, options);
    } catch (cause) {
      const { format } = header;
      throw imageError(name, `the image does not decode: ${reasonOf(cause)}`, {
        hint: DAMAGED,
        details: { format },
        cause,
      });
    }
  };
  return { bytes: decodedBytes(header), decode };
}

/** Bytes that the decoder, the pixels and their copy take together, by the header. */
function decodedBytes({ width, height, orientation, format, metadata }: ImageHeader): number {
  const isDeep = metadata?.depth === 'ushort' || metadata?.space === 'cmyk';
  // The decoder keeps all of what does not come row by row.
  const isKept = orientation !== 1 || metadata?.isProgressive === true || /^(avif|webp|gif)$/.test(format);
  return width * height * (6 + (isDeep ? 6 : 0) + (isKept ? 4 : 0));
}

/**
 * Width and height in pixels as the image is meant to be seen, from the header where the image is encoded. A lazy handle
 * that is no `ImageFile` is decoded.
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
  requireImage(input, 'imageSize');
  checkNames(options, DECODE_OPTIONS, 'imageSize');
  if (input instanceof ImageFile) return input.size();
  if (typeof input === 'string' || input instanceof Uint8Array) {
    const { width, height, orientation } = await readHeader(input, imageName(input, options), options);
    return orientation >= 5 ? { width: height, height: width } : { width, height };
  }
  const { width, height } = await decodeImage(input, options);
  return { width, height };
}

const DECODE_OPTIONS = {
  maxPixels: false,
  maxAspectRatio: false,
  bitDepth: false,
  onBrightestSample: false,
  name: false,
} as const;

/** @throws ImageError for what stands for no image at all; bytes and pixels are looked at later */
export function requireImage(input: unknown, what: string): asserts input is ImageInput {
  if (input instanceof Uint8Array || (typeof input === 'string' && input !== '')) return;
  if (isKind(input, 'image') || (isObject(input) && ('width' in input || 'data' in input))) return;
  const hint = isKind(input, 'folderSample')
    ? 'Give its `image`.'
    : isKind(input, 'promise')
      ? 'Await it.'
      : 'Give a path, encoded bytes, { width, height, data } or a lazy image.';
  throw new ImageError(`${what}: expected an image, got ${describeGiven(input)}`, { hint });
}

export function imageName(input: ImageInput, options: DecodeOptions = {}): string {
  if (typeof input === 'string') return oneLine(input);
  if (input instanceof Uint8Array) return options.name ?? `image of ${input.byteLength} bytes`;
  if (input !== null && typeof input === 'object' && 'path' in input) return oneLine(input.path);
  return options.name ?? 'image given as pixels';
}

async function decodeBytes(header: ImageHeader, name: string, options: DecodeOptions): Promise<RgbImage> {
  const { bytes, format, orientation, bmp } = header;
  if (bmp) return decodeBmp(bytes, bmp);
  const metadata = header.metadata!;
  // The decoder turns the image where it knows of it, the faster way.
  const isTurnedThere = format === 'avif' || (metadata.orientation ?? 1) === orientation;
  const sharp = await loadSharp();
  const pipeline = sharp(bytes, {
    autoOrient: isTurnedThere,
    ignoreIcc: true,
    // Warnings are common in files that every viewer shows; missing or corrupt pixels are not accepted.
    failOn: 'error',
    limitInputPixels: options.maxPixels ?? DEFAULT_MAX_PIXELS,
  }).timeout({ seconds: MAX_SECONDS });
  const image = await toRgb(pipeline, metadata, name, options);
  return isTurnedThere ? image : orient(image, orientation);
}

async function toRgb(
  pipeline: Sharp,
  { space, format }: Metadata,
  name: string,
  options: DecodeOptions,
): Promise<RgbImage> {
  if (space === 'cmyk') {
    const raw = pipeline.pipelineColourspace('cmyk').toColourspace('cmyk').raw();
    const { data, info } = await raw.toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: rgbFromCmyk(data, info.channels) };
  }
  const is16Bit = (space === 'grey16' || space === 'rgb16') && (format === 'png' || format === 'tiff');
  const { bitDepth = 16, onBrightestSample = processWatch(options.bitDepth) } = options;
  const fromSamples = async (): Promise<RgbImage> => {
    const raw = pipeline.clone().toColourspace(space!).raw({ depth: 'ushort' });
    const { data, info } = await raw.toBuffer({ resolveWithObject: true });
    const samples = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
    const narrowed = narrowSamples(samples, info.channels, bitDepth);
    onBrightestSample(name, narrowed.brightest);
    return { width: info.width, height: info.height, data: narrowed.data };
  };
  if (is16Bit && (space === 'grey16' || bitDepth !== 16)) return fromSamples();
  const { data, info } = await pipeline.toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`${info.channels} channels instead of 3`);
  // The high bytes of colour, which the decoder gives three times as fast; only what is dark is looked at more closely.
  if (is16Bit && data.every((level) => level < LOOKS_NARROW >> 8)) return fromSamples();
  return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

/** For images that belong to no folder: each warning once for the process and a bit depth. */
function processWatch(bitDepth: number | undefined): (name: string, brightest: number) => void {
  const watch = watches.get(bitDepth) ?? new DepthWatch(bitDepth);
  watches.set(bitDepth, watch);
  return (name, brightest) => watch.note(name, brightest);
}

const watches = new Map<number | undefined, DepthWatch>();

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

function checkBitDepth(bitDepth: number | undefined): void {
  if (bitDepth === undefined || (Number.isInteger(bitDepth) && bitDepth >= 8 && bitDepth <= 16)) return;
  throw new ConfigError(`decodeImage: \`bitDepth\`: expected a whole number from 8 to 16, got ${showValue(bitDepth)}`);
}

function checkRgbImage(image: RgbImage, name: string): RgbImage {
  const { width, height, data } = image ?? {};
  const fault = !(Number.isInteger(width) && width > 0 && Number.isInteger(height) && height > 0)
    ? `expected a width and a height of whole pixels, got ${showValue(width)} and ${showValue(height)}`
    : !(data instanceof Uint8Array)
      ? `\`data\`: expected a Uint8Array, got ${showValue(data)}`
      : data.length !== width * height * 3
        ? `${width} × ${height} RGB pixels are ${width * height * 3} bytes, but \`data\` has ${data.length}`
        : undefined;
  if (fault === undefined) return image;
  throw imageError(name, `not an RGB image: ${fault}`, {
    hint: 'Give { width, height, data } with three bytes a pixel, or a path, or encoded bytes.',
  });
}
