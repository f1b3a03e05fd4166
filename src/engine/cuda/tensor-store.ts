/** Makes, checks and frees the tensors of the `cuda` engine; conversions, index uploads and copies between layouts. */
import { EngineError } from '../../errors.js';
import { sizeOf } from '../../formats/weight-source.js';
import { type Extents, requireMatrix, type Tensor } from '../tensor.js';
import { roundUp } from './arena.js';
import type { CudaDriver } from './driver.js';
import { grid2, type KernelLauncher } from './kernels.js';
import type { MatrixProducts } from './matrix-products.js';
import { CACHE, type DeviceAllocator, type DeviceBlock } from './memory.js';
import type { Staging } from './staging.js';
import { CudaTensor, type DeviceRows, ELEMENT_BYTES, type GradientHome, Storage } from './tensors.js';

/** What the store and the operations need of the device; a test gives recorders. */
export interface DeviceContext {
  readonly driver: Pick<CudaDriver, 'copy' | 'copyRows' | 'fillBytes' | 'clearRows'>;
  readonly kernels: KernelLauncher;
  readonly allocator: DeviceAllocator;
  readonly products: Pick<MatrixProducts, 'run'>;
  readonly staging: Pick<Staging, 'upload' | 'download'>;
}

/** Row strides of bf16 are multiples of this (16 bytes). */
export const ROW_MULTIPLE = 8;

export class TensorStore {
  readonly driver: DeviceContext['driver'];
  readonly kernels: KernelLauncher;
  readonly allocator: DeviceAllocator;
  readonly products: DeviceContext['products'];
  readonly staging: DeviceContext['staging'];
  /** Whether cheap results are made again in backward instead of being kept. */
  readonly rematerialize: boolean;
  /** Columns that an adapted linear layer wants beside its input, by input width. */
  readonly #spare = new Map<number, number>();
  #counters: { readonly block: DeviceBlock; readonly count: number } | undefined;
  /** Memory of tensors, oldest first, with the number that it was made under. */
  readonly #storages = new Map<Storage, number>();
  #made = 0;

  constructor(context: DeviceContext, options: { rematerialize: boolean }) {
    this.driver = context.driver;
    this.kernels = context.kernels;
    this.allocator = context.allocator;
    this.products = context.products;
    this.staging = context.staging;
    this.rematerialize = options.rematerialize;
  }

  // --- making and freeing

  /** A new bf16 tensor with a count of 1; its numbers are not cleared. */
  create(shape: readonly number[], spare = 0): CudaTensor {
    const ld = roundUp(shape.at(-1) ?? 1, ROW_MULTIPLE) + spare;
    const storage = this.storage(sizeOf(shape.slice(0, -1)), ld);
    const tensor = new CudaTensor([...shape], 'bf16', storage, storage.block.address, ld);
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

  /** Tells producers how many columns a linear layer of this input width wants beside its input. */
  wantSpare(width: number, columns: number): void {
    if ((this.#spare.get(width) ?? 0) < columns) this.#spare.set(width, columns);
  }

  /** A new float32 tensor with a count of 1, contiguous; its numbers are not cleared. */
  createF32(shape: readonly number[]): CudaTensor {
    const ld = shape.at(-1) ?? 1;
    const storage = this.#storage(4 * sizeOf(shape), ld);
    return new CudaTensor([...shape], 'f32', storage, storage.block.address, ld);
  }

  /** Room for rows of bf16. */
  storage(rows: number, ld: number): Storage {
    return this.#storage(2 * rows * ld, ld);
  }

  #storage(bytes: number, ld: number): Storage {
    const storage = new Storage(this.allocator.allocate(bytes), ld);
    this.#storages.set(storage, this.#made++);
    return storage;
  }

  #free(storage: Storage): void {
    this.#storages.delete(storage);
    this.allocator.free(storage.block);
  }

  /** How many memories of tensors were made so far. */
  get mark(): number {
    return this.#made;
  }

  /** Frees those made since, whatever lies in them; the tensors must not be used any more. */
  releaseSince(mark: number): void {
    for (const [storage, made] of [...this.#storages]) if (made >= mark) this.#free(storage);
  }

  zeros(shape: readonly number[]): CudaTensor {
    const tensor = shape.length < 2 ? this.createF32(shape) : this.create(shape);
    this.driver.fillBytes(tensor.address, 0, tensor.rows * tensor.ld * ELEMENT_BYTES[tensor.type]);
    return tensor;
  }

  /**
   * For a tensor that is made only to be saved for backward: it starts with a count of 0, so that it is freed when the
   * tape, which counts on what an operation saved, lets go of it.
   */
  saved(tensor: CudaTensor): CudaTensor {
    tensor.references = 0;
    return tensor;
  }

  /** The columns from `column` on, without a copy. */
  view(of: CudaTensor, column: number, columns: number, rows = of.rows): CudaTensor {
    const address = of.address + column * ELEMENT_BYTES[of.type];
    return new CudaTensor([rows, columns], of.type, of.storage, address, of.ld);
  }

  /** A tensor for the gradient of `of`: beside those of its stack where it has one. Not cleared. */
  createGradient(of: CudaTensor): CudaTensor {
    if (!of.home) return this.create(of.shape);
    const { at, column } = of.home;
    const ld = roundUp(at.columns, ROW_MULTIPLE);
    const storage = at.claim(column, () => this.storage(at.rows, ld));
    return new CudaTensor([...of.shape], 'bf16', storage, storage.block.address + 2 * column, ld);
  }

  /** A tensor without numbers that stands for the place of another one's gradient. */
  markOf(tensor: CudaTensor): CudaTensor {
    const mark = new CudaTensor([...tensor.shape], 'bf16', undefined, 0, 0);
    mark.home = tensor.home;
    return this.saved(mark);
  }

  withHome(tensor: CudaTensor, at: GradientHome, column: number): CudaTensor {
    tensor.home = { at, column };
    return tensor;
  }

  /** What to save so that `tensor` can be had again in backward: itself, or what it is made of. */
  keepOrRemake(tensor: CudaTensor): CudaTensor {
    const { recipe } = tensor;
    if (!recipe || !this.rematerialize || recipe.sources.some((source) => source.isFreed)) return tensor;
    const kept = new CudaTensor([...tensor.shape], 'bf16', undefined, 0, 0);
    for (const source of recipe.sources) this.retain(source);
    kept.recipe = recipe;
    kept.onFree = () => {
      for (const source of recipe.sources) this.release(source);
    };
    return this.saved(kept);
  }

  /** The numbers behind `keepOrRemake`, to be released by the caller. */
  remake(kept: CudaTensor): CudaTensor {
    if (!kept.storage && kept.recipe) return kept.recipe.make();
    this.retain(kept);
    return kept;
  }

  retain(tensor: Tensor): void {
    this.#own(tensor, 'retain').references++;
  }

  release(tensor: Tensor): void {
    const known = this.#own(tensor, 'release');
    known.references--;
    if (known.references > 0 || known.isParameter) return;
    known.unfinished?.drop();
    known.isFreed = true;
    if (known.storage && --known.storage.users === 0) this.#free(known.storage);
    known.early?.discard();
    known.onFree?.();
  }

  // --- checking

  /**
   * The tensor, with all its numbers.
   * @throws EngineError if the tensor is freed or belongs to another engine
   */
  use(tensor: Tensor, operation: string): CudaTensor {
    const known = this.#own(tensor, operation);
    known.unfinished?.finish();
    return known;
  }

  /** `use` for an operation that knows what to do about numbers that are unfinished. */
  useUnfinished(tensor: Tensor, operation: string): CudaTensor {
    return this.#own(tensor, operation);
  }

  #own(tensor: Tensor, operation: string): CudaTensor {
    if (!(tensor instanceof CudaTensor)) throw new EngineError(`${operation}: the tensor belongs to another engine`);
    if (tensor.isFreed) {
      throw new EngineError(
        `${operation}: tensor #${tensor.id} [${tensor.shape.join(', ')}] is used after it was freed`,
        { hint: 'Retain it, or make it outside the tape region that ended.' },
      );
    }
    return tensor;
  }

  /** `use` as bf16, and the shape must be that of a matrix of these extents. */
  matrix(tensor: Tensor | undefined, operation: string, what: string, extents?: Extents): CudaTensor {
    if (!tensor) throw new EngineError(`${operation}: ${what} is missing`);
    const known = this.use(tensor, operation);
    requireMatrix(known, operation, what, extents);
    return this.asBf16(known);
  }

  /** `use` as bf16, and the shape must be that of `model`. */
  like(tensor: Tensor | undefined, model: Tensor, operation: string, what: string): CudaTensor {
    if (!tensor) throw new EngineError(`${operation}: ${what} is missing`);
    const known = this.use(tensor, operation);
    if (known.shape.join() !== model.shape.join()) {
      const expected = model.shape.join(', ');
      throw new EngineError(`${operation}: ${what} has shape [${known.shape.join(', ')}], expected [${expected}]`);
    }
    return this.asBf16(known);
  }

  // --- number formats and layouts

  /** Turns a float32 tensor into bf16 in place, with spare columns as `createInput`. */
  asBf16(tensor: CudaTensor): CudaTensor {
    if (tensor.type === 'bf16' || !tensor.storage) return tensor;
    const narrow = this.createInput(tensor.shape);
    const { rows, columns } = tensor;
    this.kernels.run('f32_to_bf16', grid2(rows, columns), 128, [
      ...[narrow.address, tensor.address, rows, columns, narrow.ld, tensor.ld],
    ]);
    // It stays as old as it was: `releaseSince` a mark in between must not free it.
    this.#storages.set(narrow.storage!, this.#storages.get(tensor.storage)!);
    if (--tensor.storage.users === 0) this.#free(tensor.storage);
    tensor.type = 'bf16';
    this.takeOver(tensor, narrow);
    return tensor;
  }

  /** `tensor`, which has no place of its own, lies where `made` lies, which nobody may use from here on. */
  takeOver(tensor: CudaTensor, made: CudaTensor): void {
    tensor.storage = made.storage;
    tensor.address = made.address;
    tensor.ld = made.ld;
    tensor.spare = made.spare;
  }

  /** Calls `body` with the address of the numbers as contiguous float32. */
  withF32(tensor: Tensor, operation: string, body: (address: number) => void): void {
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
      this.kernels.run('bf16_to_f32', grid2(rows, columns), 128, [
        ...[wide.address, tensor.address, rows, columns, columns, tensor.ld],
      ]);
    }
    return wide;
  }

  /** Queues target = source, both bf16 and of one shape. */
  copyInto(target: CudaTensor, source: CudaTensor): void {
    const { rows, columns } = source;
    this.kernels.run('copy_bf16', grid2(rows, columns), 128, [
      ...[target.address, source.address, rows, columns, target.ld, source.ld],
    ]);
  }

  /** A tensor whose rows are not spread through a block twice as wide: `tensor` itself, retained, or a copy. */
  compact(tensor: CudaTensor): CudaTensor {
    if (tensor.ld < 2 * tensor.columns) {
      this.retain(tensor);
      return tensor;
    }
    const copy = this.create(tensor.shape);
    copy.home = tensor.home;
    this.copyInto(copy, tensor);
    return copy;
  }

  /** Rows of a bf16 matrix in the order of the list. */
  gather({ address, ld, columns }: Pick<DeviceRows, 'address' | 'ld' | 'columns'>, rows: Int32Array): CudaTensor {
    const out = this.create([rows.length, columns]);
    this.withTable(rows, (table) => {
      const values = [out.address, address, table, rows.length, columns, out.ld, ld];
      this.kernels.run('gather_rows', grid2(rows.length, columns), 128, values);
    });
    return out;
  }

  /** out = a + b of one shape, by rows. */
  add(out: CudaTensor, a: CudaTensor, b: CudaTensor): void {
    const { rows, columns } = a;
    this.kernels.run('add', grid2(rows, columns), 128, [
      ...[out.address, a.address, b.address, rows, columns, out.ld, a.ld, b.ld],
    ]);
  }

  /** target += source, both contiguous float32. */
  addF32(target: number, source: number, count: number): void {
    const blocks = Math.min(4096, Math.ceil(count / 1024));
    this.kernels.run('add_f32', [blocks], 256, [target, target, source, count]);
  }

  /** Calls `body` with an int32 table on the device; it is freed for later calls right after. */
  withTable(values: Int32Array, body: (address: number) => void): void {
    const block = this.table(values, 'index lists');
    try {
      body(block.address);
    } finally {
      this.allocator.free(block);
    }
  }

  /** Address of `count` int32 zeros that every kernel leaves as it found them. */
  counters(count: number): number {
    if (!this.#counters || this.#counters.count < count) {
      if (this.#counters) this.allocator.free(this.#counters.block);
      const size = roundUp(count, 1024);
      const block = this.allocator.allocate(4 * size, CACHE);
      this.driver.fillBytes(block.address, 0, 4 * size);
      this.#counters = { block, count: size };
    }
    return this.#counters.block.address;
  }

  /** An int32 table on the device, to be freed by the caller. */
  table(values: Int32Array, holder = CACHE): DeviceBlock {
    const block = this.allocator.allocate(4 * Math.max(1, values.length), holder);
    this.staging.upload(block.address, values);
    return block;
  }
}
