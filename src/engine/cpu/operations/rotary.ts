/** Rotary position embedding of queries and keys. The gradient turns the other way; only the tables are saved. */
import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { Tensor } from '../../tensor.js';
import type { CpuTensor, TensorStore } from '../tensor-store.js';

const OPERATION = 'rotary';

type Attributes = OperationAttributes['rotary'];

function turn(store: TensorStore, input: Tensor, attributes: Attributes, scaled: boolean, sign: number): CpuTensor {
  const { headDim, cos, sin, queryScale } = attributes;
  const x = store.matrix(input, OPERATION, scaled ? 'q' : 'k');
  const [rows, columns] = x.shape as [number, number];
  if (headDim % 2 !== 0 || columns % headDim !== 0) {
    throw new EngineError(`${OPERATION}: rows of ${columns} do not hold heads of ${headDim}, an even number`);
  }
  const tables = [cos, sin].map(
    (table) => store.matrix(table, OPERATION, 'cos or sin', { rows, columns: headDim / 2 }).ptr,
  );
  const scale = scaled && queryScale ? store.use(queryScale, OPERATION) : undefined;
  if (scale && scale.size !== rows) throw new EngineError(`${OPERATION}: queryScale has ${scale.size} of ${rows} rows`);
  const out = store.create(x.shape);
  const ints = [x.ptr, out.ptr, ...tables, scale?.ptr ?? 0, columns / headDim, headDim];
  store.byRows('rotary', rows, columns, ints, [sign]);
  return out;
}

export function rotary(store: TensorStore): Operation<Attributes> {
  return {
    forward([q, k], attributes, record) {
      const outputs = [turn(store, q!, attributes, true, 1), turn(store, k!, attributes, false, 1)];
      const { cos, sin, queryScale } = attributes;
      return { outputs, saved: record ? [cos, sin, ...(queryScale ? [queryScale] : [])] : [] };
    },
    backward(_saved, [dq, dk], attributes, needs) {
      return [
        needs[0] && dq ? turn(store, dq, attributes, true, -1) : undefined,
        needs[1] && dk ? turn(store, dk, attributes, false, -1) : undefined,
      ];
    },
  };
}
