/** Lines over numbers: the loss over the steps. */
import { z } from 'zod';
import { type Given, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError } from '../errors.js';
import { requireOneObject } from '../require-given.js';
import { measureText, text } from './font.js';
import {
  COLOURS,
  heading,
  LABEL_SIZE,
  legend,
  line,
  logTicks,
  niceTicks,
  SMALL_SIZE,
  seriesColour,
  svgDocument,
  tickLabel,
} from './svg.js';
import { format } from './svg-values.js';

/** [x, y]; a y that is not finite (or not positive on a logarithmic axis) leaves a gap. */
export type Point = readonly [x: number, y: number];

/** What a line chart shows. */
export interface LineChartOptions {
  /** Above the chart. Required. */
  readonly title: string;
  /** Below the title, smaller. Default: none. */
  readonly subtitle?: string;
  /** Below the horizontal axis. Required. */
  readonly xLabel: string;
  /** Beside the vertical axis. Required. */
  readonly yLabel: string;
  /** Points in drawing order. Required. */
  readonly series: readonly {
    /** For the legend, which a single series does not get. */
    readonly name: string;
    /** Each is joined to the one before it. */
    readonly points: readonly Point[];
  }[];
  /** Scale of the vertical axis. Default: `linear`. */
  readonly yScale?: 'linear' | 'log';
  /** Smallest y on a linear axis: 0 if it is no further away than the values spread, or where the values begin. Default: `auto`. */
  readonly yFrom?: 'auto' | 'zero' | 'values';
  /** Width in pixels. Default: 1000. */
  readonly width?: number;
  /** Height in pixels. Default: 560. */
  readonly height?: number;
}

const isPoint = (value: unknown): boolean =>
  Array.isArray(value) && value.length === 2 && typeof value[0] === 'number' && typeof value[1] === 'number';

const side = lazySchema(() => z.number().min(100).max(32_767).optional());
const optionsSchema = lazySchema(() =>
  z.strictObject({
    title: z.string(),
    subtitle: z.string().optional(),
    xLabel: z.string(),
    yLabel: z.string(),
    series: z
      .array(
        z.strictObject({
          name: z.string(),
          points: z.array(z.custom<Point>(isPoint, 'expected [x, y], two numbers')).readonly(),
        }),
      )
      .readonly(),
    yScale: z.enum(['linear', 'log']).optional(),
    yFrom: z.enum(['auto', 'zero', 'values']).optional(),
    width: side(),
    height: side(),
  }),
);
type _Input = NoMismatch<Mismatch<Given<z.input<ReturnType<typeof optionsSchema>>>, Given<LineChartOptions>>>;

const MARGIN = 36;
/** Up to this many points a series gets a dot on each. */
const DOTTED = 40;

/**
 * @returns an SVG document
 * @throws ConfigError if no point can be drawn
 * @example
 * ```ts
 * const svg = lineChart({
 *   title: 'Training loss', xLabel: 'step', yLabel: 'loss',
 *   series: [{ name: 'loss', points: [[1, 2.4], [2, 1.1], [3, 0.7]] }],
 * });
 * await renderPng(svg, 'loss.png');
 * ```
 */
export function lineChart(options: LineChartOptions): string {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'lineChart', 'lineChart({ title, xLabel, yLabel, series })');
  parseOptions(optionsSchema, options, 'lineChart');
  const { title, series, yScale = 'linear', width = 1000, height = 560 } = options;
  const canDraw = ([x, y]: Point) => Number.isFinite(x) && Number.isFinite(y) && (yScale === 'linear' || y > 0);
  const all = series.flatMap((one) => one.points.filter(canDraw));
  if (all.length === 0)
    throw new ConfigError(
      `lineChart: expected at least one point that can be drawn on a ${yScale} axis, got none in ${series.length} series`,
    );
  const [xLow, xHigh] = extent(all.map(([x]) => x));
  const xTicks = niceTicks(xLow, xHigh, 8);
  const [yLow, yHigh] = extent(all.map(([, y]) => y));
  const yTicks = yScale === 'log' ? logTicks(yLow, yHigh) : niceTicks(...linearRange(yLow, yHigh, options.yFrom), 6);

  const head = heading(MARGIN, title, options.subtitle);
  const names = series.map((one) => one.name);
  const key = series.length > 1 ? legend(MARGIN, head.bottom, width - 2 * MARGIN, names) : head;
  const left = MARGIN + 36 + Math.max(...yTicks.map((tick) => measureText(tickLabel(tick), SMALL_SIZE)));
  const right = width - MARGIN;
  const top = key.bottom + 12;
  const bottom = height - 72;
  // The x axis ends with the data, so its outermost ticks may fall outside; a single x gets the ticks' own range.
  const [xFrom, xTo] = xHigh > xLow ? [xLow, xHigh] : [xTicks[0]!, xTicks.at(-1)!];
  const toX = (x: number) => left + ((x - xFrom) / (xTo - xFrom)) * (right - left);
  const fold = yScale === 'log' ? Math.log : (y: number) => y;
  const [yFrom, yTo] = [fold(yTicks[0]!), fold(yTicks.at(-1)!)];
  const toY = (y: number) => bottom - ((fold(y) - yFrom) / (yTo - yFrom)) * (bottom - top);

  const body = [...head.parts, ...(key === head ? [] : key.parts)];
  for (const tick of yTicks) {
    body.push(line(left, toY(tick), right, toY(tick), COLOURS.grid));
    const options = { size: SMALL_SIZE, anchor: 'end', align: 'middle', colour: COLOURS.muted } as const;
    body.push(text(left - 10, toY(tick), tickLabel(tick), options));
  }
  body.push(line(left, bottom, right, bottom, COLOURS.axis));
  for (const tick of xTicks.filter((one) => one >= xFrom && one <= xTo)) {
    body.push(line(toX(tick), bottom, toX(tick), bottom + 5, COLOURS.axis));
    body.push(
      text(toX(tick), bottom + 21, tickLabel(tick), { size: SMALL_SIZE, anchor: 'middle', colour: COLOURS.muted }),
    );
  }
  for (const [i, { points }] of series.entries()) body.push(curve(points, canDraw, toX, toY, seriesColour(i)));
  body.push(text((left + right) / 2, height - 22, options.xLabel, { size: LABEL_SIZE, anchor: 'middle' }));
  const middle = (top + bottom) / 2;
  body.push(
    text(MARGIN + 4, middle, options.yLabel, { size: LABEL_SIZE, anchor: 'middle', align: 'middle', rotate: -90 }),
  );
  return svgDocument(width, height, title, body);
}

/** One path with a gap at every point that cannot be drawn, and dots if there are few or a point stands alone. */
function curve(
  points: readonly Point[],
  canDraw: (point: Point) => boolean,
  toX: (x: number) => number,
  toY: (y: number) => number,
  colour: string,
): string {
  let path = '';
  let dots = '';
  for (const [i, point] of points.entries()) {
    if (!canDraw(point)) continue;
    const place = `${format(toX(point[0]))} ${format(toY(point[1]))}`;
    const before = i > 0 && canDraw(points[i - 1]!);
    const after = i + 1 < points.length && canDraw(points[i + 1]!);
    path += `${before ? 'L' : 'M'}${place}`;
    if (points.length <= DOTTED || !(before || after)) dots += `M${place}h.01`;
  }
  const stroke = `fill="none" stroke="${colour}" stroke-linejoin="round" stroke-linecap="round"`;
  return `<path ${stroke} stroke-width="2.5" d="${path}"/>${dots && `<path ${stroke} stroke-width="7" d="${dots}"/>`}`;
}

function linearRange(low: number, high: number, from: LineChartOptions['yFrom'] = 'auto'): [number, number] {
  const startsAtZero = from === 'zero' || (from === 'auto' && low <= 2 * (high - low));
  return startsAtZero && low > 0 ? [0, high] : [low, high];
}

function extent(values: readonly number[]): [number, number] {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}
