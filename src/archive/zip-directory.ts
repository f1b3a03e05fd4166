/** The table of contents of a zip archive, checked before anything is unpacked. */
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import yauzl from 'yauzl';
import { type DataError, reasonOf } from '../errors.js';
import { ArchiveError, shown, type ZipFault, zipError } from './archive-error.js';
import { sniffArchive } from './foreign-archive.js';
import { nameFault, nameKey } from './zip-entry-name.js';

/** What an archive may ask for. */
export interface ZipLimits {
  /** Default 1,000,000. */
  readonly maxEntries?: number | undefined;
  /** Bytes of all files unpacked. Default 1 TiB. */
  readonly maxTotalBytes?: number | undefined;
  /** Bytes of all files for each byte of the archive, once they are more than 64 MiB. Default 200. */
  readonly maxRatio?: number | undefined;
  /** Take names that are equal but for case or the form of Unicode. Default false. */
  readonly allowCaseConflicts?: boolean | undefined;
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
  /** Its bytes lie in the archive from `start` to before `end`. */
  readonly start: number;
  readonly end: number;
}

interface ZipDirectory {
  /** In the order of their bytes in the archive. */
  readonly files: readonly ZipEntry[];
  /** Folders that have an entry of their own. */
  readonly folders: readonly string[];
  /** Bytes of all files unpacked, as declared. */
  readonly totalBytes: number;
  /** Files that differ from others in case or the form of Unicode alone; empty unless `allowCaseConflicts`. */
  readonly conflicts: readonly string[];
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
 * @throws ArchiveError
 */
export async function readZipDirectory(file: FileHandle, path: string, limits: ZipLimits = {}): Promise<ZipDirectory> {
  const { size: archiveBytes } = await file.stat();
  const zip = await openZip(file, archiveBytes, path);
  try {
    const maxEntries = limits.maxEntries ?? 1_000_000;
    if (zip.entryCount > maxEntries) {
      // A count that the file is too short for is no claim, but damage.
      const isDamaged = zip.entryCount * RECORD_BYTES > archiveBytes;
      const why = `${zip.entryCount} entries; at most ${maxEntries} are taken`;
      throw zipError(path, why, { fault: isDamaged ? 'damaged' : 'limits' });
    }
    // A number, whatever its declared type; it moves on with each entry.
    const directoryStart = Number(zip.readEntryCursor);
    const listed: Listed[] = [];
    for await (const entry of zip.eachEntry()) listed.push(checkEntry(entry, path));
    const totalBytes = listed.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    requireWithinLimits(totalBytes, archiveBytes, limits, path);
    const conflicts = findConflicts(listed, path, limits.allowCaseConflicts ?? false);
    listed.sort((a, b) => a.entry.relativeOffsetOfLocalHeader - b.entry.relativeOffsetOfLocalHeader);
    const files: ZipEntry[] = [];
    let free = 0;
    for (const { name, entry } of listed) {
      const start = entry.relativeOffsetOfLocalHeader;
      const header = await zip.readLocalFileHeaderPromise(entry);
      const end = header.fileDataStart + entry.compressedSize;
      if (!header.fileName.equals(entry.fileNameRaw)) throw zipError(path, 'two names for one file', { entry: name });
      if (start < free || end > directoryStart) throw zipError(path, 'files that overlap', { entry: name });
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
    return { files, folders, totalBytes, conflicts };
  } catch (cause) {
    throw cause instanceof ArchiveError ? cause : zipError(path, reasonOf(cause), { fault: faultOf(cause), cause });
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
  const refuse = (why: string, fault: ZipFault): DataError => zipError(path, why, { entry: name, fault });
  const wrongName = nameFault(name);
  if (wrongName) throw refuse(wrongName, 'names');
  if (entry.generalPurposeBitFlag & 0x2041) throw refuse('an encrypted file', 'encrypted');
  const type = (entry.externalFileAttributes >>> 16) & FILE_TYPES;
  const isFolder = name.endsWith('/');
  if (type !== 0 && type !== REGULAR && type !== FOLDER) {
    throw refuse(type === 0o120000 ? 'a symbolic link' : 'a device, pipe or socket', 'links');
  }
  if ((type === FOLDER && !isFolder) || (isFolder && entry.uncompressedSize > 0)) {
    throw refuse('a folder and a file at once', 'names');
  }
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) {
    throw refuse(`compression method ${entry.compressionMethod}; stored and deflated are known`, 'method');
  }
  const sizes = [entry.uncompressedSize, entry.compressedSize, entry.relativeOffsetOfLocalHeader];
  if (!sizes.every(Number.isSafeInteger)) throw refuse('sizes beyond all measure', 'damaged');
  return { name, entry };
}

function requireWithinLimits(totalBytes: number, archiveBytes: number, limits: ZipLimits, path: string): void {
  const { maxTotalBytes = 2 ** 40, maxRatio = 200 } = limits;
  const most = Math.min(maxTotalBytes, Math.max(SMALL, maxRatio * archiveBytes));
  if (totalBytes <= most) return;
  const why = `${archiveBytes} bytes that unpack to ${totalBytes}; at most ${most} are taken`;
  throw zipError(path, why, { fault: 'limits' });
}

/**
 * No two files of one name, and no file with others below it.
 * @returns names that are equal but for case, where those are allowed
 */
function findConflicts(listed: readonly Listed[], path: string, areAllowed: boolean): string[] {
  const files = new Map<string, string>();
  const exact = new Set<string>();
  const conflicts: string[] = [];
  for (const { name } of listed) {
    if (name.endsWith('/')) continue;
    const key = nameKey(name);
    const other = files.get(key);
    if (other !== undefined && (!areAllowed || exact.has(name))) {
      const isCase = !exact.has(name);
      const why = `the same file as "${shown(other)}"${isCase ? ' on some systems' : ''}`;
      throw zipError(path, why, { entry: name, fault: isCase ? 'case' : 'names' });
    }
    if (other !== undefined) conflicts.push(name);
    files.set(key, name);
    exact.add(name);
  }
  if (files.size === 0) return conflicts;
  const seen = new Set<string>();
  for (const { name } of listed) {
    for (let slash = name.indexOf('/'); slash !== -1; slash = name.indexOf('/', slash + 1)) {
      const folder = name.slice(0, slash);
      if (seen.has(folder)) continue;
      seen.add(folder);
      if (!files.has(nameKey(folder))) continue;
      const why = slash === name.length - 1 ? 'a folder and a file at once' : 'a file below another file';
      if (exact.has(folder)) throw zipError(path, why, { entry: name, fault: 'names' });
      if (!areAllowed) throw zipError(path, `${why} on some systems`, { entry: name, fault: 'case' });
      conflicts.push(name);
    }
  }
  return conflicts;
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
    const foreign = await sniffArchive(file);
    if (foreign)
      throw zipError(path, foreign.what, { fault: foreign.isContent ? 'not-zip' : 'damaged', foreign, cause });
    throw zipError(path, reasonOf(cause), { fault: faultOf(cause), cause });
  }
}

/** Bytes of a directory record before its name, extra fields and comment. */
const RECORD_BYTES = 46;

/**
 * Reads only inside the file, whatever the archive claims: yauzl trusts its positions (one out of range would end the
 * process) and its lengths of buffers.
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

/** What the reader's own words are about. */
function faultOf(cause: unknown): ZipFault {
  const message = reasonOf(cause);
  if (/encrypt/i.test(message)) return 'encrypted';
  return /multi-disk|unsupported/i.test(message) ? 'method' : 'damaged';
}
