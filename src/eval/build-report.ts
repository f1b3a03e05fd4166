/** From answered samples to a report. */
import { calibrationCurve } from './calibration.js';
import type { EvaluatedSample, EvaluationMode, EvaluationReport, ProbabilityMetrics } from './evaluation-report.js';
import {
  accuracyScore,
  averageMetrics,
  balancedAccuracyScore,
  cohenKappaScore,
  confusionMatrix,
  correctCount,
  matthewsCorrcoef,
  occurringClasses,
  precisionRecallFscoreSupport,
  sum,
} from './metrics.js';
import type { AnswerMode } from './parse-answer.js';
import { brierScoreLoss, logLoss, topKAccuracyScore } from './probabilities.js';
import { riskCoverageArea } from './risk-coverage.js';
import { wilsonInterval } from './significance.js';

/** What a report says of the evaluation itself. */
interface EvaluationRun {
  readonly classNames: readonly string[];
  readonly mode: EvaluationMode;
  readonly answerMode: AnswerMode;
  readonly datasetLength: number;
  readonly seconds: number;
}

/** The samples must have been checked. */
export function buildReport(samples: readonly EvaluatedSample[], run: EvaluationRun): EvaluationReport {
  const confusion = confusionMatrix(
    samples.map((one) => one.expected),
    samples.map((one) => one.predicted),
    run.classNames.length,
  );
  const perClass = precisionRecallFscoreSupport(confusion);
  const [macro, weighted] = [averageMetrics(perClass, 'macro'), averageMetrics(perClass, 'weighted')];
  const count = samples.length;
  const correct = correctCount(confusion);
  const invalid = sum(confusion.unparsed);
  const kappa = cohenKappaScore(confusion);
  const probabilities = probabilityMetrics(samples, run.classNames.length);
  return {
    classNames: run.classNames,
    mode: run.mode,
    answerMode: run.answerMode,
    count,
    datasetLength: run.datasetLength,
    correct,
    accuracy: accuracyScore(confusion),
    accuracyInterval: wilsonInterval(correct, count),
    invalid,
    invalidShare: count === 0 ? 0 : invalid / count,
    balancedAccuracy: balancedAccuracyScore(confusion),
    macroPrecision: macro.precision,
    macroRecall: macro.recall,
    macroF1: macro.f1,
    macroF1Occurring: averageMetrics(occurringClasses(confusion, perClass), 'macro').f1,
    weightedPrecision: weighted.precision,
    weightedRecall: weighted.recall,
    weightedF1: weighted.f1,
    matthewsCorrcoef: matthewsCorrcoef(confusion),
    // JSON has no NaN.
    cohenKappa: Number.isNaN(kappa) ? null : kappa,
    perClass: perClass.map((metrics, i) => ({ name: run.classNames[i]!, ...metrics })),
    confusion,
    ...(probabilities && { probabilities }),
    samples: [...samples],
    seconds: run.seconds,
  };
}

const CALIBRATION_BINS = 10;
const MOST_K = 5;

function probabilityMetrics(samples: readonly EvaluatedSample[], classCount: number): ProbabilityMetrics | undefined {
  if (samples.length === 0 || samples.some((one) => !one.scores || one.confidence === undefined)) return undefined;
  const expected = samples.map((one) => one.expected);
  const scores = samples.map((one) => one.scores!);
  const { bins, ...errors } = calibrationCurve(
    samples.map((one) => one.confidence!),
    samples.map((one) => one.predicted === one.expected),
    CALIBRATION_BINS,
  );
  return {
    topKAccuracy: Array.from({ length: Math.min(classCount, MOST_K) }, (_, i) =>
      topKAccuracyScore(expected, scores, i + 1),
    ),
    logLoss: logLoss(expected, scores),
    brierScoreLoss: brierScoreLoss(expected, scores),
    ...errors,
    calibration: bins,
    riskCoverageArea: riskCoverageArea(samples),
  };
}
