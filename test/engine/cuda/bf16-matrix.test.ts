import { describe, expect, it } from 'vitest';
import { Bf16Matrix } from '../../../src/engine/cuda/bf16-matrix.js';
import type { DevicePointer } from '../../../src/engine/cuda/launch.js';
import type { Product } from '../../../src/engine/cuda/matrix-products.js';
import { DeviceAllocator } from '../../../src/engine/cuda/memory.js';
import { TensorStore } from '../../../src/engine/cuda/tensor-store.js';
import type { DeviceRows } from '../../../src/engine/cuda/tensors.js';
import { FakeMemory } from './fake-memory.js';

const at = (address: number, rows: number, columns: number, ld: number, type: DeviceRows['type'] = 'bf16') => ({
  ...{ address: address as DevicePointer, rows, columns, ld, type },
});

function setUp(rows: number, columns: number, spare: number) {
  const products: Product[] = [];
  const copies: number[][] = [];
  const nothing = (): void => {};
  const allocator = new DeviceAllocator(new FakeMemory(2 ** 30));
  const store = new TensorStore(
    {
      driver: {
        ...{ copy: nothing, copyFromPeer: nothing, fillBytes: nothing, clearRows: nothing },
        copyRows: (...values) => {
          copies.push(values.slice(1, 2).concat(values.slice(3)));
        },
      },
      kernels: { multiprocessors: 1, hasWarpgroups: false, launch: nothing },
      allocator,
      products: { run: (product) => products.push(product) },
      staging: { upload: nothing, download: () => Promise.reject() } as never,
    },
    { rematerialize: true },
  );
  return { matrix: new Bf16Matrix(store, rows, columns, spare), products, copies, allocator };
}

/** Rows 10.. of a matrix [40, 13] with 16 spare columns: rows of 16 + 16 elements. */
describe('Bf16Matrix', () => {
  const x = at(4096, 5, 13, 64);
  const y = at(8192, 5, 6, 8);

  it('multiplies its rows alone, or with the adapter beside them', () => {
    const { matrix, products } = setUp(40, 13, 16);
    const b = matrix.address(10);
    expect(b).toBe(matrix.address(0) + 10 * 64);
    matrix.product(10, x, y);
    matrix.product(10, x, { ...y, type: 'f32' }, 16);
    const operands = { m: 5, n: 6, a: 4096, lda: 64, b, ldb: 32, transB: true, d: 8192, ldd: 8 };
    expect(products).toEqual([
      { ...operands, k: 13, type: 'bf16' },
      { ...operands, k: 32, type: 'f32' },
    ]);
  });

  it('multiplies by the transposed rows, adds to what is there, and gives the gradient of u alone', () => {
    const { matrix, products } = setUp(40, 13, 16);
    matrix.transposedProduct(10, y, x, 0, 1);
    matrix.transposedProduct(10, y, x, 16);
    matrix.adapterProduct(10, y, at(4096, 5, 16, 16));
    const b = matrix.address(10);
    const operands = { m: 5, k: 6, a: 8192, lda: 8, ldb: 32, d: 4096 };
    expect(products).toEqual([
      { ...operands, b, n: 13, ldd: 64, beta: 1 },
      { ...operands, b, n: 32, ldd: 64, beta: 0 },
      { ...operands, b: b + 2 * 16, n: 16, ldd: 16, beta: 0 },
    ]);
  });

  it('moves to a wider place for a larger adapter, and tells the ones that lay in it', () => {
    const { matrix, copies, allocator } = setUp(40, 13, 16);
    let told = 0;
    matrix.adapters.set(0, { version: 1, invalidate: () => told++, dispose: () => {} });
    const before = matrix.address(0);
    matrix.reserveAdapter(16);
    expect([told, matrix.address(0), matrix.adapterAt(1).ld]).toEqual([0, before, 32]);
    matrix.reserveAdapter(32);
    expect([told, matrix.adapterAt(1)]).toEqual([1, { address: matrix.address(1) + 2 * 16, ld: 48 }]);
    // The new row stride, the old one, bytes of a row without its adapter, rows.
    expect(copies).toEqual([[96, 64, 32, 40]]);
    expect(allocator.memory().bytesInUse).toBe(matrix.bytes);
    expect(matrix.bytes).toBeGreaterThanOrEqual(40 * 96);
    matrix.free();
    expect(allocator.memory().bytesInUse).toBe(0);
  });
});
