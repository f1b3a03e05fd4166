/** The loss of a model over a whole data set, a batch at a time; nothing but two sums is kept. */

import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import { orAborted } from '../async/or-aborted.js';
import type { DataLoader } from '../data/data-loader.js';
import type { SkippedSample } from '../data/types.js';
import { DataError } from '../errors.js';
import type { EvaluateLossOptions, TrainableModel } from './trainable-model.js';

/** What an evaluation measured, named as transformers names it. */
export interface EvalResult {
  /** Mean loss of a labelled token over the whole evaluation set, smoothed with `labelSmoothingFactor` as in training. */
  readonly evalLoss: number;
  /** Seconds that the loss took. */
  readonly evalRuntime: number;
  /** Samples of the set without those that cannot be read, over `evalRuntime`. */
  readonly evalSamplesPerSecond: number;
  /** What `computeMetrics` returned. Missing without it. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/**
 * @param length samples of the loader's data set, taken in order
 * @param onSkipped told of the samples of a batch that cannot be read and are left out
 * @param signal heard while the model computes, and if it never answers
 * @throws DataError if no token of the data set carries a label; the signal's reason
 */
export async function evaluateLoss(
  model: Pick<TrainableModel, 'evaluateLoss'>,
  loader: DataLoader,
  length: number,
  batchSize: number,
  options: EvaluateLossOptions,
  signal: AbortSignal | undefined,
  onSkipped?: (samples: readonly SkippedSample[]) => void,
): Promise<EvalResult> {
  const start = performance.now();
  let lossSum = 0;
  let labelCount = 0;
  let skipped = 0;
  for await (const batch of loader.batches(consecutive(length, batchSize), signal && { signal })) {
    if (batch.skipped?.length) onSkipped?.(batch.skipped);
    skipped += batch.skipped?.length ?? 0;
    // A collator that drops over-long samples may leave nothing.
    if (batch.inputIds.shape[0] === 0) continue;
    const result = await orAborted(model.evaluateLoss(batch, signal ? { ...options, signal } : options), signal);
    // Not every model pauses while it computes.
    if (isTurnDue()) await eventLoopTurn();
    lossSum += result.lossSum;
    labelCount += result.labelCount;
  }
  if (labelCount === 0) {
    const unread = skipped > 0 ? `; ${skipped} of them cannot be read` : '';
    throw new DataError(`no token of the ${length} evaluation samples carries a label${unread}`, {
      hint:
        skipped > 0
          ? 'Is the folder of the pictures still there?'
          : 'Each sample needs an assistant message; an over-long prompt may have pushed the answer out.',
      details: { samples: length, skipped },
    });
  }
  const evalRuntime = (performance.now() - start) / 1000;
  return {
    evalLoss: lossSum / labelCount,
    evalRuntime,
    evalSamplesPerSecond: (length - skipped) / Math.max(evalRuntime, 1e-9),
  };
}

function consecutive(length: number, batchSize: number): number[][] {
  return Array.from({ length: Math.ceil(length / batchSize) }, (_, b) =>
    Array.from({ length: Math.min(batchSize, length - b * batchSize) }, (_, i) => b * batchSize + i),
  );
}
