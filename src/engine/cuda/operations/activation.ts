/** Activations, alone and gating another row. Backward computes them again from the saved inputs. */
import type { Activation, Operation, OperationAttributes } from '../../operations.js';
import { grid2 } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

/** Kinds as common.cu numbers them. */
export const ACTIVATIONS: Readonly<Record<Activation, number>> = { silu: 0, gelu: 1, gelu_tanh: 2, relu: 3 };

export function activation(store: TensorStore): Operation<OperationAttributes['activation']> {
  return {
    forward([input], { activation: kind }, record) {
      const x = store.asBf16(store.use(input!, 'activation'));
      const { rows, columns } = x;
      const y = store.createInput(x.shape);
      const values = [y.address, x.address, rows, columns, y.ld, x.ld, ACTIVATIONS[kind]];
      store.kernels.run('activation_forward', grid2(rows, columns), 128, values);
      return { outputs: [y], saved: record ? [x] : [] };
    },
    backward([input], [gradient], { activation: kind }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const x = store.asBf16(store.use(input!, 'activation'));
      const { rows, columns } = x;
      const dy = store.like(gradient, x, 'activation', 'output gradient');
      const dx = store.create(x.shape);
      store.kernels.run('activation_backward', grid2(rows, columns), 128, [
        ...[dx.address, x.address, dy.address, rows, columns, dx.ld, x.ld, dy.ld, ACTIVATIONS[kind]],
      ]);
      return [dx];
    },
  };
}

/** activation(gate) ⊙ up, the activation by its number. */
export function gatedRows(store: TensorStore, gate: CudaTensor, up: CudaTensor, kind: number): CudaTensor {
  const { rows, columns } = gate;
  const y = store.createInput(gate.shape);
  store.kernels.run('gated_activation_forward', grid2(rows, columns), 128, [
    ...[y.address, gate.address, up.address, rows, columns, y.ld, gate.ld, up.ld, kind],
  ]);
  return y;
}

export interface GatedGradients {
  readonly gate: CudaTensor;
  readonly up: CudaTensor;
  readonly dy: CudaTensor;
  /** Written, where given. */
  readonly dGate: CudaTensor | undefined;
  readonly dUp: CudaTensor | undefined;
}

/** The gradients of gate and up. */
export function gatedGradients(store: TensorStore, { gate, up, dy, dGate, dUp }: GatedGradients, kind: number): void {
  const { rows, columns } = gate;
  store.kernels.run('gated_activation_backward', grid2(rows, columns), 128, [
    ...[dGate?.address ?? 0, dUp?.address ?? 0, 0, gate.address, up.address, dy.address],
    ...[rows, columns, dGate?.ld ?? 0, dUp?.ld ?? 0, 0, gate.ld, up.ld, dy.ld, kind],
  ]);
}

export function gatedActivation(store: TensorStore): Operation<OperationAttributes['gatedActivation']> {
  const operation = 'gatedActivation';
  return {
    forward(inputs, { activation: kind }, record) {
      const gate = store.asBf16(store.use(inputs[0]!, operation));
      const up = store.like(inputs[1], gate, operation, 'up');
      return { outputs: [gatedRows(store, gate, up, ACTIVATIONS[kind])], saved: record ? [gate, up] : [] };
    },
    backward(saved, [gradient], { activation: kind }, needs) {
      if (!gradient || !needs.includes(true)) return [undefined, undefined];
      const [gate, up] = saved.map((tensor) => store.asBf16(store.use(tensor, operation))) as [CudaTensor, CudaTensor];
      const dy = store.like(gradient, gate, operation, 'output gradient');
      const [dGate, dUp] = needs.map((need) => (need ? store.create(gate.shape) : undefined));
      gatedGradients(store, { gate, up, dy, dGate, dUp }, ACTIVATIONS[kind]);
      return [dGate, dUp];
    },
  };
}
