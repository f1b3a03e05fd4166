/** Makes, checks and frees the tensors of the `cuda` engine; conversions, index uploads and copies between layouts. */
import { sizeOf } from '../../formats/weight-source.js';
import { KERNELS } from '../../generated/kernel-launchers.js';
import { roundUp } from '../arena.js';
import { CountedTensors } from '../counted-tensors.js';
import type { Extents, Tensor } from '../tensor.js';
import type { ActivationOffload } from './activation-offload.js';
import type { CudaDriver } from './driver.js';
import { type DevicePointer, grid2, type KernelLauncher, NULL_POINTER, offset } from './launch.js';
import type { MatrixProducts } from './matrix-products.js';
import { CACHE, type DeviceAllocator, type DeviceBlock, SCRATCH } from './memory.js';
import type { Download, Staging } from './staging.js';
import { CudaTensor, type DeviceRows, ELEMENT_BYTES, type ElementType, Storage } from './tensors.js';

/** What the store and the operations need of the device; a test gives recorders. */
export interface DeviceContext {
  readonly driver: Pick<CudaDriver, 'copy' | 'copyFromPeer' | 'copyRows' | 'fillBytes' | 'clearRows'>;
  readonly kernels: KernelLauncher;
  readonly allocator: DeviceAllocator;
  readonly products: Pick<MatrixProducts, 'run'>;
  readonly staging: Pick<Staging, 'upload' | 'uploadJoined' | 'download'>;
  /** Default: tensors stay on the device. */
  readonly activations?: ActivationOffload | undefined;
}

/** Row strides of bf16 are multiples of this (16 bytes). */
export const ROW_MULTIPLE = 8;

export class TensorStore extends CountedTensors<CudaTensor> {
  readonly driver: DeviceContext['driver'];
  readonly kernels: KernelLauncher;
  readonly allocator: DeviceAllocator;
  readonly products: DeviceContext['products'];
  readonly staging: DeviceContext['staging'];
  readonly #activations: ActivationOffload | undefined;
  /** Whether backward recomputes cheap results instead of keeping them. */
  readonly rematerialize: boolean;
  /** Columns that an adapted linear layer wants beside its input, by input width. */
  readonly #spare = new Map<number, number>();
  #counters: { readonly block: DeviceBlock; readonly count: number } | undefined;
  #scratch: DeviceBlock | undefined;
  /** Downloads that started when the values were computed. */
  readonly #ahead = new WeakMap<CudaTensor, Download>();

  constructor(context: DeviceContext, options: { rematerialize: boolean }) {
    super(CudaTensor);
    this.driver = context.driver;
    this.kernels = context.kernels;
    this.allocator = context.allocator;
    this.products = context.products;
    this.staging = context.staging;
    this.#activations = context.activations;
    this.rematerialize = options.rematerialize;
  }

  /** A new bf16 tensor with a count of 1, not cleared. */
  create(shape: readonly number[], spare = 0): CudaTensor {
    const ld = roundUp(shape.at(-1) ?? 1, ROW_MULTIPLE) + spare;
    const tensor = this.#create(shape, 'bf16', ld);
    tensor.spare = spare;
    return tensor;
  }

  /**
   * `create` with the spare columns that adapted linear layers of this width have asked for so far. All operations
   * whose result usually feeds a linear layer make it so; the first pass of an adapter copies instead.
   */
  createInput(shape: readonly number[]): CudaTensor {
    return this.create(shape, this.#spare.get(shape.at(-1) ?? 1) ?? 0);
  }

  /** Notes how many spare columns a linear layer of this input width needs, for the producers of its input. */
  wantSpare(width: number, columns: number): void {
    if ((this.#spare.get(width) ?? 0) < columns) this.#spare.set(width, columns);
  }

  /** A new float32 tensor with a count of 1, contiguous, not cleared. */
  createF32(shape: readonly number[]): CudaTensor {
    return this.#create(shape, 'f32', shape.at(-1) ?? 1);
  }

  #create(shape: readonly number[], type: ElementType, ld: number): CudaTensor {
    const rows = shape.length === 2 ? shape[0]! : sizeOf(shape.slice(0, -1));
    const block = this.allocator.allocate(ELEMENT_BYTES[type] * rows * ld);
    return this.#adopt(new CudaTensor([...shape], type, new Storage(block), block.address, ld));
  }

  #adopt(tensor: CudaTensor): CudaTensor {
    this.live.add(tensor);
    return tensor;
  }

  override use(tensor: Tensor | undefined, operation: string, what?: string): CudaTensor {
    const known = this.known(tensor, operation, what);
    if (known.hostCopy) this.#activations!.bringBack(known);
    return known;
  }

  /** Its values may stay in host memory until it is used. */
  moveToHost(tensor: Tensor): void {
    this.#activations?.moveToHost(this.known(tensor, 'moveToHost'));
  }

  /** Its values are used soon. @throws OutOfMemoryError */
  prefetch(tensor: Tensor): void {
    this.#activations?.prefetch(this.known(tensor, 'prefetch'));
  }

  protected drop(tensor: CudaTensor): void {
    if (tensor.hostCopy) this.#activations!.drop(tensor);
    this.#leave(tensor.storage);
    this.forgetAhead(tensor);
  }

  #leave(storage: Storage | undefined): void {
    if (storage && --storage.users === 0) this.allocator.free(storage.block);
  }

  zeros(shape: readonly number[]): CudaTensor {
    const tensor = shape.length < 2 ? this.createF32(shape) : this.create(shape);
    this.driver.fillBytes(tensor.address, 0, tensor.rows * tensor.ld * ELEMENT_BYTES[tensor.type]);
    return tensor;
  }

  /** The columns from `column` on, without a copy. */
  view(of: CudaTensor, column: number, columns: number, rows = of.rows): CudaTensor {
    const address = offset(of.address, column * ELEMENT_BYTES[of.type]);
    return this.#adopt(new CudaTensor([rows, columns], of.type, of.storage, address, of.ld));
  }

  /** A tensor without elements, only to be saved, that carries a shape to backward. */
  shapeOf(tensor: CudaTensor): CudaTensor {
    return this.saved(this.#adopt(new CudaTensor([...tensor.shape], 'bf16', undefined, NULL_POINTER, 0)));
  }

  /** Reads what forward saved in its order. */
  reader(saved: readonly Tensor[], operation: string): { next(): CudaTensor; rest(): readonly CudaTensor[] } {
    let at = 0;
    return {
      next: () => this.use(saved[at++]!, operation),
      rest: () => saved.slice(at).map((tensor) => this.use(tensor, operation)),
    };
  }

  /** Sends float32 values to the host now: whoever reads them later waits for no more than what is queued so far. */
  readAhead(tensor: CudaTensor): void {
    this.#ahead.set(tensor, this.staging.download(tensor.address, 4 * tensor.size));
  }

  /** To be called when values change that may have been read ahead. */
  forgetAhead(tensor: CudaTensor): void {
    this.#ahead.get(tensor)?.discard();
    this.#ahead.delete(tensor);
  }

  /** A copy of the values as float32. */
  async read(tensor: Tensor): Promise<Float32Array> {
    const known = this.use(tensor, 'read');
    const ahead = this.#ahead.get(known);
    if (ahead) return new Float32Array((await ahead.arrive()).slice(0));
    const wide = known.type === 'f32' ? known : this.toF32(known);
    const download = this.staging.download(wide.address, 4 * wide.size);
    if (wide !== known) this.release(wide);
    return new Float32Array(await download.arrive());
  }

  /** As bf16. */
  override matrix(tensor: Tensor | undefined, operation: string, what: string, extents?: Extents): CudaTensor {
    return this.asBf16(super.matrix(tensor, operation, what, extents));
  }

  /** As bf16. */
  override like(tensor: Tensor | undefined, model: Tensor, operation: string, what: string): CudaTensor {
    return this.asBf16(super.like(tensor, model, operation, what));
  }

  /** Converts a float32 tensor to bf16 in place, with spare columns as `createInput`. */
  asBf16(tensor: CudaTensor): CudaTensor {
    if (tensor.type === 'bf16' || !tensor.storage) return tensor;
    const narrow = this.keep(this.createInput(tensor.shape));
    const { rows, columns } = tensor;
    const parameters = { out: narrow.address, x: tensor.address, rows, columns, ldo: narrow.ld, ldx: tensor.ld };
    this.kernels.launch(KERNELS.f32ToBf16, grid2(rows, columns), parameters);
    this.#leave(tensor.storage);
    tensor.type = 'bf16';
    tensor.storage = narrow.storage;
    tensor.address = narrow.address;
    tensor.ld = narrow.ld;
    tensor.spare = narrow.spare;
    return tensor;
  }

  /** Calls `body` with the address of the values as contiguous float32. */
  withF32(tensor: Tensor, operation: string, body: (address: DevicePointer) => void): void {
    const known = this.use(tensor, operation);
    if (known.type === 'f32') body(known.address);
    else {
      const wide = this.toF32(known);
      body(wide.address);
      this.release(wide);
    }
  }

  /** A contiguous float32 copy. */
  toF32(tensor: CudaTensor): CudaTensor {
    const wide = this.createF32(tensor.shape);
    const { rows, columns } = tensor;
    if (tensor.type === 'f32') this.driver.copy(wide.address, tensor.address, 4 * tensor.size);
    else {
      const parameters = { out: wide.address, x: tensor.address, rows, columns, ldo: columns, ldx: tensor.ld };
      this.kernels.launch(KERNELS.bf16ToF32, grid2(rows, columns), parameters);
    }
    return wide;
  }

  copyInto(target: CudaTensor, source: CudaTensor): void {
    const { rows, columns } = source;
    const parameters = { out: target.address, x: source.address, rows, columns, ldo: target.ld, ldx: source.ld };
    this.kernels.launch(KERNELS.copyBf16, grid2(rows, columns), parameters);
  }

  /** A tensor whose rows are not spread through a block twice as wide: `tensor` itself, retained, or a copy. */
  compact(tensor: CudaTensor): CudaTensor {
    if (tensor.ld < 2 * tensor.columns) {
      this.retain(tensor);
      return tensor;
    }
    const copy = this.create(tensor.shape);
    this.copyInto(copy, tensor);
    return copy;
  }

  /** Queues a copy from the device of any store. */
  copyFrom(target: DevicePointer, source: DevicePointer, bytes: number, from: TensorStore): void {
    if (from === this) this.driver.copy(target, source, bytes);
    else this.driver.copyFromPeer(target, source, bytes, from.driver);
  }

  /** A copy of another card's tensor, in its number format. */
  receive(tensor: Tensor, from: TensorStore): CudaTensor {
    const known = from.use(tensor, 'receive');
    const whole = from.#whole(known);
    try {
      const received = this.#create(known.shape, whole.type, whole.ld);
      received.spare = whole.spare;
      const bytes = ELEMENT_BYTES[whole.type] * whole.rows * whole.ld;
      this.copyFrom(received.address, whole.address, bytes, from);
      return received;
    } finally {
      from.release(whole);
    }
  }

  /** A tensor whose rows, with what lies between them, are a block of their own: `tensor` itself, retained, or a copy. */
  #whole(tensor: CudaTensor): CudaTensor {
    const { type, storage, address, ld, columns, isParameter } = tensor;
    const isOwn = type === 'f32' || (storage?.block.address === address && ld < 2 * columns);
    if (isOwn || isParameter) {
      this.retain(tensor);
      return tensor;
    }
    const copy = this.create(tensor.shape);
    this.copyInto(copy, tensor);
    return copy;
  }

  /** Rows of a bf16 matrix in the order of the list. */
  gather({ address, ld, columns }: Pick<DeviceRows, 'address' | 'ld' | 'columns'>, rows: Int32Array): CudaTensor {
    const out = this.create([rows.length, columns]);
    this.withTable(rows, (table) => {
      // biome-ignore format: parameters by operand
      this.kernels.launch(KERNELS.gatherRows, grid2(rows.length, columns), {
        out: out.address, x: address, index: table, n: rows.length, columns, ldo: out.ld, ldx: ld,
      });
    });
    return out;
  }

  /** out = a + b of one shape, by rows. */
  add(out: CudaTensor, a: CudaTensor, b: CudaTensor): void {
    const { rows, columns } = a;
    // biome-ignore format: parameters by operand
    this.kernels.launch(KERNELS.add, grid2(rows, columns), {
      out: out.address, a: a.address, b: b.address,
      rows, columns, ldo: out.ld, lda: a.ld, ldb: b.ld,
    });
  }

  /** target += source, both contiguous float32. */
  addF32(target: DevicePointer, source: DevicePointer, count: number): void {
    const blocks = Math.min(4096, Math.ceil(count / 1024));
    this.kernels.launch(KERNELS.addF32, [blocks], { out: target, a: target, b: source, n: count });
  }

  /** Calls `body` with an int32 table on the device; it is freed for later calls right after. */
  withTable(values: Int32Array, body: (address: DevicePointer) => void): void {
    const block = this.table(values, 'index lists');
    try {
      body(block.address);
    } finally {
      this.allocator.free(block);
    }
  }

  /** Address of `count` int32 zeros that every kernel leaves as it found them. */
  counters(count: number): DevicePointer {
    if (!this.#counters || this.#counters.count < count) {
      if (this.#counters) this.allocator.free(this.#counters.block);
      const size = roundUp(count, 1024);
      const block = this.allocator.allocate(4 * size, CACHE);
      this.driver.fillBytes(block.address, 0, 4 * size);
      this.#counters = { block, count: size };
    }
    return this.#counters.block.address;
  }

  /**
   * Address of scratch for work queued next. The block is kept: allocating a large one for each product would fragment
   * tensor memory.
   */
  scratch(bytes: number): DevicePointer {
    if (!this.#scratch || this.#scratch.bytes < bytes) {
      this.freeScratch();
      this.#scratch = this.allocator.allocate(bytes, SCRATCH);
    }
    return this.#scratch.address;
  }

  freeScratch(): void {
    if (this.#scratch) this.allocator.free(this.#scratch);
    this.#scratch = undefined;
  }

  /** An int32 table on the device, to be freed by the caller. */
  table(values: Int32Array, holder = CACHE): DeviceBlock {
    const block = this.allocator.allocate(4 * Math.max(1, values.length), holder);
    this.staging.upload(block.address, values);
    return block;
  }
}
