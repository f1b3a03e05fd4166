/** How long micro-batches take on the card, relative to each other, and to which rank each goes. */
import type { PackedBatch } from '../batch/packed-batch.js';
import { PackedWindow } from '../batch/packed-window.js';
import type { VlmBatch } from '../data/types.js';
import { type CostedBatch, dealByCost } from './deal-by-cost.js';
import type { Costs } from './pass-plan.js';
import type { SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';

/**
 * In operations of a forward pass, which a large card computes in a few milliseconds: to win less is not worth the way of
 * the micro-batches.
 */
const LEAST_GAIN = 5e11;

/** The rank of each micro-batch. @param batches with their `timesOf` as costs */
export function dealByTime(batches: readonly CostedBatch[], worldSize: number): number[] {
  return dealByCost(batches, { worldSize, leastGain: LEAST_GAIN });
}

/**
 * The time of each micro-batch of a rank: operations of its forward pass, as plans of passes count them. What a micro-batch
 * has in common with its neighbour counts for neither: each rank computes a shared prefix once, however many samples it has.
 */
export function timesOfPacked(
  packed: readonly PackedBatch[],
  costs: Pick<Costs, 'recomputeTime' | 'layers'>,
  isShared: boolean,
): number[] {
  return packed.map((own, b) => {
    const neighbour = packed[b === 0 ? 1 : b - 1];
    const both = new PackedWindow(neighbour ? [neighbour, own] : [own], { sharePrefix: isShared, isOnePass: true });
    const time = (samples: typeof both.samples): number => costs.recomputeTime(both.sizeOf(samples), costs.layers);
    const others = both.samples.filter(({ microBatch }) => neighbour !== undefined && microBatch === 0);
    return time(both.samples) - (others.length > 0 ? time(others) : 0);
  });
}

/** @returns NaN for all if one cannot be packed: their step will say why */
export function timesOf(model: TrainableModel, config: SftConfig, batches: readonly VlmBatch[]): number[] {
  const { sharePrefix, neftuneNoiseAlpha, precision, memoryBudget } = config;
  try {
    const isShared = sharePrefix && neftuneNoiseAlpha === 0 && model.sharesPrefixes === true;
    const packed = batches.map((batch) => model.pack(batch));
    return timesOfPacked(packed, model.passCosts(precision, memoryBudget), isShared);
  } catch {
    return batches.map(() => Number.NaN);
  }
}
