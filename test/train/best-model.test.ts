import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError, TrainingError } from '../../src/errors.js';
import { BestModelTracker, judgeOf } from '../../src/train/best-model.js';
import type { EvalEntry, TrainingEvent, TrainOutput } from '../../src/train/events.js';
import { parseSftConfig, type SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainer, SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { type LinearModel, linearDataset, linearModel, linearTrainer } from './linear-model.js';
import { reseal } from './reseal.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'best-model-'));
});
afterEach(() => rm(folder, { recursive: true }));

function trainer(model: LinearModel, config: SftConfigInput = {}, more: Partial<SftTrainerOptions> = {}): SftTrainer {
  return linearTrainer(
    model,
    {
      outputDir: folder,
      saveStrategy: 'steps',
      saveSteps: 1,
      evalStrategy: 'steps',
      evalSteps: 1,
      gradientAccumulationSteps: 1,
      // Rises above its best after a few steps.
      learningRate: 0.2,
      lrSchedulerType: 'constant',
      loggingSteps: 3,
      ...config,
    },
    { evalDataset: linearDataset(5, 3), ...more },
  );
}

async function eventsOf(run: AsyncIterable<TrainingEvent>): Promise<TrainingEvent[]> {
  const events: TrainingEvent[] = [];
  for await (const event of run) events.push(event);
  return events;
}

const checkpoints = async (path = folder) => {
  return (await readdir(path)).filter((name) => name.includes('checkpoint-')).sort();
};
const evaluations = ({ logHistory }: TrainOutput) => {
  return logHistory.flatMap((entry) => ('evalLoss' in entry ? [[entry.step, (entry as EvalEntry).evalLoss]] : []));
};
/** Gives these values, one an evaluation. */
const scores = (values: readonly number[]) => {
  const left = [...values];
  return { computeMetrics: () => ({ score: left.shift()! }) };
};

describe('BestModelTracker', () => {
  const result = (evalLoss: number) => ({ evalLoss, evalRuntime: 1, evalSamplesPerSecond: 1 });

  it('counts evaluations without a gain as EarlyStoppingCallback does', () => {
    const config = parseSftConfig({
      ...{ evalStrategy: 'steps', earlyStoppingPatience: 2, earlyStoppingThreshold: 0.1 },
    });
    const tracker = new BestModelTracker(judgeOf(config)!, config);
    // The best value moves with every gain, however small; the count starts anew only with one above the threshold.
    const course = [1, 0.95, 0.5, 0.45, 0.3, 0.35, 0.25].map((loss, i) => {
      const isBest = tracker.judge(i + 1, `checkpoint-${i + 1}`, result(loss));
      return [isBest, tracker.state.withoutGain, tracker.isExhausted];
    });
    expect(course).toEqual([
      [true, 0, false],
      [true, 1, false],
      [true, 0, false],
      [true, 1, false],
      [true, 0, false],
      [false, 1, false],
      [true, 2, true],
    ]);
    expect(tracker.best).toEqual({ metric: 'evalLoss', value: 0.25, step: 7, checkpoint: 'checkpoint-7' });
  });

  it('never takes a value that is not finite, and takes back a step that was neither saved nor kept', () => {
    const config = parseSftConfig({ evalStrategy: 'steps', loadBestModelAtEnd: true });
    const tracker = new BestModelTracker(judgeOf(config)!, config);
    expect(tracker.judge(1, 'a', result(Number.NaN))).toBe(false);
    expect(tracker.best).toBeUndefined();
    expect(tracker.judge(2, 'b', result(1))).toBe(true);
    expect(tracker.judge(3, 'c', result(0.5))).toBe(true);
    tracker.unsaved(false);
    expect(tracker.best).toMatchObject({ step: 2, value: 1 });
    // Worse than step 3, but better than any that can be loaded.
    expect(tracker.judge(4, 'd', result(0.7))).toBe(true);
    expect(tracker.judge(5, 'e', result(Number.NaN))).toBe(false);
    expect(tracker.best).toMatchObject({ step: 4, value: 0.7 });
    expect(tracker.state).toMatchObject({ bestValue: 0.5, withoutGain: 2 });
  });

  it('keeps a step that is in memory as the best, and remembers the best of those that were saved', () => {
    const config = parseSftConfig({ evalStrategy: 'steps', loadBestModelAtEnd: true });
    const tracker = new BestModelTracker(judgeOf(config)!, config);
    tracker.judge(1, 'a', result(1));
    tracker.moved('a');
    tracker.judge(2, 'b', result(0.5));
    tracker.unsaved(true);
    expect(tracker.best).toEqual({ metric: 'evalLoss', value: 0.5, step: 2, checkpoint: undefined });
    expect(tracker.judge(3, 'c', result(0.7))).toBe(false);
    expect(tracker.state).toMatchObject({ best: { step: 2 }, saved: { step: 1, value: 1, checkpoint: 'a' } });
    // Better than what is in memory, and not saved either.
    tracker.judge(4, 'd', result(0.4));
    tracker.unsaved(true);
    expect(tracker.state).toMatchObject({ best: { step: 4 }, saved: { step: 1, checkpoint: 'a' } });
    tracker.moved('d');
    expect(tracker.state.saved).toBeUndefined();
    expect(tracker.best).toMatchObject({ step: 4, checkpoint: 'd' });
  });

  it('counts an infinite value as no gain, which a checkpoint could not keep', () => {
    const config = parseSftConfig({ evalStrategy: 'steps', earlyStoppingPatience: 2, metricForBestModel: 'own' });
    const tracker = new BestModelTracker({ metric: 'own', greaterIsBetter: true }, config);
    const result = (own: number) => ({ evalLoss: 1, evalRuntime: 1, evalSamplesPerSecond: 1, metrics: { own } });
    for (const value of [0.5, Number.POSITIVE_INFINITY]) tracker.judge(1, 'a', result(value));
    expect(tracker.state).toMatchObject({ bestValue: 0.5, withoutGain: 1 });
    expect(JSON.parse(JSON.stringify(tracker.state))).toEqual(tracker.state);
  });

  it.each(['own', 'eval_own'])('takes a metric called %s with and without its prefix', (name) => {
    const config = parseSftConfig({ evalStrategy: 'steps' });
    for (const metric of ['own', 'eval_own']) {
      const tracker = new BestModelTracker({ metric, greaterIsBetter: true }, config);
      tracker.judge(1, 'a', { evalLoss: 1, evalRuntime: 1, evalSamplesPerSecond: 1, metrics: { [name]: 3 } });
      expect(tracker.best).toMatchObject({ metric, value: 3 });
    }
  });

  it('knows from its name which way a metric is read', () => {
    const judge = (config: SftConfigInput) => judgeOf(parseSftConfig({ evalStrategy: 'steps', ...config }));
    expect(judge({})).toBeUndefined();
    expect(judge({ loadBestModelAtEnd: true })).toEqual({ metric: 'evalLoss', greaterIsBetter: false });
    expect(judge({ metricForBestModel: 'loss' })).toEqual({ metric: 'evalLoss', greaterIsBetter: false });
    expect(judge({ metricForBestModel: 'eval_loss' })).toEqual({ metric: 'evalLoss', greaterIsBetter: false });
    expect(judge({ metricForBestModel: 'accuracy' })).toEqual({ metric: 'accuracy', greaterIsBetter: true });
    expect(judge({ metricForBestModel: 'error', greaterIsBetter: false })?.greaterIsBetter).toBe(false);
    expect(judge({ metricForBestModel: 'errorFree', greaterIsBetter: true })?.greaterIsBetter).toBe(true);
    expect(judge({ metricForBestModel: 'terror', loadBestModelAtEnd: true })?.greaterIsBetter).toBe(true);
    for (const metric of ['error', 'errorRate', 'eval_cost', 'mean-WER', 'lossPerClass', 'expectedCalibrationError']) {
      expect(() => judge({ metricForBestModel: metric })).toThrow(/expected `greaterIsBetter` beside it/);
    }
    expect(judge({ saveStrategy: 'best' })).toBeDefined();
  });
});

describe('loadBestModelAtEnd', () => {
  it('ends with the parameters of the best evaluation, which was saved though no save was due', async () => {
    const values: Float32Array[] = [];
    const model = linearModel();
    model.onEvaluate = () => {
      values[model.steps.length] = model.values.slice();
    };
    const more = scores([0.1, 0.5, 0.9, 0.2, 0.3, 0.8]);
    const config = { loadBestModelAtEnd: true, metricForBestModel: 'score', maxSteps: 6, saveSteps: 5 };
    const run = trainer(model, config, more).train();
    const events = await eventsOf(run);
    const output = await run;
    const checkpoint = join(folder, 'checkpoint-3');
    expect(output.best).toEqual({ metric: 'score', value: 0.9, step: 3, checkpoint });
    expect(events.at(-2)).toEqual({ type: 'loadBest', ...output.best });
    expect(model.values).toEqual(values[3]);
    expect(model.values).not.toEqual(values[6]);
    // 1, 2 and 3 were the best of their time, 5 was due, 6 is the end.
    expect(await checkpoints()).toEqual([1, 2, 3, 5, 6].map((step) => `checkpoint-${step}`));
    expect(output.logHistory.filter((entry) => 'metrics' in entry)).toHaveLength(6);
  });

  it('takes the loss by default', async () => {
    const model = linearModel();
    const output = await trainer(model, { loadBestModelAtEnd: true, maxSteps: 12 }).train();
    const losses = evaluations(output);
    const least = losses.reduce((best, entry) => (entry[1]! < best[1]! ? entry : best));
    expect(output.best).toMatchObject({ metric: 'evalLoss', step: least[0], value: least[1] });
    expect(least[0]).toBeLessThan(12);
    const again = await trainer(model, {}, {}).evaluate();
    expect(again.evalLoss).toBe(least[1]);
  });

  it('saves the best alone with saveStrategy "best"', async () => {
    const more = scores([0.1, 0.5, 0.4, 0.9]);
    const config = { saveStrategy: 'best', metricForBestModel: 'score', maxSteps: 4, saveTotalLimit: 1 } as const;
    const output = await trainer(linearModel(), config, more).train();
    expect(await checkpoints()).toEqual(['checkpoint-4']);
    expect(output.best?.step).toBe(4);
  });

  it('asks for `computeMetrics` before the run where the metric is not the loss', () => {
    const config = { loadBestModelAtEnd: true, metricForBestModel: 'accuracy' };
    expect(() => trainer(linearModel(), config)).toThrow(
      /`metricForBestModel` is "accuracy", but evaluations have the loss alone\n.*`computeMetrics`/,
    );
  });

  it('names the metrics that there are when the one that is asked for is not', async () => {
    const config = { loadBestModelAtEnd: true, metricForBestModel: 'acuracy' };
    const more = { computeMetrics: async () => ({ accuracy: 1 }) };
    await expect(trainer(linearModel(), config, more).train()).rejects.toThrow(
      /no "acuracy"; it has evalLoss, accuracy/,
    );
    await expect(trainer(linearModel(), config, more).train()).rejects.toThrow(TrainingError);
  });
});

describe('earlyStoppingPatience', () => {
  it('stops, saves, and says so by the steps done', async () => {
    const more = scores([5, 4, 6, 7, 1, 1]);
    const config = { earlyStoppingPatience: 2, metricForBestModel: 'score', greaterIsBetter: false, saveSteps: 100 };
    const run = trainer(linearModel(), config, more).train();
    const events = await eventsOf(run);
    expect((await run).globalStep).toBe(4);
    expect(events.at(-1)).toMatchObject({ type: 'end', step: 4 });
    expect(await checkpoints()).toEqual(['checkpoint-4']);
    // What was over stays over.
    const again = linearModel();
    const output = await trainer(again, config, more).train({ resumeFromCheckpoint: true });
    expect(output.globalStep).toBe(4);
    expect(again.steps).toHaveLength(0);
  });
});

describe('a resume', () => {
  const config = { loadBestModelAtEnd: true, earlyStoppingPatience: 3, maxSteps: 12, saveTotalLimit: 2 };

  it('is bit-equal with a best step and early stopping under way', async () => {
    const whole = linearModel();
    const expected = await trainer(whole, { ...config, outputDir: join(folder, 'whole') }).train();
    expect(expected.globalStep).toBeLessThan(12);
    expect(expected.best!.step).toBe(expected.globalStep - 3);
    for (let stop = 1; stop < expected.globalStep; stop++) {
      const outputDir = join(folder, `stopped-${stop}`);
      const controller = new AbortController();
      const first = linearModel();
      first.onWindow = (window) => void (window === stop && controller.abort());
      await expect(trainer(first, { ...config, outputDir }).train({ signal: controller.signal })).rejects.toThrow();
      const model = linearModel();
      const output = await trainer(model, { ...config, outputDir }).train({ resumeFromCheckpoint: true });
      expect(model.values).toEqual(whole.values);
      expect(evaluations(output)).toEqual(evaluations(expected));
      expect(output.best).toEqual({
        ...expected.best,
        checkpoint: join(outputDir, `checkpoint-${expected.best!.step}`),
      });
      expect(await checkpoints(outputDir)).toEqual(await checkpoints(join(folder, 'whole')));
    }
  });

  it('makes up for an evaluation that was interrupted', async () => {
    const whole = linearModel();
    const expected = await trainer(whole, { ...config, outputDir: join(folder, 'whole') }).train();
    const controller = new AbortController();
    const stopped = linearModel();
    stopped.onEvaluate = () => {
      if (stopped.steps.length === 3) controller.abort();
    };
    await expect(trainer(stopped, config).train({ signal: controller.signal })).rejects.toThrow(/abort/);
    expect(stopped.steps).toHaveLength(3);
    expect(await checkpoints()).toContain('checkpoint-3');
    const model = linearModel();
    const output = await trainer(model, config).train({ resumeFromCheckpoint: true });
    expect(model.values).toEqual(whole.values);
    expect(output.logHistory.map(({ step }) => step)).toEqual(expected.logHistory.map(({ step }) => step));
    expect(evaluations(output)).toEqual(evaluations(expected));
  });

  it('finds the best step in the folder of the run before, or tells it anew', async () => {
    const moved = join(folder, 'moved');
    const old = join(folder, 'old');
    const run = { loadBestModelAtEnd: true, metricForBestModel: 'score', maxSteps: 5 };
    const controller = new AbortController();
    const first = linearModel();
    first.onEvaluate = () => void (first.steps.length === 4 && controller.abort());
    const stopped = trainer(first, { ...run, outputDir: old }, scores([1, 9, 3]));
    await expect(stopped.train({ signal: controller.signal })).rejects.toThrow();
    // Its evaluation is still to come.
    const resumeFromCheckpoint = join(old, 'checkpoint-4');
    const goOn = (outputDir: string, from: string) => {
      return trainer(linearModel(), { ...run, outputDir }, scores([2, 4])).train({ resumeFromCheckpoint: from });
    };
    expect((await goOn(moved, resumeFromCheckpoint)).best).toMatchObject({
      step: 2,
      checkpoint: join(old, 'checkpoint-2'),
    });
    const alone = join(folder, 'alone');
    await cp(resumeFromCheckpoint, join(alone, 'checkpoint-4'), { recursive: true });
    await rm(old, { recursive: true });
    const lost = goOn(alone, join(alone, 'checkpoint-4'));
    const events = await eventsOf(lost);
    expect(events[1]).toMatchObject({
      type: 'warning',
      message: expect.stringContaining('best step so far, 2, is gone'),
    });
    expect((await lost).best).toMatchObject({ step: 5, value: 4 });
  });

  it('passes over a checkpoint whose best step is damaged', async () => {
    await trainer(linearModel(), { maxSteps: 3, metricForBestModel: 'loss' }).train();
    const path = join(folder, 'checkpoint-3', 'trainer-state.json');
    const state = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...state, best: { ...state.best, best: { step: 'x', checkpoint: 5 } } }));
    await reseal(join(folder, 'checkpoint-3'));
    const run = trainer(linearModel(), { maxSteps: 3, metricForBestModel: 'loss' }).train({
      resumeFromCheckpoint: true,
    });
    const damaged = (await eventsOf(run)).filter((event) => event.type === 'warning');
    expect(damaged).toMatchObject([{ message: expect.stringContaining('trainer-state.json is damaged') }]);
  });

  it('lets the metric change where nothing has been compared yet', async () => {
    const options = { evalSteps: 3, earlyStoppingPatience: 9 };
    const abort = new AbortController();
    const stopped = linearModel();
    stopped.onWindow = (window) => void (window === 1 && abort.abort());
    await expect(trainer(stopped, options).train({ signal: abort.signal })).rejects.toThrow();
    const config = { ...options, maxSteps: -1, metricForBestModel: 'score' };
    const more = scores(Array.from({ length: 9 }, (_, i) => i));
    const output = await trainer(linearModel(), config, more).train({ resumeFromCheckpoint: true });
    expect(output.best).toMatchObject({ metric: 'score' });
  });

  it('refuses to compare what cannot be compared, and lets the rest change', async () => {
    await trainer(linearModel(), { ...config, maxSteps: 2 }).train();
    const resume = (change: SftConfigInput, more: Partial<SftTrainerOptions> = {}) => {
      return trainer(linearModel(), { ...config, maxSteps: 2, ...change }, more).train({ resumeFromCheckpoint: true });
    };
    const error = await resume(
      { metricForBestModel: 'score', loadBestModelAtEnd: false },
      { evalDataset: linearDataset(6), ...scores([1]) },
    ).result.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as CheckpointError).details.differences).toEqual([
      'the best model was chosen by evalLoss (less is better), now by score (greater is better)',
      'the evaluation set, which decides the best model, had 5 samples, now 6',
    ]);
    await expect(resume({}, { evalDataset: linearDataset(5) })).rejects.toThrow(
      /the evaluation set, which decides the best model, has other texts/,
    );
    await resume({ earlyStoppingPatience: 5, earlyStoppingThreshold: 0.5, loadBestModelAtEnd: false });
  });
});
