/** The largest value of each row: greedy decoding then reads back one value and index a row, not all logits. */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { RowMaxima } from '../../engine.js';
import { flat } from '../kernels.js';
import type { TensorStore, WebgpuTensor } from '../tensor-store.js';

/** As `Engine.rowMaxima`, for a matrix with columns. */
export async function rowMaxima(store: TensorStore, matrix: WebgpuTensor): Promise<RowMaxima> {
  const [rows, columns] = matrix.shape as [number, number];
  const out = store.create([2, rows]);
  store.kernels.launch(WGSL.rowMaxima, flat(rows), { out: out.range, x: matrix.range, rows, columns });
  const arrival = store.queue.download(out.range, 8 * rows);
  store.release(out);
  const bytes = await arrival();
  return { values: new Float32Array(bytes, 0, rows), indices: new Int32Array(bytes, 4 * rows, rows) };
}
