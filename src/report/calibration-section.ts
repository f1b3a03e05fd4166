/** Whether confidence is what it says. */
import type { CalibrationBin } from '../eval/calibration.js';
import type { EvaluationReport, ProbabilityMetrics } from '../eval/evaluation-report.js';
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
  ]);
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
  return html`<tr><th scope="row">${`${Math.round(100 * low)} to ${Math.round(100 * high)} %`}</th><td class="number">${count}</td><td class="number">${percent(confidence)}</td><td class="number"><span class="bar" aria-hidden="true"><span style="width: ${right}%"></span><i style="left: ${sure}%"></i></span>${percent(accuracy)}</td></tr>`;
}
