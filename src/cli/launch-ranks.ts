/** Processes that train together on this machine: started, watched, and ended together. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { oneLine } from '../messages/one-line.js';
import { isHangupIgnored } from '../train/abort-on-signals.js';

/** In milliseconds; tests take shorter ones. */
export const LAUNCH_TIMES = {
  /** After the first failure the others may save for so long, before SIGTERM. */
  graceMs: 30_000,
  /** From SIGTERM to SIGKILL. */
  killMs: 10_000,
  /** A rank that is stopped hears nothing: it is killed after that. */
  stoppedMs: 5_000,
  /** A process that a rank has left behind may hold its output: so long it is read after the rank's end. */
  outputMs: 1_000,
  /** Of two SIGINT: npm and shells each send one for one press of Ctrl-C. */
  samePressMs: 200,
};

interface LaunchedRanks {
  /** Program and arguments of `node`. */
  readonly command: readonly string[];
  readonly count: number;
  /** By rank. */
  readonly environments: readonly NodeJS.ProcessEnv[];
  /** Standard output of all ranks, and not of rank 0 alone. */
  readonly allOutput: boolean;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
  readonly times?: typeof LAUNCH_TIMES | undefined;
}

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const;

/** @returns the exit code of the first rank that failed, 128 and the signal's number for one that a signal ended */
export async function launchRanks(launched: LaunchedRanks): Promise<number> {
  const { count, printError, times = LAUNCH_TIMES } = launched;
  const began = performance.now();
  const running = new Map<number, ChildProcess>();
  let first: { readonly rank: number; readonly text: string; readonly code: number } | undefined;
  /** Ranks that had to be ended. */
  const ended: number[] = [];
  const timers = new Set<NodeJS.Timeout>();

  const signalAll = (signal: NodeJS.Signals): void => {
    for (const child of running.values()) child.kill(signal);
  };
  const after = (milliseconds: number, work: () => void): void => {
    timers.add(setTimeout(work, milliseconds));
  };
  const endOthers = (): void => {
    after(times.stoppedMs, () => {
      for (const [rank, child] of running) if (isStopped(child.pid)) end(rank, child, 'SIGKILL');
    });
    after(times.graceMs, () => {
      for (const [rank, child] of running) end(rank, child, isStopped(child.pid) ? 'SIGKILL' : 'SIGTERM');
    });
    after(times.graceMs + times.killMs, () => {
      for (const [rank, child] of running) end(rank, child, 'SIGKILL');
    });
  };
  const end = (rank: number, child: ChildProcess, signal: NodeJS.Signals): void => {
    child.kill(signal);
    if (!ended.includes(rank)) ended.push(rank);
  };

  let received: NodeJS.Signals | undefined;
  let presses = 0;
  let pressedAt = Number.NEGATIVE_INFINITY;
  // With nohup a closed terminal ends nothing, and the ranks cannot see that themselves.
  const outlivesTerminal = isHangupIgnored();
  const forward = (signal: NodeJS.Signals): void => {
    if (signal === 'SIGHUP' && outlivesTerminal) return;
    received ??= signal;
    if (signal === 'SIGINT') {
      const now = performance.now();
      if (now - pressedAt > times.samePressMs) presses++;
      pressedAt = now;
    }
    // The second ends a rank at once; one that still goes on does not hear.
    signalAll(presses > 2 ? 'SIGKILL' : signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  // Whoever ends this process by its own error leaves no ranks behind.
  const atExit = (): void => signalAll('SIGTERM');
  process.on('exit', atExit);
  try {
    const ranks = Array.from({ length: count }, (_, rank) => {
      const { child, cutOff } = start(launched, rank);
      running.set(rank, child);
      return new Promise<void>((resolve) => {
        const over = (text: string, code: number): void => {
          running.delete(rank);
          if (code === 0 || first) return;
          const seconds = ((performance.now() - began) / 1000).toFixed(0);
          first = { rank, text: `rank ${rank} of ${count} ${text} after ${seconds} s`, code };
          if (running.size > 0) endOthers();
        };
        child.on('error', (error) => {
          over(`could not be started: ${oneLine(error.message)}`, 1);
          resolve();
        });
        child.on('exit', (code, signal) => {
          if (signal) over(`was ended by ${signal}`, 128 + (constants.signals[signal] ?? 0));
          else over(`ended with exit code ${code}`, code ?? 1);
          // An open pipe would keep this process alive.
          after(times.outputMs, () => {
            cutOff();
            resolve();
          });
        });
        child.on('close', () => resolve());
      });
    });
    await Promise.all(ranks);
  } finally {
    for (const timer of timers) clearTimeout(timer);
    for (const signal of FORWARDED) process.off(signal, forward);
    process.off('exit', atExit);
  }
  if (!first) return 0;
  const { rank: failed } = first;
  const others = ended.filter((rank) => rank !== failed).sort((a, b) => a - b);
  const rest =
    others.length > 0 ? `; ${others.length === 1 ? 'rank' : 'ranks'} ${others.join(', ')} had to be ended` : '';
  const why = received ? `${received} was passed on: ` : '';
  printError(`launch: ${why}${first.text}, the first that failed${rest}`);
  return first.code;
}

/** @returns `cutOff` ends the reading of its output */
function start(
  { command, environments, allOutput, print, printError }: LaunchedRanks,
  rank: number,
): { readonly child: ChildProcess; readonly cutOff: () => void } {
  const isFirst = rank === 0;
  const child = spawn(process.execPath, [...command], {
    env: environments[rank],
    // The first one's as it is: it may draw on a terminal.
    stdio: ['ignore', isFirst ? 'inherit' : allOutput ? 'pipe' : 'ignore', isFirst ? 'inherit' : 'pipe'],
    // A terminal sends Ctrl-C to all processes of its group: a rank would get it twice, and a second one hurries it.
    detached: process.platform !== 'win32',
  });
  const pass = (stream: Readable | null, write: (text: string) => void): (() => void) => {
    if (!stream) return () => undefined;
    const lines = new LinePrefix(`[rank ${rank}] `, write);
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => lines.push(text));
    stream.on('end', () => lines.end());
    return () => {
      lines.end();
      stream.destroy();
    };
  };
  const passed = [pass(child.stdout, print), pass(child.stderr, printError)];
  const cutOff = (): void => {
    for (const end of passed) end();
  };
  return { child, cutOff };
}

/** Writes whole lines, each behind a prefix. */
class LinePrefix {
  #rest = '';
  readonly #prefix: string;
  readonly #write: (line: string) => void;

  constructor(prefix: string, write: (line: string) => void) {
    this.#prefix = prefix;
    this.#write = write;
  }

  push(text: string): void {
    const lines = (this.#rest + text).split(/\r?\n|\r(?!$)/);
    this.#rest = lines.pop()!;
    for (const line of lines) this.#write(this.#prefix + line);
    if (this.#rest.length > MAX_LINE) this.end();
  }

  end(): void {
    if (this.#rest !== '') this.#write(this.#prefix + this.#rest);
    this.#rest = '';
  }
}

const MAX_LINE = 65_536;

/** By SIGSTOP, say: Linux alone tells. */
function isStopped(pid: number | undefined): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return /^[Tt] /.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}
