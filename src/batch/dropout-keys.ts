/**
 * The row keys of random.ts for a batch. A row is known by its sample's place in the micro-batch and by its own place in
 * the sample, so that it keeps its key, and its masks, in whatever pass the sample runs.
 */
import { counterHash } from '../random.js';
import type { PackedImages } from './packed-images.js';

/** Which masks the samples of a batch get. */
export interface DropoutStream {
  /** Seed of the micro-batch that the samples belong to, 32 bits. */
  readonly seed: number;
  /** Place of the batch's first sample in that micro-batch, where the batch is only a part of one. Default: 0. */
  readonly firstSample?: number | undefined;
}

export interface DropoutKeys {
  /** [T] */
  readonly tokens: Int32Array;
  /** [P], patches counted through all images of a sample. */
  readonly patches: Int32Array;
  /** [M], by the place of the token that a feature replaces. */
  readonly features: Int32Array;
}

/** Domain separation: rows of different kinds but equal places need different masks. Any three constants do. */
const KINDS = { tokens: 0x243f6a88, patches: 0x85a308d3, features: 0x13198a2e } as const;

/** @param starts first token of each sample, and T at the end [B + 1] */
export function dropoutKeys(
  { seed, firstSample = 0 }: DropoutStream,
  starts: Int32Array,
  images: PackedImages | undefined,
): DropoutKeys {
  const samples = new Int32Array(starts.at(-1)!);
  const seeds: number[] = [];
  for (let b = 0; b + 1 < starts.length; b++) {
    samples.fill(b, starts[b]!, starts[b + 1]!);
    seeds.push(counterHash(seed, firstSample + b));
  }
  const key = (kind: keyof DropoutKeys, sample: number, place: number): number =>
    counterHash(seeds[sample]! ^ KINDS[kind], place);
  const keyOfToken = (kind: keyof DropoutKeys, row: number): number =>
    key(kind, samples[row]!, row - starts[samples[row]!]!);
  const patches = new Int32Array(images?.starts.at(-1) ?? 0);
  if (images) {
    const patchesOfToken = patches.length / images.tokenRows.length;
    let first = 0;
    for (let n = 0; n + 1 < images.starts.length; n++) {
      const [from, to] = [images.starts[n]!, images.starts[n + 1]!];
      const sampleAt = (patch: number): number => samples[images.tokenRows[patch / patchesOfToken]!]!;
      if (sampleAt(from) !== sampleAt(first)) first = from;
      for (let p = from; p < to; p++) patches[p] = key('patches', sampleAt(from), p - first);
    }
  }
  return {
    tokens: Int32Array.from(samples, (_, row) => keyOfToken('tokens', row)),
    patches,
    features: Int32Array.from(images?.tokenRows ?? [], (row) => keyOfToken('features', row)),
  };
}
