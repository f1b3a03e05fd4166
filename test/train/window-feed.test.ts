import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Dataset, SftExample } from '../../src/data/types.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { ofType } from '../distributed/linear-ranks.js';
import { follow } from './follow.js';
import { type LinearModel, linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'window-feed-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

const toEvaluate = (): Dataset<SftExample> => {
  const { get, ...others } = linearDataset(2, 40);
  return { ...others, get: async (i) => ({ ...(await get(i)), id: `evaluated ${i}` }) };
};

/** Two micro-batches of two samples a step. Its collator answers for the windows before `last`, and then as `after` does. */
function run(
  config: SftConfigInput,
  { last = 99, after = () => new Promise<never>(() => {}) }: { last?: number; after?: () => Promise<never> } = {},
  more: Partial<SftTrainerOptions> & { signal?: AbortSignal; model?: LinearModel } = {},
) {
  let asked = 0;
  const collated: number[] = [];
  const { signal, model = linearModel(), ...options } = more;
  const collator = {
    collate: async (examples: readonly SftExample[]) => {
      if (examples[0]!.id!.startsWith('evaluated')) return linearCollator.collate(examples);
      const window = Math.floor(asked++ / 2);
      const batch = window < last ? await linearCollator.collate(examples) : await after();
      collated.push(window);
      return batch;
    },
  };
  const given = { outputDir, evalStrategy: 'no', loggingSteps: 2, maxSteps: 6, ...config } as SftConfigInput;
  const trainer = linearTrainer(model, given, {
    ...{ trainDataset: linearDataset(40), evalDataset: toEvaluate(), collator, ...options },
  });
  return { training: trainer.train({ ...(signal && { signal }) }), collated, model };
}

const named = (events: readonly TrainingEvent[]) =>
  events.filter(({ type }) => type !== 'start' && type !== 'warning').map(({ type, step }) => `${type} ${step}`);

async function savedLogs(step: number): Promise<unknown> {
  const text = await readFile(join(outputDir, `checkpoint-${step}`, 'trainer-state.json'), 'utf8');
  return (JSON.parse(text) as { logHistory: { step: number }[] }).logHistory.map((entry) => entry.step);
}

describe('the window after the one that is computed', () => {
  for (const [dataloaderPrefetch, ahead] of [
    [0, 0],
    [1, 1],
  ] as const) {
    it(`is ${ahead ? 'read' : 'not read'} meanwhile with a prefetch of ${dataloaderPrefetch}`, async () => {
      const model = linearModel();
      const before: number[] = [];
      const { training, collated } = run({ dataloaderPrefetch }, {}, { model });
      model.onWindow = async () => {
        for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
        before.push(collated.length);
      };
      expect((await training).globalStep).toBe(6);
      // Of the window itself, of the next one, and as many ahead as are prefetched.
      expect(before).toEqual([1, 2, 3, 4, 5, 6].map((n) => Math.min(12, 2 * n + ahead * (2 + dataloaderPrefetch))));
    });
  }

  it('costs nothing where it cannot be read: the step before is logged, evaluated and saved', async () => {
    const fault = new TypeError('what the collator threw');
    const { training } = run({ evalStrategy: 'steps', evalSteps: 4 }, { last: 4, after: () => Promise.reject(fault) });
    const { events, error } = await follow(training);
    expect(error).toBe(fault);
    expect(named(events)).toEqual(['step 1', 'step 2', 'log 2', 'step 3', 'step 4', 'log 4', 'evaluate 4', 'save 4']);
    expect(await savedLogs(4)).toEqual([2, 4, 4]);
  });

  for (const [what, more] of [
    ['an abort', 'abort'],
    ['a reader that leaves', 'leave'],
    ['a step that is not finite', 'nan'],
  ] as const) {
    it(`is given up where it is never read, at ${what}`, async () => {
      const stop = new AbortController();
      const reason = new Error('enough');
      let windows = 0;
      const model = linearModel({ lossScale: () => (more === 'nan' && windows++ === 2 ? Number.NaN : 1) });
      const { training } = run({}, { last: 4 }, { signal: stop.signal, model });
      const events: TrainingEvent[] = [];
      const caught = (async () => {
        for await (const event of training) {
          events.push(event);
          // In the passes of the fourth window, while the fifth is read.
          if (event.type !== 'step' || event.step !== 3) continue;
          if (more === 'abort') stop.abort(reason);
          else break;
        }
      })().catch((error: unknown) => error);
      const error = await caught;
      if (more === 'abort') expect(error).toBe(reason);
      if (more === 'leave') expect((await training).stopped).toBe(true);
      if (more === 'nan') expect((error as Error).message).toMatch('step 3: the loss is NaN');
      else expect(await savedLogs(3)).toEqual([2]);
      expect(ofType(events, 'log').map(({ step }) => step)).toEqual([2]);
    });
  }

  it('may fail when the run has ended', async () => {
    let fail = (): void => {};
    const unhandled: unknown[] = [];
    const listen = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', listen);
    try {
      const after = () =>
        new Promise<never>((_, reject) => {
          fail = () => reject(new Error('too late'));
        });
      const { training } = run({}, { last: 4, after });
      for await (const event of training) if (event.step === 3) break;
      expect((await training).globalStep).toBe(3);
      fail();
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', listen);
    }
  });

  it('is not waited for where the run stops early', async () => {
    let worse = 1;
    const { training } = run(
      {
        ...{ evalStrategy: 'steps', evalSteps: 1, saveSteps: 1, loadBestModelAtEnd: true, earlyStoppingPatience: 2 },
        ...{ metricForBestModel: 'own', greaterIsBetter: false },
      },
      { last: 3 },
      { computeMetrics: () => ({ own: worse++ }) },
    );
    const { events, error } = await follow(training);
    expect(error).toBeUndefined();
    expect(named(events).slice(-2)).toEqual(['loadBest 1', 'end 3']);
  });
});

describe('a callback in a log event', () => {
  const steps = (events: readonly TrainingEvent[], type: TrainingEvent['type']) =>
    events.filter((event) => event.type === type).map(({ step }) => step);

  for (const how of ['stops the run', 'throws'] as const) {
    it(`${how}: the step of the line is the last one, and is saved with it`, async () => {
      let control: { stop(reason?: string): void };
      const { training } = run(
        {},
        {},
        {
          callbacks: [
            {
              onStart: (_, given) => {
                control = given;
              },
              onEvent: ({ type, step }) => {
                if (type !== 'log' || step !== 4) return;
                if (how === 'throws') throw new Error('what the callback threw');
                control.stop('enough');
              },
            },
          ],
        },
      );
      const { events, error } = await follow(training);
      expect((error as Error).message).toMatch(how === 'throws' ? 'what the callback threw' : 'enough');
      expect([steps(events, 'step').at(-1), steps(events, 'log'), steps(events, 'save')]).toEqual([4, [2, 4], [4]]);
      expect(await savedLogs(4)).toEqual([2, 4]);
    });
  }

  it('finds and changes the parameters of its step', async () => {
    const train = async (type: 'step' | 'log') => {
      const model = linearModel();
      const found: number[][] = [];
      const { training } = run(
        { saveStrategy: 'no' },
        {},
        {
          model,
          callbacks: [
            {
              onEvent: (event) => {
                if (event.type !== type || event.step !== 4) return;
                found.push([...model.values]);
                model.engine.writeParameters(model.trainable, Float32Array.of(0.1, 0.2, 0.3));
              },
            },
          ],
        },
      );
      await training;
      return { found, end: [...model.values] };
    };
    expect(await train('log')).toEqual(await train('step'));
  });
});
