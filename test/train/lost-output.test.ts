import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readHistory } from '../../src/train/history.js';
import { type ChildProgram, childProgram } from '../child-program.js';
import { onLinux } from '../where.js';

/** After which a signal is a second one, and not the same press of a key. */
const LATER_MS = 250;
/** Whatever started the tests, these runs were not started to outlive a terminal. */
const env = { ...process.env, _: '' };

let root: string;
let program: ChildProgram;
beforeAll(async () => {
  program = await childProgram('test/train/output-child.ts');
  root = await mkdtemp(join(tmpdir(), 'lost-output-'));
});
afterAll(async () => {
  await program.remove();
  await rm(root, { recursive: true, force: true });
});

class Child {
  readonly process: ChildProcess;
  readonly #end: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  errors = '';

  constructor(
    readonly dir: string,
    command: string,
    args: readonly string[],
  ) {
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.process.stdout!.resume();
    this.process.stderr!.on('data', (data) => {
      this.errors += data;
    });
    this.#end = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve({ code, signal })));
  }

  static async start(steps: number, ...ways: string[]): Promise<Child> {
    const dir = await mkdtemp(join(root, 'run-'));
    return new Child(dir, process.execPath, [program.path, dir, String(steps), ...ways]);
  }

  async said(): Promise<string[]> {
    const text = await readFile(join(this.dir, 'said'), 'utf8').catch(() => '');
    return text.split('\n').filter(Boolean);
  }

  async until(line: string): Promise<void> {
    while (!(await this.said()).some((one) => one.trim() === line)) {
      if (this.process.exitCode !== null) throw new Error(`ended without "${line}": ${await this.said()}`);
      await sleep(10);
    }
  }

  /** The readers of both outputs leave. */
  leave(): void {
    this.process.stdout!.destroy();
    this.process.stderr!.destroy();
  }

  async end(): Promise<{ code: number | null; signal: NodeJS.Signals | null; said: string[]; saved: string[] }> {
    const ended = await this.#end;
    const files = await readdir(join(this.dir, 'out'));
    return {
      ...ended,
      said: await this.said(),
      saved: files.filter((name) => name.startsWith('checkpoint-')),
    };
  }
}

describe.concurrent('a run whose output loses its reader', () => {
  it.each([
    ['lines', []],
    ['lines beside output of its own', ['chat']],
    ['a bar', ['bar', 'chat']],
  ])('goes on to its end in silence, with its log on the disk: %s', async (_, ways) => {
    const child = await Child.start(12, ...ways);
    await child.until('step 3');
    child.leave();
    const { code, said, saved } = await child.end();
    expect(said.filter((line) => line.startsWith('uncaught'))).toEqual([]);
    expect(said).toContain('end 12');
    expect(code).toBe(0);
    expect(saved).toEqual(['checkpoint-12']);
    const { logs } = await readHistory(join(child.dir, 'out', 'train-log.jsonl'));
    expect(logs.map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  });

  it('saves when the signal of the closed terminal comes', async () => {
    const child = await Child.start(1000, 'chat');
    await child.until('step 3');
    child.leave();
    child.process.kill('SIGHUP');
    const { code, signal, said, saved } = await child.end();
    expect(said).toContain('stopped SIGHUP');
    expect({ code, signal }).toEqual({ code: 129, signal: null });
    expect(saved).toHaveLength(1);
    expect(Number(saved[0]!.split('-')[1])).toBeGreaterThanOrEqual(3);
  });

  it.each([
    ['SIGHUP', ['SIGHUP'], 129],
    ['SIGHUP', ['SIGTERM'], 129],
    ['SIGTERM', ['SIGHUP'], 143],
    ['SIGINT', ['SIGHUP', 'SIGHUP'], 130],
  ] as const)('finishes the save after %s, then %s', async (first, others, expected) => {
    const child = await Child.start(1000, 'slow');
    await child.until('step 2');
    child.leave();
    child.process.kill(first);
    await child.until('saving');
    for (const name of others) {
      await sleep(LATER_MS);
      child.process.kill(name);
      await child.until(`heard ${name}`);
    }
    await writeFile(join(child.dir, 'go'), '');
    const { code, said, saved } = await child.end();
    expect(said.filter((line) => line.startsWith('stopped'))).toEqual([`stopped ${first}`]);
    expect(code).toBe(expected);
    expect(saved).toHaveLength(1);
  });

  it('ends at once after a second signal that asks it to', async () => {
    const child = await Child.start(1000, 'slow');
    await child.until('step 2');
    for (const name of ['SIGHUP', 'SIGTERM'] as const) {
      child.process.kill(name);
      await child.until(`heard ${name}`);
    }
    await child.until('saving');
    await sleep(LATER_MS);
    child.process.kill('SIGTERM');
    const { signal, saved } = await child.end();
    expect(signal).toBe('SIGTERM');
    expect(saved).toEqual([]);
  });

  onLinux.it('goes on after SIGHUP if its parent ignores that, as under nohup', async () => {
    const dir = await mkdtemp(join(root, 'run-'));
    const node = [process.execPath, program.path, dir, '25'].map((word) => `'${word}'`).join(' ');
    const script = `trap '' HUP; ${node} & child=$!; echo $child >${dir}/pid; wait $child; exit $?`;
    const child = new Child(dir, '/bin/sh', ['-c', script]);
    await child.until('step 3');
    process.kill(Number(await readFile(join(dir, 'pid'), 'utf8')), 'SIGHUP');
    const { code, said, saved } = await child.end();
    expect(said).toContain('end 25');
    expect(code).toBe(0);
    expect(saved).toEqual(['checkpoint-25']);
  });

  it('leaves no listener on standard error behind', async () => {
    const child = await Child.start(2);
    const { code, said } = await child.end();
    expect(code).toBe(0);
    const counts = said.filter((line) => line.startsWith('listeners'));
    expect(counts).toEqual([counts[0], counts[0]]);
    expect(child.errors).toContain('done: 2 steps');
  });
});
