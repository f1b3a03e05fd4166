/**
 * Results that are computed when somebody asks for their numbers, or never: the operation that reads them may make them
 * along the way, in a launch of its own. At inference only.
 */
import type { TensorStore } from '../tensor-store.js';
import { CudaTensor, type Deferred } from '../tensors.js';

export abstract class DeferredResult implements Deferred {
  /** Without numbers while they wait. */
  readonly outputs: readonly CudaTensor[];
  protected readonly store: TensorStore;
  readonly #sources: readonly CudaTensor[];
  #waiting: number;

  /** @param sources kept alive until no output waits */
  constructor(store: TensorStore, sources: readonly CudaTensor[], shapes: readonly (readonly number[])[]) {
    this.store = store;
    this.#sources = sources;
    this.#waiting = shapes.length;
    for (const source of sources) store.retain(source);
    this.outputs = shapes.map((shape) => {
      const output = new CudaTensor([...shape], 'bf16', undefined, 0, 0);
      output.deferred = this;
      output.onFree = () => this.#settle(output);
      return output;
    });
  }

  /** Gives every output that waits its numbers. */
  abstract make(): void;

  /** Gives one output the numbers of `made`, which are released if it does not wait. */
  protected give(output: CudaTensor, made: CudaTensor): void {
    if (output.deferred !== this) {
      this.store.release(made);
      return;
    }
    this.store.takeOver(output, made);
    this.#settle(output);
  }

  #settle(output: CudaTensor): void {
    output.deferred = undefined;
    output.onFree = undefined;
    if (--this.#waiting === 0) for (const source of this.#sources) this.store.release(source);
  }
}
