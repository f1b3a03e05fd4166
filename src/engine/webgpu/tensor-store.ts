/** Tensors of the `webgpu` engine: contiguous float32 in the arena. */
import { EngineError } from '../../errors.js';
import { sizeOf } from '../../formats/weight-source.js';
import { WGSL } from '../../generated/wgsl-kernels.js';
import { CountedTensor, CountedTensors } from '../counted-tensors.js';
import { HeldWeights } from '../held-weights.js';
import { requireFilled, type Tensor, type Weight } from '../tensor.js';
import { type CommandQueue, TABLE_BYTES } from './command-queue.js';
import type { WebgpuWeight } from './frozen-weight.js';
import type { BufferRange } from './gpu-types.js';
import { flat, type Kernels } from './kernels.js';
import type { MatrixUnit } from './matrix-unit.js';
import type { Span, WebgpuMemory } from './memory.js';

export class WebgpuTensor extends CountedTensor {
  /** Where the values lie. */
  readonly range: BufferRange;
  /** What is freed with the tensor; undefined for parameters, which lie in blocks of their set. */
  readonly span: Span | undefined;

  constructor(shape: readonly number[], range: BufferRange, span?: Span) {
    super(shape, span === undefined);
    this.range = range;
    this.span = span;
  }
}

/** Units (`lanesOf`) that a workgroup of the elementwise kernels takes. */
const ELEMENTS = 1024;

/** Workgroups of an elementwise kernel over n units. */
export function blocks(n: number): readonly [number, number] {
  return flat(Math.ceil(n / ELEMENTS));
}

/** What an elementwise kernel with units of T calls T, and elements of one. */
interface Lanes {
  readonly width: 1 | 4;
  readonly defines: { readonly T: 'f32' | 'vec4f' };
}

const ONE: Lanes = { width: 1, defines: { T: 'f32' } };
const FOUR: Lanes = { width: 4, defines: { T: 'vec4f' } };

/** Four elements at once where all extents (elements, or columns of rows) divide by 4. */
export function lanesOf(...extents: readonly number[]): Lanes {
  return extents.every((extent) => extent % 4 === 0) ? FOUR : ONE;
}

export class TensorStore extends CountedTensors<WebgpuTensor> {
  readonly memory: WebgpuMemory;
  readonly queue: CommandQueue;
  readonly kernels: Kernels;
  readonly weights = new HeldWeights<WebgpuWeight>();
  /** That products may use; undefined where the device has none, or they are off. */
  matrices: MatrixUnit | undefined;

  constructor(memory: WebgpuMemory, queue: CommandQueue, kernels: Kernels) {
    super(WebgpuTensor);
    this.memory = memory;
    this.queue = queue;
    this.kernels = kernels;
  }

  /** A new tensor with a count of 1, not cleared. */
  create(shape: readonly number[]): WebgpuTensor {
    const span = this.memory.allocate(4 * sizeOf(shape));
    const tensor = new WebgpuTensor([...shape], span, span);
    this.live.add(tensor);
    return tensor;
  }

  zeros(shape: readonly number[]): WebgpuTensor {
    const tensor = this.create(shape);
    this.queue.clear(tensor.range);
    return tensor;
  }

  /** Made outside of a pass: no `releaseSince` frees it. */
  createLasting(shape: readonly number[]): WebgpuTensor {
    return this.keep(this.zeros(shape));
  }

  /** The values are copied: `data` may be reused at once. */
  fromArray(data: Float32Array, shape: readonly number[]): WebgpuTensor {
    requireFilled(data, shape, 'fromArray');
    const tensor = this.create(shape);
    if (data.length > 0) this.queue.upload(tensor.range, data);
    return tensor;
  }

  /** Values on their way to the host. */
  download({ range, size }: WebgpuTensor): () => Promise<Float32Array> {
    const arrival = this.queue.download(range, 4 * size);
    return async () => new Float32Array(await arrival());
  }

  /**
   * Calls `body` with the values, read only and for its launches alone: int32 or float32 lists that a kernel binds with
   * `var<storage, read>`.
   */
  withTable<T>(values: Int32Array | Uint32Array | Float32Array, body: (range: BufferRange) => T): T {
    if (values.byteLength <= TABLE_BYTES / 8) return this.queue.withTable(values, body);
    // Read-only bindings must not lie in the arena, which launches write.
    const range = this.memory.createFixed(values.byteLength);
    try {
      this.queue.upload(range, values);
      return body(range);
    } finally {
      // What is queued must have gone out before its buffer ends.
      this.queue.flush();
      this.memory.freeFixed(range);
    }
  }

  /** A copy of the values. */
  copy(source: WebgpuTensor): WebgpuTensor {
    const target = this.create(source.shape);
    const { width, defines } = lanesOf(source.size);
    const n = source.size / width;
    this.kernels.launch(WGSL.copy, blocks(n), { out: target.range, source: source.range, n }, { defines });
    return target;
  }

  /**
   * Calls `body` with ranges that a launch may bind together: a tensor that is given twice is copied for it, as WebGPU lets
   * no writable binding overlap another.
   */
  apart(tensors: readonly WebgpuTensor[], body: (...ranges: BufferRange[]) => void): void {
    const copies: WebgpuTensor[] = [];
    const ranges = tensors.map((tensor, i) => {
      if (tensors.indexOf(tensor) === i) return tensor.range;
      const copy = this.copy(tensor);
      copies.push(copy);
      return copy.range;
    });
    body(...ranges);
    for (const copy of copies) this.release(copy);
  }

  /** Values of a vector weight of this length, float32, to be bound `read`. */
  vector(weight: Weight, length: number, operation: string): BufferRange {
    return this.weights.useVector(weight, length, operation).parts[0]!.values;
  }

  /** Another engine of this kind has other buffers, of which Dawn would only say that they do not fit. */
  protected override known(tensor: Tensor | undefined, operation: string, what = 'the tensor'): WebgpuTensor {
    const known = super.known(tensor, operation, what);
    if (this.memory.holdsTensors(known.range.buffer)) return known;
    throw new EngineError(`${operation}: ${what} belongs to another engine`);
  }

  protected drop({ span }: WebgpuTensor): void {
    if (span) this.memory.free(span);
  }
}
