/**
 * The arithmetic of the image processor on pixels in memory: resize rule, resampling, normalisation. Free of decoders
 * and options, so that a worker thread can carry it.
 */
import { resampleBicubic } from './resample.js';
import type { RgbImage } from './types.js';

/** Settings that decide what an image becomes. */
export interface PixelSettings {
  /** Longest side of the result in pixels, before rounding up to whole cells. Required. */
  readonly longestEdge: number;
  /** Side in pixels of what becomes one image token: patch size × spatial merge size. Required. */
  readonly cellSize: number;
  /** [3] red, green, blue; subtracted from the rescaled levels. Required. */
  readonly imageMean: readonly number[];
  /** [3] red, green, blue; what the difference is divided by. Required. */
  readonly imageStd: readonly number[];
  /** Factor on levels of 0..255. Required. */
  readonly rescaleFactor: number;
}

/** An image as the vision tower takes it. */
export interface ProcessedImage {
  /** [3, height, width], normalised. */
  readonly pixelValues: Float32Array;
  /** Pixels, a multiple of the cell size. */
  readonly height: number;
  /** Pixels, a multiple of the cell size. */
  readonly width: number;
}

/**
 * The size that an image is resized to: shrunk with floor until neither side exceeds `longestEdge`, then each side
 * rounded up to whole cells. So the aspect ratio changes a little, and an image is enlarged by less than a cell.
 * After transformers' `get_resize_output_image_size`. A side that shrinks to nothing comes out as 0.
 */
export function resizedSize(
  width: number,
  height: number,
  { longestEdge, cellSize }: Pick<PixelSettings, 'longestEdge' | 'cellSize'>,
): { width: number; height: number } {
  const ratio = Math.max(height / longestEdge, width / longestEdge);
  const wholeCells = (side: number) =>
    (Math.floor(((ratio > 1 ? Math.floor(side / ratio) : side) - 1) / cellSize) + 1) * cellSize;
  return { width: wholeCells(width), height: wholeCells(height) };
}

/**
 * [3 × 256] normalised value of each level of each channel, in the float32 steps of the reference, which folds the
 * rescaling into mean and deviation: (level - mean / factor) / (std / factor).
 */
function normalisationTable({ imageMean, imageStd, rescaleFactor }: PixelSettings): Float32Array {
  const { fround } = Math;
  const inverse = fround(1 / rescaleFactor);
  const table = new Float32Array(3 * 256);
  for (let channel = 0; channel < 3; channel++) {
    const mean = fround(fround(imageMean[channel]!) * inverse);
    const std = fround(fround(imageStd[channel]!) * inverse);
    for (let level = 0; level < 256; level++) table[channel * 256 + level] = fround(level - mean) / std;
  }
  return table;
}

export function processPixels(image: RgbImage, settings: PixelSettings): ProcessedImage {
  const target = resizedSize(image.width, image.height, settings);
  const { width, height, data } = resampleBicubic(image, target.width, target.height);
  const table = normalisationTable(settings);
  const [red, green, blue] = [table.subarray(0, 256), table.subarray(256, 512), table.subarray(512)];
  const plane = width * height;
  const pixelValues = new Float32Array(3 * plane);
  for (let i = 0, from = 0; i < plane; i++, from += 3) {
    pixelValues[i] = red[data[from]!]!;
    pixelValues[plane + i] = green[data[from + 1]!]!;
    pixelValues[2 * plane + i] = blue[data[from + 2]!]!;
  }
  return { pixelValues, height, width };
}
