/** The windows of a run: which samples its optimizer steps see, packed without their pixels. */
import { joinPacked, type PackedBatch } from '../batch/packed-batch.js';
import { PackedWindow } from '../batch/packed-window.js';
import { Sampler } from '../train/sampler.js';
import type { SftConfig } from '../train/sft-config.js';

/**
 * Windows that are planned: all of a run that has no more, else as many, evenly spread, and those with the most tokens and
 * the most patches, which decide the memory.
 */
const MOST_WINDOWS = 128;
const HEAVIEST = 4;

export interface RunWindows {
  /** Optimizer steps of the run. */
  readonly steps: number;
  readonly windows: readonly PackedWindow[];
  /** Of those the ones that stand for the run evenly; the others are the heaviest. */
  readonly representative: number;
  /** Tokens of the data over all steps. */
  readonly tokens: number;
  /** Samples of all steps. */
  readonly samples: number;
}

/** @param packed samples by their place in the data set, undefined where one is left out */
export function runWindows(
  packed: readonly (PackedBatch | undefined)[],
  config: SftConfig,
  most = MOST_WINDOWS,
): RunWindows {
  const { perDeviceTrainBatchSize, gradientAccumulationSteps, dataloaderDropLast, seed, dataSeed } = config;
  const sampler = new Sampler({
    length: packed.length,
    batchSize: perDeviceTrainBatchSize,
    gradientAccumulationSteps,
    dropLast: dataloaderDropLast,
    seed: dataSeed ?? seed,
    numTrainEpochs: config.numTrainEpochs,
    maxSteps: config.maxSteps,
  });
  const sizes = Array.from(packed, (sample) => {
    return { tokens: sample?.ids.length ?? 0, patches: sample?.images?.starts.at(-1) ?? 0 };
  });
  const { totalSteps } = sampler;
  const all: { readonly step: number; readonly tokens: number; readonly patches: number; readonly samples: number }[] =
    [];
  // The steps of one epoch tell about all: each sees every sample.
  const looked = Math.min(totalSteps, Math.max(sampler.stepsPerEpoch, most));
  for (let step = 0; step < looked; step++) {
    let [tokens, patches, samples] = [0, 0, 0];
    for (const index of sampler.window(step).microBatches.flat()) {
      tokens += sizes[index]!.tokens;
      patches += sizes[index]!.patches;
      if (packed[index]) samples++;
    }
    all.push({ step, tokens, patches, samples });
  }
  const full = all.filter(({ samples }) => samples > 0);
  const count = Math.min(most, full.length);
  const chosen = Array.from({ length: count }, (_, i) => full[Math.floor((i * full.length) / count)]!.step);
  const heaviest = (['tokens', 'patches'] as const).flatMap((what) =>
    [...full].sort((a, b) => b[what] - a[what]).slice(0, HEAVIEST),
  );
  const others = new Set(heaviest.map(({ step }) => step).filter((step) => !chosen.includes(step)));
  const sharePrefix = config.sharePrefix && config.neftuneNoiseAlpha === 0;
  const windows = [...chosen, ...others].map((step) => {
    const microBatches = sampler.window(step).microBatches.flatMap((indices) => {
      const samples = indices.flatMap((index) => packed[index] ?? []);
      return samples.length === 0 ? [] : [joinPacked(samples)];
    });
    return new PackedWindow(microBatches, { sharePrefix });
  });
  const perStep = (what: 'tokens' | 'samples'): number =>
    all.length === 0 ? 0 : (all.reduce((sum, one) => sum + one[what], 0) * totalSteps) / all.length;
  return {
    steps: totalSteps,
    windows,
    representative: chosen.length,
    tokens: Math.round(perStep('tokens')),
    samples: Math.round(perStep('samples')),
  };
}
