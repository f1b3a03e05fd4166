import { describe, expect, it } from 'vitest';
import { splitRows } from '../../../src/engine/cuda/operations/row-splits.js';
import type { TensorStore } from '../../../src/engine/cuda/tensor-store.js';

describe('splitRows', () => {
  const store = { kernels: { multiprocessors: 132 } } as unknown as TensorStore;

  it('covers all rows in ranges of whole tiles, none of them empty', () => {
    for (const rows of [1, 64, 65, 3841, 9440]) {
      for (const strips of [1, 16, 80, 256, 700]) {
        const split = splitRows(store, rows, strips, 2, 0.5);
        expect(split.rows % 64).toBe(0);
        expect(split.rows * split.splits).toBeGreaterThanOrEqual(rows);
        expect(split.rows * (split.splits - 1)).toBeLessThan(rows);
      }
    }
  });

  it('fills the card with one wave, or with whole ones', () => {
    expect(splitRows(store, 3841, 256, 2, 0.5).splits).toBe(1);
    expect(splitRows(store, 3841, 80, 2, 0.5).splits).toBe(3);
    expect(splitRows(store, 9440, 16, 2, 0.5).splits).toBe(15);
  });
});
