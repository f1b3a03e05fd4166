import { describe, expect, it } from 'vitest';
import {
  AdamW8bitState,
  applyAdamW,
  applyAdamW8bit,
  clipScale,
  gradientNorm,
} from '../../../src/engine/cpu/optimizer.js';
import type { OptimizerArrays, OptimizerStep } from '../../../src/engine/engine.js';
import { HostOptimizer } from '../../../src/engine/tfjs/host-optimizer.js';
import { EngineError } from '../../../src/errors.js';
import { MersenneTwister } from '../../../src/random.js';

const STEP = { learningRate: 1e-2, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 0.5 } as const;
/** The middle one is large enough for moments of 8 bits. */
const SIZES = [3, 5000, 7];
const PARAMETERS = SIZES.map((size, i) => ({ size, offset: SIZES.slice(0, i).reduce((sum, n) => sum + n, 0) }));
const TOTAL = 5010;

function normals(seed: number): Float32Array {
  const random = new MersenneTwister(seed);
  return Float32Array.from({ length: TOTAL }, () => random.nextNormal());
}

/** Compared as texts: equal bit by bit, and quickly. */
const bitsOf = (arrays: OptimizerArrays): Record<string, string> =>
  Object.fromEntries(
    Object.entries(arrays).map(([name, { buffer, byteOffset, byteLength }]) => {
      return [name, Buffer.from(buffer, byteOffset, byteLength).toString('base64')];
    }),
  );

describe('HostOptimizer', () => {
  it('gives each parameter AdamW with its own count of steps and its own rate', () => {
    const optimizer = new HostOptimizer('adamw', PARAMETERS);
    const values = normals(1);
    const expected = values.slice();
    const [m, v] = [new Float32Array(TOTAL), new Float32Array(TOTAL)];
    const counts = [0, 0, 0];
    const learningRateFactors = [1, 2, 0.5];
    for (const [seed, touched] of [
      [true, true, true],
      [true, false, true],
      [true, true, false],
    ].entries()) {
      const gradients = normals(seed + 2);
      const options: OptimizerStep = { ...STEP, kind: 'adamw', learningRateFactors };
      const norm = gradientNorm(gradients);
      expect(optimizer.step(values, gradients, touched, options)).toEqual({ norm, changed: true });
      for (const [i, { offset, size }] of PARAMETERS.entries()) {
        if (!touched[i]) continue;
        const part = (flat: Float32Array) => flat.subarray(offset, offset + size);
        const step = { ...options, learningRate: 1e-2 * learningRateFactors[i]!, step: ++counts[i]! };
        applyAdamW(part(expected), part(gradients), part(m), part(v), step, clipScale(norm, 0.5));
      }
    }
    expect(bitsOf({ values, ...optimizer.toArrays() })).toEqual(
      bitsOf({ values: expected, steps: Float32Array.from(counts), m, v }),
    );
  });

  it('keeps moments of 8 bits in the form of the cpu engine', () => {
    const optimizer = new HostOptimizer('adamw8bit', PARAMETERS);
    const values = normals(1);
    const expected = values.slice();
    const state = new AdamW8bitState(SIZES);
    for (const [i, touched] of [
      [true, true, true],
      [false, true, true],
    ].entries()) {
      const gradients = normals(i + 2);
      const options: OptimizerStep = { ...STEP, kind: 'adamw8bit' };
      optimizer.step(values, gradients, touched, options);
      const scale = clipScale(gradientNorm(gradients), 0.5);
      applyAdamW8bit(expected, gradients, state, { ...options, step: 0 }, scale, i === 0 ? [1, 1, 1] : [0, 2, 2]);
    }
    expect(bitsOf({ values, ...optimizer.toArrays() })).toEqual(
      bitsOf({ values: expected, steps: Float32Array.of(1, 2, 2), ...state.toArrays() }),
    );
  });

  it.each(['adamw', 'adamw8bit'] as const)('of %s goes on bit by bit from copies of its arrays', (kind) => {
    const all = [true, true, true];
    const optimizer = new HostOptimizer(kind, PARAMETERS);
    const values = normals(1);
    optimizer.step(values, normals(2), all, { ...STEP, kind });
    const arrays = optimizer.toArrays();
    const saved = structuredClone(arrays);
    const restored = new HostOptimizer(kind, PARAMETERS);
    restored.fromArrays(arrays);
    const copy = values.slice();
    optimizer.step(values, normals(3), all, { ...STEP, kind });
    expect(bitsOf(arrays)).toEqual(bitsOf(saved));
    restored.step(copy, normals(3), all, { ...STEP, kind });
    expect(bitsOf({ values: copy, ...restored.toArrays() })).toEqual(bitsOf({ values, ...optimizer.toArrays() }));

    const { steps, ...others } = saved;
    expect(() => restored.fromArrays(others)).toThrow(/expected steps as Float32Array\(3\), got nothing/);
    const { m: _, ...without } = saved;
    expect(() => restored.fromArrays(without)).toThrow(EngineError);
    expect(bitsOf(restored.toArrays())).toEqual(bitsOf(optimizer.toArrays()));
  });

  it('changes nothing for a norm that is not finite, and refuses steps of another kind', () => {
    const optimizer = new HostOptimizer('adamw', PARAMETERS);
    const values = normals(1);
    const broken = normals(2).fill(Number.NaN, 5, 6);
    const result = optimizer.step(values, broken, [true, true, true], { ...STEP, kind: 'adamw' });
    expect(result).toEqual({ norm: Number.NaN, changed: false });
    expect(() => optimizer.step(values, normals(2), [true, true, true], { ...STEP, kind: 'adamw8bit' })).toThrow(
      'optimizerStep: the state is of adamw, the step of adamw8bit',
    );
    expect(bitsOf({ values })).toEqual(bitsOf({ values: normals(1) }));
    expect(optimizer.toArrays().steps).toEqual(new Float32Array(3));
  });
});
