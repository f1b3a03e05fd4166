/** Tables as data sets bring them: CSV with any usual separator, TSV, JSON Lines, or a JSON list of objects. */
import { DataError } from '../errors.js';
import { parseJson } from '../files/read-json.js';
import { openRegularFile, readRegularFile } from '../files/regular-file.js';
import { oneLine } from '../messages/one-line.js';

/** Column names in order, and a record for each row. Absent cells are ''. */
export interface Table {
  /** Absolute path. */
  readonly path: string;
  readonly columns: readonly string[];
  readonly rows: readonly TableRow[];
}

/** A row by column name. A value of JSON that is no text is written as JSON. */
export type TableRow = Readonly<Record<string, string>>;

export interface ReadTableOptions {
  /** Default: by the first line, one of `,` `;` tab `|`. */
  readonly separator?: string | undefined;
  /** Whether the first line holds the names of columns; else they are called 0, 1, … Default true. */
  readonly header?: boolean | undefined;
  /** Read no more than the first bytes of the file, to see what it is. */
  readonly headOnly?: boolean | undefined;
}

export const TABLE_ENDING = /\.(csv|tsv|jsonl|ndjson|json|txt)$/i;

/** A row takes some hundred bytes in memory: a million rows of a large competition have about 50 MB. */
const MAX_TABLE_BYTES = 268_435_456;
/** Some thousand rows of a usual table. */
const HEAD_BYTES = 262_144;
const MAX_COLUMNS = 20_000;

/** @throws DataError naming the file and the line */
export async function readTable(path: string, options: ReadTableOptions = {}): Promise<Table> {
  let bytes: Buffer;
  try {
    bytes = options.headOnly ? await readHead(path) : await readRegularFile(path, MAX_TABLE_BYTES);
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (cause as Error).message;
    throw new DataError(`${oneLine(path)}: cannot read the table: ${why}`, { details: { path }, cause });
  }
  if (bytes.subarray(0, 4).toString('latin1') === 'PAR1') {
    throw new DataError(`${oneLine(path)}: a Parquet file, which is not read here`, {
      hint: "Write it as CSV or JSON Lines, e.g. `df.to_json('metadata.jsonl', orient='records', lines=True)`.",
      details: { path },
    });
  }
  if (['504b0304', 'd0cf11e0'].includes(bytes.subarray(0, 4).toString('hex'))) {
    throw new DataError(`${oneLine(path)}: an Excel file or an archive, which is not read here`, {
      hint: 'Save the table as CSV in UTF-8, e.g. by `df.to_csv(…, index=False)`.',
      details: { path },
    });
  }
  const text = decodeText(bytes, path);
  if (/\.(jsonl|ndjson)$/i.test(path)) return jsonLines(text, path);
  if (/\.json$/i.test(path)) return jsonTable(bytes, text, path);
  return separated(text, path, options);
}

async function readHead(path: string): Promise<Buffer> {
  const { file, size } = await openRegularFile(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, HEAD_BYTES)), 0, undefined, 0);
    const bytes = buffer.subarray(0, bytesRead);
    return bytesRead === size ? bytes : bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
  } finally {
    await file.close();
  }
}

function decodeText(bytes: Buffer, path: string): string {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : 'utf-8';
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DataError(`${oneLine(path)}: the table is not UTF-8 text`, {
      hint: 'Save it as UTF-8, e.g. `iconv -f latin1 -t utf-8`.',
      details: { path },
      cause,
    });
  }
}

function separated(text: string, path: string, options: ReadTableOptions): Table {
  // Excel's own line that names the separator.
  const [said, own] = /^"?sep=([^"\r\n])"?\r?\n/i.exec(text) ?? [''];
  const fields = text.slice(said.length);
  const separator = options.separator ?? own ?? separatorOf(fields, path);
  const records = parseRecords(fields, separator, path, said === '' ? 1 : 2);
  const isCounted = (options.header ?? true) && dropCount(records);
  const first = (isCounted ? withIndexColumn(records) : records)[0]?.cells;
  if (!first) throw new DataError(`${oneLine(path)}: the table is empty`, { details: { path } });
  if (first.length > MAX_COLUMNS) throw rowError(path, 1, `more than ${MAX_COLUMNS} columns`);
  const hasHeader = options.header ?? true;
  const columns = hasHeader ? columnNames(first, path) : first.map((_, i) => String(i));
  const isWhole = ({ cells }: CsvRecord) =>
    cells.length >= Math.min(columns.length, 2) && cells.slice(columns.length).every((cell) => cell === '');
  const body = records.slice(hasHeader ? 1 : 0);
  const broken = body.filter((record) => !isWhole(record));
  if (broken.length > 0 && !(options.headOnly && broken.length < body.length / 2)) {
    const [{ cells, line }] = broken as [CsvRecord];
    const count = broken.length > 1 ? `, in this and ${broken.length - 1} other rows of ${body.length}` : '';
    throw rowError(
      path,
      line,
      `${cells.length} fields where ${columns.length} were expected${count}`,
      broken.length < body.length / 2
        ? `A ${separator === ',' ? 'comma' : 'separator'} inside a field must stand in quotes ("a${separator} b"): mend or remove such rows.`
        : undefined,
    );
  }
  const rows = body
    .filter(isWhole)
    .map(({ cells }) => Object.fromEntries(columns.map((name, i) => [name, (cells[i] ?? '').trim()])));
  return { path, columns, rows };
}

/** Takes out a first line that is nothing but the number of rows, as CelebA's lists begin. */
function dropCount(records: CsvRecord[]): boolean {
  const [first, names] = records;
  if (first?.cells.length !== 1 || Number(first.cells[0]) !== records.length - 2 || names!.cells.length < 2)
    return false;
  records.shift();
  return true;
}

/** The first line with a name more where every row has a field more than it: that of files has no name there. */
function withIndexColumn(records: readonly CsvRecord[]): readonly CsvRecord[] {
  const [first, ...rows] = records;
  const isShort = rows.length > 0 && rows.every(({ cells }) => cells.length === first!.cells.length + 1);
  return isShort ? [{ ...first!, cells: ['', ...first!.cells] }, ...rows] : records;
}

/** Names of columns: trimmed; one without a name, as an index that pandas wrote, is called by its position. */
function columnNames(cells: readonly string[], path: string): string[] {
  const names = cells.map((cell, i) => cell.trim() || String(i));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return names;
  throw new DataError(`${oneLine(path)}: two columns are called ${JSON.stringify(twice)}`, { details: { path } });
}

/** The most frequent candidate in the first line, outside quotes. */
function separatorOf(text: string, path: string): string {
  if (/\.tsv$/i.test(path)) return '\t';
  const end = text.search(/[\r\n]/);
  const line = (end < 0 ? text : text.slice(0, end)).slice(0, 100_000).replaceAll(/"[^"]*"/g, '');
  const count = (separator: string) => line.split(separator).length;
  const best = [',', ';', '\t', '|'].reduce((a, b) => (count(b) > count(a) ? b : a));
  // Lists of paths and labels: `train/1.jpg 3`.
  return count(best) === 1 && /\.txt$/i.test(path) && isListOfTwo(text) ? ' ' : best;
}

/** Whether the first lines have equally many words, two at least; a line that counts the others may stand before them. */
function isListOfTwo(text: string): boolean {
  const whole = text.length > 100_000 ? text.slice(0, text.lastIndexOf('\n', 100_000)) : text;
  const lines = whole.split(/\r?\n/, 100).filter((line) => line.trim() !== '');
  const isCounted = lines.length > 2 && /^\s*\d+\s*$/.test(lines[0]!);
  const counts = lines.slice(isCounted ? 2 : 0).map((line) => line.trim().split(/\s+/).length);
  return counts.length > 0 && counts[0]! >= 2 && counts.every((count) => count === counts[0]);
}

interface CsvRecord {
  /** Of its first line, from 1. */
  readonly line: number;
  readonly cells: string[];
}

/** RFC 4180, with any line ends. Empty lines are left out. Several spaces count as one separator. */
function parseRecords(text: string, separator: string, path: string, firstLine = 1): CsvRecord[] {
  const records: CsvRecord[] = [];
  let line = firstLine;
  let i = 0;
  while (i < text.length) {
    const start = line;
    const cells: string[] = [];
    for (;;) {
      let cell: string;
      if (text[i] === '"') {
        const from = i + 1;
        let end = text.indexOf('"', from);
        while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
        if (end < 0) throw rowError(path, start, 'a quote that is never closed');
        const quoted = text.slice(from, end);
        line += quoted.split('\n').length - 1;
        cell = quoted.replaceAll('""', '"');
        i = end + 1;
        while (i < text.length && !text.startsWith(separator, i) && text[i] !== '\n' && text[i] !== '\r')
          cell += text[i++];
      } else {
        const from = i;
        while (i < text.length && !text.startsWith(separator, i) && text[i] !== '\n' && text[i] !== '\r') i++;
        cell = text.slice(from, i);
      }
      if (!(separator === ' ' && cell === '')) cells.push(cell);
      if (i < text.length && text.startsWith(separator, i)) i += separator.length;
      else break;
    }
    if (text[i] === '\r') i++;
    if (text[i] === '\n' || text[i - 1] === '\r') {
      if (text[i] === '\n') i++;
      line++;
    }
    if (cells.some((cell) => cell.trim() !== '')) records.push({ line: start, cells });
  }
  return records;
}

function jsonLines(text: string, path: string): Table {
  const objects: unknown[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    try {
      objects.push(parseJson(Buffer.from(line)));
    } catch (cause) {
      throw rowError(path, i + 1, `no JSON: ${(cause as Error).message}`);
    }
  }
  return tableOf(objects, path);
}

/** A list of objects, JSON Lines under this ending, or one object of file names and classes. */
function jsonTable(bytes: Buffer, text: string, path: string): Table {
  let value: unknown;
  try {
    value = parseJson(bytes);
  } catch (cause) {
    if (/^\s*\{[^\n]*\}\r?\n\s*\{/.test(text)) return jsonLines(text, path);
    throw new DataError(`${oneLine(path)}: no JSON: ${(cause as Error).message}`, { details: { path }, cause });
  }
  if (Array.isArray(value)) return tableOf(value, path);
  const entries = Object.entries(value ?? {});
  if (entries.length > 0 && entries.every(([, label]) => typeof label === 'string' || typeof label === 'number')) {
    return tableOf(
      entries.map(([file, label]) => ({ file, label })),
      path,
    );
  }
  throw new DataError(`${oneLine(path)}: expected a list of objects, one for each image`, {
    hint: 'As in `[{"file_name": "1.jpg", "label": "cat"}, …]`, or `{"1.jpg": "cat", …}`.',
    details: { path },
  });
}

function tableOf(objects: readonly unknown[], path: string): Table {
  const columns = new Set<string>();
  const rows = objects.map((object, i) => {
    if (typeof object !== 'object' || object === null || Array.isArray(object)) {
      throw rowError(path, i + 1, 'expected an object with a file and a label');
    }
    const row: Record<string, string> = {};
    for (const [key, value] of Object.entries(object)) {
      columns.add(key);
      row[key] = typeof value === 'string' ? value.trim() : value === null ? '' : JSON.stringify(value);
    }
    return row;
  });
  if (rows.length === 0) throw new DataError(`${oneLine(path)}: the table is empty`, { details: { path } });
  return { path, columns: [...columns], rows: rows.map((row) => ({ ...blank(columns), ...row })) };
}

function blank(columns: ReadonlySet<string>): TableRow {
  return Object.fromEntries([...columns].map((name) => [name, '']));
}

function rowError(
  path: string,
  line: number,
  why: string,
  hint = 'Give `separator` if the fields are not separated by comma, semicolon, tab or bar.',
): DataError {
  return new DataError(`${oneLine(path)}, line ${line}: ${why}`, {
    hint,
    details: { path, line },
  });
}
