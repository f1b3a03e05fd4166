/** The windows of a run on several cards, each dealt to its ranks as the trainer deals them. */
import type { PackedWindow } from '../batch/packed-window.js';
import type { SftConfig } from '../train/sft-config.js';
import { type PackedSamples, type RunWindows, runSteps, type StepBatch, windowOf } from './run-windows.js';

export interface DealtWindows extends StepBatch, Pick<RunWindows, 'steps' | 'tokens' | 'samples'> {
  readonly gpus: number;
  /** Evenly spread over the run; of each the windows of the ranks that have samples in it. */
  readonly windows: readonly (readonly PackedWindow[])[];
}

/**
 * The last window of an epoch may have too few micro-batches for all ranks: those without wait.
 * @param batch of each device
 * @param most windows that are dealt
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
  const windows = chosen.map((step) =>
    Array.from({ length: gpus }, (_, rank) => microBatches(step, { rank, worldSize: gpus }))
      .filter((batches) => batches.some(({ length }) => length > 0))
      .map((batches) => windowOf(batches, config)),
  );
  return { gpus, perDeviceTrainBatchSize, gradientAccumulationSteps, steps, tokens, samples, windows };
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
