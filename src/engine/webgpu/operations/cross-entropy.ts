import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

export function crossEntropy(_store: TensorStore): Operation<OperationAttributes['crossEntropy']> {
  const missing = (): never => {
    throw new EngineError('crossEntropy: to be written');
  };
  return { forward: missing, backward: missing };
}
