import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SftExample } from '../../src/data/types.js';
import { DataError, TrainingError } from '../../src/errors.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainer, SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { follow, warningsOf } from './follow.js';
import { type LinearModel, linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'faults-'));
});
afterEach(() => rm(folder, { recursive: true }));

function trainer(model: LinearModel, config: SftConfigInput = {}, more: Partial<SftTrainerOptions> = {}): SftTrainer {
  return linearTrainer(
    model,
    {
      outputDir: folder,
      saveSteps: 1,
      loggingSteps: 1,
      ...config,
    },
    more,
  );
}

const steps = (events: readonly TrainingEvent[], type: 'step' | 'log' | 'save') => {
  return events.flatMap((event) => (event.type === type ? [event.step] : []));
};
const checkpoints = async () => (await readdir(folder)).filter((name) => name.includes('checkpoint')).sort();

/** Its losses and gradients are not finite in these windows, counted over the whole run. */
function brokenModel(windows: readonly number[], value = Number.NaN, done = 0): LinearModel {
  let call = done;
  return linearModel({ lossScale: () => (windows.includes(++call) ? value : 1) });
}

describe('onNonFiniteLoss: skip', () => {
  const skip = { onNonFiniteLoss: 'skip' } as const;

  it.each([
    ['NaN', Number.NaN, 'loss is NaN'],
    ['Infinity', Number.POSITIVE_INFINITY, 'loss is Infinity'],
  ])('leaves out the update of a loss of %s, names its samples and counts it', async (_, value, what) => {
    const model = brokenModel([3], value);
    const before: number[][] = [];
    model.onWindow = () => void before.push([...model.values]);
    const { events, error } = await follow(trainer(model, skip).train());
    expect(error).toBeUndefined();
    expect(warningsOf(events)).toEqual([
      expect.stringMatching(
        new RegExp(`^step 3: the ${what}; samples: .*; nothing was learned from it \\(step 1 of at most 10`),
      ),
    ]);
    expect(before[3]).toEqual(before[2]);
    expect(before[4]).not.toEqual(before[3]);
    expect(model.steps).toHaveLength(5);
    expect(steps(events, 'step')).toEqual([1, 2, 4, 5, 6]);
    expect(steps(events, 'log')).toEqual([1, 2, 4, 5, 6]);
    // Three epochs of seven samples, without the four of that step.
    expect(events.at(-1)).toMatchObject({ output: { globalStep: 6, skippedSteps: 1, samples: 17 } });
    for (const event of events) if (event.type === 'log') expect(event.loss).toSatisfy(Number.isFinite);
  });

  it('leaves out a step whose norm alone is not finite, by what the engine refuses', async () => {
    const model = linearModel();
    const { optimizerStep } = model.engine;
    let calls = 0;
    model.engine.optimizerStep = (set, state, options) => {
      if (++calls !== 3) return optimizerStep(set, state, options);
      return async () => Number.POSITIVE_INFINITY;
    };
    const { events } = await follow(trainer(model, skip).train());
    expect(warningsOf(events)).toEqual([expect.stringContaining('step 3: the gradient norm is Infinity; samples:')]);
    expect(model.steps).toHaveLength(5);
  });

  it('learns what a run learns that never saw the step, but for the schedule', async () => {
    const constant = { ...skip, lrSchedulerType: 'constant', numTrainEpochs: 1 } as const;
    const whole = linearModel();
    await trainer(whole, constant).train();
    const model = brokenModel([2]);
    await trainer(model, constant).train();
    const one = linearModel();
    await trainer(one, { ...constant, maxSteps: 1 }).train();
    expect(model.values).toEqual(one.values);
    expect(whole.values).not.toEqual(one.values);
  });

  it('stops when it is too many, with the last sound step saved, those before a resume counted', async () => {
    const config = { ...skip, maxSkippedSteps: 2 };
    const { events, error } = await follow(trainer(brokenModel([2, 4, 5]), config).train());
    expect(error).toBeInstanceOf(TrainingError);
    expect((error as Error).message).toMatch(
      /step 5: the loss is NaN.* after 2 steps that were left out.*checkpoint-4/,
    );
    expect(warningsOf(events)).toHaveLength(2);
    expect(await checkpoints()).toEqual(['checkpoint-1', 'checkpoint-2', 'checkpoint-3', 'checkpoint-4']);
    const resumed = follow(trainer(brokenModel([1]), config).train({ resumeFromCheckpoint: true }));
    expect((await resumed).error).toBeInstanceOf(TrainingError);
    // Allowed more, it goes on: how many is not what the parameters depend on.
    const more = trainer(brokenModel([1]), { ...config, maxSkippedSteps: 3 }).train({ resumeFromCheckpoint: true });
    expect((await more).skippedSteps).toBe(3);
  });

  it('is what a run that stopped can be resumed with, to the bits of one that had it from the start', async () => {
    const whole = brokenModel([4]);
    await trainer(whole, { ...skip, outputDir: join(folder, 'whole') }).train();
    const { error } = await follow(trainer(brokenModel([4])).train());
    expect((error as TrainingError).hint).toContain('onNonFiniteLoss: "skip"');
    expect((error as TrainingError).details).toMatchObject({ step: 4, lastCheckpoint: join(folder, 'checkpoint-3') });
    const model = brokenModel([4], Number.NaN, 3);
    const output = await trainer(model, skip).train({ resumeFromCheckpoint: true });
    expect(model.values).toEqual(whole.values);
    expect(output.skippedSteps).toBe(1);
  });

  it('does not take a first update that was left out for a tensor that learns nothing', async () => {
    const { events } = await follow(trainer(brokenModel([1]), skip).train());
    expect(warningsOf(events)).toHaveLength(1);
    const model = linearModel();
    const { optimizerStep } = model.engine;
    let calls = 0;
    model.engine.optimizerStep = (set, state, options) => {
      return ++calls > 2 ? optimizerStep(set, state, options) : async () => Number.NaN;
    };
    const later = await follow(trainer(model, { ...skip, outputDir: join(folder, 'later') }).train());
    expect(warningsOf(later.events)).toHaveLength(2);
    expect(warningsOf(later.events).join()).not.toContain('no gradient');
  });
});

describe('a full disk', () => {
  it('costs a save, not the run: the checkpoint before stays, and the next save tries again', async () => {
    const model = linearModel();
    const whole = linearModel();
    await trainer(whole, { outputDir: join(folder, 'whole') }).train();
    const saveAdapter = async (directory: string) => {
      await writeFile(join(directory, 'adapter_model.safetensors'), 'half');
      // A device that is always full, so that the error is the system's own.
      if (model.steps.length === 2 || model.steps.length === 3) await writeFile('/dev/full', 'x');
    };
    const { events, error } = await follow(trainer(model, { saveTotalLimit: 1 }, { saveAdapter }).train());
    expect(error).toBeUndefined();
    expect(model.values).toEqual(whole.values);
    const [first, second] = warningsOf(events);
    expect(warningsOf(events)).toHaveLength(2);
    expect(first).toMatch(/^step 2: cannot write .*checkpoint-2: ENOSPC/);
    expect(first).toContain(`the last checkpoint is ${join(folder, 'checkpoint-1')}`);
    expect(second).toMatch(/^step 3: cannot write .*checkpoint-3: ENOSPC/);
    expect(steps(events, 'save')).toEqual([1, 4, 5, 6]);
    expect(await checkpoints()).toEqual(['checkpoint-6']);
  });

  it('from the first save to the last ends with the parameters, and a warning each', async () => {
    const saveAdapter = async () => writeFile('/dev/full', 'x');
    const { events, error } = await follow(trainer(linearModel(), {}, { saveAdapter }).train());
    expect(error).toBeUndefined();
    expect(warningsOf(events)).toHaveLength(6);
    expect(warningsOf(events)[0]).toContain('no checkpoint exists yet');
    expect(events.at(-1)).toMatchObject({ type: 'end', output: { checkpoints: [] } });
    expect(await checkpoints()).toEqual([]);
  });

  it('does not hide the reason for which a run stops', async () => {
    const controller = new AbortController();
    const model = linearModel();
    model.onWindow = (window) => void (window === 3 && controller.abort(new Error('enough')));
    const saveAdapter = async () => writeFile('/dev/full', 'x');
    const run = trainer(model, { saveSteps: 100 }, { saveAdapter }).train({ signal: controller.signal });
    const { events, error } = await follow(run);
    expect((error as Error).message).toBe('enough');
    expect(warningsOf(events)).toEqual([expect.stringContaining('ENOSPC')]);
  });
});

describe('samples without a label', () => {
  const withLabels = (unlabelled: readonly string[]) => {
    const without = new Set(unlabelled);
    return { ...linearCollator, hasLabels: ({ id }: SftExample) => !without.has(id!) };
  };

  it('are named before the run begins, all of them', async () => {
    const model = linearModel();
    const run = trainer(model, {}, { collator: withLabels(['2', '5']) }).train();
    const error = await run.result.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toContain('in 2 of 7 samples, no token of which carries a label: 2, 5');
    expect((error as DataError).details.samples).toEqual(['2', '5']);
    expect(model.seen).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('are looked for in large sets too, and the look can be aborted', async () => {
    const all = Array.from({ length: 15_000 }, (_, i) => String(i));
    const more = { trainDataset: linearDataset(15_000), collator: withLabels(all) };
    await expect(trainer(linearModel(), {}, more).train()).rejects.toThrow(/10000 of 10000 samples.* and 9990 more/);
    const controller = new AbortController();
    let looked = 0;
    const hasLabels = () => {
      if (++looked === 100) setImmediate(() => controller.abort(new Error('enough')));
      return false;
    };
    const watched = { ...more, collator: { ...linearCollator, hasLabels } };
    await expect(trainer(linearModel(), {}, watched).train({ signal: controller.signal })).rejects.toThrow('enough');
    expect(looked).toBeLessThan(10_000);
  });

  it('that cannot even be encoded are named as well', async () => {
    const hasLabels = ({ id }: SftExample) => {
      if (id === '3') throw new Error('no such role');
      return true;
    };
    const run = trainer(linearModel(), {}, { collator: { ...linearCollator, hasLabels } }).train();
    await expect(run).rejects.toThrow('sample 3: no such role');
  });
});

describe('doubts about the samples', () => {
  it('are warned of before the first step, with what is known of the model', async () => {
    const inspect = () => ({
      labels: 2,
      openAnswers: 0,
      endTokens: [{ id: 7, token: '<|im_end|>' }],
      spelledTokens: { '[INST]': 1 },
      leftOut: [],
    });
    const run = (model: LinearModel) =>
      follow(trainer(model, {}, { collator: { ...linearCollator, inspect } }).train());
    const { events } = await run(Object.assign(linearModel(), { config: { eosTokenIds: [2] } }));
    expect(events.slice(0, 4).map(({ type }) => type)).toEqual(['start', 'warning', 'warning', 'step']);
    expect(warningsOf(events)[0]).toMatch(/answers end with <\|im_end\|> \(7\) in 7 of 7 samples/);
    expect(warningsOf(events)[1]).toMatch(/\[INST\] 7 times in 7 samples \(first: 0\)/);
    const known = await run(Object.assign(linearModel(), { config: { eosTokenIds: [2, 7] } }));
    expect(warningsOf(known.events).filter((line) => line.includes('answers end'))).toEqual([]);
  });
});

describe('samples that cannot be read', () => {
  /** Leaves these out from a certain optimizer step on. */
  const skipping = (model: LinearModel, ids: readonly string[], from: number) => ({
    collate: async (examples: readonly SftExample[]) => {
      const isGone = ({ id }: SftExample) => model.steps.length >= from && ids.includes(id!);
      const batch = await linearCollator.collate(examples.filter((example) => !isGone(example)));
      const gone = examples.filter(isGone).map(({ id }) => ({ sampleId: id!, reason: 'ENOENT' }));
      return gone.length > 0 ? { ...batch, skipped: gone } : batch;
    },
  });

  it('are warned of, and the others of their batch are learned', async () => {
    const model = linearModel();
    const more = { collator: skipping(model, ['3', '6'], 2) };
    const { events, error } = await follow(trainer(model, { dataloaderPrefetch: 0 }, more).train());
    expect(error).toBeUndefined();
    expect(warningsOf(events).length).toBeGreaterThan(1);
    for (const message of warningsOf(events)) {
      expect(message).toMatch(
        /^step [3-6]: (a sample|2 samples) cannot be read and (is|are) left out: [36] \(ENOENT\)/,
      );
    }
    expect(model.seen.flat().filter((id) => id === '3' || id === '6').length).toBeLessThan(6);
    expect(events.at(-1)).toMatchObject({ output: { globalStep: 6 } });
  });

  it('are warned of where the set is evaluated outside of a run', async () => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const model = linearModel();
    const result = await trainer(model, {}, { collator: skipping(model, ['1'], 0) }).evaluate(linearDataset(3));
    expect(result.evalLoss).toBeGreaterThan(0);
    const message = 'evaluation: a sample cannot be read and is left out: 1 (ENOENT)';
    expect(warning.mock.calls).toEqual([[message, 'EvaluationWarning']]);
    warning.mockRestore();
  });

  it('stop the run with a checkpoint when nothing else is left', async () => {
    const model = linearModel();
    const all = ['0', '1', '2', '3', '4', '5', '6'];
    const more = { collator: skipping(model, all, 2) };
    const { events, error } = await follow(trainer(model, { saveSteps: 100, dataloaderPrefetch: 0 }, more).train());
    expect(error).toBeInstanceOf(TrainingError);
    expect((error as Error).message).toMatch(/^step 5: no sample of 3 steps in a row can be read/);
    expect(warningsOf(events).filter((message) => message.includes('cannot be read'))).toHaveLength(3);
    expect(await checkpoints()).toEqual(['checkpoint-4']);
    expect(JSON.parse(await readFile(join(folder, 'checkpoint-4', 'trainer-state.json'), 'utf8')).globalStep).toBe(4);
  });

  it('are named when an evaluation finds nothing else', async () => {
    const model = linearModel();
    const collator = skipping(model, ['0', '1', '2'], 1);
    const more = { collator, trainDataset: linearDataset(2), evalDataset: linearDataset(3) };
    const config = { evalStrategy: 'steps', evalSteps: 1, maxSteps: 1 } as const;
    const { events, error } = await follow(trainer(model, config, more).train());
    expect(warningsOf(events)).toEqual([expect.stringContaining('evaluation: 3 samples cannot be read')]);
    expect((error as Error).message).toContain('3 of them cannot be read');
  });
});
