import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HeldDeviceError } from '../../src/engine/held-device.js';
import { DistributedError } from '../../src/errors.js';
import { listCheckpoints } from '../../src/train/checkpoint.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { MODEL_GRACE } from '../../src/train/window-step.js';
import { type LinearModel, linearDataset, linearModel } from '../train/linear-model.js';
import type { LateDevice } from './late-sum.js';
import { ofType, type RanksOptions, trainRanks } from './linear-ranks.js';
import { MemoryWorld } from './memory-group.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ranks-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const config = (more: SftConfigInput = {}): SftConfigInput =>
  ({
    ...{ outputDir: join(dir, 'run'), gradientAccumulationSteps: 1, seed: 11, loggingSteps: 50, maxSteps: 8 },
    ...more,
  }) as SftConfigInput;

const data = () => ({ trainDataset: linearDataset(23) });

const train = (worldSize: number, more: SftConfigInput = {}, options: RanksOptions = {}) =>
  Promise.all(trainRanks(worldSize, config(more), { options: data, ...options }));

/** Parameters after each step of two ranks that nothing disturbs. */
async function undisturbed(): Promise<number[][]> {
  const after: number[][] = [];
  const callbacks = (model: LinearModel) => [
    {
      onEvent: ({ type, step }: TrainingEvent) => {
        if (type === 'step') after[step] = [...model.values];
      },
    },
  ];
  const options: RanksOptions = {
    options: (rank, model) => ({ ...data(), ...(rank === 0 && { callbacks: callbacks(model) }) }),
  };
  const [run] = await train(2, { outputDir: join(dir, 'undisturbed') }, options);
  expect(run!.error).toBeUndefined();
  return after;
}

async function savedState(step: number): Promise<unknown> {
  return JSON.parse(await readFile(join(dir, 'run', `checkpoint-${step}`, 'trainer-state.json'), 'utf8'));
}

async function savedSteps(): Promise<number[]> {
  return (await listCheckpoints(join(dir, 'run'))).map(({ step }) => step);
}

describe('a step of several ranks', () => {
  it('is queued before its sum has arrived, and the next one begins meanwhile', async () => {
    const runs = await train(2);
    for (const { error, device } of runs) {
      expect(error).toBeUndefined();
      const at = (line: string) => device!.log.indexOf(line);
      // The first reads gradients to see whether all parameters learn.
      for (let step = 3; step <= 8; step++) {
        expect(at(`update ${step} queued`)).toBeLessThan(at(`sum ${step} arrived`));
        expect(at(`sum ${step} arrived`)).toBeLessThan(at(`update ${step} done`));
      }
    }
  });

  it('waits for its loss where it may be left out', async () => {
    const world = new MemoryWorld(2);
    await train(2, {}, { world });
    expect(world.log[0]!.filter((what) => /^loss \d/.test(what))).toEqual([]);
    const skipping = new MemoryWorld(2);
    await train(2, { onNonFiniteLoss: 'skip', outputDir: join(dir, 'skip') }, { world: skipping });
    expect(skipping.log[0]!.filter((what) => /^loss \d/.test(what))).toHaveLength(8);
  });
});

describe('a stop that all ranks have agreed on', () => {
  for (const late of [0, 1]) {
    it(`waits for the device of rank ${late} where that answers late, so that all come to one end`, async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      try {
        const stop = new AbortController();
        const runs = await train(
          2,
          {},
          {
            train: (rank) => (rank === 0 ? { signal: stop.signal } : {}),
            device: (rank, device) => {
              // Agreed on with the window of step 6, while the passes of step 5 are queued and step 4 is not reported.
              device.onQueued = (step) => void (rank === 0 && step === 4 && stop.abort(new Error('enough')));
            },
            model: (rank) => {
              const model = linearModel();
              model.onFetch = async (window) => {
                if (rank !== late || window !== 3) return;
                await new Promise((resolve) => setImmediate(resolve));
                await vi.advanceTimersByTimeAsync(2 * MODEL_GRACE);
              };
              return model;
            },
          },
        );
        expect(runs.map(({ error }) => (error as Error).message.split('\n')[0])).toEqual([
          'enough',
          'rank 0 was asked to stop: enough',
        ]);
        expect(await savedSteps()).toEqual([4]);
      } finally {
        vi.useRealTimers();
      }
    });
  }
});

describe('a rank that is lost while its sum is under way', () => {
  for (const lost of [0, 1]) {
    it(`leaves the step before saved, exactly, where rank ${lost} is killed`, async () => {
      const world = new MemoryWorld(2);
      const runs = trainRanks(2, config(), {
        world,
        options: data,
        device: (rank, device) => {
          if (rank === lost) device.holdSum = (step) => (step === 5 ? new Promise(() => {}) : undefined);
          // Its update is on the other one's device by then.
          else device.onQueued = (step) => void (step === 5 && setImmediate(() => world.kill(lost)));
        },
      });
      const { error, events, device, model } = await runs[1 - lost]!;
      expect(error).toBeInstanceOf(DistributedError);
      expect((error as Error).message).toMatch(`rank ${lost} was lost during training`);
      expect(device!.log.filter((line) => /^update 5|sum 5/.test(line))).toEqual(['update 5 queued', 'update 5 void']);
      expect(await savedSteps()).toEqual([4]);
      expect(await savedState(4)).toMatchObject({ globalStep: 4, metrics: { totalSteps: 4, skippedSteps: 0 } });
      const after = await undisturbed();
      expect([...model.values]).toEqual(after[4]);
      expect(ofType(events, 'step').map(({ step }) => step)).toEqual([1, 2, 3, 4]);
      // It goes on to where it would have come.
      const again = await train(2, {}, { train: () => ({ resumeFromCheckpoint: true }) });
      for (const { output, model, error } of again) {
        expect(error).toBeUndefined();
        expect(output!.globalStep).toBe(8);
        expect([...model.values]).toEqual(after[8]);
      }
    });
  }

  it('leaves the step itself saved where that was taken, with a loss of the rank that is left', async () => {
    const world = new MemoryWorld(2);
    const devices: LateDevice[] = [];
    const [run] = trainRanks(2, config(), {
      world,
      options: data,
      device: (rank, device) => {
        devices[rank] = device;
      },
      model: (rank) => {
        const model = linearModel();
        // In the window of step 6, before it reports step 5, which both devices have taken.
        if (rank === 1) {
          model.onWindow = async (window) => {
            if (window !== 5) return;
            while (!devices.every(({ log }) => log.includes('update 5 done')))
              await new Promise((resolve) => setImmediate(resolve));
            world.kill(1);
            await new Promise(() => {});
          };
        }
        return model;
      },
    });
    const { error, events, device, model } = (await run)!;
    expect((error as Error).message).toMatch('rank 1 was lost');
    expect(device!.log).toContain('update 5 done');
    expect(await savedSteps()).toEqual([5]);
    expect([...model.values]).toEqual((await undisturbed())[5]);
    const said = ofType(events, 'warning').map(({ message }) => message);
    expect(said).toContain(
      'step 5: the losses of the other ranks are lost with them; its loss is the mean of the samples of this rank',
    );
    const last = ofType(events, 'step').at(-1)!;
    expect(last.step).toBe(5);
    expect(Number.isFinite(last.loss)).toBe(true);
  });
});

/** Rank `culprit` throws while it packs the window of step 6: it has queued step 5, whose sum is held until `thrown`. */
function failingEarly(culprit: number, thrown: () => unknown, held: (rank: number) => Promise<unknown> | undefined) {
  let hasQueued = false;
  return trainRanks(2, config(), {
    options: data,
    device: (rank, device) => {
      device.holdSum = (step) => (step === 5 ? held(rank) : undefined);
      device.onQueued = (step) => {
        if (rank === culprit && step === 5) hasQueued = true;
      };
    },
    model: (rank) => {
      const model = linearModel();
      const { pack } = model;
      model.pack = (...given) => {
        if (rank !== culprit || !hasQueued) return pack(...given);
        hasQueued = false;
        thrown();
        throw new TypeError('what the model threw');
      };
      return model;
    },
  });
}

describe('a rank that fails once it has queued a step', () => {
  for (const culprit of [0, 1]) {
    it(`lets the sums arrive that all have queued, so that the step counts on all, where that is rank ${culprit}`, async () => {
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      const log: string[] = [];
      const thrown = (): void => {
        log.push('thrown');
        // The other is told of a failure before that, if nothing is waited for.
        setImmediate(() => {
          log.push('released');
          release();
        });
      };
      const runs = await Promise.all(
        failingEarly(culprit, thrown, (rank) => (rank === culprit ? released : undefined)),
      );
      expect(log).toEqual(['thrown', 'released']);
      expect(runs[culprit]!.error).toBeInstanceOf(TypeError);
      const other = runs[1 - culprit]!.error as DistributedError;
      expect(other).toBeInstanceOf(DistributedError);
      expect(other.message).toMatch(`rank ${culprit} has failed: what the model threw`);
      const after = await undisturbed();
      for (const { device, model } of runs) {
        expect(device!.log.slice(-3)).toEqual(['update 5 queued', 'sum 5 arrived', 'update 5 done']);
        expect([...model.values]).toEqual(after[5]);
      }
      expect(await savedSteps()).toEqual([5]);
      expect(await savedState(5)).toMatchObject({ globalStep: 5, metrics: { totalSteps: 5, skippedSteps: 0 } });
      expect(ofType(runs[0]!.events, 'step').map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
    });

    it(`gives up a sum that does not come in time, with the step before saved, where that is rank ${culprit}`, async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      try {
        let hasThrown = false;
        const runs = Promise.all(
          failingEarly(
            culprit,
            () => {
              hasThrown = true;
            },
            (rank) => (rank === culprit ? undefined : new Promise(() => {})),
          ),
        );
        while (!hasThrown) await new Promise((resolve) => setImmediate(resolve));
        await new Promise((resolve) => setImmediate(resolve));
        // Of the 5 s.
        await vi.advanceTimersByTimeAsync(4_900);
        expect(await savedSteps()).toEqual([]);
        await vi.advanceTimersByTimeAsync(200);
        const [first, second] = await runs;
        const failed = [first, second][culprit]!;
        expect(failed.error).toBeInstanceOf(TypeError);
        expect(String([first, second][1 - culprit]!.error)).toMatch(`rank ${culprit} has failed: what the model threw`);
        expect(await savedSteps()).toEqual([4]);
        const after = await undisturbed();
        expect([...first!.model.values]).toEqual(after[4]);
      } finally {
        vi.useRealTimers();
      }
    });
  }
});

/** On rank 1, in the window of step 4. */
const withNaN = (rank: number) => {
  let windows = 0;
  return linearModel({ lossScale: () => (rank === 1 && ++windows === 4 ? Number.NaN : 1) });
};

describe('a step that is not finite on one rank', () => {
  it('is left out by all devices, and the step before is saved', async () => {
    const after = await undisturbed();
    const runs = await train(2, {}, { model: withNaN });
    for (const { error, model, device } of runs) {
      expect((error as Error).message).toMatch(/^step 4: the loss is NaN on rank 1; samples: \d+, \d+; /);
      expect([...model.values]).toEqual(after[3]);
      // Nothing had failed: the devices left it out by themselves.
      expect(device!.log).toContain('update 4 done');
    }
    expect(await savedSteps()).toEqual([3]);
  });

  it('is passed over where that is allowed', async () => {
    const runs = await train(2, { onNonFiniteLoss: 'skip', maxSkippedSteps: 1 }, { model: withNaN });
    for (const { error, output, model, events } of runs) {
      expect(error).toBeUndefined();
      expect(output).toMatchObject({ globalStep: 8 });
      expect([...model.values]).toEqual([...runs[0]!.model.values]);
      expect(ofType(events, 'step').map(({ step }) => step)).toEqual([1, 2, 3, 5, 6, 7, 8]);
      expect(ofType(events, 'warning').some(({ message }) => message.includes('on rank 1'))).toBe(true);
    }
  });

  for (const worldSize of [0, 2]) {
    it(`is not saved where it was learned all the same: only its loss is not finite, ${worldSize || 'no'} ranks`, async () => {
      const model = (rank: number) => {
        const made = linearModel();
        const { engine } = made;
        const read = engine.read.bind(engine);
        engine.read = async (tensor) => {
          const values = await read(tensor);
          const isBroken = rank === Math.max(0, worldSize - 1) && (tensor as { window?: number }).window === 3;
          return isBroken ? values.map(() => Number.NaN) : values;
        };
        return made;
      };
      const runs = await train(worldSize, { saveStrategy: 'steps', saveSteps: 2 }, { model });
      for (const { error } of runs) expect((error as Error).message).toMatch(/^step 4: the loss is NaN/);
      if (worldSize === 2) for (const { error } of runs) expect((error as Error).message).toMatch('NaN on rank 1');
      for (const { error } of runs) expect((error as Error).message).toMatch(/last checkpoint: .*checkpoint-2\b/);
      expect(await savedSteps()).toEqual([2]);
    });
  }
});

describe('a window that finds memory only by waiting for the device', () => {
  it('is begun again once the sum before it has arrived, in the same passes', async () => {
    const after = await undisturbed();
    const log: string[] = [];
    const runs = await train(
      2,
      {},
      {
        model: (rank) => {
          const model = linearModel();
          const { engine } = model;
          const { linear } = engine.operations as unknown as { linear: { backward(...given: unknown[]): unknown } };
          const { backward } = linear;
          let hasFailed = false;
          linear.backward = (...given) => {
            const made = backward(...given);
            if (rank === 0 || model.steps.length !== 4 || hasFailed) return made;
            hasFailed = true;
            log.push('held');
            throw new HeldDeviceError();
          };
          engine.whenFree = async () => {
            if (rank === 1 && hasFailed) log.push('free');
          };
          return model;
        },
      },
    );
    expect(log).toEqual(['held', 'free']);
    for (const { error, model, events } of runs) {
      expect(error).toBeUndefined();
      expect([...model.values]).toEqual(after[8]);
      // It is no lack of memory: nothing is planned smaller.
      expect(ofType(events, 'warning').filter(({ message }) => /memory|begun again/.test(message))).toEqual([]);
    }
    expect(runs.map(({ trace }) => trace.restarts)).toEqual([0, 1]);
  });
});

describe('a window that all compute again', () => {
  it('is one that a reader on one rank has changed the parameters under', async () => {
    const after = await undisturbed();
    const runs = await train(
      2,
      {},
      {
        options: (rank, model) => ({
          ...data(),
          callbacks: [
            {
              onEvent: async ({ type, step }) => {
                if (type !== 'step' || step !== 4 || rank === 0) return;
                // The same values: what counts is that they may be others.
                model.engine.writeParameters(model.trainable, await model.engine.readParameters(model.trainable));
              },
            },
          ],
        }),
      },
    );
    for (const { error, model, output, device } of runs) {
      expect(error).toBeUndefined();
      expect(output!.globalStep).toBe(8);
      expect([...model.values]).toEqual(after[8]);
      // The sum of the window under way was for nothing.
      expect(device!.log.filter((line) => /^sum/.test(line))).toHaveLength(9);
    }
  });
});
