import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

export function rmsNorm(_store: TensorStore): Operation<OperationAttributes['rmsNorm']> {
  const missing = (): never => {
    throw new EngineError('rmsNorm: to be written');
  };
  return { forward: missing, backward: missing };
}
