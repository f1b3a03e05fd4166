/** Tables that lie among images: what they say, and whether it is what the folders say. */
import { basename } from 'node:path';
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import type { Table } from './csv.js';
import { FileIndex } from './file-index.js';
import { LAYOUTS } from './folder-doubts.js';
import type { Placement } from './folder-evidence.js';
import { imagesBelow, listNames, othersBelow, plainName, splitInName } from './folder-evidence.js';
import type { FolderNode, FoundFile } from './folder-tree.js';
import {
  fileColumnOf,
  type LabelColumns,
  labelColumnsOf,
  onesOf,
  readTableOf,
  splitColumnOf,
} from './table-columns.js';

/** A table with a column of files that are there. */
export interface TableEvidence {
  readonly path: string;
  readonly columns: readonly string[];
  readonly fileColumn: string;
  /** Columns are counted, since no line names them. */
  readonly isHeaderless: boolean;
  /** Undefined: no column looks like a class. */
  readonly labels: LabelColumns | undefined;
  /** Images of the first rows, with what the table calls them. */
  readonly named: ReadonlyMap<FoundFile, string>;
  /** Images of the first rows, with the row's cells. */
  readonly cells: ReadonlyMap<FoundFile, readonly string[]>;
  readonly covers: (folder: FolderNode) => boolean;
}

/** Columns that repeat where a file lies, whatever its class. */
const PLACE_COLUMN = /folder|dir|path|part|archive|batch|split|set\b/i;
const MAX_TABLES = 40;
/** Columns of boxes: what such a table labels is a part of an image. */
const BOX_COLUMN = /^(bbox.*|x_?min|y_?min|x1|y1|xcenter|x_center)\b/i;

/** Reads the first rows of the CSV, TSV and JSON Lines files of a tree. What cannot be read is no evidence. */
export async function findTables(tree: FolderNode): Promise<TableEvidence[]> {
  const candidates = othersBelow(tree).filter(({ key }) => /\.(csv|tsv|jsonl|ndjson)$/i.test(key));
  candidates.sort((a, b) => a.key.split('/').length - b.key.split('/').length || (a.key < b.key ? -1 : 1));
  if (candidates.length === 0) return [];
  const files = new FileIndex(tree.path, imagesBelow(tree));
  const found: TableEvidence[] = [];
  for (const { path } of candidates.slice(0, MAX_TABLES)) {
    const { table, isHeaderless } = await readTableOf(files, path, { headOnly: true }).catch(() => NO_TABLE);
    if (!table || table.rows.length === 0 || table.columns.some((name) => BOX_COLUMN.test(name))) continue;
    const fileColumn = fileColumnOf(table, files);
    if (fileColumn !== undefined) found.push({ ...evidenceOf(table, fileColumn, files), isHeaderless });
  }
  return found;
}

const NO_TABLE = { table: undefined, isHeaderless: false };

function evidenceOf(table: Table, fileColumn: string, files: FileIndex): Omit<TableEvidence, 'isHeaderless'> {
  // The answers of a sample submission are no labels. Of two columns of equal right whoever reads the table will hear.
  const isAnswers = /submission/i.test(basename(table.path));
  const labels = isAnswers ? undefined : labelColumnsOf(table, [fileColumn, splitColumnOf(table)], 'first');
  const named = new Map<FoundFile, string>();
  const cells = new Map<FoundFile, readonly string[]>();
  for (const row of table.rows.slice(0, 2000)) {
    const label = !labels ? '' : 'column' in labels ? row[labels.column]! : (onesOf(row, labels.oneHot)[0] ?? '');
    for (const file of files.find(row[fileColumn]!, table.path)) {
      named.set(file, label);
      cells.set(
        file,
        table.columns.flatMap((column) => (PLACE_COLUMN.test(column) ? [] : [row[column]!])),
      );
    }
  }
  const { path, columns } = table;
  const covers = (folder: FolderNode) => labels !== undefined && imagesBelow(folder).some((file) => named.has(file));
  return { path, columns, fileColumn, labels, named, cells, covers };
}

/**
 * The tables of Hugging Face's image folder that give classes: `metadata.csv` or `metadata.jsonl`.
 * @throws DataError for a metadata.parquet
 */
export function metadataOf(tree: FolderNode, tables: readonly TableEvidence[], warnings: string[]): string[] {
  const isMetadata = ({ path }: { path: string }) => /^metadata\.(csv|jsonl)$/i.test(basename(path));
  const metadata = tables.filter(isMetadata);
  const parquet = othersBelow(tree).find(({ path }) => basename(path).toLowerCase() === 'metadata.parquet');
  if (parquet && metadata.length === 0) {
    throw new DataError(`${oneLine(parquet.path)}: this table may hold the classes, and Parquet is not read here`, {
      hint: "Write it as metadata.jsonl, e.g. `df.to_json('metadata.jsonl', orient='records', lines=True)`, or leave it out: `ignore: ['metadata.parquet']`.",
      details: { path: parquet.path },
    });
  }
  const mute = metadata.filter(({ labels }) => !labels);
  for (const { path, columns } of mute) {
    warnings.push(
      `${oneLine(basename(path))} has no column of classes (${listNames(columns, 8)}); folders are taken as classes. If one is: \`ImageFolder.fromTable(…, { labelColumn: '…' })\``,
    );
  }
  return metadata.filter(({ labels }) => labels).map(({ path }) => path);
}

function callFor(tree: FolderNode, { path, fileColumn, labels, isHeaderless }: TableEvidence): string {
  const show = (column: string) => (isHeaderless ? column : JSON.stringify(column));
  const label = !labels ? "'…'" : 'column' in labels ? show(labels.column) : JSON.stringify(labels.oneHot.slice(0, 12));
  const options = `{ imageDir: ${JSON.stringify(tree.path)}, ${isHeaderless ? 'header: false, ' : ''}fileColumn: ${show(fileColumn)}, labelColumn: ${label} }`;
  return `\`ImageFolder.fromTable(${JSON.stringify(path)}, ${options})\``;
}

const saidBy = (table: TableEvidence): string =>
  `${oneLine(basename(table.path))} (columns ${listNames(table.columns, 10)}) names images`;

export function offerTable(error: DataError, tree: FolderNode, tables: readonly TableEvidence[]): DataError {
  const labelled = tables.filter(({ labels }) => labels);
  const table =
    labelled.find(({ path }) => splitInName(basename(path)) === 'train') ??
    labelled[0] ??
    tables.find(({ path, columns }) => columns.length > 1 && !/submission/i.test(basename(path)));
  if (!table) return error;
  const { hint = LAYOUTS } = error;
  const isOneOfSeveral = labelled.length > 1 && tablesToRead(tree, tables, tree.path, false).length > 1;
  const call = isOneOfSeveral ? `\`ImageFolder.fromTable(${JSON.stringify(tree.path)})\`` : callFor(tree, table);
  return error.with({
    summary: `${error.summary}; ${saidBy(table)}`,
    hint: `${table.labels ? 'Read the classes from the table' : 'If a column of the table holds classes'}: ${call}. ${hint}`,
    details: { ...error.details, table: table.path, columns: table.columns },
  });
}

/** @throws DataError if a table gives other classes than the folders */
export function checkTables(tree: FolderNode, placement: Placement, tables: readonly TableEvidence[]): void {
  const folderOf = new Map(placement.placed.map(({ file, className }) => [file, className]));
  for (const table of tables) {
    if (!table.labels) continue;
    const placed = [...table.cells].filter(([file]) => folderOf.has(file));
    const says = ([file, cells]: (typeof placed)[number]) =>
      cells.some((cell) => isAlike(folderOf.get(file)!, cell, true));
    if (placed.filter(says).length >= 0.95 * placed.length) continue;
    const pairs = [...table.named].flatMap(([file, label]) => {
      const folder = folderOf.get(file);
      return folder === undefined || label === '' ? [] : [{ folder, label }];
    });
    if (pairs.length === 0 || agree(pairs)) continue;
    const odd = pairs.find(({ folder, label }) => !isAlike(folder, label))!;
    const folders = [...new Set(pairs.map(({ folder }) => folder))];
    const labels = [...new Set(pairs.map(({ label }) => label))];
    throw new DataError(
      `${oneLine(tree.path)}: folders and table give different classes: the folders are ${listNames(folders)}, but ${saidBy(table)} as ${listNames(labels)}, e.g. ${JSON.stringify(odd?.label)} in \`${odd?.folder}\``,
      {
        hint: `Take the table: ${callFor(tree, table)}; or the folders: \`ignore: [${JSON.stringify(basename(table.path))}]\`.`,
        details: { path: tree.path, table: table.path, columns: table.columns },
      },
    );
  }
}

interface Pair {
  readonly folder: string;
  readonly label: string;
}

const letters = (name: string): string =>
  plainName(name)
    .replaceAll(/[^\p{L}\p{N}]/gu, '')
    .replace(/^0+(?=\d)/, '');

function isAlike(folder: string, label: string, isExact = false): boolean {
  const [a, b] = [letters(folder), letters(label)];
  if (a === b) return true;
  return !isExact && a.length > 2 && b.length > 2 && (a.includes(b) || b.includes(a));
}

/** Names that are alike, or enough rows in which each folder goes with one label. */
function agree(pairs: readonly Pair[]): boolean {
  if (pairs.filter(({ folder, label }) => isAlike(folder, label)).length >= 0.95 * pairs.length) return true;
  const labelsOf = new Map<string, Map<string, number>>();
  for (const { folder, label } of pairs) {
    const counts = labelsOf.get(folder) ?? new Map<string, number>();
    labelsOf.set(folder, counts.set(label, (counts.get(label) ?? 0) + 1));
  }
  const usual = [...labelsOf.values()].reduce((sum, counts) => sum + Math.max(...counts.values()), 0);
  const isOne = usual >= 0.95 * pairs.length && new Set(pairs.map(({ label }) => label)).size > 1;
  return isOne && pairs.length >= 3 * labelsOf.size;
}

/** The tables of a folder that `fromTable` reads. @throws DataError if there is none, or more than one may be meant */
export function tablesToRead(
  tree: FolderNode,
  tables: readonly TableEvidence[],
  dir: string,
  mustFind = true,
): string[] {
  const metadata = tables.filter(({ path }) => /^metadata\.(csv|jsonl)$/i.test(basename(path)));
  if (metadata.length > 0) return metadata.map(({ path }) => path);
  const labelled = tables.filter(({ labels }) => labels);
  const splits = new Set(labelled.map(({ path }) => splitInName(path.slice(tree.path.length))));
  if (labelled.length === 1 || (labelled.length > 1 && splits.size === labelled.length && !splits.has(undefined))) {
    return labelled.map(({ path }) => path);
  }
  if (!mustFind) return [];
  if (labelled.length > 1) {
    throw new DataError(
      `${oneLine(dir)}: which table has the classes: ${listNames(
        labelled.map(({ path }) => basename(path)),
        8,
      )}?`,
      {
        hint: `Name it, e.g. ${callFor(tree, labelled[0]!)}.`,
        details: { path: dir, tables: labelled.map(({ path }) => path) },
      },
    );
  }
  const all = othersBelow(tree).filter(({ path }) => /\.(csv|tsv|jsonl|ndjson|txt|json)$/i.test(path));
  throw new DataError(
    `${oneLine(dir)}: no table that names the images of this folder${
      all.length > 0
        ? `; there are ${listNames(
            all.map(({ key }) => key),
            6,
          )}`
        : ''
    }`,
    {
      hint: 'Name the table, and its columns by `fileColumn` and `labelColumn`.',
      details: { path: dir },
    },
  );
}
