/** What a trainer is made of, and what one run takes. */
import type { Collator } from '../data/data-loader.js';
import type { Dataset, TrainingExample } from '../data/types.js';
import type { ProcessGroup } from '../distributed/process-group.js';
import type { TrainerCallback } from './callbacks.js';
import type { SftConfigInput } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';

/** What a trainer is made of. */
export interface SftTrainerOptions {
  /** A model with an adapter: see `applyLora`. Required. */
  readonly model: TrainableModel;
  /** Options of the run: {@link SftConfigInput}. Default: every option at its default. */
  readonly config?: SftConfigInput | undefined;
  /** The samples to learn: made when they are asked for, or an array of them. Required. */
  readonly trainDataset: Dataset<TrainingExample> | readonly TrainingExample[];
  /**
   * The samples that evaluations measure. Needed if `evalStrategy` is not `no`, or with `evalOnStart`. Default: none.
   */
  readonly evalDataset?: Dataset<TrainingExample> | readonly TrainingExample[] | undefined;
  /** Turns samples into batches: a `VlmCollator`. Required. */
  readonly collator: Collator;
  /**
   * Writes more into a checkpoint's folder, or the adapter's files in another way: those that it does not write are
   * written all the same, so that `loadAdapter` reads every checkpoint. Called for each checkpoint while the model holds
   * its parameters. Once the run is to stop it may take 30 s more; the checkpoint is then written without what it writes,
   * with a warning. Default: the adapter alone, with the collator's chat template; without an adapter nothing.
   */
  readonly saveAdapter?: ((directory: string) => Promise<void>) | undefined;
  /**
   * More values of an evaluation beside the loss, by name: for instance the accuracy that an `Evaluator` finds.
   * Called after the loss of the evaluation set was measured; `metricForBestModel` may name one. Anything else than
   * numbers by name is a ConfigError. Default: none.
   */
  readonly computeMetrics?: ComputeMetrics | undefined;
  /**
   * Called with every event of a run, in this order and before the loops that iterate it; may hold or end it. Those that
   * write log files are in `ministral-tune/monitor`. Default: none.
   */
  readonly callbacks?: readonly TrainerCallback[] | undefined;
  /**
   * The processes that train together, each with its own GPU and this same program: see `ministral-tune/distributed`. Each
   * calls `train`, `evaluate` and `saveModel`. Default: those that a launcher has started, by its environment variables;
   * without these the process trains alone.
   */
  readonly processGroup?: ProcessGroup | undefined;
}

/**
 * Measures the model as it is when called, and names the values. An error that it throws ends the run; an abort is heard
 * though it does not answer.
 */
export type ComputeMetrics = (context: {
  /** The run's signal: stop early when it is aborted. */
  readonly signal: AbortSignal | undefined;
}) => Readonly<Record<string, number>> | Promise<Readonly<Record<string, number>>>;

/** Options of one call of `SftTrainer.train`. */
export interface TrainOptions {
  /**
   * Stops the run, which then fails with the signal's reason. As after any error that leaves the parameters sound,
   * the window under way is given up and a checkpoint of the last whole step is written, unless `saveStrategy` is `no`.
   * It is heard though a data set, a collator, `computeMetrics` or a reader of the events does not answer.
   * `abortOnSignals` makes one of SIGINT, SIGTERM and SIGHUP. Default: none.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * A checkpoint folder, or true for the newest in `outputDir` that can be read. The result is that of a run that
   * never stopped. Model, data and what decides a step must be as they were; logging, saving, evaluation, memory, early
   * stopping, `onNonFiniteLoss`, `onBadImage`, and the collator's `maxLength`, `overlong` and `longestEdge` may change.
   * Of anything else the error says what to do. Default: false, a new run.
   */
  readonly resumeFromCheckpoint?: string | boolean | undefined;
}
