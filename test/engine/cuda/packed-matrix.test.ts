import { describe, expect, it } from 'vitest';
import { E4m3Matrix } from '../../../src/engine/cuda/e4m3-matrix.js';
import type { DevicePointer, Grid, Kernel } from '../../../src/engine/cuda/launch.js';
import type { Product } from '../../../src/engine/cuda/matrix-products.js';
import { DeviceAllocator } from '../../../src/engine/cuda/memory.js';
import { Nf4Matrix } from '../../../src/engine/cuda/nf4-matrix.js';
import { TensorStore } from '../../../src/engine/cuda/tensor-store.js';
import type { DeviceRows } from '../../../src/engine/cuda/tensors.js';
import { EngineError } from '../../../src/errors.js';
import { FakeMemory } from './fake-memory.js';

const at = (address: number, rows: number, columns: number, ld: number, type: DeviceRows['type'] = 'bf16') => ({
  ...{ address: address as DevicePointer, rows, columns, ld, type },
});
const FORMAT = { blockSize: 64, nestedBlockSize: 256 };

/** @param total bytes of the card */
function setUp(total = 2 ** 30) {
  const products: Product[] = [];
  const launches: { name: string; grid: Grid; parameters: Record<string, unknown> }[] = [];
  const nothing = (): void => {};
  const allocator = new DeviceAllocator(new FakeMemory(total));
  const launch = ({ name }: Kernel<never>, grid: Grid, parameters: unknown) =>
    launches.push({ name, grid, parameters: parameters as Record<string, unknown> });
  const store = new TensorStore(
    {
      driver: { copy: nothing, copyFromPeer: nothing, fillBytes: nothing, clearRows: nothing, copyRows: nothing },
      kernels: { multiprocessors: 1, hasWarpgroups: false, launch },
      allocator,
      products: { run: (product) => products.push(product) },
      staging: { upload: nothing, download: () => Promise.reject() } as never,
    },
    { rematerialize: true },
  );
  return { store, allocator, products, launches };
}

/** Rows 10.. of a matrix [40, 13] with room for an adapter of 16 columns: widened rows of 16 + 16 elements. */
describe('PackedMatrix', () => {
  const x = at(4096, 5, 13, 64);
  const y = at(8192, 5, 6, 8);
  const prepare = () => {
    const world = setUp();
    const matrix = new Nf4Matrix(world.store, 40, 13, { maxParts: 1, format: FORMAT });
    matrix.reserveAdapter(16);
    matrix.target(0, 40).release?.();
    return { ...world, matrix, before: world.allocator.memory().bytesInUse };
  };

  it('makes the products of a bf16 matrix, of rows that it widens for the call', () => {
    const { matrix, products, launches, allocator, before } = prepare();
    matrix.product(10, x, { ...y, type: 'f32' });
    matrix.product(10, x, y, 16);
    matrix.transposedProduct(10, y, x, 16, 1);
    const b = launches[0]!.parameters.out;
    const forward = { m: 5, n: 6, a: 4096, lda: 64, b, ldb: 32, transB: true, d: 8192, ldd: 8 };
    expect(products).toEqual([
      { ...forward, k: 13, type: 'f32' },
      { ...forward, k: 32, type: 'bf16' },
      { m: 5, k: 6, n: 32, a: 8192, lda: 8, b, ldb: 32, d: 4096, ldd: 64, beta: 1 },
    ]);
    const low = matrix.adapterAt(0).address;
    expect(launches).toMatchObject([
      { name: 'widen_nf4', grid: [1], parameters: { first: 10, rows: 6, K: 13, E: 0, ldo: 32, b: undefined } },
      { name: 'widen_nf4', grid: [1], parameters: { first: 10, rows: 6, K: 13, E: 16, ldo: 32, b: low, ldb: 16 } },
      { name: 'widen_nf4', grid: [1], parameters: { first: 10, rows: 6, E: 16, index: undefined } },
    ]);
    expect(allocator.memory().bytesInUse).toBe(before);
    expect(matrix.scratchBytes).toBe(40 * 2 * 32);
  });

  it('takes the gradient of u from scale·B alone', () => {
    const { matrix, products, launches } = prepare();
    matrix.adapterProduct(10, y, at(4096, 5, 16, 16));
    const { address, ld } = matrix.adapterAt(10);
    expect(address).toBe(matrix.adapterAt(0).address + 10 * 2 * 16);
    expect(products).toMatchObject([{ m: 5, n: 16, k: 6, b: address, ldb: ld, beta: 0 }]);
    expect(launches).toEqual([]);
  });

  it('moves scale·B for a larger adapter, and tells the ones that lay in it', () => {
    const { matrix, allocator, before } = prepare();
    let told = 0;
    matrix.adapters.set(0, { version: 1, invalidate: () => told++, dispose: () => {} });
    matrix.reserveAdapter(16);
    expect([told, allocator.memory().bytesInUse]).toEqual([0, before]);
    matrix.reserveAdapter(48);
    expect([told, matrix.adapterAt(1).ld]).toEqual([1, 48]);
    expect(allocator.memory().bytesInUse - before).toBeLessThan(2 * 40 * 48);
    matrix.free();
    expect(allocator.memory().bytesInUse).toBe(0);
  });

  it('cuts a product where there is no room for all rows at once, but no gradient', () => {
    const { store, allocator, products, launches } = setUp(128 << 20);
    const matrix = new Nf4Matrix(store, 1 << 15, 1 << 11, { maxParts: 1, format: FORMAT });
    matrix.target(0, 1 << 15).release?.();
    const before = allocator.memory().bytesInUse;
    const [wide, narrow] = [at(1 << 30, 3, 1 << 15, 1 << 15), at(4096, 3, 1 << 11, 1 << 11)];
    matrix.product(0, narrow, wide);
    expect(products.map(({ n, d }) => [n, d])).toEqual([
      [1 << 14, 1 << 30],
      [1 << 14, (1 << 30) + 2 * (1 << 14)],
    ]);
    expect(launches.map(({ parameters: { first, rows } }) => [first, rows])).toEqual([
      [0, 1 << 14],
      [1 << 14, 1 << 14],
    ]);
    expect(() => matrix.transposedProduct(0, wide, narrow)).toThrow('out of device memory');
    expect(allocator.memory().bytesInUse).toBe(before);
  });

  it('gives rows as bf16 in the block that products widen into', () => {
    const { matrix, allocator, before, launches } = prepare();
    matrix.product(10, x, y);
    const rows = matrix.bf16Rows(4, 6);
    expect(rows).toEqual({ address: launches[0]!.parameters.out, ld: 32, rows: 6, columns: 13, type: 'bf16' });
    expect(launches[1]).toMatchObject({
      name: 'widen_nf4',
      parameters: { out: rows.address, first: 4, rows: 6, E: 0 },
    });
    expect(allocator.memory().bytesInUse).toBe(before);
  });

  it('gathers listed rows as bf16', () => {
    const { matrix, launches } = prepare();
    const out = matrix.gatherRows(10, Int32Array.of(3, 0));
    expect(launches).toMatchObject([{ parameters: { out: out.address, first: 10, rows: 2, E: 0, ldo: 16 } }]);
    expect(launches[0]!.parameters.index).toBeGreaterThan(0);
  });
});

describe('the weights of a stack', () => {
  it('begin with blocks of their own, in any order', () => {
    const { store, launches } = setUp();
    const matrix = new Nf4Matrix(store, 60, 13, { maxParts: 4, format: FORMAT });
    for (const [row, rows] of [
      [40, 20],
      [0, 10],
      [10, 30],
    ] as const)
      matrix.target(row, rows).release?.();
    matrix.readRows(5, 50);
    const { partRows, partBlocks, tables, blockShift, nestedShift } = launches[0]!.parameters;
    expect({ partRows, partBlocks, blockShift, nestedShift }).toEqual({
      ...{ partRows: [0, 10, 40, 60], partBlocks: [256, 512, 0, 0], blockShift: 6, nestedShift: 8 },
    });
    expect(new Set(tables as unknown[]).size).toBe(4);
  });

  it('are at most four', () => {
    const { store } = setUp();
    const matrix = new E4m3Matrix(store, 60, 13, 4);
    for (const row of [0, 1, 2, 3]) matrix.target(row, 1);
    expect(() => matrix.target(4, 1)).toThrow(EngineError);
  });
});
