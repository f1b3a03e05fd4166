import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ChildProgram, childProgram } from '../child-program.js';
import { ChildRun } from '../crash/child-run.js';
import { killCourse } from '../crash/kill-course.js';
import { writeTinyModel } from './tiny-model.js';

let dir: string;
let checkpoint: string;
let bundle: ChildProgram;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kill-resume-'));
  checkpoint = join(dir, 'model');
  await writeTinyModel(checkpoint);
  bundle = await childProgram('test/crash/train-child.ts');
});
afterAll(async () => {
  await bundle.remove();
  await rm(dir, { recursive: true, force: true });
});

describe('a run that is killed', () => {
  it('always leaves a checkpoint that loads, and ends with the same bytes', async () => {
    // `npx tsx test/crash/kill-resume.ts` does this fifty times.
    const result = await killCourse({ dir, checkpoint, kills: 2, steps: 10, seed: 7, program: bundle.path });
    expect(result).toMatchObject({ kills: 2, beforeFirst: expect.any(Number) });
    expect(result.finished).toBeGreaterThan(0);
    expect(result.compared).toBeGreaterThan(0);
  }, 120_000);
});

describe.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)('a run that gets %s', (name, code) => {
  it(`saves its last step, ends with ${code} and can be resumed`, async () => {
    const out = join(dir, name);
    const options = { out, checkpoint, steps: 30, saveSteps: 100, program: bundle.path };
    const child = new ChildRun({ ...options, stepMs: 20 });
    expect(await child.said(/^step 3$/)).toBe(true);
    const end = await child.kill(name);
    expect(end.lines).toContain(`stopped ${name}`);
    expect(end.signal).toBeNull();
    expect(end.code).toBe(code);
    expect(end.errors).toContain(`stopped by ${name}`);
    const saved = end.lines.filter((line) => line.startsWith('saved'));
    expect(saved.length).toBeGreaterThan(0);
    const step = Number(saved.at(-1)!.split(' ')[1]);
    expect(step).toBeGreaterThanOrEqual(3);
    expect(step).toBeLessThan(30);

    const resumed = new ChildRun({ ...options, resume: 'true' });
    expect(await resumed.said(new RegExp(`^start ${step}$`))).toBe(true);
    await resumed.kill('SIGKILL');
  }, 60_000);
});

describe('a run that gets a second SIGINT', () => {
  it('ends at once, in the middle of its save, and leaves no half checkpoint', async () => {
    const out = join(dir, 'twice');
    const options = { out, checkpoint, steps: 30, saveSteps: 100, program: bundle.path };
    const child = new ChildRun({ ...options, stepMs: 20, saveMs: 30_000 });
    expect(await child.said(/^step 3$/)).toBe(true);
    child.process.kill('SIGINT');
    expect(await child.said(/^saving$/)).toBe(true);
    // One press of the keys may arrive twice.
    child.process.kill('SIGINT');
    await sleep(500);
    expect(child.process.exitCode).toBeNull();
    const end = await child.kill('SIGINT');
    // Ended by the signal itself, which a shell shows as 130.
    expect([end.code, end.signal]).toEqual([null, 'SIGINT']);
    expect(end.lines.at(-1)).toBe('saving');
    expect((await readdir(out)).filter((entry) => entry.startsWith('checkpoint'))).toEqual([]);
  }, 60_000);
});
