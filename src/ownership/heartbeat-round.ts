/** One round of signs of life, in a thread of its own or where there is none. */
import { beat } from './lock-file.js';

/** A lock that is held. */
export interface Beating {
  readonly path: string;
  readonly token: string;
  /** [0]: when the lock was last seen to be its owner's, in milliseconds since 1970. Shared between threads. */
  readonly seen: Float64Array;
}

let count = 0;

export function beatAll(locks: Iterable<Beating>): void {
  count++;
  for (const { path, token, seen } of locks) {
    try {
      if (beat(path, token, count)) seen[0] = Date.now();
    } catch {
      // Gone, or a disk that does not answer: the owner looks before it writes.
    }
  }
}
