/** Matrix products as each backend computes them best, and gathers of rows. */
import type { TfNamespace, TfTensor } from './tf-namespace.js';

/**
 * a·b of two matrices, or of equally many matrices [B, ·, ·]; either side may be transposed first.
 * The wasm backend multiplies plain matrices ten times faster than transposed or batched ones, so there a transposed
 * copy is made and batches are taken apart.
 */
export function product(tf: TfNamespace, a: TfTensor, b: TfTensor, transA = false, transB = false): TfTensor {
  if (tf.getBackend() !== 'wasm') return tf.matMul(a, b, transA, transB);
  if (a.shape.length === 3) {
    const right = tf.unstack(b);
    return tf.stack(tf.unstack(a).map((left, i) => product(tf, left, right[i]!, transA, transB)));
  }
  const turned = (x: TfTensor, trans: boolean): TfTensor => (trans ? tf.transpose(x, [1, 0]) : x);
  return tf.matMul(turned(a, transA), turned(b, transB), false, false);
}

export function takeRows(tf: TfNamespace, x: TfTensor, rows: Int32Array): TfTensor {
  if (rows.length === 0) return tf.zeros([0, ...x.shape.slice(1)]);
  return tf.gather(x, tf.tensor(rows, [rows.length], 'int32'));
}
