/** Tensors of the `cpu` engine: float32 blocks of the heap, counted by reference, and the shape checks of operations. */
import { EngineError } from '../../errors.js';
import { sizeOf } from '../../formats/weight-source.js';
import { type Extents, requireMatrix, type Tensor, type Weight } from '../tensor.js';
import type { CpuRuntime } from './cpu-runtime.js';
import { FrozenWeight } from './frozen-weight.js';
import type { Matmul } from './matmul.js';

let nextId = 1;

/** The id of the next tensor. */
export function nextTensorId(): number {
  return nextId;
}

export class CpuTensor implements Tensor {
  readonly id = nextId++;
  readonly shape: readonly number[];
  readonly size: number;
  /** Byte address in the heap. */
  readonly ptr: number;
  /** A view lies inside a parameter set and is freed with it. */
  readonly isView: boolean;
  references = 1;
  isFreed = false;
  /** Of a parameter's gradient: whether an operation has added to it since it was zeroed. */
  isTouched = false;

  constructor(shape: readonly number[], ptr: number, isView: boolean) {
    this.shape = shape;
    this.size = sizeOf(shape);
    this.ptr = ptr;
    this.isView = isView;
  }
}

/** Elements of one item of the elementwise kernels (BLOCK in wasm/elementwise.ts and wasm/optimizer.ts). */
export const ELEMENTWISE_BLOCK = 4096;

/**
 * Most numbers of a frozen matrix that is kept in float32 as well: widening it anew for each product would cost as much
 * as a product of few rows. All such weights of a model of billions of parameters are some MiB.
 */
const MAX_WIDENED = 1 << 16;

export class TensorStore {
  readonly runtime: CpuRuntime;
  /** Vectors (norms, biases) and small matrices: widened once, into the heap. */
  readonly #widened = new Map<FrozenWeight, number>();
  readonly #weights = new Set<FrozenWeight>();
  /** Tensors that are not freed, oldest first, but for those that `keep` was called for. */
  readonly #live = new Set<CpuTensor>();

  constructor(runtime: CpuRuntime) {
    this.runtime = runtime;
  }

  /** A new tensor with a count of 1; its numbers are not cleared. */
  create(shape: readonly number[]): CpuTensor {
    const tensor = new CpuTensor([...shape], this.runtime.alloc(4 * sizeOf(shape)), false);
    this.#live.add(tensor);
    return tensor;
  }

  /** A new tensor of zeros that no `releaseSince` frees: what outlives the pass in which it happens to be made. */
  createLasting(shape: readonly number[]): CpuTensor {
    const tensor = this.zeros(shape);
    this.#live.delete(tensor);
    return tensor;
  }

  /**
   * A tensor that is made only to be saved for backward: it starts with a count of 0, so that it is freed when the
   * tape, which counts on what an operation saved, lets go of it.
   */
  createSaved(shape: readonly number[]): CpuTensor {
    const tensor = this.create(shape);
    tensor.references = 0;
    return tensor;
  }

  zeros(shape: readonly number[]): CpuTensor {
    const tensor = this.create(shape);
    this.values(tensor).fill(0);
    return tensor;
  }

  /** Takes a tensor out of what `releaseSince` frees: it was made beside a computation, not by it. */
  keep(tensor: CpuTensor): CpuTensor {
    this.#live.delete(tensor);
    return tensor;
  }

  /** The numbers themselves, not a copy. */
  values(tensor: CpuTensor): Float32Array {
    return this.runtime.f32(tensor.ptr, tensor.size);
  }

  /** @throws EngineError if the tensor is freed or belongs to another engine */
  use(tensor: Tensor, operation: string): CpuTensor {
    if (!(tensor instanceof CpuTensor)) throw new EngineError(`${operation}: the tensor belongs to another engine`);
    if (tensor.isFreed) {
      throw new EngineError(
        `${operation}: tensor #${tensor.id} [${tensor.shape.join(', ')}] is used after it was freed`,
        {
          hint: 'Retain it, or make it outside the tape region that ended.',
        },
      );
    }
    return tensor;
  }

  /** `use`, and the shape must be that of a matrix of these extents. */
  matrix(tensor: Tensor | undefined, operation: string, what: string, extents?: Extents): CpuTensor {
    if (!tensor) throw new EngineError(`${operation}: ${what} is missing`);
    const known = this.use(tensor, operation);
    requireMatrix(known, operation, what, extents);
    return known;
  }

  /** `use`, and the shape must be that of `model`. */
  like(tensor: Tensor | undefined, model: Tensor, operation: string, what: string): CpuTensor {
    if (!tensor) throw new EngineError(`${operation}: ${what} is missing`);
    const known = this.use(tensor, operation);
    if (known.shape.join() !== model.shape.join()) {
      const expected = model.shape.join(', ');
      throw new EngineError(`${operation}: ${what} has shape [${known.shape.join(', ')}], expected [${expected}]`);
    }
    return known;
  }

  retain(tensor: Tensor): void {
    this.use(tensor, 'retain').references++;
  }

  release(tensor: Tensor): void {
    const known = this.use(tensor, 'release');
    known.references--;
    if (known.references > 0 || known.isView) return;
    this.#free(known);
  }

  /** Frees the tensors made since the one with this id. */
  releaseSince(id: number): void {
    for (const tensor of [...this.#live]) if (tensor.id >= id) this.#free(tensor);
  }

  #free(tensor: CpuTensor): void {
    tensor.isFreed = true;
    this.#live.delete(tensor);
    this.runtime.free(tensor.ptr);
  }

  /** @throws EngineError if the heap has no room for a small weight's copy in float32; then it is not added */
  addWeight(weight: FrozenWeight): void {
    if (weight.shape.length === 1 || weight.rows * weight.columns <= MAX_WIDENED) {
      const ptr = this.runtime.alloc(4 * weight.rows * weight.columns);
      this.runtime.widenRows(weight, 0, weight.rows, ptr);
      this.#widened.set(weight, ptr);
    }
    this.#weights.add(weight);
  }

  releaseWeight(weight: Weight): void {
    const known = this.weight(weight, 'releaseWeight');
    this.#weights.delete(known);
    const ptr = this.#widened.get(known);
    this.#widened.delete(known);
    if (ptr !== undefined) this.runtime.free(ptr);
    this.runtime.releaseWeight(known);
  }

  /** @throws EngineError if the weight is released or belongs to another engine */
  weight(weight: Weight, operation: string): FrozenWeight {
    if (weight instanceof FrozenWeight && this.#weights.has(weight)) return weight;
    throw new EngineError(`${operation}: the weight ${weight.name} is released, or belongs to another engine`);
  }

  /** A weight of so many columns and any number of rows. */
  weightMatrix(weight: Weight, columns: number, operation: string): FrozenWeight {
    const known = this.weight(weight, operation);
    if (known.shape.length !== 2 || known.columns !== columns) {
      const shape = known.shape.join(', ');
      throw new EngineError(`${operation}: ${known.name} has shape [${shape}], expected [any, ${columns}]`);
    }
    return known;
  }

  /** Heap address of a vector weight of this length, as float32. */
  vector(weight: Weight, length: number, operation: string): number {
    const known = this.weight(weight, operation);
    const ptr = this.#widened.get(known);
    if (ptr === undefined || known.shape.length !== 1 || known.columns !== length) {
      throw new EngineError(`${operation}: ${known.name} has shape [${known.shape.join(', ')}], expected [${length}]`);
    }
    return ptr;
  }

  /** Runs a kernel of wasm/elementwise.ts over n elements; n is its first argument. */
  elementwise(kernel: string, n: number, ints: readonly number[], floats: readonly number[] = []): void {
    this.byBlocks(kernel, n, [n, ...ints], floats);
  }

  /** Runs a kernel whose items are blocks of n elements. */
  byBlocks(kernel: string, n: number, ints: readonly number[], floats: readonly number[] = []): void {
    this.runtime.parallel(kernel, Math.ceil(n / ELEMENTWISE_BLOCK), 4, ints, floats);
  }

  /** Runs a kernel by rows, where a row costs about as much as `columns` copied numbers. */
  byRows(kernel: string, rows: number, columns: number, ints: readonly number[], floats: readonly number[] = []): void {
    this.runtime.parallel(kernel, rows, Math.max(1, Math.floor(32768 / columns)), ints, floats);
  }

  /** A frozen `b` is taken whole. */
  matmul(product: Omit<Matmul, 'bRow' | 'bColumn'>): void {
    const { m, n, b } = product;
    if (m === 0 || n === 0) return;
    const widened = typeof b === 'number' ? undefined : this.#widened.get(b);
    if (widened === undefined) this.runtime.matmul(product);
    else this.runtime.matmul({ ...product, b: widened });
  }

  /** Runs `body` with a table of integers in the heap, and frees it. */
  withTable(values: ArrayLike<number>, body: (ptr: number) => void): void {
    const ptr = this.runtime.allocI32(values);
    try {
      body(ptr);
    } finally {
      this.runtime.free(ptr);
    }
  }
}
