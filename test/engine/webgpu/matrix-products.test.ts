/** Products on subgroup matrices: when they are used, and that they are products of float32. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createWebgpuEngine } from '../../../src/engine/webgpu/create-webgpu.js';
import type { WebgpuWeight, WeightFormat } from '../../../src/engine/webgpu/frozen-weight.js';
import type { BufferRange, GpuAdapterInfo } from '../../../src/engine/webgpu/gpu-types.js';
import { MATRIX_TILES, tileFits } from '../../../src/engine/webgpu/matrix-products.js';
import { findUnit, MATRIX_FEATURES, type MatrixUnit } from '../../../src/engine/webgpu/matrix-unit.js';
import type { Product } from '../../../src/engine/webgpu/product.js';
import { planProduct, product } from '../../../src/engine/webgpu/products.js';
import { faultOf } from '../../../src/engine/webgpu/subgroup-matrices.js';
import type { TensorStore } from '../../../src/engine/webgpu/tensor-store.js';
import type { WebgpuEngine } from '../../../src/engine/webgpu/webgpu-engine.js';
import { bfloat16ToFloat32, float32ToBfloat16 } from '../../../src/formats/half-precision.js';
import { NF4_VALUES } from '../../../src/formats/nf4.js';
import { dropoutMask } from '../../../src/random.js';
import { leftOut } from '../../where.js';
import { FakeDevice } from './fake-device.js';
import { missingForSoftware, openTestEngine } from './open.js';

const nowhere = { buffer: {}, offset: 0, size: 0 } as unknown as BufferRange;
/** Of an NVIDIA card. */
const UNIT: MatrixUnit = {
  ...{ M: 16, N: 16, K: 16, subgroupSize: 32, maxThreads: 1024, maxWorkgroupBytes: 49152 },
  ...{ leastExtent: 64, packedBytes: 1 << 26 },
};

function planOf(
  m: number,
  n: number,
  k: number,
  { unit = UNIT, ...rest }: Partial<Product> & { unit?: MatrixUnit } = {},
) {
  return planProduct({ ...{ m, n, k }, a: { range: nowhere }, b: nowhere, c: { range: nowhere }, ...rest }, unit);
}

describe('the plan of a product on subgroup matrices', () => {
  it('takes large tiles where there are enough of them, splits a long k, and adds a bias once', () => {
    expect(planOf(4096, 4096, 4096)).toEqual({ matrixTile: MATRIX_TILES.large, splits: 1 });
    expect(planOf(512, 1024, 3072)).toEqual({ matrixTile: MATRIX_TILES.small, splits: 2 });
    expect(planOf(512, 1024, 3072, { bias: nowhere }).splits).toBe(1);
    expect(planOf(512, 1024, 512).splits).toBe(1);
  });

  it('leaves small, narrow and odd products to the plain kernels', () => {
    for (const [m, n, k] of [
      [63, 4096, 4096],
      [4096, 16, 4096],
      [4096, 4096, 32],
      [4096, 4098, 4096],
      [4096, 4096, 4098],
    ] as const)
      expect(planOf(m, n, k).matrixTile).toBeUndefined();
    const odd = { a: { range: nowhere, first: 2 } };
    expect(planOf(4096, 4096, 4096, odd).matrixTile).toBeUndefined();
    // Vectors of A are its columns here, which are read by four.
    expect(planOf(4098, 4096, 4096, { transA: true }).matrixTile).toBeUndefined();
    expect(planOf(4096, 4096, 4098, { transA: true }).matrixTile).toBe(MATRIX_TILES.large);
  });

  it('takes tiles that fit the workgroup memory and the registers', () => {
    // Two halves of both operands take more than one of a weight.
    const apple: MatrixUnit = { ...UNIT, M: 8, N: 8, K: 8, maxWorkgroupBytes: 32768 };
    expect(tileFits(MATRIX_TILES.large, apple, 1)).toBe(true);
    expect(planOf(4096, 4096, 4096, { unit: apple }).matrixTile).toBe(MATRIX_TILES.small);
    expect(planOf(4096, 4096, 4096, { unit: { ...apple, subgroupSize: 8 } }).matrixTile).toBe(MATRIX_TILES.tiny);
    expect(planOf(4096, 4096, 4096, { unit: { ...UNIT, maxWorkgroupBytes: 2048 } }).matrixTile).toBeUndefined();
    expect(planOf(4096, 4096, 4096, { unit: { ...UNIT, M: 24 } }).matrixTile).toBeUndefined();
  });
});

it('a product goes to the plain kernels where there is no memory to pack its operands', async () => {
  const device = new FakeDevice({ bindingBytes: 2 ** 30 });
  const engine = await createWebgpuEngine({ device, memoryBudget: 33 << 20 });
  const { store } = engine;
  store.matrices = UNIT;
  const launched: string[] = [];
  store.kernels.onLaunch = (name) => launched.push(name);
  const [a, b, c, u] = [1024, 1024, 1024, 16].map((columns) => store.create([1024, columns]));
  const low = { u: u!.range, b: store.create([16, 1024]).range, rank: 16, scale: 1 };
  const what = { m: 1024, n: 1024, k: 1024, a: a!, b: b!.range, c: c!, low };
  const held = store.memory.bytesInUse;
  product(store, what);
  expect(launched).toEqual(['product.wgsl', 'matrix-operand.wgsl', 'matrix-operand.wgsl', 'matrix-product.wgsl']);
  // Of 33 MiB; a, b and c take 12, and each of them packed 4.
  store.create([4352, 1024]);
  launched.length = 0;
  product(store, what);
  expect(launched).toEqual(['product.wgsl']);
  expect(store.memory.bytesInUse).toBe(held + (17 << 20));
  await engine.dispose();
});

describe('the unit of a device', () => {
  const config = (componentType: string, resultComponentType: string, M: number, N = M, K = M) => ({
    ...{ M, N, K, componentType, resultComponentType },
  });
  const device = (...features: string[]) => Object.assign(new FakeDevice(), { features: new Set(features) });
  const info = (...subgroupMatrixConfigs: object[]) => ({ subgroupMatrixConfigs }) as GpuAdapterInfo;

  it('is the largest of f16 with sums in f32', () => {
    const found = findUnit(
      device(...MATRIX_FEATURES),
      info(config('f16', 'f16', 32), config('u8', 'u32', 16), config('f16', 'f32', 8), config('f16', 'f32', 16)),
    );
    expect(found).toMatchObject({ M: 16, N: 16, K: 16, subgroupSize: 32, maxThreads: 256 });
    const few = { ...info(config('f16', 'f32', 8)), subgroupMinSize: 8, subgroupMaxSize: 8 };
    expect(findUnit(device(...MATRIX_FEATURES), few)).toMatchObject({ M: 8, subgroupSize: 8 });
  });

  it('or a reason why there is none', () => {
    expect(findUnit(device('subgroups'), info())).toBe('no shader-f16');
    expect(findUnit(device('subgroups', 'shader-f16'), info())).toBe('no chromium-experimental-subgroup-matrix');
    for (const configs of [
      [],
      [config('f16', 'f16', 16)],
      [config('f16', 'f32', 4)],
      [config('f16', 'f32', 16, 16, 4)],
    ])
      expect(findUnit(device(...MATRIX_FEATURES), info(...configs))).toBe('none of f16 with sums in f32');
    expect(findUnit(device(...MATRIX_FEATURES), {})).toBe('none of f16 with sums in f32');
  });
});

describe('the check of a device', () => {
  // Rows 7 and 70 are sums of what is not finite.
  const [rows, columns] = [80, 4];
  const plain = Float32Array.from({ length: rows * columns }, (_, i) => Math.cos(i));
  const sums = (changes: Readonly<Record<number, number>> = {}): Float32Array => {
    const found = plain.slice().fill(Number.NaN, 28, 32).fill(Number.POSITIVE_INFINITY, 280, 284);
    for (const [i, value] of Object.entries(changes)) found[Number(i)] = value;
    return found;
  };

  it('takes sums that are off by roundings', () => {
    expect(faultOf(sums(), plain, columns)).toBeUndefined();
    expect(faultOf(sums({ 0: 1 + 2 ** -20 }), plain, columns)).toBeUndefined();
  });

  it('finds what is off wherever it is, and NaN among sums that are right', () => {
    for (const i of [0, 100, plain.length - 1]) {
      expect(faultOf(sums({ [i]: plain[i]! + 1e-3 }), plain, columns)).toMatch(/differ from plain products by 1.0e-3/);
      for (const value of [Number.NaN, Number.NEGATIVE_INFINITY])
        expect(faultOf(sums({ [i]: value }), plain, columns), `${value} at ${i}`).toMatch(/differ from plain/);
    }
    // What follows a NaN does not hide it.
    expect(faultOf(sums({ 3: 9, 5: Number.NaN }), plain, columns)).toMatch(/differ from plain/);
  });

  it('finds sums that hide what is not finite, and that nothing was computed', () => {
    expect(faultOf(sums({ 30: 0 }), plain, columns)).toBe('1 of their sums are finite where a value is not');
    expect(faultOf(sums({ 282: 3e38, 283: 0 }), plain, columns)).toMatch(/^2 of their sums/);
    expect(faultOf(new Float32Array(plain.length), plain.slice().fill(0), columns)).toBe('the check computed nothing');
  });
});

const values = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i));

const cases = (): void => {
  let engine: WebgpuEngine;
  let store: TensorStore;
  beforeAll(async () => {
    engine = await openTestEngine();
    store = engine.store;
  }, 300_000);
  afterAll(() => engine.dispose());

  const unsupported = (skip: (why: string) => void): void => {
    if (!store.matrices) skip('this device has no subgroup matrices');
  };

  /** Runs a product and compares each element with Σ a(i)·b(i) and `rest`, by the sum of the magnitudes. */
  async function expectProduct(
    what: Omit<Product, 'a' | 'b' | 'c'> & Partial<Pick<Product, 'b'>>,
    a: Float32Array,
    b: Float32Array,
    rest: (row: number, column: number) => number = () => 0,
  ) {
    const { m, n, k, transA, transB } = what;
    const [x, y, out] = [store.fromArray(a, [a.length]), store.fromArray(b, [b.length]), store.create([m, n])];
    const whole = { ...what, a: { range: x.range }, b: what.b ?? y.range, c: { range: out.range } };
    expect(planProduct(whole, store.matrices).matrixTile).toBeDefined();
    product(store, whole);
    const found = await engine.read(out);
    let worst = 0;
    for (let i = 0; i < m * n; i++) {
      const [row, column] = [Math.floor(i / n), i % n];
      let sum = rest(row, column);
      let magnitude = Math.abs(sum);
      for (let j = 0; j < k; j++) {
        const term = a[transA ? j * m + row : row * k + j]! * b[transB ? column * k + j : j * n + column]!;
        sum += term;
        magnitude += Math.abs(term);
      }
      const off = Math.abs(found[i]! - sum) / Math.max(magnitude, Number.MIN_VALUE);
      worst = Number.isNaN(off) ? Number.POSITIVE_INFINITY : Math.max(worst, off);
    }
    for (const tensor of [x, y, out]) store.release(tensor);
    // A float32 sum of so many terms.
    expect(worst).toBeLessThan(2 ** -21);
  }

  it('has the accuracy of float32 for vectors of any scale, and zeros', async ({ skip }) => {
    unsupported(skip);
    const [m, n, k] = [36, 44, 72];
    for (const [transA, transB] of [
      [false, true],
      [true, false],
    ] as const) {
      const [a, b] = [values(m * k, 1), values(n * k, 2)];
      for (let row = 0; row < m; row++)
        for (let i = 0; i < k; i++) a[transA ? i * m + row : row * k + i]! *= row === 5 ? 0 : 2 ** (3 * (row - 18));
      for (let column = 0; column < n; column++)
        for (let i = 0; i < k; i++) b[transB ? column * k + i : i * n + column]! *= 2 ** -column;
      await expectProduct({ m, n, k, transA, transB }, a, b);
    }
  }, 300_000);

  it('is off by 2^-40 of the largest value of a vector at most, where that meets a zero', async ({ skip }) => {
    unsupported(skip);
    const [m, n, k] = [36, 44, 72];
    const [a, b] = [values(m * k, 1), values(n * k, 2)];
    for (let row = 0; row < m; row++) a[row * k + 5] = 2 ** row;
    for (let column = 0; column < n; column++) b[column * k + 5] = 0;
    const [x, y, out] = [store.fromArray(a, [m, k]), store.fromArray(b, [n, k]), store.create([m, n])];
    product(store, { m, n, k, a: x, b: y.range, transB: true, c: out });
    const found = await engine.read(out);
    for (let row = 0; row < m; row++)
      for (let column = 0; column < n; column++) {
        let [sum, most] = [0, 0];
        for (let j = 0; j < k; j++) {
          const [left, right] = [a[row * k + j]!, b[column * k + j]!];
          sum += left * right;
          most += (2 ** -21 * Math.abs(left) + 2 ** (row - 40)) * Math.abs(right);
        }
        expect(Math.abs(found[row * n + column]! - sum), `row ${row}, column ${column}`).toBeLessThan(most);
      }
    for (const tensor of [x, y, out]) store.release(tensor);
  }, 300_000);

  it('goes by blocks of rows and columns where packed operands take too much', async ({ skip }) => {
    unsupported(skip);
    const matrices = store.matrices!;
    store.matrices = { ...matrices, packedBytes: 1 };
    try {
      const [m, n, k] = [68, 72, 40];
      await expectProduct({ m, n, k, transB: true }, values(m * k, 1), values(n * k, 2));
    } finally {
      store.matrices = matrices;
    }
    // More of k than is packed at once.
    const long = 2 ** 14 + 8;
    await expectProduct({ m: 20, n: 4, k: long, transB: true }, values(20 * long, 1), values(4 * long, 2));
  }, 300_000);

  it('adds a bias and what is low-rank, masked or not', async ({ skip }) => {
    unsupported(skip);
    const [m, n, k, rank, scale, seed, dropout] = [36, 44, 40, 6, 0.5, 7, 0.3] as const;
    const [u, down, biases] = [values(m * rank, 3), values(rank * n, 4), values(n, 5)];
    const keys = Int32Array.from({ length: m }, (_, row) => Math.imul(row + 1, 0x9e3779b9));
    const mask = dropoutMask(keys, n, seed, dropout);
    const [tu, tDown] = [store.fromArray(u, [m * rank]), store.fromArray(down, [rank * n])];
    const share = (row: number, column: number): number => {
      let sum = 0;
      for (let i = 0; i < rank; i++) sum += scale * u[row * rank + i]! * down[i * n + column]!;
      return sum;
    };
    const low = { u: tu.range, b: tDown.range, rank, scale };
    const [a, b] = [values(m * k, 1), values(n * k, 2)];
    await store.withTable(biases, (bias) =>
      expectProduct({ m, n, k, low, bias }, a, b, (row, column) => biases[column]! + share(row, column)),
    );
    await store.withTable(keys, (rowKeys) =>
      expectProduct(
        { m, n, k, low: { ...low, mask: { dropout, seed, rowKeys } } },
        a,
        b,
        (row, column) => mask[row * n + column]! * share(row, column),
      ),
    );
    for (const tensor of [tu, tDown]) store.release(tensor);
  }, 300_000);

  const round = (x: number): number => bfloat16ToFloat32(float32ToBfloat16(Float32Array.of(x)))[0]!;

  /** A matrix as stored, and its values. */
  function weightOf(format: WeightFormat, rows: number, columns: number) {
    const size = rows * columns;
    const decoded = values(size, 2);
    let bytes: Uint8Array;
    let factors: Float32Array | undefined;
    if (format === 'nf4') {
      bytes = Uint8Array.from({ length: size / 2 }, (_, i) => Math.imul(i + 1, 0x9e3779b9) >>> 24);
      factors = values(size / 64, 4);
      for (let i = 0; i < size; i++) {
        const code = i % 2 === 0 ? bytes[i >> 1]! >>> 4 : bytes[i >> 1]! & 15;
        decoded[i] = round(Math.fround(NF4_VALUES[code]! * factors[Math.floor(i / 64)]!));
      }
    } else if (format === 'bf16') {
      const words = float32ToBfloat16(decoded);
      decoded.set(bfloat16ToFloat32(words));
      bytes = new Uint8Array(words.buffer);
    } else bytes = new Uint8Array(decoded.buffer);
    const place = (data: ArrayBufferView): BufferRange => {
      const range = store.memory.createFixed(data.byteLength);
      store.queue.upload(range, data);
      return range;
    };
    const part = { firstRow: 0, rows, values: place(bytes), factors: factors && place(factors) };
    const weight: WebgpuWeight = {
      ...{ name: format, shape: [rows, columns], dtype: 'bf16', rows, columns, format, parts: [part] },
      block: format === 'nf4' ? [1, 64] : [1, columns],
    };
    return { weight, part, decoded };
  }

  for (const format of ['f32', 'bf16', 'nf4'] as const) {
    it(`takes weights in ${format}`, async ({ skip }) => {
      unsupported(skip);
      const [rows, columns, m] = [48, 64, 36];
      const { weight, part, decoded } = weightOf(format, rows, columns);
      const b = { weight, part };
      await expectProduct({ m, n: rows, k: columns, transB: true, b }, values(m * columns, 1), decoded);
      await expectProduct({ m, n: columns, k: rows, b }, values(m * rows, 1), decoded);
      store.queue.flush();
      for (const range of [part.values, part.factors]) if (range) store.memory.freeFixed(range);
    }, 300_000);
  }

  it('keeps what is not finite, and only that', async ({ skip }) => {
    unsupported(skip);
    const [m, n, k] = [36, 44, 40];
    const [a, b] = [values(m * k, 1), values(n * k, 2)];
    const places = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const [row, value] of places.entries()) a[row * k + 3] = value;
    b[7 * k + 3] = Number.NaN;
    const [x, y, out] = [store.fromArray(a, [m, k]), store.fromArray(b, [n, k]), store.create([m, n])];
    product(store, { m, n, k, a: x, b: y.range, transB: true, c: out });
    const found = await engine.read(out);
    for (let i = 0; i < m * n; i++)
      expect(Number.isFinite(found[i]!), `row ${Math.floor(i / n)}, column ${i % n}`).toBe(
        Math.floor(i / n) >= places.length && i % n !== 7,
      );
    for (const tensor of [x, y, out]) store.release(tensor);
  }, 300_000);
};

const missing = missingForSoftware();
if (missing === undefined) describe('products on subgroup matrices, in software', cases);
else leftOut('products on subgroup matrices, in software', missing);
