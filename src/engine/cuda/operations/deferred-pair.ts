/** Two outputs of equal width of one product of few rows, which may become activation(first) ⊙ second on the way. */
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { DeferredResult } from './deferred-result.js';

interface PairProduct {
  /** Both outputs, apart. */
  plain(): readonly CudaTensor[];
  /** activation(first) ⊙ second; the activation by its number in common.cu. */
  gated(activation: number): CudaTensor;
}

export class DeferredPair extends DeferredResult {
  readonly #product: PairProduct;

  constructor(store: TensorStore, x: CudaTensor, shape: readonly number[], product: PairProduct) {
    super(store, [x], [shape, shape]);
    this.#product = product;
  }

  make(): void {
    for (const [i, made] of this.#product.plain().entries()) this.give(this.outputs[i]!, made);
  }

  gated(activation: number): CudaTensor {
    return this.#product.gated(activation);
  }
}
