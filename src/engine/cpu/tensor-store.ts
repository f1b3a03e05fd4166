/** Tensors of the `cpu` engine: float32 blocks of the heap, and launches of kernels over them. */
import { type HeldFormat, sizeOf, type WeightSource } from '../../formats/weight-source.js';
import { CountedTensor, CountedTensors } from '../counted-tensors.js';
import { HeldWeights } from '../held-weights.js';
import type { Weight } from '../tensor.js';
import type { CpuRuntime } from './cpu-runtime.js';
import { E4m3Weight } from './e4m3-weight.js';
import type { FrozenWeight } from './frozen-weight.js';
import { Nf4Weight } from './nf4-weight.js';
import { StoredWeight } from './stored-weight.js';

/** What weights are held in beside the formats in which they are stored. */
const HELD_FORMATS = { nf4: Nf4Weight, f8_e4m3: E4m3Weight } satisfies Record<HeldFormat['format'], unknown>;

export class CpuTensor extends CountedTensor {
  /** Byte address in the heap. */
  readonly ptr: number;

  /** @param isParameter it lies inside a parameter set */
  constructor(shape: readonly number[], ptr: number, isParameter: boolean) {
    super(shape, isParameter);
    this.ptr = ptr;
  }
}

/** Elements of one item of the elementwise kernels (BLOCK in wasm/elementwise.ts and wasm/optimizer.ts). */
export const ELEMENTWISE_BLOCK = 4096;

export class TensorStore extends CountedTensors<CpuTensor> {
  readonly runtime: CpuRuntime;
  readonly weights = new HeldWeights<FrozenWeight>();

  constructor(runtime: CpuRuntime) {
    super(CpuTensor);
    this.runtime = runtime;
  }

  /** A new tensor with a count of 1, not cleared. */
  create(shape: readonly number[]): CpuTensor {
    const tensor = new CpuTensor([...shape], this.runtime.alloc(4 * sizeOf(shape)), false);
    this.live.add(tensor);
    return tensor;
  }

  /** A new tensor of zeros that no `releaseSince` frees: what outlives the pass in which it happens to be made. */
  createLasting(shape: readonly number[]): CpuTensor {
    return this.keep(this.zeros(shape));
  }

  zeros(shape: readonly number[]): CpuTensor {
    const tensor = this.create(shape);
    this.values(tensor).fill(0);
    return tensor;
  }

  /** A view, not a copy. */
  values(tensor: CpuTensor): Float32Array {
    return this.runtime.f32(tensor.ptr, tensor.size);
  }

  protected drop({ ptr }: CpuTensor): void {
    this.runtime.free(ptr);
  }

  /** Chooses the storage format: vectors stay as they are. */
  async loadWeight(source: WeightSource): Promise<FrozenWeight> {
    const { hold, dtype, shape } = source;
    const held = dtype === 'nf4' ? (hold?.format ?? dtype) : hold?.format;
    const format = held && shape.length > 1 ? HELD_FORMATS[held] : StoredWeight;
    return this.weights.add(await format.load(this.runtime, source));
  }

  /** Heap address of a vector weight of this length, as float32. */
  vector(weight: Weight, length: number, operation: string): number {
    return this.weights.useVector(weight, length, operation).widened!;
  }

  /** Runs a kernel of wasm/elementwise.ts over n elements; n is its first argument. */
  elementwise(kernel: string, n: number, ints: readonly number[], floats: readonly number[] = []): void {
    this.byBlocks(kernel, n, [n, ...ints], floats);
  }

  /** Runs a kernel whose items are blocks of n elements. */
  byBlocks(kernel: string, n: number, ints: readonly number[], floats: readonly number[] = []): void {
    this.runtime.parallel(kernel, Math.ceil(n / ELEMENTWISE_BLOCK), 4, ints, floats);
  }

  /** Runs a kernel by rows, where a row costs about as much as `columns` copied values. */
  byRows(kernel: string, rows: number, columns: number, ints: readonly number[], floats: readonly number[] = []): void {
    this.runtime.parallel(kernel, rows, Math.max(1, Math.floor(32768 / columns)), ints, floats);
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
