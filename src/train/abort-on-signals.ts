/** Ctrl-C, `kill` and a closed terminal as an AbortSignal, so that a run saves its last step before the process ends. */

import { fstatSync, readFileSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { basename } from 'node:path';
import { checkNames } from '../config.js';
import { reasonOf } from '../errors.js';
import { requireCallback, requireOneObject } from '../require-given.js';
import { closeDeadTerminalsAtExit, guardStandardOutput } from './guarded-output.js';

/**
 * Ctrl-C sends SIGINT; `kill`, job schedulers, containers and a shutdown SIGTERM; a closed terminal or connection SIGHUP;
 * Ctrl-Break on Windows SIGBREAK.
 */
export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'SIGBREAK';

/** Two signals within this time are one press of a key: a shell, npm and other launchers each send one. */
const SAME_PRESS_MS = 200;

/** What {@link abortOnSignals} gives; `using` disposes of it too. */
export interface SignalWatch extends Disposable {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** What came; undefined as long as nothing did. */
  readonly received: StopSignal | undefined;
  /** Stops listening. */
  dispose(): void;
}

/** Options of {@link abortOnSignals}. */
export interface AbortOnSignalsOptions {
  /**
   * Called once, with the signal that came. What it throws is a warning: the run is stopped and saved all the same.
   * Default: none.
   */
  readonly onStop?: (name: StopSignal) => void;
}

/**
 * Listens for SIGINT, SIGTERM and SIGHUP (and SIGBREAK on Windows) until it is disposed of. The first aborts the signal,
 * and from then on the process ends with code 130 (143 for SIGTERM, 129 for SIGHUP), however it ends. A second SIGINT or
 * SIGTERM ends it at once, wherever it is: checkpoints are whole or not there at all. SIGHUP does not hurry it: a closed
 * terminal sends several, and whatever is printed after it is lost without an error. A process that was started with
 * `nohup` goes on after SIGHUP.
 * @example
 * ```ts
 * const stop = abortOnSignals();
 * await trainer.train({ signal: stop.signal });
 * stop.dispose();
 * ```
 */
export function abortOnSignals(options: AbortOnSignalsOptions = {}): SignalWatch {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'abortOnSignals', 'abortOnSignals({ onStop })');
  checkNames(options, { onStop: false }, 'abortOnSignals');
  requireCallback(options.onStop, 'abortOnSignals: `onStop`', 'e.g. { onStop: (name) => console.error(name) }.', true);
  const controller = new AbortController();
  const outlivesTerminal = isHangupIgnored();
  let received: StopSignal | undefined;
  let firstAt = 0;
  /** The stop that a person or a system asked for; a closed terminal asks nobody to hurry. */
  let asked: StopSignal | undefined;

  const leave = (): void => {
    for (const name of IMPATIENT) process.off(name, listen);
  };
  const dispose = (): void => {
    leave();
    process.off('SIGHUP', listen);
  };
  const listen = (signal: NodeJS.Signals): void => {
    const name = signal as StopSignal;
    if (name === 'SIGHUP') {
      // Node would end the process, which was not to be ended.
      if (outlivesTerminal) return;
      closeDeadTerminalsAtExit();
    } else if (asked) {
      if (performance.now() - firstAt > SAME_PRESS_MS) process.exit(exitCode(name));
      return;
    } else {
      asked = name;
      firstAt = performance.now();
      // Without a listener the system ends the process, even where it computes and would not look up for long.
      setTimeout(leave, SAME_PRESS_MS).unref();
    }
    if (received) return;
    received = name;
    process.once('exit', () => {
      process.exitCode = exitCode(name);
    });
    // For good: what is said about the end must not keep it from being saved.
    guardStandardOutput();
    report(options.onStop, name);
    controller.abort(new DOMException(`stopped by ${name}`, 'AbortError'));
  };
  for (const name of IMPATIENT) process.on(name, listen);
  process.on('SIGHUP', listen);
  return {
    signal: controller.signal,
    get received() {
      return received;
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
}

/** Of these a second one ends the process. Other systems than Windows do not know the last. */
const IMPATIENT: readonly StopSignal[] = [
  'SIGINT',
  'SIGTERM',
  ...(process.platform === 'win32' ? (['SIGBREAK'] as const) : []),
];

/** Calls back; a mistake in there must not cost the run. */
function report(onStop: ((name: StopSignal) => unknown) | undefined, name: StopSignal): void {
  const failed = (error: unknown): void => {
    process.emitWarning(`abortOnSignals: \`onStop\` failed: ${reasonOf(error)}`, 'SignalWarning');
  };
  try {
    const answer = onStop?.(name);
    if (answer instanceof Promise) answer.catch(failed);
  } catch (error) {
    failed(error);
  }
}

function exitCode(name: StopSignal): number {
  // Node's number on Windows, the only system that sends it.
  const number = name === 'SIGBREAK' ? 21 : constants.signals[name];
  return 128 + number;
}

/**
 * Whether SIGHUP was ignored when the process was started, as `nohup` and `trap '' HUP` do. Node gives ignored signals
 * their default effect again, so it is recognised by what remains: the parent that ignores it too, the shell's name for the
 * command, and the input that nohup makes unreadable.
 */
export function isHangupIgnored(): boolean {
  if (process.platform === 'win32') return false;
  // A parent that has died left another in its place.
  const parent = process.ppid > 1 ? process.ppid : undefined;
  if (ignores('self') || (parent && ignores(parent)) || hasUnreadableInput()) return true;
  // Handed on by a parent that was started so itself, it says nothing of this process.
  return isNohup(process.env['_']) && !(parent && isNohup(environmentOf(parent).get('_')));
}

function isNohup(command: string | undefined): boolean {
  return basename(command ?? '') === 'nohup';
}

function environmentOf(pid: number): ReadonlyMap<string, string> {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
    return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]));
  } catch {
    return new Map();
  }
}

function ignores(pid: number | 'self'): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return mask !== undefined && (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    return false;
  }
}

/** GNU's nohup opens /dev/null for writing alone in the place of a terminal. */
function hasUnreadableInput(): boolean {
  try {
    if (fstatSync(0).rdev !== statSync('/dev/null').rdev) return false;
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'latin1'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & 3) === 1;
  } catch {
    return false;
  }
}
