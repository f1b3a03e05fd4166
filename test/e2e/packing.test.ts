import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { joinPacked, type PackedBatch } from '../../src/batch/packed-batch.js';
import type { SftExample, VlmBatch } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { runAtOnce, Tape } from '../../src/engine/tape.js';
import type { Tensor } from '../../src/engine/tensor.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { evaluateLoss } from '../../src/train/evaluate-loss.js';
import { type AccumulateOptions, countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { relativeL2 } from '../parity/check-list.js';
import { makeAdapter, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

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

/** Loss and gradients of a window. */
async function run(
  batches: readonly VlmBatch[],
  gradientCheckpointing: boolean | 'auto' = false,
  more: Partial<AccumulateOptions> = {},
): Promise<{ loss: number; gradients: Float32Array }> {
  const { engine, model } = world;
  engine.zeroGradients(adapter.parameters);
  const labelCount = batches.reduce((sum, batch) => sum + countLabels(batch), 0);
  const loss = await accumulateGradients(model, batches, {
    labelCount,
    dropoutSeeds: batches.map((_, i) => i),
    gradientCheckpointing,
    ...more,
  });
  return { loss: await loss(), gradients: await engine.readGradients(adapter.parameters) };
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

it('tells what a resume compares: scale and dropout of the adapter, template, images and labels', () => {
  expect(world.model.trainingSettings).toEqual({ loraScale: 2, loraDropout: 0 });
  const { settings } = world.collator;
  expect(settings).toMatchObject({ maskPrompt: true, overlong: 'error', longestEdge: expect.any(Number) });
  expect(settings['chatTemplate']).toMatch(/^[0-9a-f]{16}$/);
});

describe('a batch gives the same loss however it is cut and padded', () => {
  const examples: SftExample[] = makeExamples(7);

  it.each([
    ['with the prompt masked', true],
    ['with every text token labelled', false],
  ])('padded on the right, on the left, and one by one, %s', async (_, maskPrompt) => {
    const options = { ...world.processor, chatTemplate: world.processor.chatTemplate!, maskPrompt };
    const right = await run([await new VlmCollator(options).collate(examples)]);
    const left = await run([await new VlmCollator({ ...options, paddingSide: 'left' }).collate(examples)]);
    const single = await run(await Promise.all(examples.map((example) => new VlmCollator(options).collate([example]))));
    expect(right.loss).toBeGreaterThan(1);
    expect(Math.abs(left.loss - right.loss)).toBeLessThan(1e-5);
    expect(Math.abs(single.loss - right.loss)).toBeLessThan(1e-5);
    expect(relativeL2(left.gradients, right.gradients)).toBeLessThan(1e-5);
    expect(relativeL2(single.gradients, right.gradients)).toBeLessThan(1e-5);
  });

  it('the loss is the mean over labelled tokens of the single losses', async () => {
    const batches = await Promise.all(examples.map((example) => world.collator.collate([example])));
    let sum = 0;
    let count = 0;
    for (const batch of batches) {
      const { lossSum, labelCount } = await evaluateLoss(world.model, batch);
      expect(labelCount).toBe(countLabels(batch));
      sum += lossSum;
      count += labelCount;
    }
    const { loss } = await run([await world.collator.collate(examples)]);
    expect(Math.abs(loss - sum / count)).toBeLessThan(1e-5);
  });

  it.each([1, 2, 4, 7])('accumulated %i at a time, the last window partial', async (size) => {
    const whole = await run([await world.collator.collate(examples)]);
    const parts = await run(await Promise.all(chunks(examples, size).map((part) => world.collator.collate(part))));
    expect(Math.abs(parts.loss - whole.loss)).toBeLessThan(1e-5);
    expect(relativeL2(parts.gradients, whole.gradients)).toBeLessThan(1e-5);
  });

  it('gradient checkpointing changes no bit', async () => {
    const batch = await world.collator.collate(examples);
    const [plain, recomputed] = [await run([batch]), await run([batch], true)];
    expect(recomputed.loss).toBe(plain.loss);
    expect(recomputed.gradients).toEqual(plain.gradients);
  });

  it('text-only samples leave the vision tower without gradient', async () => {
    const plain = examples.map(({ messages, id }) => ({
      id: id!,
      messages: messages.map(({ role, content }) => ({
        role,
        content: typeof content === 'string' ? content : content.filter((part) => part.type === 'text'),
      })),
    }));
    const { gradients } = await run([await world.collator.collate(plain)]);
    for (const { name, offset, size } of adapter.parameters.parameters) {
      const some = gradients.subarray(offset, offset + size).some((value) => value !== 0);
      expect([name, some]).toEqual([name, !name.includes('vision_tower')]);
    }
  });

  it('leaves no memory behind', async () => {
    const batch = await world.collator.collate(examples);
    await run([batch]);
    const before = world.engine.memory().bytesInUse;
    await run([batch, batch], true);
    await evaluateLoss(world.model, batch);
    expect(world.engine.memory().bytesInUse).toBe(before);
  });
});

/** Runs `body` on an engine that takes so many tokens in a pass. */
async function withTokensPerPass<T>(tokens: number, body: () => Promise<T>): Promise<T> {
  Object.defineProperty(world.engine, 'tokensPerPass', { value: tokens, configurable: true });
  try {
    return await body();
  } finally {
    Object.defineProperty(world.engine, 'tokensPerPass', { value: 0, configurable: true });
  }
}

describe('a window in one packed pass', () => {
  it('equals its micro-batches one by one', async () => {
    const examples = makeExamples(7, 9);
    const batches = await Promise.all(chunks(examples, 2).map((part) => world.collator.collate(part)));
    const apart = await run(batches);
    const joined = await withTokensPerPass(100_000, () => run(batches));
    expect(Math.abs(joined.loss - apart.loss)).toBeLessThan(1e-5);
    expect(relativeL2(joined.gradients, apart.gradients)).toBeLessThan(1e-5);
    expect(joined.loss).not.toBe(0);
  });
});

describe('NEFTune and label smoothing', () => {
  const examples = makeExamples(7, 33);
  const collated = () => Promise.all(chunks(examples, 2).map((part) => world.collator.collate(part)));

  it('add the same noise however samples are packed and layers recomputed, and another with another seed', async () => {
    const batches = await collated();
    const neftuneNoiseAlpha = 5;
    const plain = await run(batches);
    const noisy = await run(batches, false, { neftuneNoiseAlpha });
    expect(relativeL2(noisy.gradients, plain.gradients)).toBeGreaterThan(1e-2);
    const again = await run(batches, true, { neftuneNoiseAlpha });
    expect(again.loss).toBe(noisy.loss);
    expect(again.gradients).toEqual(noisy.gradients);
    const joined = await withTokensPerPass(100_000, () => run(batches, false, { neftuneNoiseAlpha }));
    expect(Math.abs(joined.loss - noisy.loss)).toBeLessThan(1e-5);
    expect(relativeL2(joined.gradients, noisy.gradients)).toBeLessThan(1e-5);
    const other = await run(batches, false, { neftuneNoiseAlpha, dropoutSeeds: [9, 8, 7, 6] });
    expect(relativeL2(other.gradients, noisy.gradients)).toBeGreaterThan(1e-2);
    const off = await run(batches, false, { neftuneNoiseAlpha: 0, labelSmoothing: 0 });
    expect(off.loss).toBe(plain.loss);
    expect(off.gradients).toEqual(plain.gradients);
  });

  it('bound the noise by alpha / √(tokens of the sample · width), and leave images and evaluation alone', async () => {
    const { model, collator, engine } = world;
    const packed = model.pack(await collator.collate(examples.slice(0, 2)), { seed: 3 });
    const embedded = async (neftuneNoiseAlpha: number, batch: PackedBatch): Promise<Float32Array> => {
      const tape = new Tape(engine, { record: false });
      let values: Promise<Float32Array> | undefined;
      const observe = (name: string, tensor: Tensor): void => {
        if (name === 'language_model.0') values = engine.read(tensor);
      };
      model.hidden(tape, batch, { neftuneNoiseAlpha, observe });
      tape.dispose();
      return values!;
    };
    const [plain, noisy] = [await embedded(0, packed), await embedded(5, packed)];
    const width = plain.length / packed.ids.length;
    const imageRows = new Set(packed.images!.tokenRows);
    for (let sample = 0; sample < 2; sample++) {
      const [first, end] = [packed.starts[sample]!, packed.starts[sample + 1]!];
      const bound = 5 / Math.sqrt((end - first) * width);
      let [largest, sum, count] = [0, 0, 0];
      for (let row = first; row < end; row++) {
        const noise = Array.from({ length: width }, (_, c) => noisy[row * width + c]! - plain[row * width + c]!);
        if (imageRows.has(row)) expect(noise.every((value) => value === 0)).toBe(true);
        else
          for (const value of noise)
            [largest, sum, count] = [Math.max(largest, Math.abs(value)), sum + value, count + 1];
      }
      expect(largest).toBeLessThanOrEqual(bound * 1.00001);
      expect(largest).toBeGreaterThan(0.97 * bound);
      // The mean of uniform values has a deviation of bound / √(3n).
      expect(Math.abs(sum / count)).toBeLessThan((4 * bound) / Math.sqrt(3 * count));
    }
    const still = model.pack(await collator.collate(examples.slice(0, 2)));
    expect(await embedded(5, still)).toEqual(plain);
  });

  it('smooth the loss of training and of evaluation alike', async () => {
    const batches = await collated();
    const smoothed = await run(batches, false, { labelSmoothing: 0.1 });
    const plain = await run(batches);
    let [sum, count] = [0, 0];
    for (const batch of batches) {
      const { lossSum, labelCount } = await evaluateLoss(world.model, batch, { labelSmoothing: 0.1 });
      sum += lossSum;
      count += labelCount;
    }
    expect(Math.abs(smoothed.loss - sum / count)).toBeLessThan(1e-5);
    expect(Math.abs(smoothed.loss - plain.loss)).toBeGreaterThan(1e-3);
  });
});

describe('dropout', () => {
  const examples = makeExamples(8, 21);
  /** On every linear layer of the model, the projector's too. */
  let everywhere: LoraAdapter;
  beforeAll(() => {
    adapter.dispose();
    everywhere = makeAdapter(world.model, 0.1, 'all-linear');
  });
  afterAll(() => {
    everywhere.dispose();
    adapter = makeAdapter(world.model);
  });

  /** Loss and gradients of passes that are packed already. */
  async function runPacked(passes: readonly PackedBatch[], labelCount: number, recompute = false) {
    const { engine, model } = world;
    engine.zeroGradients(everywhere.parameters);
    let sum = 0;
    for (const packed of passes) {
      const tape = new Tape(engine);
      const loss = runAtOnce(model.lossSteps(tape, packed, 1 / labelCount, { recompute }))!;
      sum += (await engine.read(loss))[0]!;
      tape.backward(loss);
      tape.dispose();
    }
    return { loss: sum, gradients: await engine.readGradients(everywhere.parameters) };
  }

  it('drops the same whether samples run apart, in one pass or split in the middle of a micro-batch', async () => {
    const { model, collator, engine } = world;
    const batches = await Promise.all(chunks(examples, 2).map((part) => collator.collate(part)));
    const labelCount = batches.reduce((sum, batch) => sum + countLabels(batch), 0);
    const window = async () => {
      engine.zeroGradients(everywhere.parameters);
      const options = { labelCount, dropoutSeeds: [5, 6, 7, 8], gradientCheckpointing: false, sharePrefix: false };
      const loss = await (await accumulateGradients(model, batches, options))();
      return { loss, gradients: await engine.readGradients(everywhere.parameters) };
    };
    const four = await window();
    const one = await withTokensPerPass(100_000, window);
    const single = await Promise.all(
      examples.map(async (example, i) =>
        model.pack(await collator.collate([example]), { seed: 5 + Math.floor(i / 2), firstSample: i % 2 }),
      ),
    );
    const two = await runPacked([joinPacked(single.slice(0, 3)), joinPacked(single.slice(3))], labelCount);
    const shuffled = [6, 1, 4, 3, 0, 7, 2, 5].map((i) => single[i]!);
    const mixed = await runPacked([joinPacked(shuffled)], labelCount, true);
    for (const [name, other] of Object.entries({ one, two, mixed })) {
      expect(Math.abs(other.loss - four.loss), name).toBeLessThan(1e-5);
      expect(relativeL2(other.gradients, four.gradients), name).toBeLessThan(1e-5);
    }
    // The masks matter, or nothing above would have been tested.
    const without = await runPacked([joinPacked(batches.map((batch) => model.pack(batch)))], labelCount);
    const wrong = await runPacked([joinPacked(batches.map((batch) => model.pack(batch, { seed: 5 })))], labelCount);
    for (const other of [without, wrong]) {
      expect(relativeL2(other.gradients, four.gradients)).toBeGreaterThan(1e-2);
    }
  });

  it('depends on nothing but the seed, and comes again when a layer is run again', async () => {
    const { model, collator } = world;
    const batch = await collator.collate(examples.slice(0, 2));
    const once = async (seed: number, recompute = false) => runPacked([model.pack(batch, { seed })], 1, recompute);
    const [first, again, recomputed, other] = [await once(1), await once(1), await once(1, true), await once(2)];
    for (const same of [again, recomputed]) {
      expect(same.loss).toBe(first.loss);
      expect(same.gradients).toEqual(first.gradients);
    }
    expect(relativeL2(other.gradients, first.gradients)).toBeGreaterThan(1e-2);
  });

  it('needs keys for all batches of a pass, and a seed for each micro-batch', async () => {
    const { model, collator } = world;
    const batch = await collator.collate(examples.slice(0, 1));
    expect(() => joinPacked([model.pack(batch), model.pack(batch, { seed: 1 })])).toThrow(
      '1 of 2 batches of a pass have dropout keys',
    );
    const options = { labelCount: 1, dropoutSeeds: [1, 2], gradientCheckpointing: false };
    await expect(accumulateGradients(model, [batch], options)).rejects.toThrow('2 dropoutSeeds for 1 micro-batches');
  });
});
