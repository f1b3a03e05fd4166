/** RMSNorm by row, with the residual addition before it. Saves the sum and 1/rms. */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { Tensor } from '../../tensor.js';
import { operandRoom } from '../e4m3-rows.js';
import { type DevicePointer, ofWidth } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { WeightStore } from '../weights.js';

const OPERATION = 'rmsNorm';

/** One vector of 8 for each thread, where a block has as many. */
function threads(columns: number): number {
  return Math.min(1024, 32 * Math.ceil(columns / 256));
}

/** Of rms_norm_e4m3, whose threads have more registers. */
function threadsE4m3(columns: number): number {
  return Math.min(512, 32 * Math.ceil(columns / 512));
}

type Attributes = OperationAttributes['rmsNorm'];

export interface Norm {
  readonly x: CudaTensor;
  readonly residual?: CudaTensor | undefined;
  /** Written where given: x + residual. */
  readonly sum?: CudaTensor | undefined;
  /** float32 [T], written where given. */
  readonly rstd?: CudaTensor | undefined;
  /** Address of the bf16 weight [C]. */
  readonly weight: DevicePointer;
  readonly eps: number;
}

/** The norm of (x) or (x, residual), with tensors for what is to come out beside y. */
export function openNorm(
  store: TensorStore,
  weights: WeightStore,
  inputs: readonly Tensor[],
  { weight, eps }: Attributes,
  record: boolean,
): Norm {
  const x = store.matrix(inputs[0], OPERATION, 'x');
  const { rows, columns } = x;
  const residual = inputs[1] && store.matrix(inputs[1], OPERATION, 'residual', { rows, columns });
  return {
    x,
    residual,
    weight: weights.vector(weight, columns, OPERATION),
    eps,
    sum: residual && store.create(x.shape),
    rstd: record ? store.saved(store.createF32([rows])) : undefined,
  };
}

/** y, as a new tensor. */
export function normalize(store: TensorStore, { x, residual, sum, rstd, weight, eps }: Norm): CudaTensor {
  const y = store.createInput(x.shape);
  const { rows, columns } = x;
  // biome-ignore format: parameters by operand
  const parameters = {
    y: y.address, sum: sum?.address, rstd: rstd?.address, x: x.address, residual: residual?.address, weight,
    rows, columns, ldy: y.ld, ldsum: sum?.ld ?? 0, ldx: x.ld, ldresidual: residual?.ld ?? 0, eps,
  };
  store.kernels.launch(KERNELS.rmsNormForward, [rows], parameters, threads(columns));
  return y;
}

/** `normalize` with the e4m3 codes of y; the caller frees their block. */
export function normalizeE4m3(store: TensorStore, { x, residual, sum, rstd, weight, eps }: Norm) {
  const y = store.createInput(x.shape);
  const { rows, columns } = x;
  const operand = operandRoom(store, rows, columns);
  // biome-ignore format: parameters by operand
  const parameters = {
    y: y.address, codes: operand.codes, scales: operand.scales, sum: sum?.address, rstd: rstd?.address, x: x.address,
    residual: residual?.address, weight, rows, columns, ldy: y.ld, ldcodes: operand.ld, ldsum: sum?.ld ?? 0,
    ldx: x.ld, ldresidual: residual?.ld ?? 0, eps,
  };
  store.kernels.launch(KERNELS.rmsNormE4m3, [rows], parameters, threadsE4m3(columns));
  return { y, operand };
}

interface NormGradient {
  readonly sum: CudaTensor;
  readonly rstd: CudaTensor;
  /** Address of the bf16 weight [C]. */
  readonly weight: DevicePointer;
  /** Of y. */
  readonly dy: CudaTensor | undefined;
  /** Of the sum, where others read it. */
  readonly dSum: CudaTensor | undefined;
}

/** The gradient of x and residual, which is one and the same: counted once for each that needs it. */
export function normGradients(
  store: TensorStore,
  { sum, rstd, weight, dy, dSum }: NormGradient,
  needs: readonly boolean[],
): readonly (CudaTensor | undefined)[] {
  const { rows, columns } = sum;
  if (!needs.includes(true)) return needs.map(() => undefined);
  let dx = dSum;
  if (dy) {
    dx = store.create(sum.shape);
    // biome-ignore format: parameters by operand
    const parameters = {
      dx: dx.address, dy: dy.address, direct: dSum?.address, s: sum.address, rstd: rstd.address,
      weight, rows, columns, lddx: dx.ld, lddy: dy.ld, lddirect: dSum?.ld ?? 0, lds: sum.ld,
    };
    const kernel = ofWidth(KERNELS.rmsNormBackward, columns > 8192 ? 16384 : 8192);
    store.kernels.launch(kernel, [rows], parameters, threads(columns));
  }
  return store.shared(dx, needs, dy ? 1 : 0);
}

export function rmsNorm(store: TensorStore, weights: WeightStore): Operation<Attributes> {
  return {
    forward(inputs, attributes, record) {
      const norm = openNorm(store, weights, inputs, attributes, record);
      const { x, sum, rstd } = norm;
      const y = normalize(store, norm);
      return { outputs: sum ? [y, sum] : [y], saved: rstd ? [sum ?? x, rstd] : [] };
    },
    backward(saved, [dy, dSum], attributes, needs) {
      const sum = store.matrix(saved[0], OPERATION, 'saved sum');
      const { rows, columns } = sum;
      const gradient = (of: Tensor | undefined, what: string) =>
        of && store.matrix(of, OPERATION, `gradient of ${what}`, { rows, columns });
      const of = { dy: gradient(dy, 'y'), dSum: gradient(dSum, 'the sum') };
      const weight = weights.vector(attributes.weight, columns, OPERATION);
      return normGradients(store, { sum, rstd: store.use(saved[1]!, OPERATION), weight, ...of }, needs);
    },
  };
}
