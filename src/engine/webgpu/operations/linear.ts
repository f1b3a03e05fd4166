import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

export function linear(_store: TensorStore): Operation<OperationAttributes['linear']> {
  const missing = (): never => {
    throw new EngineError('linear: to be written');
  };
  return { forward: missing, backward: missing };
}
