/** The optimizer on the device against the one of the host, whose states it shares. */
import { afterAll, beforeAll, expect } from 'vitest';
import {
  AdamW8bitState,
  applyAdamW,
  applyAdamW8bit,
  clipScale,
  gradientNorm,
} from '../../../src/engine/cpu/optimizer.js';
import type { OptimizerArrays, OptimizerState, OptimizerStep } from '../../../src/engine/engine.js';
import type { ParameterSet } from '../../../src/engine/tensor.js';
import type { WebgpuEngine } from '../../../src/engine/webgpu/webgpu-engine.js';
import { EngineError } from '../../../src/errors.js';
import { WGSL } from '../../../src/generated/wgsl-kernels.js';
import { MersenneTwister } from '../../../src/random.js';
import { where } from '../../where.js';
import { expectSame, relativeError } from '../conformance/measure.js';
import { missingForSoftware, openTestEngine } from './open.js';

/** Moments of 8 bits from 4096 elements on; blocks and chunks that are full and that are cut, one with a single element. */
const SIZES = [3, 5000, 4097, 45, 4096];
const TOTAL = SIZES.reduce((sum, size) => sum + size, 0);
const OFFSETS = SIZES.map((_, i) => SIZES.slice(0, i).reduce((sum, size) => sum + size, 0));
const RATES = [1, 2, 0.5, 4, 1];
const TOUCHED = [
  [true, true, true, true, true],
  [true, false, true, false, true],
  [false, true, true, true, false],
];
const STEP = { learningRate: 1e-2, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 0.5 } as const;
const KINDS = ['adamw', 'adamw8bit'] as const;

const missing = missingForSoftware();
const { describe, it } = where(missing === undefined, missing ?? '');

/** Over many magnitudes, so that all parts of the 8-bit maps are used. */
function normals(seed: number, length = TOTAL): Float32Array {
  const random = new MersenneTwister(seed);
  return Float32Array.from({ length }, (_, i) => random.nextNormal() * 10 ** -(i % 9));
}

describe('the optimizer of webgpu', () => {
  let engine: WebgpuEngine;
  beforeAll(async () => {
    engine = await openTestEngine();
  });
  afterAll(() => engine.dispose());

  function parametersOf(values: Float32Array, sizes: readonly number[] = SIZES): ParameterSet {
    let at = 0;
    return engine.createParameters(
      sizes.map((size, i) => {
        const initial = values.slice(at, at + size);
        at += size;
        return { name: `p${i}`, shape: [1, size], initial };
      }),
    );
  }

  function setGradients(set: ParameterSet, gradients: Float32Array, touched: readonly boolean[]): void {
    engine.zeroGradients(set);
    for (const [i, { grad, offset, size, shape }] of set.parameters.entries()) {
      if (!touched[i]) continue;
      const tensor = engine.fromArray(gradients.subarray(offset, offset + size), shape);
      engine.addInPlace(grad, tensor);
      engine.release(tensor);
    }
  }

  function release(set: ParameterSet, state: OptimizerState): void {
    engine.releaseOptimizerState(set, state);
    engine.releaseParameters(set);
  }

  /** Gradients of parameters that are left out are not there. */
  const masked = (gradients: Float32Array, touched: readonly boolean[]): Float32Array =>
    gradients.map((g, at) => (touched[SIZES.findIndex((size, i) => at < OFFSETS[i]! + size)] ? g : 0));

  it('steps each parameter with its own count and rate: adamw', async () => {
    const [values, m, v] = [normals(1), new Float32Array(TOTAL), new Float32Array(TOTAL)];
    const set = parametersOf(values);
    const state = engine.createOptimizerState(set, 'adamw');
    const counts = SIZES.map(() => 0);
    for (const [seed, touched] of TOUCHED.entries()) {
      const gradients = masked(normals(seed + 2), touched);
      setGradients(set, gradients, touched);
      const options: OptimizerStep = { ...STEP, kind: 'adamw', learningRateFactors: RATES };
      const norm = await engine.optimizerStep(set, state, options)();
      const exact = gradientNorm(gradients);
      expect(Math.abs(norm / exact - 1)).toBeLessThan(1e-6);
      for (const [i, size] of SIZES.entries()) {
        if (!touched[i]) continue;
        const part = (flat: Float32Array) => flat.subarray(OFFSETS[i]!, OFFSETS[i]! + size);
        const step = { ...options, learningRate: STEP.learningRate * RATES[i]!, step: ++counts[i]! };
        applyAdamW(part(values), part(gradients), part(m), part(v), step, clipScale(exact, STEP.maxGradNorm));
      }
    }
    const arrays = await engine.readOptimizerState(set, state);
    expect(Object.keys(arrays)).toEqual(['steps', 'm', 'v']);
    expectSame(arrays.steps!, counts);
    expect(relativeError(arrays.m!, m)).toBeLessThan(1e-6);
    expect(relativeError(arrays.v!, v)).toBeLessThan(1e-6);
    expect(relativeError(await engine.readParameters(set), values)).toBeLessThan(1e-6);
    release(set, state);
  });

  /** A code on the border of two values may be either. */
  function expectCodes(actual: ArrayLike<number>, expected: Uint8Array): void {
    expect(actual.length).toBe(expected.length);
    let others = 0;
    for (let i = 0; i < expected.length; i++) {
      const apart = Math.abs(actual[i]! - expected[i]!);
      expect(apart).toBeLessThanOrEqual(1);
      others += apart;
    }
    expect(others).toBeLessThan(expected.length / 1000);
  }

  it('steps each parameter with its own count and rate: adamw8bit', async () => {
    const values = normals(1);
    const set = parametersOf(values);
    const state = engine.createOptimizerState(set, 'adamw8bit');
    const counts = SIZES.map(() => 0);
    const host = new AdamW8bitState(SIZES);
    for (const [seed, touched] of TOUCHED.entries()) {
      const gradients = masked(normals(seed + 2), touched);
      setGradients(set, gradients, touched);
      for (const i of SIZES.keys()) if (touched[i]) counts[i]!++;
      const options: OptimizerStep = { ...STEP, kind: 'adamw8bit', learningRateFactors: RATES };
      await engine.optimizerStep(set, state, options)();
      const steps = counts.map((count, i) => (touched[i] ? count : 0));
      const scale = clipScale(gradientNorm(gradients), STEP.maxGradNorm);
      applyAdamW8bit(values, gradients, host, { ...options, step: 0 }, scale, steps);
      const arrays = await engine.readOptimizerState(set, state);
      expectSame(arrays.steps!, counts);
      for (const name of ['codesM', 'codesV'] as const) expectCodes(arrays[name]!, host[name]);
      for (const name of ['scalesM', 'scalesV', 'm', 'v'] as const)
        expect(relativeError(arrays[name]!, host[name])).toBeLessThan(1e-6);
      expect(relativeError(await engine.readParameters(set), values)).toBeLessThan(1e-6);
      // From the same codes on, so that a border does not count twice.
      engine.writeOptimizerState(set, state, { steps: Float32Array.from(counts), ...host.toArrays() });
      engine.writeParameters(set, values);
    }
    release(set, state);
  });

  for (const kind of KINDS) {
    it(`gives back the state that it was given, and goes on from it bit by bit: ${kind}`, async () => {
      const touched = TOUCHED[0]!;
      const after: { values: Float32Array; arrays: OptimizerArrays }[] = [];
      let saved: { values: Float32Array; arrays: OptimizerArrays } | undefined;
      for (const isResumed of [false, true]) {
        const set = parametersOf(normals(1));
        const state = engine.createOptimizerState(set, kind);
        if (isResumed) {
          engine.writeParameters(set, saved!.values);
          engine.writeOptimizerState(set, state, saved!.arrays);
          const arrays = await engine.readOptimizerState(set, state);
          for (const [name, array] of Object.entries(saved!.arrays)) expectSame(arrays[name]!, array, name);
        } else {
          setGradients(set, normals(2), touched);
          await engine.optimizerStep(set, state, { ...STEP, kind })();
          saved = { values: await engine.readParameters(set), arrays: await engine.readOptimizerState(set, state) };
        }
        setGradients(set, normals(3), touched);
        await engine.optimizerStep(set, state, { ...STEP, kind })();
        after.push({
          values: await engine.readParameters(set),
          arrays: await engine.readOptimizerState(set, state),
        });
        release(set, state);
      }
      expectSame(after[1]!.values, after[0]!.values);
      for (const [name, array] of Object.entries(after[0]!.arrays)) expectSame(after[1]!.arrays[name]!, array, name);
    });

    it(`leaves everything as it was where a gradient is not finite: ${kind}`, async () => {
      const touched = TOUCHED[0]!;
      for (const spoilt of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const set = parametersOf(normals(1));
        const state = engine.createOptimizerState(set, kind);
        setGradients(set, normals(2), touched);
        await engine.optimizerStep(set, state, { ...STEP, kind })();
        const [values, arrays] = [await engine.readParameters(set), await engine.readOptimizerState(set, state)];
        const gradients = normals(3);
        gradients[TOTAL - 1] = spoilt;
        setGradients(set, gradients, touched);
        const norm = engine.optimizerStep(set, state, { ...STEP, kind });
        expect(await norm()).toBe(Math.abs(spoilt));
        expect(await norm()).toBe(Math.abs(spoilt));
        expectSame(await engine.readParameters(set), values);
        const now = await engine.readOptimizerState(set, state);
        for (const [name, array] of Object.entries(arrays)) expectSame(now[name]!, array, name);
        release(set, state);
      }
    });

    it(`refuses a state that does not fit, and keeps its own: ${kind}`, async () => {
      const set = parametersOf(normals(1));
      const state = engine.createOptimizerState(set, kind);
      const arrays = await engine.readOptimizerState(set, state);
      const last = Object.keys(arrays).at(-1)!;
      const ones = Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, array.slice().fill(1)]));
      const shorter = { ...ones, [last]: ones[last]!.subarray(1) };
      expect(() => engine.writeOptimizerState(set, state, shorter)).toThrow(EngineError);
      const now = await engine.readOptimizerState(set, state);
      for (const [name, array] of Object.entries(arrays)) expectSame(now[name]!, array, name);
      const other = KINDS.find((name) => name !== kind)!;
      expect(() => engine.optimizerStep(set, state, { ...STEP, kind: other })).toThrow(EngineError);
      release(set, state);
    });

    it(`steps a set without parameters: ${kind}`, async () => {
      const before = engine.memory().bytesInUse;
      const set = engine.createParameters([]);
      const state = engine.createOptimizerState(set, kind);
      expect(await engine.optimizerStep(set, state, { ...STEP, kind })()).toBe(0);
      const { steps } = await engine.readOptimizerState(set, state);
      expect(steps).toEqual(new Float32Array(0));
      release(set, state);
      expect(engine.memory().bytesInUse).toBe(before);
    });
  }

  it('sums the norm within 1e-6 of the exact one, whatever the magnitudes', async () => {
    const cases: Float32Array[] = [
      Float32Array.of(3e30, 4e30),
      Float32Array.of(3e-30, 4e-30),
      Float32Array.of(3e20, 1e10, 1e-20),
      Float32Array.of(1e10, 1e-20),
      new Float32Array(5),
      // One direction of rounding in all sums.
      new Float32Array(300_001).fill(1.2345678),
      normals(7, 100_003),
    ];
    for (const gradients of cases) {
      const set = parametersOf(gradients, [gradients.length]);
      const state = engine.createOptimizerState(set, 'adamw');
      setGradients(set, gradients, [true]);
      const norm = await engine.optimizerStep(set, state, { ...STEP, kind: 'adamw' })();
      const exact = gradientNorm(gradients);
      if (exact === 0) expect(norm).toBe(0);
      else expect(Math.abs(norm / exact - 1)).toBeLessThan(1e-6);
      release(set, state);
    }
  });

  it('joins the partial sums of many millions of gradients', async () => {
    const { store } = engine;
    for (const count of [1, 1024, 1025, 5860]) {
      // Three sums and the bits of the largest, which is 1.
      const sums = Float32Array.from({ length: 4 * count }, (_, i) => [1 + (Math.floor(i / 4) % 7), 0, 0, 1][i % 4]!);
      const partials = store.fromArray(sums, [count, 4]);
      const norm = store.create([8]);
      const bindings = { norm: norm.range, partials: partials.range };
      store.kernels.launch(WGSL.clipScale, [1], { ...bindings, count, max_norm: 0.5 });
      const [sum, , , top, clip] = await store.download(norm)();
      const exact = sums.reduce((all, value, i) => (i % 4 === 0 ? all + value : all), 0);
      expect([sum, top]).toEqual([exact, 1]);
      expect(Math.abs((clip! * (Math.sqrt(exact) + 1e-6)) / 0.5 - 1)).toBeLessThan(1e-6);
      for (const tensor of [partials, norm]) store.release(tensor);
    }
  });
});
