/** What an evaluation gives: plain data, which goes through JSON unchanged. */
import type { CalibrationBin } from './calibration.js';
import type { ClassMetrics, ConfusionMatrix, Interval } from './metrics.js';
import type { AnswerMode } from './parse-answer.js';

/**
 * How a model is asked.
 * - `free`: it writes what it likes, and the text is read as a class name, or is no class.
 * - `constrained`: it can write class names only.
 * - `scored`: it writes nothing; the class whose answer is the most probable counts.
 */
export type EvaluationMode = 'free' | 'constrained' | 'scored';

/** One answered sample. */
export interface EvaluatedSample {
  /** That of the example, else its index in the data set as text. */
  readonly id: string;
  /** True class. */
  readonly expected: number;
  /** Answered class; null if the answer is no class. */
  readonly predicted: number | null;
  /** The text as it was generated; in mode `scored` the name of the answered class. */
  readonly answer: string;
  /** [K] Natural-log probability of each class's answer given the prompt, in class order. Only in mode `scored`. */
  readonly scores?: readonly number[];
  /** Probability of the answered class among the classes: softmax of `scores`. Only in mode `scored`. */
  readonly confidence?: number;
}

/** Metrics of the probabilities that the classes got, in mode `scored`. */
export interface ProbabilityMetrics {
  /** [min(K, 5)] Share of samples whose true class is among the k + 1 most probable. */
  readonly topKAccuracy: readonly number[];
  /** Mean of -ln of the true class's probability, in nats. */
  readonly logLoss: number;
  /** Mean squared distance between probabilities and truth, summed over the classes: 0 to 2; of two classes halved. */
  readonly brierScoreLoss: number;
  /** ECE: mean of |accuracy - confidence| over the bins, weighted by their samples. */
  readonly expectedCalibrationError: number;
  /** The largest |accuracy - confidence| of a bin that has samples. */
  readonly maximumCalibrationError: number;
  /** Bins of equal width in confidence, empty ones included: a reliability diagram. */
  readonly calibration: readonly CalibrationBin[];
  /** AURC: mean error share of the samples answered, over all thresholds. Smaller is better. */
  readonly riskCoverageArea: number;
}

/** How intervals are made. */
export type BootstrapMethod = 'percentile' | 'bca';

/** Intervals by resampling the samples. */
export interface BootstrapIntervals {
  readonly method: BootstrapMethod;
  /** Share of such intervals that hold the true value, about. */
  readonly confidenceLevel: number;
  readonly resamples: number;
  /** The same seed gives the same intervals. */
  readonly seed: number;
  /** Whether each class kept its number of samples. */
  readonly stratified: boolean;
  readonly accuracy: Interval;
  readonly balancedAccuracy: Interval;
  readonly macroF1: Interval;
  readonly weightedF1: Interval;
}

/** Plain data: goes through JSON unchanged. K classes. */
export interface EvaluationReport {
  /** [K] In the order of `perClass` and `confusion`. */
  readonly classNames: readonly string[];
  /** How the model was asked. */
  readonly mode: EvaluationMode;
  /** How an answer was read as a class. */
  readonly answerMode: AnswerMode;
  /** Samples evaluated. */
  readonly count: number;
  /** Samples in the data set. */
  readonly datasetLength: number;
  /** Right answers. */
  readonly correct: number;
  /** `correct / count`. */
  readonly accuracy: number;
  /** Wilson's 95 % interval of the accuracy. */
  readonly accuracyInterval: Interval;
  /** Answers that are no class. Each counts as wrong, and for no class's precision. */
  readonly invalid: number;
  /** `invalid / count`. */
  readonly invalidShare: number;
  /** Mean recall over the classes that have samples. */
  readonly balancedAccuracy: number;
  /** Unweighted mean over all classes, those without samples included. */
  readonly macroPrecision: number;
  readonly macroRecall: number;
  readonly macroF1: number;
  /**
   * `macroF1` over the classes that occur in truth or answers, as scikit-learn has it by default; there, answers that are no
   * class would be one class more, with an F1 of 0.
   */
  readonly macroF1Occurring: number;
  /** Mean over all classes, weighted by their samples. */
  readonly weightedPrecision: number;
  readonly weightedRecall: number;
  readonly weightedF1: number;
  /** Matthews' correlation coefficient of truth and answer, -1 to 1; 0 where it is undefined. No class counts as one class more. */
  readonly matthewsCorrcoef: number;
  /** Cohen's kappa, likewise; null where it is undefined: all truths and answers are of one class. */
  readonly cohenKappa: number | null;
  /** [K] In class order. */
  readonly perClass: readonly (ClassMetrics & {
    /** As in `classNames`. */
    readonly name: string;
  })[];
  /** True against answered class. */
  readonly confusion: ConfusionMatrix;
  /** Missing unless every sample has `scores`. */
  readonly probabilities?: ProbabilityMetrics;
  /** Bootstrap intervals. Missing with `intervals: false`, and from `evaluator.report`. */
  readonly intervals?: BootstrapIntervals;
  /** In data set order. */
  readonly samples: readonly EvaluatedSample[];
  /** Seconds of the whole evaluation. */
  readonly seconds: number;
}
