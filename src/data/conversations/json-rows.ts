/** Rows of a JSON Lines file or of a JSON list, indexed by their places: the file may be larger than the memory. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { DataError } from '../../errors.js';
import { JsonFault, parseJson } from '../../files/read-json.js';
import { openRegularFile } from '../../files/regular-file.js';
import { formatBytes } from '../../messages/format-bytes.js';
import { oneLine } from '../../messages/one-line.js';
import { findJsonFault } from './json-fault.js';
import { type RowExtent, scanLines, scanValues } from './json-scan.js';

/** Images as base64 take megabytes; a file without line ends would be one row. */
const MAX_ROW_BYTES = 268_435_456;
const CHUNK_BYTES = 1_048_576;
/** Up to this size the text stays in memory: opening a file for each row takes longer than parsing it. */
const KEPT_BYTES = 67_108_864;

/** What files that are no JSON begin with, and what to do about them. */
const FOREIGN: readonly (readonly [start: string, what: string, hint: string])[] = [
  ['PAR1', 'a Parquet file', "write it as JSON Lines, in Python: Dataset.from_parquet(path).to_json('rows.jsonl')"],
  ['ARROW1', 'an Arrow file', "write it as JSON Lines, in Python: Dataset.from_file(path).to_json('rows.jsonl')"],
  ['\x1f\x8b', 'compressed with gzip', 'unpack it first'],
  ['\x28\xb5\x2f\xfd', 'compressed with zstd', 'unpack it first'],
  ['PK\x03\x04', 'a zip archive', 'unpack it first'],
  ['\xff\xfe', 'UTF-16', 'save it as UTF-8'],
  ['\xfe\xff', 'UTF-16', 'save it as UTF-8'],
  ['version https://git-lfs', 'a pointer of Git LFS, not the file itself', 'fetch the file with `git lfs pull`'],
];

export class JsonRowFile {
  /** Absolute path. */
  readonly path: string;
  readonly #extents: RowExtent[] = [];
  readonly #size: number;
  readonly #modified: number;
  /** From the first byte of the file, if it is small. */
  #content: Buffer | undefined;

  private constructor(path: string, size: number, modified: number) {
    this.path = path;
    this.#size = size;
    this.#modified = modified;
  }

  /** Number of rows. */
  get length(): number {
    return this.#extents.length;
  }

  /** How messages call a row: `train.jsonl:12` is its line. */
  nameOf(index: number): string {
    return `${oneLine(basename(this.path))}:${this.#extents[index]!.line}`;
  }

  /**
   * Reads the file once, handing each row to `visit`.
   * @param keptBytes size up to which the text stays in memory, so that the file may change
   * @throws DataError for what cannot be read or is no JSON, with line and column
   */
  static async scan(
    path: string,
    visit: (row: unknown, index: number, file: JsonRowFile) => void | Promise<void>,
    keptBytes = KEPT_BYTES,
  ): Promise<JsonRowFile> {
    const shown = oneLine(path);
    const { file: handle, size } = await openRegularFile(path).catch((cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'ENOENT' ? 'no such file' : cause.message;
      throw new DataError(`${shown}: cannot read the conversations: ${why}`, {
        hint: 'give the path of a .jsonl or .json file',
        details: { path },
        cause,
      });
    });
    try {
      const { mtimeMs } = await handle.stat();
      const rows = new JsonRowFile(path, size, mtimeMs);
      const head = Buffer.alloc(64);
      const { bytesRead } = await handle.read(head, 0, head.length, 0);
      const start = head.subarray(0, bytesRead);
      refuseForeign(start, shown, path);
      const skip = start.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])) ? 3 : 0;
      if (size <= keptBytes) rows.#content = await readAll(handle, 0, size);
      const content = rows.#content;
      const chunks = async function* (): AsyncGenerator<Buffer, void, undefined> {
        for (let at = skip; at < size; ) {
          const end = Math.min(at + CHUNK_BYTES, size);
          const chunk = content?.subarray(at, end) ?? (await readAll(handle, at, end));
          if (chunk.length === 0) return;
          at += chunk.length;
          yield chunk;
        }
      };
      const isList = await startsWithList(chunks());
      const scan = isList || !(await firstLineIsWhole(chunks(), path)) ? scanValues : scanLines;
      for await (const item of scan(chunks(), { start: skip, maxBytes: MAX_ROW_BYTES, isList })) {
        if ('fault' in item) throw faultAt(rows, item.line, item.column, item.fault);
        const { bytes, extent, column } = item;
        const row = parseRow(bytes, rows, extent.line, column);
        rows.#extents.push(extent);
        await visit(row, rows.length - 1, rows);
      }
      return rows;
    } finally {
      await handle.close();
    }
  }

  /** @throws DataError if the file is another than it was */
  async read(index: number): Promise<unknown> {
    const { start, end, line } = this.#extents[index]!;
    if (this.#content) return parseRow(this.#content.subarray(start, end), this, line, 0);
    const file = await open(this.path).catch((cause: Error) => {
      throw new DataError(`${oneLine(this.path)}: cannot be read any more: ${cause.message}`, {
        hint: 'leave the file in its place while its rows are used',
        details: { path: this.path },
        cause,
      });
    });
    try {
      const { size, mtimeMs } = await file.stat();
      if (size !== this.#size || mtimeMs !== this.#modified) {
        throw new DataError(`${oneLine(this.path)}: the file was changed after it was loaded`, {
          hint: 'load it again',
          details: { path: this.path },
        });
      }
      const bytes = await readAll(file, start, end);
      return parseRow(bytes, this, line, 0);
    } finally {
      await file.close();
    }
  }
}

/** The bytes from `start` to `end`, or fewer if the file has become shorter. */
async function readAll(file: FileHandle, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(end - start);
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

function refuseForeign(start: Buffer, shown: string, path: string): void {
  const text = start.toString('latin1');
  const found = FOREIGN.find(([begin]) => text.startsWith(begin));
  if (!found) return;
  throw new DataError(`${shown}: expected JSON Lines or a JSON list, got ${found[1]}`, {
    hint: found[2],
    details: { path },
  });
}

async function startsWithList(chunks: AsyncIterable<Buffer>): Promise<boolean> {
  for await (const chunk of chunks) {
    for (const byte of chunk) if (byte > 0x20) return byte === 0x5b;
  }
  return false;
}

/** A file called .json may hold one object over several lines. Lines that are broken stay lines in any other file. */
async function firstLineIsWhole(chunks: AsyncIterable<Buffer>, path: string): Promise<boolean> {
  if (!path.toLowerCase().endsWith('.json')) return true;
  for await (const item of scanLines(chunks, { start: 0, maxBytes: MAX_ROW_BYTES, isList: false })) {
    if ('fault' in item) return false;
    try {
      parseJson(item.bytes, { anyKey: true });
      return true;
    } catch {
      return false;
    }
  }
  return true;
}

function parseRow(bytes: Uint8Array, file: JsonRowFile, line: number, column: number): unknown {
  try {
    return parseJson(bytes);
  } catch (cause) {
    // Limits of size and depth, and text that is no UTF-8, are said by the reader.
    if (cause instanceof JsonFault) throw faultAt(file, line, column, cause.message, cause);
    const text = Buffer.from(bytes).toString('utf8');
    const { at, expected } = findJsonFault(text);
    const before = text.slice(0, at).split('\n');
    const here = before.length === 1 ? column + at : before.at(-1)!.length;
    const found = at < text.length ? `, found ${JSON.stringify(text.slice(at, at + 12))}` : '';
    throw faultAt(file, line + before.length - 1, here, `expected ${expected}${found}`, cause);
  }
}

function faultAt(file: JsonRowFile, line: number, column: number, fault: string, cause?: unknown): DataError {
  const why = fault === 'size' ? `a row of more than ${formatBytes(MAX_ROW_BYTES)}` : fault;
  return new DataError(`${oneLine(file.path)}: line ${line}, column ${column + 1}: no JSON: ${why}`, {
    hint: 'expected one object a line (.jsonl), or one list of objects (.json)',
    details: { path: file.path, line, column: column + 1 },
    cause,
  });
}

export async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
}
