/**
 * RMSNorm by row, with the residual addition before it. Saves the sum and 1/rms; the result itself can be made again.
 * At inference the norm of one row waits for the linear layer behind it, which can do it on the way.
 */
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { WeightStore } from '../weights.js';
import { DeferredResult } from './deferred-result.js';

const OPERATION = 'rmsNorm';

/** Threads of a block; one block a row. */
function threads(columns: number): number {
  return Math.min(512, 32 * Math.ceil(columns / 512));
}

export interface Norm {
  readonly x: CudaTensor;
  readonly residual?: CudaTensor | undefined;
  readonly sum?: CudaTensor | undefined;
  readonly rstd?: CudaTensor | undefined;
  /** Address. */
  readonly weight: number;
  readonly eps: number;
}

function normalize(store: TensorStore, { x, residual, sum, rstd, weight, eps }: Norm): CudaTensor {
  const y = store.createInput(x.shape);
  store.kernels.run('rms_norm_forward', [x.rows], threads(x.columns), [
    ...[y.address, sum?.address ?? 0, rstd?.address ?? 0, x.address, residual?.address ?? 0, weight],
    ...[x.rows, x.columns, y.ld, sum?.ld ?? 0, x.ld, residual?.ld ?? 0, eps],
  ]);
  return y;
}

/** A norm of which nobody has asked for the numbers yet. Outputs: y, and the sum where there is a residual. */
export class DeferredNorm extends DeferredResult {
  readonly #norm: () => Norm;

  constructor(store: TensorStore, x: CudaTensor, residual: CudaTensor | undefined, norm: () => Norm) {
    super(store, residual ? [x, residual] : [x], residual ? [x.shape, x.shape] : [x.shape]);
    this.#norm = norm;
  }

  make(): void {
    const y = this.outputs[0]!;
    this.#withSum((norm) => {
      if (y.unfinished) this.give(y, normalize(this.store, norm));
      else if (norm.sum) this.store.add(norm.sum, norm.x, norm.residual!);
    });
  }

  /** Calls `body`, which normalises on the way and writes the sum where it gets one; y stays without numbers. */
  fold(body: (norm: Norm) => void): void {
    this.#withSum(body);
  }

  #withSum(body: (norm: Norm) => void): void {
    const sum = this.outputs[1];
    const made = sum?.unfinished && this.store.create(sum.shape);
    body({ ...this.#norm(), sum: made });
    if (sum && made) this.give(sum, made);
  }
}

export function rmsNorm(store: TensorStore, weights: WeightStore): Operation<OperationAttributes['rmsNorm']> {
  return {
    forward(inputs, attributes, record) {
      const { eps } = attributes;
      const x = store.matrix(inputs[0], OPERATION, 'x');
      const residual =
        inputs[1] && store.matrix(inputs[1], OPERATION, 'residual', { rows: x.rows, columns: x.columns });
      const weightNow = (): number => weights.vector(attributes.weight, x.columns, OPERATION);
      const weight = weightNow();
      if (!record && x.rows === 1) {
        const norm = (): Norm => ({ x, residual, weight: weightNow(), eps });
        return { outputs: new DeferredNorm(store, x, residual, norm).outputs, saved: [] };
      }
      const sum = residual && store.create(x.shape);
      const rstd = record ? store.saved(store.createF32([x.rows])) : undefined;
      const y = normalize(store, { x, residual, sum, rstd, weight, eps });
      const normed = sum ?? x;
      y.recipe = {
        sources: rstd ? [normed, rstd] : [normed],
        make: () => normalize(store, { x: normed, weight: weightNow(), eps }),
        ...(rstd && { norm: { sum: normed, rstd, weight: weightNow } }),
      };
      return { outputs: sum ? [y, sum] : [y], saved: rstd ? [normed, rstd] : [] };
    },
    backward(saved, [dy, dSum], attributes, needs) {
      const sum = store.matrix(saved[0], OPERATION, 'saved sum');
      const { rows, columns } = sum;
      const wanted = needs.filter((need) => need).length;
      const direct = dSum && store.matrix(dSum, OPERATION, 'gradient of the sum', { rows, columns });
      if (wanted === 0 || (!dy && !direct)) return needs.map(() => undefined);
      // Both addends have the same gradient: one tensor, counted once for each that wants it.
      let dx = direct;
      if (dy) {
        const gradient = store.matrix(dy, OPERATION, 'gradient of y', { rows, columns });
        const rstd = store.use(saved[1]!, OPERATION);
        const weight = weights.vector(attributes.weight, columns, OPERATION);
        dx = store.create(sum.shape);
        store.kernels.run('rms_norm_backward', [rows], threads(columns), [
          ...[dx.address, gradient.address, direct?.address ?? 0, sum.address, rstd.address, weight],
          ...[rows, columns, dx.ld, gradient.ld, direct?.ld ?? 0, sum.ld],
        ]);
      }
      for (let i = dy ? 1 : 0; i < wanted; i++) store.retain(dx!);
      return needs.map((need) => (need ? dx : undefined));
    },
  };
}
