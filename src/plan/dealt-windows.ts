/** The windows of a run on several cards, each dealt to its ranks as the trainer deals them. */
import { joinPacked, type PackedBatch } from '../batch/packed-batch.js';
import { patchesLength } from '../batch/packed-images.js';
import type { PackedWindow } from '../batch/packed-window.js';
import type { Costs } from '../train/pass-plan.js';
import type { SftConfig } from '../train/sft-config.js';
import { dealByTime, timesOfPacked } from '../train/window-costs.js';
import { type PackedSamples, type RunWindows, runSteps, type StepBatch, windowOf } from './run-windows.js';

export interface DealtWindows extends StepBatch, Pick<RunWindows, 'steps' | 'tokens' | 'samples'> {
  readonly gpus: number;
  /** Evenly spread over the run; of each the samples that are left of its micro-batches. */
  readonly windows: readonly (readonly (readonly PackedBatch[])[])[];
}

/**
 * @param batch of each device
 * @param most windows that are looked at
 */
export function dealtWindows(
  packed: PackedSamples,
  config: SftConfig,
  gpus: number,
  { perDeviceTrainBatchSize, gradientAccumulationSteps }: StepBatch,
  most: number,
): DealtWindows {
  const all = { perDeviceTrainBatchSize, gradientAccumulationSteps: gradientAccumulationSteps * gpus };
  const { steps, tokens, samples, chosen, microBatches } = runSteps(packed, config, all, most);
  const windows = chosen.map(microBatches);
  return { gpus, perDeviceTrainBatchSize, gradientAccumulationSteps, steps, tokens, samples, windows };
}

/**
 * The windows of the ranks that have samples, as the trainer deals them: each reads its micro-batches round robin, and slow
 * ranks give some away. The last window of an epoch may have too few for all ranks: those without wait.
 */
export function rankWindows(
  microBatches: readonly (readonly PackedBatch[])[],
  gpus: number,
  config: SftConfig,
  costs: Pick<Costs, 'recomputeTime' | 'layers'>,
): PackedWindow[] {
  const isShared = config.sharePrefix && config.neftuneNoiseAlpha === 0;
  const read = microBatches.flatMap((samples, m) => (samples.length > 0 ? [{ samples, home: m % gpus }] : []));
  const costed = Array.from({ length: gpus }, (_, rank) => {
    const own = read.filter(({ home }) => home === rank);
    const packed = own.map(({ samples }) => joinPacked(samples));
    return timesOfPacked(packed, costs, isShared).map((cost, b) => {
      // A pixel takes a byte on the way.
      return { ...own[b]!, cost, bytes: packed[b]!.images ? patchesLength(packed[b]!.images!) : 0 };
    });
  }).flat();
  const owners = dealByTime(costed, gpus);
  return Array.from({ length: gpus }, (_, rank) => costed.filter((_, b) => owners[b] === rank))
    .filter(({ length }) => length > 0)
    .map((own) =>
      windowOf(
        own.map(({ samples }) => samples),
        config,
      ),
    );
}

/**
 * The micro-batches of a device with which the effective batch stays that of one card; undefined if it does not divide.
 * They keep their size where that divides: dropout is drawn for each of them.
 */
export function sameEffectiveBatch(
  { perDeviceTrainBatchSize, gradientAccumulationSteps }: StepBatch,
  gpus: number,
): StepBatch | undefined {
  const samples = (perDeviceTrainBatchSize * gradientAccumulationSteps) / gpus;
  if (!Number.isInteger(samples)) return undefined;
  let size = Math.min(perDeviceTrainBatchSize, samples);
  while (samples % size !== 0) size--;
  return { perDeviceTrainBatchSize: size, gradientAccumulationSteps: samples / size };
}
