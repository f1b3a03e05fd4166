/** One round of signs of life, in a thread of its own or where there is none. */
import { existsSync } from 'node:fs';
import { beat, unlinkOwn, writeAgain } from './lock-file.js';

export interface Beating {
  readonly path: string;
  readonly token: string;
  /** The whole file, to restore it. */
  readonly text: string;
  /** A name beside it that nobody else uses. */
  readonly temporary: string;
  /** Lies beside the lock once another process has taken it for dead. */
  readonly trace: string;
  /** After this long without a look at the lock, another may have taken it over and be gone again. In milliseconds. */
  readonly staleMs: number;
  /** [0]: when the lock was last seen to be its owner's or nobody's, in milliseconds since 1970. Shared between threads. */
  readonly seen: Float64Array;
  /** [0]: one of {@link HELD}, {@link LOST} and {@link RELEASED}. Shared between threads. */
  readonly state: Int32Array;
}

export const HELD = 0;
/** Another's lock was seen in its place: what comes after that one is not its owner's any more. */
export const LOST = 1;
export const RELEASED = 2;

let count = 0;

export function beatAll(locks: Iterable<Beating>): void {
  count++;
  for (const lock of locks) {
    const { path, token, seen, state } = lock;
    if (Atomics.load(state, 0) !== HELD) continue;
    try {
      const holder = beat(path, token, count);
      if (holder === token) seen[0] = Date.now();
      // A file that is no lock, such as one that is being written, names nobody.
      else if (holder !== undefined) Atomics.compareExchange(state, 0, HELD, LOST);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Any other disk does not answer: the owner looks before it writes.
      if (code === 'ENOENT' || code === 'ENOTDIR') makeAgain(lock);
    }
  }
}

/** A lock that was removed by hand: later its owner could not know it from one that was taken over. */
function makeAgain({ path, token, text, temporary, trace, staleMs, seen, state }: Beating): void {
  if (Date.now() - seen[0]! > staleMs || Atomics.load(state, 0) !== HELD || existsSync(trace)) return;
  if (writeAgain(path, text, temporary)) seen[0] = Date.now();
  // It may have been given back between the two.
  if (Atomics.load(state, 0) === RELEASED) unlinkOwn(path, token);
}
