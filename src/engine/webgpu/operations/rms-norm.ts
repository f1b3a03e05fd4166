/** RMSNorm by row, with the residual addition before it in one kernel. Saves the normalised row's input and 1/rms. */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { flat } from '../kernels.js';
import { lanesOf, type TensorStore, type WebgpuTensor } from '../tensor-store.js';

const OPERATION = 'rmsNorm';
/** Lanes of a workgroup, which has one row. */
const LANES = 256;

/** What both kernels are given of rows of so many columns. */
function rowsOf(rows: number, elements: number) {
  const { width, defines } = lanesOf(elements);
  const columns = elements / width;
  return {
    groups: flat(rows),
    uniforms: { rows, columns, elements },
    defines: { ...defines, UNITS: Math.max(1, Math.ceil(columns / LANES)) },
  };
}

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
      const { groups, uniforms, defines } = rowsOf(rows, columns);
      const variant = { defines: { ...defines, RESIDUAL: residual !== undefined, RECORD: record } };
      store.apart(residual ? [x, residual] : [x], (first, second) => {
        const written = { y: y.range, sum: sum?.range, rstd: rstd?.range };
        const parameters = { ...written, x: first!, residual: second, weight: scale, ...uniforms, eps };
        store.kernels.launch(WGSL.rmsNorm, groups, parameters, variant);
      });
      return { outputs: sum ? [y, sum] : [y], saved: rstd ? [sum ?? x, rstd] : [] };
    },
    backward(saved, [dy, dSum], { weight }, needs) {
      const sum = store.matrix(saved[0], OPERATION, 'saved sum');
      const [rows, columns] = sum.shape as [number, number];
      const direct = dSum && store.matrix(dSum, OPERATION, 'gradient of the sum', { rows, columns });
      if (!needs.includes(true)) return needs.map(() => undefined);
      let dx: WebgpuTensor | undefined = direct;
      if (dy) {
        const gradient = store.matrix(dy, OPERATION, 'gradient of y', { rows, columns });
        const rstd = store.use(saved[1], OPERATION);
        const scale = store.vector(weight, columns, OPERATION);
        const out = store.create(sum.shape);
        const { groups, uniforms, defines } = rowsOf(rows, columns);
        const variant = { defines: { ...defines, DIRECT: direct !== undefined } };
        store.apart(direct ? [gradient, sum, direct] : [gradient, sum], (first, s, third) => {
          const bindings = { dx: out.range, dy: first!, s: s!, rstd: rstd.range, weight: scale, direct: third };
          store.kernels.launch(WGSL.rmsNormBackward, groups, { ...bindings, ...uniforms }, variant);
        });
        dx = out;
      }
      return store.shared(dx, needs, dy ? 1 : 0);
    },
  };
}
