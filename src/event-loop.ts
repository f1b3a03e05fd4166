/** Long computations pause by time, so that the event loop gets its turns. */

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
