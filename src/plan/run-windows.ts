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

/** How micro-batches are cut, and how many make a step: of one device, or of all together. */
export type StepBatch = Pick<SftConfig, 'perDeviceTrainBatchSize' | 'gradientAccumulationSteps'>;

/** Packed samples by their place in the data set, undefined where one is left out. */
export type PackedSamples = readonly (PackedBatch | undefined)[];

/** What the optimizer steps of a run see, in sizes. */
interface RunSteps extends Pick<RunWindows, 'steps' | 'tokens' | 'samples'> {
  /** Of the steps that were looked at, those with a sample. */
  readonly full: readonly StepSize[];
  /** Of those as many as were asked for, evenly spread. */
  readonly chosen: readonly number[];
  /** Of a step: the samples that are left of each micro-batch. */
  microBatches(step: number): readonly (readonly PackedBatch[])[];
}

interface StepSize {
  readonly step: number;
  readonly tokens: number;
  readonly patches: number;
  readonly samples: number;
}

export function runSteps(packed: PackedSamples, config: SftConfig, batch: StepBatch, most: number): RunSteps {
  const sampler = new Sampler({
    length: packed.length,
    batchSize: batch.perDeviceTrainBatchSize,
    gradientAccumulationSteps: batch.gradientAccumulationSteps,
    dropLast: config.dataloaderDropLast,
    seed: config.dataSeed ?? config.seed,
    numTrainEpochs: config.numTrainEpochs,
    maxSteps: config.maxSteps,
  });
  const sizes = Array.from(packed, (sample) => {
    return { tokens: sample?.ids.length ?? 0, patches: sample?.images?.starts.at(-1) ?? 0 };
  });
  const { totalSteps } = sampler;
  const all: StepSize[] = [];
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
  const perStep = (what: 'tokens' | 'samples'): number =>
    all.length === 0 ? 0 : (all.reduce((sum, one) => sum + one[what], 0) * totalSteps) / all.length;
  return {
    steps: totalSteps,
    tokens: Math.round(perStep('tokens')),
    samples: Math.round(perStep('samples')),
    full,
    chosen: Array.from({ length: count }, (_, i) => full[Math.floor((i * full.length) / count)]!.step),
    microBatches: (step) =>
      sampler.window(step).microBatches.map((indices) => indices.flatMap((index) => packed[index] ?? [])),
  };
}

/** Samples of a step, packed as the trainer packs them. */
export function windowOf(microBatches: readonly (readonly PackedBatch[])[], config: SftConfig): PackedWindow {
  const full = microBatches.filter((samples) => samples.length > 0);
  return new PackedWindow(full.map(joinPacked), { sharePrefix: config.sharePrefix && config.neftuneNoiseAlpha === 0 });
}

export function runWindows(packed: PackedSamples, config: SftConfig, most = MOST_WINDOWS): RunWindows {
  const { steps, tokens, samples, full, chosen, microBatches } = runSteps(packed, config, config, most);
  const heaviest = (['tokens', 'patches'] as const).flatMap((what) =>
    [...full].sort((a, b) => b[what] - a[what]).slice(0, HEAVIEST),
  );
  const others = new Set(heaviest.map(({ step }) => step).filter((step) => !chosen.includes(step)));
  const windows = [...chosen, ...others].map((step) => windowOf(microBatches(step), config));
  return { steps, windows, representative: chosen.length, tokens, samples };
}
