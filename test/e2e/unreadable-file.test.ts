import { mkdir, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ImageFolder, type ImageSample } from '../../src/data/image-folder.js';
import { ImagePool } from '../../src/data/image-pool.js';
import type { SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { ImageError, TrainingError } from '../../src/errors.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { noiseImage } from '../data/noise-image.js';
import { warningsOf } from '../train/follow.js';
import { makeAdapter, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
let pool: ImagePool;
let data: string;
let outputDir: string;
beforeAll(async () => {
  world = await makeTinyWorld();
  pool = new ImagePool(world.processor.imageProcessor, { workers: 1 });
});
afterAll(async () => {
  await pool.close();
  await world.dispose();
});
beforeEach(async () => {
  data = join(world.dir, 'data');
  outputDir = join(world.dir, 'out');
  await Promise.all([data, outputDir].map((path) => rm(path, { recursive: true, force: true })));
  for (const [c, name] of ['left hand', 'right foot'].entries()) {
    await mkdir(join(data, name), { recursive: true });
    for (let i = 0; i < 4; i++) await draw(join(data, name, `${i}.png`), c, i);
  }
});

const toExample = ({ image, className, path }: ImageSample): SftExample => ({
  id: path,
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Which of these is it?' },
        { type: 'image', image },
      ],
    },
    { role: 'assistant', content: className },
  ],
});

interface Course {
  readonly events: readonly TrainingEvent[];
  readonly error: unknown;
  readonly values: Float32Array;
  readonly trained: readonly string[];
}

/** Two epochs of eight samples, two a step. After step 3 something happens to the files. */
async function train(onBadImage: 'error' | 'skip', damage?: () => Promise<void>, resume = false): Promise<Course> {
  const folder = await ImageFolder.load(data, { onBadImage });
  const adapter: LoraAdapter = makeAdapter(world.model, 0.1);
  const trained: string[] = [];
  const collator = new VlmCollator({
    ...world.processor,
    chatTemplate: world.processor.chatTemplate!,
    imagePool: pool,
  });
  let batches = resume ? 3 : 0;
  const trainer = new SftTrainer({
    model: world.model,
    trainDataset: folder.train.map(toExample),
    collator: {
      collate: async (examples, options) => {
        if (++batches === 4) await damage?.();
        const batch = await collator.collate(examples, options);
        trained.push(...batch.sampleIds!);
        return batch;
      },
      hasLabels: (example) => collator.hasLabels(example),
    },
    config: {
      outputDir,
      progress: 'none',
      numTrainEpochs: 2,
      perDeviceTrainBatchSize: 2,
      dataloaderPrefetch: 0,
      learningRate: 1e-3,
      loggingSteps: 1,
      saveSteps: 1,
    },
  });
  const events: TrainingEvent[] = [];
  let error: unknown;
  try {
    for await (const event of trainer.train({ resumeFromCheckpoint: resume })) events.push(event);
  } catch (reason) {
    error = reason;
  }
  const values = await world.engine.readParameters(adapter.parameters);
  adapter.dispose();
  return { events, error, values, trained };
}

const checkpoints = async () => {
  return (await readdir(outputDir)).filter((name) => name.startsWith('checkpoint-')).length;
};

describe('a file that becomes unreadable while training', () => {
  const victim = () => join(data, 'right foot', '2.png');

  it('stops the run, names the file and keeps what was learned', async () => {
    const { error, trained } = await train('error', () => rm(victim()));
    expect(error).toBeInstanceOf(ImageError);
    expect((error as ImageError).message).toContain(victim());
    expect((error as ImageError).details.sample).toBe(victim());
    const count = await checkpoints();
    expect(count).toBe(Math.floor(trained.length / 2));
    expect(count).toBeGreaterThanOrEqual(3);
  });

  it.each([
    ['is gone', () => rm(victim())],
    ['was cut short', () => truncate(victim(), 300)],
  ])('that %s is left out with `skip`; the others of its batch are learned, and a resume agrees', async (_, damage) => {
    const whole = await train('skip', damage);
    expect(whole.error).toBeUndefined();
    const warnings = warningsOf(whole.events);
    // Once in each epoch that still needed it.
    expect(warnings.length).toBeGreaterThanOrEqual(1);
    expect(warnings.length).toBeLessThanOrEqual(2);
    for (const message of warnings) {
      expect(message).toMatch(/^step \d: a sample cannot be read and is left out: /);
      expect(message).toContain(victim());
    }
    expect(whole.trained).toHaveLength(16 - warnings.length);
    const end = whole.events.at(-1)!;
    if (end.type !== 'end') throw new Error('expected the end');
    expect(end.output.globalStep).toBe(8);
    const { trainSamplesPerSecond, trainRuntime } = end.output.metrics;
    expect(trainSamplesPerSecond * trainRuntime).toBeCloseTo(16 - warnings.length, 6);

    // The position in the data does not move: the same steps again, from the third on, with the file as it is now.
    for (let step = 4; step <= 8; step++) await rm(join(outputDir, `checkpoint-${step}`), { recursive: true });
    // It is there again when the folder is read, as it was for the process that goes on.
    await draw(victim(), 1, 2);
    const resumed = await train('skip', damage, true);
    expect(resumed.error).toBeUndefined();
    expect(resumed.values).toEqual(whole.values);
    // The reason in brackets is the decoder's own and not always in the same words.
    const places = (all: readonly string[]) => all.map((message) => message.slice(0, message.indexOf(' (')));
    expect(places(warningsOf(resumed.events))).toEqual(places(warnings));
  });

  it('stops a run with `skip` when the whole folder is gone, at the last step that learned', async () => {
    const { error, events } = await train('skip', () => rm(data, { recursive: true }));
    expect(error).toBeInstanceOf(TrainingError);
    expect((error as Error).message).toContain('no sample of 3 steps in a row can be read');
    expect(warningsOf(events).filter((message) => message.includes('2 samples cannot be read'))).toHaveLength(3);
    expect(await readFile(join(outputDir, 'checkpoint-3', 'trainer-state.json'), 'utf8')).toContain('"globalStep": 3');
  });

  it('is an error in a prompt, whose row must not move', async () => {
    const folder = await ImageFolder.load(data, { onBadImage: 'skip' });
    const samples = await Promise.all([0, 1].map((i) => folder.train.get(i)));
    await rm(samples[1]!.path);
    await expect(world.collator.collatePrompts(samples.map(toExample))).rejects.toThrow(ImageError);
    const batch = await world.collator.collate(samples.map(toExample));
    expect(batch.inputIds.shape[0]).toBe(1);
    expect(batch.sampleIds).toEqual([samples[0]!.path]);
    expect(batch.skipped).toEqual([{ sampleId: samples[1]!.path, reason: expect.stringContaining(samples[1]!.path) }]);
  });
});

async function draw(path: string, label: number, i: number): Promise<void> {
  const { width, height, data: pixels } = noiseImage(40 + 10 * i, 50 + 20 * label);
  await sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toFile(path);
}
