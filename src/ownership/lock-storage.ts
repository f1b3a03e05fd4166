/** Lock files on the disk: made only if there is none, looked at, and removed only if they are the one that is meant. */
import { randomBytes } from 'node:crypto';
import { link, lstat, open, readlink, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { temporaryName } from '../files/atomic-file.js';
import { makeFolder } from '../files/make-folder.js';
import { readRegularFile } from '../files/regular-file.js';
import { formatLock, type LockOwner, MAX_LOCK_BYTES, parseLock } from './lock-file.js';

export interface SeenLock {
  readonly owner: LockOwner | undefined;
  /** Changes with each sign of life. */
  readonly state: string;
}

/** Makes the file with all its content, unless there is one. */
export async function createLock(path: string, owner: LockOwner): Promise<boolean> {
  const text = formatLock(owner);
  await makeFolder(dirname(path));
  const temporary = temporaryName(path);
  try {
    await writeNew(temporary, text);
    try {
      await link(temporary, path);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A server's answer may get lost, and the call be repeated: then the file exists, and is its own.
      if (code === 'EEXIST') return (await lookAtLock(path))?.owner?.token === owner.token;
      if (code === 'ENOENT') throw error;
    }
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
  try {
    await writeNew(path, text);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** On a full disk no file of nobody stays, which would be waited for until it is stale. */
async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(text);
  } catch (error) {
    await rm(path, { force: true }).catch(() => undefined);
    throw error;
  } finally {
    await file.close();
  }
}

/** @throws what the file system throws, for a file that cannot be looked at */
export async function lookAtLock(path: string): Promise<SeenLock | undefined> {
  try {
    // Opening asks a file server anew; its attributes alone may be an old answer.
    const text = await readRegularFile(path, MAX_LOCK_BYTES).then(String, (error: NodeJS.ErrnoException) => {
      if (error.code === 'EACCES' || error.code === 'EPERM') return '';
      throw error;
    });
    const { mtimeMs, ino } = await lstat(path);
    return { owner: parseLock(text), state: `${ino} ${mtimeMs} ${text}` };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw error;
    // A link that leads nowhere is in the way all the same, and would be for ever.
    const target = await readlink(path).catch(() => undefined);
    if (target === undefined) return undefined;
    const link = await lstat(path).catch(() => undefined);
    return link && { owner: undefined, state: `${link.ino} ${link.mtimeMs} ${target}` };
  }
}

/**
 * Removes a lock if it bears the token. It is taken aside first: should it be another's by then, it is put back.
 * @param leaveTrace leaves a file by which an owner that was only suspended learns of it
 */
export async function removeLock(path: string, token: string | undefined, leaveTrace = false): Promise<void> {
  const aside = leaveTrace && token ? takenName(path, token) : `${path}.${randomBytes(4).toString('hex')}.gone`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const found = (await lookAtLock(aside))?.owner?.token;
  if (found !== token) await link(aside, path).catch(() => undefined);
  else if (leaveTrace && token) return;
  await rm(aside, { force: true });
}

/** Beside the lock, when its owner gave no sign of life and lost it. */
export function takenName(path: string, token: string): string {
  return join(dirname(path), `${basename(path)}.taken-${token.slice(0, 36).replace(/[^\w-]/g, '')}`);
}
