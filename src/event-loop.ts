/** Long computations and the event loop: they pause by time, and what is awaited ends with an abort. */

/** Milliseconds of computing after which timers, signals and other callbacks get a turn. */
const SLICE_MS = 15;

/** When the event loop last had a turn that was waited for here. There is one event loop, so one clock for all. */
let lastTurn = Number.NEGATIVE_INFINITY;

/** Whether the thread has computed for so long that it should wait for `eventLoopTurn`. */
export function isTurnDue(): boolean {
  return performance.now() - lastTurn > SLICE_MS;
}

/** Lets the event loop run whatever is due: timers, signals, messages of threads. */
export async function eventLoopTurn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  lastTurn = performance.now();
}

/**
 * The promise's result, or a rejection with the signal's reason if that comes first: whoever was asked need not answer.
 * `Promise.race` against one long-lived promise would keep every result alive.
 */
export function orAborted<T>(promise: PromiseLike<T> | T, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return Promise.resolve(promise);
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    // Handled in any case, so that a later failure of an abandoned promise is no unhandled rejection.
    Promise.resolve(promise)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abort));
    if (signal.aborted) abort();
  });
}
