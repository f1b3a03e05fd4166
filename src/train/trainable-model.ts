/** What the trainer knows of a model: a network on an engine, from a packed batch to its loss. No LoRA here. */

import type { DropoutStream } from '../batch/dropout-keys.js';
import type { PackedBatch } from '../batch/packed-batch.js';
import type { PackedSize } from '../batch/packed-window.js';
import { IGNORE_INDEX, type VlmBatch } from '../data/types.js';
import type { Engine } from '../engine/engine.js';
import type { Precision } from '../engine/operations.js';
import type { Steps, Tape } from '../engine/tape.js';
import type { ParameterSet, Tensor } from '../engine/tensor.js';
import type { WriteAdapter } from '../model/linear-module.js';
import type { AdapterView, PassOptions, RecomputedLayers } from '../model/network/layers.js';
import { requireKind } from '../require-given.js';
import type { Costs } from './pass-plan.js';

/** How the gradients of a window are computed. */
export interface AccumulateOptions {
  /** The loss is the sum over labelled tokens divided by this: the labelled tokens of the whole window. Required. */
  readonly labelCount: number;
  /** One for each micro-batch: seeds its dropout masks, in whatever passes its samples run. Required. */
  readonly dropoutSeeds: readonly number[];
  /**
   * Recompute layers in backward instead of keeping what they saved: all, none, or as few as memory asks for. Required.
   */
  readonly gradientCheckpointing: boolean | 'auto';
  /**
   * Most bytes that the engine's memory may come to, if that is lower than its own limit. Default: the engine's own
   * limit.
   */
  readonly memoryBudget?: number | undefined;
  /** Run smaller micro-batches where one does not fit; else that is an error. Default: false. */
  readonly autoMicroBatch?: boolean | undefined;
  /**
   * ε of label smoothing, a share: the loss is 1 - ε of the usual and ε of the mean over the vocabulary. Default: 0.
   */
  readonly labelSmoothing?: number | undefined;
  /**
   * NEFTune: noise on the embeddings of the tokens, uniform in ± alpha / √(tokens of the sample · width), which follows
   * from `dropoutSeeds`; 0: off. Default: 0.
   */
  readonly neftuneNoiseAlpha?: number | undefined;
  /**
   * Compute the common prefixes of a pass's samples only once, if the model `sharesPrefixes`; see
   * `SftConfig.sharePrefix`. Has no effect with NEFTune, whose noise depends on the sample. Default: true.
   */
  readonly sharePrefix?: boolean | undefined;
  /** Of products with frozen weights: see `SftConfig.precision`. Default: `bf16`. */
  readonly precision?: Precision | undefined;
  /** Looked at in pauses of the computation: its reason is thrown, with some gradients added already. Default: none. */
  readonly signal?: AbortSignal | undefined;
  /** Receives what had to change for the window to fit. Default: none. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /**
   * Receives the passes of the window, before each attempt. `describe` gives one line of text: the plan, what it
   * costs, and the plan for less memory. Default: none.
   */
  readonly onPlan?: ((passes: readonly PassSummary[], describe: () => string) => void) | undefined;
}

/** How the loss of an evaluation is computed. */
export interface EvaluateLossOptions {
  /** ε of label smoothing, a share, as in training. Default: 0. */
  readonly labelSmoothing?: number | undefined;
  /** Compute the common prefixes of the batch's samples only once. Default: true. */
  readonly sharePrefix?: boolean | undefined;
  /** Looked at in pauses of the computation: its reason is thrown. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** One of the packed passes in which a window is run. */
export interface PassSummary {
  /** Of one or several micro-batches; at least 1. */
  readonly samples: number;
  /** Real tokens: padding left out, image tokens counted. */
  readonly tokens: number;
  /** Those of them that are reused from the common prefix of another sample: see `sharePrefix`. */
  readonly sharedTokens: number;
  /** Of the vision tower, before they are merged; those of a shared image count once. */
  readonly patches: number;
  /** The first layers of each tower that are run again in backward. */
  readonly recomputedLayers: RecomputedLayers;
  /** Estimate of the bytes that it takes above what is held between passes. */
  readonly bytes: number;
}

/** What `SftTrainer` needs of a model; a `VisionLanguageModel` with an adapter is one. */
export interface TrainableModel {
  /** Holds the parameters; the trainer updates them there. */
  readonly engine: Engine;
  /** Everything that is trained; at least one value. The same set as long as a run takes. */
  readonly trainable: ParameterSet;
  /** Whether its weights were freed: it can be trained no longer. */
  readonly isDisposed?: boolean | undefined;
  /** What decides a run besides the parameters' names and shapes, as JSON: a resume refuses other values. */
  readonly trainingSettings?: Readonly<Record<string, unknown>> | undefined;
  /**
   * Writes what is trained into the folder of a checkpoint, in files that others can load. Asked for when a run begins;
   * models without it get checkpoints without an adapter. `maker` is the run's collator.
   */
  readonly writeAdapter?: WriteAdapter | undefined;
  /** What it is trained on top of, a digest for each part: a resume refuses others, where both are known. */
  readonly baseModel?: Readonly<Record<string, string>> | undefined;
  /** Name or folder of that, for messages. */
  readonly nameOrPath?: string | undefined;
  /** Of its checkpoint; asked only which tokens stop generation. */
  readonly config?: { readonly eosTokenIds?: readonly number[] | undefined } | undefined;
  /**
   * Whether `lossSteps` accepts batches whose samples share tokens, with `sharedKeys` and `labelWeights` of a
   * `PackedBatch`. Default: false.
   */
  readonly sharesPrefixes?: boolean | undefined;
  /** The batch without padding; `dropout` switches dropout on and says which masks the samples get. */
  pack(batch: VlmBatch, dropout?: DropoutStream): PackedBatch;
  /**
   * scale · Σ of the losses of the labelled tokens [1], recorded on the tape so that backward adds to the gradients of
   * `trainable`; undefined if nothing is labelled. Yields where a turn of the event loop is due.
   */
  lossSteps(tape: Tape, packed: PackedBatch, scale: number, options: PassOptions): Steps<Tensor | undefined>;
  /**
   * Bytes and time of passes, counted from their sizes: the same sizes give the same plan. `memoryBudget` is that of the
   * run, for models that lie on several devices.
   */
  passCosts(precision?: Precision, memoryBudget?: number): Costs;
  /** Called before the first window of a run in a new precision: calls `Engine.preparePrecision` with its weights. */
  preparePrecision?(precision: Precision): void;
  /** The adapter that is on now: `lossSteps` is given it back, whatever becomes of the model's meanwhile. */
  adapterView?(): AdapterView;
  /** Asked after each pause. @throws if the weights or that adapter are gone */
  requireParts?(adapter: AdapterView): void;
  /** Operations that a training step of this size asks for, recomputation left out. */
  trainingFlops?(size: PackedSize): number;
}

/**
 * Labelled tokens of a batch as the loss counts them: a label is predicted by the token before it, so one whose
 * predecessor is padding, or the first of all, never counts.
 */
export function countLabels(batch: VlmBatch): number {
  requireKind('batch', batch, 'countLabels', 'countLabels(await collator.collate(samples))');
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
