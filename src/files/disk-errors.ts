/** What a disk refuses: no room, no right to write, another file in the way. */
import { access, constants, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { requirePath } from '../config.js';
import { DiskError } from '../errors.js';
import { makeFolder } from './make-folder.js';

/** @throws DiskError if fewer than `bytes` are free where `path` will be */
export async function requireSpace(path: string, bytes: number): Promise<void> {
  const free = await freeBytes(path);
  if (free !== undefined && free < bytes) throw noSpaceError(path, { needed: bytes, free });
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'its folder is not there and cannot be made',
  EISDIR: 'a folder is in its place',
  ENOTDIR: 'a file is in the place of its folder',
  EEXIST: 'another file is in its place',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the disk is read-only',
  ENAMETOOLONG: 'its name is too long',
};

/** The error for a failure to write `path`. Errors that are not the system's stay as they are. */
export function writeError(cause: unknown, path: string): unknown {
  const { code, syscall, message } = cause as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return cause;
  if (code === 'ENOSPC' || code === 'EDQUOT') return noSpaceError(path, {}, cause);
  return new DiskError(`${path}: cannot be written: ${REASONS[code] ?? message}`, {
    hint: 'The folder must exist or be possible to make, and be writable.',
    details: { path, cause: code },
    cause,
  });
}

/** Runs what writes `path`. @throws DiskError for what the system refuses; other errors of `work` */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw writeError(cause, path);
  }
}

/**
 * Makes a folder for results, before the work that they cost.
 * @param what who wants it, e.g. `train: --output-dir`
 * @throws ConfigError for what is no path; DiskError if nothing can be written there
 */
export async function makeOutputFolder(path: string, what: string): Promise<void> {
  requirePath(path, what);
  await writing(path, async () => {
    await makeFolder(path);
    await access(path, constants.W_OK);
  });
}

function noSpaceError(path: string, sizes: { needed?: number; free?: number }, cause?: unknown): DiskError {
  const counts = sizes.needed === undefined ? '' : `: ${sizes.needed} bytes are needed, ${sizes.free} are free`;
  return new DiskError(`${path}: no space left on the disk${counts}`, {
    hint: 'Make room, or choose a folder on another disk. Downloads go on from the bytes received so far.',
    details: { path, cause: 'ENOSPC', ...sizes },
    cause,
  });
}

async function freeBytes(path: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(dirname(path));
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
