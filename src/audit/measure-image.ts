/** What an audit looks at in an image: its bytes, its header, and a reading of its pixels at half a thousand pixels an edge. */
import { createHash } from 'node:crypto';
import type { Sharp } from 'sharp';
import { decodeWithin } from '../data/decode-budget.js';
import { imageSource } from '../data/image-digest.js';
import { DEFAULT_MAX_PIXELS, type ImageHeader, readHeader } from '../data/image-header.js';
import { loadSharp } from '../data/load-sharp.js';
import type { ImageInput, RgbImage } from '../data/types.js';
import { ImageError, reasonOf } from '../errors.js';
import { THUMB_EDGE } from './align-images.js';
import { blurEffect } from './blur-effect.js';

/** Longest edge at which pixels are measured, in pixels. */
const MEASURED_EDGE = 512;
const SMALL_EDGE = 40;
/** Larger images wait for their share of the memory for decoding. */
const MAX_FAST_PIXELS = 50_000_000;
const MAX_SECONDS = 30;
/** Channels that differ by more than this many levels, on average over an image, are a colour. */
const COLOR_LEVELS = 8;

/** An image as far as it could be read. */
export interface MeasuredImage {
  /** Pixels as it is meant to be seen; 0 if the header cannot be read. */
  readonly width: number;
  readonly height: number;
  /** Of the file, or `pixels`; undefined if the header cannot be read. */
  readonly format: string | undefined;
  /** Channels and depth as they are stored, e.g. `RGB`; undefined as `format`. */
  readonly mode: string | undefined;
  /** SHA-256 of the file's bytes, or of the pixels of an image in memory; undefined if there are none. */
  readonly digest: string | undefined;
  /** Why the image does not decode; undefined if it does. Untrusted. */
  readonly fault: string | undefined;
  /** What the decoder found damaged in a JPEG that it decodes all the same; undefined if nothing. Untrusted. */
  readonly damage?: string | undefined;
  /** Of an image that decodes. */
  readonly content: ImageContent | undefined;
}

/** What the pixels of an image say. Luminance goes from 0 to 255. */
interface ImageContent {
  /** [THUMB_EDGE, THUMB_EDGE] Luminance, stretched to a square. */
  readonly thumb: Uint8Array;
  /** The same without borders; `thumb` itself where there are none. */
  readonly inner: Uint8Array;
  /** Whether its shorter edge has fewer than 40 of the measured pixels. */
  readonly isSmall: boolean;
  /** Luminance below which 1 % of the pixels are. */
  readonly low: number;
  /** Luminance below which 99 % of the pixels are. */
  readonly high: number;
  readonly blur: number;
  /** Whether it shows colours. */
  readonly isColored: boolean;
}

interface Decoded {
  readonly image: RgbImage;
  readonly digest: string | undefined;
  readonly width: number;
  readonly height: number;
  readonly damage?: string | undefined;
}

/** Never rejects for what is wrong with an image: only with the signal's reason, or ConfigError without a decoder. */
export async function measureImage(input: ImageInput, signal: AbortSignal | undefined): Promise<MeasuredImage> {
  let header: ImageHeader | undefined;
  let digest: string | undefined;
  // Its lack is no fault of the image.
  await loadSharp();
  try {
    header = await headerOf(input);
    digest = header && digestOf(header.bytes);
    const decoded = (header && (await decodeSmall(header))) ?? (await decodeWhole(input, signal));
    return {
      ...describe(header),
      width: decoded.width,
      height: decoded.height,
      digest: digest ?? decoded.digest,
      fault: undefined,
      damage: decoded.damage,
      content: contentOf(decoded.image),
    };
  } catch (error) {
    signal?.throwIfAborted();
    const [width, height] = header ? sizeOf(header) : [0, 0];
    const fault = error instanceof ImageError ? error.reason : reasonOf(error);
    return { ...describe(header), width, height, digest, fault, content: undefined };
  }
}

/** Undefined for images in memory, handles, and files that only their own handle's options let in. */
async function headerOf(input: ImageInput): Promise<ImageHeader | undefined> {
  const source = imageSource(input);
  const encoded = source.kind === 'file' ? source.path : source.kind === 'bytes' ? source.bytes : undefined;
  if (encoded === undefined) return undefined;
  try {
    return await readHeader(encoded, 'image', {});
  } catch (error) {
    if (error instanceof ImageError && 'maxPixels' in error.details) return undefined;
    throw error;
  }
}

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');

function sizeOf({ width, height, orientation }: ImageHeader): [number, number] {
  return orientation >= 5 ? [height, width] : [width, height];
}

function describe(header: ImageHeader | undefined): { format: string | undefined; mode: string | undefined } {
  if (!header) return { format: undefined, mode: undefined };
  const { format, metadata } = header;
  if (!metadata) return { format, mode: 'RGB' };
  const { space, hasAlpha, depth, pages = 1 } = metadata;
  const isGrey = /^(b-w|grey16)$/.test(space ?? '');
  const channels = space === 'cmyk' ? 'CMYK' : isGrey ? 'grey' : 'RGB';
  const alpha = hasAlpha ? ' with alpha' : '';
  return {
    format,
    mode: `${depth === 'ushort' ? '16-bit ' : ''}${channels}${alpha}${pages > 1 ? ', several frames' : ''}`,
  };
}

/** The usual kinds, which the decoder makes small while it reads them; undefined for others. */
async function decodeSmall(header: ImageHeader): Promise<Decoded | undefined> {
  const { bytes, format, metadata, orientation } = header;
  const isUsual =
    /^(jpeg|png|webp)$/.test(format) &&
    metadata?.depth === 'uchar' &&
    /^(srgb|b-w)$/.test(metadata.space ?? '') &&
    !metadata.hasAlpha &&
    (metadata.pages ?? 1) === 1 &&
    (metadata.orientation ?? 1) === orientation;
  if (!isUsual || header.width * header.height > MAX_FAST_PIXELS) return undefined;
  const [width, height] = sizeOf(header);
  const sharp = await loadSharp();
  const decode = (failOn: 'warning' | 'error'): Promise<RgbImage> => {
    const pipeline = sharp(bytes, { autoOrient: true, ignoreIcc: true, failOn, limitInputPixels: DEFAULT_MAX_PIXELS });
    return small(pipeline.timeout({ seconds: MAX_SECONDS }));
  };
  try {
    // Training accepts a JPEG with changed bytes, as every viewer does: what is missing is grey, or garbage.
    if (format !== 'jpeg') return { image: await decode('error'), digest: undefined, width, height };
    const [image, damage] = await decode('warning').then(
      (whole) => [whole, undefined] as const,
      async (error) => [await decode('error'), lostPixels(reasonOf(error))] as const,
    );
    return { image, digest: undefined, width, height, damage };
  } catch (cause) {
    const reason = `the image does not decode: ${reasonOf(cause)}`;
    throw new ImageError(reason, { reason, cause });
  }
}

/** Bytes between segments, which many cameras write, cost no pixels. */
function lostPixels(damage: string): string | undefined {
  return /extraneous bytes/.test(damage) ? undefined : damage;
}

async function decodeWhole(input: ImageInput, signal: AbortSignal | undefined): Promise<Decoded> {
  const { image, release } = await decodeWithin(input, signal);
  try {
    const { width, height, data } = image;
    const digest = digestOf(Buffer.concat([Buffer.from(`${width} ${height} `), data]));
    const isSmall = Math.max(width, height) <= MEASURED_EDGE;
    const sharp = await loadSharp();
    const raw = { width, height, channels: 3 } as const;
    return {
      image: isSmall ? image : await small(sharp(data, { raw, limitInputPixels: false })),
      digest,
      width,
      height,
    };
  } finally {
    release();
  }
}

async function small(pipeline: Sharp): Promise<RgbImage> {
  const { data, info } = await pipeline
    .resize({ width: MEASURED_EDGE, height: MEASURED_EDGE, fit: 'inside', withoutEnlargement: true, kernel: 'linear' })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data };
}

function contentOf({ width, height, data }: RgbImage): ImageContent {
  const pixels = width * height;
  const luminance = new Uint8Array(pixels);
  const histogram = new Uint32Array(256);
  let difference = 0;
  for (let i = 0, at = 0; i < pixels; i++, at += 3) {
    const r = data[at]!;
    const g = data[at + 1]!;
    const b = data[at + 2]!;
    // Rec. 601.
    const level = (77 * r + 150 * g + 29 * b + 128) >> 8;
    luminance[i] = level;
    histogram[level]!++;
    difference += Math.abs(r - g) + Math.abs(g - b);
  }
  const inner = withoutBorders(luminance, width, height);
  const isWhole = inner.width === width && inner.height === height;
  const thumb = squareThumb(luminance, width, { left: 0, top: 0, width, height });
  return {
    thumb,
    inner: isWhole ? thumb : squareThumb(luminance, width, inner),
    isSmall: Math.min(width, height) < SMALL_EDGE,
    low: quantile(histogram, 0.01 * pixels),
    high: quantile(histogram, 0.99 * pixels),
    blur: blurEffect(luminance, width, height),
    isColored: difference / pixels > COLOR_LEVELS,
  };
}

function quantile(histogram: Uint32Array, rank: number): number {
  let count = 0;
  for (let level = 0; level < 256; level++) {
    count += histogram[level]!;
    if (count >= rank) return level;
  }
  return 255;
}

/** A part of an image, in pixels. */
interface Section {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Rows and columns at the edges with no more contrast than this, in levels, are borders, not content. */
const BORDER_RANGE = 16;
/** Share of each side that borders may take. */
const MAX_BORDER = 0.35;

/** Without borders of one level a side: frames, bars beside the image, empty background. */
function withoutBorders(luminance: Uint8Array, width: number, height: number): Section {
  const top = borderOf(luminance, height, width, width, 1, false);
  const bottom = borderOf(luminance, height, width, width, 1, true);
  const left = borderOf(luminance, width, height, 1, width, false);
  const right = borderOf(luminance, width, height, 1, width, true);
  return { left, top, width: width - left - right, height: height - top - bottom };
}

/** Lines of a border. @param line from a line to the next @param step along a line */
function borderOf(
  luminance: Uint8Array,
  lines: number,
  length: number,
  line: number,
  step: number,
  isFar: boolean,
): number {
  const most = Math.floor(lines * MAX_BORDER);
  for (let count = 0; count < most; count++) {
    const start = (isFar ? lines - 1 - count : count) * line;
    let low = 255;
    let high = 0;
    for (let i = 0, at = start; i < length; i++, at += step) {
      const level = luminance[at]!;
      if (level < low) low = level;
      if (level > high) high = level;
      if (high - low > BORDER_RANGE) return count;
    }
  }
  return most;
}

/** By areas: a pixel of the thumb is the mean of what it covers. */
function squareThumb(luminance: Uint8Array, rowLength: number, { left, top, width, height }: Section): Uint8Array {
  const edge = THUMB_EDGE;
  const columns = spans(width);
  const narrow = new Float32Array(edge * height);
  for (let y = 0; y < height; y++) {
    const row = (top + y) * rowLength + left;
    for (let x = 0; x < edge; x++) {
      const { from, weights } = columns[x]!;
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += luminance[row + from + i]! * weights[i]!;
      narrow[y * edge + x] = sum;
    }
  }
  const thumb = new Uint8Array(edge * edge);
  const rows = spans(height);
  for (let y = 0; y < edge; y++) {
    const { from, weights } = rows[y]!;
    for (let x = 0; x < edge; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += narrow[(from + i) * edge + x]! * weights[i]!;
      thumb[y * edge + x] = Math.round(sum);
    }
  }
  return thumb;
}

/** What each pixel of the thumb covers of a row of `length` pixels; weights add up to 1. */
function spans(length: number): { from: number; weights: Float32Array }[] {
  const scale = length / THUMB_EDGE;
  return Array.from({ length: THUMB_EDGE }, (_, i) => {
    const [start, end] = [i * scale, (i + 1) * scale];
    const from = Math.min(Math.floor(start + 1e-9), length - 1);
    const to = Math.max(from + 1, Math.min(length, Math.ceil(end - 1e-9)));
    const weights = Float32Array.from({ length: to - from }, (_, k) => {
      return Math.max(0, Math.min(end, from + k + 1) - Math.max(start, from + k));
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { from, weights: weights.map((weight) => weight / total) };
  });
}
