import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TrainingError } from '../../src/errors.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainer, SftTrainerOptions } from '../../src/train/sft-trainer.js';
import type { TrainingRun } from '../../src/train/training-run.js';
import { type LinearModel, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'readers-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

function trainer(model: LinearModel, config: SftConfigInput = {}, more: Partial<SftTrainerOptions> = {}): SftTrainer {
  const given: SftConfigInput = { outputDir, saveStrategy: 'no', loggingSteps: 2, seed: 11, ...config };
  return linearTrainer(model, given, more);
}

/** Passes many turns of the event loop, in which a run that does not wait goes on. */
const pause = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};
const afterPause = async <T>(work: PromiseLike<T>): Promise<T> => {
  await pause();
  return work;
};
function sign(): [given: Promise<void>, give: () => void] {
  let give = () => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return [given, give];
}
const checkpoints = async () => (await readdir(outputDir)).filter((name) => name.startsWith('checkpoint')).sort();

/** The parameters after each step of a run that nobody reads. */
async function course(config: SftConfigInput = {}, more: Partial<SftTrainerOptions> = {}): Promise<number[][]> {
  const model = linearModel();
  const values: number[][] = [];
  model.onWindow = (window) => {
    values[window] = [...model.values];
  };
  await trainer(model, { ...config, outputDir: join(outputDir, 'alone') }, more).train();
  values[model.steps.length] = [...model.values];
  return values;
}

/** A run that ends, whatever waits for it. */
async function ended<T>(work: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('deadlock')), 30_000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const everything: SftConfigInput = { evalStrategy: 'steps', evalSteps: 3, evalOnStart: true, saveStrategy: 'epoch' };
const evalDataset = linearDataset(10, 20);

describe('a run waits for its reader', () => {
  it('so that the parameters are those of every event, however long it takes', async () => {
    const expected = await course(everything, { evalDataset });
    const model = linearModel();
    const types = new Set<string>();
    const shared = trainer(model, everything, { evalDataset });
    for await (const event of shared.train()) {
      types.add(event.type);
      const before = [...model.values];
      await pause();
      const { evalLoss } = await shared.evaluate();
      expect(evalLoss).toBeGreaterThan(0);
      expect([event.type, event.step, [...model.values]]).toEqual([event.type, event.step, before]);
      expect([event.type, event.step, before]).toEqual([event.type, event.step, expected[event.step]]);
    }
    expect([...types].sort()).toEqual(['end', 'epoch', 'evaluate', 'log', 'save', 'start', 'step']);
    expect([...model.values]).toEqual(expected[6]);
  });

  it('where it reads the events of one that is read by nobody else, at every place of a warning too', async () => {
    const config: SftConfigInput = { onNonFiniteLoss: 'skip' };
    const broken = () => {
      let call = 0;
      return linearModel({ lossScale: () => (++call === 3 ? Number.NaN : 1) });
    };
    const alone = broken();
    await trainer(alone, { ...config, outputDir: join(outputDir, 'alone') }).train();
    const model = broken();
    let warnings = 0;
    for await (const event of trainer(model, config).train()) {
      const before = [...model.values];
      if (event.type === 'warning') warnings++;
      await pause();
      expect([...model.values]).toEqual(before);
    }
    expect(warnings).toBe(1);
    expect([...model.values]).toEqual([...alone.values]);
  });

  it('and for each of several, from when they have caught up', async () => {
    const model = linearModel();
    const run = trainer(model).train();
    const seen: string[][] = [[], [], []];
    const isLive = [true, true, false];
    const [started, start] = sign();
    const [caughtUp, catchUp] = sign();
    const read = async (reader: number) => {
      for await (const event of run) {
        seen[reader]!.push(`${event.type} ${event.step}`);
        const holds = isLive[reader]!;
        const before = [...model.values];
        // Holds the run until the late reader has read what there is.
        if (reader === 1 && event.step === 3) await caughtUp;
        for (let i = 0; i <= reader; i++) await pause();
        if (holds) expect([...model.values]).toEqual(before);
        // It asks for an event that is not there yet: from then on it is waited for.
        if (reader !== 2 || seen[2]!.length < seen[0]!.length) continue;
        isLive[2] = true;
        catchUp();
      }
    };
    model.onWindow = (window) => void (window === 2 && start());
    await ended(Promise.all([run, read(0), read(1), started.then(() => read(2))]));
    expect(isLive[2]).toBe(true);
    expect(seen[0]).toHaveLength(14);
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });

  it('and for nobody where nobody reads', async () => {
    const model = linearModel();
    let windows = 0;
    model.onWindow = () => void windows++;
    const output = await ended(trainer(model).train());
    expect([windows, output.globalStep, output.stopped]).toEqual([6, 6, undefined]);
  });

  it('with the gradients of the next step ahead, which no reader can disturb', async () => {
    const expected = await course();
    const model = linearModel();
    const { engine, trainable } = model;
    const order: string[] = [];
    model.onWindow = (window) => void order.push(`gradients ${window + 1}`);
    for await (const event of trainer(model, { loggingSteps: 100 }).train()) {
      if (event.type === 'step') order.push(`step ${event.step}`);
      // As the engines do it, a change is noted.
      if (event.type === 'step') engine.zeroGradients(trainable);
    }
    // The gradients of 1 are not those of a run that goes on alone: they were computed again.
    expect(order.slice(0, 4)).toEqual(['gradients 1', 'gradients 2', 'step 1', 'gradients 2']);
    expect([...model.values]).toEqual(expected[6]);
  });

  it('and heeds what it sets: the next gradients are those of the new parameters', async () => {
    const set = Float32Array.of(0.25, 0.5, -0.75);
    const model = linearModel();
    let losses: number[] = [];
    for await (const event of trainer(model, { loggingSteps: 100, numTrainEpochs: 1 }).train()) {
      if (event.type !== 'step') continue;
      losses.push(event.loss);
      if (event.step === 1) model.engine.writeParameters(model.trainable, set);
    }
    const [, second] = losses;
    losses = [];
    const other = linearModel();
    other.onWindow = (window) => void (window === 1 && other.values.set(set));
    for await (const event of trainer(other, { loggingSteps: 100, numTrainEpochs: 1 }).train()) {
      if (event.type === 'step') losses.push(event.loss);
    }
    expect(second).toBe(losses[1]);
  });
});

describe('leaving the loop', () => {
  const at = (type: TrainingEvent['type'], step: number) => (event: TrainingEvent) =>
    event.type === type && event.step === step;

  it.each([
    ['start', 0, 0],
    ['step', 1, 1],
    ['step', 3, 3],
    ['log', 2, 2],
    ['evaluate', 3, 3],
    ['save', 4, 4],
    ['epoch', 4, 4],
  ] as const)('at %s %i stops the run with that step saved', async (type, step, saved) => {
    const expected = await course(everything, { evalDataset });
    const model = linearModel();
    const run = trainer(model, everything, { evalDataset }).train();
    for await (const event of run) if (at(type, step)(event)) break;
    // The loop ends when the run has.
    expect([...model.values]).toEqual(expected[saved]);
    const output = await run;
    expect(output).toMatchObject({ globalStep: saved, stopped: true });
    expect((await checkpoints()).at(-1)).toBe(saved > 0 ? `checkpoint-${saved}` : undefined);
    // What is resumed ends as a run that was never left, entries of the log included.
    if (saved === 0) return;
    const again = linearModel();
    const rest = await trainer(again, everything, { evalDataset }).train({ resumeFromCheckpoint: true });
    expect([...again.values]).toEqual(expected[6]);
    const steps = rest.logHistory.map((entry) => `${'loss' in entry ? 'log' : 'evaluate'} ${entry.step}`);
    expect(steps).toEqual(['evaluate 0', 'log 2', 'evaluate 3', 'log 4', 'log 6', 'evaluate 6']);
  });

  it('after the last step leaves a run that is done', async () => {
    const run = trainer(linearModel()).train();
    for await (const event of run) if (event.type === 'log' && event.step === 6) break;
    expect(await run).toMatchObject({ globalStep: 6 });
    expect((await run).stopped).toBeUndefined();
    const done = trainer(linearModel(), { outputDir: join(outputDir, 'b') }).train();
    for await (const event of done) if (event.type === 'end') break;
    expect((await done).stopped).toBeUndefined();
  });

  it('saves nothing with saveStrategy "no", and takes the best with loadBestModelAtEnd', async () => {
    const model = linearModel();
    const run = trainer(model).train();
    for await (const event of run) if (event.type === 'step') break;
    expect(await checkpoints()).toEqual([]);
    expect((await run).trainingLoss).toBeGreaterThan(0);
    const expected = await course(everything, { evalDataset });
    const best = linearModel();
    let evaluations = 0;
    const config = { ...everything, evalSteps: 1, loadBestModelAtEnd: true, metricForBestModel: 'own' };
    const judged = trainer(best, config, { evalDataset, computeMetrics: () => ({ own: -evaluations++ }) }).train();
    for await (const event of judged) if (event.type === 'step' && event.step === 4) break;
    expect(await judged).toMatchObject({ stopped: true, globalStep: 4, best: { step: 1 } });
    expect([...best.values]).toEqual(expected[1]);
  });

  it('by an error stops it as well, and the error comes out', async () => {
    const model = linearModel();
    const run = trainer(model, { saveStrategy: 'epoch' }).train();
    const loop = async () => {
      for await (const event of run) if (event.type === 'step' && event.step === 3) throw new RangeError('mine');
    };
    await expect(loop()).rejects.toThrow(new RangeError('mine'));
    expect(await run).toMatchObject({ globalStep: 3, stopped: true });
    expect(await checkpoints()).toEqual(['checkpoint-2', 'checkpoint-3']);
  });

  it('by hand: return waits for the end, throw gives the error, and both can be called again', async () => {
    const run = trainer(linearModel()).train();
    const iterator = run[Symbol.asyncIterator]();
    await iterator.next();
    expect(await iterator.return!()).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(await iterator.return!()).toEqual({ done: true, value: undefined });
    expect(await run).toMatchObject({ stopped: true });
    const other = trainer(linearModel(), { outputDir: join(outputDir, 'b') }).train();
    const second = other[Symbol.asyncIterator]();
    for (let i = 0; i < 4; i++) await second.next();
    await expect(second.throw!(new Error('mine'))).rejects.toThrow('mine');
    expect(await other).toMatchObject({ stopped: true });
    // Before the run has begun.
    const third = trainer(linearModel(), { outputDir: join(outputDir, 'c') }).train();
    await third[Symbol.asyncIterator]().return!();
    expect(await third).toMatchObject({ stopped: true, globalStep: 0, checkpoints: [] });
  });

  it('of one of several gives the others the rest', async () => {
    const run = trainer(linearModel(), { saveStrategy: 'epoch' }).train();
    const types: string[] = [];
    const all = (async () => {
      for await (const event of run) types.push(`${event.type} ${event.step}`);
    })();
    for await (const event of run) if (event.type === 'step' && event.step === 3) break;
    await ended(all);
    expect(types.slice(-2)).toEqual(['save 3', 'end 3']);
    expect(await run).toMatchObject({ stopped: true });
  });

  it('throws where the end fails', async () => {
    const model = linearModel();
    const controller = new AbortController();
    const run = trainer(model).train({ signal: controller.signal });
    const loop = async () => {
      for await (const event of run) {
        if (event.type !== 'step') continue;
        controller.abort(new Error('enough'));
        break;
      }
    };
    await expect(ended(loop())).rejects.toThrow('enough');
    await expect(run).rejects.toThrow('enough');
  });
});

describe('a run never waits for one who waits for it', () => {
  const bodies: Record<string, (run: TrainingRun, shared: SftTrainer) => PromiseLike<unknown>> = {
    'the run': (run) => run,
    'its result': (run) => run.result,
    'both at once': (run) => Promise.all([run, run.result]),
    'a function that awaits it': (run) => afterPause(run),
    'a loop of its own that is left': async (run) => {
      for await (const event of run) if (event.type === 'step') break;
    },
  };

  it.each(Object.keys(bodies))('not where a loop awaits %s', async (name) => {
    const isNested = name.startsWith('a loop');
    for (const type of ['start', 'step', 'log', 'end'] as const) {
      // At the first event a loop looks like a reader by hand, for whom there is the test below.
      if (isNested && type === 'start') continue;
      const model = linearModel();
      const shared = trainer(model, { outputDir: join(outputDir, type) });
      const run = shared.train();
      let events = 0;
      const loop = async () => {
        for await (const event of run) {
          events++;
          if (event.type === type) await bodies[name]!(run, shared);
        }
      };
      await ended(loop());
      expect((await run).globalStep).toBeGreaterThan(0);
      expect(events).toBeGreaterThan(isNested ? 2 : 4);
    }
  });

  it('not where its result was taken before the loop', async () => {
    const run = trainer(linearModel()).train();
    const { result } = run;
    const loop = async () => {
      for await (const event of run) if (event.type === 'log') await result;
    };
    await ended(loop());
  });

  it('nor where one takes an event by hand and never asks again', async () => {
    for (const count of [1, 3]) {
      const run = trainer(linearModel(), { outputDir: join(outputDir, String(count)) }).train();
      const iterator = run[Symbol.asyncIterator]();
      for (let i = 0; i < count; i++) await iterator.next();
      expect(await ended(run)).toMatchObject({ globalStep: 6 });
    }
  });

  it('nor where nothing is left that could make it ask', async () => {
    const run = trainer(linearModel()).train();
    const iterator = run[Symbol.asyncIterator]();
    const take = async () => {
      for (let i = 0; i < 3; i++) await iterator.next();
    };
    const output = run.result;
    await take();
    await pause();
    process.emit('beforeExit', 0);
    expect(await ended(output)).toMatchObject({ globalStep: 6 });
    const rest: TrainingEvent[] = [];
    for await (const event of { [Symbol.asyncIterator]: () => iterator }) rest.push(event);
    expect(rest.filter(({ type }) => type === 'warning')).toMatchObject([
      { message: expect.stringContaining('does not ask for the next one; the run goes on without it') },
    ]);
  });

  it('nor at the first event of one who may be reading by hand, if somebody awaits the run', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const run = trainer(linearModel()).train();
      const both = Promise.all([run, run[Symbol.asyncIterator]().next()]);
      while (vi.getTimerCount() === 0) await pause();
      await vi.advanceTimersByTimeAsync(30_000);
      expect((await both)[0]).toMatchObject({ globalStep: 6 });
    } finally {
      vi.useRealTimers();
    }
  });

  it('and waits on where another one awaits it', async () => {
    const model = linearModel();
    const run = trainer(model).train();
    let isAwaited = false;
    const loop = async () => {
      for await (const event of run) {
        if (event.type === 'step' && event.step === 2) isAwaited = true;
        const before = [...model.values];
        await pause();
        await pause();
        expect([...model.values]).toEqual(before);
      }
    };
    const reading = loop();
    while (!isAwaited) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([run, reading]);
  });

  it('evaluates within the loop, and refuses a second run there', async () => {
    const model = linearModel();
    const shared = trainer(model, {}, { evalDataset });
    const expected = await course();
    const run = shared.train();
    const loop = async () => {
      for await (const event of run) {
        await shared.evaluate();
        if (event.type === 'log') await expect(shared.train()).rejects.toThrow(/training already/);
      }
    };
    await ended(loop());
    expect([...model.values]).toEqual(expected[6]);
  });

  it('hears an abort while a reader is at work, which gets the events that are left and then the reason', async () => {
    for (const isForEver of [false, true]) {
      const controller = new AbortController();
      const folder = join(outputDir, String(isForEver));
      const config: SftConfigInput = { saveStrategy: 'epoch', outputDir: folder };
      const model = linearModel();
      const run = trainer(model, config).train({ signal: controller.signal });
      const types: string[] = [];
      let goOn = () => {};
      let atStep: number[] = [];
      const busy = new Promise<void>((resolve) => {
        goOn = resolve;
      });
      const loop = async () => {
        for await (const event of run) {
          types.push(`${event.type} ${event.step}`);
          if (event.type !== 'step' || event.step !== 3) continue;
          atStep = [...model.values];
          controller.abort(new Error('enough'));
          await busy;
        }
      };
      const reading = loop();
      reading.catch(() => {});
      await expect(ended(run)).rejects.toThrow('enough');
      expect(await readdir(folder)).toContain('checkpoint-3');
      expect([...model.values]).toEqual(atStep);
      if (isForEver) continue;
      goOn();
      await expect(reading).rejects.toThrow('enough');
      expect(types.slice(-2)).toEqual(['step 3', 'save 3']);
    }
  });

  it('leaves no rejection unhandled, and hides none', async () => {
    const unhandled: unknown[] = [];
    const listen = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', listen);
    try {
      const left = trainer(linearModel({ disconnected: true })).train();
      const loop = async () => {
        for await (const event of left) if (event.type === 'start') break;
      };
      await loop();
      await expect(left).resolves.toMatchObject({ stopped: true });
      const failed = trainer(linearModel({ disconnected: true })).train();
      const read = async () => {
        for await (const _ of failed) await pause();
      };
      await expect(read()).rejects.toThrow(TrainingError);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(unhandled).toEqual([]);
      trainer(linearModel({ disconnected: true })).train();
      await vi.waitFor(() => expect(unhandled).toMatchObject([{ code: new TrainingError('').code }]), 30_000);
    } finally {
      process.off('unhandledRejection', listen);
    }
  });
});

it('the log on the disk is the same with a reader', async () => {
  const config = { ...everything, seed: 3 };
  const lines = async (folder: string) =>
    (await readFile(join(folder, 'train-log.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => {
        const { type, step, loss, evalLoss } = JSON.parse(line);
        return { type, step, loss, evalLoss };
      });
  await course(config, { evalDataset });
  for await (const _ of trainer(linearModel(), config, { evalDataset }).train()) await pause();
  expect(await lines(outputDir)).toEqual(await lines(join(outputDir, 'alone')));
});
