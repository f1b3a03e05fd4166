/** The whole table of operations of the `cuda` engine. */
import { COMPOSITIONS } from '../compositions.js';
import type { Operations } from '../operations.js';
import type { CudaParameterSet } from './adapters.js';
import { activation, gatedActivation } from './operations/activation.js';
import { add } from './operations/add.js';
import { AttentionOperation } from './operations/attention.js';
import { crossEntropy } from './operations/cross-entropy.js';
import { LinearOperation } from './operations/linear.js';
import { rmsNorm } from './operations/rms-norm.js';
import { rotary } from './operations/rotary.js';
import { embedding, gatherRows, mergePatches, scatterRows } from './operations/rows.js';
import type { TensorStore } from './tensor-store.js';
import type { WeightStore } from './weights.js';

export interface CudaOperations extends Operations {
  readonly linear: LinearOperation;
  readonly attention: AttentionOperation;
}

/**
 * @param sets the parameter set of each parameter
 * @param capability compute capability of the card, e.g. 90
 */
export function cudaOperations(
  store: TensorStore,
  weights: WeightStore,
  sets: ReadonlyMap<unknown, CudaParameterSet>,
  capability: number,
): CudaOperations {
  return {
    ...COMPOSITIONS,
    embedding: embedding(store, weights),
    linear: new LinearOperation(store, weights, sets),
    rmsNorm: rmsNorm(store, weights),
    rotary: rotary(store),
    attention: new AttentionOperation(store, capability),
    gatedActivation: gatedActivation(store),
    activation: activation(store),
    add: add(store),
    mergePatches: mergePatches(store),
    gatherRows: gatherRows(store),
    scatterRows: scatterRows(store),
    crossEntropy: crossEntropy(store, weights),
  };
}
