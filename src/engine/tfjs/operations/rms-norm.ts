/**
 * RMSNorm by row, with the residual addition before it. Saves the normalised row's input s and r = 1/rms [T, 1].
 * With g = dy ⊙ weight: ds = r·(g - s·r²·mean(g ⊙ s)) + what came to the sum directly.
 */
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

const OPERATION = 'rmsNorm';

export function rmsNorm(store: TensorStore): Operation<OperationAttributes['rmsNorm']> {
  return {
    forward(inputs, { weight, eps }, record) {
      const x = store.matrix(inputs[0], OPERATION, 'x');
      const [rows, columns] = x.shape as [number, number];
      const residual = inputs[1] && store.matrix(inputs[1], OPERATION, 'residual', { rows, columns });
      const scale = store.vector(weight, columns, OPERATION);
      const made = store.run(OPERATION, (tf) => {
        const sum = residual && tf.add(x.data, residual.data);
        const s = sum ?? x.data;
        const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(s), 1, true), eps));
        const y = tf.mul(tf.mul(s, rstd), scale);
        return [y, ...(sum ? [sum] : []), ...(record ? [rstd] : [])];
      });
      const rstd = record ? made.pop() : undefined;
      if (!rstd) return { outputs: made, saved: [] };
      return { outputs: made, saved: [made[1] ?? x, store.saved(rstd)] };
    },
    backward(saved, [dy, dSum], { weight }, needs) {
      const sum = store.matrix(saved[0], OPERATION, 'saved sum');
      const [rows, columns] = sum.shape as [number, number];
      const direct = dSum && store.matrix(dSum, OPERATION, 'gradient of the sum', { rows, columns });
      if (!needs.includes(true)) return needs.map(() => undefined);
      let dx = direct;
      if (dy) {
        const gradient = store.matrix(dy, OPERATION, 'gradient of y', { rows, columns });
        const rstd = store.matrix(saved[1], OPERATION, 'saved 1/rms', { rows, columns: 1 });
        const scale = store.vector(weight, columns, OPERATION);
        dx = store.one(OPERATION, (tf) => {
          const g = tf.mul(gradient.data, scale);
          const share = tf.mul(tf.mean(tf.mul(g, sum.data), 1, true), tf.square(rstd.data));
          const through = tf.mul(tf.sub(g, tf.mul(sum.data, share)), rstd.data);
          return direct ? tf.add(through, direct.data) : through;
        });
      }
      return store.shared(dx, needs, dy ? 1 : 0);
    },
  };
}
