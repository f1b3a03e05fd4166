/**
 * The gradient of an adapted layer's input that lacks its low-rank part, dx += mask⊙(du·A)/(1-p), while the gradient of
 * A, dA += duᵀ·(mask⊙x)/(1-p), is due. A gated activation that made x does both in its own pass (gated-backward.ts);
 * for everybody else, the store has them done before the tensor is used, and dA before it is freed.
 */
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor, Unfinished } from '../tensors.js';
import { type LoraInputSide, loraGradientA, loraInputGradient, loraInputGradients } from './low-rank-gradients.js';

export class UnfinishedGradient implements Unfinished {
  readonly low: LoraInputSide;
  readonly #store: TensorStore;
  readonly #dx: CudaTensor;
  /** x as `keepOrRemake` gave it, as long as dA is due. */
  #x: CudaTensor | undefined;

  /** @param dx [T, K] with du [T, E] in its block */
  constructor(store: TensorStore, dx: CudaTensor, x: CudaTensor, low: LoraInputSide) {
    this.#store = store;
    this.#dx = dx;
    this.#x = x;
    this.low = low;
    store.retain(x);
    if (low.bits) store.retain(low.bits);
    dx.unfinished = this;
  }

  /** What x is made of, as long as dA is due. */
  get recipe(): CudaTensor['recipe'] {
    return this.#x?.recipe;
  }

  finish(): void {
    this.#dx.unfinished = undefined;
    if (this.#x) loraInputGradients(this.#store, this.#dx, this.low, this.#x);
    else loraInputGradient(this.#store, this.#dx, this.low);
    this.#close();
  }

  drop(): void {
    this.#dx.unfinished = undefined;
    if (this.#x) loraGradientA(this.#store, this.low, this.#x);
    this.#close();
  }

  #close(): void {
    this.dropA();
    if (this.low.bits) this.#store.release(this.low.bits);
  }

  /** dA was done by another. */
  dropA(): void {
    if (this.#x) this.#store.release(this.#x);
    this.#x = undefined;
  }
}
