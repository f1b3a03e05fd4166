/** Answered samples as CSV and JSON Lines, written and read back. */
import { requirePath } from '../config.js';
import { ConfigError, DataError } from '../errors.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { readRegularFile } from '../files/regular-file.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import { requireClassNames } from './check-evaluation.js';
import { requireReport } from './check-report.js';
import { parseCsv } from './csv-records.js';
import type { EvaluatedSample, EvaluationReport } from './evaluation-report.js';

/** Columns of the CSV, keys of a line of JSON: always all of them, in this order. */
const COLUMNS = ['id', 'expected', 'predicted', 'correct', 'confidence', 'answer', 'scores'] as const;
type Column = (typeof COLUMNS)[number];

/** One sample as it is written, classes by name. */
interface Prediction extends Record<Column, unknown> {
  readonly id: string;
  readonly expected: string;
  /** null if the answer is no class. */
  readonly predicted: string | null;
  readonly correct: boolean;
  readonly confidence: number | null;
  readonly answer: string;
  readonly scores: readonly number[] | null;
}

/** Of a file of predictions. A sample of 1,000 classes takes some 20 KB. */
const MAX_BYTES = 1_073_741_824;

/**
 * One row for each sample: `id`, `expected` and `predicted` (class names; empty if the answer is no class), `correct` (true
 * or false), `confidence`, `answer`, `scores` (a JSON list in class order; empty outside mode `scored`). RFC 4180: lines end
 * with CRLF, texts are in quotes. A text that a spreadsheet would run as a formula, and one that begins with an
 * apostrophe, gets an apostrophe in front, which {@link readPredictions} removes.
 */
export function predictionsCsv(report: EvaluationReport): string {
  requireReport(report, 'predictionsCsv');
  const rows = report.samples.map((sample) => {
    const one = predictionOf(sample, report.classNames);
    return COLUMNS.map((column) => csvField(one[column])).join(',');
  });
  return [COLUMNS.join(','), ...rows, ''].join('\r\n');
}

/** One JSON object a line, with the keys of {@link predictionsCsv}; what is empty there is null. */
export function predictionsJsonl(report: EvaluationReport): string {
  requireReport(report, 'predictionsJsonl');
  return report.samples.map((sample) => `${JSON.stringify(predictionOf(sample, report.classNames))}\n`).join('');
}

/**
 * Writes the predictions; the file appears whole or not at all.
 * @param path ends with `.csv`, `.jsonl` or `.ndjson`
 * @throws ConfigError for another ending; DiskError where no file can be written
 * @example
 * ```ts
 * await writePredictions(report, 'predictions.csv'); // or .jsonl
 * ```
 */
export async function writePredictions(report: EvaluationReport, path: string): Promise<void> {
  requireReport(report, 'writePredictions');
  const text = isCsv(path, 'writePredictions') ? predictionsCsv(report) : predictionsJsonl(report);
  await writeNamedFile(path, text, 'writePredictions');
}

/**
 * Reads what {@link writePredictions} wrote: samples for `evaluator.report`.
 * @param classNames as the report has them: they give the labels
 * @throws DataError naming the line, for another format or classes that are not in `classNames`
 */
export async function readPredictions(path: string, classNames: readonly string[]): Promise<EvaluatedSample[]> {
  const csv = isCsv(path, 'readPredictions');
  requireClassNames(classNames, 'readPredictions');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(await readRegularFile(path, MAX_BYTES));
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (cause as Error).message;
    throw new DataError(`${oneLine(path)}: cannot read the predictions: ${why}`, { details: { path }, cause });
  }
  const labels = new Map(classNames.map((name, label) => [name, label]));
  const rows = csv ? csvRows(text, path) : jsonRows(text, path);
  return rows.map(([line, row]) => sampleOf(row, labels, new Place(path, line)));
}

function isCsv(path: unknown, what: string): boolean {
  requirePath(path, `${what}: \`path\``);
  const ending = /\.(csv|jsonl|ndjson)$/i.exec(path as string)?.[1]?.toLowerCase();
  if (ending !== undefined) return ending === 'csv';
  throw new ConfigError(`${what}: expected a file that ends with .csv, .jsonl or .ndjson, got ${showValue(path)}`);
}

function predictionOf(sample: EvaluatedSample, classNames: readonly string[]): Prediction {
  const { id, expected, predicted, confidence, answer, scores } = sample;
  return {
    id,
    expected: classNames[expected]!,
    predicted: predicted === null ? null : classNames[predicted]!,
    correct: predicted === expected,
    confidence: confidence ?? null,
    answer,
    scores: scores ?? null,
  };
}

/** What spreadsheets take for the beginning of a formula, wide forms included; the apostrophe, so that it can be undone. */
const FORMULA = /^(?:\s*[=+\-@＝＋－＠]|[\t\r\n'])/;

function csvField(value: unknown): string {
  if (value === null) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return `"${(FORMULA.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

class Place {
  constructor(
    readonly path: string,
    readonly line: number,
  ) {}

  fault(message: string, hint?: string): DataError {
    return new DataError(`${oneLine(this.path)}, line ${this.line}: ${message}`, {
      hint: hint ?? 'Files of predictions are those that writePredictions writes.',
      details: { path: this.path, line: this.line },
    });
  }
}

type Row = readonly [line: number, row: Readonly<Record<string, unknown>>];

function csvRows(text: string, path: string): Row[] {
  const [header, ...records] = parseCsv(text, path);
  const missing = COLUMNS.filter((column) => !header?.fields.includes(column));
  if (!header || missing.length > 0) throw new Place(path, 1).fault(`the columns ${missing.join(', ')} are missing`);
  const index = COLUMNS.map((column) => header.fields.indexOf(column));
  return records.map(({ line, fields }) => {
    const place = new Place(path, line);
    if (fields.length !== header.fields.length) {
      throw place.fault(`expected ${header.fields.length} fields, got ${fields.length}`);
    }
    const cell = Object.fromEntries(COLUMNS.map((column, i) => [column, fields[index[i]!]!])) as Record<Column, string>;
    const unguarded = (field: string) => (field.startsWith("'") ? field.slice(1) : field);
    const value = (field: string) => (field === '' ? null : parseValue(field, place));
    return [
      line,
      {
        id: unguarded(cell.id),
        expected: unguarded(cell.expected),
        // A class name is never empty.
        predicted: cell.predicted === '' ? null : unguarded(cell.predicted),
        confidence: value(cell.confidence),
        answer: unguarded(cell.answer),
        scores: value(cell.scores),
      },
    ];
  });
}

function jsonRows(text: string, path: string): Row[] {
  return text.split('\n').flatMap((content, i): Row[] => {
    if (content.trim() === '') return [];
    const place = new Place(path, i + 1);
    const row = parseValue(content, place);
    if (typeof row !== 'object' || row === null || Array.isArray(row)) throw place.fault('expected an object');
    return [[i + 1, row as Readonly<Record<string, unknown>>]];
  });
}

function parseValue(text: string, place: Place): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw place.fault(`expected JSON, got ${showValue(text)}`);
  }
}

function sampleOf(
  row: Readonly<Record<string, unknown>>,
  labels: ReadonlyMap<string, number>,
  place: Place,
): EvaluatedSample {
  const text = (column: Column): string => {
    const value = row[column];
    if (typeof value === 'string') return value;
    throw place.fault(`\`${column}\`: expected a string, got ${showValue(value)}`);
  };
  const label = (column: Column): number => {
    const found = labels.get(text(column));
    if (found !== undefined) return found;
    throw place.fault(
      `\`${column}\`: ${showValue(row[column])} is not in \`classNames\``,
      'Give the class names of the report that the file was written from.',
    );
  };
  const { confidence, scores, predicted } = row;
  const isShare = typeof confidence === 'number' && confidence >= 0 && confidence <= 1;
  if (confidence !== null && !isShare) {
    throw place.fault(`\`confidence\`: expected a number from 0 to 1, got ${showValue(confidence)}`);
  }
  const isList = Array.isArray(scores) && scores.length === labels.size && scores.every(Number.isFinite);
  if (scores !== null && !isList) {
    throw place.fault(`\`scores\`: expected a list of ${labels.size} numbers, got ${showValue(scores)}`);
  }
  return {
    id: text('id'),
    expected: label('expected'),
    predicted: predicted === null ? null : label('predicted'),
    answer: text('answer'),
    ...(isList && { scores: scores as readonly number[] }),
    ...(isShare && { confidence }),
  };
}
