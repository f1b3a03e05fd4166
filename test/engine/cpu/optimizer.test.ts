import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AdamStep,
  AdamW8bitState,
  applyAdamW,
  applyAdamW8bit,
  clipScale,
  gradientNorm,
} from '../../../src/engine/cpu/optimizer.js';
import { EngineError } from '../../../src/errors.js';
import { DynamicMap } from '../../../src/formats/dynamic-map.js';
import { MersenneTwister } from '../../../src/random.js';

const base: AdamStep = {
  kind: 'adamw',
  step: 1,
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.99,
  eps: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 0,
};

function normals(length: number, seed: number, scale = 1): Float32Array {
  const random = new MersenneTwister(seed);
  return Float32Array.from({ length }, () => scale * random.nextNormal());
}

describe('gradientNorm and clipScale', () => {
  it('are those of clip_grad_norm_', () => {
    expect(gradientNorm(Float32Array.from([3, 4]))).toBe(5);
    expect(clipScale(5, 1)).toBe(1 / (5 + 1e-6));
    expect(clipScale(0.5, 1)).toBe(1);
    expect(clipScale(5, 0)).toBe(1);
  });

  it('does not overflow where float32 would', () => {
    expect(gradientNorm(Float32Array.from([3e30, 4e30]))).toBeCloseTo(5e30, -25);
  });

  it('gives NaN for a broken norm, and then nothing moves', () => {
    expect(clipScale(Number.NaN, 1)).toBeNaN();
    expect(clipScale(Infinity, 0)).toBeNaN();
    const values = Float32Array.from([1, 2]);
    const grads = Float32Array.from([Number.NaN, 1]);
    const m = new Float32Array(2);
    applyAdamW(values, grads, m, new Float32Array(2), base, clipScale(gradientNorm(grads), 1));
    const state = new AdamW8bitState([2]);
    applyAdamW8bit(values, grads, state, base, clipScale(gradientNorm(grads), 1));
    expect([...values, ...m, ...state.m]).toEqual([1, 2, 0, 0, 0, 0]);
  });
});

describe('applyAdamW', () => {
  it('gives what torch.optim.AdamW gives after five steps', () => {
    const values = Float32Array.from([0.5, -1.25, 3, 1e-3]);
    const m = new Float32Array(4);
    const v = new Float32Array(4);
    for (let t = 0; t < 5; t++) {
      const grads = Float32Array.from([0.1 * (t + 1), -2 + t, 1e-4, 3 - t * t]);
      applyAdamW(values, grads, m, v, { ...base, step: t + 1 }, 1);
    }
    expect([...m]).toEqual([0.13144099712371826, 0.08588001132011414, 4.0950999391498044e-5, -1.5783699750900269]);
    expect([...v]).toEqual([0.00545026920735836, 0.0980268269777298, 4.900995165257882e-10, 2.181466579437256]);
    const torch = [0.4492153823375702, -1.2157411575317383, 2.9351348876953125, -0.015861619263887405];
    values.forEach((value, i) => {
      expect(Math.abs(value / torch[i]! - 1)).toBeLessThan(2e-7);
    });
  });

  it('scales gradients as if they came scaled', () => {
    const [a, b] = [normals(100, 1), normals(100, 1)];
    const grads = normals(100, 2);
    const moments = () => [new Float32Array(100), new Float32Array(100)] as const;
    applyAdamW(a, grads, ...moments(), base, 0.25);
    applyAdamW(
      b,
      grads.map((g) => g * 0.25),
      ...moments(),
      base,
      1,
    );
    expect(a).toEqual(b);
  });
});

describe('DynamicMap', () => {
  it('has the values of bitsandbytes', () => {
    const signed = new DynamicMap(true).values;
    expect([signed[0], signed[127], signed[128], signed[255]]).toEqual([
      -0.992968738079071, 0, 5.500000384017767e-7, 1,
    ]);
    const unsigned = new DynamicMap(false).values;
    expect([unsigned[0], unsigned[1], unsigned[128], unsigned[254], unsigned[255]]).toEqual([
      0, 3.2500003044333425e-7, 0.11054687201976776, 0.9964843988418579, 1,
    ]);
    for (const values of [signed, unsigned]) expect(values.every((x, i) => i === 0 || x > values[i - 1]!)).toBe(true);
  });
});

describe('applyAdamW8bit', () => {
  const SIZE = 4096 + 100;

  it('codes are the nearest of the map, block by block', () => {
    const state = new AdamW8bitState([SIZE]);
    const grads = normals(SIZE, 5).map((g, i) => g * 10 ** -(i % 9));
    applyAdamW8bit(new Float32Array(SIZE), grads, state, base, 1);
    const maps = { m: new DynamicMap(true).values, v: new DynamicMap(false).values };
    for (let first = 0; first < SIZE; first += 256) {
      const block = grads.subarray(first, first + 256);
      const moments = { m: block.map((g) => (1 - base.beta1) * g), v: block.map((g) => (1 - base.beta2) * g * g) };
      const check = (values: Float32Array, scales: Float32Array, codes: Uint8Array, map: Float32Array) => {
        const scale = values.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0);
        expect(Math.abs(scales[first / 256]! / scale - 1)).toBeLessThan(1e-6);
        values.forEach((x, i) => {
          const best = map.reduce((least, value) => Math.min(least, Math.abs(x / scale - value)), Infinity);
          const code = codes[first + i]!;
          const wrongSign = x < 0 && Math.abs(x / scale) <= map[128]! / 2;
          if (wrongSign) expect(map[code]).toBeLessThan(0);
          else expect(Math.abs(x / scale - map[code]!)).toBeLessThanOrEqual(best + 1e-7);
        });
      };
      check(moments.m, state.scalesM, state.codesM, maps.m);
      check(moments.v, state.scalesV, state.codesV, maps.v);
    }
  });

  it('makes the first step from unrounded moments', () => {
    const [a, b] = [normals(SIZE, 3), normals(SIZE, 3)];
    const grads = normals(SIZE, 4, 0.1);
    applyAdamW8bit(a, grads, new AdamW8bitState([SIZE]), base, 1);
    // At step 1 the moments of both are g(1-β1) and g²(1-β2); only the place of the decay differs.
    const options = { ...base, weightDecay: 0 };
    applyAdamW(b, grads, new Float32Array(SIZE), new Float32Array(SIZE), options, 1);
    const decay = 1 - base.learningRate * base.weightDecay;
    a.forEach((value, i) => {
      expect(Math.abs(value - b[i]! * decay)).toBeLessThan(1e-6);
    });
  });

  it('keeps 32-bit moments below 4096 elements and starts a block at each parameter', () => {
    const state = new AdamW8bitState([4095, 4097, 10, 4096]);
    expect([state.m.length, state.codesM.length, state.scalesM.length]).toEqual([4105, 8193, 17 + 16]);
    const sizes = [4095, 4097, 10, 4096];
    const total = sizes.reduce((a, b) => a + b);
    const together = normals(total, 6);
    const grads = normals(total, 7);
    const apart = together.slice();
    for (let step = 1; step <= 3; step++) applyAdamW8bit(together, grads, state, { ...base, step }, 0.5);
    let offset = 0;
    for (const size of sizes) {
      const own = new AdamW8bitState([size]);
      const part = [offset, offset + size] as const;
      for (let step = 1; step <= 3; step++) {
        applyAdamW8bit(apart.subarray(...part), grads.subarray(...part), own, { ...base, step }, 0.5);
      }
      offset += size;
    }
    expect(together).toEqual(apart);
  });

  it('follows the 32-bit optimizer over many steps', () => {
    const [a, b] = [normals(SIZE, 8), normals(SIZE, 8)];
    const state = new AdamW8bitState([SIZE]);
    const [m, v] = [new Float32Array(SIZE), new Float32Array(SIZE)];
    const start = a.slice();
    // A quadratic bowl: both must reach its bottom on nearly the same way.
    for (let step = 1; step <= 60; step++) {
      const options = { ...base, step, weightDecay: 0 };
      applyAdamW8bit(a, a.slice(), state, options, 1);
      applyAdamW(b, b.slice(), m, v, options, 1);
    }
    const distance = (x: Float32Array, y: Float32Array) => gradientNorm(x.map((value, i) => value - y[i]!));
    expect(distance(a, b)).toBeLessThan(0.05 * distance(start, b));
    expect(distance(a, b)).toBeGreaterThan(0);
  });

  it('survives blocks without any gradient, such as LoRA A at the first step', () => {
    const values = normals(SIZE, 9);
    const before = values.slice();
    const state = new AdamW8bitState([SIZE]);
    for (let step = 1; step <= 2; step++) {
      applyAdamW8bit(values, new Float32Array(SIZE), state, { ...base, step, weightDecay: 0 }, 1);
    }
    expect(values).toEqual(before);
    applyAdamW8bit(values, normals(SIZE, 10), state, { ...base, step: 3 }, 1);
    expect(values.every(Number.isFinite)).toBe(true);
    expect(values.every((value, i) => value !== before[i])).toBe(true);
  });

  it('leaves out single gradients that are not finite', () => {
    for (const size of [300, SIZE]) {
      const values = normals(size, 11);
      const before = values.slice();
      const grads = normals(size, 12);
      grads[7] = Number.NaN;
      grads[8] = -Infinity;
      const state = new AdamW8bitState([size]);
      applyAdamW8bit(values, grads, state, base, 1);
      expect([values[7], values[8]]).toEqual([before[7], before[8]]);
      expect(values.every((value, i) => Number.isFinite(value) && (i === 7 || i === 8 || value !== before[i]))).toBe(
        true,
      );
    }
  });

  it('forgets the moments of such an element, and of no other', () => {
    for (const size of [300, SIZE]) {
      const state = new AdamW8bitState([size]);
      const values = normals(size, 11);
      applyAdamW8bit(values, new Float32Array(size).fill(1), state, base, 1);
      const grads = new Float32Array(size);
      grads[7] = Number.NaN;
      applyAdamW8bit(values, grads, state, { ...base, step: 2 }, 1);
      const map = new DynamicMap(true).values;
      const moment = (i: number) => (size < 4096 ? state.m[i]! : map[state.codesM[i]!]! * state.scalesM[0]!);
      expect(moment(7)).toBe(0);
      expect([moment(0), moment(6), moment(8)]).toEqual(Array(3).fill(expect.closeTo(0.09)));
    }
  });

  it('keeps values and moments where the norm is broken, and of parameters that sit a step out', () => {
    const sizes = [300, SIZE];
    const state = new AdamW8bitState(sizes);
    const values = normals(300 + SIZE, 13);
    const ones = new Float32Array(300 + SIZE).fill(1);
    applyAdamW8bit(values, ones, state, base, 1);
    const before = structuredClone({ values, ...state.toArrays() });
    applyAdamW8bit(values, ones, state, { ...base, step: 2 }, Number.NaN);
    applyAdamW8bit(values, ones, state, { ...base, step: 9 }, 1, [0, 0]);
    expect({ values, ...state.toArrays() }).toEqual(before);
    applyAdamW8bit(values, ones, state, { ...base, step: 9 }, 1, [0, 2]);
    expect(values.subarray(0, 300)).toEqual(before.values.subarray(0, 300));
    expect(values.subarray(300).every((value, i) => value !== before.values[300 + i])).toBe(true);
  });

  it('goes on bit by bit from saved arrays, and refuses those of another model', () => {
    fc.assert(
      fc.property(fc.nat(1000), (seed) => {
        const sizes = [40, SIZE];
        const total = SIZE + 40;
        const values = normals(total, seed);
        const state = new AdamW8bitState(sizes);
        applyAdamW8bit(values, normals(total, seed + 1), state, base, 1);
        const copy = values.slice();
        const restored = new AdamW8bitState(sizes);
        restored.fromArrays(structuredClone(state.toArrays()));
        applyAdamW8bit(values, normals(total, seed + 2), state, { ...base, step: 2 }, 1);
        applyAdamW8bit(copy, normals(total, seed + 2), restored, { ...base, step: 2 }, 1);
        expect(copy).toEqual(values);
        expect(restored.toArrays()).toEqual(state.toArrays());
      }),
      { numRuns: 5 },
    );
    const other = new AdamW8bitState([4096]);
    expect(() => other.fromArrays(new AdamW8bitState([8192]).toArrays())).toThrow(EngineError);
    expect(() => other.fromArrays({})).toThrow(/codesM as Uint8Array\(4096\), got nothing/);
    expect(() => other.fromArrays({ ...other.toArrays(), scalesM: new Float32Array(3) })).toThrow(
      /scalesM as Float32Array\(16\), got Float32Array\(3\)/,
    );
    expect(() => other.fromArrays({ ...other.toArrays(), m: new Uint8Array(0) })).toThrow(/got Uint8Array\(0\)/);
  });
});
