/** What the trainer knows of a model: gradients of a window of micro-batches, and the loss of a batch. No LoRA here. */
import { IGNORE_INDEX, type VlmBatch } from '../data/types.js';
import type { Deferred, Engine } from '../engine/engine.js';
import type { ParameterSet } from '../engine/tensor.js';

/** How the gradients of a window are computed. */
export interface AccumulateOptions {
  /** The loss is the sum over labelled tokens divided by this: the labelled tokens of the whole window. */
  readonly labelCount: number;
  /** One for each micro-batch: seeds its dropout masks, in whatever passes its samples run. */
  readonly dropoutSeeds: readonly number[];
  /** Recompute layers in backward instead of keeping what they saved: all, none, or as few as memory asks for. */
  readonly gradientCheckpointing: boolean | 'auto';
  /** Most bytes that the engine's memory may come to, if that is lower than its own limit. */
  readonly memoryBudget?: number | undefined;
  /** Run smaller micro-batches where one does not fit. Default false: that is an error. */
  readonly autoMicroBatch?: boolean | undefined;
  /** ε of label smoothing: the loss is 1 - ε of the usual and ε of the mean over the vocabulary. Default 0. */
  readonly labelSmoothing?: number | undefined;
  /**
   * NEFTune: noise on the embeddings of the tokens, uniform in ± alpha / √(tokens of the sample · width), which follows
   * from `dropoutSeeds`. Default: none.
   */
  readonly neftuneNoiseAlpha?: number | undefined;
  /** Looked at in pauses of the computation: its reason is thrown, with some gradients added already. */
  readonly signal?: AbortSignal | undefined;
  /** Told what the run had to change to fit. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** Told how the window is run, before each attempt. */
  readonly onPlan?: ((passes: readonly PassSummary[]) => void) | undefined;
}

/** How the loss of an evaluation is computed. */
export interface EvaluateLossOptions {
  /** As in training. Default 0. */
  readonly labelSmoothing?: number | undefined;
  /** Looked at in pauses of the computation: its reason is thrown. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** One of the packed passes in which a window is run. */
export interface PassSummary {
  /** Of one or several micro-batches; at least 1. */
  readonly samples: number;
  /** Real tokens: padding left out, image tokens counted. */
  readonly tokens: number;
  /** Of the vision tower, before they are merged. */
  readonly patches: number;
  /** The first layers of each tower that are run again in backward. */
  readonly recomputedLayers: {
    /** Of the vision tower. */
    readonly vision: number;
    /** Of the decoder. */
    readonly text: number;
  };
  /** Estimate of the bytes that it takes above what is held between passes. */
  readonly bytes: number;
}

/** What `SftTrainer` needs of a model; a `Ministral3` with an adapter is one. */
export interface TrainableModel {
  /** Holds the parameters; the trainer updates them there. */
  readonly engine: Engine;
  /** Everything that is trained; at least one number. The same set as long as a run takes. */
  readonly trainable: ParameterSet;
  /** Whether its weights were freed: it can be trained no longer. */
  readonly isDisposed?: boolean | undefined;
  /** What decides a run besides the parameters' names and shapes, as JSON: a resume refuses other values. */
  readonly trainingSettings?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Writes what is trained, with these values [trainable.size], into the folder of a checkpoint, in files that others
   * can load: those of an adapter. What somebody has written there already stays. Asked for when a run begins; models
   * without it get checkpoints without an adapter.
   * @param maker the collator of the run: what its batches are made with may be written as well
   */
  readonly writeAdapter?: ((directory: string, parameters: Float32Array, maker?: unknown) => Promise<void>) | undefined;
  /** What it is trained on top of, a digest for each part: a resume refuses others, where both are known. */
  readonly baseModel?: Readonly<Record<string, string>> | undefined;
  /** Name or folder of that, for messages. */
  readonly nameOrPath?: string | undefined;
  /** Of its checkpoint; asked only which tokens stop generation. */
  readonly config?: { readonly eosTokenIds?: readonly number[] | undefined } | undefined;
  /**
   * Adds the gradient of the window's loss to the parameters, which must be zero before: a window that runs out of
   * memory is begun again from zero, in smaller passes. Its samples may run in as few packed passes as fit; the result is
   * that of running the micro-batches one by one.
   * @returns the window's loss, fetched late
   * @throws OutOfMemoryError if nothing that the options allow fits
   */
  accumulateGradients(microBatches: readonly VlmBatch[], options: AccumulateOptions): Promise<Deferred<number>>;
  /** Sum of the losses of the labelled tokens and their count, with dropout and noise off. */
  evaluateLoss(
    batch: VlmBatch,
    options?: EvaluateLossOptions,
  ): Promise<{
    /** In nats, smoothed as the options say; 0 if nothing is labelled. */
    readonly lossSum: number;
    /** Labelled tokens that are predicted: never the first of a sample. */
    readonly labelCount: number;
  }>;
  /**
   * Operations of a training step that the model itself asks for, recomputation left out: 2 for each frozen weight and
   * row forward, and 2 for the gradient of the row where one flows (4N where everything is trained).
   */
  trainingFlops?(microBatches: readonly VlmBatch[]): number;
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
