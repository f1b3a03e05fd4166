import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';

export function gatedActivation(_store: TensorStore): Operation<OperationAttributes['gatedActivation']> {
  const missing = (): never => {
    throw new EngineError('gatedActivation: to be written');
  };
  return { forward: missing, backward: missing };
}

export function activation(_store: TensorStore): Operation<OperationAttributes['activation']> {
  const missing = (): never => {
    throw new EngineError('activation: to be written');
  };
  return { forward: missing, backward: missing };
}

export function add(_store: TensorStore): Operation<OperationAttributes['add']> {
  const missing = (): never => {
    throw new EngineError('add: to be written');
  };
  return { forward: missing, backward: missing };
}
