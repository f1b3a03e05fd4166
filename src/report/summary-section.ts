/** What came out, first: figures with their intervals, and what the training changed. */
import type { EvaluationReport } from '../eval/evaluation-report.js';
import type { Interval } from '../eval/metrics.js';
import { compareSamples } from '../eval/report.js';
import { formatBytes } from '../messages/format-bytes.js';
import { oneLine, printable } from '../messages/one-line.js';
import { type Html, html } from '../page/html.js';
import { counted, duration, fixed, percent, points, signed } from './figures.js';
import type { EvaluationPair, RunReportParts, TrainingCourse } from './report-parts.js';
import { type ReportSection, scrolled, section } from './section.js';

export function summarySection(parts: RunReportParts): ReportSection | undefined {
  const { before, after, others = [], training } = parts;
  const cards = [
    ...(after || before ? evaluationCards(before, after) : []),
    ...(training ? trainingCards(training) : []),
  ];
  if (cards.length === 0 && others.length === 0) return undefined;
  return section('summary', 'Summary', [
    html`<div class="cards figures">${cards}</div>`,
    before && after ? pairedText(before, after) : undefined,
    before || after ? scrolled('Metrics', metricsTable(before, after)) : undefined,
    others.length > 0 ? scrolled('Other splits', splitsTable(parts, others)) : undefined,
    training?.warnings && training.warnings.length > 0 ? warningList(training.warnings) : undefined,
  ]);
}

function card(title: string, figure: Html | string, lines: readonly (string | false | undefined)[]): Html {
  const texts = lines.filter((line) => line !== false && line !== undefined);
  return html`<div class="card"><h3>${title}</h3><p class="figure">${figure}</p>${texts.map((line) => html`<p class="quiet">${line}</p>`)}</div>`;
}

function evaluationCards(before: EvaluationReport | undefined, after: EvaluationReport | undefined): Html[] {
  const report = (after ?? before)!;
  const pair = before && after;
  const { low, high } = report.accuracyInterval;
  const part = report.count < report.datasetLength ? ` of ${report.datasetLength.toLocaleString('en-US')}` : '';
  const invalid = invalidOf(report);
  return [
    card('Accuracy', pair ? change(percent(before.accuracy), percent(after.accuracy)) : percent(report.accuracy), [
      pair && `${points(before.accuracy, after.accuracy)} percentage points`,
      `95 % interval ${percent(low)} to ${percent(high)}`,
      `${report.correct.toLocaleString('en-US')} of ${report.count.toLocaleString('en-US')} samples right${part && ` (${part.trim()} in the data set)`}`,
    ]),
    card('Macro F1', pair ? change(fixed(before.macroF1), fixed(after.macroF1)) : fixed(report.macroF1), [
      pair && signed((after.macroF1 - before.macroF1).toFixed(3), after.macroF1 - before.macroF1),
      report.intervals && intervalText(report.intervals.macroF1, report.intervals.confidenceLevel, fixed),
      `${counted(report.classNames.length, 'class').replace('classs', 'classes')}`,
    ]),
    card('Answers that are no class', pair ? change(String(invalidOf(before)), String(invalid)) : String(invalid), [
      `${percent(report.count === 0 ? 0 : invalid / report.count)} of the answers${pair ? ' after training' : ''}`,
      ANSWER_MODES[report.mode ?? 'free'],
    ]),
  ];
}

const ANSWER_MODES: Readonly<Record<string, string>> = {
  free: 'Answers are free text.',
  constrained: 'Answers can be class names only.',
  scored: 'The most probable class counts.',
};

function change(before: string, after: string): Html {
  return html`<span class="quiet">${before}</span> <span aria-hidden="true">→</span><span class="hidden">to</span> ${after}`;
}

function intervalText({ low, high }: Interval, level: number, format: (value: number) => string): string {
  return `${Math.round(100 * level)} % interval ${format(low)} to ${format(high)}`;
}

function trainingCards({ logs, evaluations, steps = [], ...known }: TrainingCourse): Html[] {
  const [first, last] = [logs[0], logs.at(-1)];
  if (!first || !last) return [];
  // Logs are written every so many steps: the last ones of a run may be in none.
  const done = Math.max(last.step, steps.at(-1)?.step ?? 0, known.stepsDone ?? 0);
  const epochs = last.step > 0 ? (last.epoch * done) / last.step : last.epoch;
  // Logs may come from files that are damaged.
  const finite = (value: unknown): number => (Number.isFinite(value) ? (value as number) : 0);
  const [totalSteps, samples, trainableParameters] = [known.totalSteps, known.samples, known.trainableParameters].map(
    (value) => (typeof value === 'number' ? value : undefined),
  );
  const seconds = logs.reduce((sum, entry) => sum + finite(entry.seconds), 0);
  const tokens = logs.reduce((sum, entry) => sum + finite(entry.tokensPerSecond) * finite(entry.seconds), 0);
  const peak = logs.reduce((most, entry) => Math.max(most, finite(entry.peakMemoryBytes)), 0);
  const best = evaluations.map(({ evalLoss }) => evalLoss).filter(Number.isFinite);
  return [
    card('Training loss', first === last ? fixed(last.loss) : change(fixed(first.loss), fixed(last.loss)), [
      first === last ? `step ${last.step}` : `step ${first.step} to step ${last.step}`,
      best.length > 0 && `evaluation loss ${fixed(best.at(-1))}, lowest ${fixed(Math.min(...best))}`,
    ]),
    card('Steps', totalSteps !== undefined && totalSteps !== done ? `${done} of ${totalSteps}` : String(done), [
      `${fixed(epochs, 2)} epochs${samples === undefined ? '' : ` of ${counted(samples, 'sample')}`}`,
      trainableParameters !== undefined && `${counted(trainableParameters, 'trainable parameter')}`,
    ]),
    card('Time in steps', duration(seconds), [
      seconds > 0 && `${Math.round(tokens / seconds).toLocaleString('en-US')} tokens a second`,
      peak > 0 && `peak memory ${formatBytes(peak)}`,
    ]),
  ];
}

function pairedText(before: EvaluationReport, after: EvaluationReport): Html {
  const { paired, mismatched, gained, lost, pValue, accuracyDeltaInterval } = compareSamples(before, after);
  const others =
    mismatched > 0
      ? ` ${counted(mismatched, 'sample')} of the same id, but with another true class, ${mismatched === 1 ? 'is' : 'are'} left out: the evaluations may be of other data.`
      : '';
  if (paired === 0) {
    return html`<p>${`The evaluations share no samples, so the difference cannot be tested.${others}`}</p>`;
  }
  const p = pValue < 0.001 ? 'p < 0.001' : `p = ${pValue.toFixed(3)}`;
  const range = `${points(0, accuracyDeltaInterval.low)} to ${points(0, accuracyDeltaInterval.high)}`;
  const [was, is] = [before, after].map(({ mode }) => ANSWER_MODES[mode ?? 'free']!);
  const modes = was === is ? '' : ` Before: ${was} After: ${is}`;
  return html`<p>${`Of ${paired.toLocaleString('en-US')} samples in both evaluations, `}<strong class="good">${`${gained} became right`}</strong> and <strong class="bad">${`${lost} became wrong`}</strong>${` (McNemar's exact test: ${p}). The accuracy changed by ${range} percentage points, with 95 % confidence.${modes}${others}`}</p>`;
}

/** Reports of earlier versions lack what came later. */
type AnyReport = Partial<EvaluationReport>;

interface Metric {
  readonly name: string;
  readonly value: (report: AnyReport) => number | null | undefined;
  readonly kind: 'share' | 'number' | 'count';
  readonly interval?: (report: AnyReport) => Interval | undefined;
}

const METRICS: readonly Metric[] = [
  { name: 'Accuracy', value: (r) => r.accuracy, kind: 'share', interval: (r) => r.accuracyInterval },
  {
    name: 'Balanced accuracy',
    value: (r) => r.balancedAccuracy,
    kind: 'share',
    interval: (r) => r.intervals?.balancedAccuracy,
  },
  { name: 'Macro F1', value: (r) => r.macroF1, kind: 'number', interval: (r) => r.intervals?.macroF1 },
  { name: 'Weighted F1', value: (r) => r.weightedF1, kind: 'number', interval: (r) => r.intervals?.weightedF1 },
  { name: 'Matthews correlation', value: (r) => r.matthewsCorrcoef, kind: 'number' },
  ...[1, 2, 4].map(
    (k): Metric => ({
      name: `Top-${k + 1} accuracy`,
      value: (r) => ((r.classNames?.length ?? 0) > k + 1 ? r.probabilities?.topKAccuracy[k] : undefined),
      kind: 'share',
    }),
  ),
  { name: 'Log loss', value: (r) => r.probabilities?.logLoss, kind: 'number' },
  { name: 'Calibration error (ECE)', value: (r) => r.probabilities?.expectedCalibrationError, kind: 'share' },
  { name: 'Answers that are no class', value: (r) => r.confusion && invalidOf(r), kind: 'count' },
];

function metricsTable(before: EvaluationReport | undefined, after: EvaluationReport | undefined): Html {
  const report = (after ?? before)!;
  const isPair = before !== undefined && after !== undefined;
  const rows = METRICS.flatMap(({ name, value, kind, interval }) => {
    const now = value(report);
    if (now === undefined || now === null) return [];
    const was = isPair ? value(before) : undefined;
    const format = (one: number | null | undefined): string =>
      kind === 'share' ? percent(one) : kind === 'count' ? String(one ?? '–') : fixed(one);
    const range = interval?.(report);
    const difference = was === undefined || was === null ? undefined : now - was;
    const changed =
      difference === undefined
        ? '–'
        : kind === 'share'
          ? `${points(was!, now)} pp`
          : signed(kind === 'count' ? String(difference) : difference.toFixed(3), difference);
    return html`<tr><th scope="row">${name}</th>${isPair && html`<td class="number">${format(was)}</td>`}<td class="number">${format(now)}</td>${
      isPair && html`<td class="number">${changed}</td>`
    }<td class="number">${range ? `${format(range.low)} to ${format(range.high)}` : ''}</td></tr>`;
  });
  const heads = isPair ? ['Before', 'After', 'Change'] : [after ? 'After' : 'Before'];
  return html`<table><thead><tr><th scope="col">Metric</th>${heads.map((head) => html`<th scope="col" class="number">${head}</th>`)}<th scope="col" class="number">95 % interval</th></tr></thead>
<tbody>${rows}</tbody></table>${isPair && html`<p class="quiet">Changes of shares are in percentage points (pp). Intervals are those of the evaluation after training.</p>`}`;
}

function invalidOf(report: AnyReport): number {
  return report.invalid ?? report.confusion?.unparsed.reduce((a, b) => a + b, 0) ?? 0;
}

function splitsTable({ before, after }: RunReportParts, others: readonly EvaluationPair[]): Html {
  const pairs: EvaluationPair[] = [...(before || after ? [{ name: 'test split', before, after }] : []), ...others];
  const rows = pairs.map(({ name, before: was, after: is }) => {
    const report = is ?? was;
    const { low, high } = report?.accuracyInterval ?? { low: Number.NaN, high: Number.NaN };
    return html`<tr><th scope="row">${oneLine(name)}</th><td class="number">${report?.count.toLocaleString('en-US')}</td><td class="number">${percent(was?.accuracy)}</td><td class="number">${percent(is?.accuracy)}</td><td class="number">${was && is ? `${points(was.accuracy, is.accuracy)} pp` : '–'}</td><td class="number">${`${percent(low)} to ${percent(high)}`}</td><td class="number">${fixed(report?.macroF1)}</td></tr>`;
  });
  const heads = ['Samples', 'Accuracy before', 'Accuracy after', 'Change', '95 % interval', 'Macro F1'];
  return html`<table><thead><tr><th scope="col">Split</th>${heads.map((head) => html`<th scope="col" class="number">${head}</th>`)}</tr></thead><tbody>${rows}</tbody></table>`;
}

const MAX_WARNINGS = 50;

function warningList(warnings: NonNullable<TrainingCourse['warnings']>): Html {
  const more = warnings.length - MAX_WARNINGS;
  return html`<details><summary class="warn">${counted(warnings.length, 'warning')} of the training</summary><ul>${warnings
    .slice(0, MAX_WARNINGS)
    .map(
      ({ message }) => html`<li>${printable(message).slice(0, 2000)}</li>`,
    )}</ul>${more > 0 && html`<p class="quiet">${`${more} more are in the log.`}</p>`}</details>`;
}
