/** Micro-batches of very different lengths: slow ranks give some away, and nothing else changes. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { DataError, DistributedError } from '../../src/errors.js';
import { counterHash } from '../../src/random.js';
import { Sampler } from '../../src/train/sampler.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { type LinearModel, linearCollator, linearModel } from '../train/linear-model.js';
import { ofType, type RankRun, type RanksOptions, trainRanks } from './linear-ranks.js';
import { MemoryWorld } from './memory-group.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'balancing-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const SAMPLES = 46;

/** Sample i has 2 to 81 tokens. */
function sampleOf(i: number): SftExample {
  const length = 2 + ((counterHash(5, i) >>> 0) % 80);
  const ids = Array.from({ length }, (_, t) => 100 * ((7 * i + 3 * t) % 11) - 500);
  const labels = ids.map((_, t) => (t === 0 ? -100 : 10 * ((5 * i + 2 * t) % 13)));
  return { id: String(i), messages: [{ role: 'user', content: JSON.stringify({ ids, labels }) }] };
}

const dataset = (get: (i: number) => SftExample = sampleOf) => new IndexedDataset(SAMPLES, async (i) => get(i));

/** Its tokens take long enough for their micro-batch to be worth its way. */
function slowModel(): LinearModel {
  const model = linearModel();
  const { passCosts } = model;
  const costs = { recomputeTime: ({ tokens }: { readonly tokens: number }) => tokens * 1e12 };
  model.passCosts = (...given) => ({ ...passCosts(...given), ...costs });
  return model;
}

function train(worldSize: number, more: SftConfigInput = {}, options: RanksOptions = {}): Promise<RankRun[]> {
  const accumulation = worldSize === 0 ? 12 : 12 / worldSize;
  const config = { outputDir: join(dir, `${worldSize}`), seed: 11, loggingSteps: 1, perDeviceTrainBatchSize: 1 };
  return Promise.all(
    trainRanks(
      worldSize,
      { ...config, gradientAccumulationSteps: accumulation, numTrainEpochs: 2, ...more } as SftConfigInput,
      {
        model: slowModel,
        ...options,
        options: (rank, model) => ({ trainDataset: dataset(), ...options.options?.(rank, model) }),
      },
    ),
  );
}

function expectSame(runs: readonly RankRun[], one: RankRun): void {
  const losses = ofType(one.events, 'step').map(({ loss }) => loss);
  for (const { error, events, model } of runs) {
    expect(error).toBeUndefined();
    const own = ofType(events, 'step').map(({ loss }) => loss);
    expect(own).toHaveLength(losses.length);
    own.forEach((loss, i) => {
      expect(Math.abs(loss - losses[i]!)).toBeLessThan(1e-6 * Math.max(1, losses[i]!));
    });
    expect([...model.values]).toEqual([...runs[0]!.model.values]);
    model.values.forEach((value, i) => {
      expect(Math.abs(value - one.model.values[i]!)).toBeLessThan(1e-5);
    });
  }
}

/** Each micro-batch with the seed of its dropout, in any order. */
const computed = (runs: readonly RankRun[]): string[] =>
  runs.flatMap(({ model }) => model.seen.map((ids, m) => `${ids} ${model.seeds[m]}`)).sort();

const tokensOf = (id: string): number => JSON.parse(sampleOf(Number(id)).messages[0]!.content as string).ids.length;

describe('training with samples of very different lengths', () => {
  for (const worldSize of [2, 3, 4]) {
    it(`computes on ${worldSize} ranks what one process does, and each rank about as much as the others`, async () => {
      const [one] = await train(0);
      const world = new MemoryWorld(worldSize);
      const runs = await train(worldSize, {}, { world });
      expectSame(runs, one!);
      expect(computed(runs)).toEqual(computed([one!]));
      expect(world.log[0]!.filter((what) => what.startsWith('moves of ')).length).toBeGreaterThan(4);
      const tokens = runs.map(({ model }) => model.seen.flat().reduce((sum, id) => sum + tokensOf(id), 0));
      // Round robin alone leaves them apart.
      expect(Math.max(...tokens) / Math.min(...tokens)).toBeLessThan(1.1);
      expect(new Set(runs.map(({ model }) => model.seen.length)).size).toBeGreaterThan(1);
    });
  }

  it('goes on with another number of ranks', async () => {
    const [one] = await train(0);
    const outputDir = join(dir, 'run');
    const begun = await train(4, { outputDir, maxSteps: 8, saveSteps: 3, saveStrategy: 'steps' }, {});
    expect(begun[0]!.error).toBeUndefined();
    const ended = await train(
      2,
      { outputDir, maxSteps: 8 },
      {
        train: () => ({ resumeFromCheckpoint: join(outputDir, 'checkpoint-3') }),
      },
    );
    const losses = ofType(ended[0]!.events, 'step').map(({ loss }) => loss);
    const expected = ofType(one!.events, 'step').map(({ loss }) => loss);
    expect(losses).toHaveLength(5);
    losses.forEach((loss, i) => {
      expect(Math.abs(loss - expected[i + 3]!)).toBeLessThan(1e-6 * Math.max(1, expected[i + 3]!));
    });
  });

  it('leaves all where they are with a group that cannot exchange, on one rank alone', async () => {
    const world = new MemoryWorld(2);
    const plain = new Proxy(world.groups[1]!, {
      get: (group, name) => (name === 'exchangeBytes' ? undefined : Reflect.get(group, name)),
    });
    const [one] = await train(0);
    const runs = await train(2, {}, { world, options: (rank) => (rank === 1 ? { processGroup: plain } : {}) });
    expectSame(runs, one!);
    expect(world.log[0]!.filter((what) => what.startsWith('moves of '))).toEqual([]);
    expect(runs.map(({ model }) => model.seen.length)).toEqual([46, 46]);
  });

  it('leaves micro-batches where they are that hold more than data', async () => {
    const world = new MemoryWorld(2);
    const collator = {
      collate: async (examples: readonly SftExample[]) => {
        return { ...(await linearCollator.collate(examples)), pixelsOf: () => undefined };
      },
    };
    const runs = await train(2, {}, { world, options: () => ({ collator }) });
    expect(runs.map(({ error }) => error)).toEqual([undefined, undefined]);
    expect(world.log[0]!.filter((what) => what.startsWith('moves of '))).toEqual([]);
  });

  it('names the samples of a loss that is not finite by the rank that has computed them', async () => {
    let broken: string[] = [];
    const runs = await train(
      2,
      { maxSteps: 3 },
      {
        model: (rank) => {
          const model = slowModel();
          const { lossSteps } = model;
          let packedBefore = 0;
          model.lossSteps = function* (tape, packed, scale, options) {
            const isBroken = rank === 1 && model.steps.length === 1;
            // Its micro-batches are packed before any is computed.
            if (model.steps.length === 0) packedBefore = model.seen.length;
            if (isBroken) broken = model.seen.slice(packedBefore).flat();
            return yield* lossSteps.call(model, tape, packed, isBroken ? Number.NaN : scale, options);
          };
          return model;
        },
      },
    );
    const { details } = runs[0]!.error as { details: { sampleIds: string[] } };
    expect([...details.sampleIds].sort()).toEqual([...broken].sort());
  });
});

describe('a window that is joined ahead', () => {
  it('keeps the step under way where a rank cannot read the next', async () => {
    const order = { length: SAMPLES, batchSize: 1, gradientAccumulationSteps: 12, dropLast: false, seed: 11 };
    const third = new Sampler({ ...order, numTrainEpochs: 2, maxSteps: -1 }).window(2);
    // Of the micro-batches that rank 1 reads.
    const bad = third.microBatches[3]![0];
    let isTraining = false;
    const runs = await train(
      2,
      {},
      {
        options: (rank) => ({
          trainDataset: dataset((i) => {
            if (rank === 1 && isTraining && i === bad) throw new DataError('the file is gone');
            return sampleOf(i);
          }),
          callbacks: [
            {
              onStart: () => {
                isTraining = true;
              },
            },
          ],
        }),
      },
    );
    expect(runs[1]!.error).toBeInstanceOf(DataError);
    expect(runs[0]!.error).toBeInstanceOf(DistributedError);
    expect((runs[0]!.error as Error).message).toMatch(/rank 1 has failed: .*the file is gone/);
    expect(ofType(runs[0]!.events, 'step').map(({ step }) => step)).toEqual([1, 2]);
    expect(await readdir(join(dir, '2'))).toContain('checkpoint-2');
  });

  it('keeps the step under way where the collator of a rank gives no batch for the next', async () => {
    let collated = 0;
    const collator = {
      collate: async (examples: readonly SftExample[]) => {
        const batch = await linearCollator.collate(examples);
        // Of the third window.
        return ++collated === 14 ? (undefined as unknown as typeof batch) : batch;
      },
    };
    const runs = await train(2, {}, { options: (rank) => (rank === 1 ? { collator } : {}) });
    expect(runs[1]!.error).toBeInstanceOf(TypeError);
    expect((runs[0]!.error as Error).message).toMatch('rank 1 has failed');
    expect(ofType(runs[0]!.events, 'step').map(({ step }) => step)).toEqual([1, 2]);
    expect(await readdir(join(dir, '2'))).toContain('checkpoint-2');
  });

  it('ends with the last whole step where a rank is lost while micro-batches move', async () => {
    const world = new MemoryWorld(3);
    const [, middle] = world.groups;
    let moves = 0;
    const dying = new Proxy(middle!, {
      get: (group, name) => {
        if (name !== 'exchangeBytes') return Reflect.get(group, name);
        return (...given: Parameters<NonNullable<typeof group.exchangeBytes>>) => {
          if (++moves === 3) world.kill(1);
          return group.exchangeBytes!(...given);
        };
      },
    });
    const [main, , other] = trainRanks(
      3,
      {
        ...{ outputDir: join(dir, 'run'), seed: 11, perDeviceTrainBatchSize: 1, gradientAccumulationSteps: 4 },
        ...{ numTrainEpochs: 2, progress: 'none' },
      } as SftConfigInput,
      {
        world,
        model: slowModel,
        options: (rank) => ({ trainDataset: dataset(), ...(rank === 1 && { processGroup: dying }) }),
      },
    );
    for (const run of await Promise.all([main!, other!])) {
      expect((run.error as Error).message).toMatch('rank 1 was lost during training');
    }
    expect((await readdir(join(dir, 'run'))).some((name) => name.startsWith('checkpoint-'))).toBe(true);
  });
});
