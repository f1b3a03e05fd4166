/** Whether confidence is what it says. */
import type { CalibrationBin } from '../eval/calibration.js';
import type { EvaluationReport, ProbabilityMetrics } from '../eval/evaluation-report.js';
import { abstainBelow } from '../eval/risk-coverage.js';
import { type Html, html } from '../page/html.js';
import { fixed, percent } from './figures.js';
import { type ReportSection, scrolled, section } from './section.js';

/** Undefined where no evaluation has probabilities. */
export function calibrationSection(
  before: EvaluationReport | undefined,
  after: EvaluationReport | undefined,
): ReportSection | undefined {
  const found = [
    { title: 'Before training', metrics: before?.probabilities },
    { title: 'After training', metrics: after?.probabilities },
  ].filter((one): one is { title: string; metrics: ProbabilityMetrics } => one.metrics !== undefined);
  if (found.length === 0) return undefined;
  return section('calibration', 'Calibration', [
    html`<p>Of the answers that are given with 80 % confidence, 80 % should be right. The bar is the share of right answers, the mark their mean confidence.</p>`,
    html`<div class="matrices">${found.map(({ title, metrics }) => reliability(title, metrics))}</div>`,
    abstention((after ?? before)!),
  ]);
}

const THRESHOLDS = [0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/** What is left if answers of little confidence are withheld. */
function abstention({ samples }: EvaluationReport): Html | undefined {
  if (samples.length === 0 || samples.some(({ confidence }) => confidence === undefined)) return undefined;
  const rows = THRESHOLDS.map((threshold) => {
    const { answered, coverage, risk } = abstainBelow(samples, threshold);
    const right = answered === 0 ? '–' : percent(1 - risk);
    return html`<tr><th scope="row">${`${Math.round(100 * threshold)} %`}</th><td class="number">${answered}</td><td class="number">${percent(coverage)}</td><td class="number">${right}</td></tr>`;
  });
  return html`<h3>Answers withheld below a confidence</h3>${scrolled(
    'Answers withheld below a confidence',
    html`<table><thead><tr><th scope="col">Least confidence</th><th scope="col" class="number">Answers given</th><th scope="col" class="number">Share of all</th><th scope="col" class="number">Right among them</th></tr></thead><tbody>${rows}</tbody></table>`,
  )}<p class="quiet">A threshold that is chosen on these samples looks better here than it is: choose it on others.</p>`;
}

function reliability(title: string, metrics: ProbabilityMetrics): Html {
  const rows = metrics.calibration.filter(({ count }) => count > 0).map(binRow);
  const error = percent(metrics.expectedCalibrationError);
  return html`<figure class="reliability"><figcaption>${title}</figcaption>
<p>${`Expected calibration error ${error}, largest ${percent(metrics.maximumCalibrationError)}; log loss ${fixed(metrics.logLoss)}; Brier score ${fixed(metrics.brierScoreLoss)}.`}</p>
${scrolled(
  `Calibration, ${title}`,
  html`<table><thead><tr><th scope="col">Confidence</th><th scope="col" class="number">Answers</th><th scope="col" class="number">Mean confidence</th><th scope="col" class="number">Right</th></tr></thead><tbody>${rows}</tbody></table>`,
)}</figure>`;
}

function binRow({ low, high, count, confidence, accuracy }: CalibrationBin): Html {
  const [right, sure] = [accuracy ?? 0, confidence ?? 0].map((value) => (100 * value).toFixed(1));
  return html`<tr><th scope="row">${`${Math.round(100 * low)} to ${Math.round(100 * high)} %`}</th><td class="number">${count}</td><td class="number">${percent(confidence)}</td><td class="number"><span class="share-bar" aria-hidden="true"><span style="width: ${right}%"></span><i style="left: ${sure}%"></i></span>${percent(accuracy)}</td></tr>`;
}
