import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { generate } from '../../src/model/generate.js';
import { MersenneTwister } from '../../src/random.js';
import { evaluateLoss } from '../../src/train/evaluate-loss.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { type AccumulateOptions, countLabels, type PassSummary } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { relativeL2 } from '../parity/check-list.js';
import { makeAdapter, makeDataset, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
let adapter: LoraAdapter;
beforeAll(async () => {
  world = await makeTinyWorld();
  adapter = makeAdapter(world.model);
});
afterAll(async () => {
  adapter.dispose();
  await world.dispose();
});

interface Sample {
  readonly ids: readonly number[];
  readonly labels: readonly number[];
  /** Rows and columns of cells, and their pixels [3, height, width]. */
  readonly images: readonly { readonly rows: number; readonly columns: number; readonly pixels: Float32Array }[];
}

class Samples {
  readonly #random: MersenneTwister;

  constructor(seed: number) {
    this.#random = new MersenneTwister(seed);
  }

  below(count: number): number {
    return this.#random.nextUint32() % count;
  }

  words(count: number): number[] {
    const { imageTokenId, text } = world.model.config;
    return Array.from({ length: count }, () => {
      const id = this.below(text.vocabSize);
      return id === imageTokenId ? 0 : id;
    });
  }

  image(rows = 1 + this.below(3), columns = 1 + this.below(3)): Sample['images'][number] {
    const side = world.model.config.vision.patchSize * world.model.config.spatialMergeSize;
    const size = 3 * rows * columns * side ** 2;
    return { rows, columns, pixels: Float32Array.from({ length: size }, () => this.#random.nextNormal()) };
  }

  imageIds({ rows, columns }: Sample['images'][number]): number[] {
    return new Array<number>(rows * columns).fill(world.model.config.imageTokenId);
  }

  /** Begins as the other one does, and has an image of its own, the other one's, or none. */
  after(prefix: Sample, isLabelled: boolean): Sample {
    const images = [...prefix.images, ...(this.below(2) === 0 ? [this.image()] : [])];
    const own = [
      ...images.slice(prefix.images.length).flatMap((image) => this.imageIds(image)),
      ...this.words(1 + this.below(9)),
    ];
    const ids = [...prefix.ids, ...own];
    const answer = ids.length - 1 - this.below(3);
    const isImage = (id: number): boolean => id === world.model.config.imageTokenId;
    return { ids, images, labels: ids.map((id, t) => ((isLabelled && !isImage(id)) || t >= answer ? id : -100)) };
  }
}

function batchOf(samples: readonly Sample[], side: 'left' | 'right' = 'right'): VlmBatch {
  const cell = world.model.config.vision.patchSize * world.model.config.spatialMergeSize;
  const columns = Math.max(...samples.map(({ ids }) => ids.length));
  const fill = (value: number, pick: (sample: Sample) => readonly number[]) => {
    const data = new Int32Array(samples.length * columns).fill(value);
    for (const [b, sample] of samples.entries()) {
      data.set(pick(sample), b * columns + (side === 'left' ? columns - sample.ids.length : 0));
    }
    return { data, shape: [samples.length, columns] };
  };
  const images = samples.flatMap((sample) => sample.images);
  const height = cell * Math.max(...images.map(({ rows }) => rows));
  const width = cell * Math.max(...images.map((image) => image.columns));
  const pixels = new Float32Array(images.length * 3 * (images.length && height * width));
  for (const [n, image] of images.entries()) {
    const [h, w] = [cell * image.rows, cell * image.columns];
    for (let i = 0; i < image.pixels.length; i++) {
      const [c, y, x] = [Math.floor(i / (h * w)), Math.floor((i % (h * w)) / w), i % w];
      pixels[((n * 3 + c) * height + y) * width + x] = image.pixels[i]!;
    }
  }
  return {
    inputIds: fill(0, ({ ids }) => ids),
    attentionMask: fill(0, ({ ids }) => ids.map(() => 1)),
    labels: fill(-100, ({ labels }) => labels),
    ...(images.length > 0 && {
      pixelValues: { data: pixels, shape: [images.length, 3, height, width] },
      imageSizes: {
        data: Int32Array.from(images.flatMap(({ rows, columns }) => [cell * rows, cell * columns])),
        shape: [images.length, 2],
      },
    }),
  };
}

/** Up to three prompts, of which some have an image, and samples of each in any order. */
function randomSamples(seed: number): Sample[] {
  const random = new Samples(seed);
  const roots = Array.from({ length: 1 + random.below(3) }, () => {
    const ids = random.words(18 + random.below(12));
    return { ids, labels: [], images: [] };
  });
  const prompts: Sample[] = roots.flatMap((root) => [root, ...(random.below(2) ? [random.after(root, true)] : [])]);
  const samples = Array.from({ length: 2 + random.below(6) }, () =>
    random.after(prompts[random.below(prompts.length)]!, random.below(2) === 0),
  );
  // The same twice, and the beginning of one.
  if (random.below(2)) samples.push(samples[0]!);
  const { ids, labels, images } = samples[0]!;
  if (images.length === 0) samples.push({ ids: ids.slice(0, -1), labels: labels.slice(0, -1), images });
  return samples;
}

interface Outcome {
  readonly loss: number;
  readonly gradients: Float32Array;
  readonly passes: readonly PassSummary[];
}

async function run(batches: readonly VlmBatch[], more: Partial<AccumulateOptions> = {}): Promise<Outcome> {
  const { engine, model } = world;
  Object.defineProperty(engine, 'tokensPerPass', { value: 1e6, configurable: true });
  engine.zeroGradients(adapter.parameters);
  let passes: readonly PassSummary[] = [];
  const loss = await accumulateGradients(model, batches, {
    labelCount: batches.reduce((sum, batch) => sum + countLabels(batch), 0),
    dropoutSeeds: batches.map((_, i) => i),
    gradientCheckpointing: false,
    onPlan: (planned) => {
      passes = planned;
    },
    ...more,
  });
  return { loss: await loss(), gradients: await engine.readGradients(adapter.parameters), passes };
}

/** Both ways of a window. */
async function both(batches: readonly VlmBatch[], more: Partial<AccumulateOptions> = {}): Promise<[Outcome, Outcome]> {
  return [await run(batches, more), await run(batches, { ...more, sharePrefix: false })];
}

function expectEqual(shared: Outcome, apart: Outcome): void {
  expect(Math.abs(shared.loss - apart.loss)).toBeLessThan(1e-6);
  expect(relativeL2(shared.gradients, apart.gradients)).toBeLessThan(1e-5);
}

describe('a pass whose samples share prefixes gives what it gives without', () => {
  it.each(Array.from({ length: 8 }, (_, seed) => seed))('random samples %i', async (seed) => {
    const samples = randomSamples(seed);
    const { model } = world;
    const half = samples.length >> 1;
    const [shared, apart] = await both([batchOf(samples.slice(0, half)), batchOf(samples.slice(half), 'left')], {
      gradientCheckpointing: seed % 2 === 0,
      labelSmoothing: seed % 3 === 0 ? 0.1 : 0,
    });
    expectEqual(shared, apart);
    expect(apart.passes[0]!.sharedTokens).toBe(0);
    expect(shared.passes[0]!.sharedTokens).toBeGreaterThan(10);

    const batch = batchOf(samples, seed % 2 ? 'left' : 'right');
    const losses = [await evaluateLoss(model, batch), await evaluateLoss(model, batch, { sharePrefix: false })];
    expect(losses[0]!.labelCount).toBe(losses[1]!.labelCount);
    expect(Math.abs(losses[0]!.lossSum / losses[1]!.lossSum - 1)).toBeLessThan(1e-6);
    const { labels: _, ...prompts } = batch;
    const logits = [await model.lastLogits(prompts), await model.lastLogits(prompts, { sharePrefix: false })];
    expect(relativeL2(logits[0]!, logits[1]!)).toBeLessThan(1e-5);
    const options = { maxNewTokens: 4, eosTokenIds: [99_999] };
    const answers = await generate(model, prompts, options);
    expect(answers).toEqual(await generate(model, prompts, { ...options, sharePrefix: false }));
    expect(new Set(answers.map((ids) => ids.join())).size).toBeGreaterThan(1);
  });

  it('with the samples of a collator, prompts masked or labelled', async () => {
    const examples = makeExamples(5);
    for (const maskPrompt of [true, false]) {
      const options = { ...world.processor, chatTemplate: world.processor.chatTemplate!, maskPrompt };
      const collator = new VlmCollator(options);
      const [shared, apart] = await both([await collator.collate(examples)]);
      expectEqual(shared, apart);
      expect(shared.passes[0]!.sharedTokens % 4).toBe(0);
      expect(shared.passes[0]!.sharedTokens).toBeGreaterThan(4 * 16);
    }
  });

  it('with an image that is asked about twice, which is computed once', async () => {
    const [example] = makeExamples(1);
    const { messages } = structuredClone(example!);
    const again = { messages: [messages[0]!, { role: 'assistant' as const, content: 'skull' }] };
    const [shared, apart] = await both([await world.collator.collate([example!, again])]);
    expectEqual(shared, apart);
    expect(shared.passes[0]!.patches).toBe(apart.passes[0]!.patches / 2);
  });
});

describe('a sample alone and NEFTune', () => {
  it('are computed as without, to the bit', async () => {
    const examples = makeExamples(3);
    const single = await both([await world.collator.collate(examples.slice(0, 1))]);
    const noisy = await both([await world.collator.collate(examples)], { neftuneNoiseAlpha: 5 });
    for (const [shared, apart] of [single, noisy]) {
      expect(shared.loss).toBe(apart.loss);
      expect(shared.gradients).toEqual(apart.gradients);
      expect(shared.passes[0]!.sharedTokens).toBe(0);
    }
  });
});

it('a run reports how many tokens its samples shared, and computes them apart if it is told to', async () => {
  const outcomes = [];
  for (const sharePrefix of [true, false]) {
    const trainer = new SftTrainer({
      model: world.model,
      trainDataset: makeDataset(4),
      evalDataset: makeDataset(3, 9),
      collator: world.collator,
      config: {
        ...{ outputDir: join(world.dir, `run-${sharePrefix}`), saveStrategy: 'no', progress: 'none', sharePrefix },
        ...{ maxSteps: 1, perDeviceTrainBatchSize: 4, loggingSteps: 1, learningRate: 0, evalStrategy: 'steps' },
      },
    });
    const events: TrainingEvent[] = [];
    for await (const event of trainer.train()) events.push(event);
    const of = <T extends TrainingEvent['type']>(type: T) =>
      events.find((event) => event.type === type) as Extract<TrainingEvent, { type: T }>;
    outcomes.push({ step: of('step'), log: of('log'), evaluation: of('evaluate') });
  }
  const [shared, apart] = outcomes as [(typeof outcomes)[0], (typeof outcomes)[0]];
  expect(apart.step.sharedTokens).toBe(0);
  expect(apart.log).not.toHaveProperty('sharedTokenShare');
  expect(shared.step.sharedTokens).toBeGreaterThan(3 * 16);
  expect(shared.step.tokens).toBe(apart.step.tokens);
  expect(shared.log.sharedTokenShare).toBe(shared.step.sharedTokens / shared.step.tokens);
  expect(Math.abs(shared.step.loss - apart.step.loss)).toBeLessThan(1e-6);
  expect(Math.abs(shared.evaluation.evalLoss - apart.evaluation.evalLoss)).toBeLessThan(1e-6);
});

it('refuses a sharePrefix that is neither true nor false', async () => {
  const batch = await world.collator.collatePrompts(makeExamples(1));
  const sharePrefix = 'yes' as unknown as boolean;
  await expect(world.model.lastLogits(batch, { sharePrefix })).rejects.toThrow(
    /lastLogits: `sharePrefix`: expected true/,
  );
  await expect(evaluateLoss(world.model, batch, { sharePrefix })).rejects.toThrow(
    /`sharePrefix`: expected true or false/,
  );
  await expect(generate(world.model, batch, { sharePrefix })).rejects.toThrow(/generate: `sharePrefix`: expected true/);
});
