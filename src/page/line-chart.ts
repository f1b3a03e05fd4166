/** Line charts in a page: uPlot draws them, a table beside each holds its values. Needs {@link CHART_SCRIPTS} in the page. */
import { UPLOT_SCRIPT, UPLOT_STYLES } from '../generated/uplot.js';
import { CHART_PROGRAM } from './chart-program.js';
import { Html, html, jsonForScript } from './html.js';

/** What values are: shares are drawn in percent, bytes in MiB or GiB. */
type ChartUnit = 'number' | 'share' | 'bytes';

export interface ChartSeries {
  readonly name: string;
  /** One for each of `x`; null and what is not finite is a gap that the line bridges. */
  readonly values: readonly (number | null)[];
  /** 1 to 5, of the theme. */
  readonly color: number;
  /** Dots with a dashed line between, for what is measured seldom. */
  readonly isSparse?: boolean | undefined;
  /** Can be smoothed; its own values stay behind the smooth line. */
  readonly canSmooth?: boolean | undefined;
}

export interface PageChart {
  readonly title: string;
  /** Rising. */
  readonly x: readonly number[];
  readonly xLabel: string;
  readonly unit?: ChartUnit | undefined;
  readonly series: readonly ChartSeries[];
  /** Offers a logarithmic scale. */
  readonly canLog?: boolean | undefined;
  /** What is to be known of it. */
  readonly note?: string | undefined;
}

/** More points than pixels say nothing; each stands for the mean of several then. */
const MAX_POINTS = 1500;
/** Rows of the table of values. */
const MAX_ROWS = 40;
/** Above so many points the line is smoothed at first. */
const MANY_POINTS = 25;

/** Drawn when the page's programs run; until then, and without them, the table says it. */
export function lineChart(chart: PageChart): Html {
  const { suffix, ...shown } = scaled(chart);
  const { x, series, note } = thinned(shown);
  const { title, xLabel, canLog } = chart;
  const canSmooth = x.length > 2 && series.some((one) => one.canSmooth);
  const smoothing = x.length > 200 ? 0.9 : x.length > MANY_POINTS ? 0.6 : 0;
  const data = { x, xLabel, suffix, series };
  const notes = [chart.note, note].filter((text) => text !== undefined);
  return html`<figure class="chart">
<figcaption>${title}</figcaption>
<div class="tools on-screen">${
    canSmooth &&
    html`<label>Smoothing <input type="range" class="smoothing" min="0" max="0.99" step="0.01" value="${smoothing}"></label>`
  }${canLog && html`<label><input type="checkbox" class="log-scale"> Logarithmic</label>`}</div>
<div class="plot" tabindex="0" role="group" aria-label="${`${title}: ${described(x, series, suffix)} Arrow keys read the values.`}"></div>
<p class="hidden readout" aria-live="polite"></p>
<script type="application/json">${new Html(jsonForScript(data))}</script>
${notes.length > 0 && html`<p class="quiet">${notes.join(' ')}</p>`}
<details><summary>Values</summary>${valueTable(title, xLabel, x, series, suffix)}</details>
</figure>`;
}

/** Programs of a page with charts, and the styles of these. */
export const CHART_SCRIPTS: readonly string[] = [UPLOT_SCRIPT, CHART_PROGRAM];
export const CHART_STYLES: readonly string[] = [
  UPLOT_STYLES,
  `
.charts { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }
.chart { min-width: 0; }
.chart.wide { grid-column: 1 / -1; }
.chart figcaption { font-weight: 600; }
.chart .tools { display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: center; }
.chart .tools label { display: inline-flex; gap: 0.4rem; align-items: center; min-height: 2rem; }
.chart .plot { min-height: 15rem; }
.chart .uplot, .chart .uplot .u-legend { font: 0.875rem/1.5 system-ui, sans-serif; }
.chart .uplot .u-legend { text-align: left; margin: 0; }
.chart .uplot .u-legend th, .chart .uplot .u-legend td { padding: 0 0.2rem; border: 0; font-weight: normal; }
.chart .u-legend .u-marker { width: 1.75rem; height: 0; border-width: 3px 0 0 !important; vertical-align: middle; }
.chart .u-legend .u-series:first-child .u-marker { display: none; }
.chart p, .chart details { font-size: 0.875rem; margin: 0.25rem 0; }
.chart details .scroll { max-height: 20rem; overflow: auto; }
@media print { .chart { break-inside: avoid; } .chart details { display: none; } }
`,
];

/** The chart in the unit of its axis. */
function scaled({ unit, ...chart }: PageChart): PageChart & { readonly suffix: string } {
  const all = chart.series.flatMap(({ values }) => values);
  const most = all.reduce<number>((highest, value) => Math.max(highest, Math.abs(value ?? 0)), 0);
  const [factor, suffix] =
    unit === 'share'
      ? [100, ' %']
      : unit === 'bytes'
        ? most >= 2 ** 30
          ? [2 ** -30, ' GiB']
          : [2 ** -20, ' MiB']
        : [1, ''];
  const series = chart.series.map((one) => ({ ...one, values: one.values.map((value) => value && value * factor) }));
  return { ...chart, series, suffix };
}

/** A value as the page's program writes it too. */
function chartValue(value: number | null | undefined, suffix: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2) + suffix;
  return (size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)))) + suffix;
}

function described(x: readonly number[], series: readonly ChartSeries[], suffix: string): string {
  const texts = series.map(({ name, values }) => {
    const known = values.filter((value): value is number => value !== null);
    if (known.length === 0) return `${name} has no values`;
    const [first, last] = [known[0]!, known.at(-1)!].map((value) => chartValue(value, suffix));
    return `${name} from ${first} to ${last}`;
  });
  return `${texts.join(', ')}; ${x.length} points.`;
}

function valueTable(
  title: string,
  xLabel: string,
  x: readonly number[],
  series: readonly ChartSeries[],
  suffix: string,
): Html {
  const step = Math.max(1, Math.ceil(x.length / MAX_ROWS));
  const rows = x.map((_, i) => i).filter((i) => i % step === 0 || i === x.length - 1);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${`Values of ${title}`}"><table>
<thead><tr><th scope="col" class="number">${xLabel}</th>${series.map(({ name }) => html`<th scope="col" class="number">${name}</th>`)}</tr></thead>
<tbody>${rows.map(
    (i) =>
      html`<tr><td class="number">${Number(x[i]!.toPrecision(7))}</td>${series.map(({ values }) => html`<td class="number">${chartValue(values[i], suffix)}</td>`)}</tr>`,
  )}</tbody></table>${step > 1 && html`<p class="quiet">${`Every ${ordinal(step)} of ${x.length} points.`}</p>`}</div>`;
}

function ordinal(count: number): string {
  const ending = count % 100 > 10 && count % 100 < 14 ? 'th' : (['th', 'st', 'nd', 'rd'][count % 10] ?? 'th');
  return `${count}${ending}`;
}

/** The chart with at most so many points, each the mean of the same number of neighbours. */
function thinned({ x, series }: PageChart): { x: number[]; series: ChartSeries[]; note: string | undefined } {
  const finite = (value: number | null | undefined): value is number => Number.isFinite(value);
  const size = Math.ceil(x.length / MAX_POINTS);
  const starts = Array.from({ length: Math.ceil(x.length / size) }, (_, i) => i * size);
  const mean = (values: readonly (number | null)[], start: number): number | null => {
    const known = values.slice(start, start + size).filter(finite);
    return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
  };
  return {
    // The last step of each group, so that the last point is the last step.
    x: starts.map((start) => x[Math.min(start + size, x.length) - 1]!),
    series: series.map((one) => ({ ...one, values: starts.map((start) => mean(one.values, start)) })),
    note: size > 1 ? `Each point is the mean of ${size} values.` : undefined,
  };
}
