import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ChildProgram, childProgram } from '../child-program.js';
import { writeTinyModel } from '../e2e/tiny-model.js';
import type { Job, Result } from './train-program.js';

let dir: string;
let program: ChildProgram;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'training-processes-'));
  await writeTinyModel(join(dir, 'model'));
  program = await childProgram('test/distributed/train-program.ts');
});
afterAll(async () => {
  await program.remove();
  await rm(dir, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** @param worldSize processes; 0: one without a launcher's variables */
async function train(worldSize: number, job: Partial<Job>): Promise<Result> {
  const result = join(dir, 'result.json');
  const whole: Job = {
    ...{ checkpoint: join(dir, 'model'), outputDir: join(dir, 'run'), result, accumulation: 6, samples: 23 },
    ...{ dropped: ['sample 3', 'sample 8', 'sample 9', 'sample 20'], broken: 3 },
    ...job,
  };
  const port = await freePort();
  const ends = Array.from({ length: Math.max(1, worldSize) }, (_, rank) => {
    const place = { RANK: rank, LOCAL_RANK: rank, WORLD_SIZE: worldSize, LOCAL_WORLD_SIZE: worldSize };
    const launched = worldSize === 0 ? {} : { ...place, MASTER_ADDR: '127.0.0.1', MASTER_PORT: port };
    const env = { ...process.env, ...Object.fromEntries(Object.entries(launched).map(([k, v]) => [k, String(v)])) };
    const child = spawn(process.execPath, [program.path, JSON.stringify(whole)], { env });
    let errors = '';
    child.stderr.on('data', (text: Buffer) => {
      errors += text.toString();
    });
    return new Promise<string>((resolve) => child.once('close', (code) => resolve(`${code} ${errors}`)));
  });
  for (const end of await Promise.all(ends)) expect(end).toMatch(/^0 /);
  return JSON.parse(await readFile(result, 'utf8')) as Result;
}

it('two processes, then three that go on, train as one does', async () => {
  const one = await train(0, { outputDir: join(dir, 'one') });
  expect(one.skippedSteps).toBe(1);
  expect(one.losses).toHaveLength(11);
  const begun = await train(2, { accumulation: 3, stopAfter: 6 });
  expect(await readdir(join(dir, 'run'))).toContain('checkpoint-6');
  const ended = await train(3, { accumulation: 2, resume: true, broken: -1 });
  // Images of several sizes: what ranks give each other changes nothing.
  for (const { movedBytes } of [begun, ended]) expect(movedBytes).toBeGreaterThan(10_000);
  const losses = [...begun.losses, ...ended.losses];
  expect(losses.map(([step]) => step)).toEqual(one.losses.map(([step]) => step));
  losses.forEach(([, loss], i) => {
    expect(Math.abs(loss - one.losses[i]![1])).toBeLessThan(1e-6);
  });
  const evalLosses = [...begun.evalLosses, ...ended.evalLosses];
  expect(evalLosses).toHaveLength(3);
  evalLosses.forEach((loss, i) => {
    expect(Math.abs(loss - one.evalLosses[i]!)).toBeLessThan(1e-6);
  });
  expect(ended.skippedSteps).toBe(1);
  expect(Math.max(...ended.values.map((value, i) => Math.abs(value - one.values[i]!)))).toBeLessThan(1e-5);
}, 120_000);
