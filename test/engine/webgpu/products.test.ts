/** Which kernel computes a product, and what conformance does not reach: every tile, and weights in several parts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WebgpuWeight } from '../../../src/engine/webgpu/frozen-weight.js';
import type { BufferRange } from '../../../src/engine/webgpu/gpu-types.js';
import type { Product } from '../../../src/engine/webgpu/product.js';
import { backwardProduct, forwardProduct, planProduct, product, TILES } from '../../../src/engine/webgpu/products.js';
import type { TensorStore } from '../../../src/engine/webgpu/tensor-store.js';
import type { WebgpuEngine } from '../../../src/engine/webgpu/webgpu-engine.js';
import { dropoutMask } from '../../../src/random.js';
import { leftOut } from '../../where.js';
import { missingForSoftware, openTestEngine } from './open.js';

const nowhere = { buffer: {}, offset: 0, size: 0 } as unknown as BufferRange;

function planOf(m: number, n: number, k: number, rest: Partial<Product> = {}) {
  return planProduct({ ...{ m, n, k }, a: { range: nowhere }, b: nowhere, c: { range: nowhere }, ...rest });
}

describe('the plan of a product', () => {
  it('takes large tiles where there are enough of them, and narrow ones where C is narrow', () => {
    expect(planOf(4096, 4096, 4096)).toEqual({ tile: TILES.large, splits: 1 });
    expect(planOf(512, 1024, 3072)).toEqual({ tile: TILES.large, splits: 4 });
    expect(planOf(512, 1024, 512).tile).toBe(TILES.medium);
    expect(planOf(64, 4096, 4096).tile).toBe(TILES.medium);
    expect(planOf(4096, 16, 3072).tile).toBe(TILES.tall16);
    expect(planOf(4096, 17, 3072).tile).toBe(TILES.tall32);
    expect(planOf(16, 3072, 4096).tile).toBe(TILES.wide16);
    expect(planOf(32, 3072, 4096).tile).toBe(TILES.wide32);
  });

  it('splits a long k among more workgroups, but adds a bias once, and what is low-rank with one of them', () => {
    expect(planOf(16, 3072, 4096).splits).toBeGreaterThan(1);
    expect(planOf(16, 3072, 64).splits).toBe(1);
    expect(planOf(64, 64, 9216, { bias: nowhere }).splits).toBe(1);
    const low = { u: nowhere, b: nowhere, rank: 8, scale: 1 };
    expect(planOf(64, 64, 9216, { low }).splits).toBeGreaterThan(1);
    expect(planOf(64, 64, 9216, { low, alpha: 2 }).splits).toBe(1);
    // Its steps might fill the first split.
    expect(planOf(64, 64, 9216, { low: { ...low, rank: 512 } }).splits).toBe(1);
  });

  it('reads the weight once for few rows, if eight of its values can be read at a time', () => {
    expect(planOf(1, 3072, 9216, { transB: true }).tile).toBeUndefined();
    expect(planOf(16, 3072, 9216, { transB: true }).tile).toBeUndefined();
    expect(planOf(17, 3072, 9216, { transB: true }).tile).toBeDefined();
    expect(planOf(1, 3072, 9220, { transB: true }).tile).toBeDefined();
    expect(planOf(1, 3072, 9216).tile).toBeDefined();
    expect(planOf(1, 3072, 9216, { transB: true, a: { range: nowhere, first: 4 } }).tile).toBeDefined();
  });
});

const missing = missingForSoftware();
if (missing !== undefined) leftOut('products in software', missing);
else {
  describe('products in software', () => {
    let engine: WebgpuEngine;
    let store: TensorStore;
    beforeAll(async () => {
      engine = await openTestEngine();
      store = engine.store;
    });
    afterAll(() => engine.dispose());

    const values = (size: number, seed: number): Float32Array =>
      Float32Array.from({ length: size }, (_, i) => Math.fround(Math.sin(seed + 1.7 * i)));

    /** Σ a(i)·b(i) */
    const dot = (k: number, a: (i: number) => number, b: (i: number) => number): number => {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += a(i) * b(i);
      return sum;
    };

    async function expectClose(found: Float32Array, columns: number, plain: (row: number, column: number) => number) {
      const worst = found.reduce((most, value, i) => {
        const off = Math.abs(value - plain(Math.floor(i / columns), i % columns));
        return Number.isNaN(off) ? Number.POSITIVE_INFINITY : Math.max(most, off);
      }, 0);
      expect(worst).toBeLessThan(2e-5);
    }

    const forms = [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ] as const;
    for (const [i, [name, tile]] of Object.entries(TILES).entries()) {
      it(`adds to C in splits, in tiles ${name}`, async () => {
        const [m, n, k, alpha, beta] = [37, 41, 70, 0.5, 2] as const;
        const [a, b, c] = [values(m * k, 1), values(k * n, 2), values(m * n, 3)];
        // Software compiles slowly: all transposes for one tile, and one for each other.
        for (const [transA, transB] of tile === TILES.large ? forms : [forms[i % forms.length]!]) {
          const [x, y, out] = [store.fromArray(a, [m * k]), store.fromArray(b, [k * n]), store.fromArray(c, [m, n])];
          const what = { m, n, k, transA, transB, alpha, beta, a: x, b: y.range, c: out };
          product(store, what, { tile, splits: 2 });
          await expectClose(await engine.read(out), n, (row, column) => {
            const sum = dot(
              k,
              (i) => a[transA ? i * m + row : row * k + i]!,
              (i) => b[transB ? column * k + i : i * n + column]!,
            );
            return alpha * sum + beta * c[row * n + column]!;
          });
          for (const tensor of [x, y, out]) store.release(tensor);
        }
      }, 300_000);
    }

    it('adds a masked low-rank product to the first split', async () => {
      const [m, n, k, rank, scale, seed, dropout] = [20, 24, 100, 20, 0.5, 7, 0.3] as const;
      const [a, b, u, down] = [values(m * k, 1), values(k * n, 2), values(m * rank, 3), values(rank * n, 4)];
      const keys = Int32Array.from({ length: m }, (_, row) => Math.imul(row + 1, 0x9e3779b9));
      const mask = dropoutMask(keys, n, seed, dropout);
      const tensors = [a, b, u, down].map((list) => store.fromArray(list, [list.length]));
      const [ta, tb, tu, tDown] = tensors;
      const out = store.create([m, n]);
      store.withTable(keys, (rowKeys) => {
        const low = { u: tu!.range, b: tDown!.range, rank, scale, mask: { dropout, seed, rowKeys } };
        product(store, { m, n, k, a: ta!, b: tb!.range, c: out, low }, { tile: TILES.medium, splits: 2 });
      });
      await expectClose(await engine.read(out), n, (row, column) => {
        const plain = dot(
          k,
          (i) => a[row * k + i]!,
          (i) => b[i * n + column]!,
        );
        const share = dot(
          rank,
          (i) => u[row * rank + i]!,
          (i) => down[i * n + column]!,
        );
        return plain + scale * mask[row * n + column]! * share;
      });
      for (const tensor of [...tensors, out]) store.release(tensor);
    }, 300_000);

    it('goes through the parts of a weight, forward and backward, with bias and low rank', async () => {
      const [rows, columns, rank] = [20, 16, 3] as const;
      const w = values(rows * columns, 4);
      const parts = [
        [0, 6],
        [6, 14],
      ].map(([firstRow, count]) => {
        const part = w.subarray(firstRow! * columns, (firstRow! + count!) * columns);
        const range = store.memory.createFixed(part.byteLength);
        store.queue.upload(range, part);
        return { firstRow: firstRow!, rows: count!, values: range };
      });
      const block = [1, columns] as const;
      const matrix = { name: 'w', shape: [rows, columns], dtype: 'f32', rows, columns, format: 'f32', block } as const;
      const weight: WebgpuWeight = { ...matrix, parts };
      const biases = values(rows, 5);
      const bias = store.memory.createFixed(biases.byteLength);
      store.queue.upload(bias, biases);
      // Few rows take another kernel.
      for (const m of [5, 19]) {
        const [x, u, up, down] = [
          values(m * columns, 6),
          values(m * rank, 7),
          values(rows * rank, 8),
          values(rank * columns, 9),
        ];
        const [tx, tu, tUp, tDown] = [x, u, up, down].map((list) => store.fromArray(list, [list.length]));
        const y = store.create([m, rows]);
        forwardProduct(store, weight, tx!, m, y, { bias, low: { u: tu!.range, b: tUp!.range, rank, scale: 0.5 } });
        const expected = (row: number, column: number): number =>
          biases[column]! +
          dot(
            columns,
            (i) => x[row * columns + i]!,
            (i) => w[column * columns + i]!,
          ) +
          0.5 *
            dot(
              rank,
              (i) => u[row * rank + i]!,
              (i) => up[column * rank + i]!,
            );
        await expectClose(await engine.read(y), rows, expected);
        const dy = await engine.read(y);
        const dx = store.create([m, columns]);
        backwardProduct(store, weight, y, m, dx, { low: { u: tu!.range, b: tDown!.range, rank, scale: 2 } });
        await expectClose(
          await engine.read(dx),
          columns,
          (row, column) =>
            dot(
              rows,
              (i) => dy[row * rows + i]!,
              (i) => w[i * columns + column]!,
            ) +
            2 *
              dot(
                rank,
                (i) => u[row * rank + i]!,
                (i) => down[i * columns + column]!,
              ),
        );
        for (const tensor of [tx, tu, tUp, tDown, y, dx]) store.release(tensor!);
      }
      store.queue.flush();
      for (const range of [bias, ...parts.map((part) => part.values)]) store.memory.freeFixed(range);
    }, 300_000);
  });
}
