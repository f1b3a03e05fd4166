/** Gradients of inputs through a tape, which by itself only adds up those of parameters from a loss. */
import type { Engine } from '../../../src/engine/engine.js';
import type { Operation, OperationAttributes } from '../../../src/engine/operations.js';
import { Tape } from '../../../src/engine/tape.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import type { Gradients } from './plain-reference.js';

type Linear = Operation<OperationAttributes['linear']>;

/**
 * Runs `body` between an operation that gives the inputs and takes their gradients, and one that takes its results and
 * gives theirs.
 */
export async function gradientsThrough(
  engine: Engine,
  inputs: readonly Tensor[],
  incoming: Gradients,
  body: (tape: Tape, inputs: readonly Tensor[]) => Promise<readonly Tensor[]>,
): Promise<(Float32Array | undefined)[]> {
  let arrived: readonly (Tensor | undefined)[] = [];
  const first: OperationAttributes['linear'] = { parts: [{ weight: undefined as never, lora: {} as never }] };
  const linear = engine.operations.linear as Linear;
  const ends = {
    // An adapted layer, as far as the tape can see: only such a one needs gradients without being given any.
    linear: {
      forward: (given, attributes, record) => {
        if (attributes !== first) return linear.forward(given, attributes, record);
        for (const input of inputs) engine.retain(input);
        return { outputs: inputs, saved: [] };
      },
      backward: (saved, gradients, attributes, needs) => {
        if (attributes !== first) return linear.backward(saved, gradients, attributes, needs);
        for (const gradient of gradients) if (gradient) engine.retain(gradient);
        arrived = gradients.slice();
        return [];
      },
    } satisfies Linear,
    end: {
      forward: () => ({ outputs: [engine.zeros([1])], saved: [] }),
      backward: () => results.map(({ shape }, i) => engine.fromArray(Float32Array.from(incoming[i]!), shape)),
    },
  };
  const between = new Proxy(engine, {
    get(target, name) {
      if (name === 'operations') return { ...target.operations, ...ends };
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const tape = new Tape(between);
  let results: readonly Tensor[] = [];
  try {
    results = await body(tape, tape.apply('linear', [], first));
    tape.backward(tape.apply('end' as 'add', results, {})[0]!);
    const read: (Float32Array | undefined)[] = [];
    for (const gradient of arrived) read.push(gradient && (await engine.read(gradient)));
    for (const gradient of arrived) if (gradient) engine.release(gradient);
    return read;
  } finally {
    tape.dispose();
  }
}
