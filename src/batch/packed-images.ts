/**
 * The images of a packed batch. Their pixels stay where the batch has them until a pass writes them as patches, so
 * that a window is packed and dealt to passes without a copy.
 */
import { unpaddedImages } from '../data/pad-batch.js';
import type { VlmBatch } from '../data/types.js';
import { DataError } from '../errors.js';

/** N images of a packed batch, in the order of their tokens: P patches, merged to M features. */
export interface PackedImages {
  /** Pixels of each image [N]. */
  readonly images: readonly PackedImage[];
  /** Pixels along the side of a patch. */
  readonly patchSize: number;
  /** [N, 2] rows and columns of patches. */
  readonly grids: Int32Array;
  /** First patch of each image, and P at the end [N + 1]. */
  readonly starts: Int32Array;
  /** Tokens that the image features replace, in order [M]. */
  readonly tokenRows: Int32Array;
  /** Dropout keys of the patches [P]; without, dropout is off. */
  readonly rowKeys?: Int32Array | undefined;
  /** The same for the merged patches [M], as rows of the projector. */
  readonly mergedRowKeys?: Int32Array | undefined;
}

/** One image within pixels [channels, height, width] that may be padded at the right and the bottom. */
export interface PackedImage {
  /** Stands for the pixels where these are not read, as in plans: images are then the same if their names are. */
  readonly name?: string | undefined;
  /** Those of the batch, not a copy; may hold other images too. */
  readonly pixels: Float32Array;
  /** First pixel of its first channel. */
  readonly offset: number;
  /** 3; the model takes no other number. */
  readonly channels: number;
  /** Padding included. */
  readonly height: number;
  /** Padding included. */
  readonly width: number;
}

interface PackImageOptions {
  readonly patchSize: number;
  readonly mergeSize: number;
}

/** @throws DataError if image tokens and images do not match, or an image has no whole number of cells */
export function packImages(
  batch: VlmBatch,
  tokenRows: Int32Array,
  { patchSize, mergeSize }: PackImageOptions,
): PackedImages | undefined {
  const sizes = batch.imageSizes;
  const images = sizes && imagesOf(batch);
  if (!images) {
    if (tokenRows.length > 0) {
      throw new DataError(
        `the text has ${tokenRows.length} image tokens but the batch has no pixelValues and imageSizes`,
      );
    }
    return undefined;
  }
  const count = images.length;
  /** Of a cell, in pixels: one image token. */
  const side = patchSize * mergeSize;
  checkShape('imageSizes', sizes.shape, [count, 2]);
  const grids = new Int32Array(count * 2);
  const starts = new Int32Array(count + 1);
  let features = 0;
  for (const [n, { height, width }] of images.entries()) {
    const [h, w] = [sizes.data[2 * n]!, sizes.data[2 * n + 1]!];
    if (h <= 0 || w <= 0 || h % side !== 0 || w % side !== 0 || h > height || w > width) {
      throw new DataError(
        `image ${n} is ${h}×${w} (height×width): expected multiples of ${side} within pixelValues of ${height}×${width}`,
        { hint: 'process images with the ImageProcessor of the same checkpoint' },
      );
    }
    grids[2 * n] = h / patchSize;
    grids[2 * n + 1] = w / patchSize;
    starts[n + 1] = starts[n]! + (h / patchSize) * (w / patchSize);
    features += (h / side) * (w / side);
  }
  if (features !== tokenRows.length) {
    throw new DataError(`${tokenRows.length} image tokens in the text, but the images give ${features} features`, {
      hint: `each image needs (height/${side})·(width/${side}) image tokens; truncation must not cut them`,
    });
  }
  return { images, patchSize, grids, starts, tokenRows };
}

function imagesOf(batch: VlmBatch): PackedImage[] | undefined {
  const unpadded = unpaddedImages(batch);
  if (unpadded) {
    return unpadded.map(({ pixelValues, height, width }) => {
      return { pixels: pixelValues, offset: 0, channels: 3, height, width };
    });
  }
  if (!batch.pixelValues) return undefined;
  const { data, shape } = batch.pixelValues;
  const [count, channels, height, width] = shape as [number, number, number, number];
  return Array.from({ length: count }, (_, n) => {
    return { pixels: data, offset: n * channels * height * width, channels, height, width };
  });
}

/** Images `first` to `end` of a batch, for a batch that begins at token `firstToken` of it. */
export function sliceImages(
  { images, patchSize, grids, starts, tokenRows, rowKeys, mergedRowKeys }: PackedImages,
  [first, end]: readonly [number, number],
  [firstFeature, endFeature]: readonly [number, number],
  firstToken: number,
): PackedImages {
  const from = starts[first]!;
  return {
    images: images.slice(first, end),
    patchSize,
    grids: grids.subarray(2 * first, 2 * end),
    starts: starts.slice(first, end + 1).map((start) => start - from),
    tokenRows: tokenRows.subarray(firstFeature, endFeature).map((row) => row - firstToken),
    rowKeys: rowKeys?.subarray(from, starts[end]!),
    mergedRowKeys: mergedRowKeys?.subarray(firstFeature, endFeature),
  };
}

/** Pixels of each patch as (channel, row, column): [P, channels · patchSize²] in all. */
export function patchesLength({ images, patchSize, starts }: PackedImages): number {
  return starts.at(-1)! * (images[0]?.channels ?? 0) * patchSize ** 2;
}

/**
 * Reads the pixels in their order, as they are cold by then: read patch by patch they take four times as long.
 * @param patches of `patchesLength` values; all are written
 */
export function writePatches({ images, patchSize, grids }: PackedImages, patches: Float32Array): void {
  let first = 0;
  for (const [n, { pixels, offset, channels, height, width }] of images.entries()) {
    const [rows, columns] = [grids[2 * n]!, grids[2 * n + 1]!];
    const length = channels * patchSize ** 2;
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < rows * patchSize; y++) {
        const row = Math.floor(y / patchSize);
        let from = offset + (c * height + y) * width;
        let to = first + row * columns * length + (c * patchSize + (y - row * patchSize)) * patchSize;
        for (let column = 0; column < columns; column++, to += length) {
          for (let x = 0; x < patchSize; x++) patches[to + x] = pixels[from++]!;
        }
      }
    }
    first += rows * columns * length;
  }
}

/** Whether two images have the same size and bitwise equal pixels; padding is ignored. */
export function isSameImage(a: PackedImages, n: number, b: PackedImages, m: number): boolean {
  const [rows, columns] = [a.grids[2 * n]!, a.grids[2 * n + 1]!];
  if (a.patchSize !== b.patchSize || rows !== b.grids[2 * m] || columns !== b.grids[2 * m + 1]) return false;
  const [x, y] = [a.images[n]!, b.images[m]!];
  if (x.name !== undefined) return x.name === y.name;
  if (x.channels !== y.channels) return false;
  const isSameLayout = x.height === y.height && x.width === y.width;
  if (isSameLayout && x.pixels === y.pixels && x.offset === y.offset) return true;
  const [height, width] = [rows * a.patchSize, columns * a.patchSize];
  // Images that differ mostly do so in their first rows.
  for (let c = 0; c < x.channels; c++) {
    for (let row = 0; row < height; row++) {
      const line = ({ pixels, offset, height, width: stride }: PackedImage): Buffer => {
        const from = pixels.byteOffset + 4 * (offset + (c * height + row) * stride);
        return Buffer.from(pixels.buffer, from, 4 * width);
      };
      if (!line(x).equals(line(y))) return false;
    }
  }
  return true;
}

/** @throws DataError */
export function checkShape(name: string, shape: readonly number[], expected: readonly number[]): void {
  if (shape.length !== expected.length || shape.some((extent, i) => extent !== expected[i])) {
    throw new DataError(`${name} has shape [${shape.join(', ')}], expected [${expected.join(', ')}]`);
  }
}
