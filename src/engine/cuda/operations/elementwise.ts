/** Addition and activations, alone and gating another row. Backward recomputes activations from the saved inputs. */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { Activation, Operation, OperationAttributes } from '../../operations.js';
import { operandRoom, quantizeShape } from '../e4m3-rows.js';
import { grid2, ofWidth } from '../launch.js';
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
      // biome-ignore format: parameters by operand
      store.kernels.launch(KERNELS.activationForward, grid2(rows, columns), {
        out: y.address, x: x.address, rows, columns, ldo: y.ld, ldx: x.ld,
        kind: ACTIVATIONS[kind],
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
        rows, columns, lddx: dx.ld, ldx: x.ld, lddy: dy.ld, kind: ACTIVATIONS[kind],
      });
      return [dx];
    },
  };
}

/** activation(gate) ⊙ up, the activation by its number. */
export function gatedRows(store: TensorStore, gate: CudaTensor, up: CudaTensor, kind: number): CudaTensor {
  const { rows, columns } = gate;
  const y = store.createInput(gate.shape);
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.gatedActivationForward, grid2(rows, columns), {
    out: y.address, gate: gate.address, up: up.address,
    rows, columns, ldo: y.ld, ldgate: gate.ld, ldup: up.ld, kind,
  });
  return y;
}

/** `gatedRows` with the e4m3 codes of the result; the caller frees their block. */
export function gatedRowsE4m3(store: TensorStore, gate: CudaTensor, up: CudaTensor, kind: number) {
  const { rows, columns } = gate;
  const y = store.createInput(gate.shape);
  const operand = operandRoom(store, rows, columns);
  const { threads, vectors } = quantizeShape(columns);
  // biome-ignore format: parameters by operand
  store.kernels.launch(ofWidth(KERNELS.gatedActivationE4m3, vectors), [rows], {
    out: y.address, codes: operand.codes, scales: operand.scales, gate: gate.address, up: up.address, rows, columns,
    ldo: y.ld, ldcodes: operand.ld, ldgate: gate.ld, ldup: up.ld, kind,
  }, threads);
  return { y, operand };
}

interface GatedGradients {
  readonly gate: CudaTensor;
  readonly up: CudaTensor;
  readonly dy: CudaTensor;
  /** Written, where given. */
  readonly dGate: CudaTensor | undefined;
  readonly dUp: CudaTensor | undefined;
}

export function gatedGradients(store: TensorStore, { gate, up, dy, dGate, dUp }: GatedGradients, kind: number): void {
  const { rows, columns } = gate;
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.gatedActivationBackward, grid2(rows, columns), {
    dgate: dGate?.address, dup: dUp?.address,
    gate: gate.address, up: up.address, dy: dy.address, rows, columns,
    lddgate: dGate?.ld ?? 0, lddup: dUp?.ld ?? 0, ldgate: gate.ld, ldup: up.ld, lddy: dy.ld, kind,
  });
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

/** a + b. The gradient of the sum is the gradient of both. */
export function add(store: TensorStore): Operation<OperationAttributes['add']> {
  return {
    forward(inputs) {
      const first = store.use(inputs[0]!, 'add');
      // Vectors (of losses) stay float32.
      if (first.shape.length < 2 && first.type === 'f32') {
        const sum = store.toF32(first);
        store.withF32(inputs[1]!, 'add', (b) => store.addF32(sum.address, b, sum.size));
        return { outputs: [sum], saved: [] };
      }
      const a = store.asBf16(first);
      const b = store.like(inputs[1], a, 'add', 'b');
      const sum = store.create(a.shape);
      store.add(sum, a, b);
      return { outputs: [sum], saved: [] };
    },
    backward: (_saved, [gradient], _attributes, needs) => store.shared(gradient, needs),
  };
}
