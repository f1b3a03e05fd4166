/** What an encoded image says before it is decoded, and what is refused by that. */
import type { Metadata } from 'sharp';
import { pathFault } from '../config.js';
import { ImageError, reasonOf, type TuneErrorOptions } from '../errors.js';
import { readRegularFile } from '../files/regular-file.js';
import { cutText } from '../messages/cut-text.js';
import { oneLine } from '../messages/one-line.js';
import { type BmpHeader, readBmpHeader } from './decode-bmp.js';
import { type ImageFormat, imageFormatOf, READ_FORMATS, type UnreadFormat, unreadFormat } from './image-format.js';
import { orientationOf } from './image-orientation.js';
import { loadSharp } from './load-sharp.js';
import { readTiffTags, TAG, withoutOrientation } from './tiff-tags.js';

/** Pixels above which an image is refused: where Pillow stops by default (2 × 89,478,485), 537 MB decoded. */
export const DEFAULT_MAX_PIXELS = 178_956_970;

/** An uncompressed pixel of 16 bits a channel, and room for profiles and previews beside the pixels. */
const MAX_PIXEL_BYTES = 8;
const MAX_EXTRA_BYTES = 67_108_864;
export const DAMAGED = 'The file is damaged or was not copied to its end; fetch it again, or leave it out.';

const ODD_TIFF = 'TIFF has kinds that are not read, e.g. of 12 or 64 bits a sample: write those with 8 or 16 bits.';

/** Options of `decodeImage` and `imageSize`, for paths and encoded bytes. */
export interface DecodeOptions {
  /** Refuse images of more pixels than this, before decoding them. Default: 178,956,970. */
  readonly maxPixels?: number | undefined;
  /**
   * Refuse images whose longer side is more than this many times the shorter one. An image processor with a longest
   * edge of E can make nothing of a ratio above E. Default: no limit.
   */
  readonly maxAspectRatio?: number | undefined;
  /**
   * Bits of a 16-bit PNG or TIFF that its samples really use, 8 to 16: of 12, a sample of 4,095 becomes 255. It is
   * the same for all images of a model, in training and afterwards. A warning says where samples look like fewer.
   * Default: 16.
   */
  readonly bitDepth?: number | undefined;
  /**
   * Called with the largest sample of 16-bit PNG and TIFF files: of grey ones always, of colour if it is dark.
   * Default: warnings, once for the process.
   */
  readonly onBrightestSample?: ((name: string, brightest: number) => void) | undefined;
  /** How messages call an image that is given as bytes. Default: its length. */
  readonly name?: string;
}

export interface ImageHeader {
  readonly bytes: Uint8Array;
  readonly format: ImageFormat;
  /** Pixels, as they are stored. */
  readonly width: number;
  readonly height: number;
  /** 1 to 8 as in EXIF. */
  readonly orientation: number;
  /** Of all formats but BMP. */
  readonly metadata?: Metadata;
  readonly bmp?: BmpHeader;
}

/**
 * Reads the header of a path or of encoded bytes, and checks what can be checked by it.
 * @throws ImageError naming the file
 */
export async function readHeader(
  input: string | Uint8Array,
  name: string,
  options: DecodeOptions,
): Promise<ImageHeader> {
  const maxPixels = options.maxPixels ?? DEFAULT_MAX_PIXELS;
  const bytes = typeof input === 'string' ? await readImageFile(input, maxPixels) : input;
  const format = imageFormatOf(bytes);
  if (format === undefined) throw unreadError(name, unreadFormat(bytes));
  // Its lack is no fault of the file.
  const sharp = await loadSharp();
  let header: ImageHeader;
  try {
    header = await parseHeader(bytes, format, sharp);
  } catch (cause) {
    throw imageError(name, `the header of the image cannot be read: ${reasonOf(cause)}`, {
      hint: format === 'tiff' ? `${ODD_TIFF} ${DAMAGED}` : DAMAGED,
      details: { format },
      cause,
    });
  }
  const { width, height } = header;
  if (width * height > maxPixels) {
    const limit = maxPixels.toLocaleString('en');
    throw imageError(name, `${width} × ${height} pixels are more than the limit of ${limit}`, {
      hint: 'Shrink the image, or raise `maxPixels` if you trust where it comes from.',
      details: { width, height, maxPixels },
    });
  }
  checkAspectRatio(header, name, options.maxAspectRatio);
  if (format === 'tiff') checkTiff(header, name);
  return header;
}

async function parseHeader(
  bytes: Uint8Array,
  format: ImageFormat,
  sharp: Awaited<ReturnType<typeof loadSharp>>,
): Promise<ImageHeader> {
  if (format === 'bmp') {
    const bmp = readBmpHeader(bytes);
    return { bytes, format, width: bmp.width, height: bmp.height, orientation: 1, bmp };
  }
  // Only the header counts here: a cut that lies in the pixels is found, and said, when they are decoded.
  const metadata = await sharp(bytes, { limitInputPixels: false, failOn: 'none' }).metadata();
  const orientation = orientationOf(bytes, format, metadata);
  const { width, height } = format === 'avif' ? metadata.autoOrient : metadata;
  // The decoder refuses a TIFF whose orientation is no orientation; Pillow shows it as it is.
  const isOdd = format === 'tiff' && orientation === 1 && (readTiffTags(bytes).numbers.get(TAG.orientation) ?? 1) !== 1;
  return { bytes: isOdd ? withoutOrientation(bytes) : bytes, format, width, height, orientation, metadata };
}

export function imageError(name: string, reason: string, options: TuneErrorOptions): ImageError {
  return new ImageError(`${name}: ${reason}`, { ...options, reason, details: { path: name, ...options.details } });
}

function unreadError(name: string, { name: what, hint }: UnreadFormat): ImageError {
  return imageError(name, `not a ${READ_FORMATS} image, but ${what}`, { hint });
}

function checkAspectRatio({ width, height }: ImageHeader, name: string, limit: number | undefined): void {
  if (limit === undefined || Math.max(width, height) <= limit * Math.min(width, height)) return;
  throw imageError(name, `${width} × ${height} pixels: one side is more than ${limit} times the other`, {
    hint: 'Shrunk to the longest edge nothing would be left of it. Crop the image, or leave it out.',
    details: { width, height, maxAspectRatio: limit },
  });
}

/** What a TIFF may hold besides images that anyone can show. */
function checkTiff({ bytes, metadata }: ImageHeader, name: string): void {
  const { depth, space, channels, pages = 1 } = metadata!;
  const tags = readTiffTags(bytes);
  const isPreview = ((tags.numbers.get(TAG.subfileType) ?? 0) & 1) === 1 && tags.entries.has(TAG.subIfds);
  if (tags.entries.has(TAG.dngVersion) || isPreview) {
    throw unreadError(name, {
      name: 'a camera RAW file, whose first image is a preview',
      hint: 'Develop it to JPEG, PNG or TIFF first.',
    });
  }
  if (depth !== 'uchar' && depth !== 'ushort') {
    throw imageError(name, `a TIFF of ${SAMPLE_KINDS[depth!] ?? depth} samples, whose range is not known`, {
      hint: 'Write it with 8 or 16 unsigned bits a sample, scaled by the same range for all images.',
      details: { depth },
    });
  }
  if ((space as string) === 'multiband' || channels! > 5) {
    throw imageError(name, `a TIFF of ${channels} channels that are neither grey, RGB nor CMYK`, {
      hint: 'Write the three channels that you want as an RGB image.',
      details: { channels },
    });
  }
  if (pages > 1 && !saidPages) {
    saidPages = true;
    process.emitWarning(
      `${name}: a TIFF of ${pages} pages; of this and of other files only the first page is taken. Write the pages that you want as files of their own`,
      'ImageWarning',
    );
  }
}

let saidPages = false;

const SAMPLE_KINDS: Readonly<Record<string, string>> = {
  char: 'signed 8-bit',
  short: 'signed 16-bit',
  uint: '32-bit',
  int: '32-bit',
  float: '32-bit floating-point',
  double: '64-bit floating-point',
  complex: 'complex',
  dpcomplex: 'complex',
};

/** For a string that is something else than a path. */
function stringHint(text: string): string | undefined {
  if (/^data:/i.test(text)) return "A string is a file path. Give the bytes: Buffer.from(uri.split(',')[1], 'base64').";
  const fault = pathFault(text);
  if (fault) return `A string is a file path. ${fault.hint}`;
  if (/^https?:/i.test(text)) return 'A string is a file path. Fetch the address yourself and give the bytes.';
  const isBase64 = text.length >= MIN_BASE64 && /^[\w+/]+={0,2}$/.test(text);
  return isBase64 ? "A string is a file path. Give the bytes of base64: Buffer.from(text, 'base64')." : undefined;
}

const MIN_BASE64 = 40;

/** The file is read here and not by sharp, whose cache goes by name and would return a file's earlier content. */
async function readImageFile(path: string, maxPixels: number): Promise<Uint8Array> {
  try {
    return await readRegularFile(path, MAX_PIXEL_BYTES * maxPixels + MAX_EXTRA_BYTES);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const isAddress = /^(https?|data):/i.test(path);
    const shown = isAddress ? cutText(path, 80) : oneLine(path);
    const why = code === 'ENOENT' ? 'no such file' : reasonOf(cause);
    throw imageError(shown, `cannot read the image: ${why}`, {
      hint: stringHint(path),
      cause,
    });
  }
}
