/** Addition and activations, alone and gating another row. Backward recomputes activations from the saved inputs. */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { blocks, lanesOf, type TensorStore } from '../tensor-store.js';

export function activation(store: TensorStore): Operation<OperationAttributes['activation']> {
  return {
    forward([input], { activation: kind }, record) {
      const x = store.use(input, 'activation');
      const y = store.create(x.shape);
      const { width, defines } = lanesOf(x.size);
      const n = x.size / width;
      const variant = { defines: { ...defines, KIND: kind } };
      store.kernels.launch(WGSL.activation, blocks(n), { out: y.range, x: x.range, n }, variant);
      return { outputs: [y], saved: record ? [x] : [] };
    },
    backward([input], [gradient], { activation: kind }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const x = store.use(input, 'activation');
      const dy = store.like(gradient, x, 'activation', 'output gradient');
      const out = store.create(x.shape);
      const { width, defines } = lanesOf(x.size);
      const n = x.size / width;
      const variant = { defines: { ...defines, KIND: kind, BACKWARD: true } };
      store.apart([x, dy], (first, second) => {
        const bindings = { out: out.range, x: first!, dy: second };
        store.kernels.launch(WGSL.activation, blocks(n), { ...bindings, n }, variant);
      });
      return [out];
    },
  };
}

export function gatedActivation(store: TensorStore): Operation<OperationAttributes['gatedActivation']> {
  const operation = 'gatedActivation';
  return {
    forward(inputs, { activation: kind }, record) {
      const gate = store.use(inputs[0], operation);
      const up = store.like(inputs[1], gate, operation, 'up');
      const y = store.create(gate.shape);
      const { width, defines } = lanesOf(gate.size);
      const n = gate.size / width;
      const variant = { defines: { ...defines, KIND: kind } };
      store.apart([gate, up], (x, other) => {
        const bindings = { out: y.range, x: x!, up: other! };
        store.kernels.launch(WGSL.gatedActivation, blocks(n), { ...bindings, n }, variant);
      });
      return { outputs: [y], saved: record ? [gate, up] : [] };
    },
    backward(saved, [gradient], { activation: kind }, needs) {
      if (!gradient || !needs.includes(true)) return [undefined, undefined];
      const gate = store.use(saved[0], operation);
      const up = store.like(saved[1], gate, operation, 'up');
      const dy = store.like(gradient, gate, operation, 'output gradient');
      const [dx, dup] = needs.map((need) => (need ? store.create(gate.shape) : undefined));
      const { width, defines } = lanesOf(gate.size);
      const n = gate.size / width;
      const variant = { defines: { ...defines, KIND: kind, DX: dx !== undefined, DUP: dup !== undefined } };
      store.apart([gate, up, dy], (x, other, third) => {
        const bindings = { dx: dx?.range, dup: dup?.range, x: x!, up: other!, dy: third! };
        store.kernels.launch(WGSL.gatedActivationBackward, blocks(n), { ...bindings, n }, variant);
      });
      return [dx, dup];
    },
  };
}

/** a + b. The gradient of the sum is the gradient of both. */
export function add(store: TensorStore): Operation<OperationAttributes['add']> {
  return {
    forward(inputs) {
      const a = store.use(inputs[0], 'add');
      const b = store.like(inputs[1], a, 'add', 'b');
      const sum = store.create(a.shape);
      const { width, defines } = lanesOf(a.size);
      const n = a.size / width;
      store.apart([a, b], (x, y) => {
        store.kernels.launch(WGSL.add, blocks(n), { out: sum.range, a: x!, b: y!, n }, { defines });
      });
      return { outputs: [sum], saved: [] };
    },
    backward: (_saved, [gradient], _attributes, needs) => store.shared(gradient, needs),
  };
}
