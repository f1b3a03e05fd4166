import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../src/data/types.js';
import { type CpuEngine, createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { EngineError } from '../../src/errors.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { loadModel } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { type AccumulateOptions, countLabels, type PassSummary } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { relativeL2 } from '../parity/check-list.js';
import { makeAdapter, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

const MIB = 2 ** 20;

let world: TinyWorld;
let adapter: LoraAdapter;
/** Four micro-batches of two samples, and the same samples in one. */
let apart: VlmBatch[];
let together: VlmBatch[];
beforeAll(async () => {
  world = await makeTinyWorld();
  // With dropout: masks belong to samples, not to passes.
  adapter = makeAdapter(world.model, 0.1);
  const examples = makeExamples(8, 9);
  apart = await Promise.all([0, 2, 4, 6].map((i) => world.collator.collate(examples.slice(i, i + 2))));
  together = [await world.collator.collate(examples)];
});
afterAll(async () => {
  adapter.dispose();
  await world.dispose();
});

interface Outcome {
  readonly loss: number;
  readonly gradients: Float32Array;
  /** Of each attempt. */
  readonly plans: readonly (readonly PassSummary[])[];
  readonly warnings: readonly string[];
  /** What the window took beyond what was held before. */
  readonly tookBytes: number;
}

async function run(
  batches: readonly VlmBatch[],
  options: Partial<AccumulateOptions> & { tokensPerPass?: number } = {},
  model: VisionLanguageModel = world.model,
  trained: LoraAdapter = adapter,
): Promise<Outcome> {
  const engine = model.engine as CpuEngine;
  Object.defineProperty(engine, 'tokensPerPass', { value: options.tokensPerPass ?? 0, configurable: true });
  engine.zeroGradients(trained.parameters);
  engine.resetPeak();
  const held = engine.memory().bytesInUse;
  const plans: (readonly PassSummary[])[] = [];
  const warnings: string[] = [];
  const loss = await accumulateGradients(model, batches, {
    labelCount: batches.reduce((sum, batch) => sum + countLabels(batch), 0),
    dropoutSeeds: batches.map((_, i) => i),
    gradientCheckpointing: 'auto',
    onPlan: (passes) => plans.push(passes),
    onWarning: (message) => warnings.push(message),
    ...options,
  });
  const tookBytes = engine.memory().peakBytes - held;
  const result = { loss: await loss(), gradients: await engine.readGradients(trained.parameters) };
  expect(engine.memory().bytesInUse).toBe(held);
  return { ...result, plans, warnings, tookBytes };
}

const tokens = (batches: readonly VlmBatch[]): number =>
  batches.reduce((sum, { attentionMask }) => sum + attentionMask.data.reduce((count, real) => count + real, 0), 0);

/** A budget that leaves `bytes` to a pass. */
function budgetFor(engine: CpuEngine, bytes: number): number {
  return engine.memory().bytesInUse + engine.storage.reserveBytes + Math.ceil(bytes) + 1;
}

describe('a window gives the same loss and gradients however it is planned', () => {
  it.each([1, 2, 3, 4, 8])('in %i passes', async (passes) => {
    for (const batches of [apart, together]) {
      const sharePrefix = false;
      const written = await run(batches, { gradientCheckpointing: false, sharePrefix });
      expect(written.plans[0]).toHaveLength(batches.length);
      expect(written.loss).toBeGreaterThan(1);
      const planned = await run(batches, { tokensPerPass: Math.ceil(tokens(apart) / passes), sharePrefix });
      expect(planned.plans).toHaveLength(1);
      expect(planned.plans[0]).toHaveLength(passes);
      expect(planned.plans[0]!.reduce((sum, { samples }) => sum + samples, 0)).toBe(8);
      expect(Math.abs(planned.loss - written.loss)).toBeLessThan(1e-5);
      expect(relativeL2(planned.gradients, written.gradients)).toBeLessThan(1e-5);
    }
  });

  it.each([1, 2, 3, 4, 8])('in %i passes that share the prompt, dropout masks included', async (passes) => {
    for (const batches of [apart, together]) {
      const written = await run(batches, { gradientCheckpointing: false });
      const { sharedTokens } = (await run(together, { tokensPerPass: 1e6 })).plans[0]![0]!;
      // In so many passes the prompt is computed as often.
      const computed = tokens(apart) - (sharedTokens / 7) * (8 - passes);
      const planned = await run(batches, { tokensPerPass: Math.ceil(computed / passes) });
      expect(planned.plans[0]).toHaveLength(passes);
      const saved = planned.plans[0]!.reduce((sum, pass) => sum + pass.sharedTokens, 0);
      expect(saved).toBe((sharedTokens / 7) * (8 - passes));
      expect(Math.abs(planned.loss - written.loss)).toBeLessThan(1e-5);
      expect(relativeL2(planned.gradients, written.gradients)).toBeLessThan(1e-5);
    }
  });

  it('recomputing none, some or all layers, to the bit', async () => {
    const tokensPerPass = tokens(apart);
    // In one pass, as there is but one micro-batch.
    const none = await run(together, { tokensPerPass, gradientCheckpointing: false });
    const all = await run(together, { tokensPerPass, gradientCheckpointing: true });
    expect(all.gradients).toEqual(none.gradients);
    const { vision, text } = all.plans[0]![0]!.recomputedLayers;
    expect([vision, text]).toEqual([world.model.config.vision.layers, world.model.config.text.layers]);
    const needed = [none, all].map(({ plans }) => plans[0]![0]!.bytes) as [number, number];
    expect(needed[1]).toBeLessThan(0.8 * needed[0]);
    const seen = new Set<string>();
    for (let share = 0; share <= 1; share += 0.125) {
      const memoryBudget = budgetFor(world.engine, needed[1] + share * (needed[0] - needed[1]));
      const some = await run(together, { tokensPerPass, memoryBudget });
      expect(some.plans).toHaveLength(1);
      const [pass] = some.plans[0]!;
      seen.add(`${pass!.recomputedLayers.vision}+${pass!.recomputedLayers.text}`);
      expect(some.loss).toBe(none.loss);
      expect(some.gradients).toEqual(none.gradients);
      expect(some.tookBytes).toBeLessThanOrEqual(pass!.bytes);
    }
    expect(seen.size).toBeGreaterThan(3);
    expect(seen).toContain('0+0');
  });

  it('with estimates that are never below what it takes', async () => {
    for (const gradientCheckpointing of [false, true]) {
      for (const passes of [1, 2, 4]) {
        const tokensPerPass = Math.ceil(tokens(apart) / passes);
        const { plans, tookBytes } = await run(apart, { tokensPerPass, gradientCheckpointing });
        const estimate = Math.max(...plans[0]!.map(({ bytes }) => bytes)) - world.engine.storage.scratchBytes;
        expect(tookBytes).toBeLessThanOrEqual(estimate);
        expect(tookBytes).toBeGreaterThan(0.6 * estimate);
      }
    }
  });
});

describe('a window that does not fit', () => {
  it('is an error before it begins, which says what was needed and free', async () => {
    const smallest = (await run(together, { gradientCheckpointing: true })).plans[0]![0]!.bytes;
    const memoryBudget = budgetFor(world.engine, 0.75 * smallest);
    const failure = run(together, { memoryBudget });
    await expect(failure).rejects.toThrow(EngineError);
    await expect(failure).rejects.toThrow(/8 samples of \d+ tokens.* need .*autoMicroBatch/s);
    expect((await world.engine.readGradients(adapter.parameters)).every((value) => value === 0)).toBe(true);
  });

  it('runs in smaller micro-batches where it may, with the same result', async () => {
    const whole = await run(together);
    const smallest = (await run(together, { gradientCheckpointing: true })).plans[0]![0]!.bytes;
    const memoryBudget = budgetFor(world.engine, 0.75 * smallest);
    const halved = await run(together, { memoryBudget, autoMicroBatch: true });
    expect(halved.plans[0]!.length).toBeGreaterThan(1);
    expect(halved.warnings).toEqual([expect.stringMatching(/micro-batches of 8 samples .* at most [421] /)]);
    expect(Math.abs(halved.loss - whole.loss)).toBeLessThan(1e-5);
    expect(relativeL2(halved.gradients, whole.gradients)).toBeLessThan(1e-5);
  });
});

describe('a pass that runs out of memory although it was planned to fit', () => {
  /** A model on an engine that says it had more memory than its heap of `maxBytes`. */
  async function onSmallEngine<T>(
    maxBytes: number,
    body: (model: VisionLanguageModel, adapter: LoraAdapter, freeBytes: number) => Promise<T>,
  ): Promise<T> {
    const engine = createCpuEngine({ threads: 1, maxBytes });
    const memory = engine.memory.bind(engine);
    engine.memory = () => ({ ...memory(), limitBytes: 2 ** 32 });
    const model = await loadModel(world.checkpoint, { engine });
    const trained = makeAdapter(model, 0.1);
    const result = await body(model, trained, memory().limitBytes - memory().bytesInUse);
    trained.dispose();
    model.dispose();
    await engine.dispose();
    return result;
  }

  /** A heap that leaves this much to a pass. */
  async function heapWith(freeBytes: number): Promise<number> {
    const size = 64 * MIB;
    return onSmallEngine(size, async (_model, _adapter, free) => size - free + freeBytes);
  }

  it('is begun again, smaller, and so are later ones; nothing of it is left behind', async () => {
    const whole = await run(apart, { tokensPerPass: 1e6 });
    const least = await run(apart, { gradientCheckpointing: true });
    expect(least.tookBytes).toBeLessThan(0.4 * whole.tookBytes);
    await onSmallEngine(await heapWith(0.6 * whole.tookBytes), async (model, trained) => {
      const first = await run(apart, { tokensPerPass: 1e6 }, model, trained);
      expect(first.plans.length).toBeGreaterThan(1);
      expect(first.plans[0]).toHaveLength(1);
      expect(first.plans.at(-1)!.length).toBeGreaterThan(1);
      expect(first.warnings).toHaveLength(first.plans.length - 1);
      expect(first.warnings[0]).toMatch(/out of memory.*; the step is begun again in \d passes/);
      expect(Math.abs(first.loss - whole.loss)).toBeLessThan(1e-5);
      expect(relativeL2(first.gradients, whole.gradients)).toBeLessThan(1e-5);
      const second = await run(apart, { tokensPerPass: 1e6 }, model, trained);
      expect([second.plans.length, second.warnings.length]).toEqual([1, 0]);
      expect(second.gradients).toEqual(first.gradients);
    });
  });

  it('is an error when nothing is left to lower, and leaves nothing behind', async () => {
    const least = await run(apart, { gradientCheckpointing: true });
    await onSmallEngine(await heapWith(0.5 * least.tookBytes), async (model, trained) => {
      const before = model.engine.memory().bytesInUse;
      const failure = run(apart, {}, model, trained);
      await expect(failure).rejects.toThrow(/the cpu engine is out of memory[\s\S]*autoMicroBatch/);
      expect(model.engine.memory().bytesInUse).toBe(before);
      const [gradients] = [await model.engine.readGradients(trained.parameters)];
      expect(gradients.every((value) => value === 0)).toBe(true);
    });
  });
});
