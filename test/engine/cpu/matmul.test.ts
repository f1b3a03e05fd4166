import { afterAll, describe, expect, it } from 'vitest';
import { CpuRuntime } from '../../../src/engine/cpu/cpu-runtime.js';
import type { Matmul } from '../../../src/engine/cpu/matmul.js';
import { StoredWeight } from '../../../src/engine/cpu/stored-weight.js';
import { EngineError } from '../../../src/errors.js';
import type { DType } from '../../../src/formats/weight-source.js';
import { MersenneTwister } from '../../../src/random.js';

const one = new CpuRuntime({ threads: 1 });
const two = new CpuRuntime({ threads: 2 });
afterAll(() => Promise.all([one.dispose(), two.dispose()]));

const forms = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;

interface Case {
  m: number;
  n: number;
  k: number;
  transA?: boolean;
  transB?: boolean;
  alpha?: number;
  beta?: number;
  /** Added to each row distance. */
  pad?: number;
  stored?: DType;
  bRow?: number;
  bColumn?: number;
}

/** The number that 16 stored bits stand for, by the definition of the format. */
function decode(dtype: DType, bits: number): number {
  const fractionBits = dtype === 'f16' ? 10 : 7;
  const bias = dtype === 'f16' ? 15 : 127;
  const sign = bits & 0x8000 ? -1 : 1;
  const fraction = (bits & ((1 << fractionBits) - 1)) / 2 ** fractionBits;
  const exponent = (bits & 0x7fff) >> fractionBits;
  if (exponent === 2 * bias + 1) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

/** A weight with small random numbers, and its numbers. */
function randomWeight(runtime: CpuRuntime, shape: number[], stored: DType, seed: number): [StoredWeight, Float32Array] {
  const random = new MersenneTwister(seed);
  const weight = new StoredWeight(runtime, 'w', shape, stored);
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  if (stored === 'f32') {
    for (let i = 0; i < values.length; i++) values[i] = random.nextNormal();
    new Float32Array(weight.buffer).set(values);
  } else {
    const bits = new Uint16Array(weight.buffer);
    // Exponents from 2⁻³ to 2⁰, either sign, any fraction.
    const [low, span] = stored === 'bf16' ? [124 << 7, 4 << 7] : [12 << 10, 4 << 10];
    for (let i = 0; i < bits.length; i++) {
      bits[i] = (low + (random.nextUint32() % span)) | (random.nextUint32() & 1 ? 0x8000 : 0);
      values[i] = decode(stored, bits[i]!);
    }
  }
  return [weight, values];
}

function place(runtime: CpuRuntime, values: Float32Array): number {
  const ptr = runtime.alloc(4 * values.length);
  runtime.f32(ptr, values.length).set(values);
  return ptr;
}

/** Runs a case; gives c, its worst error (unless `verify` is false), and whether anything around c was changed. */
function run(
  runtime: CpuRuntime,
  spec: Case,
  verify = true,
): { got: Uint8Array; worst: number; changedAround: boolean } {
  const { m, n, k, transA = false, transB = false, alpha = 1, beta = 0, pad = 0, stored, bRow = 0, bColumn = 0 } = spec;
  const random = new MersenneTwister(m * 1009 + n * 31 + k);
  const uniform = (length: number): Float32Array => {
    const values = new Float32Array(length);
    for (let i = 0; i < length; i++) values[i] = 2 * random.nextFloat() - 1;
    return values;
  };
  const lda = (transA ? m : k) + pad;
  const ldc = n + 2 * pad;
  const bShape = [(transB ? n : k) + bRow, (transB ? k : n) + bColumn + (stored ? 0 : pad)];
  const ldb = bShape[1]!;
  const aValues = uniform((transA ? k : m) * lda);
  const a = place(runtime, aValues);
  let b: number | StoredWeight;
  let bValues: Float32Array;
  if (stored) {
    [b, bValues] = randomWeight(runtime, bShape, stored, 7);
  } else {
    bValues = uniform(bShape[0]! * ldb);
    b = place(runtime, bValues);
  }
  const before = beta === 0 ? new Float32Array(m * ldc + 16).fill(NaN) : uniform(m * ldc + 16);
  const c = place(runtime, before);
  const product: Matmul = { m, n, k, a, lda, transA, b, transB, c, ldc, alpha, beta };
  runtime.matmul(stored ? { ...product, bRow, bColumn } : { ...product, ldb });
  const after = runtime.f32(c, before.length).slice();
  let worst = 0;
  let changedAround = false;
  const got = new Float32Array(m * n);
  for (let i = 0; i < before.length; i++) {
    const row = Math.floor(i / ldc);
    const column = i % ldc;
    if (row >= m || column >= n) {
      changedAround ||= !Object.is(after[i], before[i]);
      continue;
    }
    got[row * n + column] = after[i]!;
    if (!verify) continue;
    let sum = 0;
    let size = 0;
    for (let p = 0; p < k; p++) {
      const x = transA ? aValues[p * lda + row]! : aValues[row * lda + p]!;
      const at = transB ? (bRow + column) * ldb + bColumn + p : (bRow + p) * ldb + bColumn + column;
      sum += x * bValues[at]!;
      size += Math.abs(x * bValues[at]!);
    }
    const expected = alpha * sum + (beta === 0 ? 0 : beta * before[i]!);
    const scale = Math.abs(alpha) * size + (beta === 0 ? 0 : Math.abs(beta * before[i]!));
    const error = Math.abs(after[i]! - expected) / (scale || 1);
    if (!(error <= worst)) worst = error;
  }
  for (const ptr of [a, c]) runtime.free(ptr);
  if (typeof b === 'number') runtime.free(b);
  else b.release();
  return { got: new Uint8Array(got.buffer), worst, changedAround };
}

/** Rounding of a float32 sum, relative to the sum of magnitudes: half an ulp for each of the additions of one lane. */
const bound = (k: number): number => 2 ** -24 * (Math.min(k, 384) + Math.ceil(k / 384) + 3);

function check(spec: Case): void {
  const { worst, changedAround } = run(one, spec);
  if (!(worst <= bound(spec.k)) || changedAround) {
    throw new Error(`${JSON.stringify(spec)}: error ${worst} of ${bound(spec.k)}, wrote outside c: ${changedAround}`);
  }
}

describe('matmul', () => {
  it('agrees with plain loops at odd sizes in every form', () => {
    const sizes = [1, 3, 7, 17, 129];
    for (const m of sizes) {
      for (const n of sizes) {
        for (const k of sizes) for (const [transA, transB] of forms) check({ m, n, k, transA, transB });
      }
    }
  });

  it('agrees with row distances, alpha and beta', () => {
    for (const [m, n, k] of [
      [1, 9, 5],
      [5, 33, 40],
      [4, 16, 100],
      [13, 8, 6],
      [50, 70, 400],
    ] as const) {
      for (const [transA, transB] of forms) {
        check({ m, n, k, transA, transB, pad: 3, alpha: -0.5, beta: 2 });
        check({ m, n, k, transA, transB, pad: 5, alpha: 1, beta: 1 });
        check({ m, n, k, transA, transB, pad: 1, alpha: 3, beta: 0 });
      }
    }
  });

  it('agrees across the blocks of k and the widest tiles', () => {
    for (const k of [383, 384, 385, 769, 1031])
      for (const [transA, transB] of forms) check({ m: 11, n: 21, k, transA, transB, beta: 1 });
    for (const [transA, transB] of forms) check({ m: 20, n: 523, k: 50, transA, transB });
  });

  it('agrees with frozen weights in every stored format, whole and in part', () => {
    for (const stored of ['f32', 'bf16', 'f16'] as const) {
      for (const m of [1, 5, 8, 9, 40]) {
        for (const [transA, transB] of forms) {
          check({ m, n: 37, k: 61, transA, transB, stored });
          check({ m, n: 261, k: 400, transA, transB, stored, bRow: 3, bColumn: 5, beta: 1, pad: 1 });
        }
      }
    }
    // Rows longer than the area that they are staged in.
    check({ m: 2, n: 3, k: 20_011, transB: true, stored: 'bf16' });
  });

  it('gives the same bits with one thread and with two', async () => {
    await two.ready;
    for (const stored of [undefined, 'bf16'] as const) {
      for (const [m, n, k] of [
        [1, 1030, 700],
        [3, 517, 1000],
        [200, 160, 64],
        [131, 257, 519],
        [600, 16, 800],
        [9, 700, 390],
      ] as const) {
        for (const [transA, transB] of forms) {
          const spec = { m, n, k, transA, transB, beta: 0.5, ...(stored && { stored }) };
          expect(Buffer.compare(run(two, spec, false).got, run(one, spec, false).got)).toBe(0);
        }
      }
    }
  });

  it('handles empty extents', () => {
    const c = place(one, Float32Array.of(1, 2, 3, 4));
    const a = one.alloc(64);
    one.matmul({ m: 2, n: 2, k: 0, a, b: a, c, beta: 2 });
    expect([...one.f32(c, 4)]).toEqual([2, 4, 6, 8]);
    one.matmul({ m: 2, n: 2, k: 0, a, b: a, c, transB: true });
    expect([...one.f32(c, 4)]).toEqual([0, 0, 0, 0]);
    one.matmul({ m: 0, n: 2, k: 3, a, b: a, c });
    one.matmul({ m: 2, n: 0, k: 3, a, b: a, c });
  });

  it('refuses extents and row distances that do not fit', () => {
    const weight = new StoredWeight(one, 'w', [4, 8], 'f32');
    const p = { a: 65536, c: 65536, b: 65536, m: 2, n: 3, k: 4 };
    for (const [change, message] of [
      [{ lda: 3 }, /lda 3 is shorter/],
      [{ ldb: 2 }, /ldb 2 is shorter/],
      [{ ldc: 2 }, /ldc 2 is shorter/],
      [{ m: -1 }, /integers/],
      [{ k: 0.5 }, /integers/],
      [{ b: weight, bRow: 1 }, /rows 1\.\.5.* w \[4,8\]/],
      [{ b: weight, n: 9 }, /columns 0\.\.9/],
    ] as const) {
      expect(() => one.matmul({ ...p, ...change })).toThrow(EngineError);
      expect(() => one.matmul({ ...p, ...change })).toThrow(message);
    }
  });
});

describe('widening', () => {
  it.each(['bf16', 'f16'] as const)('is exact for all 65536 numbers of %s', (stored) => {
    const weight = new StoredWeight(one, 'all', [65536], stored);
    new Uint16Array(weight.buffer).set(Array.from({ length: weight.rows * weight.columns }, (_, i) => i));
    const target = one.alloc(4 * 65536);
    weight.widenRows(0, 1, target);
    const got = one.f32(target, 65536);
    const wrong: number[] = [];
    for (let bits = 0; bits < 65536; bits++) if (!Object.is(got[bits], decode(stored, bits))) wrong.push(bits);
    expect(wrong).toEqual([]);
  });

  it('gathers rows of any length', () => {
    for (const stored of ['f32', 'bf16', 'f16'] as const) {
      for (const columns of [1, 7, 8, 33, 150_001]) {
        const [weight, values] = randomWeight(one, [5, columns], stored, 3);
        const ids = [4, 0, 4, 2];
        const target = one.alloc(4 * ids.length * columns);
        weight.gatherRows(ids, target);
        const expected = new Float32Array(ids.length * columns);
        for (const [i, id] of ids.entries())
          expected.set(values.subarray(id * columns, (id + 1) * columns), i * columns);
        expect(Buffer.compare(one.u8(target, 4 * expected.length), new Uint8Array(expected.buffer))).toBe(0);
        one.free(target);
        weight.release();
      }
    }
  });
});
