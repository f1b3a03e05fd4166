/** How long micro-batches take on the card, relative to each other, before they are dealt to ranks. */
import { type PackedSize, PackedWindow } from '../batch/packed-window.js';
import type { VlmBatch } from '../data/types.js';
import type { Costs } from './pass-plan.js';
import type { SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';

/** Operations of a pass of this size in forward, as plans of passes count them. */
export function forwardTime(size: PackedSize, costs: Pick<Costs, 'recomputeTime' | 'layers'>): number {
  return costs.recomputeTime(size, costs.layers);
}

/**
 * The time of each micro-batch, in operations of `forwardTime`. What a micro-batch has in common with its neighbour counts
 * for neither: each rank computes a shared prefix once, however many samples it has.
 * @returns NaN for a batch that cannot be packed: its step will say why
 */
export function timesOf(model: TrainableModel, config: SftConfig, batches: readonly VlmBatch[]): number[] {
  const { sharePrefix, neftuneNoiseAlpha, precision, memoryBudget } = config;
  try {
    const costs = model.passCosts(precision, memoryBudget);
    const isShared = sharePrefix && neftuneNoiseAlpha === 0 && model.sharesPrefixes === true;
    const packed = batches.map((batch) => model.pack(batch));
    return packed.map((own, b) => {
      const neighbour = packed[b === 0 ? 1 : b - 1];
      const both = new PackedWindow(neighbour ? [neighbour, own] : [own], { sharePrefix: isShared, isOnePass: true });
      const others = both.samples.filter(({ microBatch }) => neighbour !== undefined && microBatch === 0);
      const rest = others.length > 0 ? forwardTime(both.sizeOf(others), costs) : 0;
      return forwardTime(both.sizeOf(both.samples), costs) - rest;
    });
  } catch {
    return batches.map(() => Number.NaN);
  }
}
