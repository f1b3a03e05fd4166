/** Copies of [T, H·D] with each head's columns widened to a multiple of 8, and back: the rare case of odd head sizes. */
import { offset } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

/** [T, H·D] → [T, H·D'], D' the next multiple of 8, zeros between. */
export function packHeads(store: TensorStore, x: CudaTensor, heads: number, headDim: number): CudaTensor {
  const wide = 8 * Math.ceil(headDim / 8);
  const out = store.create([x.rows, heads * wide]);
  store.driver.fillBytes(out.address, 0, 2 * out.rows * out.ld);
  for (let head = 0; head < heads; head++) {
    const [target, source] = [offset(out.address, 2 * head * wide), offset(x.address, 2 * head * headDim)];
    store.driver.copyRows(target, 2 * out.ld, source, 2 * x.ld, 2 * headDim, x.rows);
  }
  return out;
}

export function unpackHeads(store: TensorStore, x: CudaTensor, heads: number, headDim: number): CudaTensor {
  const wide = 8 * Math.ceil(headDim / 8);
  const out = store.createInput([x.rows, heads * headDim]);
  for (let head = 0; head < heads; head++) {
    const [target, source] = [offset(out.address, 2 * head * headDim), offset(x.address, 2 * head * wide)];
    store.driver.copyRows(target, 2 * out.ld, source, 2 * x.ld, 2 * headDim, x.rows);
  }
  return out;
}
