/**
 * The columns of a Parquet file as data sets of images have them: values and structs without repetition, plain or with
 * a dictionary. Anything else is refused by name. A page is held in memory at a time.
 */
import type { FileHandle } from 'node:fs/promises';
import { DataError, reasonOf } from '../../errors.js';
import { openRegularFile } from '../../files/regular-file.js';
import { oneLine } from '../../messages/one-line.js';
import { decompress } from './decompress.js';
import { decodeRuns, decodeValues, type ParquetValue, PLAIN } from './page-values.js';
import { listIn, numberIn, structIn, ThriftReader, type ThriftStruct, textIn } from './thrift.js';

export interface ParquetColumn {
  /** Names from the outermost, joined by dots. */
  readonly path: string;
  /** Physical type, by Parquet's number. */
  readonly type: number;
  /** Bytes of a value of fixed length. */
  readonly length: number;
  readonly isText: boolean;
  /** Levels of what may be missing: the value, and structs around it. */
  readonly optionalLevels: number;
  /** Whether it, or a struct around it, is a list. */
  readonly isRepeated: boolean;
}

/** Fewer than any image set needs would be a limit of ours; more is an attack on memory. */
const MAX_FOOTER = 64 << 20;
const MAX_PAGE = 1 << 30;
const MAX_PAGE_VALUES = 1 << 22;
const MAX_COLUMNS = 10_000;
/** A header holds statistics, which may quote a value. */
const HEADER_BYTES = [256, 64 << 10, 16 << 20];

export class ParquetFile {
  readonly path: string;
  readonly columns: ReadonlyMap<string, ParquetColumn>;
  readonly rows: number;
  /** What the writer noted, by key. */
  readonly notes: ReadonlyMap<string, string>;
  /** Bytes. */
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #groups: readonly ThriftStruct[];

  private constructor(path: string, handle: FileHandle, size: number, footer: ThriftStruct) {
    this.path = path;
    this.#handle = handle;
    this.size = size;
    this.columns = columnsOf(listIn(footer, 2) as readonly ThriftStruct[]);
    this.rows = numberIn(footer, 3) ?? 0;
    this.#groups = listIn(footer, 4).filter((group): group is ThriftStruct => group instanceof Map);
    this.notes = new Map(
      listIn(footer, 5).flatMap((note): [string, string][] => {
        const [key, value] = note instanceof Map ? [textIn(note, 1), textIn(note, 2)] : [];
        return key === undefined || value === undefined ? [] : [[key, value]];
      }),
    );
  }

  /** @throws DataError for what is no Parquet file, or an encrypted one */
  static async open(path: string): Promise<ParquetFile> {
    const { file: handle, size } = await openRegularFile(path);
    try {
      const tail = await readAt(handle, Math.max(0, size - 8), Math.min(8, size));
      const mark = tail.toString('latin1', 4);
      if (size < 12 || mark !== 'PAR1') throw new Error(mark === 'PARE' ? 'an encrypted file' : 'no Parquet file');
      const length = tail.readUInt32LE(0);
      if (length > Math.min(MAX_FOOTER, size - 12)) throw new Error(`metadata of ${length} bytes`);
      const footer = new ThriftReader(await readAt(handle, size - 8 - length, length)).struct();
      return new ParquetFile(path, handle, size, footer);
    } catch (cause) {
      await handle.close();
      throw parquetError(path, cause);
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  /** Bytes of a column, as its pages announce them. */
  bytesOf(column: ParquetColumn): number {
    return this.#groups.reduce((sum, group) => sum + (numberIn(this.#chunk(group, column), 6) ?? 0), 0);
  }

  /** All values of a column, null where one is missing. @throws DataError for what is damaged or not read here */
  async *values(column: ParquetColumn): AsyncGenerator<ParquetValue | null> {
    for (const [index, group] of this.#groups.entries()) {
      const rows = numberIn(group, 3) ?? 0;
      try {
        if (column.isRepeated) throw new Error('a list, where one value is expected');
        const chunk = this.#chunk(group, column);
        if (!chunk) throw new Error('no such column');
        let count = 0;
        for await (const page of this.#pages(chunk, column)) {
          count += page.length;
          yield* page;
        }
        if (count !== rows) throw new Error(`${count} values in ${rows} rows`);
      } catch (cause) {
        throw parquetError(this.path, cause, `row group ${index + 1}, column "${oneLine(column.path)}"`);
      }
    }
  }

  #chunk(group: ThriftStruct, column: ParquetColumn): ThriftStruct | undefined {
    for (const chunk of listIn(group, 1)) {
      if (!(chunk instanceof Map)) continue;
      const meta = structIn(chunk as ThriftStruct, 3);
      const path = listIn(meta, 3).map((part) => (Buffer.isBuffer(part) ? part.toString('utf8') : ''));
      if (path.join('.') === column.path) return meta;
    }
    return undefined;
  }

  async *#pages(chunk: ThriftStruct, column: ParquetColumn): AsyncGenerator<(ParquetValue | null)[]> {
    const wanted = numberIn(chunk, 5) ?? 0;
    const codec = numberIn(chunk, 4) ?? 0;
    const first = numberIn(chunk, 9) ?? -1;
    const dictionaryAt = numberIn(chunk, 11) ?? 0;
    let at = dictionaryAt > 0 && dictionaryAt < first ? dictionaryAt : first;
    const end = at + (numberIn(chunk, 7) ?? 0);
    if (at < 4 || end > this.size || end < at) throw new Error('pages outside of the file');
    let dictionary: ParquetValue[] | undefined;
    for (let count = 0; count < wanted; ) {
      const { header, length } = await this.#pageHeader(at, end);
      const [kind, size, stored] = [numberIn(header, 1), numberIn(header, 2) ?? -1, numberIn(header, 3) ?? -1];
      at += length;
      if (size < 0 || stored < 0 || size > MAX_PAGE || at + stored > end) throw new Error('a page of impossible size');
      const body = await readAt(this.#handle, at, stored);
      at += stored;
      if (kind === 2) {
        const facts = structIn(header, 7);
        const values = numberIn(facts, 1) ?? 0;
        dictionary = decodeValues(decompress(codec, body, size), values, PLAIN, column, undefined);
      } else if (kind === 0 || kind === 3) {
        const page = kind === 0 ? this.#pageV1(header, body, codec, size) : this.#pageV2(header, body, codec, size);
        // A run of what is missing, or of one entry, takes a few bytes for any number of values.
        if (page.count < 0 || page.count > Math.min(wanted - count, MAX_PAGE_VALUES))
          throw new Error('more values than announced');
        count += page.count;
        yield present(page, column, dictionary);
      }
    }
  }

  /** Headers have no length of their own: a few more bytes are read until one is whole. */
  async #pageHeader(at: number, end: number): Promise<{ header: ThriftStruct; length: number }> {
    for (const [i, most] of HEADER_BYTES.entries()) {
      const reader = new ThriftReader(await readAt(this.#handle, at, Math.max(0, Math.min(most, end - at))));
      try {
        const header = reader.struct();
        return { header, length: reader.position };
      } catch (error) {
        if (i === HEADER_BYTES.length - 1 || most >= end - at) throw error;
      }
    }
    throw new Error('no page header');
  }

  #pageV1(header: ThriftStruct, body: Buffer, codec: number, size: number): Page {
    const facts = structIn(header, 5);
    const whole = decompress(codec, body, size);
    return { count: numberIn(facts, 1) ?? -1, encoding: numberIn(facts, 2) ?? -1, levels: undefined, bytes: whole };
  }

  #pageV2(header: ThriftStruct, body: Buffer, codec: number, size: number): Page {
    const facts = structIn(header, 8);
    const [levels, repeats] = [numberIn(facts, 5) ?? 0, numberIn(facts, 6) ?? 0];
    if (levels < 0 || repeats !== 0 || levels > body.length) throw new Error('levels outside of the page');
    const values = body.subarray(levels);
    const isCompressed = facts?.get(7) !== false;
    return {
      count: numberIn(facts, 1) ?? -1,
      encoding: numberIn(facts, 4) ?? -1,
      levels: body.subarray(0, levels),
      bytes: isCompressed && values.length > 0 ? decompress(codec, values, size - levels) : values,
    };
  }
}

interface Page {
  readonly count: number;
  readonly encoding: number;
  /** Which values are there; undefined: before the values, with its length. */
  readonly levels: Buffer | undefined;
  readonly bytes: Buffer;
}

function present(
  { count, encoding, levels, bytes }: Page,
  column: ParquetColumn,
  dictionary: readonly ParquetValue[] | undefined,
): (ParquetValue | null)[] {
  if (column.optionalLevels === 0) return decodeValues(bytes, count, encoding, column, dictionary);
  let [runs, values] = [levels, bytes];
  if (!runs) {
    const length = bytes.length >= 4 ? bytes.readUInt32LE(0) : -1;
    if (length < 0 || 4 + length > bytes.length) throw new Error('levels outside of the page');
    [runs, values] = [bytes.subarray(4, 4 + length), bytes.subarray(4 + length)];
  }
  const width = Math.ceil(Math.log2(column.optionalLevels + 1));
  const presence = decodeRuns(runs, width, count);
  const presentCount = presence.reduce((sum, level) => sum + (level === column.optionalLevels ? 1 : 0), 0);
  const decoded = decodeValues(values, presentCount, encoding, column, dictionary);
  let next = 0;
  return Array.from(presence, (level) => (level === column.optionalLevels ? decoded[next++]! : null));
}

/** The leaves of a schema, which lists a tree from the root, each struct before what is in it. */
function columnsOf(elements: readonly ThriftStruct[]): Map<string, ParquetColumn> {
  if (elements.length > MAX_COLUMNS) throw new Error(`${elements.length} columns`);
  const columns = new Map<string, ParquetColumn>();
  let at = 0;
  const walk = (path: readonly string[], optionalLevels: number, isRepeated: boolean): void => {
    const element = elements[at++];
    if (!element || path.length > 40) throw new Error('a list of columns that breaks off');
    const isRoot = at === 1;
    const repetition = isRoot ? 0 : (numberIn(element, 3) ?? 0);
    const name = [...path, ...(isRoot ? [] : [textIn(element, 4) ?? ''])];
    const levels = optionalLevels + (repetition === 0 ? 0 : 1);
    const repeated = isRepeated || repetition === 2;
    const children = numberIn(element, 5) ?? 0;
    if (children > 0) {
      for (let i = 0; i < children; i++) walk(name, levels, repeated);
      return;
    }
    columns.set(name.join('.'), {
      path: name.join('.'),
      type: numberIn(element, 1) ?? -1,
      length: numberIn(element, 2) ?? 0,
      isText: numberIn(element, 6) === 0 || structIn(element, 10)?.has(1) === true,
      optionalLevels: levels,
      isRepeated: repeated,
    });
  };
  if (elements.length > 0) walk([], 0, false);
  return columns;
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) throw new Error('a file that breaks off');
    done += bytesRead;
  }
  return buffer;
}

function parquetError(path: string, cause: unknown, where?: string): DataError {
  if (cause instanceof DataError) return cause;
  return new DataError(`${oneLine(path)}: ${where ? `${where}: ` : ''}${reasonOf(cause)}`, {
    hint: 'Is the file whole? Data sets that are written otherwise: save the images as files, with load_dataset in Python.',
    details: { path },
    cause,
  });
}
