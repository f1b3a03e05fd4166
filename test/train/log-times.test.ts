import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TrainingEvent } from '../../src/train/events.js';
import { readHistory } from '../../src/train/history.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { follow } from './follow.js';
import { type LinearModel, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'log-times-'));
});
afterEach(() => rm(outputDir, { recursive: true, force: true }));

const trainer = (model: LinearModel, config: SftConfigInput) =>
  linearTrainer(
    model,
    { ...{ outputDir, seed: 11, gradientAccumulationSteps: 1, saveStrategy: 'no' }, ...config } as SftConfigInput,
    { trainDataset: linearDataset(16), evalDataset: linearDataset(5, 3) },
  );

/** Events by type and step, but for warnings. */
const told = (events: readonly TrainingEvent[]): string[] =>
  events.flatMap(({ type, step }) => (type === 'warning' ? [] : [`${type} ${step}`]));

const logs = (events: readonly TrainingEvent[]) =>
  events.flatMap((event) => (event.type === 'log' ? [{ step: event.step, loss: event.loss }] : []));

/** The mean loss of steps. */
function meanLoss(events: readonly TrainingEvent[], first: number, last: number): number {
  const losses = events.flatMap((event) => {
    return event.type === 'step' && event.step >= first && event.step <= last ? [event.loss] : [];
  });
  expect(losses).toHaveLength(last - first + 1);
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

describe('a log line', () => {
  it('has no step wait for its own loss: the passes of the next one begin before', async () => {
    const model = linearModel();
    const order: string[] = [];
    const begun = Array.from({ length: 6 }, () => {
      let begin = (): void => undefined;
      const promise = new Promise<void>((resolve) => {
        begin = resolve;
      });
      return { begin, promise };
    });
    model.onWindow = (window) => {
      order.push(`queue ${window + 1}`);
      begun[window]!.begin();
    };
    // Held until the next window is being computed: of the last there is none.
    model.onFetch = async (window) => {
      await begun[window + 1]?.promise;
      order.push(`fetch ${window + 1}`);
    };
    const { events, error } = await follow(trainer(model, { loggingSteps: 1, maxSteps: 6 }).train());
    expect(error).toBeUndefined();
    expect(order).toEqual([
      'queue 1',
      ...[2, 3, 4, 5, 6].flatMap((step) => [`queue ${step}`, `fetch ${step - 1}`]),
      'fetch 6',
    ]);
    expect(logs(events).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('comes right after its step, with the losses of its own interval', async () => {
    const { events } = await follow(trainer(linearModel(), { loggingSteps: 3, maxSteps: 7 }).train());
    expect(told(events)).toEqual([
      'start 0',
      ...['step 1', 'step 2', 'step 3', 'log 3', 'step 4', 'step 5', 'step 6', 'log 6', 'step 7', 'epoch 7', 'end 7'],
    ]);
    const [third, sixth] = logs(events);
    expect(third!.loss).toBeCloseTo(meanLoss(events, 1, 3), 12);
    expect(sixth!.loss).toBeCloseTo(meanLoss(events, 4, 6), 12);
  });

  it('comes before the evaluation, the save and the end of the epoch of its step', async () => {
    const every = {
      loggingSteps: 4,
      evalStrategy: 'steps',
      evalSteps: 4,
      saveStrategy: 'steps',
      saveSteps: 4,
    } as const;
    const { events } = await follow(trainer(linearModel(), { ...every, maxSteps: 8 }).train());
    const due = (step: number) => [`step ${step}`, `log ${step}`, `evaluate ${step}`, `save ${step}`];
    expect(told(events)).toEqual([
      'start 0',
      ...['step 1', 'step 2', 'step 3', ...due(4)],
      ...['step 5', 'step 6', 'step 7', ...due(8), 'epoch 8'],
      'end 8',
    ]);
    const state = JSON.parse(await readFile(join(outputDir, 'checkpoint-4', 'trainer-state.json'), 'utf8'));
    expect(state).toMatchObject({
      logHistory: [{ step: 4, loss: expect.any(Number) }, { evalLoss: expect.any(Number) }],
    });
  });

  it('of the last step of a run is there, in its folder and its output too', async () => {
    const run = trainer(linearModel(), { loggingSteps: 2, maxSteps: 4 }).train();
    const { events } = await follow(run);
    expect(told(events).slice(-4)).toEqual(['step 4', 'log 4', 'epoch 4', 'end 4']);
    const { logHistory } = await run;
    expect(logHistory.map(({ step }) => step)).toEqual([2, 4]);
    expect((await readHistory(join(outputDir, 'train-log.jsonl'))).logs.map(({ step }) => step)).toEqual([2, 4]);
  });

  it('of the step before a stop is there once, and a resumed run begins the next interval', async () => {
    const config = { loggingSteps: 4, maxSteps: 8, saveStrategy: 'steps', saveSteps: 100 } as const;
    const whole = await follow(trainer(linearModel(), { ...config, outputDir: join(outputDir, 'whole') }).train());
    const stop = new AbortController();
    const model = linearModel();
    // Step 4 is queued, and not reported.
    model.onWindow = (window) => void (window === 4 && stop.abort(new Error('enough')));
    const stopped = await follow(trainer(model, config).train({ signal: stop.signal }));
    expect((stopped.error as Error).message).toBe('enough');
    expect(told(stopped.events).slice(-3)).toEqual(['step 4', 'log 4', 'save 4']);
    const resumed = await follow(trainer(linearModel(), config).train({ resumeFromCheckpoint: true }));
    expect(resumed.error).toBeUndefined();
    expect([...logs(stopped.events), ...logs(resumed.events)]).toEqual(logs(whole.events));
    expect((await readHistory(join(outputDir, 'train-log.jsonl'))).logs.map(({ step }) => step)).toEqual([4, 8]);
  });
});
