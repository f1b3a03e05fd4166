/** Starts the training child and follows what it says. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Beside this file as TypeScript, or beside the program that this file was bundled into. */
const RUN = import.meta.url.endsWith('.ts')
  ? ['--import', 'tsx', fileURLToPath(new URL('./train-child.ts', import.meta.url))]
  : [fileURLToPath(new URL('./train-child.mjs', import.meta.url))];

export interface ChildOptions {
  readonly out: string;
  readonly checkpoint: string;
  readonly engine?: string;
  readonly steps?: number;
  readonly saveSteps?: number;
  /** A checkpoint folder, or `true`. */
  readonly resume?: string | undefined;
  /** Least time of a micro-batch, and of a save. */
  readonly stepMs?: number;
  readonly saveMs?: number;
  /** What decides the best step. */
  readonly judge?: 'loss' | 'score' | undefined;
  /** Folder of the adapter at the end. Default `final` in `out`. */
  readonly final?: string | undefined;
  /** train-child.ts as one file. Default: as it lies beside this one. */
  readonly program?: string | undefined;
}

export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** All that it said, and what it wrote on stderr. */
  readonly lines: readonly string[];
  readonly errors: string;
}

export class ChildRun {
  readonly process: ChildProcess;
  readonly end: Promise<ChildEnd>;
  readonly #lines: string[] = [];
  readonly #listeners = new Set<(line: string) => void>();

  constructor(options: ChildOptions) {
    const args = ['--out', options.out, '--checkpoint', options.checkpoint, '--engine', options.engine ?? 'cpu'];
    for (const [name, value] of [
      ['--steps', options.steps],
      ['--save-steps', options.saveSteps],
      ['--resume', options.resume],
      ['--step-ms', options.stepMs],
      ['--save-ms', options.saveMs],
      ['--judge', options.judge],
      ['--final', options.final],
    ] as const) {
      if (value !== undefined) args.push(name, String(value));
    }
    this.process = spawn(process.execPath, [...(options.program === undefined ? RUN : [options.program]), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let errors = '';
    this.process.stderr!.on('data', (data) => {
      errors += data;
    });
    const said = createInterface({ input: this.process.stdout! });
    said.on('line', (line) => {
      this.#lines.push(line);
      for (const listener of this.#listeners) listener(line);
    });
    this.end = new Promise((resolve) => {
      this.process.once('close', (code, signal) => {
        for (const listener of this.#listeners) listener('closed');
        resolve({ code, signal, lines: this.#lines, errors });
      });
    });
  }

  /** Waits for a line, said already or still to come. False if the process ends without it. */
  said(pattern: RegExp): Promise<boolean> {
    if (this.#lines.some((line) => pattern.test(line))) return Promise.resolve(true);
    return new Promise((resolve) => {
      const listener = (line: string): void => {
        if (!pattern.test(line) && line !== 'closed') return;
        this.#listeners.delete(listener);
        resolve(pattern.test(line));
      };
      this.#listeners.add(listener);
    });
  }

  async kill(signal: NodeJS.Signals): Promise<ChildEnd> {
    this.process.kill(signal);
    return this.end;
  }
}
