/** Images whose classes are in a table beside them: Hugging Face's metadata files, the CSV of a Kaggle competition. */
import { basename, dirname } from 'node:path';
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import { firstKey, listOf, MISSING, nameMap, wholeNumber } from './class-cells.js';
import type { Table, TableRow } from './csv.js';
import { FileIndex } from './file-index.js';
import type { PlacedImage, Placement } from './folder-evidence.js';
import {
  imagesBelow,
  listNames,
  othersBelow,
  type SplitName,
  splitInName,
  splitOfCell,
  splitsOf,
} from './folder-evidence.js';
import type { FolderNode, FoundFile } from './folder-tree.js';
import type { ImageReadOptions, ImageTableOptions } from './image-folder-options.js';
import {
  columnNamed,
  doubtfulSplit,
  fileColumnOf,
  labelColumnsOf,
  onesOf,
  readTableOf,
  splitColumnOf,
} from './table-columns.js';

interface TableReading extends Omit<ImageTableOptions, keyof ImageReadOptions | 'imageDir'> {
  readonly splits?: ImageReadOptions['splits'];
  /** Whether the user gives names to the classes. */
  readonly isNamed?: boolean | undefined;
}

/** Every image that a row names, with the row's class. @throws DataError naming table, row or column */
export async function placeByTables(
  tree: FolderNode,
  paths: readonly string[],
  options: TableReading,
): Promise<Placement> {
  const files = new FileIndex(tree.path, imagesBelow(tree));
  const others = new FileIndex(tree.path, othersBelow(tree));
  const warnings: string[] = [];
  const placed = new Map<FoundFile, PlacedImage & { row: string }>();
  const folderSplits = splitsByFile(tree, options);
  for (const path of paths) {
    const { table, isHeaderless } = await readTableOf(files, path, options);
    if (isHeaderless)
      warnings.push(
        `${oneLine(basename(path))}: the first line names an image and no columns, which are counted from 0: \`header: false\``,
      );
    const reader = new TableReader(table, { files, others, options, folderSplits, isOneOfSeveral: paths.length > 1 });
    const rows = reader.read(warnings);
    for (const one of rows) {
      const other = placed.get(one.file);
      if (other && (other.className !== one.className || other.split !== one.split)) {
        throw new DataError(
          `${oneLine(one.file.path)}: ${other.row} says ${JSON.stringify(other.className)} (${other.split}), ${one.row} says ${JSON.stringify(one.className)} (${one.split})`,
          {
            hint: 'An image can have one class: remove a row, or choose by `labelOf: (row) => …`.',
            details: { path: one.file.path },
          },
        );
      }
      placed.set(one.file, one);
    }
  }
  const names = new Set([...placed.values()].map(({ className }) => className));
  const isNumeric = [...names].every((name) => /^-?\d+(?:\.0+)?$/.test(name));
  const byNumber = isNumeric && !options.labelOf ? await nameMap(tree, paths, names, warnings) : undefined;
  const numbers = [...new Set([...names].map(wholeNumber))].sort((a, b) => Number(a) - Number(b));
  const classOrder = isNumeric ? numbers.map((number) => byNumber?.get(number) ?? number) : undefined;
  if (isNumeric && !byNumber && !options.isNamed) {
    warnings.push(
      `the classes are numbers (${listNames(numbers)}), and so are the answers that a model learns; names: \`classes: { ${numbers[0]}: '…', … }\``,
    );
  }
  const all = [...placed.values()].map(({ file, className, split }) => ({
    file,
    split,
    className: byNumber?.get(wholeNumber(className)) ?? (isNumeric ? wholeNumber(className) : className),
  }));
  warnUnnamed(files, placed, warnings);
  return {
    placed: all,
    warnings,
    unlabelled: [],
    classFolders: [],
    ...(classOrder && { classOrder: [...new Set(classOrder)] }),
  };
}

interface Surroundings {
  readonly files: FileIndex;
  /** Files that are no images. */
  readonly others: FileIndex;
  readonly options: TableReading;
  readonly folderSplits: ReadonlyMap<FoundFile, SplitName>;
  readonly isOneOfSeveral: boolean;
}

class TableReader {
  readonly #table: Table;
  readonly #around: Surroundings;
  readonly #name: string;

  constructor(table: Table, around: Surroundings) {
    this.#table = table;
    this.#around = around;
    this.#name = oneLine(basename(table.path));
  }

  read(warnings: string[]): (PlacedImage & { row: string })[] {
    const fileColumn = this.#fileColumn();
    const { splitColumn: wanted } = this.#around.options;
    const splitColumn =
      wanted === undefined ? splitColumnOf(this.#table) : columnNamed(this.#table, wanted, 'splitColumn');
    const labelOf = this.#around.options.labelOf ?? this.#labelReader(fileColumn, splitColumn);
    const split =
      splitInName(basename(this.#table.path)) ??
      (this.#around.isOneOfSeveral ? splitInName(basename(dirname(this.#table.path))) : undefined);
    const missing: string[] = [];
    const foreign: string[] = [];
    const unlabelled: string[] = [];
    const seen = new Map<FoundFile, string>();
    let repeated = 0;
    const placed = this.#table.rows.flatMap((row, i) => {
      const cell = row[fileColumn]!;
      const label: unknown = labelOf(row);
      if (label !== undefined && typeof label !== 'string') {
        throw this.#error(
          `\`labelOf\` gave ${showValue(label)} for row ${i + 1}`,
          'Return a class name, or undefined to leave the row out.',
        );
      }
      if (label === undefined || label === '') {
        unlabelled.push(cell);
        return [];
      }
      const file = this.#fileOf(cell, split);
      if (!file) {
        const [other] = this.#around.others.find(cell, this.#table.path);
        if (other) foreign.push(basename(other.path));
        else missing.push(cell);
        return [];
      }
      if (seen.get(file) === label) repeated++;
      seen.set(file, label);
      const own = this.#splitOf(row, splitColumn, i);
      const ofTable = this.#around.isOneOfSeveral
        ? (split ?? this.#around.folderSplits.get(file))
        : (this.#around.folderSplits.get(file) ?? split);
      return [{ file, className: label, split: own ?? ofTable ?? 'train', row: `row ${i + 1} of ${this.#name}` }];
    });
    if (placed.length === 0) {
      const example = missing[0] ?? foreign[0] ?? this.#table.rows[0]?.[fileColumn] ?? '';
      throw this.#error(
        missing.length > 0
          ? `none of ${missing.length + foreign.length} files of column \`${oneLine(fileColumn)}\` is there, e.g. ${JSON.stringify(example)}`
          : foreign.length > 0
            ? `none of ${foreign.length} files can be read as an image, e.g. ${JSON.stringify(example)}`
            : 'no row has a label',
        `Images lie e.g. at ${JSON.stringify(this.#around.files.files[0]?.key)}. Give \`imageDir\`, the folder of the images, or \`fileColumn\`.`,
      );
    }
    const report = (count: number, what: string, examples: readonly string[]) => {
      if (count > 0)
        warnings.push(
          `${this.#name}: ${count} ${what}${examples.length > 0 ? `, e.g. ${listNames(examples.slice(0, 3))}` : ''}`,
        );
    };
    report(
      missing.length,
      `of ${this.#table.rows.length} rows name files that are not there; they are left out`,
      missing,
    );
    report(
      foreign.length,
      `of ${this.#table.rows.length} rows name files that are no readable images; they are left out`,
      foreign,
    );
    report(unlabelled.length, `of ${this.#table.rows.length} rows have no label; they are left out`, unlabelled);
    report(repeated, 'rows repeat an earlier one', []);
    const doubt = this.#around.options.splitOf || splitColumn !== undefined ? undefined : doubtfulSplit(this.#table);
    if (doubt) {
      const { column, values } = doubt;
      const all = values.map((value) => `${JSON.stringify(value)}: '…'`);
      warnings.push(
        `${this.#name}: column \`${oneLine(column)}\` (${listNames(values)}) may divide the images and is not used; if so: \`splitColumn: ${JSON.stringify(column)}, splits: { ${all.slice(0, 5).join(', ')} }\``,
      );
    }
    if (2 * new Set(placed.map(({ className }) => className)).size > placed.length && placed.length >= 20) {
      warnings.push(
        `${this.#name}: ${new Set(placed.map(({ className }) => className)).size} classes for ${placed.length} images, as texts and measures are and classes are not; another column: \`labelColumn\``,
      );
    }
    return placed;
  }

  #fileColumn(): string {
    const { fileColumn } = this.#around.options;
    if (fileColumn !== undefined) return columnNamed(this.#table, fileColumn, 'fileColumn');
    const found = fileColumnOf(this.#table, this.#around.files);
    if (found !== undefined) return found;
    const [first] = this.#table.rows;
    throw this.#error(
      `no column names images of this folder; columns: ${listNames(this.#table.columns, 12)}, first row ${showValue(first)}`,
      `Give \`fileColumn\`, and \`imageDir\` if the images lie elsewhere. Images here: ${JSON.stringify(this.#around.files.files[0]?.key)}.`,
    );
  }

  /** @throws DataError for more labels than one in a row, and for what is no class */
  #labelReader(fileColumn: string, splitColumn: string | undefined): (row: TableRow) => string | undefined {
    const { labelColumn } = this.#around.options;
    const labels =
      typeof labelColumn === 'object'
        ? { oneHot: labelColumn.map((name) => columnNamed(this.#table, name, 'labelColumn')) }
        : labelColumn !== undefined
          ? { column: columnNamed(this.#table, labelColumn, 'labelColumn') }
          : labelColumnsOf(this.#table, [fileColumn, splitColumn]);
    if (!labels) {
      throw this.#error(
        `which column holds the class? Columns: ${listNames(this.#table.columns, 20)}`,
        "Write `labelColumn: '…'`; for one column of 0 and 1 for each class, a list of their names.",
      );
    }
    if ('oneHot' in labels) {
      const { oneHot } = labels;
      const several = this.#table.rows.filter((row) => onesOf(row, oneHot).length > 1);
      if (several.length > 0)
        throw this.#multiLabelError(
          several.length,
          onesOf(several[0]!, oneHot).join(', '),
          `columns ${listNames(oneHot)}`,
          `row.${oneHot[0]} === '1' ? … : undefined`,
        );
      return (row) => onesOf(row, oneHot)[0];
    }
    const { column } = labels;
    const read = this.#classReader(column);
    return (row) => read(row[column]!);
  }

  /** What a cell of the column is called as a class. @throws DataError for cells that are no classes */
  #classReader(column: string): (cell: string) => string {
    const key = JSON.stringify(column);
    const values = this.#table.rows.map((row) => row[column]!);
    const object = values.find((value) => value.startsWith('{') && value.endsWith('}'));
    if (object !== undefined) {
      const name = firstKey(object);
      throw this.#error(
        `column \`${oneLine(column)}\` holds JSON objects, not classes, e.g. ${oneLine(object.slice(0, 100))}`,
        `Choose what of it is the class: \`labelOf: (row) => JSON.parse(row[${key}])${name === undefined ? '…' : `[${JSON.stringify(name)}]`}\`.`,
      );
    }
    const lists = values.map(listOf);
    if (lists.some((list) => list !== undefined)) {
      const several = lists.flatMap((list, i) => (list && list.length > 1 ? [values[i]!] : []));
      if (several.length === 0) return (value) => (listOf(value) ?? [value])[0] ?? '';
      throw this.#multiLabelError(
        several.length,
        several[0]!,
        `column \`${oneLine(column)}\``,
        `JSON.parse(row[${key}])[0]`,
      );
    }
    const single = new Set(values);
    for (const mark of ['|', ';', ',', ' ']) {
      const several = values.filter((value) => {
        const parts = value.split(mark).map((part) => part.trim());
        return (
          parts.length > 1 &&
          (mark === '|'
            ? parts.some((part) => single.has(part))
            : parts.every((part) => part !== '' && single.has(part)))
        );
      });
      if (several.length > 0) {
        throw this.#multiLabelError(
          several.length,
          several[0]!,
          `column \`${oneLine(column)}\``,
          `row[${key}].includes(${JSON.stringify(mark)}) ? undefined : row[${key}]`,
          ` Where each is one name: \`labelOf: (row) => row[${key}]\`.`,
        );
      }
    }
    const measure = values.find((value) => /^-?\d*\.\d*[1-9]\d*$/.test(value));
    if (measure !== undefined) {
      throw this.#error(
        `column \`${oneLine(column)}\` holds measures such as ${measure}, not classes`,
        'Give another `labelColumn`, or make classes of it: `labelOf: (row) => …`.',
      );
    }
    return (value) => (MISSING.test(value) ? '' : value);
  }

  #multiLabelError(count: number, example: string, where: string, code: string, more = ''): DataError {
    return this.#error(
      `${count} of ${this.#table.rows.length} rows have several labels in ${where}, e.g. ${JSON.stringify(example)}; an image can have one class`,
      `Choose one, or leave such rows out: \`labelOf: (row) => ${code}\`.${more}`,
    );
  }

  #fileOf(cell: string, split: SplitName | undefined): FoundFile | undefined {
    const found = this.#around.files.find(cell, this.#table.path);
    if (found.length < 2) return found[0];
    const ofSplit = split === undefined ? [] : found.filter((file) => this.#around.folderSplits.get(file) === split);
    if (ofSplit.length === 1) return ofSplit[0];
    throw this.#error(
      `${JSON.stringify(cell)} may be ${found
        .slice(0, 3)
        .map(({ key }) => oneLine(key))
        .join(' or ')}`,
      'Give `imageDir`, the folder whose images the table names, or leave the others out by `ignore`.',
    );
  }

  #splitOf(row: TableRow, column: string | undefined, index: number): SplitName | undefined {
    const { splitOf, splits } = this.#around.options;
    if (splitOf) return splitOf(row);
    const cell = column === undefined ? '' : row[column]!;
    if (cell === '') return undefined;
    const given = splits && Object.hasOwn(splits, cell) ? splits[cell] : undefined;
    const split = given || splitOfCell(cell);
    if (split) return split;
    throw this.#error(
      `row ${index + 1}: ${JSON.stringify(cell)} in column \`${oneLine(column ?? '')}\` is no split`,
      `Write \`splits: { ${JSON.stringify(cell)}: 'test' }\`.`,
    );
  }

  #error(why: string, hint: string): DataError {
    return new DataError(`${oneLine(this.#table.path)}: ${why}`, {
      hint,
      details: { path: this.#table.path, columns: this.#table.columns },
    });
  }
}

/** The split of the folders above each image. */
function splitsByFile(root: FolderNode, { splits }: TableReading): Map<FoundFile, SplitName> {
  const found = new Map<FoundFile, SplitName>();
  const walk = (folder: FolderNode, split: SplitName | undefined): void => {
    if (split) for (const file of folder.images) found.set(file, split);
    const own = splitsOf(folder.folders, { splits });
    for (const inner of folder.folders) walk(inner, split ?? own.get(inner));
  };
  walk(root, undefined);
  return found;
}

function warnUnnamed(files: FileIndex, placed: ReadonlyMap<FoundFile, unknown>, warnings: string[]): void {
  const byFolder = new Map<string, number>();
  for (const file of files.files) {
    if (placed.has(file)) continue;
    const folder = file.key.split('/').slice(0, -1).join('/') || '.';
    byFolder.set(folder, (byFolder.get(folder) ?? 0) + 1);
  }
  if (byFolder.size === 0) return;
  const total = [...byFolder.values()].reduce((a, b) => a + b, 0);
  const where = [...byFolder].map(([folder, count]) => `${oneLine(folder)}: ${count}`);
  warnings.push(
    `${total} images are named by no row and left out (${where.slice(0, 4).join(', ')}${where.length > 4 ? ', …' : ''})`,
  );
}
