import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SftExample, VlmBatch } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { Tape } from '../../src/engine/tape.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { countLabels } from '../../src/train/trainable-model.js';
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
): Promise<{ loss: number; gradients: Float32Array }> {
  const { engine, model } = world;
  engine.zeroGradients(adapter.parameters);
  const labelCount = batches.reduce((sum, batch) => sum + countLabels(batch), 0);
  const loss = await model.accumulateGradients(batches, {
    labelCount,
    dropoutSeeds: batches.map((_, i) => i),
    gradientCheckpointing,
  });
  return { loss: await loss(), gradients: await engine.readGradients(adapter.parameters) };
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

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
      const { lossSum, labelCount } = await world.model.evaluateLoss(batch);
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
    await world.model.evaluateLoss(batch);
    expect(world.engine.memory().bytesInUse).toBe(before);
  });
});

describe('dropout', () => {
  it('depends on the seed alone', async () => {
    adapter.dispose();
    adapter = makeAdapter(world.model, 0.2);
    const batch = await world.collator.collate(makeExamples(2));
    const loss = async (seed: number, recompute: boolean): Promise<number> => {
      const tape = new Tape(world.engine);
      const result = world.model.loss(tape, world.model.pack(batch), 1, { dropoutSeed: seed, recompute })!;
      const [value] = await world.engine.read(result);
      tape.dispose();
      return value!;
    };
    expect(await loss(1, false)).toBe(await loss(1, true));
    expect(await loss(1, false)).not.toBe(await loss(2, false));
    adapter.dispose();
    adapter = makeAdapter(world.model);
  });
});
