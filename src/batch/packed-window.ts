/** The packed micro-batches of an optimizer step, taken apart into samples, of which passes are made without a copy. */

import { TrainingError } from '../errors.js';
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

/**
 * Most samples that are compared with each other and dealt to passes together: the work grows with their square. They
 * fill several passes, so larger windows lose next to nothing by being planned in parts.
 */
const LARGEST_PART = 64;

/**
 * Cuts a window into parts in its order, as even as whole micro-batches allow; a micro-batch that is larger than a part
 * is cut too. No pass has samples of two parts.
 */
export function windowParts<S extends Pick<WindowSample, 'microBatch'>>(samples: readonly S[]): (readonly S[])[] {
  if (samples.length <= LARGEST_PART) return [samples];
  const size = Math.ceil(samples.length / Math.ceil(samples.length / LARGEST_PART));
  const parts: S[][] = [[]];
  for (let at = 0; at < samples.length; ) {
    const { microBatch } = samples[at]!;
    let end = at + 1;
    while (end < samples.length && end - at < size && samples[end]!.microBatch === microBatch) end++;
    const { length } = parts.at(-1)!;
    if (length >= size || length + end - at > LARGEST_PART) parts.push([]);
    for (; at < end; at++) parts.at(-1)!.push(samples[at]!);
  }
  return parts;
}

/** How a window is made into passes. */
interface PackedWindowOptions {
  /** Compute the common prefixes of a pass's samples only once. Default false. */
  readonly sharePrefix?: boolean | undefined;
  /** All samples are one pass, however many. Default false: passes keep to `windowParts`. */
  readonly isOnePass?: boolean | undefined;
}

/** What the samples of a part of the window have in common. */
interface Part {
  /** Place of its first sample in the window. */
  readonly first: number;
  readonly end: number;
  readonly prefixes: SharedPrefixes;
}

export class PackedWindow {
  readonly samples: readonly WindowSample[];
  readonly #microBatches: readonly PackedBatch[];
  readonly #parts: readonly (readonly PackedBatch[])[];
  /** First sample of each micro-batch. */
  readonly #firsts: readonly number[];
  /** Empty if sharing is off, or no samples have a common prefix. */
  readonly #shared: readonly Part[];

  constructor(
    microBatches: readonly PackedBatch[],
    { sharePrefix = false, isOnePass = false }: PackedWindowOptions = {},
  ) {
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
    const all = this.#parts.flat();
    let end = 0;
    const shared = (isOnePass ? [this.samples] : windowParts(this.samples)).map(({ length }): Part => {
      end += length;
      return {
        first: end - length,
        end,
        prefixes: new SharedPrefixes(sharePrefix ? all.slice(end - length, end) : []),
      };
    });
    this.#shared = shared.some(({ prefixes }) => !prefixes.isEmpty) ? shared : [];
  }

  /** Of all samples, nothing shared. */
  get size(): PackedSize {
    return sumOfSizes(this.samples.map(({ size }) => size));
  }

  /**
   * What a pass of these samples computes: shared prefixes count once.
   * @param samples of one part of the window, in its order
   */
  sizeOf(samples: readonly WindowSample[]): PackedSize {
    const sum = sumOfSizes(samples.map(({ size }) => size));
    const shared = this.#sharing(samples, (prefixes, places) => prefixes.sizeIn(places));
    if (!shared || shared.tokens === 0) return sum;
    return {
      tokens: sum.tokens - shared.tokens,
      patches: sum.patches - shared.patches,
      features: sum.features - shared.features,
      labels: sum.labels - shared.labels,
      keys: sum.tokens,
    };
  }

  /** The given samples as one batch. @param samples of one part of the window, in its order */
  join(samples: readonly WindowSample[]): PackedBatch {
    const shared = this.#sharing(samples, (prefixes, places) => prefixes.join(places));
    if (shared) return shared;
    const first = samples[0]!;
    const whole = this.#microBatches[first.microBatch]!;
    const isWhole =
      samples.length === this.#parts[first.microBatch]!.length &&
      samples.every(({ microBatch }) => microBatch === first.microBatch);
    return isWhole ? whole : joinPacked(samples.map(({ microBatch, row }) => this.#parts[microBatch]![row]!));
  }

  /** Asks what the samples' part of the window has in common; undefined if nothing is shared in the window. */
  #sharing<R>(samples: readonly WindowSample[], ask: (prefixes: SharedPrefixes, places: number[]) => R): R | undefined {
    if (this.#shared.length === 0 || samples.length === 0) return undefined;
    const places = samples.map(({ microBatch, row }) => this.#firsts[microBatch]! + row);
    const { first, end, prefixes } = this.#shared.find((part) => places[0]! < part.end)!;
    if (places.some((place) => place < first || place >= end)) {
      throw new TrainingError('expected samples of one part of the window in a pass, got samples of several parts');
    }
    return ask(
      prefixes,
      places.map((place) => place - first),
    );
  }
}

/** The batch with common prefixes of its samples stored once. */
export function sharePrefixes(packed: PackedBatch): PackedBatch {
  if (packed.starts.length <= 2) return packed;
  const window = new PackedWindow([packed], { sharePrefix: true, isOnePass: true });
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
