/** Starts test/crash/owner-child.ts, in a PID namespace of its own if asked, and follows what it says. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CHILD = ['--import', 'tsx', fileURLToPath(new URL('./owner-child.ts', import.meta.url))];

/** `host`: as others; `pid`: another PID namespace; `uts`: another host name as well. */
export type Space = 'host' | 'pid' | 'uts';

/** Whether namespaces can be made here: for that root is needed. */
export function canMakeSpaces(): boolean {
  return spawnSync('unshare', ['--pid', '--uts', '--fork', '--mount-proc', 'true']).status === 0;
}

export class OwnerProcess {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #listeners = new Set<() => void>();
  #ended = false;
  readonly end: Promise<{ code: number | null; lines: readonly string[]; errors: string }>;

  constructor(space: Space, args: Readonly<Record<string, string | number>>) {
    const command = [...CHILD, ...Object.entries(args).flatMap(([name, value]) => [`--${name}`, String(value)])];
    const options = { stdio: ['pipe', 'pipe', 'pipe'] as 'pipe'[] };
    if (space === 'host') this.#process = spawn(process.execPath, command, options);
    else {
      const spaces = ['--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL'];
      const named = space === 'uts' ? ['sh', '-c', 'hostname other; exec "$@"', 'sh'] : [];
      if (space === 'uts') spaces.push('--uts');
      this.#process = spawn('unshare', [...spaces, ...named, process.execPath, ...command], options);
    }
    let errors = '';
    this.#process.stderr!.on('data', (data) => {
      errors += data;
    });
    createInterface({ input: this.#process.stdout! }).on('line', (line) => {
      this.#lines.push(line);
      this.#tell();
    });
    this.end = new Promise((resolve) => {
      this.#process.once('close', (code) => {
        this.#ended = true;
        this.#tell();
        resolve({ code, lines: this.#lines, errors });
      });
    });
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Waits for the n-th line of a kind. @throws Error if the process ends without it */
  async said(pattern: RegExp, count = 1): Promise<void> {
    while (this.#lines.filter((line) => pattern.test(line)).length < count) {
      if (this.#ended)
        throw new Error(`it ended without ${pattern}: ${(await this.end).errors} ${this.#lines.join('; ')}`);
      await new Promise<void>((resolve) => {
        const listener = (): void => {
          this.#listeners.delete(listener);
          resolve();
        };
        this.#listeners.add(listener);
      });
    }
  }

  /** Lets it begin. */
  async go(): Promise<this> {
    await this.said(/^ready/);
    this.#process.stdin!.write('go\n');
    return this;
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
