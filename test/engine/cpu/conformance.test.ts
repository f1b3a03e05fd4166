import { afterAll, describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../../src/engine/cpu/cpu-engine.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { Activation } from '../../../src/engine/operations.js';
import { EngineError } from '../../../src/errors.js';
import { describeConformance, expectSame } from '../conformance/conformance.js';
import { Laboratory } from '../conformance/laboratory.js';
import { erf, plainActivation } from '../conformance/plain-reference.js';

describeConformance('cpu', () => createCpuEngine({ threads: 2 }), { precisions: [] });

describe('cpu engine', () => {
  const engine = createCpuEngine({ threads: 2 });
  afterAll(() => engine.dispose());

  /** Output, saved log-sum-exp aside, and gradients of an attention with many blocks. */
  async function attentionOn(other: Engine): Promise<Float32Array[]> {
    const lab = new Laboratory(other, 3);
    const [heads, kvHeads, headDim] = [4, 2, 16];
    const inputs = [
      (await lab.tensor([300, heads * headDim])).tensor,
      (await lab.tensor([260, kvHeads * headDim])).tensor,
      (await lab.tensor([260, kvHeads * headDim])).tensor,
    ];
    // The second and the third segment share key rows: their gradients are added in a fixed order.
    const segments = {
      queryStarts: Int32Array.of(0, 130, 200, 300),
      keyStarts: Int32Array.of(0, 130, 150),
      keyLengths: Int32Array.of(130, 100, 110),
    };
    const attributes = { heads, kvHeads, headDim, scale: 0.25, causal: true, segments };
    const { outputs, saved } = other.operations.attention.forward(inputs, attributes, true);
    const gradient = (await lab.tensor([300, heads * headDim])).tensor;
    const gradients = other.operations.attention.backward(saved, [gradient], attributes, [true, true, true]);
    const results: Float32Array[] = [];
    for (const tensor of [...outputs, ...gradients]) results.push(await other.read(tensor!));
    lab.clear();
    return results;
  }

  it('gives the same bits on one thread and on three', async () => {
    const one = createCpuEngine({ threads: 1 });
    const three = createCpuEngine({ threads: 3 });
    const [first, second] = [await attentionOn(one), await attentionOn(three)];
    for (const [i, numbers] of first.entries()) expectSame(second[i]!, numbers, `result ${i}`);
    await one.dispose();
    await three.dispose();
  });

  it('sums the gradients of keys that segments share', async () => {
    const lab = new Laboratory(engine, 4);
    const [q, k, v, gradient] = [
      await lab.tensor([2, 8]),
      await lab.tensor([3, 8]),
      await lab.tensor([3, 8]),
      await lab.tensor([2, 8]),
    ];
    const run = async (rows: readonly number[]): Promise<Float32Array> => {
      const pick = (from: { values: Float64Array }): Float32Array =>
        Float32Array.from(rows.flatMap((row) => [...from.values.subarray(8 * row, 8 * row + 8)]));
      const [query, dy] = [
        engine.fromArray(pick(q), [rows.length, 8]),
        engine.fromArray(pick(gradient), [rows.length, 8]),
      ];
      const segments = {
        queryStarts: Int32Array.from({ length: rows.length + 1 }, (_, i) => i),
        keyStarts: new Int32Array(rows.length),
        keyLengths: new Int32Array(rows.length).fill(3),
      };
      const attributes = { heads: 1, kvHeads: 1, headDim: 8, scale: 0.3, causal: false, segments };
      const inputs = [query, k.tensor, v.tensor];
      const { saved } = engine.operations.attention.forward(inputs, attributes, true);
      const [, dk] = engine.operations.attention.backward(saved, [dy], attributes, [false, true, false]);
      return engine.read(dk!);
    };
    const [both, first, second] = [await run([0, 1]), await run([0]), await run([1])];
    for (const [i, value] of both.entries()) expect(value).toBeCloseTo(first[i]! + second[i]!, 6);
    lab.clear();
  });

  it('has activations that are accurate for every size of number', async () => {
    const x = Float32Array.from({ length: 8001 }, (_, i) => (i - 4000) / 200);
    for (const kind of ['silu', 'gelu', 'gelu_tanh'] satisfies Activation[]) {
      const input = engine.fromArray(x, [1, x.length]);
      const [output] = engine.operations.activation.forward([input], { activation: kind }, false).outputs;
      let worst = 0;
      for (const [i, y] of (await engine.read(output!)).entries()) {
        const expected = plainActivation(kind, x[i]!);
        // The tails of the two GELUs are differences of nearly equal numbers in the reference itself.
        const scale = kind === 'silu' ? Math.abs(expected) : Math.abs(x[i]!);
        if (scale > 0) worst = Math.max(worst, Math.abs(y - expected) / scale);
      }
      expect(worst, kind).toBeLessThan(kind === 'silu' ? 4e-7 : 2e-7);
      const ones = engine.fromArray(new Float32Array(x.length).fill(1), [1, x.length]);
      const [slopes] = engine.operations.activation.backward([input], [ones], { activation: kind }, [true]);
      let steepest = 0;
      for (const [i, slope] of (await engine.read(slopes!)).entries()) {
        const expected = (plainActivation(kind, x[i]! + 1e-5) - plainActivation(kind, x[i]! - 1e-5)) / 2e-5;
        // 1 - sigmoid keeps an absolute accuracy, and is multiplied by x.
        steepest = Math.max(steepest, Math.abs(slope - expected) / Math.max(1, Math.abs(x[i]!)));
      }
      expect(steepest, kind).toBeLessThan(4e-7);
      engine.release(ones);
      engine.release(slopes!);
      engine.release(input);
      engine.release(output!);
    }
    expect(erf(0.5)).toBeCloseTo(0.5204998778130465, 15);
    expect(erf(-3)).toBeCloseTo(-0.9999779095030014, 15);
  });

  it('lets NaN through and takes empty inputs', async () => {
    const segments = { queryStarts: Int32Array.of(0, 70), keyStarts: Int32Array.of(0), keyLengths: Int32Array.of(70) };
    const shape = { heads: 1, kvHeads: 1, headDim: 4, scale: 1, causal: true, segments };
    const q = engine.fromArray(new Float32Array(280).fill(1), [70, 4]);
    const k = engine.fromArray(new Float32Array(280).fill(1).fill(Number.NaN, 100, 101), [70, 4]);
    const [out] = engine.operations.attention.forward([q, k, q], shape, false).outputs;
    const numbers = await engine.read(out!);
    // Row 25 of k is NaN: queries before it do not see it, those after it do.
    expect(numbers.slice(0, 100)).toEqual(new Float32Array(100).fill(1));
    expect(numbers.slice(100).every(Number.isNaN)).toBe(true);
    const rows = new Int32Array(0);
    const [empty] = engine.operations.gatherRows.forward([q], { rows }, false).outputs;
    expect(empty!.shape).toEqual([0, 4]);
    const lab = new Laboratory(engine, 1);
    const { weight } = await lab.weight('w', [3, 4], 'bf16');
    const [nothing] = engine.operations.linear.forward([empty!], { parts: [{ weight }] }, false).outputs;
    expect(nothing!.shape).toEqual([0, 3]);
    const [loss] = engine.operations.crossEntropy.forward(
      [empty!],
      { head: weight, targets: rows, scale: 1 },
      false,
    ).outputs;
    expect(await engine.read(loss!)).toEqual(Float32Array.of(0));
    for (const tensor of [q, k, out, empty, nothing]) engine.release(tensor!);
    lab.clear();
  });

  it('never holds the logits of all rows', async () => {
    const lab = new Laboratory(engine, 8);
    const [rows, columns, vocabulary] = [257, 2, 1 << 17];
    const hidden = await lab.tensor([rows, columns]);
    const { weight } = await lab.weight('head', [vocabulary, columns], 'bf16');
    const targets = Int32Array.from({ length: rows }, (_, i) => i * 500);
    engine.resetPeak();
    const before = engine.memory().bytesInUse;
    const attributes = { head: weight, targets, scale: 1 };
    const { outputs, saved } = engine.operations.crossEntropy.forward([hidden.tensor], attributes, true);
    expect(engine.memory().peakBytes - before).toBeLessThan(4 * rows * vocabulary * 0.6);
    for (const tensor of [...outputs, ...saved]) engine.release(tensor);
    expect(engine.memory().bytesInUse).toBe(before);
    lab.clear();
  });

  it('names the operation that uses a freed tensor', () => {
    const x = engine.fromArray(new Float32Array(6), [2, 3]);
    engine.release(x);
    expect(() => engine.operations.add.forward([x, x], {}, false)).toThrow(/^add: tensor #\d+ \[2, 3\] is used after/);
    expect(() => engine.release(x)).toThrow(EngineError);
    expect(() => engine.retain(x)).toThrow(EngineError);
  });

  it('says which input has the wrong shape, and what indices are out of range', () => {
    const x = engine.zeros([2, 3]);
    const y = engine.zeros([3, 2]);
    const before = engine.memory().bytesInUse;
    const { operations } = engine;
    expect(() => operations.add.forward([x, y], {}, false)).toThrow('add: b has shape [3, 2], expected [2, 3]');
    const rows = Int32Array.of(0, 2);
    expect(() => operations.gatherRows.forward([x], { rows }, false)).toThrow(
      'gatherRows: index 2 at 1 lies outside 0..1',
    );
    const twice = Int32Array.of(1, 1);
    expect(() => operations.scatterRows.forward([x, x], { rows: twice }, false)).toThrow(
      'scatterRows: row 1 is listed twice',
    );
    const grids = Int32Array.of(1, 3);
    expect(() => operations.mergePatches.forward([y], { grids, merge: 2 }, false)).toThrow(/grid 0 of 1 × 3/);
    expect(() => engine.fromArray(new Float32Array(5), [2, 3])).toThrow(EngineError);
    expect(engine.memory().bytesInUse).toBe(before);
    engine.release(x);
    engine.release(y);
  });

  it('frees a weight whose source fails', async () => {
    const before = engine.memory().bytesInUse;
    const read = () => Promise.reject(new Error('disk'));
    const source = { name: 'w', shape: [4, 4], dtype: 'f32', byteLength: 64, read } as const;
    await expect(engine.loadWeight(source)).rejects.toThrow('disk');
    await expect(engine.loadWeight({ ...source, byteLength: 32 })).rejects.toThrow(
      /w has 32 bytes, \[4, 4\] of f32 needs 64/,
    );
    expect(engine.memory().bytesInUse).toBe(before);
  });

  it('holds nothing of a weight that no longer fits', async () => {
    const small = createCpuEngine({ threads: 1, maxBytes: 2 ** 23 });
    const held = small.zeros([1_500_000]);
    const before = small.memory().bytesInUse;
    const source = { name: 'w', shape: [500_000], dtype: 'bf16', byteLength: 1_000_000, read: async () => {} } as const;
    await expect(small.loadWeight(source)).rejects.toThrow(EngineError);
    expect(small.memory().bytesInUse).toBe(before);
    small.release(held);
    small.releaseWeight(await small.loadWeight(source));
    expect(small.memory().bytesInUse).toBe(before - 6_000_000);
    await small.dispose();
  });

  it.each(['adamw', 'adamw8bit'] as const)('resumes %s to the bit from what it read', async (kind) => {
    const lab = new Laboratory(engine, 9);
    const specs = [
      { name: 'a', shape: [70, 60], deviation: 1 },
      { name: 'b', shape: [5], deviation: 1 },
    ];
    const { set } = lab.parameters(specs);
    const options = {
      kind,
      learningRate: 0.01,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      weightDecay: 0.1,
      maxGradNorm: 1,
    } as const;
    const fill = (step: number): void => {
      engine.zeroGradients(set);
      for (const { grad } of set.parameters) {
        const gradient = engine.fromArray(new Laboratory(engine, step).numbers(grad.size), grad.shape);
        engine.addInPlace(grad, gradient);
        engine.release(gradient);
      }
    };
    const state = engine.createOptimizerState(set, kind);
    fill(1);
    const norm = await engine.optimizerStep(set, state, options)();
    expect(norm).toBeCloseTo(Math.hypot(...(await engine.readGradients(set))), 3);
    const [values, arrays] = [await engine.readParameters(set), await engine.readOptimizerState(set, state)];
    fill(2);
    await engine.optimizerStep(set, state, options)();
    const expected = await engine.readParameters(set);
    const resumed = engine.createOptimizerState(set, kind);
    engine.writeParameters(set, values);
    engine.writeOptimizerState(set, resumed, arrays);
    await engine.optimizerStep(set, resumed, options)();
    expectSame(await engine.readParameters(set), expected);
    expect(() => engine.writeOptimizerState(set, resumed, {})).toThrow(EngineError);
    lab.clear();
  });
});
