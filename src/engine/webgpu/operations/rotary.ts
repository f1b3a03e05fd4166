import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

export function rotary(_store: TensorStore): Operation<OperationAttributes['rotary']> {
  const missing = (): never => {
    throw new EngineError('rotary: to be written');
  };
  return { forward: missing, backward: missing };
}
