/** Images as an engine cuts them into patches: their pixels stay where a batch has them. */

/** An image within pixels [channels, height, width] that may be padded at the right and the bottom. */
export interface ImagePixels {
  /** May hold other images too. */
  readonly pixels: Float32Array;
  /** First pixel of its first channel. */
  readonly offset: number;
  /** As many in all images. */
  readonly channels: number;
  /** Padding included. */
  readonly height: number;
  /** Padding included. */
  readonly width: number;
}

/** N images that are cut into patches. */
export interface ImagePatches {
  /** Pixels of each image [N]. */
  readonly images: readonly ImagePixels[];
  /** Pixels along the side of a patch. */
  readonly patchSize: number;
  /** [N, 2] rows and columns of patches. */
  readonly grids: Int32Array;
}

/**
 * The pixels of an image without its padding, [channels, rows · patchSize, columns · patchSize], in as few pieces as
 * they lie in.
 */
export function* unpaddedPixels({ images, patchSize, grids }: ImagePatches, n: number): Generator<Float32Array> {
  const { pixels, offset, channels, height, width } = images[n]!;
  const [rows, columns] = [grids[2 * n]! * patchSize, grids[2 * n + 1]! * patchSize];
  if (columns === width && rows === height) {
    yield pixels.subarray(offset, offset + channels * height * width);
    return;
  }
  for (let c = 0; c < channels; c++) {
    const first = offset + c * height * width;
    if (columns === width) yield pixels.subarray(first, first + rows * width);
    else for (let y = 0; y < rows; y++) yield pixels.subarray(first + y * width, first + y * width + columns);
  }
}
