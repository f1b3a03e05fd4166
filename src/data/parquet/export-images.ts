/** Writes the images of Parquet files as files, with their classes in a metadata.jsonl beside them. */
import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DataError } from '../../errors.js';
import { requireSpace } from '../../files/disk-errors.js';
import { makeFolder } from '../../files/make-folder.js';
import { oneLine } from '../../messages/one-line.js';
import { type SplitName, splitInName } from '../folder-evidence.js';
import { imageFormatOf } from '../image-format.js';
import { type ChosenColumns, findImageColumns, type ImageColumns } from './image-columns.js';
import type { ParquetValue } from './page-values.js';
import { type ParquetColumn, ParquetFile } from './parquet-file.js';

export interface ParquetSource {
  readonly path: string;
  /** Below the folder that is read, with `/`. */
  readonly key: string;
}

/** Bytes written for each byte of a file, once they are more than 64 MiB: a dictionary can repeat one image for ever. */
const MAX_RATIO = 200;
const SMALL = 64 << 20;

/**
 * @param dir must not exist yet; gets `SPLIT/SHARD-ROW.ENDING` and `SPLIT/metadata.jsonl`
 * @throws DataError naming file, row group, column or row
 */
export async function exportImages(
  sources: readonly ParquetSource[],
  dir: string,
  options: ChosenColumns & { readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const splits = splitsOf(sources);
  await makeFolder(dir);
  for (const [shard, source] of sources.entries()) {
    const file = await ParquetFile.open(source.path);
    try {
      const columns = findImageColumns(file, options);
      const folder = join(dir, splits[shard]!);
      await makeFolder(folder);
      await requireSpace(join(folder, 'image'), file.bytesOf(columns.bytes));
      const table = await open(join(folder, 'metadata.jsonl'), 'a');
      try {
        await exportFile(file, columns, { folder, shard, table, key: source.key, signal: options.signal });
      } finally {
        await table.close();
      }
    } finally {
      await file.close();
    }
  }
}

interface Target {
  readonly folder: string;
  readonly shard: number;
  readonly table: FileHandle;
  readonly key: string;
  readonly signal: AbortSignal | undefined;
}

async function exportFile(file: ParquetFile, columns: ImageColumns, target: Target): Promise<void> {
  const values = (column: ParquetColumn) => file.values(column)[Symbol.asyncIterator]();
  const [images, labels, paths] = [values(columns.bytes), values(columns.label), columns.path && values(columns.path)];
  const most = Math.max(SMALL, MAX_RATIO * file.size);
  let written = 0;
  for (let row = 0; ; row++) {
    target.signal?.throwIfAborted();
    const [image, label, path] = [await images.next(), await labels.next(), await paths?.next()];
    if (image.done) return;
    const fault = (why: string, hint: string): DataError =>
      new DataError(`${oneLine(target.key)}: row ${row + 1}: ${why}`, { hint, details: { path: file.path, row } });
    const bytes = image.value as Buffer | null;
    if (bytes === null) {
      const named = Buffer.isBuffer(path?.value) ? path.value.toString('utf8').slice(0, 200) : undefined;
      throw fault(
        named === undefined ? 'no image' : `the image ${JSON.stringify(named)} is not in the file, its path alone is`,
        'Save the data set with its images: load_dataset in Python embeds them.',
      );
    }
    written += bytes.length;
    if (written > most) throw fault(`more than ${most} bytes of images`, 'Look at the file before you trust it.');
    const name = `${pad(target.shard, 5)}-${pad(row, 8)}${endingOf(bytes)}`;
    await writeFile(join(target.folder, name), bytes, { flag: 'wx' });
    const line = { file_name: name, label: classOf(label.value ?? null, columns, fault) };
    await target.table.write(`${JSON.stringify(line)}\n`);
  }
}

function classOf(
  value: ParquetValue | null,
  { classNames, label }: ImageColumns,
  fault: (why: string, hint: string) => DataError,
): string | null {
  if (value === null) return null;
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  if (!classNames) return String(value);
  const number = Number(value);
  if (number === -1) return null;
  const name = classNames[number];
  if (name !== undefined) return name;
  throw fault(`class ${number} of ${classNames.length}`, `The names of "${label.path}" are noted in the file.`);
}

const pad = (number: number, width: number): string => String(number).padStart(width, '0');

/** Told by its content; what is none keeps an image's name, so that it is found wanting when the folder is read. */
function endingOf(bytes: Buffer): string {
  const format = imageFormatOf(bytes.subarray(0, 512));
  return format === undefined || format === 'jpeg' ? '.jpg' : `.${format}`;
}

/** The split of each file: in its name, as `train-00000-of-00002.parquet`, or that of its folder, `train/0000.parquet`. */
function splitsOf(sources: readonly ParquetSource[]): SplitName[] {
  const found = sources.map(({ key }) => {
    const folder = dirname(key);
    const own = splitInName(basename(key));
    const above = folder === '.' ? undefined : splitInName(`${basename(folder)}.`);
    return { split: own ?? above, config: own === undefined && above !== undefined ? dirname(folder) : folder };
  });
  const configs = [...new Set(found.map(({ config }) => config))];
  if (configs.length > 1) {
    throw new DataError(`Parquet files in several folders: ${configs.map((one) => JSON.stringify(one)).join(', ')}`, {
      hint: 'They may be several forms of one data set. Name the folder that is meant: `dataDir`.',
      details: { folders: configs },
    });
  }
  const named = found.filter(({ split }) => split !== undefined).length;
  if (named > 0 && named < found.length) {
    const other = sources.filter((_, i) => found[i]!.split === undefined).map(({ key }) => key);
    throw new DataError(`no split in the names of ${other.slice(0, 5).map(oneLine).join(', ')}`, {
      hint: 'Leave them out: `ignorePatterns`.',
      details: { files: other },
    });
  }
  return found.map(({ split }) => split ?? 'train');
}
