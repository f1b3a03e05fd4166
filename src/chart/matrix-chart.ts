/** A table of numbers with shading: the confusion matrix. */
import { ConfigError } from '../errors.js';
import { fitText, measureText, text } from './font.js';
import { COLOURS, heading, LABEL_SIZE, rect, svgDocument, tickLabel } from './svg.js';
import { format } from './svg-values.js';

interface MatrixChartOptions {
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
  /** Width and height of a cell. Default 54, smaller if there are many columns; too small for a number there is none. */
  readonly cell?: number;
}

const MARGIN = 36;
const LABEL_LIMIT = 230;
/** Column labels lean, so that long names stay readable without turning the head. */
const SLANT = 45;
/** Smaller cells have no numbers and no gaps. */
const SMALLEST_NUMBERED = 24;
/** Up to this many columns the cells are large enough for numbers. */
const NUMBERED = 48;
/** Pixels that the cells of a larger matrix take together, and the least that one takes. */
const DENSE_SIDE = 1500;
const SMALLEST_CELL = 2;
const LARGEST_DENSE_CELL = 20;
/** Levels of shading in a matrix without numbers: one path each. */
const LEVELS = 24;
const SMALLEST_LABEL = 9;
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
  const count = Math.max(rowLabels.length, columnLabels.length);
  const cell = options.cell ?? cellFor(count, columnLabels.length);
  const isNumbered = cell >= SMALLEST_NUMBERED;
  const labelSize = isNumbered ? LABEL_SIZE : Math.max(SMALLEST_LABEL, Math.min(LABEL_SIZE, cell - 2));
  // Of a large matrix every second, third, ... label, so that they do not cover each other.
  const every = Math.ceil((labelSize + 1) / cell);
  const rows = rowLabels.map((label) => fitText(label, LABEL_LIMIT, labelSize));
  const columns = columnLabels.map((label) => fitText(label, LABEL_LIMIT, labelSize));
  const widest = (labels: readonly string[]) =>
    labels.reduce((width, label) => Math.max(width, measureText(label, labelSize)), 0);

  const head = heading(MARGIN, title, options.subtitle);
  const lean = Math.SQRT1_2 * (widest(columns) + labelSize);
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
  for (const [c, label] of columns.entries()) {
    if (c % every > 0) continue;
    body.push(text(left + cell * (c + 0.5), top - 12, label, { size: labelSize, align: 'middle', rotate: -SLANT }));
  }
  for (const [r, label] of rows.entries()) {
    if (r % every > 0) continue;
    body.push(text(left - 12, top + cell * (r + 0.5), label, { size: labelSize, anchor: 'end', align: 'middle' }));
  }
  const largest = values.reduce((most, row) => row.reduce((a, b) => Math.max(a, b), most), 0);
  const shares = (row: readonly number[]) => {
    const whole = options.shading === 'largest' ? largest : row.reduce((a, b) => a + b, 0);
    return row.map((value) => (whole > 0 ? value / whole : 0));
  };
  body.push(...(isNumbered ? numberedCells : denseCells)(values, shares, left, top, cell));
  const headWidth = Math.max(measureText(title, 22, 'bold'), measureText(options.subtitle ?? '', LABEL_SIZE));
  const overhang = Math.SQRT1_2 * measureText(columns.at(-1)!, labelSize) - cell / 2 + 8;
  const width = Math.max(right + Math.max(0, overhang), MARGIN + headWidth) + MARGIN;
  return svgDocument(width, bottom + MARGIN, title, body);
}

function cellFor(count: number, columns: number): number {
  if (count <= NUMBERED) return Math.max(30, Math.min(54, Math.floor(760 / columns)));
  return Math.max(SMALLEST_CELL, Math.min(LARGEST_DENSE_CELL, Math.floor(DENSE_SIDE / count)));
}

type Cells = (
  values: MatrixChartOptions['values'],
  shares: (row: readonly number[]) => readonly number[],
  left: number,
  top: number,
  cell: number,
) => string[];

const numberedCells: Cells = (values, shares, left, top, cell) => {
  const body: string[] = [];
  const numberSize = Math.min(16, cell * 0.32);
  for (const [r, row] of values.entries()) {
    const y = top + cell * r;
    const shareOf = shares(row);
    for (const [c, value] of row.entries()) {
      const share = shareOf[c]!;
      body.push(rect(left + cell * c + 1, y + 1, cell - 2, cell - 2, value > 0 ? shade(share) : '#f4f6f8', 3));
      const colour = value === 0 ? '#b4bdc7' : share > 0.5 ? '#ffffff' : COLOURS.ink;
      const centre = left + cell * (c + 0.5);
      body.push(
        text(centre, y + cell / 2, tickLabel(value), { size: numberSize, anchor: 'middle', align: 'middle', colour }),
      );
    }
  }
  return body;
};

/** One path for each level of shading: a hundred thousand elements take a renderer minutes. */
const denseCells: Cells = (values, shares, left, top, cell) => {
  const paths = Array.from({ length: LEVELS + 1 }, (): string[] => []);
  for (const [r, row] of values.entries()) {
    const y = format(top + cell * r);
    for (const [c, share] of shares(row).entries()) {
      if (share === 0) continue;
      paths[Math.ceil(Math.min(1, share) * LEVELS)]!.push(`M${format(left + cell * c)} ${y}h${cell}v${cell}h-${cell}z`);
    }
  }
  const width = cell * values[0]!.length;
  const height = cell * values.length;
  return [
    rect(left, top, width, height, '#f4f6f8'),
    ...paths.flatMap((path, level) =>
      path.length > 0 ? [`<path fill="${shade(level / LEVELS)}" d="${path.join('')}"/>`] : [],
    ),
  ];
};

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
      `matrixChart: expected values [${rows.length}][${columns.length}] after the labels, got ${values.length} rows of [${values
        .slice(0, 12)
        .map((row) => row.length)
        .join(', ')}${values.length > 12 ? ', ...' : ''}]`,
    );
  for (const row of values) {
    const wrong = row.find((value) => !(value >= 0 && value < Infinity));
    if (wrong !== undefined) throw new ConfigError(`matrixChart: expected values of at least 0, got ${wrong}`);
  }
}
