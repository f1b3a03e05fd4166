import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SftExample } from '../../src/data/types.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { ofType, trainRanks } from '../distributed/linear-ranks.js';
import { follow } from './follow.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
/** Milliseconds of a clock that only the tests move. */
let clock: number;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'interval-log-'));
  clock = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => clock);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(outputDir, { recursive: true });
});

const config = (more: SftConfigInput): SftConfigInput => ({ outputDir, saveStrategy: 'no', ...more }) as SftConfigInput;

describe('the seconds of a log line', () => {
  for (const more of [
    { loggingSteps: 1, maxSteps: 5 },
    { loggingSteps: 1, maxSteps: 5, saveStrategy: 'steps', saveSteps: 2 },
    { loggingSteps: 1, maxSteps: 5, evalStrategy: 'steps', evalSteps: 2 },
    { loggingSteps: 1, maxSteps: 5, onNonFiniteLoss: 'skip' },
    { loggingSteps: 2, maxSteps: 6, dataloaderPrefetch: 0 },
  ] as const) {
    it(`are those of its steps: ${JSON.stringify(more)}`, async () => {
      const model = linearModel();
      model.onWindow = () => {
        clock += 1000;
      };
      model.onEvaluate = () => {
        clock += 50_000;
      };
      const trainer = linearTrainer(model, config(more), {
        trainDataset: linearDataset(40),
        evalDataset: linearDataset(4, 40),
      });
      const { events, error } = await follow(trainer.train());
      expect(error).toBeUndefined();
      const logs = ofType(events, 'log');
      expect(logs.map(({ step }) => step)).toEqual(
        Array.from({ length: more.maxSteps / more.loggingSteps }, (_, i) => (i + 1) * more.loggingSteps),
      );
      expect(logs.map(({ seconds }) => seconds)).toEqual(logs.map(() => more.loggingSteps));
      const steps = ofType(events, 'step');
      for (const log of logs) {
        const own = steps.filter(({ step }) => step > log.step - more.loggingSteps && step <= log.step);
        const tokens = own.reduce((sum, step) => sum + step.tokens, 0);
        expect(log.tokensPerSecond).toBeCloseTo(tokens / more.loggingSteps, 9);
        expect(log.dataWaitShare).toBe(0);
      }
    });
  }
});

describe('the share of a log line that waited for data', () => {
  /** A collator whose batch is ready once so many windows were computed, and the one that is to say so. */
  const gate = () => {
    const waiting: (() => void)[] = [];
    let [open, asked] = [1, 0];
    return {
      collate: async (examples: readonly SftExample[]) => {
        const mine = asked++;
        while (mine >= open) await new Promise<void>((resolve) => waiting.push(resolve));
        return linearCollator.collate(examples);
      },
      next: () => {
        open++;
        for (const resolve of waiting.splice(0)) resolve();
      },
    };
  };
  const logged = (events: readonly TrainingEvent[]) => ofType(events, 'log').map(({ dataWaitShare }) => dataWaitShare);
  const settings = config({ loggingSteps: 1, maxSteps: 4, gradientAccumulationSteps: 1 });

  for (const worldSize of [0, 1, 2]) {
    const where = worldSize === 0 ? 'one process' : `rank 0 of ${worldSize}`;

    it(`is none where the engine was at work meanwhile: ${where}`, async () => {
      const [collator, data] = [gate(), { trainDataset: linearDataset(40) }];
      const [run, ...others] = await Promise.all(
        trainRanks(worldSize, { ...settings, outputDir } as SftConfigInput, {
          options: (rank) => ({ ...data, ...(rank === 0 && { collator }) }),
          model: (rank) => {
            const model = linearModel();
            if (rank > 0) return model;
            model.onWindow = () => {
              clock += 1000;
              collator.next();
            };
            return model;
          },
        }),
      );
      expect([run!, ...others].map(({ error }) => error)).toEqual(
        Array.from({ length: worldSize || 1 }, () => undefined),
      );
      expect(logged(run!.events)).toEqual([0, 0, 0, 0]);
    });
  }

  it('is what the engine had no work in', async () => {
    const collator = gate();
    const model = linearModel();
    model.onWindow = () => {
      clock += 1000;
    };
    const { optimizerStep } = model.engine;
    model.engine.optimizerStep = (...given) => {
      setImmediate(() => {
        clock += 3000;
        collator.next();
      });
      return optimizerStep.apply(model.engine, given);
    };
    const trainer = linearTrainer(model, { ...settings, outputDir } as SftConfigInput, {
      trainDataset: linearDataset(40),
      collator,
    });
    const { events, error } = await follow(trainer.train());
    expect(error).toBeUndefined();
    expect(logged(events)).toEqual([0, 0.75, 0.75, 0.75]);
  });
});
