/** Work that Ctrl-C, a closed terminal or the live page may stop. */
import { abortOnSignals } from '../train/abort-on-signals.js';
import type { Output } from './usage.js';

/**
 * @param stopping said at once when a signal comes
 * @param stopped what is left, and how to go on
 * @returns the exit code of the work; 1 if it was stopped (a signal then ends the process with its own code)
 */
export async function untilStopped(
  { printError }: Output,
  work: (signal: AbortSignal) => Promise<number>,
  texts: { readonly stopping: string; readonly stopped: () => string | Promise<string> },
): Promise<number> {
  const stop = abortOnSignals({ onStop: (name) => printError(`\n${name}: ${texts.stopping}`) });
  try {
    return await work(stop.signal);
  } catch (error) {
    const isStop = stop.received !== undefined || (error instanceof Error && error.name === 'AbortError');
    if (!isStop) throw error;
    printError(await texts.stopped());
    return 1;
  } finally {
    stop.dispose();
  }
}
