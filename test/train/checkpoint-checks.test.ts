import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CpuEngine, createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { CheckpointError } from '../../src/errors.js';
import { SafetensorsFile, type TensorToWrite, writeSafetensors } from '../../src/formats/safetensors.js';
import { checkCourse, checkOptimizer } from '../../src/train/checkpoint-checks.js';
import type { TrainerState } from '../../src/train/checkpoint-state.js';
import { linearModel, linearTrainer } from './linear-model.js';
import { reseal } from './reseal.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'checkpoint-checks-'));
});
afterEach(() => rm(folder, { recursive: true }));

const path = () => join(folder, 'checkpoint-4');
const trainer = () => linearTrainer(linearModel(), { outputDir: folder, saveSteps: 4, loggingSteps: 2 });
async function refusal(): Promise<string> {
  await reseal(path());
  const error = await trainer()
    .train({ resumeFromCheckpoint: path() })
    .result.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CheckpointError);
  return (error as Error).message;
}

describe('a state whose digests fit and that no run can have written', () => {
  beforeEach(async () => void (await trainer().train()));

  it.each<[string, (state: Record<string, never>) => unknown, string]>([
    ['a fractional step', (json) => ({ ...json, globalStep: 3.5 }), 'globalStep: Invalid input: expected int'],
    ['a loss that JSON made null of', (json) => merge(json, { metrics: { totalLoss: null } }), 'metrics.totalLoss'],
    ['a negative count', (json) => merge(json, { metrics: { totalSteps: -1 } }), 'metrics.totalSteps'],
    [
      'more losses than steps',
      (json) => merge(json, { metrics: { totalSteps: 5 } }),
      'metrics.totalSteps + metrics.skippedSteps is 5, beyond globalStep, 4',
    ],
    [
      'steps that were counted and left out at once',
      (json) => merge(json, { metrics: { skippedSteps: 1 } }),
      'metrics.totalSteps + metrics.skippedSteps is 5, beyond globalStep, 4',
    ],
    [
      'more steps since the last log than at all',
      (json) => merge(json, { metrics: { totalSteps: 1, stepsSinceLog: 2 } }),
      'metrics.stepsSinceLog is 2, beyond metrics.totalSteps, 1',
    ],
    ['another epoch', (json) => ({ ...json, epoch: 2.5 }), 'epoch is 2.5, after step 4 it is 2'],
    ['another end', (json) => ({ ...json, totalSteps: 7 }), 'totalSteps is 7, this run has 6'],
    [
      'a log of the future',
      (json) => ({ ...json, logHistory: [{ step: 5, epoch: 2 }] }),
      'logHistory[0].step is 5, beyond globalStep, 4',
    ],
    [
      'a log that goes back',
      (json) => ({ ...json, logHistory: [3, 2].map((step) => ({ step, epoch: 1 })) }),
      'logHistory[1].step is 2, after one of step 3',
    ],
    [
      'a log of a later epoch',
      (json) => ({ ...json, logHistory: [{ step: 4, epoch: 2.5 }] }),
      'logHistory[0].epoch is 2.5, beyond epoch, 2',
    ],
    [
      'a best step of the future',
      (json) => ({ ...json, best: { ...judge, withoutGain: 0, best: { step: 9, value: 1 } } }),
      'best.best.step is 9, beyond globalStep, 4',
    ],
    [
      'more evaluations than steps',
      (json) => ({ ...json, best: { ...judge, withoutGain: 5 } }),
      'best.withoutGain is 5, beyond globalStep, 4',
    ],
    ['an evaluation that is half due', (json) => ({ ...json, evaluationDue: false }), 'evaluationDue'],
  ])('is refused for %s', async (_, change, message) => {
    const file = join(path(), 'trainer-state.json');
    await writeFile(file, JSON.stringify(change(JSON.parse(await readFile(file, 'utf8')))));
    expect(await refusal()).toContain(message);
  });

  it.each<[string, string, (array: Float32Array) => Float32Array, string]>([
    ['a negative second moment', 'v', (v) => v.with(1, -1e-9), 'v[1] is -9.999999717180685e-10, expected a second'],
    ['a second moment that is NaN', 'v', (v) => v.with(2, Number.NaN), 'v[2] is NaN'],
    ['an infinite first moment', 'm', (m) => m.with(0, Number.NEGATIVE_INFINITY), 'm[0] is -Infinity'],
    ['a fractional step', 'steps', (s) => s.with(0, 2.5), 'steps[0] is 2.5, expected a whole number from 0 to 4'],
    ['a negative step', 'steps', (s) => s.with(0, -1), 'steps[0] is -1'],
    ['more steps than there were', 'steps', (s) => s.with(0, 5), 'steps[0] is 5, expected a whole number from 0 to 4'],
    ['steps that are NaN', 'steps', (s) => s.with(0, Number.NaN), 'steps[0] is NaN'],
    ['too few second moments', 'v', (v) => v.slice(1), 'm has 3 values, v has 2'],
  ])('is refused for %s', async (_, name, change, message) => {
    await rewrite(join(path(), 'training-state.safetensors'), `optimizer.${name}`, change);
    expect(await refusal()).toContain(message);
  });
});

describe('the state of the 8-bit optimizer', () => {
  const state = { globalStep: 9 } as TrainerState;
  const sound = {
    codesM: Uint8Array.of(0, 255),
    codesV: Uint8Array.of(0, 255),
    scalesM: Float32Array.of(0),
    scalesV: Float32Array.of(1),
    m: Float32Array.of(-1),
    v: Float32Array.of(1),
    steps: Float32Array.of(9, 0),
  };
  const check = (change: Record<string, Float32Array | Uint8Array>) => () =>
    checkOptimizer('checkpoint-9', state, { parameters: new Float32Array(3), optimizer: { ...sound, ...change } });

  it('may hold any code', () => expect(check({})()).resolves.toBeUndefined());

  it.each<[Record<string, Float32Array | Uint8Array>, string]>([
    [{ scalesM: Float32Array.of(-0.5) }, 'scalesM[0] is -0.5, expected the scale of a block of first moments'],
    [{ scalesV: Float32Array.of(Number.NaN) }, 'scalesV[0] is NaN'],
    [{ v: Float32Array.of(-1) }, 'v[0] is -1'],
    [{ codesM: Uint8Array.of(1) }, 'codesM has 1 values, codesV has 2'],
    [{ codesM: Uint8Array.of(1), codesV: Uint8Array.of(1) }, 'moments of 2 values, expected those of 3 parameters'],
    [{ codesM: Float32Array.of(1, 2) }, 'codesM holds float32, expected bytes'],
    [{ scalesV: Float32Array.of(1, 1) }, 'scalesM has 1 values, scalesV has 2'],
    [{ steps: Float32Array.of(9, 10) }, 'steps[1] is 10'],
    [{ steps: Float32Array.of(9, -0.5) }, 'steps[1] is -0.5'],
    [{ m: Uint8Array.of(1) }, 'm holds bytes, expected float32'],
    [{ codesV: Float32Array.of(1, 2) }, 'codesV holds float32, expected bytes'],
  ])('is refused for %o', async (change, message) => {
    await expect(check(change)()).rejects.toThrow(message);
  });

  it.each(['m', 'v', 'codesM', 'codesV'])('is of all parameters where it has only %s', async (name) => {
    const optimizer = { [name]: name.startsWith('codes') ? Uint8Array.of(1) : Float32Array.of(1) };
    await expect(checkOptimizer('checkpoint-9', state, { parameters: new Float32Array(3), optimizer })).rejects.toThrow(
      'expected those of 3 parameters',
    );
  });

  it('of an engine of other arrays is that engine’s own business', async () => {
    await checkOptimizer('checkpoint-9', state, { parameters: new Float32Array(3), optimizer: {} });
    await checkOptimizer('checkpoint-9', state, {
      parameters: new Float32Array(3),
      optimizer: { other: Float32Array.of(Number.NaN), scalesM: Float32Array.of(1) },
    });
  });

  it('is refused with all of its faults, and what to do', async () => {
    const error = await check({ m: Float32Array.of(Number.NaN), v: Float32Array.of(-0.5) })().catch((e: unknown) => e);
    const faults = [
      'm[0] is NaN, expected a finite first moment',
      'v[0] is -0.5, expected a second moment, which is never negative',
    ];
    expect(error).toMatchObject({ details: { path: 'checkpoint-9', faults } });
    expect((error as Error).message).toContain(
      `checkpoint-9: the optimizer's state holds what no run can write:\n  - ${faults.join('\n  - ')}\n` +
        '  hint: It was made or changed by something else than a run of this package; resume from another checkpoint.',
    );
  });

  it('is what the engines write', async () => {
    const engine: CpuEngine = createCpuEngine();
    try {
      const set = engine.createParameters([
        { name: 'a', shape: [80, 64], initial: new Float32Array(5120).fill(1) },
        { name: 'b', shape: [3], initial: new Float32Array(3) },
      ]);
      for (const kind of ['adamw', 'adamw8bit'] as const) {
        const optimizer = await engine.readOptimizerState(set, engine.createOptimizerState(set, kind));
        await checkOptimizer('checkpoint-9', state, { parameters: new Float32Array(5123), optimizer });
      }
    } finally {
      await engine.dispose();
    }
  });
});

describe('the course of a run', () => {
  const course = {
    ...{ globalStep: 4, totalSteps: 6, epoch: 2, metrics: { totalSteps: 3, skippedSteps: 1, stepsSinceLog: 3 } },
    logHistory: [
      { step: 4, epoch: 2 },
      { step: 4, epoch: 2 },
    ],
  };
  const run = { totalSteps: 6, epochAfter: (steps: number) => steps / 2 };
  const check = (change: object, of?: typeof run) => () =>
    checkCourse('checkpoint-4', { ...course, ...change } as unknown as TrainerState, of);

  it('may go up to its limits', () => {
    expect(check({}, run)()).toBeUndefined();
    const best = { ...judge, withoutGain: 4, best: { step: 4, value: 1 }, saved: { step: 4, value: 1 } };
    expect(check({ best }, run)()).toBeUndefined();
    expect(check({ best: { ...judge, withoutGain: 0 } }, run)()).toBeUndefined();
  });

  it('is compared with a run only where there is one', () => {
    expect(check({ totalSteps: 9, epoch: 7 })()).toBeUndefined();
    expect(check({ totalSteps: 9 }, run)).toThrow(
      'checkpoint-4: its state holds what no run can write:\n  - totalSteps is 9, this run has 6',
    );
  });

  it('has no saved step of the future', () => {
    const saved = { step: 5, value: 1 };
    expect(check({ best: { ...judge, withoutGain: 0, saved } })).toThrow('best.saved.step is 5, beyond globalStep, 4');
  });
});

const judge = { metric: 'evalLoss', greaterIsBetter: false };

function merge(json: Record<string, never>, { metrics }: { metrics: object }): unknown {
  return { ...json, metrics: { ...(json.metrics as object), ...metrics } };
}

/** The file with one of its arrays changed. */
async function rewrite(path: string, name: string, change: (array: Float32Array) => Float32Array): Promise<void> {
  const file = await SafetensorsFile.open(path);
  const tensors: TensorToWrite[] = [];
  for (const key of file.tensors.keys()) {
    const array = await file.readFloat32(key);
    const data = key === name ? change(array) : array;
    tensors.push({ name: key, dtype: 'F32', shape: [data.length], data });
  }
  await file.close();
  await writeSafetensors(path, tensors);
}
