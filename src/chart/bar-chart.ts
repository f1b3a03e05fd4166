/** Horizontal bars, so that long labels stay readable: counts of classes in each split. */
import { z } from 'zod';
import { type Given, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError } from '../errors.js';
import { requireOneObject } from '../require-given.js';
import { fitText, measureText, text } from './font.js';
import {
  COLOURS,
  heading,
  LABEL_SIZE,
  legend,
  line,
  niceTicks,
  rect,
  SMALL_SIZE,
  seriesColour,
  svgDocument,
  tickLabel,
} from './svg.js';
import { format } from './svg-values.js';

/** What a bar chart shows. */
export interface BarChartOptions {
  /** Above the chart. Required. */
  readonly title: string;
  /** Below the title, smaller. Default: none. */
  readonly subtitle?: string;
  /** [N] one for each group of bars, top to bottom; of more than 200 the largest and the smallest. Required. */
  readonly labels: readonly string[];
  /** Each with [N] values of at least 0; one bar of every series in each group. Required. */
  readonly series: readonly {
    /** For the legend, which a single series does not get. */
    readonly name: string;
    /** [N] finite, in the order of `labels`. */
    readonly values: readonly number[];
  }[];
  /** Below the axis. Default: nothing. */
  readonly xLabel?: string;
  /** Width in pixels; the height follows from the labels. Default: 1000. */
  readonly width?: number;
}

const MARGIN = 36;

const optionsSchema = lazySchema(() =>
  z.strictObject({
    title: z.string(),
    subtitle: z.string().optional(),
    labels: z.array(z.string()).readonly(),
    series: z
      .array(
        z.strictObject({
          name: z.string(),
          values: z.array(z.custom<number>((value) => typeof value === 'number', 'expected a number')).readonly(),
        }),
      )
      .readonly(),
    xLabel: z.string().optional(),
    width: z.number().min(100).max(32_767).optional(),
  }),
);
type _Input = NoMismatch<Mismatch<Given<z.input<ReturnType<typeof optionsSchema>>>, Given<BarChartOptions>>>;

/** From this many labels on the bars are thinner. */
const THIN = 60;
/** More labels are not drawn: those with the largest and those with the smallest sums are. */
const MAX_LABELS = 200;
const SHOWN_EACH = 60;

/**
 * Of more than 200 labels the 60 with the largest and the 60 with the smallest sums are drawn, and the subtitle says so.
 * @returns an SVG document
 * @throws ConfigError if there is nothing to draw, a series has not one value for each label, or a value is negative
 */
export function barChart(options: BarChartOptions): string {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'barChart', 'barChart({ title, labels, series })');
  parseOptions(optionsSchema, options, 'barChart');
  checkBars(options.labels, options.series);
  const { title, subtitle, labels, series, width = 1000 } = boundedBars(options);
  const isThin = labels.length >= THIN;
  const barHeight = (series.length === 1 ? 20 : 14) - (isThin ? 5 : 0);
  const groupHeight = barHeight * series.length + (isThin ? 7 : 16);
  const widest = labels.reduce((most, label) => Math.max(most, measureText(label, LABEL_SIZE)), 0);
  const labelWidth = Math.min(widest, width * 0.35);
  const left = MARGIN + labelWidth + 14;
  const right = width - MARGIN - 46;
  const ticks = niceTicks(0, Math.max(...series.flatMap((one) => one.values)) || 1, 7);
  const scale = (right - left) / ticks.at(-1)!;

  const head = heading(MARGIN, title, subtitle);
  const names = series.map((one) => one.name);
  const key = series.length > 1 ? legend(MARGIN, head.bottom, width - 2 * MARGIN, names) : head;
  const top = key.bottom + 10;
  const bottom = top + groupHeight * labels.length;
  const body = [...head.parts, ...(key === head ? [] : key.parts)];
  for (const tick of ticks) {
    const x = left + tick * scale;
    body.push(line(x, top, x, bottom, tick === 0 ? COLOURS.axis : COLOURS.grid));
    body.push(text(x, bottom + 20, tickLabel(tick), { size: SMALL_SIZE, anchor: 'middle', colour: COLOURS.muted }));
  }
  for (const [row, label] of labels.entries()) {
    const middle = top + groupHeight * (row + 0.5);
    const name = fitText(label, labelWidth, LABEL_SIZE);
    body.push(text(left - 12, middle, name, { size: LABEL_SIZE, anchor: 'end', align: 'middle' }));
    for (const [i, { values }] of series.entries()) {
      const y = middle + (i - series.length / 2) * barHeight;
      const end = left + values[row]! * scale;
      body.push(bar(left, y + 1, end - left, barHeight - 2, seriesColour(i)));
      const count = tickLabel(values[row]!);
      body.push(text(end + 6, y + barHeight / 2, count, { size: SMALL_SIZE, align: 'middle', colour: COLOURS.muted }));
    }
  }
  if (options.xLabel)
    body.push(text((left + right) / 2, bottom + 46, options.xLabel, { size: LABEL_SIZE, anchor: 'middle' }));
  return svgDocument(width, bottom + (options.xLabel ? 66 : 42), title, body);
}

function boundedBars(options: BarChartOptions): BarChartOptions {
  const { labels, series } = options;
  if (labels.length <= MAX_LABELS) return options;
  const sums = labels.map((_, i) => series.reduce((total, { values }) => total + values[i]!, 0));
  const ranked = labels.map((_, i) => i).sort((a, b) => sums[b]! - sums[a]! || a - b);
  const shown = [...ranked.slice(0, SHOWN_EACH), ...ranked.slice(-SHOWN_EACH)];
  const count = labels.length.toLocaleString('en');
  const part = `The ${SHOWN_EACH} largest and the ${SHOWN_EACH} smallest of ${count}`;
  return {
    ...options,
    subtitle: options.subtitle ? `${options.subtitle}; ${part.toLowerCase()}` : part,
    labels: shown.map((i) => labels[i]!),
    series: series.map(({ name, values }) => ({ name, values: shown.map((i) => values[i]!) })),
  };
}

function bar(x: number, y: number, width: number, height: number, colour: string): string {
  if (width <= 0) return '';
  if (width < 6) return rect(x, y, width, height, colour);
  const straight = `M${format(x)} ${format(y)}h${format(width - 3)}`;
  return `<path fill="${colour}" d="${straight}q3 0 3 3v${format(height - 6)}q0 3-3 3h${format(3 - width)}z"/>`;
}

function checkBars(labels: BarChartOptions['labels'], series: BarChartOptions['series']): void {
  if (labels.length === 0 || series.length === 0)
    throw new ConfigError(
      `barChart: expected labels and series, got ${labels.length} labels and ${series.length} series`,
    );
  for (const { name, values } of series) {
    if (values.length !== labels.length)
      throw new ConfigError(
        `barChart: expected ${labels.length} values in series ${JSON.stringify(name)}, one for each label, got ${values.length}`,
      );
    const wrong = values.findIndex((value) => !(value >= 0 && value < Infinity));
    if (wrong >= 0)
      throw new ConfigError(
        `barChart: expected values of at least 0 in series ${JSON.stringify(name)}, got ${values[wrong]} at ${wrong}`,
      );
  }
}
