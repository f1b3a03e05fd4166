import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore, WebgpuTensor } from '../tensor-store.js';

export function embedding(_store: TensorStore): Operation<OperationAttributes['embedding']> {
  const missing = (): never => {
    throw new EngineError('embedding: to be written');
  };
  return { forward: missing, backward: missing };
}

export function mergePatches(_store: TensorStore): Operation<OperationAttributes['mergePatches']> {
  const missing = (): never => {
    throw new EngineError('mergePatches: to be written');
  };
  return { forward: missing, backward: missing };
}

export function gatherRows(_store: TensorStore): Operation<OperationAttributes['gatherRows']> {
  const missing = (): never => {
    throw new EngineError('gatherRows: to be written');
  };
  return { forward: missing, backward: missing };
}

export function scatterRows(_store: TensorStore): Operation<OperationAttributes['scatterRows']> {
  const missing = (): never => {
    throw new EngineError('scatterRows: to be written');
  };
  return { forward: missing, backward: missing };
}

/** Copies source row i to row rows[i] of target. */
export function writeRows(_store: TensorStore, _target: WebgpuTensor, _source: WebgpuTensor, _rows: Int32Array): void {
  throw new EngineError('writeRows: to be written');
}
