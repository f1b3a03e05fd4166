/** The packed micro-batches of an optimizer step, taken apart into samples, of which passes are made without a copy. */

import { joinPacked, type PackedBatch, requireUnshared } from './packed-batch.js';
import { sliceImages } from './packed-images.js';
import { SharedPrefixes } from './shared-prefixes.js';

/** What one sample, or all of a pass, brings. */
export interface PackedSize {
  readonly tokens: number;
  readonly patches: number;
  /** Image features: merged patches. */
  readonly features: number;
  readonly labels: number;
  /** Rows of keys that attention reads, where samples share a prefix. Default: `tokens`. */
  readonly keys?: number | undefined;
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

/** How a window is made into passes. */
interface PackedWindowOptions {
  /** Compute the common prefixes of a pass's samples only once. Default false. */
  readonly sharePrefix?: boolean | undefined;
}

export class PackedWindow {
  readonly samples: readonly WindowSample[];
  readonly #microBatches: readonly PackedBatch[];
  readonly #parts: readonly (readonly PackedBatch[])[];
  /** First sample of each micro-batch. */
  readonly #firsts: readonly number[];
  /** Undefined if sharing is off, or no samples have a common prefix. */
  readonly #prefixes: SharedPrefixes | undefined;

  constructor(microBatches: readonly PackedBatch[], { sharePrefix = false }: PackedWindowOptions = {}) {
    this.#microBatches = microBatches;
    this.#parts = microBatches.map(splitPacked);
    this.samples = this.#parts.flatMap((parts, microBatch) =>
      parts.map((part, row) => ({ microBatch, row, size: sizeOfPacked(part) })),
    );
    let count = 0;
    this.#firsts = this.#parts.map((parts) => {
      count += parts.length;
      return count - parts.length;
    });
    const prefixes = sharePrefix ? new SharedPrefixes(this.#parts.flat()) : undefined;
    this.#prefixes = prefixes?.isEmpty ? undefined : prefixes;
  }

  /** Of all samples, nothing shared. */
  get size(): PackedSize {
    return sumOfSizes(this.samples.map(({ size }) => size));
  }

  /** What a pass of these samples computes: shared prefixes count once. */
  sizeOf(samples: readonly WindowSample[]): PackedSize {
    const sum = sumOfSizes(samples.map(({ size }) => size));
    const shared = this.#prefixes?.sizeIn(this.#placesOf(samples));
    if (!shared || shared.tokens === 0) return sum;
    return {
      tokens: sum.tokens - shared.tokens,
      patches: sum.patches - shared.patches,
      features: sum.features - shared.features,
      labels: sum.labels - shared.labels,
      keys: sum.tokens,
    };
  }

  /** The given samples as one batch. @param samples in the order of the window */
  join(samples: readonly WindowSample[]): PackedBatch {
    if (this.#prefixes) return this.#prefixes.join(this.#placesOf(samples));
    const first = samples[0]!;
    const whole = this.#microBatches[first.microBatch]!;
    const isWhole =
      samples.length === this.#parts[first.microBatch]!.length &&
      samples.every(({ microBatch }) => microBatch === first.microBatch);
    return isWhole ? whole : joinPacked(samples.map(({ microBatch, row }) => this.#parts[microBatch]![row]!));
  }

  #placesOf(samples: readonly WindowSample[]): number[] {
    return samples.map(({ microBatch, row }) => this.#firsts[microBatch]! + row);
  }
}

/** The batch with common prefixes of its samples stored once. */
export function sharePrefixes(packed: PackedBatch): PackedBatch {
  if (packed.starts.length <= 2) return packed;
  const window = new PackedWindow([packed], { sharePrefix: true });
  return window.join(window.samples);
}

/** One packed batch for each sample, in order. */
export function splitPacked(packed: PackedBatch): PackedBatch[] {
  requireUnshared(packed);
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
        images && image > firstImage
          ? sliceImages(images, [firstImage, image], [firstFeature, feature], first)
          : undefined,
    };
  });
}
