/** What the trainer knows of a model: gradients of a window of micro-batches, and the loss of a batch. No LoRA here. */
import { IGNORE_INDEX, type VlmBatch } from '../data/types.js';
import type { Deferred, Engine } from '../engine/engine.js';
import type { ParameterSet } from '../engine/tensor.js';

export interface AccumulateOptions {
  /** The loss is the sum over labelled tokens divided by this: the labelled tokens of the whole window. */
  readonly labelCount: number;
  /** One for each micro-batch: seeds its dropout masks, in whatever passes its samples run. */
  readonly dropoutSeeds: readonly number[];
  /** Recompute layers in backward instead of keeping what they saved. */
  readonly gradientCheckpointing: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface TrainableModel {
  readonly engine: Engine;
  readonly trainable: ParameterSet;
  /**
   * Adds the gradient of the window's loss to the parameters. The engine may run the micro-batches in as few packed
   * passes as fit; the result is that of running them one by one.
   * @returns the window's loss, fetched late
   */
  accumulateGradients(microBatches: readonly VlmBatch[], options: AccumulateOptions): Promise<Deferred<number>>;
  /** Sum of the losses of the labelled tokens and their count, with dropout off. */
  evaluateLoss(batch: VlmBatch): Promise<{ readonly lossSum: number; readonly labelCount: number }>;
}

/**
 * Labelled tokens of a batch as the loss counts them: a label is predicted by the token before it, so one whose
 * predecessor is padding, or the first of all, never counts.
 */
export function countLabels(batch: VlmBatch): number {
  if (!batch.labels) return 0;
  const { data, shape } = batch.labels;
  const mask = batch.attentionMask.data;
  const columns = shape[1]!;
  let count = 0;
  for (let i = 0; i < data.length; i++) {
    if (i % columns !== 0 && mask[i] && mask[i - 1] && data[i] !== IGNORE_INDEX) count++;
  }
  return count;
}
