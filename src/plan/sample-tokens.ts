/** The tokens of a data set, from its texts and the headers of its images. */
import { setImmediate as turn } from 'node:timers/promises';
import type { PackedBatch } from '../batch/packed-batch.js';
import type { PackedImage } from '../batch/packed-images.js';
import { FEWEST_TOKENS } from '../batch/shared-prefixes.js';
import type { MeasuredSample } from '../data/pad-batch.js';
import { type Dataset, IGNORE_INDEX, type ImageInput, type TrainingExample } from '../data/types.js';
import type { VlmCollator } from '../data/vlm-collator.js';
import { ImageError, TuneError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import type { ModelConfig } from '../model/model-config.js';
import type { DataPlan, PlannedSample, SampleFault } from './training-plan.js';

/** Headers that are read at the same time: as many as libuv has threads for, twice. */
const AT_ONCE = 8;

/** The data set as the trainer would see it: packed samples by their place, undefined where a sample is left out. */
interface MeasuredData {
  readonly plan: DataPlan;
  readonly packed: readonly (PackedBatch | undefined)[];
}

interface Measured {
  readonly planned: PlannedSample;
  readonly packed: PackedBatch;
}

interface MeasureOptions {
  readonly collator: VlmCollator;
  readonly model: ModelConfig;
  readonly signal?: AbortSignal | undefined;
}

/** @throws what the data set throws; the signal's reason. What is wrong with single samples is listed. */
export async function measureData(
  dataset: Dataset<TrainingExample>,
  { collator, model, signal }: MeasureOptions,
): Promise<MeasuredData> {
  const measured: (Measured | undefined)[] = new Array(dataset.length).fill(undefined);
  const faults = { overlong: [] as SampleFault[], unlearnable: [] as SampleFault[], unreadable: [] as SampleFault[] };
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < dataset.length; index = next++) {
      signal?.throwIfAborted();
      const example = await dataset.get(index);
      const id = oneLine(String(example?.id ?? index));
      try {
        if (!collator.hasLabels(example)) {
          const reason = 'no token of it is learned: it has no answer, or all are masked';
          faults.unlearnable.push({ index, id, reason, isLeftOut: false });
          continue;
        }
        const sample = await collator.measure(example, signal && { signal });
        if ('reason' in sample) {
          faults.unreadable.push({ index, id, reason: oneLine(sample.reason), isLeftOut: true });
          continue;
        }
        const fault = lengthFault(sample.inputIds.length, collator, model);
        if (fault) {
          faults.overlong.push({ index, id, ...fault, tokens: sample.inputIds.length });
          continue;
        }
        measured[index] = measureOf(index, id, sample, model);
      } catch (error) {
        if (signal?.aborted || !(error instanceof TuneError)) throw error;
        const { length } = error.details;
        const reason = error instanceof ImageError ? error.reason : error.summary;
        if (typeof length === 'number' && error.details.maxLength !== undefined) {
          faults.overlong.push({ index, id, reason, isLeftOut: false, tokens: length });
        } else {
          faults.unreadable.push({ index, id, reason: oneLine(reason), isLeftOut: false });
        }
      }
      // Encoding takes this thread, and others have theirs to do.
      if (index % 64 === 0) await turn();
    }
  };
  const stopping = async (): Promise<void> => {
    await work().catch((error: unknown) => {
      // The others need not go on.
      next = dataset.length;
      throw error;
    });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, stopping));
  const kept = measured.flatMap((one) => one ?? []);
  const prefixes = prefixTokens(kept.map(({ packed }) => packed));
  const perSample = kept.map(({ planned }, i) => ({ ...planned, prefixTokens: prefixes[i]! }));
  const sum = (value: (sample: PlannedSample) => number): number =>
    perSample.reduce((total, sample) => total + value(sample), 0);
  const inOrder = (list: SampleFault[]): SampleFault[] => list.sort((a, b) => a.index - b.index);
  const plan: DataPlan = {
    samples: dataset.length,
    trainedSamples: kept.length,
    images: kept.reduce((total, { packed }) => total + (packed.images?.images.length ?? 0), 0),
    tokens: sum(({ tokens }) => tokens),
    imageTokens: sum(({ imageTokens }) => imageTokens),
    labels: sum(({ labels }) => labels),
    perSample,
    overlong: inOrder(faults.overlong),
    unlearnable: inOrder(faults.unlearnable),
    unreadable: inOrder(faults.unreadable),
  };
  return { plan, packed: measured.map((one) => one?.packed) };
}

function lengthFault(
  length: number,
  { options: { maxLength } }: VlmCollator,
  { text: { maxPositions } }: ModelConfig,
): Pick<SampleFault, 'reason' | 'isLeftOut'> | undefined {
  if (maxLength !== undefined && length > maxLength) {
    return { reason: `${length} tokens, maxLength is ${maxLength}`, isLeftOut: true };
  }
  if (length <= maxPositions) return undefined;
  return { reason: `${length} tokens, the model has ${maxPositions} positions`, isLeftOut: false };
}

function measureOf(
  index: number,
  id: string,
  { inputIds, labels = [], images }: MeasuredSample,
  { vision: { patchSize }, spatialMergeSize, imageTokenId }: ModelConfig,
): Measured {
  const labelRows: number[] = [];
  const tokenRows: number[] = [];
  for (const [t, id] of inputIds.entries()) {
    // The label of a token is predicted by the one before it.
    if (t > 0 && labels[t] !== IGNORE_INDEX) labelRows.push(t - 1);
    if (id === imageTokenId) tokenRows.push(t);
  }
  const grids = images.flatMap(({ height, width }) => [height / patchSize, width / patchSize]);
  const starts = [0];
  let rows = 0;
  for (const { height, width } of images) {
    starts.push(starts.at(-1)! + (height * width) / patchSize ** 2);
    rows += height / (patchSize * spatialMergeSize);
  }
  const none = new Float32Array(0);
  const packedImages = images.map(({ height, width, input }, n): PackedImage => {
    return { name: nameOf(input) ?? `${index}/${n}`, pixels: none, offset: 0, channels: 3, height, width };
  });
  const packed: PackedBatch = {
    ids: Int32Array.from(inputIds),
    positions: positionsUpTo(inputIds.length),
    starts: Int32Array.of(0, inputIds.length),
    labelRows: Int32Array.from(labelRows),
    labelTargets: Int32Array.from(labelRows, (row) => labels[row + 1]!),
    images:
      images.length === 0
        ? undefined
        : {
            images: packedImages,
            patchSize,
            grids: Int32Array.from(grids),
            starts: Int32Array.from(starts),
            tokenRows: Int32Array.from(tokenRows),
          },
  };
  const planned = {
    index,
    id,
    tokens: inputIds.length,
    imageTokens: tokenRows.length + rows,
    labels: labelRows.length,
    patches: starts.at(-1)!,
    prefixTokens: 0,
  };
  return { planned, packed };
}

let positions = new Int32Array(0);

/** All samples look at the same ones: a data set may have 100,000. */
function positionsUpTo(length: number): Int32Array {
  if (positions.length < length) positions = Int32Array.from({ length: 2 * length }, (_, t) => t);
  return positions.subarray(0, length);
}

/** Of an image in a file: the same file is the same image. */
function nameOf(input: ImageInput): string | undefined {
  if (typeof input === 'string') return input;
  return 'path' in input && typeof input.path === 'string' ? input.path : undefined;
}

/**
 * The longest prefix that each sample has in common with another: with one of its neighbours in the order of the tokens.
 * An image's tokens are alike in all images, so an image stands in the comparison by its name.
 */
function prefixTokens(samples: readonly PackedBatch[]): number[] {
  const images = new Map<string, number>();
  const keys = samples.map(({ ids, images: own }) => {
    if (!own) return ids;
    const key = ids.slice();
    const perFeature = own.starts.at(-1)! / own.tokenRows.length;
    for (const [n, { name = '' }] of own.images.entries()) {
      const known = images.get(name) ?? images.size + 1;
      images.set(name, known);
      key[own.tokenRows[own.starts[n]! / perFeature]!] = -known;
    }
    return key;
  });
  const order = keys.map((_, i) => i).sort((a, b) => compare(keys[a]!, keys[b]!));
  const found = new Array<number>(samples.length).fill(0);
  for (let i = 1; i < order.length; i++) {
    const [a, b] = [order[i - 1]!, order[i]!];
    const common = commonLength(keys[a]!, keys[b]!);
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      // A sample keeps a token of its own.
      const shared = Math.min(common, keys[one]!.length - 1, keys[other]!.length);
      if (shared >= FEWEST_TOKENS) found[one] = Math.max(found[one]!, shared);
    }
  }
  return found;
}

function commonLength(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}

function compare(a: Int32Array, b: Int32Array): number {
  const at = commonLength(a, b);
  return (a[at] ?? Number.MIN_SAFE_INTEGER) - (b[at] ?? Number.MIN_SAFE_INTEGER);
}
