/** Tensors counted by reference, and the checks of them: what the engines and their stores have in common. */
import { EngineError } from '../errors.js';
import { sizeOf } from '../formats/weight-source.js';
import { type Extents, requireMatrix, type Tensor } from './tensor.js';

let nextId = 1;

export class CountedTensor implements Tensor {
  readonly id = nextId++;
  readonly shape: readonly number[];
  readonly size: number;
  /** Value or gradient of a parameter: freed with its set. */
  readonly isParameter: boolean;
  references = 1;
  isFreed = false;
  /** Of a parameter's gradient: whether an operation has added to it since it was zeroed. */
  isTouched = false;

  constructor(shape: readonly number[], isParameter: boolean) {
    this.shape = shape;
    this.size = sizeOf(shape);
    this.isParameter = isParameter;
  }
}

export abstract class CountedTensors<T extends CountedTensor> {
  /** Tensors that are not freed, oldest first, but for those that `keep` was called for. */
  protected readonly live = new Set<T>();
  readonly #kind: abstract new (
    ...values: never[]
  ) => T;

  /** @param kind the class of this engine's tensors */
  constructor(kind: abstract new (...values: never[]) => T) {
    this.#kind = kind;
  }

  /** Gives its memory back. */
  protected abstract drop(tensor: T): void;

  /** The id of the next tensor. */
  get mark(): number {
    return nextId;
  }

  /** The tensor, to compute with. @throws EngineError if it is missing, freed or of another engine */
  use(tensor: Tensor | undefined, operation: string, what?: string): T {
    return this.known(tensor, operation, what);
  }

  /** The tensor, whether its values are on the device or not. @throws EngineError as `use` */
  protected known(tensor: Tensor | undefined, operation: string, what = 'the tensor'): T {
    if (!tensor) throw new EngineError(`${operation}: ${what} is missing`);
    if (!(tensor instanceof this.#kind)) throw new EngineError(`${operation}: ${what} belongs to another engine`);
    if (!tensor.isFreed) return tensor;
    const name = `tensor #${tensor.id} [${tensor.shape.join(', ')}]`;
    throw new EngineError(`${operation}: ${name} is used after it was freed`, {
      hint: 'Retain it, or make it outside the tape region that ended.',
    });
  }

  /** `use`, and the shape must be that of a matrix of these extents. */
  matrix(tensor: Tensor | undefined, operation: string, what: string, extents?: Extents): T {
    const known = this.use(tensor, operation, what);
    requireMatrix(known, operation, what, extents);
    return known;
  }

  like(tensor: Tensor | undefined, model: Tensor, operation: string, what: string): T {
    const known = this.use(tensor, operation, what);
    if (known.shape.join() === model.shape.join()) return known;
    const expected = model.shape.join(', ');
    throw new EngineError(`${operation}: ${what} has shape [${known.shape.join(', ')}], expected [${expected}]`);
  }

  /**
   * For a tensor that is made only to be saved for backward: it starts with a count of 0, so that it is freed when the
   * tape releases what an operation saved.
   */
  saved(tensor: T): T {
    tensor.references = 0;
    return tensor;
  }

  /**
   * One gradient of several inputs, counted once for each that needs it.
   * @param counted references that it has already
   */
  shared(gradient: Tensor | undefined, needs: readonly boolean[], counted = 0): (T | undefined)[] {
    if (!gradient) return needs.map(() => undefined);
    const known = this.use(gradient, 'gradient');
    known.references += needs.filter((need) => need).length - counted;
    return needs.map((need) => (need ? known : undefined));
  }

  /** Takes a tensor out of what `releaseSince` frees: it was made beside a computation, not by it. */
  keep(tensor: T): T {
    this.live.delete(tensor);
    return tensor;
  }

  retain(tensor: Tensor): void {
    this.known(tensor, 'retain').references++;
  }

  release(tensor: Tensor): void {
    const known = this.known(tensor, 'release');
    known.references--;
    if (known.references <= 0 && !known.isParameter) this.free(known);
  }

  /** Frees the tensors made since the one with this id. */
  releaseSince(id: number): void {
    for (const tensor of [...this.live]) if (!tensor.isParameter && tensor.id >= id) this.free(tensor);
  }

  free(tensor: T): void {
    tensor.isFreed = true;
    this.live.delete(tensor);
    this.drop(tensor);
  }
}

/** An engine whose tensors are counted by its store. */
export abstract class CountingEngine {
  readonly #tensors: CountedTensors<CountedTensor>;

  constructor(tensors: CountedTensors<CountedTensor>) {
    this.#tensors = tensors;
  }

  retain(tensor: Tensor): void {
    this.#tensors.retain(tensor);
  }

  release(tensor: Tensor): void {
    this.#tensors.release(tensor);
  }

  mark(): number {
    return this.#tensors.mark;
  }

  releaseSince(mark: number): void {
    this.#tensors.releaseSince(mark);
  }

  abstract dispose(): Promise<void>;

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
