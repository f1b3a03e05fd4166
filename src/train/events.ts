/** The events of a training run, in order. */
import type { BestModel } from './best-model.js';
import type { EvalResult } from './evaluate-loss.js';
import type { SftConfig } from './sft-config.js';

/** Values of one logging interval, named as transformers logs them. */
export interface LogEntry {
  /** Optimizer steps done. */
  readonly step: number;
  /** Epochs done, a fraction. */
  readonly epoch: number;
  /** Mean over the steps since the last log of each step's loss per labelled token, smoothed if that is asked for. */
  readonly loss: number;
  /** L2 norm of all gradients before clipping, of the last step. */
  readonly gradNorm: number;
  /** The rate that the last step used; with LoRA+ that of A. */
  readonly learningRate: number;
  /** Real tokens (padding left out, image tokens counted) a second, evaluation and saving left out. */
  readonly tokensPerSecond: number;
  /** Share of those tokens that were reused from the common prefix of another sample. Missing if there are none. */
  readonly sharedTokenShare?: number;
  /** Seconds since the last log, evaluation and saving left out. */
  readonly seconds: number;
  /** Share of those seconds spent waiting for data, 0 to 1. */
  readonly dataWaitShare: number;
  /**
   * 10^12 operations a second that the model asks for: 2 for each frozen weight and row forward and 2 for the row's
   * gradient, recomputation and attention left out. Missing if the model does not count.
   */
  readonly modelTflops?: number;
  /** `modelTflops` as a share of the engine's rate in large matrix products, where it knows that. */
  readonly modelFlopsUtilization?: number;
  /** Bytes that the engine holds now, between steps. */
  readonly memoryBytes: number;
  /** The most that it has held since the run began. */
  readonly peakMemoryBytes: number;
}

/** An evaluation during training. */
export interface EvalEntry extends EvalResult {
  /** Optimizer steps done. */
  readonly step: number;
  /** Epochs done, a fraction. */
  readonly epoch: number;
}

/** What training comes to. */
export interface TrainOutput {
  /** Optimizer steps done, those before a resume included. */
  readonly globalStep: number;
  /** Mean of the losses of all steps, those before a resume included. */
  readonly trainingLoss: number;
  /** Named as transformers names them. */
  readonly metrics: {
    /** Seconds of this call. */
    readonly trainRuntime: number;
    /** Of this call, evaluation and saving included in the time. */
    readonly trainSamplesPerSecond: number;
    /** Optimizer steps a second of this call. */
    readonly trainStepsPerSecond: number;
    /** Real tokens a second of this call. */
    readonly trainTokensPerSecond: number;
    /** `trainingLoss`. */
    readonly trainLoss: number;
    /** Epochs done, a fraction. */
    readonly epoch: number;
  };
  /** All log lines and evaluations of the run, in order. */
  readonly logHistory: readonly (LogEntry | EvalEntry)[];
  /** Steps whose update was left out by `onNonFiniteLoss: 'skip'`, those before a resume included. */
  readonly skippedSteps: number;
  /**
   * The best evaluation, if the configuration asks for one. With `loadBestModelAtEnd` its `checkpoint` is undefined where
   * it could not be saved: the model then holds the only copy. Without, the best of those that were saved.
   */
  readonly best?: BestModel | undefined;
  /** Samples that were learned in this call; one counts each time that it was. */
  readonly samples: number;
  /** Samples that the collator has left out in this call, each time: those longer than `maxLength`. */
  readonly droppedSamples: number;
  /** Mean loss of the first tenth of this call's steps, of at least 1 and at most 100. Missing if none was taken. */
  readonly firstLoss?: number | undefined;
  /** The same of the last tenth. */
  readonly lastLoss?: number | undefined;
  /** Where the run has put its checkpoints and `train-log.jsonl`: an absolute path. */
  readonly outputDir: string;
  /**
   * The checkpoint that holds the adapter as the model has it now: `loadAdapter` reads it. Undefined if none does, as with
   * `saveStrategy: 'no'`; `trainer.saveModel(folder)` then writes it.
   */
  readonly adapterDir?: string | undefined;
  /** Checkpoints of the run that exist now, oldest first. */
  readonly checkpoints: readonly string[];
  /** A reader left the run's events before all steps were done: these are the values of what was done. Missing otherwise. */
  readonly stopped?: true | undefined;
}

/**
 * What iterating a training run yields; `type` names the kind. While a reader handles an event the parameters are those after
 * `step` optimizer steps: the run waits. At `loadBest` and `end` they may be those of the best step.
 */
export type TrainingEvent =
  | {
      /** Comes once, before all others. */
      readonly type: 'start';
      /** Every default filled in. */
      readonly config: SftConfig;
      /** Of the training set. */
      readonly samples: number;
      /** Optimizer steps of the whole run. */
      readonly totalSteps: number;
      /** Trainable values. */
      readonly trainableParameters: number;
      /** Optimizer steps done before: 0, or those of the checkpoint. */
      readonly step: number;
    }
  /**
   * One optimizer step. Comes while the engine works on the gradients of the next one, which is not taken before the event
   * was handled; what a reader changes in the parameters is heeded.
   */
  | {
      /** None for a step that was left out: a warning says so. */
      readonly type: 'step';
      /** Its number, from 1. */
      readonly step: number;
      /** Epochs done, a fraction. */
      readonly epoch: number;
      /** Mean over the labelled tokens of the step. */
      readonly loss: number;
      /** L2 norm of all gradients before clipping. */
      readonly gradNorm: number;
      /** The rate that it used. */
      readonly learningRate: number;
      /** Real tokens of the step. */
      readonly tokens: number;
      /** Those of them that were reused from the common prefix of another sample: see `sharePrefix`. */
      readonly sharedTokens: number;
      /** Labelled tokens of the step. */
      readonly labels: number;
      /** First step only, as text: its passes, what they cost, and the plan for less memory. */
      readonly plan?: string;
    }
  | ({
      /** When `loggingSteps` or `loggingFirstStep` says so, unless all steps since the last log were left out. */
      readonly type: 'log';
    } & LogEntry)
  | ({
      /** Whenever `evalStrategy` asks for one; at step 0 with `evalOnStart`. */
      readonly type: 'evaluate';
    } & EvalEntry)
  /** A checkpoint was written. */
  | {
      /** That of a run that is stopped included. */
      readonly type: 'save';
      /** Optimizer steps done. */
      readonly step: number;
      /** Its folder, in `outputDir`. */
      readonly path: string;
      /** Folders of earlier checkpoints that made way for it. */
      readonly removed: readonly string[];
    }
  /** An epoch has ended. */
  | {
      /** Also after the last of all steps, where that is within an epoch. */
      readonly type: 'epoch';
      /** Optimizer steps done. */
      readonly step: number;
      /** Epochs done: whole, except after a last step within an epoch. */
      readonly epoch: number;
    }
  /** The parameters of the best evaluation were taken, for `loadBestModelAtEnd`. */
  | ({
      /** At most once, just before `end`. */
      readonly type: 'loadBest';
    } & BestModel)
  /** A callback holds the run: see `TrainingControl`. */
  | {
      /** Before the update of the next step, whose gradients are computed by then. */
      readonly type: 'pause';
      /** Optimizer steps done. */
      readonly step: number;
    }
  /** A run that was held goes on. */
  | {
      /** Not if it is stopped meanwhile. */
      readonly type: 'resume';
      /** Optimizer steps done. */
      readonly step: number;
      /** How long it was held. */
      readonly seconds: number;
    }
  /** Something went wrong that the run survives: a save that failed, an image that cannot be read. */
  | {
      /** At any time after `start`. */
      readonly type: 'warning';
      /** The optimizer step that it is about, from 1; the steps done before, if it comes ahead of the first. */
      readonly step: number;
      /** For people; may have several lines. One about the samples of a step comes before that step is taken. */
      readonly message: string;
    }
  /** The last one. */
  | {
      /** Not if the run fails. */
      readonly type: 'end';
      /** Optimizer steps done. */
      readonly step: number;
      /** What awaiting the run gives. */
      readonly output: TrainOutput;
    };
