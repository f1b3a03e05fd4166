import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Dataset, SftExample } from '../../src/data/types.js';
import { ConfigError, DataError, OutOfMemoryError, TrainingError } from '../../src/errors.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { readHistory } from '../../src/train/history.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainer, SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { type LinearModel, linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'trainer-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

function trainer(model: LinearModel, config: SftConfigInput = {}, more: Partial<SftTrainerOptions> = {}): SftTrainer {
  return linearTrainer(
    model,
    {
      outputDir,
      saveStrategy: 'no',
      loggingSteps: 1,
      seed: 11,
      ...config,
    },
    more,
  );
}

async function eventsOf(run: AsyncIterable<TrainingEvent>): Promise<TrainingEvent[]> {
  const events: TrainingEvent[] = [];
  for await (const event of run) events.push(event);
  return events;
}

function ofType<T extends TrainingEvent['type']>(events: readonly TrainingEvent[], type: T) {
  return events.filter((event): event is Extract<TrainingEvent, { type: T }> => event.type === type);
}

/**
 * torch.optim.AdamW (weight decay 0.1), clip_grad_norm_ at 0.3 and get_linear_schedule_with_warmup (2 of 6) on the
 * same model and data: micro-batches, loss, gradient norm, learning rate.
 */
const TORCH: [string[][], number, number, number][] = [
  [
    [
      ['4', '0'],
      ['2', '6'],
    ],
    0.49414548,
    0.35363638,
    0,
  ],
  [[['3', '1'], ['5']], 0.57409996, 0.4761667, 0.01],
  [
    [
      ['5', '2'],
      ['4', '1'],
    ],
    0.58848411,
    0.38480312,
    0.02,
  ],
  [[['0', '3'], ['6']], 0.34169134, 0.42012596, 0.015],
  [
    [
      ['3', '5'],
      ['6', '0'],
    ],
    0.32572508,
    0.4223924,
    0.01,
  ],
  [[['4', '1'], ['2']], 0.65709186, 0.41826269, 0.005],
];

describe('SftTrainer', () => {
  it('takes the steps of torch and logs them as transformers does', async () => {
    const model = linearModel();
    const output = await trainer(model, { warmupSteps: 2, maxGradNorm: 0.3, weightDecay: 0.1 }).train();
    expect(model.seen).toEqual(TORCH.flatMap(([batches]) => batches));
    expect(output.logHistory).toHaveLength(6);
    TORCH.forEach(([, loss, gradNorm, learningRate], i) => {
      const entry = output.logHistory[i]!;
      if (!('loss' in entry)) throw new Error('not a log entry');
      expect(entry.loss).toBeCloseTo(loss, 6);
      expect(entry.gradNorm).toBeCloseTo(gradNorm, 6);
      expect(entry.learningRate).toBeCloseTo(learningRate, 15);
      expect(entry.step).toBe(i + 1);
      expect(entry.epoch).toBe((i + 1) / 2);
      expect(entry.tokensPerSecond).toBeGreaterThan(0);
    });
    expect(output.trainingLoss).toBeCloseTo(TORCH.reduce((sum, [, loss]) => sum + loss, 0) / 6, 6);
    expect([output.globalStep, output.metrics.epoch]).toEqual([6, 3]);
    const torch = [0.501269519329071, -0.3344292938709259, -0.05985201895236969];
    model.values.forEach((value, i) => {
      expect(value).toBeCloseTo(torch[i]!, 6);
    });
  });

  it('logs the mean since the last log, at shares of all steps, and the first step if asked', async () => {
    const run = trainer(linearModel(), {
      loggingSteps: 0.4,
      loggingFirstStep: true,
      warmupSteps: 2,
      maxGradNorm: 0.3,
      weightDecay: 0.1,
    });
    const logs = ofType(await eventsOf(run.train()), 'log');
    expect(logs.map(({ step }) => step)).toEqual([1, 3, 6]);
    expect(logs[1]!.loss).toBeCloseTo((TORCH[1]![1] + TORCH[2]![1]) / 2, 6);
    expect(logs[2]!.loss).toBeCloseTo((TORCH[3]![1] + TORCH[4]![1] + TORCH[5]![1]) / 3, 6);
  });

  it('gives the same parameters however a step is split, the partial last window included', async () => {
    const results = await Promise.all(
      [
        [1, 8],
        [8, 1],
        [4, 2],
        [2, 4],
      ].map(async ([perDeviceTrainBatchSize, gradientAccumulationSteps], i) => {
        const model = linearModel();
        const config = { perDeviceTrainBatchSize, gradientAccumulationSteps, outputDir: join(outputDir, String(i)) };
        const run = trainer(model, { ...config, maxGradNorm: 0 } as SftConfigInput, {
          trainDataset: linearDataset(21),
        });
        const { globalStep } = await run.train();
        expect(globalStep).toBe(9);
        return [...model.values];
      }),
    );
    expect(results[0]).not.toEqual([...linearModel().values]);
    for (const result of results.slice(1)) {
      result.forEach((value, i) => {
        expect(Math.abs(value - results[0]![i]!)).toBeLessThan(1e-6);
      });
    }
  });

  it('gives each micro-batch of the run its own dropout seed, the same in every run', async () => {
    const [a, b, c] = [linearModel(), linearModel(), linearModel()];
    await trainer(a).train();
    await trainer(b).train();
    await trainer(c, { seed: 12, dataSeed: 11 }).train();
    expect(new Set(a.seeds).size).toBe(12);
    expect(b.seeds).toEqual(a.seeds);
    expect(c.seen).toEqual(a.seen);
    expect(c.seeds).not.toEqual(a.seeds);
  });

  it('overrides epochs with maxSteps and stops inside an epoch', async () => {
    const model = linearModel();
    const events = await eventsOf(trainer(model, { maxSteps: 3 }).train());
    expect(model.seen).toEqual(TORCH.slice(0, 3).flatMap(([batches]) => batches));
    expect(ofType(events, 'epoch').map(({ step, epoch }) => [step, epoch])).toEqual([
      [2, 1],
      [3, 1.5],
    ]);
  });

  it('tells the same as events and as a promise, early and late', async () => {
    const run = trainer(linearModel()).train();
    const output = await run;
    const events = await eventsOf(run);
    expect(await eventsOf(run)).toEqual(events);
    expect(await run.result).toBe(output);
    expect(events.map(({ type }) => type)).toEqual([
      'start',
      ...['step', 'log', 'step', 'log', 'epoch'],
      ...['step', 'log', 'step', 'log', 'epoch'],
      ...['step', 'log', 'step', 'log', 'epoch'],
      'end',
    ]);
    expect(ofType(events, 'end')[0]!.output).toBe(output);
    expect(ofType(events, 'step').map(({ labels }) => labels)).toEqual([11, 6, 12, 5, 8, 9]);
  });

  it('fetches losses a step late, and only then', async () => {
    const model = linearModel();
    const order: string[] = [];
    model.onWindow = (window) => void order.push(`queue ${window + 1}`);
    model.onFetch = (window) => void order.push(`fetch ${window + 1}`);
    await trainer(model, { loggingSteps: 100, numTrainEpochs: 1, gradientAccumulationSteps: 1 }).train();
    expect(order).toEqual(['queue 1', 'queue 2', 'fetch 1', 'queue 3', 'fetch 2', 'queue 4', 'fetch 3', 'fetch 4']);
  });

  it('logs arithmetic and memory: tera-operations a second, their share where the engine knows its rate', async () => {
    const plain = await trainer(linearModel(), { maxSteps: 2 }).train();
    for (const entry of plain.logHistory) {
      expect(entry).toMatchObject({ memoryBytes: 3 * 2 ** 30, peakMemoryBytes: 4 * 2 ** 30 });
      expect(entry).not.toHaveProperty('modelTflops');
    }
    const model = linearModel();
    model.trainingFlops = ({ labels }) => 1e9 * labels;
    model.engine.matrixTflops = () => 0.5;
    const { logHistory } = await trainer(model, { loggingSteps: 3 }).train();
    expect(logHistory).toHaveLength(2);
    for (const [i, entry] of logHistory.entries()) {
      if (!('loss' in entry)) throw new Error('not a log entry');
      // Of three steps each.
      expect(entry.modelTflops! * entry.seconds).toBeCloseTo([29e-3, 22e-3][i]!, 9);
      expect(entry.modelFlopsUtilization).toBeCloseTo(entry.modelTflops! / 0.5, 12);
    }
    delete model.engine.matrixTflops;
    const unknown = (await trainer(model, { maxSteps: 1 }).train()).logHistory[0]!;
    expect(unknown).toHaveProperty('modelTflops');
    expect(unknown).not.toHaveProperty('modelFlopsUtilization');
  });

  it('hands the memory options on, and tells what the model had to change to fit', async () => {
    const model = linearModel();
    const { passCosts, lossSteps } = model;
    // Two samples do not fit into the GiB that is free in step 2; in step 3 they should, and never do.
    model.passCosts = () => {
      const bytes = [0, 2 ** 30 / 5, 2 ** 30 / 10][model.steps.length]!;
      return { ...passCosts(), peakBytes: ({ tokens }) => bytes * tokens };
    };
    model.lossSteps = (...given) => {
      if (model.steps.length < 2) return lossSteps(...given);
      throw new OutOfMemoryError('out of memory');
    };
    const events: TrainingEvent[] = [];
    const run = trainer(model, { memoryBudget: 2 ** 32, autoMicroBatch: true, saveStrategy: 'epoch' }).train();
    const loop = (async () => {
      for await (const event of run) events.push(event);
    })();
    await expect(loop).rejects.toThrow('out of memory');
    await expect(run).rejects.toThrow(OutOfMemoryError);
    expect(ofType(events, 'warning').map(({ step, message }) => [step, message])).toEqual([
      [2, expect.stringMatching(/^step 2: micro-batches of 2 samples do not fit into the 1\.00 GiB that are free/)],
      [3, expect.stringMatching(/^step 3: out of memory; the step is begun again in 3 passes/)],
      [3, expect.stringMatching(/^step 3: out of memory; the step is begun again in 4 passes/)],
    ]);
    // The last whole step is saved.
    expect(ofType(events, 'save').map(({ step }) => step)).toEqual([2]);
  });

  it('measures the evaluation set per labelled token, whatever the batches', async () => {
    const evalDataset = linearDataset(5, 3);
    const losses: number[] = [];
    for (const perDeviceEvalBatchSize of [1, 2, 8]) {
      losses.push(
        (await trainer(linearModel({ initialB: 0.4 }), { perDeviceEvalBatchSize }, { evalDataset }).evaluate())
          .evalLoss,
      );
    }
    expect(losses[0]).toBeGreaterThan(0);
    for (const loss of losses) expect(loss).toBeCloseTo(losses[0]!, 12);
    const events = await eventsOf(
      trainer(linearModel(), { evalStrategy: 'steps', evalSteps: 4 }, { evalDataset }).train(),
    );
    expect(ofType(events, 'evaluate').map(({ step }) => step)).toEqual([4, 6]);
    const epochs = await eventsOf(trainer(linearModel(), { evalStrategy: 'epoch' }, { evalDataset }).train());
    expect(ofType(epochs, 'evaluate').map(({ step }) => step)).toEqual([2, 4, 6]);
  });

  it('writes the history as it goes', async () => {
    const evalDataset = linearDataset(5);
    const output = await trainer(linearModel(), { evalStrategy: 'epoch' }, { evalDataset }).train();
    const { logs, evaluations } = await readHistory(join(outputDir, 'train-log.jsonl'));
    expect(logs).toHaveLength(6);
    expect(evaluations).toHaveLength(3);
    expect([...logs, ...evaluations]).toEqual(expect.arrayContaining([...output.logHistory]));
    await trainer(linearModel(), { maxSteps: 2 }).train();
    expect((await readHistory(join(outputDir, 'train-log.jsonl'))).logs.map(({ step }) => step)).toEqual([1, 2]);
    // Nothing of the first run was removed.
    expect((await readFile(join(outputDir, 'train-log.jsonl'), 'utf8')).split('\n')).toHaveLength(1 + 9 + 1 + 2 + 1);
  });

  it('trains with 8-bit moments', async () => {
    const [a, b] = [linearModel(), linearModel()];
    await trainer(a, { optim: 'paged_adamw_8bit' }).train();
    await trainer(b, { optim: 'adamw' }).train();
    expect(a.steps[0]!.kind).toBe('adamw8bit');
    a.values.forEach((value, i) => {
      expect(value).toBeCloseTo(b.values[i]!, 5);
    });
  });
});

describe('SftTrainer, when something is wrong', () => {
  it('stops at a loss that is not finite, with the parameters of the last sound step', async () => {
    let call = 0;
    const model = linearModel({ lossScale: () => (++call === 5 ? Number.NaN : 1) });
    const error = await trainer(model, { saveStrategy: 'epoch' })
      .train()
      .result.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TrainingError);
    expect((error as TrainingError).message).toContain('step 5: the loss is NaN; samples: 3, 5, 6, 0');
    expect((error as TrainingError).message).toContain(join(outputDir, 'checkpoint-4'));
    expect((await readdir(outputDir)).filter((name) => name.startsWith('checkpoint')).sort()).toEqual([
      'checkpoint-2',
      'checkpoint-4',
    ]);
    const reference = linearModel();
    let afterFour: number[] = [];
    reference.onWindow = (window) => {
      if (window === 4) afterFour = [...reference.values];
    };
    await trainer(reference, { outputDir: join(outputDir, 'b') }).train();
    expect([...model.values]).toEqual(afterFour);
  });

  it('names the samples of a window without labels', async () => {
    const collator = {
      collate: async (examples: readonly SftExample[]) => {
        const batch = await linearCollator.collate(examples);
        if (examples.some(({ id }) => id === '5')) batch.labels!.data.fill(-100);
        return batch;
      },
    };
    const config = { gradientAccumulationSteps: 1 };
    await expect(trainer(linearModel(), config, { collator }).train()).rejects.toThrow(
      /step 4: no token of its 1 samples/,
    );
    const warnings: string[] = [];
    const run = trainer(linearModel(), { maxSteps: 6 }, { collator }).train();
    for await (const event of run) if (event.type === 'warning') warnings.push(event.message);
    expect(warnings).toEqual([expect.stringContaining('step 2: no token is labelled in 5;')]);
  });

  it('goes on where the collator dropped samples, and counts a step that lost all of them', async () => {
    const keeping = (dropped: string[]) => ({
      collate: (examples: readonly SftExample[]) =>
        linearCollator.collate(examples.filter(({ id }) => !dropped.includes(id!))),
    });
    const [model, whole] = [linearModel(), linearModel()];
    const collator = keeping(['3', '1', '5', '2']);
    const events = await eventsOf(trainer(model, { numTrainEpochs: 1.5 }, { collator }).train());
    expect(model.seen).toEqual([['4', '0'], ['6'], ['4']]);
    expect(model.steps).toHaveLength(2);
    expect(ofType(events, 'warning').map(({ message }) => message)).toEqual([
      expect.stringMatching(/^step 1: the collator left out 1 of its 4 samples, /),
      expect.stringMatching(/^step 2: all of its/),
    ]);
    expect(events.at(-1)).toMatchObject({ output: { samples: 4, droppedSamples: 7 } });
    expect(ofType(events, 'log').map(({ step }) => step)).toEqual([1, 3]);
    // Dropout masks stay where they would have been.
    await trainer(whole, { numTrainEpochs: 1.5 }).train();
    expect(model.seeds).toEqual([0, 1, 5].map((slot) => whole.seeds[slot]));
    const all = keeping(['0', '1', '2', '3', '4', '5', '6']);
    await expect(trainer(linearModel(), {}, { collator: all }).train()).rejects.toThrow(
      'nothing was learned, up to step 2 of the run: the collator dropped all samples of 2 steps',
    );
  });

  it('refuses to train what is not connected to the loss', async () => {
    await expect(trainer(linearModel({ disconnected: true })).train()).rejects.toThrow(/none of 2 trainable tensors/);
  });

  it('knows that LoRA A waits for B, and that B waits for a warm-up', async () => {
    for (const warmupSteps of [0, 1, 2]) {
      const events = await eventsOf(trainer(linearModel(), { warmupSteps }).train());
      expect(ofType(events, 'warning')).toEqual([]);
    }
  });

  it('warns of a tensor that stays without gradient', async () => {
    const model = linearModel();
    const { engine } = model;
    const read = engine.readGradients.bind(engine);
    engine.readGradients = async (set) => (await read(set)).fill(0, 0, 2);
    const events = await eventsOf(trainer(model, { warmupSteps: 2 }).train());
    // Steps 1 and 2: step 1 has rate 0, step 2 is the first to move B, so step 3 must see A's gradient.
    expect(ofType(events, 'warning').map(({ message }) => message)).toEqual([
      expect.stringMatching(/^step 3: 1 of 2 trainable tensors got no gradient .*\(lora_A\)/),
    ]);
    engine.readGradients = async (set) => (await read(set)).fill(0, 2, 3).fill(1, 0, 2);
    engine.readParameters = async () => Float32Array.from([1, 1, 0]);
    const dead = await eventsOf(trainer(model).train());
    expect(ofType(dead, 'warning')[0]!.message).toMatch(/^step 1: .*\(lora_B\)/);
  });

  it('keeps the last whole step when a sample cannot be read, and says which error it was', async () => {
    const dataset = linearDataset(7);
    const broken: Dataset<SftExample> = {
      ...dataset,
      get: async (i) =>
        i === 5 && model.steps.length >= 1 ? Promise.reject(new DataError('sample 5 is broken')) : dataset.get(i),
    };
    const model = linearModel();
    const config: SftConfigInput = { saveStrategy: 'epoch', dataloaderPrefetch: 0 };
    await expect(trainer(model, config, { trainDataset: broken }).train()).rejects.toThrow('sample 5 is broken');
    expect(await readdir(outputDir)).toContain('checkpoint-1');
  });

  it('checks what it is given', () => {
    expect(() => trainer(linearModel(), { evalStrategy: 'epoch' })).toThrow(ConfigError);
    expect(() => trainer(linearModel(), {}, { trainDataset: linearDataset(0) })).toThrow(DataError);
    expect(() => trainer(linearModel(), { dataloaderDropLast: true }, { trainDataset: linearDataset(1) })).toThrow(
      DataError,
    );
  });

  it('runs once at a time', async () => {
    const shared = trainer(linearModel());
    const first = shared.train();
    await expect(shared.train()).rejects.toThrow('training already');
    await first;
  });

  it('throws in the loop and in the promise, and nowhere else', async () => {
    const unhandled: unknown[] = [];
    const listen = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', listen);
    try {
      const make = () => trainer(linearModel({ disconnected: true })).train();
      await expect(eventsOf(make())).rejects.toThrow(TrainingError);
      await expect(make().result).rejects.toThrow(TrainingError);
      const both = make();
      await Promise.all([
        expect(eventsOf(both)).rejects.toThrow(TrainingError),
        expect(both).rejects.toThrow(TrainingError),
      ]);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', listen);
    }
  });
});

describe('SftTrainer, aborted', () => {
  it('gives up the window, saves the last whole step and fails with the reason', async () => {
    const controller = new AbortController();
    const model = linearModel();
    model.onWindow = (window) => void (window === 3 && controller.abort(new Error('enough')));
    const events: TrainingEvent[] = [];
    const run = trainer(model, { saveStrategy: 'epoch' }).train({ signal: controller.signal });
    const loop = (async () => {
      for await (const event of run) events.push(event);
    })();
    await expect(loop).rejects.toThrow('enough');
    await expect(run).rejects.toThrow('enough');
    expect(ofType(events, 'save').map(({ step }) => step)).toEqual([2, 3]);
    expect(model.steps).toHaveLength(3);
  });

  it('saves nothing with saveStrategy "no", and does not start when aborted before', async () => {
    const controller = new AbortController();
    const model = linearModel();
    model.onWindow = (window) => void (window === 2 && controller.abort());
    await expect(trainer(model).train({ signal: controller.signal })).rejects.toThrow(/abort/i);
    // The window under way was given up.
    expect(model.steps).toHaveLength(2);
    expect(await readdir(outputDir)).toEqual(['train-log.jsonl']);
    const late = linearModel();
    await expect(trainer(late).train({ signal: controller.signal })).rejects.toThrow(/abort/i);
    expect(late.steps).toHaveLength(0);
  });
});
