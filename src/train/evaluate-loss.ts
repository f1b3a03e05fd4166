/** The loss of a model over a whole data set, a batch at a time; nothing but two sums is kept. */

import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import { orAborted } from '../async/or-aborted.js';
import { sharePrefixes } from '../batch/packed-window.js';
import { checkNames } from '../config.js';
import type { DataLoader } from '../data/data-loader.js';
import type { SkippedSample, VlmBatch } from '../data/types.js';
import { infer } from '../engine/computation.js';
import type { Steps } from '../engine/tape.js';
import type { Tensor } from '../engine/tensor.js';
import { DataError } from '../errors.js';
import { requireBoolean, requireSignal } from '../require-given.js';
import { withLessMemory } from './pass-planner.js';
import type { RankExchange } from './rank-exchange.js';
import { SharedBatches } from './shared-batches.js';
import type { EvaluateLossOptions, TrainableModel } from './trainable-model.js';

/** What an evaluation measured, named as transformers names it. */
export interface EvalResult {
  /** Mean loss of a labelled token over the whole evaluation set, smoothed with `labelSmoothingFactor` as in training. */
  readonly evalLoss: number;
  /** Seconds that the loss took. */
  readonly evalRuntime: number;
  /** Samples of the set without those that cannot be read or are left out by the collator, over `evalRuntime`. */
  readonly evalSamplesPerSecond: number;
  /** What `computeMetrics` returned. Missing without it. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/** Sum of the losses of the labelled tokens of a batch and their count, with dropout and noise off. */
export async function evaluateLoss(
  model: TrainableModel,
  batch: VlmBatch,
  options: EvaluateLossOptions = {},
): Promise<{
  /** In nats, smoothed as the options say; 0 if nothing is labelled. */
  readonly lossSum: number;
  /** Labelled tokens that are predicted: never the first of a sample. */
  readonly labelCount: number;
}> {
  checkNames(options, { labelSmoothing: false, sharePrefix: false, signal: false }, 'evaluateLoss');
  const { labelSmoothing, sharePrefix = true, signal } = options;
  requireSignal(signal, 'evaluateLoss');
  requireBoolean(sharePrefix, 'evaluateLoss: `sharePrefix`');
  const whole = model.pack(batch);
  const labelCount = whole.labelRows.length;
  if (labelCount === 0) return { lossSum: 0, labelCount };
  const packed = sharePrefix && model.sharesPrefixes ? sharePrefixes(whole) : whole;
  const adapter = model.adapterView?.();
  const requireParts = () => adapter && model.requireParts?.(adapter);
  const losses = await infer(model.engine, { signal, requireParts }, (tape) => {
    // Never undefined, as something is labelled.
    return model.lossSteps(tape, packed, 1, { labelSmoothing, adapter }) as Steps<Tensor>;
  });
  return { lossSum: losses[0]!, labelCount };
}

interface EvaluationParts extends EvaluateLossOptions {
  readonly loader: DataLoader;
  readonly length: number;
  readonly batchSize: number;
  /** Receives the samples of a batch that cannot be read and are left out. */
  readonly onSkipped?: ((samples: readonly SkippedSample[]) => void) | undefined;
  /** Receives how many samples of the set the collator has left out, as too long; not called without any. */
  readonly onDropped?: ((samples: number) => void) | undefined;
  /** Called before each batch: throws if it must not be measured. */
  readonly onBatch?: (() => void) | undefined;
  /** Called at the start and after each batch: samples done, of so many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Those that measure it together; undefined where one process does. */
  readonly ranks?: RankExchange | undefined;
}

/** What a batch of an evaluation has come to. */
interface Measured {
  /** Samples that it was to have. */
  readonly planned: number;
  readonly rows: number;
  readonly skipped: readonly SkippedSample[];
  readonly lossSum: number;
  readonly labelCount: number;
}

/**
 * The mean loss of a labelled token over a data set. The signal is heard though the engine never answers. Of several ranks
 * each measures its share of the batches, and the sums are added in the order of all.
 * @throws DataError if no token of the data set carries a label; the signal's reason
 */
export async function evaluateDataset(model: TrainableModel, parts: EvaluationParts): Promise<EvalResult> {
  const { loader, length, batchSize, signal, onSkipped, onDropped, onProgress, ranks } = parts;
  const start = performance.now();
  let lossSum = 0;
  let labelCount = 0;
  let skipped = 0;
  let dropped = 0;
  let done = 0;
  const add = (measured: Measured): void => {
    if (measured.skipped.length > 0) onSkipped?.(measured.skipped);
    skipped += measured.skipped.length;
    done += measured.planned;
    dropped += Math.max(0, measured.planned - measured.rows - measured.skipped.length);
    lossSum += measured.lossSum;
    labelCount += measured.labelCount;
  };
  onProgress?.(0, length);
  const order = consecutive(length, batchSize);
  const shared = ranks && new SharedBatches<Measured>(ranks, order.length, add);
  const own = shared ? shared.dealt(order) : order;
  let at = 0;
  for await (const batch of loader.batches(own, signal && { signal })) {
    const measured = await measure(model, batch, own[at++]!.length, parts);
    if (!shared) {
      add(measured);
      // A collator may have dropped all samples.
      if (measured.rows > 0) onProgress?.(done, length);
    } else if (await shared.add(measured)) onProgress?.(done, length);
  }
  await shared?.end();
  if (shared) onProgress?.(done, length);
  if (labelCount === 0) {
    const unread = skipped > 0 ? `; ${skipped} of them cannot be read` : '';
    const error = new DataError(`no token of the ${length} evaluation samples carries a label${unread}`, {
      hint:
        skipped > 0
          ? 'Is the folder of the images still there?'
          : 'Each sample needs an assistant message; an over-long prompt may have pushed the answer out.',
      details: { samples: length, skipped },
    });
    throw ranks?.agreed(error) ?? error;
  }
  if (dropped > 0) onDropped?.(dropped);
  const seconds = (performance.now() - start) / 1000;
  const evalRuntime = ranks ? await ranks.fromMain('seconds of the evaluation', async () => seconds) : seconds;
  return {
    evalLoss: lossSum / labelCount,
    evalRuntime,
    evalSamplesPerSecond: (length - skipped - dropped) / Math.max(evalRuntime, 1e-9),
  };
}

async function measure(
  model: TrainableModel,
  batch: VlmBatch,
  planned: number,
  { labelSmoothing, sharePrefix, signal, onBatch }: EvaluationParts,
): Promise<Measured> {
  const skipped = batch.skipped ?? [];
  const rows = batch.inputIds.shape[0]!;
  if (rows === 0) return { planned, rows, skipped, lossSum: 0, labelCount: 0 };
  onBatch?.();
  const loss = evaluateLoss(model, batch, { labelSmoothing, sharePrefix, signal }).catch((error: unknown) => {
    throw withLessMemory(error, 'evaluation');
  });
  const result = await orAborted(loss, signal);
  if (isTurnDue()) await eventLoopTurn();
  return { planned, rows, skipped, ...result };
}

function consecutive(length: number, batchSize: number): number[][] {
  return Array.from({ length: Math.ceil(length / batchSize) }, (_, b) =>
    Array.from({ length: Math.min(batchSize, length - b * batchSize) }, (_, i) => b * batchSize + i),
  );
}
