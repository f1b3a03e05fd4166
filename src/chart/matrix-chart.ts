/** A table of numbers with shading: the confusion matrix. */
import { ConfigError } from '../errors.js';
import { fitText, measureText, text } from './font.js';
import { COLOURS, heading, LABEL_SIZE, rect, svgDocument, tickLabel } from './svg.js';

export interface MatrixChartOptions {
  readonly title: string;
  readonly subtitle?: string;
  /** [R] */
  readonly rowLabels: readonly string[];
  /** [C] */
  readonly columnLabels: readonly string[];
  /** [R][C], at least 0. */
  readonly values: readonly (readonly number[])[];
  /** What the rows stand for, beside them. */
  readonly rowTitle?: string;
  /** What the columns stand for, above them. */
  readonly columnTitle?: string;
  /** Darkest is the whole of its row, so rare classes show as well, or the largest value of all. Default 'row'. */
  readonly shading?: 'row' | 'largest';
  /** Width and height of a cell. Default 54, smaller if there are many columns. */
  readonly cell?: number;
}

const MARGIN = 36;
const LABEL_LIMIT = 230;
/** Column labels lean, so that long names stay readable without turning the head. */
const SLANT = 45;
/** White to the palette's blue. */
const SHADES = [
  [255, 255, 255],
  [0, 84, 144],
] as const;

/**
 * @returns an SVG document
 * @throws ConfigError if the values are not one row for each row label and one column for each column label
 */
export function matrixChart(options: MatrixChartOptions): string {
  const { title, rowLabels, columnLabels, values } = options;
  checkValues(rowLabels, columnLabels, values);
  const cell = options.cell ?? Math.max(30, Math.min(54, Math.floor(760 / columnLabels.length)));
  const numberSize = Math.min(16, cell * 0.32);
  const rows = rowLabels.map((label) => fitText(label, LABEL_LIMIT, LABEL_SIZE));
  const columns = columnLabels.map((label) => fitText(label, LABEL_LIMIT, LABEL_SIZE));
  const widest = (labels: readonly string[]) => Math.max(...labels.map((label) => measureText(label, LABEL_SIZE)));

  const head = heading(MARGIN, title, options.subtitle);
  const lean = Math.SQRT1_2 * (widest(columns) + LABEL_SIZE);
  const left = MARGIN + (options.rowTitle ? 30 : 0) + widest(rows) + 14;
  const top = head.bottom + (options.columnTitle ? 30 : 0) + lean + 10;
  const right = left + cell * columns.length;
  const bottom = top + cell * rows.length;
  const body = [...head.parts];
  if (options.columnTitle)
    body.push(
      text((left + right) / 2, head.bottom + 16, options.columnTitle, {
        size: LABEL_SIZE,
        anchor: 'middle',
        weight: 'bold',
      }),
    );
  if (options.rowTitle)
    body.push(
      text(MARGIN + 6, (top + bottom) / 2, options.rowTitle, {
        size: LABEL_SIZE,
        anchor: 'middle',
        align: 'middle',
        rotate: -90,
        weight: 'bold',
      }),
    );
  for (const [c, label] of columns.entries())
    body.push(text(left + cell * (c + 0.5), top - 12, label, { size: LABEL_SIZE, align: 'middle', rotate: -SLANT }));
  const largest = Math.max(...values.flat());
  for (const [r, row] of values.entries()) {
    const y = top + cell * r;
    body.push(text(left - 12, y + cell / 2, rows[r]!, { size: LABEL_SIZE, anchor: 'end', align: 'middle' }));
    const whole = options.shading === 'largest' ? largest : row.reduce((a, b) => a + b, 0);
    for (const [c, value] of row.entries()) {
      const share = whole > 0 ? value / whole : 0;
      body.push(rect(left + cell * c + 1, y + 1, cell - 2, cell - 2, value > 0 ? shade(share) : '#f4f6f8', 3));
      const colour = value === 0 ? '#b4bdc7' : share > 0.5 ? '#ffffff' : COLOURS.ink;
      const centre = left + cell * (c + 0.5);
      body.push(
        text(centre, y + cell / 2, tickLabel(value), { size: numberSize, anchor: 'middle', align: 'middle', colour }),
      );
    }
  }
  const headWidth = Math.max(measureText(title, 22, 'bold'), measureText(options.subtitle ?? '', LABEL_SIZE));
  const overhang = Math.SQRT1_2 * measureText(columns.at(-1)!, LABEL_SIZE) - cell / 2 + 8;
  const width = Math.max(right + Math.max(0, overhang), MARGIN + headWidth) + MARGIN;
  return svgDocument(width, bottom + MARGIN, title, body);
}

/** From white (0) to dark blue (1); any count above 0 is visibly not white. */
function shade(share: number): string {
  const weight = 0.1 + 0.9 * Math.min(1, share);
  const [from, to] = SHADES;
  const mixed = from.map((channel, i) => Math.round(channel + (to[i]! - channel) * weight));
  return `#${mixed.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`;
}

function checkValues(rows: readonly string[], columns: readonly string[], values: MatrixChartOptions['values']): void {
  if (rows.length === 0 || columns.length === 0)
    throw new ConfigError(`matrixChart: expected labels, got ${rows.length} rows and ${columns.length} columns`);
  const fits = values.length === rows.length && values.every((row) => row.length === columns.length);
  if (!fits)
    throw new ConfigError(
      `matrixChart: expected values [${rows.length}][${columns.length}] after the labels, got rows of [${values.map((row) => row.length).join(', ')}]`,
    );
  const wrong = values.flat().find((value) => !(value >= 0 && value < Infinity));
  if (wrong !== undefined) throw new ConfigError(`matrixChart: expected values of at least 0, got ${wrong}`);
}
