import { afterAll, describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../../src/engine/cpu/cpu-engine.js';
import { applyAdamW, clipScale, gradientNorm } from '../../../src/engine/cpu/optimizer.js';
import { EngineError } from '../../../src/errors.js';
import { MersenneTwister } from '../../../src/random.js';

const STEP = { kind: 'adamw', learningRate: 3e-3, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 } as const;
/** Around the kernel's blocks of 4096, so that tails and offsets of every kind occur. */
const SIZES = [5, 4096 * 6 + 7, 1, 4095, 60_001, 4096];

function normals(length: number, seed: number): Float32Array {
  const random = new MersenneTwister(seed);
  return Float32Array.from({ length }, () => random.nextNormal());
}

describe('optimizerStep of the cpu engine', () => {
  const engines = [1, 2, 3].map((threads) => ({ threads, engine: createCpuEngine({ threads }) }));
  afterAll(() => Promise.all(engines.map(({ engine }) => engine.dispose())));

  it('gives the bits of applyAdamW with any number of threads, for parameters that skip steps too', async () => {
    const norms: number[] = [];
    for (const { engine } of engines) {
      const specs = SIZES.map((size, i) => ({ name: `p${i}`, shape: [size], initial: normals(size, i + 1) }));
      const set = engine.createParameters(specs);
      const state = engine.createOptimizerState(set, 'adamw');
      const plain = specs.map(({ initial }) => {
        return {
          values: initial.slice(),
          m: new Float32Array(initial.length),
          v: new Float32Array(initial.length),
          t: 0,
        };
      });
      for (let step = 1; step <= 3; step++) {
        const gradients = specs.map(({ initial }, i) => {
          const skipped = step === 2 && i % 3 === 1;
          return skipped ? undefined : normals(initial.length, 100 * step + i);
        });
        for (const [i, gradient] of gradients.entries()) {
          if (!gradient) continue;
          const tensor = engine.fromArray(gradient, [gradient.length]);
          engine.addInPlace(set.parameters[i]!.grad, tensor);
          engine.release(tensor);
        }
        const all = await engine.readGradients(set);
        const norm = await engine.optimizerStep(set, state, { ...STEP, maxGradNorm: 0.5 })();
        norms.push(norm);
        expect(Math.abs(norm / gradientNorm(all) - 1)).toBeLessThan(1e-12);
        const scale = clipScale(norm, 0.5);
        for (const [i, gradient] of gradients.entries()) {
          const { values, m, v } = plain[i]!;
          if (gradient) applyAdamW(values, gradient, m, v, { ...STEP, maxGradNorm: 0.5, step: ++plain[i]!.t }, scale);
        }
        engine.zeroGradients(set);
      }
      const join = (parts: Float32Array[]) => parts.flatMap((part) => [...part]);
      const moments = await engine.readOptimizerState(set, state);
      expect([...(await engine.readParameters(set))]).toEqual(join(plain.map(({ values }) => values)));
      expect([...moments.m!]).toEqual(join(plain.map(({ m }) => m)));
      expect([...moments.v!]).toEqual(join(plain.map(({ v }) => v)));
      expect([...moments.steps!]).toEqual(plain.map(({ t }) => t));
      engine.releaseOptimizerState(set, state);
      engine.releaseParameters(set);
    }
    expect(norms.slice(3, 6)).toEqual(norms.slice(0, 3));
    expect(norms.slice(6)).toEqual(norms.slice(0, 3));
  });

  it('gives the moments back, and refuses a state that was released', () => {
    const { engine } = engines[1]!;
    const set = engine.createParameters([{ name: 'p', shape: [1000], initial: new Float32Array(1000) }]);
    const before = engine.memory().bytesInUse;
    const state = engine.createOptimizerState(set, 'adamw');
    expect(engine.memory().bytesInUse).toBeGreaterThanOrEqual(before + 8000);
    engine.releaseOptimizerState(set, state);
    expect(engine.memory().bytesInUse).toBe(before);
    expect(() => engine.optimizerStep(set, state, { ...STEP, maxGradNorm: 0 })).toThrow(EngineError);
    engine.releaseParameters(set);
  });

  it('leaves everything as it was when the norm is not finite', async () => {
    const { engine } = engines[1]!;
    const set = engine.createParameters([{ name: 'p', shape: [9], initial: normals(9, 1) }]);
    const state = engine.createOptimizerState(set, 'adamw');
    const broken = engine.fromArray(Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8, Number.NaN]), [9]);
    engine.addInPlace(set.parameters[0]!.grad, broken);
    expect(await engine.optimizerStep(set, state, { ...STEP, maxGradNorm: 1 })()).toBeNaN();
    expect(await engine.readParameters(set)).toEqual(normals(9, 1));
    expect((await engine.readOptimizerState(set, state)).steps).toEqual(new Float32Array(1));
  });
});
