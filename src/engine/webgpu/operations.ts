/** The whole table of operations of the `webgpu` engine. */
import { COMPOSITIONS } from '../compositions.js';
import type { Operations } from '../operations.js';
import { AttentionOperation } from './operations/attention.js';
import { crossEntropy } from './operations/cross-entropy.js';
import { activation, add, gatedActivation } from './operations/elementwise.js';
import { embedding } from './operations/embedding.js';
import { linear } from './operations/linear.js';
import { rmsNorm } from './operations/rms-norm.js';
import { rotary } from './operations/rotary.js';
import { gatherRows, mergePatches, scatterRows } from './operations/rows.js';
import type { TensorStore } from './tensor-store.js';

export function webgpuOperations(store: TensorStore): Operations {
  return {
    ...COMPOSITIONS,
    embedding: embedding(store),
    linear: linear(store),
    rmsNorm: rmsNorm(store),
    rotary: rotary(store),
    attention: new AttentionOperation(store),
    gatedActivation: gatedActivation(store),
    activation: activation(store),
    add: add(store),
    mergePatches: mergePatches(store),
    gatherRows: gatherRows(store),
    scatterRows: scatterRows(store),
    crossEntropy: crossEntropy(store),
  };
}
