/** The whole table of operations of the `cuda` engine. */
import type { Operations } from '../operations.js';
import type { CudaParameterSet } from './adapters.js';
import type { E4m3Products } from './e4m3-products.js';
import { AttentionOperation } from './operations/attention.js';
import { AttentionBlock } from './operations/attention-block.js';
import { crossEntropy } from './operations/cross-entropy.js';
import { activation, add, gatedActivation } from './operations/elementwise.js';
import { GatedBlock } from './operations/gated-block.js';
import { linear } from './operations/linear.js';
import { LinearLayers } from './operations/linear-layers.js';
import { NormedLinear } from './operations/normed-linear.js';
import { rmsNorm } from './operations/rms-norm.js';
import { rotary } from './operations/rotary.js';
import { embedding, gatherRows, mergePatches, scatterRows } from './operations/rows.js';
import type { TensorStore } from './tensor-store.js';
import type { WeightStore } from './weights.js';

export interface CudaOperations extends Operations {
  readonly attention: AttentionOperation;
  readonly attentionBlock: AttentionBlock;
  readonly gatedBlock: GatedBlock;
}

/**
 * The table, and what frees the lists that operations keep on the device.
 * @param sets the parameter set of each parameter
 * @param capability compute capability of the card, e.g. 90
 */
export function cudaOperations(
  store: TensorStore,
  weights: WeightStore,
  sets: ReadonlyMap<unknown, CudaParameterSet>,
  capability: number,
  e4m3: E4m3Products,
): { readonly operations: CudaOperations; dispose(): void } {
  const layers = new LinearLayers(store, weights, sets, e4m3);
  const normed = new NormedLinear(store, weights, layers);
  const attention = new AttentionOperation(store, capability);
  const attentionBlock = new AttentionBlock(store, normed, attention);
  const operations: CudaOperations = {
    attentionBlock,
    gatedBlock: new GatedBlock(store, normed, layers),
    embedding: embedding(store, weights),
    linear: linear(store, layers),
    rmsNorm: rmsNorm(store, weights),
    rotary: rotary(store),
    attention,
    gatedActivation: gatedActivation(store),
    activation: activation(store),
    add: add(store),
    mergePatches: mergePatches(store),
    gatherRows: gatherRows(store),
    scatterRows: scatterRows(store),
    crossEntropy: crossEntropy(store, weights),
  };
  const dispose = (): void => {
    layers.dispose();
    attention.dispose();
    attentionBlock.dispose();
  };
  return { operations, dispose };
}
