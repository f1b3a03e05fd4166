import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, DistributedError } from '../../src/errors.js';
import { dealt, Sampler } from '../../src/train/sampler.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from '../train/linear-model.js';
import { dropping } from './dropping.js';
import { ofType, timeless, trainRanks } from './linear-ranks.js';
import { MemoryWorld } from './memory-group.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ranks-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const config = (more: SftConfigInput = {}): SftConfigInput =>
  ({ outputDir: join(dir, 'run'), seed: 11, loggingSteps: 2, ...more }) as SftConfigInput;

describe('dealing to ranks', () => {
  it('gives each sample of an epoch to one rank, once', () => {
    const sizes = fc.record({
      ...{ length: fc.integer({ min: 1, max: 60 }), batchSize: fc.integer({ min: 1, max: 9 }) },
      ...{ accumulation: fc.integer({ min: 1, max: 5 }), worldSize: fc.integer({ min: 1, max: 8 }) },
      dropLast: fc.boolean(),
    });
    fc.assert(
      fc.property(sizes, ({ length, batchSize, accumulation, worldSize, dropLast }) => {
        const sampler = new Sampler({
          ...{ length, batchSize, dropLast, seed: 3, numTrainEpochs: 2, maxSteps: -1 },
          gradientAccumulationSteps: accumulation * worldSize,
        });
        fc.pre(sampler.microBatchesPerEpoch > 0);
        const seen: number[] = [];
        const places: number[] = [];
        for (let step = 0; step < sampler.stepsPerEpoch; step++) {
          for (let rank = 0; rank < worldSize; rank++) {
            const own = dealt(sampler.window(step), { rank, worldSize });
            expect(own.microBatches.length).toBeLessThanOrEqual(accumulation);
            expect(own.places).toHaveLength(own.microBatches.length);
            seen.push(...own.microBatches.flat());
            places.push(...own.places!);
          }
        }
        const count = dropLast ? length - (length % batchSize) : length;
        expect(new Set(seen).size).toBe(count);
        expect(seen).toHaveLength(count);
        expect(places.sort((a, b) => a - b)).toEqual(places.map((_, i) => i));
      }),
    );
  });
});

describe('several ranks together', () => {
  it('drop, skip and log as one process does', async () => {
    const collator = dropping(linearCollator, (id) => [0, 3, 7, 8, 9, 10, 11].includes(Number(id)));
    const settings = { maxSkippedSteps: 5, onNonFiniteLoss: 'skip', numTrainEpochs: 2 } as const;
    const train = (worldSize: number, name: string) =>
      Promise.all(
        trainRanks(worldSize, config({ ...settings, outputDir: join(dir, name) }), {
          config: () => ({ gradientAccumulationSteps: 6 / Math.max(1, worldSize) }),
          options: () => ({ trainDataset: linearDataset(23), collator }),
          // The same window on whatever rank takes part in it.
          model: (rank) => {
            const model = linearModel({
              lossScale: () => (model.steps.length === 2 && !done && rank === 0 ? trip() : 1),
            });
            let done = false;
            const trip = () => {
              done = true;
              return Number.NaN;
            };
            return model;
          },
        }),
      );
    const [one] = await train(0, 'one');
    for (const worldSize of [2, 3]) {
      const runs = await train(worldSize, `many-${worldSize}`);
      for (const { error, output, model, events } of runs) {
        expect(error).toBeUndefined();
        const { skippedSteps, droppedSamples, samples, globalStep } = output!;
        const { output: alone } = one!;
        expect({ skippedSteps, droppedSamples, samples, globalStep }).toEqual({
          ...{ skippedSteps: 1, droppedSamples: alone!.droppedSamples, samples: alone!.samples },
          globalStep: alone!.globalStep,
        });
        model.values.forEach((value, i) => {
          expect(Math.abs(value - one!.model.values[i]!)).toBeLessThan(1e-5);
        });
        const tokens = (all: typeof events) => ofType(all, 'step').map((step) => [step.tokens, step.labels]);
        expect(tokens(events)).toEqual(tokens(one!.events));
        expect(timeless(events)).toEqual(timeless(runs[0]!.events));
      }
      const warned = ofType(runs[1]!.events, 'warning').map(({ message }) => message);
      expect(warned.some((message) => /the loss is NaN on rank 0; .* nothing was learned from it/.test(message))).toBe(
        true,
      );
    }
  });

  it('go on on another number of ranks as if nothing had happened', async () => {
    const data = { options: () => ({ trainDataset: linearDataset(29) }) };
    const [one] = await Promise.all(
      trainRanks(0, config({ outputDir: join(dir, 'one'), gradientAccumulationSteps: 6, numTrainEpochs: 4 }), data),
    );
    const first = config({ gradientAccumulationSteps: 3, numTrainEpochs: 4, saveSteps: 5, saveTotalLimit: 1 });
    const stop = new AbortController();
    const begun = await Promise.all(
      trainRanks(2, first, {
        ...data,
        train: () => ({ signal: stop.signal }),
        model: () => {
          const model = linearModel();
          model.onWindow = (window) => void (window === 6 && stop.abort(new Error('enough')));
          return model;
        },
      }),
    );
    expect(begun.map(({ error }) => (error as Error).message)).toEqual(['enough', 'enough']);
    expect(await readdir(join(dir, 'run'))).toContain('checkpoint-6');
    const resumed = await Promise.all(
      trainRanks(3, config({ gradientAccumulationSteps: 2, numTrainEpochs: 4 }), {
        ...data,
        train: () => ({ resumeFromCheckpoint: true }),
      }),
    );
    for (const { error, model, output } of resumed) {
      expect(error).toBeUndefined();
      expect(output!.globalStep).toBe(one!.output!.globalStep);
      expect(Math.abs(output!.trainingLoss - one!.output!.trainingLoss)).toBeLessThan(1e-6);
      model.values.forEach((value, i) => {
        expect(Math.abs(value - one!.model.values[i]!)).toBeLessThan(1e-6);
      });
    }
    const refused = await Promise.all(
      trainRanks(2, config({ gradientAccumulationSteps: 2, numTrainEpochs: 4 }), {
        ...data,
        train: () => ({ resumeFromCheckpoint: true }),
      }),
    );
    for (const { error } of refused) expect(String(error)).toMatch(/set `gradientAccumulationSteps: 3`/);
  });

  it('compare what they run, and name each difference', async () => {
    const runs = await Promise.all(
      trainRanks(3, config(), {
        config: (rank) => (rank === 2 ? { learningRate: 0.5, progress: 'none' } : {}),
        options: (rank) => ({ trainDataset: linearDataset(rank === 1 ? 8 : 7) }),
        model: (rank) => linearModel(rank === 1 ? { initialB: 0.25 } : {}),
      }),
    );
    for (const { error } of runs) {
      expect(error).toBeInstanceOf(DistributedError);
      const { message } = error as Error;
      expect(message).toMatch('`learningRate`: 0.02 on ranks 0, 1, 0.5 on rank 2');
      expect(message).toMatch('the training set: 7 samples on rank 0, 8 on rank 1');
      expect(message).toMatch(/initial values of the adapter.* on ranks 0, 2, .* on rank 1/);
    }
    expect(await readdir(dir)).not.toContain('run');
  });

  it('end in order where the loop of one of them is left', async () => {
    const runs = new MemoryWorld(2).groups.map(async (processGroup, rank) => {
      const model = linearModel();
      const { withLoopback } = await import('./loopback-sum.js');
      withLoopback(model.engine, model.gradients);
      const run = linearTrainer(model, config({ gradientAccumulationSteps: 1 }), { processGroup }).train();
      for await (const event of run) if (rank === 1 && event.type === 'step' && event.step === 2) break;
      return { output: await run, values: [...model.values] };
    });
    const [a, b] = await Promise.all(runs);
    expect([a!.output.stopped, b!.output.stopped]).toEqual([true, true]);
    expect([a!.output.globalStep, b!.output.globalStep]).toEqual([2, 2]);
    expect(a!.values).toEqual(b!.values);
    expect(await readdir(join(dir, 'run'))).toContain('checkpoint-2');
  });

  it('go on where rank 0 cannot save, and say so on all of them', async () => {
    const runs = await Promise.all(
      trainRanks(2, config({ gradientAccumulationSteps: 1 }), {
        options: () => ({ saveAdapter: () => Promise.reject(new Error('no space left on device')) }),
      }),
    );
    for (const { error, events, output } of runs) {
      expect(error).toBeUndefined();
      expect(output!.checkpoints).toEqual([]);
      const warned = ofType(events, 'warning').map(({ message }) => message);
      expect(warned.some((message) => /cannot write .*no space left on device/.test(message))).toBe(true);
    }
  });

  it('write their log and what saveModel writes once', async () => {
    const written: string[] = [];
    await Promise.all(
      new MemoryWorld(2).groups.map(async (processGroup) => {
        const model = linearModel();
        const { withLoopback } = await import('./loopback-sum.js');
        withLoopback(model.engine, model.gradients);
        const saveAdapter = async (folder: string) => void written.push(folder);
        const trainer = linearTrainer(model, config({ saveStrategy: 'no' }), { processGroup, saveAdapter });
        await trainer.train();
        await trainer.saveModel(join(dir, 'saved'));
      }),
    );
    expect(written).toEqual([join(dir, 'saved')]);
    const log = await readFile(join(dir, 'run', 'train-log.jsonl'), 'utf8');
    expect(log.match(/"type":"start"/g)).toHaveLength(1);
  });

  it('refuse an engine that cannot sum their gradients', () => {
    const [processGroup] = new MemoryWorld(2).groups;
    expect(() => linearTrainer(linearModel(), config(), { processGroup: processGroup! })).toThrow(ConfigError);
    expect(() => linearTrainer(linearModel(), config(), { processGroup: {} as never })).toThrow(/a group of processes/);
  });
});
