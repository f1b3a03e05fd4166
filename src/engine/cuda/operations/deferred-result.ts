/**
 * Results that are computed when somebody asks for their numbers, or never: the operation that reads them may make them
 * along the way, in a launch of its own. At inference only.
 */
import { NULL_POINTER } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import { CudaTensor, type Unfinished } from '../tensors.js';

class Waiting implements Unfinished {
  readonly result: DeferredResult;
  readonly drop: () => void;

  constructor(result: DeferredResult, drop: () => void) {
    this.result = result;
    this.drop = drop;
  }

  finish(): void {
    this.result.make();
  }
}

export abstract class DeferredResult {
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
      const output = new CudaTensor([...shape], 'bf16', undefined, NULL_POINTER, 0);
      output.unfinished = new Waiting(this, () => this.#settle(output));
      return output;
    });
  }

  /** What `tensor` is a waiting output of. */
  static of(tensor: CudaTensor | undefined): DeferredResult | undefined {
    return tensor?.unfinished instanceof Waiting ? tensor.unfinished.result : undefined;
  }

  /** Gives every output that waits its numbers. */
  abstract make(): void;

  /** Gives one output the numbers of `made`, which are released if it does not wait. */
  protected give(output: CudaTensor, made: CudaTensor): void {
    if (DeferredResult.of(output) !== this) {
      this.store.release(made);
      return;
    }
    this.store.takeOver(output, made);
    this.#settle(output);
  }

  #settle(output: CudaTensor): void {
    output.unfinished = undefined;
    if (--this.#waiting === 0) for (const source of this.#sources) this.store.release(source);
  }
}
