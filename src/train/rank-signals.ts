/**
 * A process that trains with others saves before a signal ends it. Launchers send SIGTERM to those that are left as soon as
 * one is gone, and job schedulers to all: just then a checkpoint is wanted.
 */
import { exitCode, type SignalWatch, watchSignals } from './abort-on-signals.js';
import { guardedOutput } from './guarded-output.js';

const NAMES = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What a program does when its run has ended may take so long. */
const END_MS = 3000;

/** A run that does not end is left behind: launchers send SIGKILL long before, a person has no other way. */
const LONGEST_MS = 600_000;

/** Ends the runs that are under way. */
const stops = new Set<(reason: unknown) => void>();
let watch: SignalWatch | undefined;

/**
 * Runs a training. A signal to which nobody else listens stops it as an abort does, and when it has ended, the process
 * with 128 and the number of the signal.
 * @param stop ends the run
 */
export async function savedOnSignals<T>(stop: (reason: unknown) => void, work: () => Promise<T>): Promise<T> {
  stops.add(stop);
  watch ??= watchOthersLeft();
  try {
    return await work();
  } finally {
    stops.delete(stop);
    if (stops.size === 0) {
      const { received } = watch;
      watch.dispose();
      watch = undefined;
      // Without this package the signal would have ended it at once.
      if (received) setTimeout(() => process.exit(exitCode(received)), END_MS).unref();
    }
  }
}

/** Only signals that nobody listens to: what a program does at the others is its own. */
function watchOthersLeft(): SignalWatch {
  const names = NAMES.filter((name) => process.listenerCount(name) === 0);
  const watching = watchSignals({
    names,
    isPatient: true,
    yields: true,
    onStop: (name) => {
      const text = 'the training ends with its last whole step, and then this process';
      guardedOutput(process.stderr).write(`ministral-tune: ${name}: ${text}\n`);
      setTimeout(() => process.exit(exitCode(name)), LONGEST_MS).unref();
    },
  });
  watching.signal.addEventListener('abort', () => {
    for (const stop of stops) stop(watching.signal.reason);
  });
  return watching;
}
