/** Rotary position embedding of queries and keys. */
import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { rotaryByTensor, rotaryHeads } from '../../rotary.js';
import type { Tensor } from '../../tensor.js';
import type { TensorStore, TfjsTensor } from '../tensor-store.js';
import type { TfNamespace, TfTensor } from '../tf-namespace.js';

const OPERATION = 'rotary';

type Attributes = OperationAttributes['rotary'];

/** x ⊙ (cos, cos) + (second half, first half) ⊙ (-sin, sin) by head; `sign` -1 turns back. */
function turn(store: TensorStore, input: Tensor, attributes: Attributes, isQuery: boolean, sign: 1 | -1): TfjsTensor {
  const { headDim } = attributes;
  const x = store.matrix(input, OPERATION, isQuery ? 'q' : 'k');
  const [rows, columns] = x.shape as [number, number];
  const heads = rotaryHeads(columns, headDim);
  const half = headDim / 2;
  const cos = store.matrix(attributes.cos, OPERATION, 'cos', { rows, columns: half }).data;
  const sin = store.matrix(attributes.sin, OPERATION, 'sin', { rows, columns: half }).data;
  const scale = isQuery && attributes.queryScale ? store.use(attributes.queryScale, OPERATION) : undefined;
  if (scale && scale.size !== rows) throw new EngineError(`${OPERATION}: queryScale has ${scale.size} of ${rows} rows`);
  return store.one(OPERATION, (tf: TfNamespace) => {
    // The tables are small beside x: a row's scale goes into them.
    const table = (first: TfTensor, second: TfTensor): TfTensor => {
      const joined = tf.concat([first, second], 1);
      const scaled = scale ? tf.mul(joined, tf.reshape(scale.data, [rows, 1])) : joined;
      return tf.reshape(scaled, [rows, 1, headDim]);
    };
    const split = tf.reshape(x.data, [rows, heads, headDim]);
    const first = tf.slice(split, [0, 0, 0], [rows, heads, half]);
    const second = tf.slice(split, [0, 0, half], [rows, heads, half]);
    const straight = tf.mul(split, table(cos, cos));
    const crossed = tf.mul(tf.concat([second, first], 2), table(tf.mul(sin, -sign), tf.mul(sin, sign)));
    return tf.reshape(tf.add(straight, crossed), [rows, columns]);
  });
}

export function rotary(store: TensorStore): Operation<Attributes> {
  return rotaryByTensor((...given) => turn(store, ...given));
}
