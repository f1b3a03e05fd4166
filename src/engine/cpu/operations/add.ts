/** a + b. The gradient of the sum is the gradient of both. */
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

export function add(store: TensorStore): Operation<OperationAttributes['add']> {
  return {
    forward(inputs) {
      const a = store.use(inputs[0]!, 'add');
      const b = store.like(inputs[1], a, 'add', 'b');
      const sum = store.create(a.shape);
      store.elementwise('add', a.size, [a.ptr, b.ptr, sum.ptr]);
      return { outputs: [sum], saved: [] };
    },
    backward(_saved, [gradient], _attributes, needs) {
      if (!gradient) return [undefined, undefined];
      for (const need of needs) if (need) store.retain(gradient);
      return needs.map((need) => (need ? gradient : undefined));
    },
  };
}
