/** What an evaluator is made of, and what one evaluation takes. */
import type { SftExample } from '../data/types.js';
import type { VlmCollator } from '../data/vlm-collator.js';
import type { ProcessGroup } from '../distributed/process-group.js';
import type { VisionLanguageModel } from '../model/network/vision-language-model.js';
import type { BootstrapOptions } from './bootstrap.js';
import type { EvaluatedSample, EvaluationMode, EvaluationReport } from './evaluation-report.js';
import type { AnswerMode } from './parse-answer.js';

/**
 * Gives the answer texts of a batch of prompts, in the same order, without special tokens.
 * @param choices in mode `constrained` the class names, which alone may be answered: generation's option `choices`
 */
export type GenerateAnswers = (
  examples: readonly SftExample[],
  signal?: AbortSignal,
  choices?: readonly string[],
) => Promise<readonly string[]>;

/**
 * Gives for each prompt the natural-log probability of each class's answer, [B][K] in the order of the prompts and of
 * `classNames`, as `scoreLabels` does.
 */
export type ScoreClasses = (
  examples: readonly SftExample[],
  classNames: readonly string[],
  signal?: AbortSignal,
) => Promise<readonly (readonly number[])[]>;

/** Options of `Evaluator`: `model` and `collator`, or functions of your own in their place. */
export interface EvaluatorOptions {
  /** Names of the classes; the index of one is its label. Required. */
  readonly classNames: readonly string[];
  /** How the model is asked. Default: `free`. */
  readonly mode?: EvaluationMode;
  /**
   * Asked with the adapter that is on when a batch of answers begins, greedily. Needs `collator`. Default: none; `generate`
   * or `score` is then needed.
   */
  readonly model?: VisionLanguageModel | undefined;
  /** Makes the prompts of `model`: that of the training. Default: none. */
  readonly collator?: VlmCollator | undefined;
  /**
   * Most tokens of an answer of `model`, not in mode `scored`. Default: 16 more than the longest class name has: a longer
   * answer is no class.
   */
  readonly maxNewTokens?: number | undefined;
  /** Compute the common prefixes of a batch's prompts once, with `model`. Default: true. */
  readonly sharePrefix?: boolean | undefined;
  /**
   * Answers in place of `model`: called with at most `batchSize` prompts, one call after the other; must give as many
   * answers. For the modes `free` and `constrained`. Default: none.
   */
  readonly generate?: GenerateAnswers;
  /** Scores in place of `model`: called likewise; must give as many lists of scores. For mode `scored`. Default: none. */
  readonly score?: ScoreClasses;
  /** Turns an example into what the model is shown. Default: `withoutAnswer`. */
  readonly toPrompt?: (example: SftExample) => SftExample;
  /** Samples that are asked for at once. Default: 8. */
  readonly batchSize?: number;
  /** How answers are compared with class names, in mode `free` alone. Default: `normalized`. */
  readonly answerMode?: AnswerMode;
  /**
   * The processes that share the samples, each with its own GPU and this same program; all of them get all answers, in
   * the order of the data set. Each iterates or awaits the evaluation to its end. Default: those that a launcher has
   * started, by its environment variables; without these the process asks for all samples itself.
   */
  readonly processGroup?: ProcessGroup | undefined;
}

/** Options of one evaluation, for a data set of `T`. */
export interface EvaluateOptions<T> {
  /** Turns an item into a conversation; a final assistant turn is cut off by `toPrompt`. Required. */
  readonly toExample: (item: T) => SftExample | Promise<SftExample>;
  /** At most this many samples, spread evenly over the data set so that sorted classes all have a part. Default: all. */
  readonly limit?: number | undefined;
  /** Called by `evaluate` alone, after each batch. Default: none. */
  readonly onProgress?: ((progress: EvaluationProgress) => void) | undefined;
  /**
   * Rejects with its reason at once, whatever is waited for: the data set, `toExample`, or `generate`, which is
   * handed the signal so that it stops as well. Default: none.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * Bootstrap intervals of accuracy, balanced accuracy and F1 in the report of `evaluate`; false: none. Default: those of
   * {@link BootstrapOptions} for at most 10,000 samples, beyond which none, as they would take seconds.
   */
  readonly intervals?: BootstrapOptions | false | undefined;
}

/** Options of `evaluator.asMetrics`. */
export interface EvaluatorMetricsOptions<T> extends Omit<EvaluateOptions<T>, 'signal'> {
  /** Receives the whole report of each evaluation of the run. A promise is waited for. Default: none. */
  readonly onReport?: ((report: EvaluationReport) => void | Promise<void>) | undefined;
}

/** Metrics by name, as `SftTrainer` takes them for `computeMetrics`. */
export type EvaluatorMetrics = (context?: {
  readonly signal?: AbortSignal | undefined;
}) => Promise<Readonly<Record<string, number>>>;

/** Reported after each batch. */
export interface EvaluationProgress {
  /** Samples answered so far. */
  readonly done: number;
  /** Samples to answer. */
  readonly total: number;
  /** Right answers so far. */
  readonly correct: number;
  /** The samples of the batch just answered. */
  readonly samples: readonly EvaluatedSample[];
  /** Since the evaluation began. */
  readonly seconds: number;
}

/** An item with its true class. */
export interface LabelledItem {
  /** True class: its index, in the data set's own `classLabel` where it has one, else in `classNames`. */
  readonly label: number;
  /** True class by name, which goes before `label`: two data sets may number their classes differently. */
  readonly className?: string;
}
