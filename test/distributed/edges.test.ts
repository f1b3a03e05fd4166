import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import { CheckpointError, DistributedError, OutOfMemoryError } from '../../src/errors.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import type { TrainingControl } from '../../src/train/callbacks.js';
import { shareCheckpoint } from '../../src/train/rank-checkpoint.js';
import { RankExchange } from '../../src/train/rank-exchange.js';
import { saveLast, writeTogether } from '../../src/train/rank-run.js';
import { ReaderLeft } from '../../src/train/reader-left.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { linearDataset, linearModel, linearTrainer } from '../train/linear-model.js';
import { ofType, type RankRun, trainRanks } from './linear-ranks.js';
import { withLoopback } from './loopback-sum.js';
import { MemoryWorld } from './memory-group.js';

/** A disk that takes so many bytes more, once they are counted. */
const disk = vi.hoisted(() => ({ room: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY }));
vi.mock('node:fs/promises', async (importOriginal) => {
  const { onDisk } = await import('../full-disk.js');
  const real = await importOriginal<typeof import('node:fs/promises')>();
  return { ...real, ...onDisk(disk, real) };
});

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ranks-'));
});
afterEach(async () => {
  Object.assign(disk, { room: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY });
  vi.useRealTimers();
  await rm(dir, { recursive: true, force: true });
});

const config = (more: SftConfigInput = {}): SftConfigInput =>
  ({ outputDir: join(dir, 'run'), seed: 11, loggingSteps: 1, gradientAccumulationSteps: 1, ...more }) as SftConfigInput;

const train = (worldSize: number, more: SftConfigInput, options: Parameters<typeof trainRanks>[2] = {}) =>
  Promise.all(trainRanks(worldSize, config(more), options));

function expectSame(runs: readonly RankRun[], one: RankRun): void {
  for (const { error, model, output, events } of runs) {
    expect(error).toBeUndefined();
    expect(output!.globalStep).toBe(one.output!.globalStep);
    expect([...model.values]).toEqual([...runs[0]!.model.values]);
    model.values.forEach((value, i) => {
      expect(Math.abs(value - one.model.values[i]!)).toBeLessThan(1e-6);
    });
    const losses = ofType(one.events, 'evaluate').map(({ evalLoss }) => evalLoss);
    ofType(events, 'evaluate').forEach(({ evalLoss }, i) => {
      expect(Math.abs(evalLoss - losses[i]!)).toBeLessThan(1e-6);
    });
    expect(ofType(events, 'evaluate')).toHaveLength(losses.length);
  }
}

describe('few data for many ranks', () => {
  for (const [what, more] of [
    ['ranks without a micro-batch in the whole run', { numTrainEpochs: 3 }],
    ['dropLast', { numTrainEpochs: 3, dataloaderDropLast: true }],
    ['maxSteps', { maxSteps: 5 }],
  ] as const) {
    it(`trains as one process does: ${what}`, async () => {
      const evalDataset = linearDataset(1, 5);
      const settings = { ...more, evalStrategy: 'epoch' as const, evalOnStart: true };
      const options = { options: () => ({ evalDataset }) };
      const [one] = await train(0, { ...settings, gradientAccumulationSteps: 6, outputDir: join(dir, 'one') }, options);
      expectSame(await train(6, settings, options), one!);
    });
  }

  it('trains as one process does where some ranks have none in the last window of each epoch', async () => {
    const [one] = await train(0, { gradientAccumulationSteps: 3, numTrainEpochs: 3, outputDir: join(dir, 'one') });
    const runs = await train(3, { numTrainEpochs: 3 });
    expectSame(runs, one!);
    expect(runs[2]!.model.seen).toHaveLength(3);
    // A rank that begins its window again waits for sums that it has begun: no other may hold its own back until then.
    for (const { trace } of runs) for (const names of trace.early) expect(names.sort()).toEqual(['lora_A', 'lora_B']);
  });
});

describe('one rank that differs', () => {
  it('begins its window again where memory ends though its gradients are on their way', async () => {
    const data = { options: () => ({ trainDataset: linearDataset(24) }) };
    const costs = { peakBytes: ({ tokens }: { readonly tokens: number }) => tokens * 2 ** 20 };
    const [one] = await train(0, { gradientAccumulationSteps: 4, outputDir: join(dir, 'one') }, data);
    const runs = await train(
      2,
      { gradientAccumulationSteps: 2, autoMicroBatch: true },
      {
        ...data,
        model: (rank) => {
          const model = linearModel();
          const { passCosts, engine } = model;
          model.passCosts = (...given) => ({ ...passCosts(...given), ...costs });
          const { keepPace, operations } = engine;
          const { linear } = operations as unknown as { linear: { backward(...given: unknown[]): unknown } };
          const { backward } = linear;
          let isFull = false;
          let hasFailed = false;
          linear.backward = (...given) => {
            isFull = rank === 1 && model.steps.length === 1 && !hasFailed;
            return backward(...given);
          };
          engine.keepPace = async () => {
            await keepPace!.call(engine);
            if (!isFull || hasFailed) return;
            hasFailed = true;
            throw new OutOfMemoryError('the device is full');
          };
          return model;
        },
      },
    );
    expectSame(runs, one!);
    expect(runs.map(({ trace }) => trace.restarts)).toEqual([0, 1]);
    const [warned] = ofType(runs[0]!.events, 'warning').filter(({ message }) => message.includes('begun again'));
    expect(warned!.message).toMatch('rank 1: the device is full');
  });

  it('names what its computeMetrics threw, and saves the step', async () => {
    const evalDataset = linearDataset(5, 3);
    const runs = await train(
      2,
      { evalStrategy: 'steps', evalSteps: 2, maxSteps: 6 },
      {
        options: (rank) => ({
          evalDataset,
          computeMetrics: () => {
            if (rank === 1) throw new RangeError('no metric');
            return { odd: 1 };
          },
        }),
      },
    );
    expect(runs[1]!.error).toBeInstanceOf(RangeError);
    expect(runs[0]!.error).toBeInstanceOf(DistributedError);
    expect((runs[0]!.error as Error).message).toMatch('rank 1 has failed: no metric');
    expect(await readdir(join(dir, 'run'))).toContain('checkpoint-2');
  });

  it('holds all of them while its callback pauses the run', async () => {
    let held = 0;
    const runs = await train(
      2,
      { maxSteps: 4 },
      {
        options: (rank) => {
          let control: TrainingControl | undefined;
          if (rank === 0) return {};
          return {
            callbacks: [
              {
                onStart: (_, given) => {
                  control = given;
                },
                onEvent: ({ type, step }) => {
                  if (type === 'step' && step === 2) control!.pause();
                  if (type !== 'pause') return;
                  held++;
                  setTimeout(() => control!.resume(), 20);
                },
              },
            ],
          };
        },
      },
    );
    expect(held).toBe(1);
    expect(runs.map(({ output }) => output?.globalStep)).toEqual([4, 4]);
  });

  it('leaves no checkpoint behind where none is wanted', async () => {
    const world = new MemoryWorld(2);
    const [run] = trainRanks(2, config({ saveStrategy: 'no', maxSteps: 6 }), {
      world,
      model: (rank) => {
        const model = linearModel();
        if (rank === 1)
          model.onWindow = (window) => {
            if (window < 3) return;
            world.kill(1);
            return new Promise(() => {});
          };
        return model;
      },
    });
    const { error } = (await run)!;
    expect((error as Error).message).toMatch('rank 1 was lost during training');
    expect((await readdir(join(dir, 'run'))).filter((name) => name.startsWith('checkpoint'))).toEqual([]);
  });
});

describe('a disk that is full on rank 0', () => {
  it('costs warnings on all ranks, and the best step is loaded from memory on all of them', async () => {
    const values = [5, 9, 1, 1];
    const runs = await train(
      2,
      {
        ...{ evalStrategy: 'steps', evalSteps: 1, saveStrategy: 'steps', saveSteps: 1, maxSteps: 4 },
        ...{ loadBestModelAtEnd: true, metricForBestModel: 'odd', greaterIsBetter: true },
        lrSchedulerType: 'constant',
      } as SftConfigInput,
      {
        options: (rank) => ({
          evalDataset: linearDataset(5, 3),
          callbacks: [{ onStart: () => void Object.assign(disk, { room: 0 }) }],
          // The second is the best.
          computeMetrics: () => ({ odd: rank === 0 ? values.shift()! : 0 }),
        }),
      },
    );
    for (const { error, events, output, model } of runs) {
      expect(error).toBeUndefined();
      expect(output!.best).toMatchObject({ step: 2, value: 9, checkpoint: undefined });
      expect(output!.checkpoints).toEqual([]);
      const warned = ofType(events, 'warning').map(({ message }) => message);
      expect(warned.filter((message) => /no space left/.test(message)).length).toBeGreaterThan(2);
      expect(warned.some((message) => /the best step, 2, are loaded from memory/.test(message))).toBe(true);
      expect([...model.values]).toEqual([...runs[0]!.model.values]);
    }
    disk.room = Number.POSITIVE_INFINITY;
    const [one] = await train(0, {
      maxSteps: 2,
      gradientAccumulationSteps: 2,
      outputDir: join(dir, 'one'),
      lrSchedulerType: 'constant',
    });
    runs[0]!.model.values.forEach((value, i) => {
      expect(Math.abs(value - one!.model.values[i]!)).toBeLessThan(1e-6);
    });
  });
});

describe('what several ranks do after each other', () => {
  it('is a training, an evaluation and another training', async () => {
    const work = async (processGroup?: MemoryWorld['groups'][number]) => {
      const model = linearModel();
      if (processGroup) withLoopback(model.engine, model.gradients);
      const group = processGroup ? { processGroup } : {};
      const name = processGroup ? 'many' : 'one';
      const gradientAccumulationSteps = processGroup ? 1 : 3;
      const run = (more: SftConfigInput) =>
        linearTrainer(model, config({ gradientAccumulationSteps, outputDir: join(dir, name), ...more }), group).train();
      await run({ numTrainEpochs: 2 });
      const generate = async (examples: readonly unknown[]) => examples.map(() => 'cat');
      const evaluator = new Evaluator({ classNames: ['cat', 'dog'], generate, batchSize: 1, ...group });
      const items = IndexedDataset.from(Array.from({ length: 5 }, (_, i) => ({ label: i % 2 })));
      const toExample = () => ({ messages: [{ role: 'user' as const, content: '?' }] });
      const report = await evaluator.evaluate(items, { toExample, intervals: false });
      await run({ numTrainEpochs: 1, seed: 3, outputDir: join(dir, `${name}-2`) });
      return { values: [...model.values], accuracy: report.accuracy };
    };
    const one = await work();
    const many = await Promise.all(new MemoryWorld(3).groups.map(work));
    for (const { values, accuracy } of many) {
      expect(accuracy).toBe(one.accuracy);
      expect(values).toEqual(many[0]!.values);
      values.forEach((value, i) => {
        expect(Math.abs(value - one.values[i]!)).toBeLessThan(1e-6);
      });
    }
  });
});

describe('what ranks exchange', () => {
  const exchanges = (worldSize: number) =>
    new MemoryWorld(worldSize).groups.map((group) => {
      const run = new AbortController();
      const end = { signal: run.signal, stop: () => undefined };
      return { run, ranks: new RankExchange(group, end, 'training') };
    });

  it('is the content of a checkpoint that rank 0 alone can read', async () => {
    const tensors = {
      parameters: Float32Array.of(1, -0, Number.NaN, 1e-40),
      optimizer: { v: Uint8Array.of(1, 2, 3), m: Float32Array.of(0.5), steps: Float32Array.of(7) },
    };
    const place = { path: '/elsewhere/checkpoint-7', step: 7 };
    const opened = {
      ...{ state: { globalStep: 7 } as never, tensors, damaged: ['a'], warnings: ['b'] },
      ...{ latest: place, kept: [place] },
    };
    const asked: string[] = [];
    const got = await Promise.all(
      exchanges(3).map(({ ranks }, rank) =>
        shareCheckpoint(
          ranks,
          async () => opened,
          async (path) => {
            asked.push(path);
            if (rank === 1) throw new CheckpointError('it is not there');
            // Another one of the same name.
            return { ...opened, tensors: { ...tensors, parameters: Float32Array.of(1, 2, 3, 4) } };
          },
        ),
      ),
    );
    expect(asked).toEqual([place.path, place.path]);
    for (const one of got) expect(one).toEqual(opened);
  });

  it('hurries nobody where a reader has left, and ends a run that is aborted', () => {
    vi.useFakeTimers();
    for (const [reason, isFailed] of [
      [new ReaderLeft(), false],
      [new Error('enough'), true],
    ] as const) {
      const [{ run, ranks }] = exchanges(1) as [ReturnType<typeof exchanges>[number]];
      ranks.hasSteps = true;
      run.abort(reason);
      // Another rank is at a long window.
      vi.advanceTimersByTime(600_000);
      expect(ranks.group.failure.aborted).toBe(isFailed);
    }
  });

  it('is what rank 0 writes, though the others never come', async () => {
    const [main] = exchanges(2);
    const written: string[] = [];
    const error = await writeTogether(main!.ranks, '/adapter', async () => void written.push('it'), 10);
    expect(written).toEqual(['it']);
    expect(error).toBeInstanceOf(DistributedError);
    expect(error!.message).toMatch(/^saveModel: \/adapter is written, but not all ranks came to it: .*timeout/);
    expect(main!.ranks.group.failure.aborted).toBe(false);
    const failing = writeTogether(exchanges(1)[0]!.ranks, '/adapter', () => Promise.reject(new TypeError('no')), 10);
    await expect(failing).rejects.toThrow(TypeError);
  });

  it('is whether the last save is tried once more', async () => {
    const tried = [0, 0];
    const saved = await Promise.all(
      exchanges(2).map(({ ranks }, rank) =>
        saveLast(ranks, { isSilent: rank === 0 }, () =>
          ranks.fromMain('checkpoint', async () => undefined).then(() => ++tried[rank]! === 2),
        ),
      ),
    );
    expect(saved).toEqual([true, true]);
    expect(tried).toEqual([2, 2]);
  });
});
