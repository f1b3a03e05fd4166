/**
 * One owner at a time, among the processes of all hosts and containers that share a disk. A lock is a file that is made
 * only if there is none. Whether an owner of the same boot and PID namespace lives is known at once. Any other one raises
 * a counter in the file every `beatMs`, and is taken for dead when somebody watched the file for `staleMs` without a
 * change; clocks are never compared. An owner calls `check` before it writes: it may have been suspended for longer.
 */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { temporaryName } from '../files/atomic-file.js';
import { lifeOf, ownIdentity } from '../files/process-identity.js';
import { exists } from '../files/regular-file.js';
import { oneLine } from '../messages/one-line.js';
import { silence, startBeating, stopBeating } from './heartbeat.js';
import { type Beating, HELD, LOST, RELEASED } from './heartbeat-round.js';
import { formatLock, type LockOwner, unlinkOwn } from './lock-file.js';
import { createLock, lookAtLock, removeLock, type SeenLock, takenName } from './lock-storage.js';

export type { LockOwner } from './lock-file.js';

const HELD_LOCKS: unique symbol = Symbol.for('ministral-tune.heldLocks');

/** In milliseconds; tests take shorter ones. A dead owner elsewhere is replaced after `staleMs`. */
export const lockTimes = { beatMs: 5_000, staleMs: 60_000, pollMs: 250 };

export interface TakeOptions {
  /** For people: what the lock is for, e.g. "training run". */
  readonly what: string;
  /** Whether to wait for a living owner, or to throw a {@link HeldError}. */
  readonly whenHeld: 'wait' | 'refuse';
  /**
   * Called once if it has to wait: for a living owner, or to see whether the owner still lives.
   * @param owner undefined if the file does not say
   */
  readonly onWait?: ((owner: LockOwner | undefined) => void) | undefined;
  /**
   * Leaves a file beside the lock of an owner that gave no sign of life, by which it learns that it was replaced should
   * it only have been suspended: for work that goes on for hours.
   */
  readonly leaveTrace?: boolean | undefined;
  /**
   * The token of an owner that is known to be lost, though its process may still exist: stopped, say. It finds the trace if
   * it wakes.
   */
  readonly heirOf?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Between two looks at a lock that another holds. Default as in {@link lockTimes}. */
  readonly pollMs?: number | undefined;
}

/** A living process holds the lock. Whoever takes locks puts it into words of its own. */
export class HeldError extends Error {
  readonly owner: LockOwner | undefined;

  constructor(path: string, owner: LockOwner | undefined) {
    super(`${path} is held by ${describeOwner(owner)}`);
    this.owner = owner;
  }
}

/** E.g. `a training run: process 1234 on host "gpu-1", since 2026-01-31T08:15:00.000Z, program train.mjs`. */
export function describeOwner(owner: LockOwner | undefined): string {
  if (!owner) return 'a process that its lock file does not name';
  const here = ownIdentity();
  const isOwn = held.has(owner.token) || (owner.pid === here.pid && lifeOf(owner) === 'alive');
  const apart = owner.space !== here.space && owner.host === here.host ? ' (in another container)' : '';
  return [
    // Of a file that anybody who shares the disk may have written.
    `${owner.what ? `a ${oneLine(owner.what)}: ` : ''}${isOwn ? 'this process' : `process ${owner.pid}`} on host "${oneLine(owner.host)}"${apart}`,
    ...(owner.since ? [`since ${oneLine(owner.since)}`] : []),
    ...(owner.program ? [`program ${oneLine(owner.program)}`] : []),
  ].join(', ');
}

/** Locks of this thread by token; global, so that a second copy of this package sees them too. */
const place = globalThis as { [HELD_LOCKS]?: Map<string, string> };
place[HELD_LOCKS] ??= new Map();
const held = place[HELD_LOCKS];

export class OwnerLock {
  readonly path: string;
  readonly #owner: LockOwner;
  readonly #seen = new Float64Array(new SharedArrayBuffer(8));
  readonly #state = new Int32Array(new SharedArrayBuffer(4));
  readonly #begins: NodeJS.Timeout | undefined;
  #checking: Promise<string | undefined> | undefined;
  #isReleased = false;

  private constructor(path: string, owner: LockOwner, isBrief: boolean) {
    this.path = path;
    this.#owner = owner;
    this.#seen[0] = Date.now();
    remember(owner.token, path);
    const { beatMs, staleMs } = lockTimes;
    const beating: Beating = {
      ...{ path, token: owner.token, text: formatLock(owner), temporary: temporaryName(path) },
      ...{ trace: takenName(path, owner.token), staleMs, seen: this.#seen, state: this.#state },
    };
    const begin = (): void => startBeating(beating, beatMs);
    // Most waits are for work of a moment, which needs no thread.
    if (isBrief) this.#begins = setTimeout(begin, beatMs / 5).unref();
    else begin();
  }

  get token(): string {
    return this.#owner.token;
  }

  /**
   * Makes the lock file; its folder is made if need be.
   * @throws HeldError; what the file system throws; the signal's reason
   */
  static async take(path: string, options: TakeOptions): Promise<OwnerLock> {
    const { what, whenHeld, onWait, leaveTrace, heirOf, signal, pollMs = lockTimes.pollMs } = options;
    const watch = new Watch(pollMs);
    for (let waited = false; ; ) {
      signal?.throwIfAborted();
      const before = await lookAtLock(path);
      const made = before ? undefined : await attempt(path, what);
      if (made) return new OwnerLock(path, made, whenHeld === 'wait');
      const seen = before ?? (await lookAtLock(path));
      if (seen) {
        const isHeir = heirOf !== undefined && seen.owner?.token === heirOf;
        const life = isHeir ? 'dead' : watch.judge(seen);
        if (life === 'dead') {
          await takeAway(path, seen, isHeir || (leaveTrace === true && watch.wasWatched));
          continue;
        }
        if (life === 'alive' && whenHeld === 'refuse') throw new HeldError(path, seen.owner);
      }
      // Else somebody was faster, and is gone already.
      if (seen || whenHeld === 'wait') {
        if (!waited) onWait?.(seen?.owner);
        waited = true;
      }
      await delay(pollMs, undefined, signal && { signal }).catch(() => undefined);
    }
  }

  /** The owner of a lock that another may hold; undefined if there is none, or it is known to be dead. */
  static async ownerOf(path: string): Promise<LockOwner | undefined> {
    const owner = (await lookAtLock(path).catch(() => undefined))?.owner;
    return owner && (held.has(owner.token) || lifeOf(owner) !== 'dead') ? owner : undefined;
  }

  /** Whether there is a lock whose owner is known to be dead. */
  static async isDead(path: string): Promise<boolean> {
    const owner = (await lookAtLock(path).catch(() => undefined))?.owner;
    return owner !== undefined && !held.has(owner.token) && lifeOf(owner) === 'dead';
  }

  /**
   * Whether the lock is still its owner's: to be asked before each write that another owner would suffer from. One that
   * was removed by hand is restored.
   * @returns undefined, or how it was lost
   */
  check(): Promise<string | undefined> {
    this.#checking = this.#check();
    return this.#checking;
  }

  async #check(): Promise<string | undefined> {
    const { token } = this.#owner;
    let seen = await lookAtLock(this.path);
    // It may be in the middle of being restored, on a disk without hard links.
    for (let look = 0; look < 3 && seen && !seen.owner; look++) {
      await delay(lockTimes.pollMs);
      seen = await lookAtLock(this.path);
    }
    if (seen?.owner?.token === token) {
      this.#seen[0] = Date.now();
      return undefined;
    }
    // It was given back meanwhile.
    if (this.#isReleased) return undefined;
    if (seen?.owner) Atomics.compareExchange(this.#state, 0, HELD, LOST);
    if (seen) return `it was taken over by ${describeOwner(seen.owner)}`;
    const silentMs = Date.now() - this.#seen[0]!;
    const wasTaken =
      silentMs > lockTimes.staleMs ||
      Atomics.load(this.#state, 0) === LOST ||
      (await exists(takenName(this.path, token)));
    if (wasTaken) return 'another process took it over, and has ended since';
    return (await createLock(this.path, this.#owner)) ? undefined : this.#check();
  }

  /** Removes the lock file if it is still its owner's. */
  async release(): Promise<void> {
    const { token } = this.#owner;
    this.#isReleased = true;
    Atomics.store(this.#state, 0, RELEASED);
    await this.#checking?.catch(() => undefined);
    clearTimeout(this.#begins);
    stopBeating(token);
    try {
      const seen = await lookAtLock(this.path);
      if (seen?.owner?.token === token) await removeLock(this.path, token);
      else await rm(takenName(this.path, token), { force: true });
    } catch {
      // The next one finds its owner dead, or silent.
    }
    // Not before: a lock of this process that it does not hold has only its signs of life to speak for it.
    forget(token);
  }
}

/** Follows a lock that another holds. */
class Watch {
  /** Whether the last `dead` follows from the lack of signs of life alone. */
  wasWatched = false;
  #state: string | undefined;
  #token: string | undefined;
  #last = 0;
  #unchangedMs = 0;
  readonly #pollMs: number;

  /** @param pollMs between two looks */
  constructor(pollMs: number) {
    this.#pollMs = pollMs;
  }

  judge({ owner, state }: SeenLock): 'alive' | 'dead' | 'unknown' {
    this.wasWatched = false;
    if (owner && held.has(owner.token)) return 'alive';
    const life = owner ? lifeOf(owner) : 'unknown';
    // Another thread or a second copy of this package may hold it under this very identity, or have lost it; a worker
    // thread of another process may have been ended. Only signs of life show which.
    const isUnsure = life === 'alive' && (owner?.pid === ownIdentity().pid || owner?.thread !== undefined);
    if (life !== 'unknown' && !isUnsure) return life;
    const now = performance.now();
    const isSame = state === this.#state;
    const isSign = !isSame && this.#state !== undefined && owner?.token === this.#token;
    // A watcher that was suspended has not watched.
    this.#unchangedMs = isSame ? this.#unchangedMs + Math.min(now - this.#last, 4 * this.#pollMs) : 0;
    this.#last = now;
    this.#state = state;
    this.#token = owner?.token;
    if (isSign) return 'alive';
    if (this.#unchangedMs < lockTimes.staleMs) return 'unknown';
    this.wasWatched = true;
    return 'dead';
  }
}

function newOwner(what: string): LockOwner {
  const program = process.argv[1];
  return {
    token: randomUUID(),
    ...ownIdentity(),
    ...(threadId !== 0 && { thread: threadId }),
    what,
    since: new Date().toISOString(),
    ...(program ? { program: basename(program) } : {}),
  };
}

/** The owner of the lock if it could be made. */
async function attempt(path: string, what: string): Promise<LockOwner | undefined> {
  const owner = newOwner(what);
  // Before others in this process can see the file.
  remember(owner.token, path);
  let isMade = false;
  try {
    isMade = await createLock(path, owner);
  } finally {
    if (!isMade) forget(owner.token);
  }
  return isMade ? owner : undefined;
}

/** Removes the lock of a dead owner, one process at a time: a second one would remove that of the first one's heir. */
async function takeAway(path: string, seen: SeenLock, leaveTrace: boolean): Promise<void> {
  const breaking = `${path}.breaking`;
  const owner = newOwner('removal of a lock');
  remember(owner.token, breaking);
  try {
    if (!(await createLock(breaking, owner))) return await removeOldBreaking(breaking);
    try {
      const isSame = (await lookAtLock(path))?.state === seen.state;
      if (isSame) await removeLock(path, seen.owner?.token, leaveTrace);
    } finally {
      await removeLock(breaking, owner.token).catch(() => undefined);
    }
  } finally {
    forget(owner.token);
  }
}

/** Left by a process that died between two of the lines above, on this host or elsewhere. */
async function removeOldBreaking(breaking: string): Promise<void> {
  const watch = new Watch(lockTimes.pollMs);
  for (let seen = await lookAtLock(breaking); seen; seen = await lookAtLock(breaking)) {
    const life = watch.judge(seen);
    if (life === 'alive') return void (await delay(lockTimes.pollMs / 5));
    if (life === 'dead') return removeLock(breaking, seen.owner?.token);
    await delay(lockTimes.pollMs);
  }
}

function remember(token: string, path: string): void {
  if (held.size === 0) process.on('exit', releaseAll);
  held.set(token, path);
}

function forget(token: string): void {
  held.delete(token);
  if (held.size === 0) process.off('exit', releaseAll);
}

function releaseAll(): void {
  silence();
  for (const [token, path] of held) unlinkOwn(path, token);
}
