/** The largest value of each row: greedy decoding then reads back one value and index a row, not all logits. */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { RowMaxima } from '../../engine.js';
import type { Tensor } from '../../tensor.js';
import { offset } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';

export async function rowMaxima(store: TensorStore, matrix: Tensor): Promise<RowMaxima> {
  const { address, rows, columns, ld, type } = store.use(matrix, 'rowMaxima');
  const out = store.createF32([2, Math.max(1, rows)]);
  const kind = type === 'f32' ? 1 : 0;
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.largestLogit, [rows], {
    largestValue: out.address, largestIndex: offset(out.address, 4 * rows), logits: address, n: columns, ld, kind,
  });
  const download = store.staging.download(out.address, 8 * rows);
  store.release(out);
  const bytes = await download.arrive();
  return { values: new Float32Array(bytes, 0, rows), indices: new Int32Array(bytes, 4 * rows, rows) };
}
