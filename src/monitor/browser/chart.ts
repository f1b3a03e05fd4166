/** A line chart that is read by eye, by mouse, by keyboard and by ear. */
import type UPlot from 'uplot';
import type { Cell } from '../thinned-table.js';
import { make, setText } from './dom.js';
import { axisLabels, formatNumber } from './format.js';

/** Defined by the script before this one. */
declare const uPlot: typeof UPlot;

export interface ChartSeries {
  readonly label: string;
  /** A variable of the theme, e.g. `--series-1`. */
  readonly color: string;
  readonly width?: number;
  /** Told apart without colours. */
  readonly dash?: readonly number[];
  /** Marks at each value, for those that are few. */
  readonly points?: boolean;
  /** An edge of the band: not drawn as a line, and not in the legend as long as it has no values. */
  readonly isEdge?: boolean;
}

interface ChartOptions {
  readonly title: string;
  readonly series: readonly ChartSeries[];
  /** Indices in `series` of the upper and the lower edge of a shaded band. */
  readonly band?: readonly [upper: number, lower: number];
  /** Said aloud when the keyboard moves the cursor. */
  readonly announce: (text: string) => void;
}

/** Columns: steps, then one for each series; undefined where another series has a step. */
export type ChartData = readonly Column[];
type Column = readonly (Cell | undefined)[];

const HEIGHT = 240;
const NARROW_HEIGHT = 200;
/** More of them would hide the line. */
const MAX_MARKS = 40;
const FONT = '12px system-ui, sans-serif';

export class Chart {
  readonly element: HTMLElement;
  readonly #options: ChartOptions;
  readonly #plot = make('div', { class: 'plot', tabindex: '0', role: 'img' });
  readonly #note = make('p', { class: 'quiet' });
  readonly #items: HTMLElement[] = [];
  readonly #values: HTMLElement[] = [];
  #data: ChartData;
  #uplot: UPlot | undefined;
  #isLog = false;

  constructor(options: ChartOptions) {
    this.#options = options;
    this.#data = [[], ...options.series.map(() => [])];
    const legend = make('ul', { class: 'legend' });
    for (const { label, color, dash, isEdge } of options.series) {
      const value = make('span', { class: 'value' });
      this.#values.push(value);
      const kind = isEdge ? ' shade' : dash?.length ? ' dashed' : '';
      const swatch = make('span', { class: `swatch${kind}`, 'aria-hidden': 'true' });
      if (!isEdge) swatch.style.borderColor = `var(${color})`;
      const item = make('li', {}, swatch, `${label} `, value);
      this.#items.push(item);
      legend.append(item);
    }
    const caption = make('figcaption', {}, make('h3', {}, options.title), legend, this.#note);
    this.element = make('figure', { class: 'card chart' }, caption, this.#plot);
    this.#plot.addEventListener('keydown', (event) => this.#onKey(event));
    new ResizeObserver(() => this.#resize()).observe(this.#plot);
    // Colours are read when a chart is made.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#rebuild());
  }

  set isLog(isLog: boolean) {
    if (isLog === this.#isLog) return;
    this.#isLog = isLog;
    this.#rebuild();
  }

  /** @param note what must be known to read the curve */
  show(data: ChartData, note = ''): void {
    this.#data = data;
    setText(this.#note, note);
    if (this.#uplot) this.#uplot.setData(this.#drawable());
    else this.#rebuild();
    this.#showValues(null);
    this.#plot.setAttribute('aria-label', this.#describe());
  }

  /** A logarithm wants positive values. */
  #drawable(): UPlot.AlignedData {
    const [steps, ...columns] = this.#data;
    const values = this.#isLog
      ? columns.map((column) => column.map((value) => (typeof value === 'number' && value <= 0 ? null : value)))
      : columns;
    return [steps, ...values] as unknown as UPlot.AlignedData;
  }

  #rebuild(): void {
    this.#uplot?.destroy();
    this.#uplot = undefined;
    if (this.#data[0]!.length === 0 || this.#plot.clientWidth === 0) return;
    const theme = getComputedStyle(document.documentElement);
    const color = (name: string): string => theme.getPropertyValue(name).trim();
    const axis = {
      stroke: color('--quiet'),
      font: FONT,
      grid: { stroke: color('--line'), width: 1 },
      ticks: { stroke: color('--line'), width: 1 },
    };
    const { band } = this.#options;
    const options: UPlot.Options = {
      ...this.#size(),
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 8 } },
      scales: { x: { time: false }, y: this.#isLog ? { distr: 3 } : {} },
      axes: [
        {
          ...axis,
          size: 30,
          label: 'step',
          labelSize: 18,
          labelGap: 0,
          labelFont: FONT,
          values: (_, splits) => splits.map((step) => (Number.isInteger(step) ? step.toLocaleString('en-US') : '')),
        },
        {
          ...axis,
          size: (_, labels) => axisWidth(labels),
          values: (_, splits) => axisLabels(splits, this.#isLog),
        },
      ],
      series: [
        {},
        ...this.#options.series.map((series) => ({
          label: series.label,
          stroke: series.isEdge ? 'transparent' : color(series.color),
          width: series.width ?? 2,
          ...(series.dash ? { dash: [...series.dash] } : {}),
          points: {
            show: series.points ? (_: UPlot, i: number) => countOf(this.#data[i]!) <= MAX_MARKS : false,
            size: 7,
            fill: color(series.color),
          },
          spanGaps: false,
        })),
      ],
      ...(band ? { bands: [{ series: [band[0] + 1, band[1] + 1], fill: `${color('--quiet')}55` }] } : {}),
      hooks: { setCursor: [(plot) => this.#showValues(plot.cursor.idx ?? null)] },
    };
    this.#uplot = new uPlot(options, this.#drawable(), this.#plot);
  }

  #size(): { width: number; height: number } {
    const width = this.#plot.clientWidth;
    return { width, height: width < 480 ? NARROW_HEIGHT : HEIGHT };
  }

  #resize(): void {
    if (!this.#uplot) this.#rebuild();
    else if (this.#plot.clientWidth > 0) this.#uplot.setSize(this.#size());
  }

  /** Values at an index, or the last of each series. */
  #showValues(index: number | null): void {
    for (const [i, element] of this.#values.entries()) {
      const column = this.#data[i + 1]!;
      if (this.#options.series[i]!.isEdge) this.#items[i]!.hidden = lastOf(column) === undefined;
      setText(element, formatNumber(index === null ? lastOf(column) : valueAt(column, index)));
    }
  }

  #onKey(event: KeyboardEvent): void {
    const [steps] = this.#data;
    const last = steps!.length - 1;
    if (!this.#uplot || last < 0) return;
    const now = this.#uplot.cursor.idx ?? last;
    const stride = event.shiftKey ? Math.max(1, Math.round(last / 20)) : 1;
    const targets: Record<string, number> = { ArrowLeft: now - stride, ArrowRight: now + stride, Home: 0, End: last };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const index = Math.min(Math.max(target, 0), last);
    this.#uplot.setCursor({ left: this.#uplot.valToPos(steps![index] as number, 'x'), top: 0 });
    this.#options.announce(`Step ${steps![index]}: ${this.#spoken((column) => valueAt(column, index))}`);
  }

  #describe(): string {
    const spoken = this.#spoken(lastOf);
    return `${this.#options.title} by step. ${spoken ? `Last values: ${spoken}.` : 'No values yet.'} Arrow keys read values.`;
  }

  #spoken(pick: (column: Column) => Cell | undefined): string {
    return this.#options.series
      .flatMap(({ label }, i) => {
        const value = pick(this.#data[i + 1]!);
        return typeof value !== 'number' ? [] : [`${label} ${formatNumber(value)}`];
      })
      .join(', ');
  }
}

function countOf(column: Column): number {
  return column.filter((value) => typeof value === 'number').length;
}

function lastOf(column: Column): Cell | undefined {
  return column.findLast((value) => typeof value === 'number');
}

/** The value at a step, or the newest before it where another series has that step. */
function valueAt(column: Column, index: number): Cell | undefined {
  let i = index;
  while (i > 0 && column[i] === undefined) i--;
  return column[i];
}

/** Room for labels of about 7 pixels a character. */
function axisWidth(labels: readonly string[] | null): number {
  return 22 + 7 * Math.max(3, ...(labels ?? []).map((label) => label.length));
}
