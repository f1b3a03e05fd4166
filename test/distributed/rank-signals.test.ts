import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ChildProgram, childProgram } from '../child-program.js';
import type { SignalJob } from './signal-program.js';

let dir: string;
let program: ChildProgram;
const started: ChildProcess[] = [];
beforeAll(async () => {
  program = await childProgram('test/distributed/signal-program.ts');
});
afterAll(() => program.remove());
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rank-signals-'));
});
afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

interface Rank {
  readonly child: ChildProcess;
  /** Settles when it has said so. */
  says(text: string): Promise<void>;
  /** Its exit code or signal. */
  readonly end: Promise<number | string | null>;
  readonly errors: () => string;
}

/** @param worldSize 0: one process without a launcher's variables */
async function start(worldSize: number, way?: SignalJob['way']): Promise<Rank[]> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return Array.from({ length: Math.max(1, worldSize) }, (_, rank) => {
    const place = { RANK: rank, LOCAL_RANK: rank, WORLD_SIZE: worldSize, LOCAL_WORLD_SIZE: worldSize };
    const launched = worldSize === 0 ? {} : { ...place, MASTER_ADDR: '127.0.0.1', MASTER_PORT: port };
    const env = { ...process.env, ...Object.fromEntries(Object.entries(launched).map(([k, v]) => [k, String(v)])) };
    const job: SignalJob = { outputDir: dir, ...(way && { way }) };
    const child = spawn(process.execPath, [program.path, JSON.stringify(job)], { env });
    started.push(child);
    let [output, errors] = ['', ''];
    child.stdout.on('data', (text: Buffer) => {
      output += text;
    });
    child.stderr.on('data', (text: Buffer) => {
      errors += text;
    });
    const end = new Promise<number | string | null>((resolve) => {
      child.once('close', (code, signal) => resolve(signal ?? code));
    });
    const says = async (text: string): Promise<void> => {
      while (!output.includes(text)) {
        if (child.exitCode !== null) throw new Error(`it ended before it said "${text}": ${errors}`);
        await sleep(5);
      }
    };
    return { child, says, end, errors: () => errors };
  });
}

const checkpoints = async () => (await readdir(dir)).filter((name) => name.startsWith('checkpoint-'));
const underWay = (ranks: readonly Rank[]) => Promise.all(ranks.map(({ says }) => says('under way')));

describe('a signal to a process that trains with others', () => {
  for (const culprit of [1, 0]) {
    it(`waits for the rescuing checkpoint where rank ${culprit} was killed just before`, async () => {
      const ranks = await start(2);
      await underWay(ranks);
      const other = ranks[1 - culprit]!;
      ranks[culprit]!.child.kill('SIGKILL');
      other.child.kill('SIGTERM');
      expect(await other.end).toBe(143);
      expect(await checkpoints()).toHaveLength(1);
      expect(other.errors()).toMatch('ministral-tune: SIGTERM: the training ends with its last whole step');
    }, 60_000);
  }

  it('ends all in order with one checkpoint where all get it, also one that would stay', async () => {
    const ranks = await start(3, 'stays');
    await underWay(ranks);
    for (const { child } of ranks) child.kill('SIGTERM');
    expect(await Promise.all(ranks.map(({ end }) => end))).toEqual([143, 143, 143]);
    expect(await checkpoints()).toHaveLength(1);
    for (const { errors } of ranks) expect(errors()).not.toMatch(/was lost|did not come/);
  }, 60_000);

  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const) {
    it(`is ${signal} for a world of one too`, async () => {
      const [one] = await start(1);
      await one!.says('under way');
      one!.child.kill(signal);
      expect(await one!.end).toBe(code);
      expect(await checkpoints()).toHaveLength(1);
    }, 60_000);
  }

  it('may come twice while it saves, as a launcher and a scheduler each send one', async () => {
    const [one] = await start(1, 'slow');
    await one!.says('under way');
    one!.child.kill('SIGTERM');
    await one!.says('saving');
    await sleep(300);
    one!.child.kill('SIGTERM');
    expect(await one!.end).toBe(143);
    expect(await checkpoints()).toHaveLength(1);
  }, 60_000);

  it('is left to a program that listens itself', async () => {
    const [one] = await start(1, 'listens');
    await one!.says('under way');
    one!.child.kill('SIGTERM');
    expect(await one!.end).toBe(7);
    expect(await checkpoints()).toEqual([]);
  }, 60_000);

  it('changes nothing without a launcher', async () => {
    const [one] = await start(0);
    await one!.says('under way');
    one!.child.kill('SIGTERM');
    expect(await one!.end).toBe('SIGTERM');
    expect(await checkpoints()).toEqual([]);
  }, 60_000);
});

describe('saveModel on rank 0 alone', () => {
  for (const way of ['saves', 'saves and goes on'] as const) {
    it(`ends with what to do where the others ${way === 'saves' ? 'have ended' : 'are elsewhere'}`, async () => {
      const [main] = await start(2, way);
      expect(await main!.end).toBe(1);
      expect(main!.errors()).toMatch(/DistributedError: saveModel: .*model is written, but not all ranks came to it/);
      expect(main!.errors()).toMatch('Call saveModel on all ranks');
    }, 60_000);
  }
});
