/** Which columns of a table hold files, labels and splits, by their names and by what is in them. */
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { type ReadTableOptions, readTable, type Table, type TableRow } from './csv.js';
import type { FileIndex } from './file-index.js';
import { listNames, splitOfCell } from './folder-evidence.js';
import { IMAGE_ENDING } from './folder-tree.js';

const plain = (name: string): string => name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '');

const FILE_NAMES = new Set(
  'file filename filepath filepaths path paths image images imageid imageindex imagename imagepath img imgid imgname imgpath id idcode isicid picture photo name uuid'.split(
    ' ',
  ),
);
/** Of the first kind that occurs, a column is taken; two of one kind must say the same. */
const LABEL_NAMES = [
  'label labels labelname class classes classname classid category categoryname categoryid target 标签 类别 分类 ラベル クラス класс метка clase etiqueta classe étiquette klasse',
  'diagnosis dx breed species disease findinglabels findings finding condition type tag tags caption y',
].map((names) => new Set(names.split(' ')));
const SPLIT_NAMES = new Set('split set subset dataset phase partition usage'.split(' '));

/** What a label is read from: one column, or one column for each class. */
export type LabelColumns = { readonly column: string } | { readonly oneHot: readonly string[] };

/** Columns of sentences about images: classes only if they repeat. */
const TEXT_NAMES = new Set(
  'text caption captions description prompt title sentence report question answer comment url'.split(' '),
);
/** Columns that divide the rows, though not by usual words. */
const PART_NAMES = new Set('partition fold kfold istest istrain isval isvalid isvalidation isholdout'.split(' '));

const SAMPLED_ROWS = 500;

/** Fewer rows of a table of pixels, which has thousands of columns. */
const sample = ({ rows, columns }: Table): readonly TableRow[] =>
  rows.slice(0, Math.max(20, Math.min(SAMPLED_ROWS, Math.floor(50_000 / columns.length))));

/** A table, without a line of names where the first line names an image and the user says nothing of it. */
export async function readTableOf(
  files: FileIndex,
  path: string,
  options: ReadTableOptions,
): Promise<{ table: Table; isHeaderless: boolean }> {
  const table = await readTable(path, options);
  const isNamed = (name: string) => IMAGE_ENDING.test(name) && files.find(name, path).length > 0;
  const isHeaderless = options.header === undefined && !/\.(jsonl?|ndjson)$/i.test(path) && table.columns.some(isNamed);
  return { table: isHeaderless ? await readTable(path, { ...options, header: false }) : table, isHeaderless };
}

/** The column most of whose values are files of the tree, or undefined. */
export function fileColumnOf(table: Table, files: FileIndex): string | undefined {
  const scored = table.columns.map((column) => {
    const values = sample(table)
      .map((row) => row[column]!)
      .filter((value) => value !== '');
    const found = values.filter((value) => files.find(value, table.path).length > 0).length / (values.length || 1);
    const distinct = new Set(values).size / (values.length || 1);
    const hasEndings = values.some((value) => IMAGE_ENDING.test(value)) ? 0.3 : 0;
    const score = found + (FILE_NAMES.has(plain(column)) ? 0.3 : 0) + 0.2 * distinct + hasEndings;
    return { column, found, score };
  });
  const [best] = scored.filter(({ found }) => found >= 0.3).sort((a, b) => b.score - a.score);
  return best?.column;
}

export function splitColumnOf(table: Table): string | undefined {
  return table.columns.find((column) => {
    if (!SPLIT_NAMES.has(plain(column))) return false;
    const values = sample(table).flatMap((row) => (row[column] === '' ? [] : [row[column]!]));
    // Most are splits: one that is none will be asked about.
    return values.filter((value) => splitOfCell(value)).length > values.length / 2;
  });
}

/** A column that may divide the rows and cannot be read as splits, with some of its values. */
export function doubtfulSplit(table: Table): { column: string; values: string[] } | undefined {
  const column = table.columns.find((name) => PART_NAMES.has(plain(name)));
  if (column === undefined) return undefined;
  const values = [...new Set(sample(table).map((row) => row[column]!))].filter((value) => value !== '');
  return values.length > 1 && values.length <= 20 ? { column, values } : undefined;
}

/** Whether nearly every row has a value of its own: a sentence, not a class. */
function isText(rows: readonly TableRow[], column: string): boolean {
  return TEXT_NAMES.has(plain(column)) && 2 * new Set(rows.map((row) => row[column])).size > rows.length;
}

/** @throws DataError where two columns of equal right say different things, unless the first one does */
export function labelColumnsOf(
  table: Table,
  used: readonly (string | undefined)[],
  onDoubt: 'throw' | 'first' = 'throw',
): LabelColumns | undefined {
  const rows = sample(table);
  const others = table.columns.filter(
    (column) => !used.includes(column) && !PART_NAMES.has(plain(column)) && rows.some((row) => row[column] !== ''),
  );
  const oneHot = others.filter((column) => rows.every((row) => /^(?:[01](?:\.0+)?)?$/.test(row[column]!)));
  for (const names of LABEL_NAMES) {
    const known = others.filter((column) => names.has(plain(column)) && !isText(rows, column));
    if (known.length === 0 || (known.length === 1 && oneHot.length > 2 && oneHot.includes(known[0]!))) continue;
    const isNumeric = (column: string) => rows.every((row) => /^-?[\d.]*$/.test(row[column]!));
    const column = known.find((one) => !isNumeric(one)) ?? known[0]!;
    const other = known.find((one) => one !== column && !sayTheSame(rows, one, column));
    if (other === undefined || onDoubt === 'first') return { column };
    throw new DataError(
      `${oneLine(table.path)}: the classes may be in \`${oneLine(column)}\` or in \`${oneLine(other)}\``,
      {
        hint: `Write \`labelColumn: ${JSON.stringify(column)}\` for \`ImageFolder.fromTable\`.`,
        details: { path: table.path, columns: table.columns },
      },
    );
  }
  const single = rows.filter((row) => onesOf(row, oneHot).length === 1).length;
  if (oneHot.length >= 2 && single >= 0.5 * rows.length) return { oneHot };
  const [only, ...more] = others;
  const isClass = only !== undefined && more.length === 0 && !isText(rows, only) && !holdsObjects(rows, only);
  return isClass ? { column: only } : undefined;
}

/** Boxes of Hugging Face's `objects`, and other JSON of more than one value. */
function holdsObjects(rows: readonly TableRow[], column: string): boolean {
  return rows.some((row) => /^(?:\{.*\}|\[[[{].*\])$/s.test(row[column]!));
}

export function onesOf(row: TableRow, columns: readonly string[]): string[] {
  return columns.filter((column) => Number(row[column]) === 1);
}

function sayTheSame(rows: readonly TableRow[], one: string, other: string): boolean {
  const pairs = new Set(rows.map((row) => `${row[one]}\0${row[other]}`)).size;
  return pairs === new Set(rows.map((row) => row[one])).size && pairs === new Set(rows.map((row) => row[other])).size;
}

/** A column by name, or by position from 0. @throws DataError with the known names */
export function columnNamed(table: Table, wanted: string | number, option: string): string {
  const column = table.columns.find((name) => name === wanted) ?? table.columns[Number(wanted)];
  if (column !== undefined && (typeof wanted === 'number' || table.columns.includes(wanted))) return column;
  throw new DataError(`${oneLine(table.path)}: \`${option}\`: there is no column ${JSON.stringify(wanted)}`, {
    hint: `Columns: ${listNames(table.columns, 20)}. A table without a line of names: \`header: false\`, and columns by position.`,
    details: { path: table.path, columns: table.columns },
  });
}
