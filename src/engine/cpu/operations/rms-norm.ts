/** RMSNorm by row, with the residual addition before it. Saves the normalised row's input and 1/rms. */
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
      const y = store.create(x.shape);
      const sum = residual && store.create(x.shape);
      const rstd = record ? store.saved(store.create([rows])) : undefined;
      const ints = [x.ptr, residual?.ptr ?? 0, scale, y.ptr, sum?.ptr ?? 0, rstd?.ptr ?? 0, columns];
      store.byRows('rmsNorm', rows, columns, ints, [eps]);
      return { outputs: sum ? [y, sum] : [y], saved: rstd ? [sum ?? x, rstd] : [] };
    },
    backward(saved, [dy, dSum], { weight }, needs) {
      const sum = store.matrix(saved[0], OPERATION, 'saved sum');
      const [rows, columns] = sum.shape as [number, number];
      const direct = dSum && store.matrix(dSum, OPERATION, 'gradient of the sum', { rows, columns });
      if (!needs.includes(true)) return needs.map(() => undefined);
      let dx = direct;
      if (dy) {
        const gradient = store.matrix(dy, OPERATION, 'gradient of y', { rows, columns });
        const rstd = store.use(saved[1]!, OPERATION);
        const scale = store.vector(weight, columns, OPERATION);
        dx = store.create(sum.shape);
        const ints = [gradient.ptr, direct?.ptr ?? 0, sum.ptr, rstd.ptr, scale, dx.ptr, columns];
        store.byRows('rmsNormBackward', rows, columns, ints);
      }
      return store.shared(dx, needs, dy ? 1 : 0);
    },
  };
}
