import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { jsonLines } from '../../src/monitor/json-lines.js';
import { tensorBoard } from '../../src/monitor/tensorboard.js';
import { fromPretrained } from '../../src/pretrained/from-pretrained.js';
import type { TrainerCallback, TrainingControl } from '../../src/train/callbacks.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { makeAdapter, makeDataset, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
let alone: ReadonlyMap<string, Buffer>;

/** The adapter's files after a run of six steps, by name. */
async function trained(
  name: string,
  work: (make: (callbacks: readonly TrainerCallback[]) => SftTrainer) => Promise<void>,
): Promise<ReadonlyMap<string, Buffer>> {
  const { model, collator, dir } = world;
  const adapter = makeAdapter(model);
  await work((callbacks) => {
    return new SftTrainer({
      ...{ model, collator, trainDataset: makeDataset(6), evalDataset: makeDataset(2, 11), callbacks },
      config: {
        ...{
          outputDir: join(dir, name),
          progress: 'none',
          maxSteps: 6,
          perDeviceTrainBatchSize: 2,
          learningRate: 0.05,
        },
        ...{ evalStrategy: 'steps', evalSteps: 3, loggingSteps: 1, saveStrategy: 'steps', saveSteps: 3 },
      },
    });
  });
  const folder = join(dir, `${name}-adapter`);
  await saveAdapter(adapter, folder, { baseModelNameOrPath: 'org/tiny' });
  adapter.dispose();
  const names = await readdir(folder);
  return new Map(
    await Promise.all(names.sort().map(async (file) => [file, await readFile(join(folder, file))] as const)),
  );
}

beforeAll(async () => {
  world = await makeTinyWorld();
  alone = await trained('alone', async (make) => void (await make([]).train()));
}, 120_000);
afterAll(() => world?.dispose());

it('callbacks that listen, pause and use the model meanwhile change no byte of the adapter', async () => {
  let control: TrainingControl | undefined;
  const answers = new Set<string>();
  const pauses: TrainerCallback = {
    onStart: (_, given) => {
      control = given;
    },
    onEvent: async ({ type, step }) => {
      if (type === 'step' && step % 2 === 1) control!.pause();
      if (type !== 'pause') return;
      // The gradients of the next step are there by now.
      const batch = await world.collator.collate([await makeDataset(1, 9).get(0)]);
      answers.add(String((await world.model.lastLogits(batch))[0]));
      setImmediate(() => control!.resume());
    },
  };
  const files = await trained('paused', async (make) => {
    await make([pauses, jsonLines(), tensorBoard({ every: 'step' })]).train();
  });
  expect(answers.size).toBe(3);
  expect([...files.keys()]).toContain('adapter_model.safetensors');
  expect(files).toEqual(alone);
});

it('a run that a callback stops while it is held, and that is resumed, comes to the same bytes', async () => {
  let control: TrainingControl | undefined;
  const stops: TrainerCallback = {
    name: 'panel',
    onStart: (_, given) => {
      control = given;
    },
    onEvent: ({ type, step }) => {
      if (type === 'step' && step === 4) control!.pause();
      if (type === 'pause') setImmediate(() => control!.stop('stop and save'));
    },
  };
  const files = await trained('stopped', async (make) => {
    await expect(make([stops]).train()).rejects.toMatchObject({
      name: 'AbortError',
      message: 'stopped by the callback "panel": stop and save',
    });
    expect(await readdir(join(world.dir, 'stopped'))).toContain('checkpoint-4');
    await make([]).train({ resumeFromCheckpoint: true });
  });
  expect(files).toEqual(alone);
});

it('loading says how far it is, quantised or not', async () => {
  for (const quantization of [undefined, 'nf4'] as const) {
    const seen: { bytesDone: number; bytesTotal: number }[] = [];
    const { model } = await fromPretrained(world.checkpoint, {
      ...{ engine: world.engine, quantization },
      onLoadProgress: ({ bytesDone, bytesTotal }) => void seen.push({ bytesDone, bytesTotal }),
    });
    await model.dispose();
    const { bytesTotal } = seen[0]!;
    expect(seen.length).toBeGreaterThan(10);
    expect(seen.at(-1)).toEqual({ bytesDone: bytesTotal, bytesTotal });
  }
});
