import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DistributedError } from '../../src/errors.js';
import { listCheckpoints } from '../../src/train/checkpoint.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { linearDataset, linearModel } from '../train/linear-model.js';
import { ofType, type RankRun, trainRanks } from './linear-ranks.js';
import { MemoryWorld } from './memory-group.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ranks-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const config = (more: SftConfigInput = {}): SftConfigInput =>
  ({ outputDir: dir, gradientAccumulationSteps: 1, seed: 11, loggingSteps: 1, maxSteps: 8, ...more }) as SftConfigInput;

/** A run that goes wrong in the window of step 5 on one rank. */
function faulty(worldSize: number, culprit: number, fault: (world: MemoryWorld) => unknown): Promise<RankRun>[] {
  const world = new MemoryWorld(worldSize);
  return trainRanks(worldSize, config(), {
    world,
    options: () => ({ trainDataset: linearDataset(23) }),
    model: (rank) => {
      const model = linearModel();
      if (rank === culprit) {
        model.onWindow = (window) => (window === 4 ? fault(world) : undefined);
      }
      return model;
    },
  });
}

async function savedSteps(): Promise<number[]> {
  return (await listCheckpoints(dir)).map(({ step }) => step);
}

const never = () => new Promise<never>(() => {});

describe('a rank that is lost or fails', () => {
  for (const [what, fault] of [
    ['killed', (world: MemoryWorld, rank: number) => world.kill(rank)],
    ['stopped', (world: MemoryWorld, rank: number) => world.stop(rank)],
  ] as const) {
    for (const culprit of [0, 1, 2]) {
      it(`ends the others with the last whole step saved where rank ${culprit} is ${what}`, async () => {
        const runs = faulty(3, culprit, (world) => {
          fault(world, culprit);
          return never();
        });
        const left = await Promise.all(runs.filter((_, rank) => rank !== culprit));
        for (const { error, model } of left) {
          expect(error).toBeInstanceOf(DistributedError);
          expect((error as DistributedError).message).toMatch(`rank ${culprit} was lost during training`);
          expect((error as DistributedError).rank).toBe(culprit);
          expect([...model.values]).toEqual([...left[0]!.model.values]);
        }
        expect(await savedSteps()).toEqual([4]);
        const saves = left.flatMap(({ events }) => ofType(events, 'save'));
        expect(saves).toHaveLength(1);
        // It loads, and goes on on the ranks that are left.
        const [again] = await Promise.all(
          trainRanks(1, config({ gradientAccumulationSteps: 3 }), {
            options: () => ({ trainDataset: linearDataset(23) }),
            train: () => ({ resumeFromCheckpoint: true }),
          }),
        );
        expect(again!.error).toBeUndefined();
        expect(again!.output!.globalStep).toBe(8);
      });
    }
  }

  for (const culprit of [0, 1]) {
    it(`names what rank ${culprit} threw, on all of them`, async () => {
      const runs = await Promise.all(
        faulty(2, culprit, async () => {
          // The others have queued step 4 by then, as it takes a moment until a model is called.
          await new Promise((resolve) => setTimeout(resolve, 20));
          throw new TypeError('what the model threw');
        }),
      );
      expect(runs[culprit]!.error).toBeInstanceOf(TypeError);
      const other = runs[1 - culprit]!.error as DistributedError;
      expect(other).toBeInstanceOf(DistributedError);
      expect(other.message).toMatch(`rank ${culprit} has failed: what the model threw`);
      expect(await savedSteps()).toEqual([4]);
    });
  }

  it('loses no log line where a rank is lost while it is made', async () => {
    const world = new MemoryWorld(2);
    let lines = 0;
    const dying = new Proxy(world.groups[1]!, {
      get: (group, name) => {
        if (name !== 'allGather') return Reflect.get(group, name);
        return (...given: Parameters<typeof group.allGather>) => {
          if (given[0] !== 'memory' || ++lines < 2) return group.allGather(...given);
          // The other one waits for it by then.
          setTimeout(() => world.kill(1), 20);
          return never();
        };
      },
    });
    const [run] = trainRanks(2, config({ loggingSteps: 2 }), {
      world,
      options: (rank) => ({ trainDataset: linearDataset(23), ...(rank === 1 && { processGroup: dying }) }),
    });
    const { error, events } = (await run)!;
    expect((error as Error).message).toMatch('rank 1 was lost during training');
    expect(await savedSteps()).toEqual([4]);
    expect(ofType(events, 'log').map(({ step }) => step)).toEqual([2, 4]);
    const state = await readFile(join(dir, 'checkpoint-4', 'trainer-state.json'), 'utf8');
    expect(JSON.parse(state)).toMatchObject({ logHistory: [{ step: 2 }, { step: 4 }], metrics: { stepsSinceLog: 0 } });
  });

  it('waits for one that is merely slow', async () => {
    const runs = await Promise.all(faulty(2, 1, () => new Promise((resolve) => setTimeout(resolve, 100))));
    expect(runs.map(({ error }) => error)).toEqual([undefined, undefined]);
    expect(await readFile(join(dir, 'train-log.jsonl'), 'utf8')).toMatch(/"step":8/);
  });
});

describe('a loss that is not finite on one rank', () => {
  it('names the rank and its samples on all of them, and saves the step before', async () => {
    const runs = await Promise.all(
      trainRanks(2, config(), {
        options: () => ({ trainDataset: linearDataset(23) }),
        model: (rank) => {
          let windows = 0;
          const scale = () => (rank === 1 && ++windows === 4 ? Number.NaN : 1);
          return linearModel({ lossScale: scale });
        },
      }),
    );
    for (const { error, events } of runs) {
      expect((error as Error).message).toMatch(
        /^step 4: the loss is NaN on rank 1; samples: \d+, \d+; last checkpoint: .*checkpoint-3$/m,
      );
      expect(ofType(events, 'step').map(({ step }) => step)).toEqual([1, 2, 3]);
    }
    expect((runs[0]!.error as Error).message).toBe((runs[1]!.error as Error).message);
    expect(await savedSteps()).toEqual([3]);
    expect(runs.map(({ trace }) => trace.closed)).toEqual([1, 1]);
  });
});

describe('a stop that one rank is asked for', () => {
  it('ends all of them, before the first step too', async () => {
    const stop = new AbortController();
    const reason = new DOMException('enough', 'AbortError');
    const runs = await Promise.all(
      trainRanks(2, config(), {
        options: (rank) => ({ callbacks: [{ onStart: () => void (rank === 1 && stop.abort(reason)) }] }),
        train: (rank) => (rank === 1 ? { signal: stop.signal } : {}),
      }),
    );
    expect(runs[1]!.error).toBe(reason);
    expect(runs[0]!.error).toBeInstanceOf(DistributedError);
    expect((runs[0]!.error as Error).message).toMatch(/rank 1 .*enough/);
    expect(await savedSteps()).toEqual([]);
  });
});
