/** The table of contents of a zip archive, checked before anything is unpacked. */
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import yauzl from 'yauzl';
import { DataError } from '../errors.js';
import { nameFault, nameKey } from './zip-entry-name.js';

/** What an archive may ask for. */
export interface ZipLimits {
  /** Default 1,000,000. */
  readonly maxEntries?: number | undefined;
  /** Bytes of all files unpacked. Default 1 TiB. */
  readonly maxTotalBytes?: number | undefined;
  /** Bytes of all files for each byte of the archive, once they are more than 64 MiB. Default 200. */
  readonly maxRatio?: number | undefined;
}

/** A file in the archive. */
export interface ZipEntry {
  /** Path below the root, with `/`. */
  readonly name: string;
  /** Bytes unpacked, as declared. */
  readonly size: number;
  readonly crc32: number;
  /** Whether the bytes are deflated, or else stored as they are. */
  readonly deflated: boolean;
  /** Where its bytes stand in the archive: from `start` to before `end`. */
  readonly start: number;
  readonly end: number;
}

export interface ZipDirectory {
  /** In the order of their bytes in the archive. */
  readonly files: readonly ZipEntry[];
  /** Folders that have an entry of their own. */
  readonly folders: readonly string[];
  /** Bytes of all files unpacked, as declared. */
  readonly totalBytes: number;
}

const SMALL = 64 * 1024 * 1024;
const FILE_TYPES = 0o170000;
const REGULAR = 0o100000;
const FOLDER = 0o040000;

/**
 * Reads an archive's directory and the header of each file in it. Refused are names that lead out of the target folder
 * or that two files share (upper and lower case, and Unicode's forms, made equal), links, devices, encryption, methods
 * other than stored and deflated, files that overlap each other or the directory, and archives that declare more than
 * the limits.
 * @param file the open archive
 * @param path of it, for messages
 * @throws DataError
 */
export async function readZipDirectory(file: FileHandle, path: string, limits: ZipLimits = {}): Promise<ZipDirectory> {
  const { size: archiveBytes } = await file.stat();
  const zip = await openZip(file, archiveBytes, path);
  try {
    const maxEntries = limits.maxEntries ?? 1_000_000;
    if (zip.entryCount > maxEntries) throw zipError(path, `${zip.entryCount} entries; at most ${maxEntries} are taken`);
    // A number, whatever its declared type; it moves on with each entry.
    const directoryStart = Number(zip.readEntryCursor);
    const listed: Listed[] = [];
    for await (const entry of zip.eachEntry()) listed.push(checkEntry(entry, path));
    const totalBytes = listed.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    requireWithinLimits(totalBytes, archiveBytes, limits, path);
    requireDistinct(listed, path);
    listed.sort((a, b) => a.entry.relativeOffsetOfLocalHeader - b.entry.relativeOffsetOfLocalHeader);
    const files: ZipEntry[] = [];
    let free = 0;
    for (const { name, entry } of listed) {
      const start = entry.relativeOffsetOfLocalHeader;
      const header = await zip.readLocalFileHeaderPromise(entry);
      const end = header.fileDataStart + entry.compressedSize;
      if (!header.fileName.equals(entry.fileNameRaw)) throw zipError(path, 'two names for one file', name);
      if (start < free || end > directoryStart) throw zipError(path, 'files that overlap', name);
      free = end;
      if (name.endsWith('/')) continue;
      files.push({
        name,
        size: entry.uncompressedSize,
        crc32: entry.crc32,
        deflated: entry.compressionMethod === 8,
        start: header.fileDataStart,
        end,
      });
    }
    const folders = listed.flatMap(({ name }) => (name.endsWith('/') ? [name] : []));
    return { files, folders, totalBytes };
  } catch (cause) {
    throw cause instanceof DataError ? cause : zipError(path, messageOf(cause), undefined, cause);
  } finally {
    zip.close();
  }
}

interface Listed {
  readonly name: string;
  readonly entry: yauzl.Entry;
}

function checkEntry(entry: yauzl.Entry, path: string): Listed {
  const raw = entry.fileNameRaw;
  const name = yauzl.getFileNameLowLevel(entry.generalPurposeBitFlag, raw, entry.extraFields, true);
  const refuse = (why: string): DataError => zipError(path, why, name);
  const fault = nameFault(name);
  if (fault) throw refuse(fault);
  if (entry.generalPurposeBitFlag & 0x2041) throw refuse('an encrypted file');
  const type = (entry.externalFileAttributes >>> 16) & FILE_TYPES;
  const isFolder = name.endsWith('/');
  if (type !== 0 && type !== REGULAR && type !== FOLDER) {
    throw refuse(type === 0o120000 ? 'a symbolic link' : 'a device, pipe or socket');
  }
  if ((type === FOLDER && !isFolder) || (isFolder && entry.uncompressedSize > 0)) {
    throw refuse('a folder and a file at once');
  }
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) {
    throw refuse(`compression method ${entry.compressionMethod}; stored and deflated are known`);
  }
  const numbers = [entry.uncompressedSize, entry.compressedSize, entry.relativeOffsetOfLocalHeader];
  if (!numbers.every(Number.isSafeInteger)) throw refuse('sizes beyond all measure');
  return { name, entry };
}

function requireWithinLimits(totalBytes: number, archiveBytes: number, limits: ZipLimits, path: string): void {
  const { maxTotalBytes = 2 ** 40, maxRatio = 200 } = limits;
  const most = Math.min(maxTotalBytes, Math.max(SMALL, maxRatio * archiveBytes));
  if (totalBytes <= most) return;
  throw zipError(path, `${archiveBytes} bytes that unpack to ${totalBytes}; at most ${most} are taken`);
}

/** No two files of one name, and no file with others below it. */
function requireDistinct(listed: readonly Listed[], path: string): void {
  const files = new Map<string, string>();
  for (const { name } of listed) {
    if (name.endsWith('/')) continue;
    const key = nameKey(name);
    const other = files.get(key);
    if (other !== undefined) throw zipError(path, `the same file as "${shown(other)}" on some systems`, name);
    files.set(key, name);
  }
  if (files.size === 0) return;
  for (const { name } of listed) {
    const key = nameKey(name);
    if (name.endsWith('/') && files.has(key)) throw zipError(path, 'a folder and a file at once', name);
    for (let slash = key.indexOf('/'); slash !== -1; slash = key.indexOf('/', slash + 1)) {
      if (files.has(key.slice(0, slash))) throw zipError(path, 'a file below another file', name);
    }
  }
}

async function openZip(file: FileHandle, size: number, path: string): Promise<yauzl.ZipFile> {
  try {
    const zip = await yauzl.fromRandomAccessReaderPromise(new HandleReader(file, size), size, {
      decodeStrings: false,
      autoClose: false,
    });
    // Besides those that the iteration over its entries throws: an event that nobody hears would end the process.
    zip.on('error', () => undefined);
    return zip;
  } catch (cause) {
    throw zipError(path, await kindOf(file, messageOf(cause)), undefined, cause);
  }
}

/** Bytes of a directory record before its name, extra fields and comment. */
const RECORD_BYTES = 46;

/**
 * Reads only inside the file, whatever the archive's own numbers say: yauzl takes them as they are, for positions (one
 * out of range would end the process) and for the length of the buffers it makes.
 */
class HandleReader extends yauzl.RandomAccessReader {
  readonly #file: FileHandle;
  readonly #size: number;

  constructor(file: FileHandle, size: number) {
    super();
    this.#file = file;
    this.#size = size;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    if (!Number.isSafeInteger(position) || position < 0 || position + length > this.#size) {
      setImmediate(callback, new Error('an offset outside of the archive'));
      return;
    }
    this.#file.read(buffer, offset, length, position).then(
      ({ bytesRead }) => {
        const record = buffer.subarray(offset, offset + bytesRead);
        const more = length === RECORD_BYTES && position + RECORD_BYTES + variableBytes(record) > this.#size;
        if (more) callback(new Error('a directory record that is longer than the archive'));
        else callback(null, bytesRead);
      },
      (error: Error) => callback(error),
    );
  }

  /** Contents are read without this class. */
  override _readStreamForRange(): Readable {
    return Readable.from([]);
  }
}

/** Length of name, extra fields and comment that a directory record announces. */
function variableBytes(record: Buffer): number {
  if (record.length < RECORD_BYTES) return 0;
  return record.readUInt16LE(28) + record.readUInt16LE(30) + record.readUInt16LE(32);
}

/** What a file is that is no zip archive. */
async function kindOf(file: FileHandle, fault: string): Promise<string> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(512), 0, 512, 0);
  const head = buffer.subarray(0, bytesRead);
  const text = head.toString('latin1').trimStart();
  if (bytesRead === 0) return 'an empty file, where a zip archive was expected';
  if (head.toString('latin1', 0, 2) === '\x1f\x8b') return 'a gzip file, where a zip archive was expected';
  if (head.toString('latin1', 257, 262) === 'ustar') return 'a tar archive, where a zip archive was expected';
  if (text.startsWith('<')) return 'a web page, where a zip archive was expected';
  if (text.startsWith('{')) return 'JSON, where a zip archive was expected';
  return head.toString('latin1', 0, 2) === 'PK' ? fault : 'no zip archive';
}

/** The error for an archive that is not unpacked. */
export function zipError(path: string, why: string, entry?: string, cause?: unknown): DataError {
  return new DataError(`${path}: ${entry === undefined ? '' : `entry "${shown(entry)}": `}${why}`, {
    hint: 'The archive is damaged or not to be trusted. A download is repeated by the next call.',
    details: { path, ...(entry === undefined ? {} : { entry }) },
    cause,
  });
}

/** A name as it may be printed: it can be long, and hold anything. */
function shown(name: string): string {
  const plain = JSON.stringify(name).slice(1, -1);
  return plain.length > 120 ? `${plain.slice(0, 120)}…` : plain;
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
