/** Files that appear under their name only when they are whole, and that outlast a power cut once they are there. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { requirePath } from './config.js';
import { ConfigError } from './errors.js';

/**
 * Writes a file under a temporary name in the target's folder (made if need be), flushes it to the disk, renames it to
 * `path` and flushes the folder. When anything fails the temporary file is removed, and what was at `path` before stays
 * as it was.
 * @param content the whole content, or a function that writes it piece by piece
 * @param flush false for a file in a folder that is flushed as a whole before it is used
 */
export async function writeFileAtomically(
  path: string,
  content: string | Uint8Array | ((file: FileHandle) => Promise<void>),
  { flush = true }: { readonly flush?: boolean } = {},
): Promise<void> {
  const folder = dirname(path);
  await makeFolder(folder);
  const temporary = join(folder, `.${basename(path)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`);
  try {
    const file = await open(temporary, 'wx');
    try {
      if (typeof content === 'function') await content(file);
      else await file.writeFile(content);
      if (flush) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    if (flush) await flushFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

const IN_THE_WAY: Readonly<Record<string, string>> = {
  EISDIR: 'a folder is in its place',
  ENOTDIR: 'a file is in the place of its folder',
  EEXIST: 'a file is in the place of its folder',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the disk is read-only',
  ENOSPC: 'the disk is full',
  ENAMETOOLONG: 'its name is too long',
};

/**
 * The same for a file that a caller names.
 * @param what who writes it, e.g. `renderPng`
 * @throws ConfigError for what is no path, and for a place where no file can be
 */
export async function writeNamedFile(path: string, content: string | Uint8Array, what: string): Promise<void> {
  requirePath(path, what);
  await writeFileAtomically(path, content).catch((cause: NodeJS.ErrnoException) => {
    throw new ConfigError(`${what}: ${path} cannot be written: ${IN_THE_WAY[cause.code ?? ''] ?? cause.message}`, {
      hint: 'Give the path of a file, in a folder that can be written to.',
      details: { path, code: cause.code },
      cause,
    });
  });
}

/** Makes a folder and those above it that are missing; all of them are on the disk then. */
export async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  // A name is part of the folder that holds it.
  for (let at = resolve(path); ; at = dirname(at)) {
    await flushFolder(dirname(at));
    if (at === resolve(first) || at === dirname(at)) return;
  }
}

/** Flushes the content of a file to the disk. */
export async function flushFile(path: string): Promise<void> {
  // Windows flushes only what is open for writing.
  const file = await open(path, process.platform === 'win32' ? 'r+' : 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Flushes the names in a folder to the disk. Does nothing where the system cannot do that to a folder, as on Windows. */
export async function flushFolder(path: string): Promise<void> {
  let folder: FileHandle;
  try {
    folder = await open(path, 'r');
  } catch (error) {
    if (process.platform === 'win32') return;
    throw error;
  }
  try {
    await folder.sync();
  } catch (error) {
    // Some network file systems have no such call.
    if (!['EINVAL', 'EPERM', 'ENOTSUP', 'EBADF'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await folder.close();
  }
}
