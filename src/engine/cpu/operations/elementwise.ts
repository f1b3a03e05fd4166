/** Addition and activations, alone and gating another row. Backward recomputes activations from the saved inputs. */
import type { Activation, Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

/** Kinds as wasm/elementwise.ts numbers them. */
const KIND: Readonly<Record<Activation, number>> = { silu: 0, gelu: 1, gelu_tanh: 2, relu: 3 };

export function activation(store: TensorStore): Operation<OperationAttributes['activation']> {
  return {
    forward([input], { activation: kind }, record) {
      const x = store.use(input!, 'activation');
      const y = store.create(x.shape);
      store.elementwise('activate', x.size, [x.ptr, y.ptr, KIND[kind]]);
      return { outputs: [y], saved: record ? [x] : [] };
    },
    backward([input], [gradient], { activation: kind }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const x = store.use(input!, 'activation');
      const dy = store.like(gradient, x, 'activation', 'output gradient');
      const dx = store.create(x.shape);
      store.elementwise('activateBackward', x.size, [x.ptr, dy.ptr, dx.ptr, KIND[kind]]);
      return [dx];
    },
  };
}

export function gatedActivation(store: TensorStore): Operation<OperationAttributes['gatedActivation']> {
  const operation = 'gatedActivation';
  return {
    forward(inputs, { activation: kind }, record) {
      const gate = store.use(inputs[0]!, operation);
      const up = store.like(inputs[1], gate, operation, 'up');
      const y = store.create(gate.shape);
      store.elementwise('gatedActivate', gate.size, [gate.ptr, up.ptr, y.ptr, KIND[kind]]);
      return { outputs: [y], saved: record ? [gate, up] : [] };
    },
    backward(saved, [gradient], { activation: kind }, needs) {
      if (!gradient || !needs.includes(true)) return [undefined, undefined];
      const [gate, up] = saved.map((tensor) => store.use(tensor, operation));
      const dy = store.like(gradient, gate!, operation, 'output gradient');
      const dGate = needs[0] ? store.create(gate!.shape) : undefined;
      const dUp = needs[1] ? store.create(gate!.shape) : undefined;
      const pointers = [gate!.ptr, up!.ptr, dy.ptr, dGate?.ptr ?? 0, dUp?.ptr ?? 0];
      store.elementwise('gatedActivateBackward', gate!.size, [...pointers, KIND[kind]]);
      return [dGate, dUp];
    },
  };
}

/** a + b. The gradient of the sum is the gradient of both. */
export function add(store: TensorStore): Operation<OperationAttributes['add']> {
  return {
    forward(inputs) {
      const a = store.use(inputs[0]!, 'add');
      const b = store.like(inputs[1], a, 'add', 'b');
      const sum = store.create(a.shape);
      store.elementwise('add', a.size, [a.ptr, b.ptr, sum.ptr]);
      return { outputs: [sum], saved: [] };
    },
    backward: (_saved, [gradient], _attributes, needs) => store.shared(gradient, needs),
  };
}
