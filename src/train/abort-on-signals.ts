/** Ctrl-C and `kill` as an AbortSignal, so that a run saves its last step before the process ends. */
import { constants } from 'node:os';
import { checkNames } from '../config.js';
import { requireCallback } from '../require-given.js';

/** Ctrl-C sends the first, `kill` and job schedulers the second. */
export type StopSignal = 'SIGINT' | 'SIGTERM';

/** Two signals within this time are one press of a key: a shell, npm and other launchers each send one. */
const SAME_PRESS_MS = 200;

/** What {@link abortOnSignals} gives; `using` disposes of it too. */
export interface SignalWatch extends Disposable {
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** What came; undefined as long as nothing did. */
  readonly received: StopSignal | undefined;
  /** Stops listening. */
  dispose(): void;
}

/**
 * Listens for SIGINT and SIGTERM until it is disposed of. The first aborts the signal, and from then on the process ends
 * with code 130 (143 for SIGTERM), however it ends. The second ends it at once, wherever it is: checkpoints are whole or
 * not there at all.
 *
 * ```ts
 * const stop = abortOnSignals();
 * await trainer.train({ signal: stop.signal });
 * stop.dispose();
 * ```
 */
export function abortOnSignals(options: { readonly onStop?: (name: StopSignal) => void } = {}): SignalWatch {
  checkNames(options, { onStop: false }, 'abortOnSignals');
  requireCallback(options.onStop, 'abortOnSignals: `onStop`', 'e.g. { onStop: (name) => console.error(name) }.', true);
  const controller = new AbortController();
  let received: StopSignal | undefined;
  let firstAt = 0;
  const dispose = (): void => {
    process.off('SIGINT', listen);
    process.off('SIGTERM', listen);
  };
  const listen = (name: NodeJS.Signals): void => {
    if (received) {
      if (performance.now() - firstAt > SAME_PRESS_MS) process.exit(exitCode(name));
      return;
    }
    received = name as StopSignal;
    firstAt = performance.now();
    // An error that nobody catches would make it 1.
    process.once('exit', () => {
      process.exitCode = exitCode(name);
    });
    // Without a listener the system ends the process, even where it computes and would not look up for long.
    setTimeout(dispose, SAME_PRESS_MS).unref();
    options.onStop?.(received);
    controller.abort(new DOMException(`stopped by ${name}`, 'AbortError'));
  };
  process.on('SIGINT', listen);
  process.on('SIGTERM', listen);
  return {
    signal: controller.signal,
    get received() {
      return received;
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
}

function exitCode(name: NodeJS.Signals): number {
  return 128 + constants.signals[name];
}
