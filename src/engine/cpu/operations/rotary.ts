/** Rotary position embedding of queries and keys. */
import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { rotaryByTensor, rotaryHeads } from '../../rotary.js';
import type { Tensor } from '../../tensor.js';
import type { CpuTensor, TensorStore } from '../tensor-store.js';

const OPERATION = 'rotary';

type Attributes = OperationAttributes['rotary'];

function turn(store: TensorStore, input: Tensor, attributes: Attributes, isQuery: boolean, sign: 1 | -1): CpuTensor {
  const { headDim, cos, sin, queryScale } = attributes;
  const x = store.matrix(input, OPERATION, isQuery ? 'q' : 'k');
  const [rows, columns] = x.shape as [number, number];
  const heads = rotaryHeads(columns, headDim);
  const tables = [cos, sin].map(
    (table) => store.matrix(table, OPERATION, 'cos or sin', { rows, columns: headDim / 2 }).ptr,
  );
  const scale = isQuery && queryScale ? store.use(queryScale, OPERATION) : undefined;
  if (scale && scale.size !== rows) throw new EngineError(`${OPERATION}: queryScale has ${scale.size} of ${rows} rows`);
  const out = store.create(x.shape);
  const ints = [x.ptr, out.ptr, ...tables, scale?.ptr ?? 0, heads, headDim];
  store.byRows('rotary', rows, columns, ints, [sign]);
  return out;
}

export function rotary(store: TensorStore): Operation<Attributes> {
  return rotaryByTensor((...given) => turn(store, ...given));
}
