/** Long computations pause by time, so that the event loop gets its turns. */

/** Milliseconds of computing after which timers, signals and other callbacks get a turn. */
const SLICE_MS = 15;

/** When `eventLoopTurn` last ended. There is one event loop, so one clock for all. */
let lastTurn = Number.NEGATIVE_INFINITY;

/** Whether the thread has computed for so long that it should wait for `eventLoopTurn`. */
export function isTurnDue(): boolean {
  return performance.now() - lastTurn > SLICE_MS;
}

/** Values that are looked at between two looks at the clock. */
const STRETCH = 65_536;

/** As `findIndex`, of arrays of any length: the event loop gets its turns. */
export async function findIndexInTurns(array: Float32Array, isFound: (value: number) => boolean): Promise<number> {
  for (let from = 0; from < array.length; from += STRETCH) {
    if (from > 0 && isTurnDue()) await eventLoopTurn();
    // A loop takes a tenth of the time of the method.
    for (let i = from, end = Math.min(array.length, from + STRETCH); i < end; i++) if (isFound(array[i]!)) return i;
  }
  return -1;
}

/** Index of the first value that is infinite or NaN; -1 if there is none. */
export function findNotFinite(array: Float32Array): Promise<number> {
  return findIndexInTurns(array, isNotFinite);
}

const isNotFinite = (value: number): boolean => value - value !== 0;

/**
 * A copy of arrays as they are at one moment, after turns of the event loop in which its memory is made: the system takes
 * ten times as long for that as for the copy.
 */
export async function copyInTurns<T extends Float32Array | Uint8Array>(arrays: readonly T[]): Promise<T[]> {
  const copies = arrays.map((array) => new (array.constructor as new (length: number) => T)(array.length));
  for (const copy of copies) {
    const perPage = PAGE_BYTES / copy.BYTES_PER_ELEMENT;
    for (let i = 0; i < copy.length; i += perPage) {
      copy[i] = 0;
      if (i % (PAGES * perPage) === 0 && i > 0 && isTurnDue()) await eventLoopTurn();
    }
  }
  for (const [i, copy] of copies.entries()) copy.set(arrays[i]!);
  return copies;
}

const PAGE_BYTES = 4096;
/** Pages that are made between two looks at the clock. */
const PAGES = 256;

/** Lets the event loop run whatever is due: timers, signals, messages of threads. */
export async function eventLoopTurn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  lastTurn = performance.now();
}
