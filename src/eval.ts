/**
 * `ministral-tune/eval`: metrics of classifications by themselves, and what reports of an `Evaluator` are used for beyond
 * the main door.
 */

// Metrics, named as in scikit-learn.
export {
  accuracyScore,
  averageMetrics,
  balancedAccuracyScore,
  cohenKappaScore,
  confusionMatrix,
  matthewsCorrcoef,
  normalizeConfusion,
  occurringClasses,
  precisionRecallFscoreSupport,
} from './eval/metrics.js';
export { brierScoreLoss, type ClassScores, logLoss, softmax, topKAccuracyScore } from './eval/probabilities.js';
export { type Calibration, calibrationCurve } from './eval/calibration.js';

// What chance may do.
export { bootstrapIntervals } from './eval/bootstrap.js';
export {
  type ChiSquareTest,
  mcnemarChiSquare,
  mcnemarExact,
  pairedDifferenceInterval,
  wilsonInterval,
} from './eval/significance.js';

// Decisions.
export { errorCost, type ErrorCost } from './eval/error-cost.js';
export {
  abstainBelow,
  riskCoverageArea,
  riskCoverageCurve,
  type RiskCoveragePoint,
  thresholdForRisk,
} from './eval/risk-coverage.js';

// Reports.
export { compareSamples, type ReportComparison } from './eval/report.js';
export { compareSubsets, type Subsets, subsetsMarkdown } from './eval/compare-subsets.js';
export { type SampleSelection, subsetReport } from './eval/subset-report.js';
export { predictionsCsv, predictionsJsonl, readPredictions, writePredictions } from './eval/predictions.js';
