/** The images of a mask view: where their cells are, and what the processor made of the pixels. */
import { imageDataUri } from './image-data-uri.js';
import type { ProcessedImage } from './process-pixels.js';
import type { RgbImage } from './types.js';

/** An image of a `MaskedSample`, as the processor gives it. */
export interface MaskImage {
  /** Pixels after resizing. */
  readonly width: number;
  /** Pixels after resizing. */
  readonly height: number;
  /** Cells from top to bottom. */
  readonly rows: number;
  /** Cells from left to right. */
  readonly columns: number;
  /** Side of a cell in pixels. */
  readonly cellSize: number;
  /** Position of its first token in the row of the batch. */
  readonly position: number;
  /** [rows, columns] mean brightness of the cells, 0 (black) to 255. */
  readonly brightness: readonly number[];
  /** The resized image as a data URI, made smaller to `imageEdge` pixels; absent if that is 0. */
  readonly uri?: string;
}

/** How the collator's images were made: `settings` of a `VlmCollator`. */
type Settings = Readonly<Record<string, unknown>>;

export async function maskImage(
  image: ProcessedImage,
  position: number,
  cellSize: number,
  settings: Settings,
  edge: number,
): Promise<MaskImage> {
  const { width, height } = image;
  const pixels = levelsOf(image, settings);
  return {
    width,
    height,
    rows: height / cellSize,
    columns: width / cellSize,
    cellSize,
    position,
    brightness: brightnessOf(pixels, cellSize),
    ...(edge > 0 && { uri: await imageDataUri(pixels, edge) }),
  };
}

/** The levels of 0..255 that were normalised; of a processor that does not say how, stretched to that range. */
function levelsOf({ pixelValues, width, height }: ProcessedImage, settings: Settings): RgbImage {
  const { imageMean, imageStd, rescaleFactor } = settings;
  const isKnown = isTriple(imageMean) && isTriple(imageStd) && typeof rescaleFactor === 'number';
  let [low, high] = [0, 1];
  if (!isKnown) {
    low = Number.POSITIVE_INFINITY;
    high = Number.NEGATIVE_INFINITY;
    for (const value of pixelValues) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  const plane = width * height;
  const data = new Uint8Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    const scale = isKnown ? imageStd[c]! / rescaleFactor : 255 / Math.max(high - low, Number.MIN_VALUE);
    const shift = isKnown ? imageMean[c]! / rescaleFactor : -low * scale;
    for (let i = 0; i < plane; i++) {
      const level = Math.round(pixelValues[c * plane + i]! * scale + shift);
      data[3 * i + c] = Math.min(255, Math.max(0, level));
    }
  }
  return { width, height, data };
}

function isTriple(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length === 3;
}

/** [rows × columns] mean of the luma (Rec. 601) of each cell, rounded. */
function brightnessOf({ width, height, data }: RgbImage, cellSize: number): number[] {
  const columns = width / cellSize;
  const sums = new Float64Array((height / cellSize) * columns);
  for (let y = 0, from = 0; y < height; y++) {
    const row = Math.floor(y / cellSize) * columns;
    for (let x = 0; x < width; x++, from += 3) {
      const luma = 0.299 * data[from]! + 0.587 * data[from + 1]! + 0.114 * data[from + 2]!;
      sums[row + Math.floor(x / cellSize)]! += luma;
    }
  }
  return Array.from(sums, (sum) => Math.round(sum / cellSize ** 2));
}
