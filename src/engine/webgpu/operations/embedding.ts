import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

export function embedding(_store: TensorStore): Operation<OperationAttributes['embedding']> {
  const missing = (): never => {
    throw new EngineError('embedding: to be written');
  };
  return { forward: missing, backward: missing };
}
