/** What `plan` tells: plain data, that `JSON.stringify` takes as it is. */

import type { LinkName } from './links.js';

/** Tokens of a sample, as the collator makes them. */
export interface PlannedSample {
  /** Its place in the data set. */
  readonly index: number;
  /** Its name: `id` of the example. */
  readonly id: string;
  /** All of them: text, image tokens, control tokens. */
  readonly tokens: number;
  /** Of its images, with the break and end tokens of their rows. */
  readonly imageTokens: number;
  /** Tokens with a label that counts. */
  readonly labels: number;
  /** Patches of its images, before they are merged. */
  readonly patches: number;
  /**
   * Its longest prefix in common with another sample: what a pass need not compute again. 0 if it is shorter than the
   * engine shares.
   */
  readonly prefixTokens: number;
}

/** A sample with which a run could not go on, or that it would leave out. */
export interface SampleFault {
  /** Its place in the data set. */
  readonly index: number;
  /** Its name: `id` of the example. */
  readonly id: string;
  /** What is wrong, in one line. */
  readonly reason: string;
  /** Whether the run would leave it out and go on; else it stops there. */
  readonly isLeftOut: boolean;
  /** For one that is too long: its tokens. */
  readonly tokens?: number | undefined;
}

/** The data set, in tokens. */
export interface DataPlan {
  /** Of the data set. */
  readonly samples: number;
  /** Of the samples that are trained on: so are the sums below. */
  readonly trainedSamples: number;
  readonly images: number;
  readonly tokens: number;
  readonly imageTokens: number;
  readonly labels: number;
  /** Of each sample that is trained on, in the order of the data set. */
  readonly perSample: readonly PlannedSample[];
  /** Longer than the collator's `maxLength`, or than the model's positions. */
  readonly overlong: readonly SampleFault[];
  /** Without a token that is learned. */
  readonly unlearnable: readonly SampleFault[];
  /** Whose images or texts cannot be read. */
  readonly unreadable: readonly SampleFault[];
}

/** Bytes on the card at the worst moment of the run, by what they are for. They add up to `totalBytes`. */
export interface MemoryPlan {
  /** Frozen weights on the card, with room for the adapter's columns. */
  readonly weightBytes: number;
  /** Values and gradients of the adapter. */
  readonly adapterBytes: number;
  /** Moments of the optimizer. */
  readonly optimizerBytes: number;
  /** What the layers keep for backward, and the running layer. */
  readonly activationBytes: number;
  /** Logits and their gradients, where the worst moment is in the output head; else 0. */
  readonly headBytes: number;
  /** Scratch of products, copies of the adapter in the format of products, and of weights for e4m3 products. */
  readonly workspaceBytes: number;
  /** CUDA context, loaded code, buffers of libraries; with `webgpu` what the driver takes: as measured on an H200. */
  readonly contextBytes: number;
  /** What nvidia-smi, or the system, is to show of the process. */
  readonly totalBytes: number;
}

/** A way of recomputing, with what it takes: all other parts stay the same. */
export interface RecomputationPlan {
  /** What is recomputed in backward. */
  readonly recompute: 'nothing' | 'vision tower' | 'decoder' | 'everything' | 'everything, inputs in host memory';
  /** Of the largest pass, as the run is written (passes as large as the engine prefers). */
  readonly activationBytes: number;
  /** Of the run, as `MemoryPlan` has it. */
  readonly totalBytes: number;
  /** Time of the computation, by that without recomputation; undefined where it is not known. */
  readonly relativeTime?: number | undefined;
}

/** How a run goes on a card, with one format of weights. */
export interface CardPlan {
  /** Name in the table of cards, e.g. `H200 SXM 141GB`; with `webgpu` of a machine, e.g. `Mac 16GB`. */
  readonly card: string;
  /** Format in which the decoder's linear layers are held. */
  readonly format: WeightFormat;
  /** Memory of the card; of a machine whose GPU has none of its own, that of the system. */
  readonly cardBytes: number;
  /**
   * Bytes that the run may take there, if that is less: `memoryBudget` of the engine or of `SftConfig`; with `webgpu`
   * also its default for the machine.
   */
  readonly budgetBytes?: number | undefined;
  /** Why it does not run there; undefined if it does. */
  readonly misfit?: string | undefined;
  /** Undefined if it does not run there. */
  readonly run?: CardRun | undefined;
}

/** How fast a run is expected to go on a card. */
export interface RunTimes {
  /** Once the run is under way. */
  readonly samplesPerSecond: number;
  /** Of the data's tokens. */
  readonly tokensPerSecond: number;
  /** Of the whole run without loading, evaluation and saving. */
  readonly seconds: number;
  /** Whether a run of this kind was measured on this card, or the figures are scaled from another one. */
  readonly basis: 'measured' | 'estimated';
}

/** A run on a card. The times are missing where nothing is known of them: with the `webgpu` engine. */
export interface CardRun extends Partial<RunTimes> {
  readonly memory: MemoryPlan;
  /** Most packed passes of an optimizer step. */
  readonly passes: number;
  /** Samples of a micro-batch: fewer than were asked for if that did not fit and `autoMicroBatch` allows it. */
  readonly microBatchSize: number;
  /** Most layers that are recomputed in a pass. */
  readonly recomputedLayers: { readonly vision: number; readonly text: number };
  /** Whether inputs of recomputed layers go to host memory meanwhile. */
  readonly offloadsInputs: boolean;
  /** Weights in host memory that are copied to the card in each forward and each backward. */
  readonly streamedBytes: number;
  /**
   * On several cards of the kind, where `gpus` was asked for: for each number of cards first the batch of each device as it
   * is written, then the one with which the effective batch stays that of one card, if it divides.
   */
  readonly dataParallel?: readonly DataParallelPlan[] | undefined;
}

/** Seconds of an optimizer step on several cards, on average. All but `allReduceSeconds` add up to `seconds`. */
export interface DataParallelStep {
  /** Passes of a card, on average over the ranks. */
  readonly computeSeconds: number;
  /** How much longer the slowest rank takes than the average: its samples are longer, or others have none. */
  readonly unevenSeconds: number;
  /** The sum of the gradients by itself. It begins during backward if it takes 10 ms or more, else behind it. */
  readonly allReduceSeconds: number;
  /** What is left of it when backward has ended. */
  readonly exposedSeconds: number;
  /** What the cards cost each other beside: a share of the slowest rank's passes, fitted to runs on two H200. */
  readonly mutualSeconds: number;
  readonly seconds: number;
}

/**
 * A run on several cards, one process each, with the memory of one card. Computed from the passes of one card, published
 * rates of links, and a share of a step that was fitted to runs on two H200, the only ones that were measured.
 */
export interface DataParallelPlan {
  /** Cards, and processes. */
  readonly gpus: number;
  /** What links them; undefined for one card. */
  readonly link?: LinkName | undefined;
  readonly perDeviceTrainBatchSize: number;
  /** Micro-batches of each device. */
  readonly gradientAccumulationSteps: number;
  /** Samples of an optimizer step, over all cards. */
  readonly effectiveBatchSize: number;
  /** Optimizer steps of the run. */
  readonly steps: number;
  readonly step: DataParallelStep;
  /** Of all cards together. */
  readonly samplesPerSecond: number;
  /** Samples per second by those of one card. */
  readonly speedup: number;
  /** Time of the whole run without loading, evaluation and saving. */
  readonly seconds: number;
  /** Of these seconds on all cards, by `pricePerHour`, in its currency. */
  readonly cost?: number | undefined;
  readonly basis: 'computed';
}

/** Formats of the decoder's linear layers: as `quantization` names them, `bf16` is `none`. */
export type WeightFormat = 'bf16' | 'fp8' | 'nf4';

/** Engines that can be planned for. */
export type PlannedEngine = 'cuda' | 'webgpu';

/** Weights in one format. */
export interface FormatPlan {
  readonly format: WeightFormat;
  /** On a card that holds all of them. */
  readonly weightBytes: number;
  /** What an optimizer step takes by what is recomputed, on a card that is large enough. */
  readonly recomputation: readonly RecomputationPlan[];
}

/** What a run takes, before a card is rented. */
export interface TrainingPlan {
  /** Which engine was planned for. */
  readonly engine: PlannedEngine;
  /** Name or folder of the model. */
  readonly model: string;
  /** Of all weights. */
  readonly parameters: number;
  /** Of the adapter. */
  readonly trainableParameters: number;
  readonly data: DataPlan;
  /** Optimizer steps of the run. */
  readonly steps: number;
  /** Samples of an optimizer step, the last of an epoch aside. */
  readonly effectiveBatchSize: number;
  /** Of the data, over all steps of the run. */
  readonly runTokens: number;
  /** Share of them that is reused from common prefixes within a step. */
  readonly sharedTokenShare: number;
  /** Operations of the run: for each frozen weight and row two forward, two backward; shared prefixes counted once. */
  readonly flops: number;
  readonly formats: readonly FormatPlan[];
  /** Each card with each format asked for. */
  readonly cards: readonly CardPlan[];
  /** What the plan rests on, and what it leaves out, a line each. */
  readonly notes: readonly string[];
}
