/** a + b. The gradient of the sum is the gradient of both. */
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

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
    backward(_saved, [gradient], _attributes, needs) {
      if (!gradient) return [undefined, undefined];
      for (const need of needs) if (need) store.retain(gradient);
      return needs.map((need) => (need ? gradient : undefined));
    },
  };
}
