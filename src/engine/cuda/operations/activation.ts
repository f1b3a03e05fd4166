/** Activations, alone and gating another row. Backward computes them again from the saved inputs. */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { Activation, Operation, OperationAttributes } from '../../operations.js';
import { grid2 } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { DeferredPair } from './deferred-pair.js';
import { DeferredResult } from './deferred-result.js';
import { gatedBackward } from './gated-backward.js';

/** Kinds as common.cu numbers them. */
const KIND: Readonly<Record<Activation, number>> = { silu: 0, gelu: 1, gelu_tanh: 2, relu: 3 };

export function activation(store: TensorStore): Operation<OperationAttributes['activation']> {
  return {
    forward([input], { activation: kind }, record) {
      const x = store.asBf16(store.use(input!, 'activation'));
      const { rows, columns } = x;
      const y = store.createInput(x.shape);
      // biome-ignore format: parameters by operand
      store.kernels.launch(KERNELS.activationForward, grid2(rows, columns), {
        out: y.address, x: x.address, rows, columns, ldo: y.ld, ldx: x.ld,
        kind: KIND[kind],
      });
      return { outputs: [y], saved: record ? [x] : [] };
    },
    backward([input], [gradient], { activation: kind }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const x = store.asBf16(store.use(input!, 'activation'));
      const { rows, columns } = x;
      const dy = store.like(gradient, x, 'activation', 'output gradient');
      const dx = store.create(x.shape);
      // biome-ignore format: parameters by operand
      store.kernels.launch(KERNELS.activationBackward, grid2(rows, columns), {
        dx: dx.address, x: x.address, dy: dy.address,
        rows, columns, lddx: dx.ld, ldx: x.ld, lddy: dy.ld, kind: KIND[kind],
      });
      return [dx];
    },
  };
}

function gated(store: TensorStore, gate: CudaTensor, up: CudaTensor, kind: number): CudaTensor {
  const { rows, columns } = gate;
  const y = store.createInput(gate.shape);
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.gatedActivationForward, grid2(rows, columns), {
    out: y.address, gate: gate.address, up: up.address,
    rows, columns, ldo: y.ld, ldgate: gate.ld, ldup: up.ld, kind,
  });
  return y;
}

export function gatedActivation(store: TensorStore): Operation<OperationAttributes['gatedActivation']> {
  const operation = 'gatedActivation';
  return {
    forward(inputs, { activation: kind }, record) {
      const [first, second] = inputs.map((input) => store.useUnfinished(input, operation));
      const pair = DeferredResult.of(first);
      if (!record && pair instanceof DeferredPair && first === pair.outputs[0] && second === pair.outputs[1]) {
        return { outputs: [pair.gated(KIND[kind])], saved: [] };
      }
      const gate = store.asBf16(store.use(inputs[0]!, operation));
      const up = store.like(inputs[1], gate, operation, 'up');
      const y = gated(store, gate, up, KIND[kind]);
      y.recipe = { sources: [gate, up], make: () => gated(store, gate, up, KIND[kind]), gatedBy: KIND[kind] };
      return { outputs: [y], saved: record ? [gate, up] : [] };
    },
    backward(saved, [gradient], { activation: kind }, needs) {
      if (!gradient || !needs.includes(true)) return [undefined, undefined];
      const [gate, up] = saved.map((tensor) => store.asBf16(store.use(tensor, operation))) as [CudaTensor, CudaTensor];
      if (needs[0] && needs[1]) {
        const both = gatedBackward(store, { gate, up, dy: store.useUnfinished(gradient, operation), kind: KIND[kind] });
        if (both) return both;
      }
      const { rows, columns } = gate;
      const dy = store.like(gradient, gate, operation, 'output gradient');
      const dGate = needs[0] ? store.createGradient(gate) : undefined;
      const dUp = needs[1] ? store.createGradient(up) : undefined;
      // biome-ignore format: parameters by operand
      store.kernels.launch(KERNELS.gatedActivationBackward, grid2(rows, columns), {
        dgate: dGate?.address, dup: dUp?.address, y: undefined,
        gate: gate.address, up: up.address, dy: dy.address, rows, columns,
        lddgate: dGate?.ld ?? 0, lddup: dUp?.ld ?? 0, ldy: 0, ldgate: gate.ld, ldup: up.ld, lddy: dy.ld,
        kind: KIND[kind],
      });
      return [dGate, dUp];
    },
  };
}
