/** A model laid over two and three cpu engines computes what it does on one, bit by bit. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../../src/data/types.js';
import { VlmCollator } from '../../../src/data/vlm-collator.js';
import { type CpuEngine, createCpuEngine } from '../../../src/engine/cpu/cpu-engine.js';
import type { Engine, OptimizerArrays, OptimizerStep } from '../../../src/engine/engine.js';
import type { Operation, OperationAttributes } from '../../../src/engine/operations.js';
import type { PartEngine } from '../../../src/engine/split/part-engine.js';
import { SplitEngine } from '../../../src/engine/split/split-engine.js';
import { Tape } from '../../../src/engine/tape.js';
import type { Parameter } from '../../../src/engine/tensor.js';
import { EngineError, OutOfMemoryError } from '../../../src/errors.js';
import { generate } from '../../../src/model/generate.js';
import { loadModel, loadProcessor } from '../../../src/model/load.js';
import type { VisionLanguageModel } from '../../../src/model/network/vision-language-model.js';
import { evaluateLoss } from '../../../src/train/evaluate-loss.js';
import { type AccumulateOptions, countLabels } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { makeAdapter, makeExamples, writeTinyModel } from '../../e2e/tiny-model.js';

let dir: string;
let batches: VlmBatch[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ministral-tune-split-'));
  await writeTinyModel(dir);
  const processor = await loadProcessor(dir);
  const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
  const examples = makeExamples(4, 9);
  batches = await Promise.all([0, 2].map((i) => collator.collate(examples.slice(i, i + 2))));
});
afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** @param rooms bytes that the heaps may grow to: the model is laid over them in proportion */
function splitOver(...rooms: number[]): { engine: SplitEngine; parts: CpuEngine[] } {
  const parts = rooms.map((maxBytes) => createCpuEngine({ threads: 1, maxBytes }));
  return { engine: new SplitEngine(parts), parts };
}

const MIB = 2 ** 20;

/** Which engine each layer lies on: of the vision tower, of the decoder, and the head. */
function placesOf({ engine, modules }: VisionLanguageModel): string {
  const layers = [...modules.visionLayers, ...modules.textLayers].map(({ down }) => down.weight);
  return [...layers, modules.lmHead]
    .map((weight) => engine.devices!.findIndex((device) => device.holds(weight)))
    .join('');
}

function onOne(kind: OptimizerStep['kind'], start?: Parameters<typeof train>[3]): Promise<Trained> {
  return withModel(createCpuEngine({ threads: 1 }), (model) => train(model, kind, {}, start));
}

async function withModel<T>(engine: Engine, body: (model: VisionLanguageModel) => Promise<T>): Promise<T> {
  try {
    const model = await loadModel(dir, { engine });
    const result = await body(model);
    await model.dispose();
    return result;
  } finally {
    await engine.dispose();
  }
}

interface Trained {
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly gradients: Float32Array;
  readonly values: Float32Array;
  readonly arrays: OptimizerArrays;
}

/** Whatever memory the values lie in, for comparisons. */
function copyOf<T extends Float32Array | Uint8Array>(values: T): T {
  return (values instanceof Float32Array ? Float32Array.from(values) : Uint8Array.from(values)) as T;
}

async function train(
  model: VisionLanguageModel,
  kind: OptimizerStep['kind'],
  options: Partial<AccumulateOptions> = {},
  start?: { readonly values: Float32Array; readonly arrays: OptimizerArrays },
): Promise<Trained> {
  const { engine } = model;
  const adapter = makeAdapter(model, 0.1);
  const set = adapter.parameters;
  const state = engine.createOptimizerState(set, kind);
  if (start) {
    engine.writeParameters(set, start.values);
    engine.writeOptimizerState(set, state, start.arrays);
  }
  const [losses, norms]: [number[], number[]] = [[], []];
  let gradients: Float32Array = new Float32Array(0);
  for (let step = 0; step < 2; step++) {
    const loss = await accumulateGradients(model, batches, {
      labelCount: batches.reduce((sum, batch) => sum + countLabels(batch), 0),
      dropoutSeeds: batches.map((_, i) => 10 * step + i),
      gradientCheckpointing: false,
      ...options,
    });
    losses.push(await loss());
    gradients = copyOf(await engine.readGradients(set));
    const settings = { learningRate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxGradNorm: 0.5 };
    norms.push(await engine.optimizerStep(set, state, { kind, ...settings })());
    engine.zeroGradients(set);
  }
  const values = copyOf(await engine.readParameters(set));
  const read = Object.entries(await engine.readOptimizerState(set, state));
  const arrays = Object.fromEntries(read.map(([name, array]) => [name, copyOf(array)]));
  engine.releaseOptimizerState(set, state);
  adapter.dispose();
  return { losses, norms, gradients, values, arrays };
}

function expectSame(got: Trained, expected: Trained): void {
  // The squares are summed in blocks, which begin anew on each engine: the order of the sum alone is another.
  for (const [i, norm] of got.norms.entries()) expect(norm / expected.norms[i]!).toBeCloseTo(1, 12);
  const bits = ({ losses, gradients, values, arrays }: Trained) => ({ losses, gradients, values, arrays });
  expect(bits(got)).toEqual(bits(expected));
}

/** Where the layers and the head lie with heaps of so many MiB. */
const CUTS: readonly (readonly [places: string, ...rooms: number[]])[] = [
  ['00111', 96, 64],
  ['01222', 64, 64, 64],
];

describe('a model over several engines', () => {
  it.each(['adamw', 'adamw8bit'] as const)('trains as on one with %s, to the bit', async (kind) => {
    const one = await onOne(kind);
    for (const [places, ...rooms] of CUTS) {
      const { engine, parts } = splitOver(...rooms.map((room) => room * MIB));
      await withModel(engine, async (model) => {
        expect(placesOf(model)).toBe(places);
        const held = parts.map((part) => part.memory().bytesInUse);
        const gradientCheckpointing = rooms.length === 3;
        expectSame(await train(model, kind, { gradientCheckpointing }), one);
        // Every copy went with its tensor.
        expect(parts.map((part) => part.memory().bytesInUse)).toEqual(held);
        // On other cuts, and on one engine, a run goes on with the same arrays.
        const start = { values: one.values, arrays: one.arrays };
        if (rooms.length === 2) expectSame(await train(model, kind, {}, start), await onOne(kind, start));
      });
    }
    expect(one.losses[1]).toBeLessThan(one.losses[0]!);
    // It was clipped.
    expect(one.norms[0]).toBeGreaterThan(0.5);
  });

  it('answers as one does', async () => {
    const answer = async (model: VisionLanguageModel) => {
      const adapter = makeAdapter(model);
      const { labels: _, ...prompts } = batches[0]!;
      const answers = await generate(model, prompts, { maxNewTokens: 5, eosTokenIds: [1_000_000] });
      const losses = await evaluateLoss(model, batches[0]!);
      adapter.dispose();
      return { answers, losses };
    };
    const { engine } = splitOver(96 * MIB, 64 * MIB);
    expect(await withModel(engine, answer)).toEqual(await withModel(createCpuEngine({ threads: 1 }), answer));
  });

  it('begins a window again that runs out of memory, and leaves nothing of it', async () => {
    const one = await onOne('adamw');
    const { engine, parts } = splitOver(96 * MIB, 64 * MIB);
    await withModel(engine, async (model) => {
      const held = parts.map((part) => part.memory().bytesInUse);
      const warnings: string[] = [];
      let left = 1;
      const { crossEntropy } = parts[1]!.operations as { crossEntropy: Operation<OperationAttributes['crossEntropy']> };
      const { backward } = crossEntropy;
      crossEntropy.backward = (...given) => {
        if (left-- > 0) throw new OutOfMemoryError('out of memory');
        return backward(...given);
      };
      const options = {
        autoMicroBatch: true,
        gradientCheckpointing: 'auto',
        onWarning: (line: string) => warnings.push(line),
      };
      expectSame(await train(model, 'adamw', options as Partial<AccumulateOptions>), one);
      expect(warnings[0]).toMatch(/^device 1: out of memory; the step is begun again in /);
      expect(parts.map((part) => part.memory().bytesInUse)).toEqual(held);
    });
  });

  it('updates nothing anywhere if a gradient of one engine is not finite', async () => {
    const { engine, parts } = splitOver(96 * MIB, 64 * MIB);
    await withModel(engine, async (model) => {
      const adapter = makeAdapter(model);
      const set = adapter.parameters;
      const state = engine.createOptimizerState(set, 'adamw');
      const before = copyOf(await engine.readParameters(set));
      const ends = [set.parameters[0]!, set.parameters.at(-1)!];
      for (const [i, { grad }] of ends.entries()) {
        const values = engine.fromArray(new Float32Array(grad.size).fill([1, Number.NaN][i]!), grad.shape);
        engine.addInPlace(grad, values);
        engine.release(values);
      }
      const settings = { kind: 'adamw', learningRate: 1, beta1: 0.9, beta2: 0.9, eps: 1e-8, weightDecay: 0 } as const;
      const step = () => engine.optimizerStep(set, state, { ...settings, maxGradNorm: 1 })();
      expect(await step()).toBeNaN();
      expect(copyOf(await engine.readParameters(set))).toEqual(before);
      expect((await engine.readOptimizerState(set, state)).steps!.every((count) => count === 0)).toBe(true);
      // Both engines clip by the norm over both.
      engine.zeroGradients(set);
      for (const { grad } of ends) {
        const values = engine.fromArray(new Float32Array(grad.size).fill(1), grad.shape);
        engine.addInPlace(grad, values);
        engine.release(values);
      }
      expect(await step()).toBeCloseTo(Math.sqrt(ends[0]!.size + ends[1]!.size), 5);
      const { steps, m } = await engine.readOptimizerState(set, state);
      expect([...steps!].flatMap((count, i) => (count > 0 ? [i] : []))).toEqual([0, set.parameters.length - 1]);
      const clipped = 0.1 / Math.sqrt(ends[0]!.size + ends[1]!.size);
      for (const { offset } of ends) expect(m![offset]).toBeCloseTo(clipped, 6);
      adapter.dispose();
      await expect(engine.readParameters(set)).rejects.toThrow('used after it was released');
      expect(parts.every((part) => part.memory().bytesInUse > 0)).toBe(true);
    });
  });
});

describe('tensors of several engines', () => {
  const weightOf = (name: string, stage: number) => {
    const source = { name, shape: [4, 4], dtype: 'f32', byteLength: 64, stage } as const;
    return { ...source, read: async (target: Uint8Array) => void target.fill(0) };
  };
  async function open() {
    const parts = [0, 1].map(() => createCpuEngine({ threads: 1, maxBytes: 8 * MIB }));
    const engine = new SplitEngine(parts, ['left', 'right']);
    const sources = [weightOf('first', 0), weightOf('second', 1)];
    // Each takes one.
    engine.placeWeights(sources, () => 0);
    const [first, second] = await Promise.all(sources.map((source) => engine.loadWeight(source)));
    return { engine, parts, first: first!, second: second! };
  }

  it('are copied when they are used elsewhere, and again after a change', async () => {
    const { engine, parts, first, second } = await open();
    expect([first, second].map((weight) => engine.devices!.map((device) => device.holds(weight)))).toEqual([
      [true, false],
      [false, true],
    ]);
    const held = () => parts.map((part) => part.memory().bytesInUse);
    const before = held();
    const x = engine.fromArray(
      Float32Array.from({ length: 8 }, (_, i) => i),
      [2, 4],
    );
    const there = engine.zeros([2, 4], second);
    engine.addInPlace(there, x);
    engine.addInPlace(x, there);
    engine.writeRows(there, x, Int32Array.of(1, 0));
    expect([...(await engine.read(there))]).toEqual([8, 10, 12, 14, 0, 2, 4, 6]);
    engine.release(x);
    engine.release(there);
    expect(held()).toEqual(before);
    const mark = engine.mark();
    const left = engine.fromArray(new Float32Array(8), [2, 4]);
    engine.addInPlace(engine.zeros([2, 4], second), left);
    engine.releaseSince(mark);
    expect(held()).toEqual(before);
    expect(() => engine.release(left)).toThrow('is used after it was freed');
    await engine.dispose();
  });

  it('are refused where they belong to another engine, or lie beside another weight', async () => {
    const { engine, second } = await open();
    const other = createCpuEngine({ threads: 1 });
    const stranger = other.fromArray(new Float32Array(4), [1, 4]);
    expect(() => engine.release(stranger)).toThrow(EngineError);
    expect(() => new SplitEngine([other, { ...other, name: 'cuda' } as unknown as PartEngine])).toThrow(
      'engines of one kind, not cpu, cuda',
    );
    const specs = ['a', 'b'].map((name) => ({ name, shape: [4, 4], initial: new Float32Array(16) }));
    const [a, b] = engine.createParameters(specs).parameters as [Parameter, Parameter];
    const x = engine.fromArray(new Float32Array(4), [1, 4]);
    const parts = [{ weight: second, lora: { a, b, scale: 1, dropout: 0, seed: 0 } }];
    const run = () => new Tape(engine).apply('linear', [x], { parts });
    expect(run).toThrow('the parameter a lies on another device than the weight');
    await Promise.all([engine.dispose(), other.dispose()]);
  });

  it('say which engine is full', async () => {
    const { engine, second } = await open();
    expect(() => engine.zeros([1 << 20, 4], second)).toThrow(/^right: /);
    expect(() => engine.zeros([1 << 20, 4])).toThrow(/^left: /);
    const spec = (rows: number) => ({
      name: 'a',
      shape: [rows, 4],
      initial: new Float32Array(4 * rows),
      beside: second,
    });
    expect(() => engine.createParameters([spec(1 << 19)])).toThrow(/^right: /);
    // Values and gradients fit, and not the moments.
    const set = engine.createParameters([spec(150_000)]);
    expect(() => engine.createOptimizerState(set, 'adamw')).toThrow(/^right: /);
    await engine.dispose();
  });
});
