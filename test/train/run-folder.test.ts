import { renameSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError, TrainingError } from '../../src/errors.js';
import { ownIdentity } from '../../src/files/process-identity.js';
import { lockTimes } from '../../src/ownership/owner-lock.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { claimRunFolder, RUN_LOCK } from '../../src/train/run-folder.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { onLinux } from '../where.js';
import { type LinearModel, linearModel, linearTrainer } from './linear-model.js';

const times = { ...lockTimes };
let folder: string;
let outputDir: string;
beforeEach(async () => {
  Object.assign(lockTimes, { beatMs: 20, staleMs: 300, pollMs: 5 });
  folder = await mkdtemp(join(tmpdir(), 'run-folder-'));
  outputDir = join(folder, 'out');
});
afterEach(async () => {
  Object.assign(lockTimes, times);
  await rm(folder, { recursive: true });
});

const train = (model: LinearModel, config: SftConfigInput = {}, more = {}) =>
  linearTrainer(model, { outputDir, maxSteps: 5, saveSteps: 1, ...config }).train(more);
const names = async (): Promise<string[]> => (await readdir(outputDir)).sort();
const errorOf = (run: PromiseLike<unknown>): Promise<Error> =>
  Promise.resolve(run).then(
    () => new Error('nothing was thrown'),
    (error: Error) => error,
  );
const lockPath = () => join(outputDir, RUN_LOCK);
/** In another container, with the same host name. */
const elsewhere = { ...ownIdentity(), space: 'boot/pid:[1]/', pid: 12, started: 34 };
const lockOf = (owner: object, beats = 0): string =>
  `${JSON.stringify({ token: 'theirs', what: 'training run', since: '2026-01-31T08:15:00.000Z', program: 'other.mjs', ...owner })}\n${beats}\n`;

/** Values of a run that nobody disturbed. */
async function alone(): Promise<number[]> {
  const model = linearModel();
  await train(model, { outputDir: join(folder, 'alone') });
  return [...model.values];
}

describe('a second run in an output folder', () => {
  it('of the same process is refused at its start, by whatever path, and the first one is not disturbed', async () => {
    const expected = await alone();
    await mkdir(outputDir);
    await symlink(outputDir, join(folder, 'link'));
    const paths = [outputDir, `${outputDir}/`, join(folder, 'link'), relative('.', outputDir), `${outputDir}/../out`];
    const first = linearModel();
    const errors: Error[] = [];
    first.onWindow = async (window) => {
      const before = await names();
      for (const path of window === 2 ? paths : []) {
        const second = linearModel();
        errors.push(await errorOf(train(second, { outputDir: path, learningRate: 0.1, saveStrategy: 'no' })));
        expect(second.steps).toHaveLength(0);
      }
      expect(await names()).toEqual(before);
    };
    await train(first);
    expect(errors).toHaveLength(paths.length);
    for (const error of errors) {
      expect(error).toBeInstanceOf(CheckpointError);
      expect(error.message).toContain(`is in use by a training run: this process on host "${hostname()}"`);
      expect(error.message).toContain('`outputDir` of its own');
    }
    expect([...first.values]).toEqual(expected);
    expect(await names()).not.toContain(RUN_LOCK);
    // Its end frees the folder.
    await train(linearModel());
  });

  it('of another container or host is refused while the first gives signs of life', async () => {
    // However late a busy machine writes the signs.
    lockTimes.staleMs = 3_600_000;
    await mkdir(outputDir);
    for (const owner of [elsewhere, { ...elsewhere, host: 'gpu-7' }]) {
      await writeFile(lockPath(), lockOf(owner));
      let beats = 0;
      // In one step, as a heartbeat of one write is: half of a file is nobody's.
      const beat = (): void => {
        writeFileSync(join(folder, 'beat'), lockOf(owner, ++beats));
        renameSync(join(folder, 'beat'), lockPath());
      };
      const beating = setInterval(beat, 20);
      const error = await errorOf(train(linearModel()));
      clearInterval(beating);
      expect(error).toBeInstanceOf(CheckpointError);
      expect(error.message).toContain(`process 12 on host "${owner.host}"`);
      expect(error.message).toContain('since 2026-01-31T08:15:00.000Z, program other.mjs');
      expect(error).toMatchObject({ details: { owner: { host: owner.host, pid: 12, program: 'other.mjs' } } });
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(await names()).toEqual([RUN_LOCK]);
      await rm(lockPath());
    }
  });

  it('takes the folder over when the first gives none, after saying so', async () => {
    const expected = await alone();
    await mkdir(join(outputDir, '.checkpoint-3.12-0a1b2c3d.tmp'), { recursive: true });
    await writeFile(lockPath(), lockOf(elsewhere));
    const model = linearModel();
    const events: TrainingEvent[] = [];
    for await (const event of train(model)) events.push(event);
    expect(events[0]).toMatchObject({
      type: 'warning',
      message: expect.stringContaining('was left by a training run: process 12'),
    });
    expect(events.filter(({ type }) => type === 'warning')).toHaveLength(1);
    expect([...model.values]).toEqual(expected);
    const traces = (await names()).filter((name) => name.startsWith('.'));
    expect(traces).toEqual([`${RUN_LOCK}.taken-theirs`]);
  });

  onLinux.it('takes it over at once from a process that died on this host', async () => {
    lockTimes.staleMs = 3_600_000;
    await mkdir(join(outputDir, '.checkpoint-3.12-0a1b2c3d.tmp'), { recursive: true });
    // Its number is a living process's again.
    await writeFile(lockPath(), lockOf({ ...ownIdentity(), started: 1 }));
    const events: TrainingEvent[] = [];
    for await (const event of train(linearModel())) events.push(event);
    expect(events.filter(({ type }) => type === 'warning')).toEqual([]);
    expect((await names()).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('can be given up while it watches', async () => {
    lockTimes.staleMs = 3_600_000;
    await mkdir(outputDir);
    await writeFile(lockPath(), lockOf(elsewhere));
    const controller = new AbortController();
    const run = train(linearModel(), {}, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await expect(run).rejects.toThrow('enough');
    expect(await readFile(lockPath(), 'utf8')).toBe(lockOf(elsewhere));
  });
});

describe('a run whose folder was taken over while it was suspended', () => {
  it.each(['the other one is there', 'the other one has ended'])(
    'stops before it writes, and keeps its values: %s',
    async (state) => {
      const model = linearModel();
      let kept: number[] = [];
      model.onWindow = async (window) => {
        if (window !== 3) return;
        kept = [...model.values];
        const { token } = JSON.parse((await readFile(lockPath(), 'utf8')).split('\n')[0]!);
        if (state === 'the other one is there') return writeFile(lockPath(), lockOf(elsewhere));
        await writeFile(`${lockPath()}.taken-${token}`, '');
        await rm(lockPath());
      };
      const events: TrainingEvent[] = [];
      const run = train(model, { saveSteps: 2 });
      const reading = (async () => {
        for await (const event of run) events.push(event);
      })();
      const error = await errorOf(reading);
      await errorOf(run);
      expect(error).toBeInstanceOf(TrainingError);
      expect(error.message).toMatch(
        /is no longer this run's: .*\n {2}hint: The parameters of the last step are in memory/s,
      );
      expect([...model.values]).not.toEqual(kept);
      expect((await names()).filter((name) => name.startsWith('checkpoint'))).toEqual(['checkpoint-2']);
      expect(events.filter(({ type }) => type === 'warning')).toEqual([]);
      const left = (await names()).filter((name) => name.startsWith('.'));
      expect(left).toEqual(state === 'the other one is there' ? [RUN_LOCK] : []);
    },
  );

  it('goes on where the folder or its lock was removed by hand', async () => {
    lockTimes.staleMs = 60_000;
    for (const gone of [outputDir, lockPath()]) {
      const model = linearModel();
      // The lock is renewed at times, and a file that comes in between fails the removal.
      model.onWindow = async (window) => void (window === 2 && (await rm(gone, { recursive: true, maxRetries: 5 })));
      await train(model);
      expect(await names()).toContain('checkpoint-5');
      expect(await names()).not.toContain(RUN_LOCK);
      await rm(outputDir, { recursive: true, maxRetries: 5 });
    }
  });
});

describe('the output folder', () => {
  it('is not made by a run that fails before it writes', async () => {
    const config = { outputDir: join(outputDir, 'a', 'b') };
    await expect(train(linearModel(), config, { resumeFromCheckpoint: true })).rejects.toThrow('holds no checkpoint');
    expect(await readdir(folder, { recursive: true })).toEqual([]);
  });

  it('is named where nothing can be written', async () => {
    await writeFile(outputDir, 'a file');
    for (const path of [outputDir, join(outputDir, 'below')]) {
      const error = await errorOf(train(linearModel(), { outputDir: path }));
      expect(error).toBeInstanceOf(CheckpointError);
      expect(error.message).toMatch(
        /^(cannot write .*out|`outputDir` .* is a file).*hint: Choose another `outputDir`/s,
      );
    }
  });

  it('of a run within a checkpoint of another is not taken from under it', async () => {
    const inner = join(outputDir, 'checkpoint-2');
    const claim = await claimRunFolder(inner);
    const warnings: string[] = [];
    const run = train(linearModel(), { maxSteps: 3 });
    for await (const event of run) if (event.type === 'warning') warnings.push(event.message);
    expect(warnings.join()).toMatch(/cannot write .*checkpoint-2: .*checkpoint-2 is in use by a training run: this/);
    expect(await readdir(inner)).toEqual([RUN_LOCK]);
    expect(await names()).toEqual(['checkpoint-1', 'checkpoint-2', 'checkpoint-3', 'train-log.jsonl']);
    await claim.release();
    await rm(outputDir, { recursive: true });
    // Nor where it is one too many.
    const model = linearModel();
    let later: Awaited<ReturnType<typeof claimRunFolder>> | undefined;
    model.onWindow = async (window) => {
      if (window === 2) later = await claimRunFolder(join(outputDir, 'checkpoint-1'));
    };
    await train(model, { saveTotalLimit: 1 });
    expect((await names()).filter((name) => name.startsWith('check'))).toEqual(['checkpoint-1', 'checkpoint-5']);
    await later!.release();
  });

  it('stays where it was when the process changes its working directory', async () => {
    const before = process.cwd();
    await mkdir(join(folder, 'other'));
    try {
      process.chdir(folder);
      const model = linearModel();
      model.onWindow = async (window) => {
        if (window !== 2) return;
        process.chdir(join(folder, 'other'));
        const second = train(linearModel(), { outputDir: join(folder, 'out') });
        await expect(second).rejects.toThrow('in use by a training run: this process');
      };
      const config = { outputDir: 'out', saveTotalLimit: 2, evalStrategy: 'no' } as const;
      await train(model, config);
      expect(await readdir(join(folder, 'other'))).toEqual([]);
      expect(await names()).toEqual(['checkpoint-4', 'checkpoint-5', 'train-log.jsonl']);
      // The same of a checkpoint to go on from.
      process.chdir(folder);
      await rm('out/checkpoint-5', { recursive: true });
      const run = train(linearModel(), config, { resumeFromCheckpoint: 'out/checkpoint-4' });
      process.chdir(join(folder, 'other'));
      await run;
      expect(await readdir(join(folder, 'other'))).toEqual([]);
      expect(await names()).toEqual(['checkpoint-4', 'checkpoint-5', 'train-log.jsonl']);
    } finally {
      process.chdir(before);
    }
  });

  it('of another run is put in order for a resume only if that run has ended', async () => {
    await train(linearModel());
    const other = join(folder, 'second');
    const from = join(outputDir, 'checkpoint-2');
    const half = '.checkpoint-9.12-0a1b2c3d.tmp';
    const claim = await claimRunFolder(outputDir);
    await mkdir(join(outputDir, half));
    await train(linearModel(), { outputDir: other }, { resumeFromCheckpoint: from });
    await rm(from, { recursive: true });
    const error = await errorOf(train(linearModel(), { outputDir: other }, { resumeFromCheckpoint: from }));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.message).toMatch(
      /checkpoint-2 is gone or not whole: its folder is in use by a training run: this process/,
    );
    expect(await names()).toContain(half);
    await claim.release();
    const gone = await errorOf(train(linearModel(), { outputDir: other }, { resumeFromCheckpoint: from }));
    expect(gone.message).toContain('checkpoint-2 is no checkpoint');
    expect(await names()).not.toContain(half);
  });
});
