import { appendFile, mkdir, mkdtemp, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { type TensorToWrite, writeSafetensors } from '../../src/formats/safetensors.js';
import type { LogEntry, TrainingEvent, TrainOutput } from '../../src/train/events.js';
import { readHistory, TrainHistory } from '../../src/train/history.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainer, SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { warningsOf } from './follow.js';
import { type LinearModel, linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';
import { reseal } from './reseal.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'checkpoint-'));
});
afterEach(() => rm(folder, { recursive: true }));

function trainer(model: LinearModel, config: SftConfigInput = {}, more: Partial<SftTrainerOptions> = {}): SftTrainer {
  return linearTrainer(
    model,
    {
      outputDir: folder,
      saveStrategy: 'steps',
      saveSteps: 1,
      loggingSteps: 2,
      warmupSteps: 1,
      weightDecay: 0.01,
      ...config,
    },
    more,
  );
}

/** What must not depend on a stop: everything but the times. */
function timeless({ globalStep, trainingLoss, logHistory }: TrainOutput) {
  const logs = logHistory.map((entry) => {
    const { step, epoch, loss, gradNorm, learningRate } = entry as LogEntry;
    return { step, epoch, loss, gradNorm, learningRate };
  });
  return { globalStep, trainingLoss, logs };
}

const checkpoints = async (path = folder) => (await readdir(path)).filter((name) => name.includes('checkpoint')).sort();

describe('resumeFromCheckpoint', () => {
  it.each(['adamw', 'adamw_8bit'] as const)(
    'is bit-equal to a run without a stop, at every step (%s)',
    async (optim) => {
      const whole = linearModel();
      const expected = await trainer(whole, { optim }).train();
      expect(await checkpoints()).toHaveLength(6);
      for (let step = 1; step <= 6; step++) {
        const model = linearModel();
        const output = await trainer(model, {
          optim,
          saveStrategy: 'no',
          outputDir: join(folder, `resumed-${step}`),
        }).train({
          resumeFromCheckpoint: join(folder, `checkpoint-${step}`),
        });
        expect(model.steps).toHaveLength(6 - step);
        expect(model.values).toEqual(whole.values);
        expect(model.seeds).toEqual(whole.seeds.slice(whole.seeds.length - model.seeds.length));
        expect(model.seen).toEqual(whole.seen.slice(whole.seen.length - model.seen.length));
        expect(timeless(output)).toEqual(timeless(expected));
      }
    },
  );

  it('takes options that the checkpoint does not know as their defaults', async () => {
    await trainer(linearModel(), { maxSteps: 2 }).train();
    const path = join(folder, 'checkpoint-1');
    const file = join(path, 'trainer-state.json');
    const state = JSON.parse(await readFile(file, 'utf8')) as { config: Record<string, unknown> };
    for (const name of ['labelSmoothingFactor', 'neftuneNoiseAlpha', 'loraplusLrRatio']) {
      expect(state.config).toHaveProperty(name);
      delete state.config[name];
    }
    await writeFile(file, JSON.stringify(state));
    await reseal(path);
    const resume = (config: SftConfigInput) =>
      trainer(linearModel(), { maxSteps: 2, ...config }).train({ resumeFromCheckpoint: path });
    expect((await resume({})).globalStep).toBe(2);
    await expect(resume({ neftuneNoiseAlpha: 5, labelSmoothingFactor: 0.1 }).result).rejects.toThrow(
      /`neftuneNoiseAlpha` was 0, now 5|`labelSmoothingFactor` was 0, now 0\.1/,
    );
  });

  it('takes a checkpoint of before prefixes were shared for one without', async () => {
    await trainer(linearModel(), { maxSteps: 2 }).train();
    const path = join(folder, 'checkpoint-1');
    const file = join(path, 'trainer-state.json');
    const state = JSON.parse(await readFile(file, 'utf8')) as { config: Record<string, unknown> };
    expect(state.config['sharePrefix']).toBe(true);
    delete state.config['sharePrefix'];
    await writeFile(file, JSON.stringify(state));
    await reseal(path);
    const resume = (config: SftConfigInput) =>
      trainer(linearModel(), { maxSteps: 2, ...config }).train({ resumeFromCheckpoint: path });
    await expect(resume({}).result).rejects.toThrow(
      /`sharePrefix` was false, now true \(the version that started the run did not have this option\)/,
    );
    expect((await resume({ sharePrefix: false })).globalStep).toBe(2);
  });

  it('goes on from the newest after an abort, and the history reads as one', async () => {
    const whole = linearModel();
    const expected = await trainer(whole, { outputDir: join(folder, 'whole') }).train();
    const controller = new AbortController();
    const stopped = linearModel();
    stopped.onWindow = (window) => void (window === 3 && controller.abort());
    await expect(trainer(stopped, { saveSteps: 100 }).train({ signal: controller.signal })).rejects.toThrow();
    expect(await checkpoints()).toEqual(['checkpoint-3']);
    const model = linearModel();
    const output = await trainer(model, { saveSteps: 100 }).train({ resumeFromCheckpoint: true });
    expect(model.values).toEqual(whole.values);
    expect(timeless(output)).toEqual(timeless(expected));
    const { logs } = await readHistory(join(folder, 'train-log.jsonl'));
    expect(logs).toEqual(output.logHistory);
  });

  it('loses no more lines of the history than those that could not be written', async () => {
    const history = new TrainHistory(folder);
    const entry = (step: number) => ({ type: 'evaluate', step, epoch: 1, ...{ evalLoss: 1, evalRuntime: 1 } }) as never;
    await history.append(entry(1));
    await rename(history.path, `${history.path}.away`);
    await mkdir(history.path);
    await expect(history.append(entry(2))).rejects.toThrow('EISDIR');
    await rmdir(history.path);
    await rename(`${history.path}.away`, history.path);
    // A disk that fills up takes a part.
    await appendFile(history.path, '{"type":"eva');
    await history.append(entry(3));
    const read = async () => (await readHistory(history.path)).evaluations.map(({ step }) => step);
    expect(await read()).toEqual([1, 3]);
    // Done again by a run that was resumed where it had stopped in this evaluation.
    await history.append({ type: 'start', step: 3, totalSteps: 9 } as never);
    await history.append(entry(3));
    expect(await read()).toEqual([1, 3]);
  });

  it('reads the history as one after a kill in the middle of a line', async () => {
    await trainer(linearModel(), { maxSteps: 6 }).train();
    const path = join(folder, 'train-log.jsonl');
    // Killed while it logged step 6; step 3 is the last one that was saved.
    for (const step of [4, 5, 6]) await rm(join(folder, `checkpoint-${step}`), { recursive: true });
    await writeFile(path, (await readFile(path, 'utf8')).slice(0, -40));
    const output = await trainer(linearModel(), { maxSteps: 6 }).train({ resumeFromCheckpoint: true });
    expect((await readHistory(path)).logs).toEqual(output.logHistory);
  });

  it('refuses another run and names every difference', async () => {
    await trainer(linearModel()).train();
    const changed = {
      ...{ learningRate: 0.1, seed: 1, loggingSteps: 5 },
      ...({ gradientCheckpointing: false, memoryBudget: 1e9, autoMicroBatch: true } as const),
    };
    const error = await trainer(linearModel(), changed, { trainDataset: linearDataset(8) })
      .train({ resumeFromCheckpoint: true })
      .result.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as CheckpointError).details.differences).toEqual([
      '`learningRate` was 0.02, now 0.1',
      '`seed` was 42, now 1',
      'the training set had 7 samples, now 8',
    ]);
    const otherTexts = trainer(linearModel(), {}, { trainDataset: linearDataset(7, 1) });
    await expect(otherTexts.train({ resumeFromCheckpoint: true })).rejects.toThrow(
      'the training set has other texts or image files than before, somewhere from sample 0 to 6',
    );
    const other = linearModel();
    Object.assign(other.trainable.parameters[1]!, { name: 'lora_C' });
    await expect(trainer(other).train({ resumeFromCheckpoint: true })).rejects.toThrow(
      'trainable tensor 1 was lora_B [1], now lora_C [1]',
    );
  });

  it('refuses another adapter or collator, and goes on with a model that tells nothing', async () => {
    const decided = (loraDropout: number, maskPrompt: boolean): [LinearModel, Partial<SftTrainerOptions>] => {
      const model = Object.assign(linearModel(), { trainingSettings: { loraScale: 2, loraDropout } });
      return [model, { collator: { ...linearCollator, settings: { maskPrompt } } }];
    };
    const run = ([model, more]: [LinearModel, Partial<SftTrainerOptions>]) => trainer(model, {}, more);
    await run(decided(0.05, true)).train();
    await expect(run(decided(0.1, false)).train({ resumeFromCheckpoint: true })).rejects.toThrow(
      /`model\.loraDropout` was 0\.05, now 0\.1\n.*`collator\.maskPrompt` was true, now false/,
    );
    await run(decided(0.05, true)).train({ resumeFromCheckpoint: true });
  });

  it('warns in a new run of the checkpoints of another', async () => {
    const warned: string[] = [];
    const run = async (resumeFromCheckpoint: boolean): Promise<void> => {
      for await (const event of trainer(linearModel(), { maxSteps: 2 }).train({ resumeFromCheckpoint })) {
        warned.push(...warningsOf([event]));
      }
    };
    await run(false);
    await run(true);
    expect(warned).toEqual([]);
    await run(false);
    expect(warned).toEqual([expect.stringMatching(/holds checkpoints of an earlier run, up to step 2/)]);
  });

  it('gives the optimizer back if the run fails before its first step', async () => {
    await trainer(linearModel(), { maxSteps: 2 }).train();
    const model = linearModel();
    const counts = { made: 0, released: 0 };
    const { createOptimizerState } = model.engine;
    Object.assign(model.engine, {
      createOptimizerState: (...values: Parameters<typeof createOptimizerState>) => {
        counts.made++;
        return createOptimizerState(...values);
      },
      releaseOptimizerState: () => counts.released++,
      writeOptimizerState: () => {
        throw new Error('does not fit');
      },
    });
    await expect(trainer(model, { maxSteps: 2 }).train({ resumeFromCheckpoint: true })).rejects.toThrow('does not fit');
    expect(counts).toEqual({ made: 1, released: 1 });
  });

  it('says so when there is nothing to resume from', async () => {
    await expect(trainer(linearModel()).train({ resumeFromCheckpoint: true })).rejects.toThrow(/holds no checkpoint/);
  });

  it('passes over a damaged checkpoint for the one before, and refuses it where it is named', async () => {
    const whole = linearModel();
    await trainer(whole, { maxSteps: 3 }).train();
    const newest = join(folder, 'checkpoint-3');
    const path = join(newest, 'training-state.safetensors');
    await writeFile(path, (await readFile(path)).subarray(0, -3));
    const refused = linearModel();
    const before = refused.values.slice();
    const config = { maxSteps: 3 };
    await expect(trainer(refused, config).train({ resumeFromCheckpoint: newest })).rejects.toThrow(CheckpointError);
    expect(refused.values).toEqual(before);

    const model = linearModel();
    const warnings: string[] = [];
    const run = trainer(model, config).train({ resumeFromCheckpoint: true });
    for await (const event of run) if (event.type === 'warning') warnings.push(event.message);
    expect(warnings).toEqual([expect.stringMatching(/^step 2: passed over a checkpoint .*checkpoint-3/)]);
    expect(model.values).toEqual(whole.values);
    // It was written anew.
    await trainer(linearModel(), config).train({ resumeFromCheckpoint: newest });

    for (const step of [1, 2, 3]) await writeFile(join(folder, `checkpoint-${step}`, 'trainer-state.json'), '{');
    await expect(trainer(linearModel(), config).train({ resumeFromCheckpoint: true })).rejects.toThrow(
      /checkpoint-3 is damaged: trainer-state\.json has the SHA-256/,
    );
    await reseal(newest);
    await expect(trainer(linearModel(), config).train({ resumeFromCheckpoint: newest })).rejects.toThrow(
      /checkpoint-3 is no checkpoint/,
    );
    const json = { formatVersion: 3, digests: 'checkpoint.sha256', globalStep: 3, config: {}, dataset: { length: 7 } };
    await writeFile(join(newest, 'trainer-state.json'), JSON.stringify(json));
    await reseal(newest);
    await expect(trainer(linearModel(), config).train({ resumeFromCheckpoint: newest })).rejects.toThrow(
      /damaged:(.|\n)*dataset\.digests(.|\n)*parameters/,
    );
  });
});

describe('a checkpoint that was tampered with', () => {
  const state = () => join(folder, 'checkpoint-3', 'trainer-state.json');
  const tensors = () => join(folder, 'checkpoint-3', 'training-state.safetensors');
  const resume = async () => {
    await reseal(join(folder, 'checkpoint-3'));
    return trainer(linearModel()).train({ resumeFromCheckpoint: join(folder, 'checkpoint-3') });
  };
  beforeEach(async () => void (await trainer(linearModel()).train()));

  it.each<[string, (state: Record<string, unknown>) => unknown, RegExp]>([
    ['nothing', () => null, /format version/],
    ['a list', () => [], /format version/],
    ['steps before the first', (json) => ({ ...json, globalStep: -1e9 }), /globalStep/],
    ['steps beyond the last', (json) => ({ ...json, globalStep: 1e9 }), /globalStep: beyond totalSteps/],
    ['no configuration', ({ config, ...json }) => json, /config/],
    ['no data set', (json) => ({ ...json, dataset: null }), /dataset/],
    ['no metrics', (json) => ({ ...json, metrics: { totalLoss: 'x' } }), /metrics\.totalLoss/],
    ['a log that is none', (json) => ({ ...json, logHistory: [3] }), /logHistory\.0/],
    ['parameters that are none', (json) => ({ ...json, parameters: [null] }), /parameters\.0/],
    ['another configuration', (json) => ({ ...json, config: { x: 'y'.repeat(1e6) } }), /`x` was "y+…, now not set/],
  ])('is refused for %s in its state', async (_, change, message) => {
    await writeFile(state(), JSON.stringify(change(JSON.parse(await readFile(state(), 'utf8')))));
    const error = await resume().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message.length).toBeLessThan(5000);
  });

  it.each<[string, TensorToWrite[], RegExp]>([
    ['no parameters', [], /no tensor "parameters"/],
    ['other numbers', [{ name: 'parameters', dtype: 'F64', shape: [3], data: new Float64Array(3) }], /in F32/],
    [
      'values that are not finite',
      [{ name: 'parameters', dtype: 'F32', shape: [3], data: Float32Array.of(1, NaN, 2) }],
      /1 is NaN/,
    ],
    ['too few', [{ name: 'parameters', dtype: 'F32', shape: [2], data: new Float32Array(2) }], /expected 3 param/],
    [
      'a strange name',
      [{ name: 'optimizer.__proto__', dtype: 'F32', shape: [1], data: new Float32Array(1) }],
      /in F32/,
    ],
    ['a strange array', [{ name: 'optimizer.m', dtype: 'I64', shape: [1], data: new BigInt64Array(1) }], /F32 or U8/],
  ])('is refused for %s in its tensors', async (_, written, message) => {
    await writeSafetensors(tensors(), written);
    const error = await resume().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
  });
});

describe('checkpoints', () => {
  it('hold the adapter, and only the newest stay', async () => {
    const saveAdapter = (directory: string) => writeFile(join(directory, 'adapter_model.safetensors'), 'adapter');
    const stranger = join(folder, 'checkpoint-900');
    await mkdir(stranger);
    const output = await trainer(linearModel(), { saveTotalLimit: 2 }, { saveAdapter }).train();
    expect(output.checkpoints).toEqual([join(folder, 'checkpoint-5'), join(folder, 'checkpoint-6')]);
    // A folder that the run did not write stays, whatever its number.
    expect(await checkpoints()).toEqual(['checkpoint-5', 'checkpoint-6', 'checkpoint-900']);
    expect((await readdir(join(folder, 'checkpoint-6'))).sort()).toEqual([
      'adapter_model.safetensors',
      'checkpoint.sha256',
      'trainer-state.json',
      'training-state.safetensors',
    ]);
    const state = JSON.parse(await readFile(join(folder, 'checkpoint-6', 'trainer-state.json'), 'utf8'));
    expect(state).toMatchObject({ globalStep: 6, epoch: 3, totalSteps: 6, config: { learningRate: 0.02, seed: 42 } });
  });

  it('keep the best as well as the newest', async () => {
    const evalDataset = linearDataset(5);
    // The loss is made up: step 2 is the best, whatever is learned.
    const values = [5, 1, 4, 3, 2, 6];
    const computeMetrics = () => ({ score: values.shift()! });
    const config = {
      evalStrategy: 'steps',
      evalSteps: 1,
      metricForBestModel: 'score',
      greaterIsBetter: false,
    } as const;
    const events: TrainingEvent[] = [];
    const more = { evalDataset, computeMetrics };
    const run = trainer(linearModel(), { ...config, saveTotalLimit: 2 }, more).train();
    for await (const event of run) events.push(event);
    expect(await checkpoints()).toEqual(['checkpoint-2', 'checkpoint-6']);
    const removed = events.flatMap((event) => (event.type === 'save' ? event.removed : []));
    expect(removed).toEqual([1, 3, 4, 5].map((step) => join(folder, `checkpoint-${step}`)));
    expect((await run).best).toEqual({ metric: 'score', value: 1, step: 2, checkpoint: join(folder, 'checkpoint-2') });
  });

  it('replace those of an earlier run in the same folder', async () => {
    await trainer(linearModel(), { maxSteps: 2, learningRate: 0.5 }).train();
    const model = linearModel();
    await trainer(model, { maxSteps: 2 }).train();
    const resumed = linearModel();
    await trainer(resumed, { maxSteps: 2 }).train({ resumeFromCheckpoint: true });
    expect(resumed.values).toEqual(model.values);
    expect(await checkpoints()).toEqual(['checkpoint-1', 'checkpoint-2']);
  });

  it('come at the ends of epochs if asked, and at the end', async () => {
    await trainer(linearModel(), { saveStrategy: 'epoch', numTrainEpochs: 1.5 }).train();
    expect(await checkpoints()).toEqual(['checkpoint-2', 'checkpoint-3']);
  });
});
