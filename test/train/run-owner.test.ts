import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SftExample, VlmBatch } from '../../src/data/types.js';
import { exclusively } from '../../src/engine/computation.js';
import type { Engine } from '../../src/engine/engine.js';
import { requireIdleEngine, requireNotTraining, requireOwnCall } from '../../src/engine/parameter-lease.js';
import { TrainingError } from '../../src/errors.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainer, SftTrainerOptions } from '../../src/train/sft-trainer.js';
import type { TrainableModel } from '../../src/train/trainable-model.js';
import { warningsOf } from './follow.js';
import { type LinearModel, linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'run-owner-'));
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(outputDir, { recursive: true });
});

function trainer(
  model: TrainableModel,
  config: SftConfigInput = {},
  more: Partial<SftTrainerOptions> = {},
): SftTrainer {
  const given: SftConfigInput = { outputDir, saveStrategy: 'no', loggingSteps: 2, seed: 11, ...config };
  return linearTrainer(model as LinearModel, given, more);
}

const checkpoints = async () => (await readdir(outputDir)).filter((name) => name.startsWith('checkpoint')).sort();
const never = <T>() => new Promise<T>(() => {});

describe('the parameters of a run are its own', () => {
  it('so that a second run is refused, by another trainer and through another object too', async () => {
    const alone = linearModel();
    await trainer(alone, { outputDir: join(outputDir, 'alone') }).train();
    const model = linearModel();
    const second = trainer(model, { outputDir: join(outputDir, 'second') });
    const wrapped = trainer({ ...model, trainable: model.trainable }, { outputDir: join(outputDir, 'third') });
    for await (const event of trainer(model, { outputDir: join(outputDir, 'first') }).train()) {
      if (event.type !== 'log') continue;
      const before = [...model.values];
      for (const other of [second, wrapped]) {
        const error = await other.train().result.catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(TrainingError);
        expect((error as Error).message).toMatch(
          new RegExp(`train: the model is training already: a run in ".*first", ${event.step} of 6 steps done`),
        );
      }
      expect([...model.values]).toEqual(before);
    }
    expect([...model.values]).toEqual([...alone.values]);
    // The refused ones left nothing behind, and may run now.
    expect((await readdir(outputDir)).sort()).toEqual(['alone', 'first']);
    expect((await second.train()).globalStep).toBe(6);
  });

  it('until it ends, in whatever way', async () => {
    const model = linearModel();
    const controller = new AbortController();
    const aborted = trainer(model).train({ signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    await expect(trainer(model, {}, { trainDataset: [{ messages: 1 } as never] }).train()).rejects.toThrow();
    const left = trainer(model).train();
    for await (const _ of left) break;
    await expect(trainer(model).train({ resumeFromCheckpoint: true })).rejects.toThrow('holds no checkpoint');
    expect((await trainer(model).train()).globalStep).toBe(6);
  });

  it('so that gradients, updates and the end of what it works on are refused meanwhile', async () => {
    const model = linearModel();
    const { engine, trainable } = model;
    const check = () => {
      requireNotTraining(trainable, 'dispose: the adapter "a"');
      requireIdleEngine(engine, 'engine.dispose');
      requireOwnCall(trainable, {}, 'accumulateGradients');
    };
    check();
    for await (const event of trainer(model).train()) {
      if (event.type !== 'step') continue;
      expect(() => requireNotTraining(trainable, 'dispose: the adapter "a"')).toThrow(
        /^dispose: the adapter "a" is being trained: a run in .*, [1-6] of 6 steps done/,
      );
      expect(() => requireIdleEngine(engine, 'engine.dispose')).toThrow(/^engine.dispose: a run is training on this/);
      expect(() => requireOwnCall(trainable, {}, 'accumulateGradients')).toThrow(/^accumulateGradients: a run is/);
      requireNotTraining(undefined, 'x');
      requireNotTraining(linearModel().trainable, 'x');
      requireIdleEngine(linearModel().engine, 'x');
    }
    check();
  });

  it('while runs on other models of the engine take turns with it', async () => {
    const engine = {} as Engine;
    const order: string[] = [];
    const work = (name: string) =>
      exclusively(engine, undefined, async () => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setImmediate(resolve));
        order.push(`${name} ends`);
        if (name === 'b') throw new Error('b');
      });
    const [a, b, c] = await Promise.allSettled([work('a'), work('b'), work('c')]);
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
    expect([a, b, c].map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    // Whoever waits for one that never ends can be stopped.
    void exclusively(engine, undefined, () => never());
    const controller = new AbortController();
    const waiting = exclusively(engine, controller.signal, async () => undefined);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});

describe('an abort is heard though somebody never answers', () => {
  const evalDataset = linearDataset(3);
  const silentAt = (from: number, model: LinearModel) => ({
    ...linearDataset(7),
    get: (i: number) => (model.steps.length >= from ? never<SftExample>() : linearDataset(7).get(i)),
  });
  const lists = { hasLabels: () => true };

  const cases: Record<string, (model: LinearModel) => [SftConfigInput, Partial<SftTrainerOptions>]> = {
    'the data set, when it is looked through': () => [
      {},
      { collator: { ...linearCollator, ...lists }, trainDataset: { ...linearDataset(7), get: () => never() } },
    ],
    'the data set, when its fingerprint is made': () => [
      {},
      { trainDataset: { ...linearDataset(7), get: () => never() } },
    ],
    'the data set, in a step': (model) => [{ dataloaderPrefetch: 0 }, { trainDataset: silentAt(2, model) }],
    'the collator': (model) => [
      { dataloaderPrefetch: 0 },
      {
        collator: {
          collate: (examples: readonly SftExample[]) =>
            model.steps.length >= 2 ? never<VlmBatch>() : linearCollator.collate(examples),
        },
      },
    ],
    computeMetrics: () => [
      { evalStrategy: 'steps', evalSteps: 2 },
      { evalDataset, computeMetrics: () => never() },
    ],
    'the model, in an evaluation': (model) => {
      model.onEvaluate = () => never();
      return [{ evalStrategy: 'steps', evalSteps: 2 }, { evalDataset }];
    },
    'the model, in a step': (model) => {
      model.onWindow = (window) => (window === 2 ? never<void>() : undefined);
      return [{}, {}];
    },
    'the loss of a step': (model) => {
      model.onFetch = (window) => (window === 2 ? never() : undefined);
      return [{ loggingSteps: 1, onNonFiniteLoss: 'skip' }, {}];
    },
  };

  it.each(Object.keys(cases))('%s', async (name) => {
    const model = linearModel();
    const [config, more] = cases[name]!(model);
    const controller = new AbortController();
    const run = trainer(model, { saveStrategy: 'epoch', saveTotalLimit: 3, ...config }, more).train({
      signal: controller.signal,
    });
    let isOver = false;
    run.result.catch(() => {
      isOver = true;
    });
    const isBefore = name.includes('looked') || name.includes('fingerprint');
    if (!isBefore) await vi.waitFor(() => expect(model.steps).toHaveLength(2), 30_000);
    for (let i = 0; i < 30; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(isOver).toBe(false);
    controller.abort(new Error('enough'));
    await expect(run).rejects.toThrow('enough');
    expect(await checkpoints()).toEqual(isBefore ? [] : ['checkpoint-2']);
    // A reader that leaves is heard in the same way.
    if (isBefore || name.startsWith('the model') || name.startsWith('the loss')) return;
    const again = linearModel();
    const [otherConfig, others] = cases[name]!(again);
    const left = trainer(again, { ...otherConfig, outputDir: join(outputDir, 'b') }, others).train();
    const iterator = left[Symbol.asyncIterator]();
    await iterator.next();
    const leave = async () => {
      await vi.waitFor(() => expect(again.steps.length).toBeGreaterThan(1), 30_000);
      await iterator.return!();
    };
    void left.result;
    void left.then(() => undefined);
    await leave();
    expect(await left).toMatchObject({ stopped: true, globalStep: 2 });
  });

  it('a model that computes on keeps its parameters until it is done', async () => {
    const model = linearModel();
    let answer = () => {};
    const late = new Promise<void>((resolve) => {
      answer = resolve;
    });
    let isComputing = false;
    model.onWindow = (window) => {
      isComputing = window === 2;
      return isComputing ? late : undefined;
    };
    const controller = new AbortController();
    const run = trainer(model).train({ signal: controller.signal });
    await vi.waitFor(() => expect(isComputing).toBe(true), 30_000);
    controller.abort(new Error('enough'));
    await expect(run).rejects.toThrow('enough');
    await expect(trainer(model).train()).rejects.toThrow('training already');
    answer();
    await vi.waitFor(async () => expect((await trainer(model).train()).globalStep).toBe(6), 30_000);
  });

  it('trainer.evaluate', async () => {
    for (const more of [
      { computeMetrics: () => never<Record<string, number>>() },
      { collator: { collate: () => never<VlmBatch>() } },
    ]) {
      const controller = new AbortController();
      const result = trainer(linearModel(), {}, { evalDataset, ...more }).evaluate(undefined, controller.signal);
      setTimeout(() => controller.abort(new Error('enough')), 5);
      await expect(result).rejects.toThrow('enough');
    }
  });

  it('saveAdapter: the last save is made without it, and says so', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const model = linearModel();
    const controller = new AbortController();
    let isAsked = false;
    const saveAdapter = () => {
      isAsked = model.steps.length >= 3;
      return isAsked ? never<void>() : Promise.resolve();
    };
    model.onWindow = (window) => void (window === 3 && controller.abort(new Error('enough')));
    const events: TrainingEvent[] = [];
    const run = trainer(model, { saveStrategy: 'epoch' }, { saveAdapter }).train({ signal: controller.signal });
    const loop = (async () => {
      for await (const event of run) events.push(event);
    })();
    loop.catch(() => {});
    while (!isAsked || vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(29_000);
    expect(await checkpoints()).toEqual(['checkpoint-2']);
    await vi.advanceTimersByTimeAsync(1_000);
    await expect(run).rejects.toThrow('enough');
    await expect(loop).rejects.toThrow('enough');
    const [last] = (await checkpoints()).slice(-1);
    expect(last).toMatch(/checkpoint-[34]/);
    const warnings = warningsOf(events);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toMatch(/`saveAdapter` has not answered within 30 s after the run was to stop/);
    expect(warnings[1]).toMatch(/this save was made without what it writes/);
    // It goes on as any other.
    const whole = linearModel();
    await trainer(whole, { outputDir: join(outputDir, 'whole') }).train();
    const again = linearModel();
    vi.useRealTimers();
    await trainer(again, { saveStrategy: 'epoch' }).train({ resumeFromCheckpoint: true });
    expect([...again.values]).toEqual([...whole.values]);
    expect(JSON.parse(await readFile(join(outputDir, last!, 'trainer-state.json'), 'utf8')).globalStep).toBeGreaterThan(
      2,
    );
  });
});
