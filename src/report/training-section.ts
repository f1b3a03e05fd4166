/** How the training went, as curves. */

import { oneLine } from '../messages/one-line.js';
import { html } from '../page/html.js';
import { type ChartSeries, lineChart, type PageChart } from '../page/line-chart.js';
import type { EvalEntry, LogEntry } from '../train/events.js';
import type { StepEntry, TrainingCourse } from './report-parts.js';
import { type ReportSection, section } from './section.js';

const STEP = 'optimizer step';
/** Metrics of evaluations that get a chart. */
const MAX_METRICS = 12;

export function trainingSection(course: TrainingCourse): ReportSection | undefined {
  const [logs, evaluations, steps] = [ordered(course.logs), ordered(course.evaluations), ordered(course.steps ?? [])];
  const fine = steps.length > 0 ? steps : logs;
  if (fine.length === 0 && evaluations.length === 0) return undefined;
  const charts = [
    lossChart(fine, evaluations),
    ...metricCharts(evaluations),
    ...curves(fine, STEP_CURVES),
    ...curves(logs, LOG_CURVES),
  ];
  return section('training', 'Training', html`<div class="charts">${charts.map((chart) => lineChart(chart))}</div>`);
}

function lossChart(logs: readonly StepEntry[], evaluations: readonly EvalEntry[]): PageChart {
  const x = [...new Set([...logs, ...evaluations].map(({ step }) => step))].sort((a, b) => a - b);
  const at = <T extends { readonly step: number }>(entries: readonly T[], value: (entry: T) => unknown) => {
    const byStep = new Map(entries.map((entry) => [entry.step, finite(value(entry))]));
    return x.map((step) => byStep.get(step) ?? null);
  };
  const training: ChartSeries = {
    name: 'training',
    values: at(logs, (entry) => entry.loss),
    color: 1,
    canSmooth: true,
  };
  const evaluation: ChartSeries = {
    ...{ name: 'evaluation', values: at(evaluations, (entry) => entry.evalLoss), color: 2, isSparse: true },
  };
  const series = [...(logs.length > 0 ? [training] : []), ...(evaluations.length > 0 ? [evaluation] : [])];
  const note = 'Loss per labelled token, in nats.';
  return { title: 'Loss', x, xLabel: STEP, series, canLog: true, note };
}

/** One chart for each metric that evaluations during training gave. */
function metricCharts(evaluations: readonly EvalEntry[]): PageChart[] {
  const names = [...new Set(evaluations.flatMap(({ metrics }) => Object.keys(metrics ?? {})))].slice(0, MAX_METRICS);
  const x = evaluations.map(({ step }) => step);
  return names.map((name) => {
    const values = evaluations.map(({ metrics }) => finite(metrics?.[name]));
    return {
      title: oneLine(name),
      x,
      xLabel: STEP,
      series: [{ name: oneLine(name), values, color: 2, isSparse: true }],
    };
  });
}

interface Curves<T> extends Omit<PageChart, 'x' | 'xLabel' | 'series'> {
  readonly lines: readonly (readonly [name: string, value: (entry: T) => unknown])[];
  readonly canSmooth?: boolean;
}

const STEP_CURVES: readonly Curves<StepEntry>[] = [
  { title: 'Learning rate', lines: [['learning rate', (entry) => entry.learningRate]] },
  {
    title: 'Gradient norm',
    lines: [['gradient norm', (entry) => entry.gradNorm]],
    canLog: true,
    canSmooth: true,
    note: 'L2 norm of all gradients before clipping.',
  },
];

const LOG_CURVES: readonly Curves<LogEntry>[] = [
  {
    title: 'Throughput',
    lines: [['tokens a second', (entry) => entry.tokensPerSecond]],
    note: 'Evaluation and saving left out.',
  },
  {
    title: 'Use of time and engine',
    unit: 'share',
    lines: [
      ['waiting for data', (entry) => entry.dataWaitShare],
      ['of the engine’s rate in products', (entry) => entry.modelFlopsUtilization],
      ['tokens of shared prefixes', (entry) => entry.sharedTokenShare],
    ],
  },
  {
    title: 'Memory of the engine',
    unit: 'bytes',
    lines: [
      ['between steps', (entry) => entry.memoryBytes],
      ['peak so far', (entry) => entry.peakMemoryBytes],
    ],
  },
];

/** Charts of what the entries have. */
function curves<T extends { readonly step: number }>(entries: readonly T[], charts: readonly Curves<T>[]): PageChart[] {
  const x = entries.map(({ step }) => step);
  return charts.flatMap(({ lines, canSmooth, ...chart }) => {
    const series = lines.flatMap(([name, value], i): ChartSeries[] => {
      const values = entries.map((entry) => finite(value(entry)));
      return values.some((one) => one !== null) ? [{ name, values, color: i + 1, canSmooth }] : [];
    });
    return series.length === 0 ? [] : [{ ...chart, x, xLabel: STEP, series }];
  });
}

/** By rising step, whatever wrote them. */
function ordered<T extends { readonly step: number }>(entries: readonly T[]): T[] {
  return entries.filter(({ step }) => Number.isFinite(step)).sort((a, b) => a.step - b.step);
}

/** JSON holds null in place of what is not finite. */
function finite(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
