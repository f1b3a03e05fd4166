/** The packed micro-batches of an optimizer step, taken apart into samples, of which passes are made without a copy. */

import { joinPacked, type PackedBatch } from './packed-batch.js';
import type { PackedImages } from './packed-images.js';

/** What one sample, or all of a pass, brings. */
export interface PackedSize {
  readonly tokens: number;
  readonly patches: number;
  /** Image features: merged patches. */
  readonly features: number;
  readonly labels: number;
}

export function sizeOfPacked({ ids, labelRows, images }: PackedBatch): PackedSize {
  return {
    tokens: ids.length,
    patches: images?.starts.at(-1) ?? 0,
    features: images?.tokenRows.length ?? 0,
    labels: labelRows.length,
  };
}

export function sumOfSizes(sizes: readonly PackedSize[]): PackedSize {
  const sum = { tokens: 0, patches: 0, features: 0, labels: 0 };
  for (const size of sizes) {
    sum.tokens += size.tokens;
    sum.patches += size.patches;
    sum.features += size.features;
    sum.labels += size.labels;
  }
  return sum;
}

export interface WindowSample {
  /** Its micro-batch, and its place in it. */
  readonly microBatch: number;
  readonly row: number;
  readonly size: PackedSize;
}

export class PackedWindow {
  readonly samples: readonly WindowSample[];
  readonly #microBatches: readonly PackedBatch[];
  readonly #parts: readonly (readonly PackedBatch[])[];

  constructor(microBatches: readonly PackedBatch[]) {
    this.#microBatches = microBatches;
    this.#parts = microBatches.map(splitPacked);
    this.samples = this.#parts.flatMap((parts, microBatch) =>
      parts.map((part, row) => ({ microBatch, row, size: sizeOfPacked(part) })),
    );
  }

  get size(): PackedSize {
    return sumOfSizes(this.samples.map(({ size }) => size));
  }

  /** The given samples as one batch. */
  join(samples: readonly WindowSample[]): PackedBatch {
    const first = samples[0]!;
    const whole = this.#microBatches[first.microBatch]!;
    const isWhole =
      samples.length === this.#parts[first.microBatch]!.length &&
      samples.every(({ microBatch }) => microBatch === first.microBatch);
    return isWhole ? whole : joinPacked(samples.map(({ microBatch, row }) => this.#parts[microBatch]![row]!));
  }
}

/** One packed batch for each sample, in order. */
export function splitPacked(packed: PackedBatch): PackedBatch[] {
  const { ids, positions, starts, labelRows, labelTargets, rowKeys, images } = packed;
  const patchesOfFeature = images ? images.starts.at(-1)! / images.tokenRows.length : 1;
  let label = 0;
  let image = 0;
  let feature = 0;
  return Array.from({ length: starts.length - 1 }, (_, b) => {
    const [first, end] = [starts[b]!, starts[b + 1]!];
    const firstLabel = label;
    while (label < labelRows.length && labelRows[label]! < end) label++;
    const [firstImage, firstFeature] = [image, feature];
    // An image belongs to the sample that holds its first feature.
    while (images && image < images.starts.length - 1 && images.tokenRows[feature]! < end) {
      feature += (images.starts[image + 1]! - images.starts[image]!) / patchesOfFeature;
      image++;
    }
    return {
      ids: ids.subarray(first, end),
      positions: positions.subarray(first, end),
      starts: Int32Array.of(0, end - first),
      labelRows: labelRows.subarray(firstLabel, label).map((row) => row - first),
      labelTargets: labelTargets.subarray(firstLabel, label),
      rowKeys: rowKeys?.subarray(first, end),
      images:
        images && image > firstImage ? sliceImages(images, firstImage, image, firstFeature, feature, first) : undefined,
    };
  });
}

function sliceImages(
  { images, patchSize, grids, starts, tokenRows, rowKeys, mergedRowKeys }: PackedImages,
  first: number,
  end: number,
  firstFeature: number,
  endFeature: number,
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
