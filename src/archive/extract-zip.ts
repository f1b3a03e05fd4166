/** Unpacks a zip archive of unknown origin. */
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { reasonOf, TuneError } from '../errors.js';
import { Crc } from '../files/crc.js';
import { requireSpace, writing } from '../files/disk-errors.js';
import { makeFolder } from '../files/make-folder.js';
import { exists } from '../files/regular-file.js';
import { zipError } from './archive-error.js';
import { readZipDirectory, type ZipEntry, type ZipLimits } from './zip-directory.js';

export interface ExtractOptions extends ZipLimits {
  readonly signal?: AbortSignal | undefined;
  /** After each file. */
  readonly onProgress?: ((progress: ExtractProgress) => void) | undefined;
}

interface ExtractProgress {
  readonly files: number;
  readonly totalFiles: number;
  /** Unpacked so far, and in all. */
  readonly bytes: number;
  readonly totalBytes: number;
}

/** The most that is read, and that is inflated, at a time. */
const CHUNK_BYTES = 64 * 1024;

/**
 * Unpacks an archive into a new folder, in flat memory. `readZipDirectory` says what is refused before the first byte
 * is written; then each file must have exactly its declared size and its checksum. Files get the usual permissions,
 * whatever the archive says. Names that are equal but for case are unpacked where `allowCaseConflicts` and the disk
 * allow it.
 * @param dir must not exist yet. After an error it is for the caller to remove.
 * @throws ArchiveError for one that is damaged or not to be trusted; DiskError when the disk is full or not writable; the signal's reason
 */
export async function extractZip(archive: string, dir: string, options: ExtractOptions = {}): Promise<void> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const file = await open(archive);
  try {
    const { files, folders, totalBytes, conflicts } = await readZipDirectory(file, archive, options);
    await requireSpace(dir, totalBytes);
    await writing(dir, () => mkdir(dir));
    if (conflicts.length > 0 && !(await distinguishesNames(dir))) {
      const more = conflicts.length > 1 ? `, and ${conflicts.length - 1} more like it` : '';
      throw zipError(archive, `the disk of ${dir} takes it for another file of the archive${more}`, {
        entry: conflicts[0],
        fault: 'case',
      });
    }
    const made = new Set([dir]);
    const ensureFolder = async (path: string): Promise<void> => {
      if (made.has(path)) return;
      await writing(path, () => makeFolder(path));
      made.add(path);
    };
    for (const folder of folders) await ensureFolder(join(dir, folder));
    let bytes = 0;
    for (const [index, entry] of files.entries()) {
      signal?.throwIfAborted();
      const path = join(dir, entry.name);
      await ensureFolder(dirname(path));
      await extractEntry(file, archive, entry, path, signal);
      bytes += entry.size;
      onProgress?.({ files: index + 1, totalFiles: files.length, bytes, totalBytes });
    }
  } finally {
    await file.close();
  }
}

/** Whether a folder holds two files whose names differ in case, or in the form of Unicode, alone. */
async function distinguishesNames(dir: string): Promise<boolean> {
  const probe = join(dir, '.case-\u00e9');
  const others = ['.CASE-\u00c9', '.case-e\u0301'].map((name) => join(dir, name));
  try {
    await writing(probe, async () => (await open(probe, 'wx')).close());
    return !(await Promise.all(others.map(exists))).includes(true);
  } finally {
    await rm(probe, { force: true });
  }
}

async function extractEntry(
  file: FileHandle,
  archive: string,
  entry: ZipEntry,
  path: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const target = await writing(path, () => open(path, 'wx'));
  const crc = new Crc('crc32');
  let size = 0;
  const receive = async (chunk: Buffer): Promise<void> => {
    size += chunk.length;
    if (size > entry.size) throw zipError(archive, `more than the ${entry.size} bytes declared`, { entry: entry.name });
    crc.update(chunk);
    await writing(path, async () => {
      for (let done = 0; done < chunk.length; ) {
        done += (await target.write(chunk, done, chunk.length - done)).bytesWritten;
      }
    });
  };
  const source = readRange(file, entry);
  try {
    if (entry.deflated) {
      const write = (chunk: Buffer, _encoding: string, done: (error?: Error) => void): void => {
        receive(chunk).then(() => done(), done);
      };
      const inflate = createInflateRaw({ chunkSize: chunkSizeFor(entry) });
      await pipeline(source, inflate, new Writable({ write }), signal ? { signal } : {});
    } else {
      for await (const chunk of source) await receive(chunk);
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof TuneError || !(cause instanceof Error)) throw cause;
    throw zipError(archive, reasonOf(cause), { entry: entry.name, cause });
  } finally {
    await target.close();
  }
  if (size !== entry.size) throw zipError(archive, `${size} of ${entry.size} bytes`, { entry: entry.name });
  if (crc.value !== entry.crc32) throw zipError(archive, 'the checksum does not match', { entry: entry.name });
}

/** A size is only declared: a small archive does not get a big buffer for it. */
function chunkSizeFor({ size, start, end }: ZipEntry): number {
  return Math.min(CHUNK_BYTES, Math.max(64, size), Math.max(1024, 2 * (end - start)));
}

async function* readRange(file: FileHandle, { start, end }: ZipEntry): AsyncGenerator<Buffer> {
  for (let position = start; position < end; ) {
    const length = Math.min(CHUNK_BYTES, end - position);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
