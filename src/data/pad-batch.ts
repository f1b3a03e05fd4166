/** From samples of different lengths and images of different sizes to the dense arrays of a batch. */
import type { ProcessedImage } from './process-pixels.js';
import { IGNORE_INDEX, type ImageInput, type NdArray, type SkippedSample, type VlmBatch } from './types.js';

/** A sample that is ready to be padded. */
export interface EncodedSample {
  /** As in `SkippedSample`. */
  readonly id: string;
  /** [T], images expanded to their rows of image tokens. */
  readonly inputIds: readonly number[];
  /** [T], -100 where nothing is learned; absent in a prompt. */
  readonly labels?: readonly number[];
  /** In the order of their image tokens. */
  readonly images: readonly ProcessedImage[];
}

/** Size of a processed image, with or without its pixels. */
export type ImageExtents = Pick<ProcessedImage, 'height' | 'width'>;

/** A sample whose images are known by their sizes alone. */
export interface MeasuredSample extends Omit<EncodedSample, 'images'> {
  /** In the order of their image tokens. */
  readonly images: readonly (ImageExtents & { readonly input: ImageInput })[];
}

/** On which side of a shorter sample the padding goes. */
export type PaddingSide = 'left' | 'right';

/** Images of batches whose padded pixels nobody has asked for. */
const unpadded = new WeakMap<VlmBatch, readonly ProcessedImage[]>();

/**
 * The images of a batch before padding, which saves who can use them a copy that is larger than all else in a batch.
 * Undefined once `pixelValues` was read, as they may have been changed there, and for batches from elsewhere.
 */
export function unpaddedImages(batch: VlmBatch): readonly ProcessedImage[] | undefined {
  return unpadded.get(batch);
}

/**
 * Pads the samples to the longest of them. No sample gives a batch with B = 0. `pixelValues` are padded when they are
 * first read.
 */
export function padBatch(
  samples: readonly EncodedSample[],
  padTokenId: number,
  side: PaddingSide,
  skipped: readonly SkippedSample[] = [],
): VlmBatch {
  const B = samples.length;
  const T = Math.max(0, ...samples.map((sample) => sample.inputIds.length));
  const inputIds = new Int32Array(B * T).fill(padTokenId);
  const attentionMask = new Int32Array(B * T);
  const labels = samples.every((sample) => sample.labels) ? new Int32Array(B * T).fill(IGNORE_INDEX) : undefined;
  samples.forEach((sample, b) => {
    const start = b * T + (side === 'left' ? T - sample.inputIds.length : 0);
    inputIds.set(sample.inputIds, start);
    attentionMask.fill(1, start, start + sample.inputIds.length);
    labels?.set(sample.labels!, start);
  });
  const images = samples.flatMap((sample) => sample.images);
  const batch: VlmBatch = {
    inputIds: { data: inputIds, shape: [B, T] },
    attentionMask: { data: attentionMask, shape: [B, T] },
    ...(labels && { labels: { data: labels, shape: [B, T] } }),
    sampleIds: samples.map((sample) => sample.id),
    ...(skipped.length > 0 && { skipped }),
  };
  return images.length > 0 ? withImages(batch, images) : batch;
}

/** Gives a batch `imageSizes`, and `pixelValues` that are padded when they are first read. */
export function withImages(batch: VlmBatch, images: readonly ProcessedImage[]): VlmBatch {
  const sizes = Int32Array.from(images.flatMap(({ height, width }) => [height, width]));
  let pixelValues: VlmBatch['pixelValues'];
  unpadded.set(batch, images);
  return Object.defineProperties(batch, {
    imageSizes: { value: { data: sizes, shape: [images.length, 2] }, enumerable: true },
    pixelValues: {
      get: () => {
        const images = unpadded.get(batch);
        if (images) pixelValues = padImages(images);
        unpadded.delete(batch);
        return pixelValues;
      },
      enumerable: true,
    },
  });
}

/** Zeros go on after normalisation, at the right and the bottom; `imageSizes` has the sizes before. */
function padImages(images: readonly ProcessedImage[]): NdArray<Float32Array> {
  const N = images.length;
  const H = Math.max(...images.map((image) => image.height));
  const W = Math.max(...images.map((image) => image.width));
  const pixels = new Float32Array(N * 3 * H * W);
  images.forEach(({ pixelValues, height, width }, n) => {
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < height; y++) {
        const from = (c * height + y) * width;
        pixels.set(pixelValues.subarray(from, from + width), ((n * 3 + c) * H + y) * W);
      }
    }
  });
  return { data: pixels, shape: [N, 3, H, W] };
}
