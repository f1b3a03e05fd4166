/**
 * A lock file: a line of JSON about its owner, and a line with a counter that the owner raises as long as it lives.
 * Synchronous, for a worker thread and the end of a process.
 */
import { closeSync, futimesSync, linkSync, openSync, readFileSync, readSync, unlinkSync, writeSync } from 'node:fs';
import type { ProcessIdentity } from '../files/process-identity.js';

/** Who holds a lock. */
export interface LockOwner extends ProcessIdentity {
  /** Random, of this one taking. */
  readonly token: string;
  /** The worker thread that holds it, which may end before its process does; missing for the main thread. */
  readonly thread?: number | undefined;
  /** For people: what is held, e.g. "training run". */
  readonly what?: string | undefined;
  /** When it was taken, by the owner's clock. */
  readonly since?: string | undefined;
  /** Name of the program's file: its arguments may hold secrets. */
  readonly program?: string | undefined;
}

/** Far more than an owner takes; what is longer is no lock. */
export const MAX_LOCK_BYTES = 4096;
const COUNTER_DIGITS = 12;

export function formatLock(owner: LockOwner): string {
  return `${JSON.stringify(owner)}\n${counter(0)}\n`;
}

/** The owner that a lock names; undefined for anything else, such as a file that was cut off. */
export function parseLock(text: string): LockOwner | undefined {
  let json: Partial<Record<keyof LockOwner, unknown>> | null;
  try {
    json = JSON.parse(text.split('\n', 1)[0]!);
  } catch {
    return undefined;
  }
  if (typeof json !== 'object' || json === null) return undefined;
  // Checked by hand: a worker's program can import no package.
  const { token, host, pid } = json;
  if (typeof token !== 'string' || typeof host !== 'string' || !Number.isInteger(pid) || (pid as number) < 1) {
    return undefined;
  }
  const string = (value: unknown) => (typeof value === 'string' ? value : undefined);
  const number = (value: unknown) => (typeof value === 'number' ? value : undefined);
  return {
    token,
    host,
    pid: pid as number,
    space: string(json.space),
    bootTime: number(json.bootTime),
    started: number(json.started),
    thread: number(json.thread),
    what: string(json.what),
    since: string(json.since),
    program: string(json.program),
  };
}

/** Shows that the owner lives, where the lock is still its own. Gives the token of whoever holds it. */
export function beat(path: string, token: string, count: number): string | undefined {
  // The one that is read is the one that is written to, whatever its name is by then.
  const file = openSync(path, 'r+');
  try {
    const bytes = Buffer.alloc(MAX_LOCK_BYTES);
    const held = bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0));
    const line = held.indexOf(10);
    const holder = parseLock(held.toString())?.token;
    if (holder !== token || line < 0) return holder;
    try {
      writeSync(file, counter(count), line + 1);
    } catch {
      // A full disk that copies on write has no room even for that.
      const now = new Date();
      futimesSync(file, now, now);
    }
    return holder;
  } finally {
    closeSync(file);
  }
}

/**
 * Restores a lock that is gone.
 * @param temporary a free name beside it
 * @returns whether nobody else has it: it is restored, or cannot be made, as on a full disk or without its folder
 */
export function writeAgain(path: string, text: string, temporary: string): boolean {
  // A lock that is seen to be empty would be taken for another's.
  for (const at of [temporary, path]) {
    let isMade = false;
    try {
      const file = openSync(at, 'wx');
      isMade = true;
      try {
        writeSync(file, text);
      } finally {
        closeSync(file);
      }
      if (at === path) return true;
      linkSync(temporary, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      // Of a full disk nothing empty stays; one without hard links is tried again under the name itself.
      if (isMade && at === path) unlinkSync(path);
    } finally {
      if (isMade && at === temporary) unlinkSync(temporary);
    }
  }
  return true;
}

/** Removes a lock at the end of its process. */
export function unlinkOwn(path: string, token: string): void {
  try {
    if (parseLock(readFileSync(path, 'utf8'))?.token === token) unlinkSync(path);
  } catch {
    // Whoever comes next finds its owner dead.
  }
}

function counter(count: number): string {
  return String(count).padStart(COUNTER_DIGITS, '0');
}
