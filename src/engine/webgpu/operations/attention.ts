import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

export function attention(_store: TensorStore): Operation<OperationAttributes['attention']> {
  const missing = (): never => {
    throw new EngineError('attention: to be written');
  };
  return { forward: missing, backward: missing };
}
