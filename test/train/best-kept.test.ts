import { chmod, cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainer, SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { onPosixWithoutRights, withoutRights } from '../where.js';
import { follow, warningsOf } from './follow.js';
import { type LinearModel, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'best-kept-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** A run of four steps whose second evaluation is the best; the disk is full at these steps. */
interface Course {
  readonly model: LinearModel;
  /** Parameters after each step. */
  readonly values: Float32Array[];
  readonly trainer: SftTrainer;
}

function course(
  isFull: (step: number, folder: string) => boolean,
  config: SftConfigInput = {},
  values = [0.1, 0.9, 0.5, 0.4],
  more: Partial<SftTrainerOptions> = {},
): Course {
  const model = linearModel();
  const left = [...values];
  const seen: Float32Array[] = [];
  const computeMetrics = () => {
    seen[model.steps.length] = model.values.slice();
    return { score: left.shift()! };
  };
  const saveAdapter = async (directory: string): Promise<void> => {
    await writeFile(join(directory, 'values.bin'), Buffer.from(model.values.slice().buffer));
    // A device that is always full, so that the error is the system's own.
    if (isFull(model.steps.length, directory)) await writeFile('/dev/full', 'x');
  };
  const trainer = linearTrainer(
    model,
    {
      outputDir: folder,
      saveStrategy: 'steps',
      saveSteps: 1,
      evalStrategy: 'steps',
      evalSteps: 1,
      gradientAccumulationSteps: 1,
      learningRate: 0.2,
      lrSchedulerType: 'constant',
      loadBestModelAtEnd: true,
      metricForBestModel: 'score',
      maxSteps: values.length,
      ...config,
    },
    { evalDataset: linearDataset(5, 3), computeMetrics, saveAdapter, ...more },
  );
  return { model, values: seen, trainer };
}

const checkpoints = async () => (await readdir(folder)).filter((name) => name.includes('checkpoint')).sort();
async function savedParameters(step: number): Promise<Float32Array> {
  const file = await SafetensorsFile.open(join(folder, `checkpoint-${step}`, 'training-state.safetensors'));
  try {
    return await file.readFloat32('parameters');
  } finally {
    await file.close();
  }
}

describe('the best step', () => {
  it('that could not be saved is written with the next save, whole, while the run goes on as if nothing were', async () => {
    const whole = course(() => false, { outputDir: join(folder, 'whole') });
    await whole.trainer.train();
    await rm(join(folder, 'whole'), { recursive: true });
    const { model, trainer, values } = course((step, path) => step === 2 && path.includes('checkpoint-2'));
    const { events } = await follow(trainer.train());
    const saves = events.flatMap((event) => (event.type === 'save' ? [event.step] : []));
    expect(saves).toEqual([1, 3, 2, 4]);
    expect(warningsOf(events)).toEqual([
      expect.stringMatching(/^step 2: cannot write .*ENOSPC(.|\n)*this is the best step so far, and is kept in memory/),
    ]);
    const checkpoint = join(folder, 'checkpoint-2');
    expect(events.at(-2)).toEqual({ type: 'loadBest', metric: 'score', value: 0.9, step: 2, checkpoint });
    expect(model.values).toEqual(values[2]);
    expect(values).toEqual(whole.values);
    // Whole, and what the user's function wrote is of its step too.
    expect(await savedParameters(2)).toEqual(values[2]);
    expect(await readFile(join(checkpoint, 'values.bin'))).toEqual(Buffer.from(values[2]!.buffer));
    const again = course(() => false, { loadBestModelAtEnd: false }, [0.5, 0.4, 0, 0]);
    await again.trainer.train({ resumeFromCheckpoint: checkpoint });
    expect(again.model.values).toEqual(whole.values[4]);
  });

  it('that could not be saved is where the last save put it when a reader leaves there', async () => {
    let saves = 0;
    const { model, trainer, values } = course((step) => step === 2 && ++saves === 1);
    const run = trainer.train();
    for await (const event of run) if (event.type === 'evaluate' && event.step === 2) break;
    const checkpoint = join(folder, 'checkpoint-2');
    expect(await run).toMatchObject({ stopped: true, best: { step: 2, checkpoint } });
    expect(model.values).toEqual(values[2]);
    expect(await savedParameters(2)).toEqual(values[2]);
    const log = await readFile(join(folder, 'train-log.jsonl'), 'utf8');
    expect(log).not.toContain('from memory');
  });

  it('is loaded from memory where it never could be saved', async () => {
    const { model, trainer, values } = course(() => true);
    const run = trainer.train();
    const { events } = await follow(run);
    expect(model.values).toEqual(values[2]);
    expect((await run).best).toEqual({ metric: 'score', value: 0.9, step: 2, checkpoint: undefined });
    expect(events.at(-2)).toMatchObject({ type: 'loadBest', step: 2 });
    expect(warningsOf(events).at(-1)).toMatch(
      /best step, 2, are loaded from memory: it could not be saved\n.*only copy/,
    );
    expect(await checkpoints()).toEqual([]);
  });

  it.each([
    ['deleted', () => rm(join(folder, 'checkpoint-2'), { recursive: true }), /loaded from memory/],
    [
      'damaged',
      async () => {
        const path = join(folder, 'checkpoint-2', 'training-state.safetensors');
        const bytes = await readFile(path);
        bytes[bytes.length - 2]! ^= 4;
        await writeFile(path, bytes);
      },
      /loaded from memory: .*training-state\.safetensors has the SHA-256/,
    ],
  ])('is loaded from memory where its checkpoint was %s meanwhile', async (_, spoil, message) => {
    const { model, trainer, values } = course(() => false);
    model.onWindow = async (window) => void (window === 3 && (await spoil()));
    const { events } = await follow(trainer.train());
    expect(model.values).toEqual(values[2]);
    expect(warningsOf(events)).toEqual([expect.stringMatching(message)]);
    expect(events.at(-1)).toMatchObject({ output: { best: { step: 2, checkpoint: undefined } } });
  });

  it('is loaded from memory where another run has written, or another step was put, in its place', async () => {
    const other = join(folder, 'other');
    await course(() => false, { outputDir: other }, [0.3, 0.95, 0.5, 0.4]).trainer.train();
    for (const [source, message] of [
      [join(other, 'checkpoint-2'), /not the checkpoint of step 2 .* its evaluation gave 0\.95, expected 0\.9$/m],
      [join(folder, 'out', 'checkpoint-3'), /not the checkpoint of step 2 .* it is of step 3$/m],
    ] as const) {
      const { model, trainer, values } = course(() => false, { outputDir: join(folder, 'out') });
      model.onWindow = async (window) => {
        if (window !== 3) return;
        await rm(join(folder, 'out', 'checkpoint-2'), { recursive: true });
        await cp(source, join(folder, 'out', 'checkpoint-2'), { recursive: true });
      };
      const { events } = await follow(trainer.train());
      expect(model.values).toEqual(values[2]);
      expect(warningsOf(events).at(-1)).toMatch(message);
      await rm(join(folder, 'out'), { recursive: true });
    }
  });

  it('is never removed for `saveTotalLimit`, nor is the best on the disk while the best of all is in memory', async () => {
    const isFull = (step: number, path: string) => path.includes('checkpoint-3') || (step > 2 && step < 5);
    const values = [0.7, 0.1, 0.9, 0.2, 0.3];
    const { model, trainer, values: seen } = course(isFull, { saveTotalLimit: 1, maxSteps: 5 }, values);
    const left: string[][] = [];
    model.onWindow = async () => void left.push(await checkpoints());
    const { events } = await follow(trainer.train());
    expect(left).toEqual([
      [],
      ['checkpoint-1'],
      ['checkpoint-1', 'checkpoint-2'],
      expect.anything(),
      expect.anything(),
    ]);
    // Step 3 was never written: step 1 is what a killed process would have left.
    expect(await checkpoints()).toEqual(['checkpoint-1', 'checkpoint-5']);
    expect(model.values).toEqual(seen[3]);
    expect(events.at(-1)).toMatchObject({ output: { best: { step: 3, value: 0.9, checkpoint: undefined } } });
  });

  it('with saveStrategy "best" is tried again at each evaluation, and is the first of equals', async () => {
    const config = { saveStrategy: 'best', saveSteps: undefined, loadBestModelAtEnd: false } as const;
    let full = true;
    const { model, trainer } = course(() => full, config, [0.9, 0.9, 0.1, 0.2]);
    model.onWindow = (window) => {
      full = window < 2;
    };
    const run = trainer.train();
    const { events } = await follow(run);
    expect(await checkpoints()).toEqual(['checkpoint-1']);
    expect((await run).best).toMatchObject({ step: 1, checkpoint: join(folder, 'checkpoint-1') });
    expect(warningsOf(events)).toHaveLength(1);
  });

  it('survives early stopping on a full disk', async () => {
    const { model, trainer, values } = course(() => true, { earlyStoppingPatience: 2, maxSteps: 9 });
    const { events } = await follow(trainer.train());
    expect(events.at(-1)).toMatchObject({ output: { globalStep: 4, best: { step: 2 } } });
    expect(model.values).toEqual(values[2]);
  });

  it('is kept whatever a save fails of', async () => {
    const more = { saveAdapter: () => Promise.reject(new TypeError('a fault in the function of a user')) };
    const { model, trainer, values } = course(() => false, {}, undefined, more);
    const { events } = await follow(trainer.train());
    expect(model.values).toEqual(values[2]);
    expect(warningsOf(events)[0]).toContain('a fault in the function of a user');
  });

  onPosixWithoutRights.it('is kept where the folder may not be written to', async () => {
    const { model, trainer, values } = course(() => false);
    model.onWindow = async (window) => void (window === 1 && (await chmod(folder, 0o555)));
    await withoutRights(() => follow(trainer.train()), [folder]).finally(() => chmod(folder, 0o755));
    expect(model.values).toEqual(values[2]);
  });

  it('is kept where a file lies in the place of its checkpoint', async () => {
    const { model, trainer, values } = course(() => false, { outputDir: join(folder, 'out') });
    // The whole folder has gone away, and a file is in its place.
    model.onWindow = async (window) => {
      if (window !== 1) return;
      await rename(join(folder, 'out'), join(folder, 'away'));
      await writeFile(join(folder, 'out'), '');
    };
    const { events } = await follow(trainer.train());
    expect(model.values).toEqual(values[2]);
    expect(warningsOf(events).at(-1)).toContain('loaded from memory');
  });

  it('is written when a run is stopped, or its loss is reported', async () => {
    for (const [isFull, saved] of [
      [(step: number) => step === 2, true],
      [(step: number) => step >= 2, false],
    ] as const) {
      await rm(join(folder, 'out'), { recursive: true, force: true });
      const outputDir = join(folder, 'out');
      const { model, trainer } = course(isFull, { saveSteps: 100, outputDir, maxSteps: 5 });
      const controller = new AbortController();
      model.onWindow = (window) => void (window === 4 && controller.abort(new Error('enough')));
      const { events, error } = await follow(trainer.train({ signal: controller.signal }));
      expect((error as Error).message).toBe('enough');
      const names = (await readdir(outputDir)).filter((name) => name.startsWith('checkpoint')).sort();
      expect(names).toEqual(saved ? ['checkpoint-1', 'checkpoint-2', 'checkpoint-4'] : ['checkpoint-1']);
      expect(warningsOf(events).some((line) => line.includes('the best step, 2, could not be saved'))).toBe(!saved);
    }
  });
});

describe('a resume', () => {
  it('after the best was lost with its process takes the best that was saved, and says so', async () => {
    const isFull = (_: number, path: string) => path.includes('checkpoint-2');
    const { model, trainer } = course(isFull, { maxSteps: 5 }, [0.7, 0.9, 0.1, 0.2, 0.3]);
    model.onWindow = (window) => {
      if (window === 4) throw new Error('killed');
    };
    await follow(trainer.train());
    expect(await checkpoints()).toEqual(['checkpoint-1', 'checkpoint-3', 'checkpoint-4']);
    const again = course(() => false, { maxSteps: 5 }, [0.3, 0, 0, 0, 0]);
    const { events } = await follow(again.trainer.train({ resumeFromCheckpoint: true }));
    expect(warningsOf(events)).toEqual([
      expect.stringMatching(/best step so far, 2, is gone; the best of the others is step 1, score 0\.7/),
    ]);
    expect(again.model.values).toEqual(await savedParameters(1));
  });

  it.each([true, false])('takes no checkpoint of another run for the best (loaded at the end: %s)', async (loads) => {
    const config = { loadBestModelAtEnd: loads };
    const { model, trainer } = course(() => false, config);
    model.onWindow = (window) => {
      if (window === 3) throw new Error('killed');
    };
    await follow(trainer.train());
    // Trained with the same settings on other data, and with the same evaluations.
    const other = course(() => false, { ...config, outputDir: join(folder, 'other') }, undefined, {
      trainDataset: linearDataset(12, 5),
    });
    await other.trainer.train();
    await rm(join(folder, 'checkpoint-2'), { recursive: true });
    await cp(join(folder, 'other', 'checkpoint-2'), join(folder, 'checkpoint-2'), { recursive: true });
    const run = course(() => false, config, [0.3, 0, 0, 0]).trainer.train({ resumeFromCheckpoint: true });
    const { events } = await follow(run);
    expect(warningsOf(events)[0]).toMatch(
      /best step so far, 2, is gone \(.* it belongs to another run: the training set/,
    );
    expect((await run).best?.step).not.toBe(2);
  });

  it('takes no folder for the newest that was given another name', async () => {
    await course(() => false).trainer.train();
    await rename(join(folder, 'checkpoint-2'), join(folder, 'checkpoint-9'));
    const resume = (from: string | true) =>
      follow(course(() => false, { maxSteps: 4 }, [0.3, 0.2]).trainer.train({ resumeFromCheckpoint: from }));
    const { events } = await resume(true);
    expect(events.find(({ type }) => type === 'start')).toMatchObject({ step: 4 });
    expect(warningsOf(events)[0]).toMatch(/passed over .*checkpoint-9 holds step 2: somebody has renamed it/);
    // Who names it means it.
    await rename(join(folder, 'checkpoint-9'), join(folder, 'good'));
    const named = await resume(join(folder, 'good'));
    expect(named.error).toBeUndefined();
    expect(named.events.find(({ type }) => type === 'start')).toMatchObject({ step: 2 });
  });

  it('tells at once that the checkpoint of the best step is damaged', async () => {
    const { model, trainer } = course(() => false);
    model.onWindow = (window) => {
      if (window === 3) throw new Error('killed');
    };
    await follow(trainer.train());
    const path = join(folder, 'checkpoint-2', 'trainer-state.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"epoch"', '"Epoch"'));
    const { events } = await follow(
      course(() => false, {}, [0.3, 0, 0, 0]).trainer.train({ resumeFromCheckpoint: true }),
    );
    expect(warningsOf(events)[0]).toMatch(/best step so far, 2, is gone \(.*trainer-state\.json has the SHA-256/);
  });

  it('takes the parameters of the best step though other files beside them are damaged, and says so', async () => {
    const { model, trainer, values } = course(() => false);
    model.onWindow = (window) => {
      if (window === 3) throw new Error('killed');
    };
    await follow(trainer.train());
    await writeFile(join(folder, 'checkpoint-2', 'values.bin'), 'other');
    const again = course(() => false, {}, [0.3, 0, 0, 0]);
    const { events } = await follow(again.trainer.train({ resumeFromCheckpoint: true }));
    expect(warningsOf(events)).toEqual([expect.stringMatching(/checkpoint-2: values\.bin has the SHA-256/)]);
    expect(again.model.values).toEqual(values[2]);
  });
});
