/** What a disk refuses, in words: no room, no right to write. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DiskError } from '../errors.js';

/** @throws DiskError if fewer than `bytes` are free where `path` will be */
export async function requireSpace(path: string, bytes: number): Promise<void> {
  const free = await freeBytes(path);
  if (free !== undefined && free < bytes) throw noSpaceError(path, { needed: bytes, free });
}

/** The error for a failure to write, in words for the common causes. */
export function writeError(cause: unknown, path: string): unknown {
  const { code, syscall } = cause as NodeJS.ErrnoException;
  // Others than those of the system have their own words.
  if (code === undefined || syscall === undefined) return cause;
  if (code === 'ENOSPC' || code === 'EDQUOT') return noSpaceError(path, {}, cause);
  return new DiskError(`${path}: cannot be written: ${(cause as Error).message}`, {
    hint: 'The folder must exist or be possible to make, and be writable.',
    details: { path, cause: code },
    cause,
  });
}

function noSpaceError(path: string, sizes: { needed?: number; free?: number }, cause?: unknown): DiskError {
  const numbers = sizes.needed === undefined ? '' : `: ${sizes.needed} bytes are needed, ${sizes.free} are free`;
  return new DiskError(`${path}: no space left on the disk${numbers}`, {
    hint: 'Make room, or choose a folder on another disk. What has arrived is kept and continued next time.',
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
