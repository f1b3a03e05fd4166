/** One process at a time: a lock file that dies with its owner. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { writeError } from './partial-file.js';

/** Its owner touches a lock this often; one that nobody touched for so long is stale. Milliseconds. */
const TOUCH_MS = 10_000;
const STALE_MS = 300_000;

/** Tokens of the locks that this process holds: an old lock may bear the number that this process has now. */
const held = new Set<string>();

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told once if another holds the lock. */
  readonly onWait?: (() => void) | undefined;
  /** Between two looks at a lock that another holds, in milliseconds. Default 250. */
  readonly pollMs?: number | undefined;
}

/**
 * Runs `work` while holding the lock file `path`, and waits for others, in this process or another, to be done first.
 * A lock whose owner died is taken over: at once on this machine, after five minutes on another that shares the disk.
 * @throws what `work` throws; HubError if the file cannot be made; the signal's reason
 */
export async function withLock<T>(path: string, work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  const token = await acquire(path, options);
  const touch = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, TOUCH_MS);
  touch.unref();
  try {
    return await work();
  } finally {
    clearInterval(touch);
    // Whoever thought this lock stale has one of their own by now.
    if ((await ownerOf(path))?.token === token) await rm(path, { force: true });
    // Not before: a lock of this process that it does not hold is taken for that of a dead one.
    held.delete(token);
  }
}

async function acquire(path: string, { signal, onWait, pollMs = 250 }: LockOptions): Promise<string> {
  const token = randomUUID();
  for (let waited = false; ; ) {
    signal?.throwIfAborted();
    try {
      await mkdir(dirname(path), { recursive: true });
      const file = await open(path, 'wx');
      held.add(token);
      try {
        await file.writeFile(JSON.stringify({ token, pid: process.pid, host: hostname() }));
      } catch (cause) {
        // On a full disk a lock of nobody would stay, and be waited for until it is stale.
        held.delete(token);
        await rm(path, { force: true });
        throw cause;
      } finally {
        await file.close();
      }
      return token;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw writeError(cause, path);
    }
    if (await removeStale(path)) continue;
    if (!waited) onWait?.();
    waited = true;
    await delay(pollMs, undefined, signal && { signal }).catch(() => undefined);
  }
}

interface Owner {
  readonly token: string;
  readonly pid: number;
  readonly host: string;
}

async function ownerOf(path: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}

/** Takes a lock away whose owner is gone. */
async function removeStale(path: string): Promise<boolean> {
  const owner = await ownerOf(path);
  const touched = await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
  if (touched === undefined) return true;
  const abandoned = Date.now() - touched > STALE_MS;
  const dead = owner?.host === hostname() && (owner.pid === process.pid ? !held.has(owner.token) : !isAlive(owner.pid));
  if (!abandoned && !dead) return false;
  return breakLock(path, owner?.token);
}

/** Removes a stale lock, one process at a time: a second one would remove the lock of whoever came after the first. */
async function breakLock(path: string, token: string | undefined): Promise<boolean> {
  const breaking = `${path}.breaking`;
  try {
    await mkdir(breaking);
  } catch {
    // Left by a process that died in these few lines.
    const { mtimeMs } = await stat(breaking).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > STALE_MS) await rm(breaking, { recursive: true, force: true });
    return false;
  }
  try {
    if ((await ownerOf(path))?.token === token) await rm(path, { force: true });
    return true;
  } finally {
    await rm(breaking, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
