/**
 * Frozen matrices held in 4 or 8 bits. A product dequantises the rows it needs into a scratch block with the layout of
 * a Bf16Matrix, [W | scale·B], so base and adapter remain one product. All products share the scratch; scale·B has a
 * bf16 block of its own.
 */
import { EngineError, OutOfMemoryError } from '../../errors.js';
import { roundUp } from '../arena.js';
import { MAX_PARTS } from './adapters.js';
import { FrozenMatrix, multiplyRows, type SmallProduct } from './frozen-matrix.js';
import { type DevicePointer, type Grid, offset } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { PackedMemory } from './packed-memory.js';
import { ROW_MULTIPLE, type TensorStore } from './tensor-store.js';
import { type CudaTensor, type DeviceRows, ELEMENT_BYTES } from './tensors.js';

const BYTES = ELEMENT_BYTES.bf16;
/** Columns per thread of widening.cu, and threads per block. */
const UNIT = 16;
const THREADS = 256;
/** Rows per block of generation-held.cu. */
const SMALL_BLOCK_ROWS = 16;
/** A product that runs out of memory is split, down to so many columns of the result. */
const FEWEST_COLUMNS = 512;

/** Rows to dequantise. */
export interface WideRows {
  readonly out: DevicePointer;
  /** Row stride of the result. */
  readonly ldo: number;
  /** First row of the matrix. */
  readonly first: number;
  readonly rows: number;
  /** Row numbers relative to `first`, int32 on the device. Default: all rows in order. */
  readonly index?: DevicePointer | undefined;
  /** Columns of scale·B after those of W. */
  readonly rank: number;
}

/** The rows of one weight of a stack. */
export interface Part {
  readonly row: number;
  readonly rows: number;
}

export abstract class PackedMatrix<P extends Part> extends FrozenMatrix {
  override get smallNormColumns(): number {
    return 5632;
  }
  protected readonly store: TensorStore;
  /** Ordered by row; at most MAX_PARTS. */
  protected readonly parts: P[] = [];
  readonly #maxParts: number;
  /** Columns reserved for scale·B. */
  #spare = 0;
  #low: DeviceBlock | undefined;

  /** @param maxParts how many weights may be stacked in it */
  constructor(store: TensorStore, rows: number, columns: number, maxParts: number) {
    super(rows, columns);
    this.store = store;
    this.#maxParts = maxParts;
  }

  /** Memory of the packed values. */
  abstract readonly memory: PackedMemory;
  /** Resident blocks per multiprocessor of the kernel of generation-held.cu for so many rows of x. */
  protected abstract smallBlocks(rows: number): number;
  /** Frees what lies beside `memory`. */
  protected freeParts(): void {}
  /** @param low scale·B from the matrix's first row on, where it is wanted */
  protected abstract widen(rows: WideRows, grid: Grid, low: DevicePointer | undefined, ldb: number): void;

  get bytes(): number {
    return this.memory.bytes + (this.#low?.bytes ?? 0);
  }

  override get scratchBytes(): number {
    return BYTES * this.rows * this.#wideColumns;
  }

  /** Row stride of dequantised rows, as in a Bf16Matrix. */
  get #wideColumns(): number {
    return this.paddedColumns + this.#spare;
  }

  product(row: number, x: DeviceRows, y: DeviceRows, rank = 0): void {
    const k = rank > 0 ? this.paddedColumns + rank : this.columns;
    const multiply = (first: number, n: number): void => {
      const d = offset(y.address, ELEMENT_BYTES[y.type] * first);
      const wide = this.#widened(row + first, n, rank);
      // biome-ignore format: parameters by operand
      this.store.products.run({
        m: x.rows, n, k, a: x.address, lda: x.ld, ...wide, transB: true, d, ldd: y.ld, type: y.type,
      });
    };
    // Split in halves where there is no scratch for all rows at once.
    for (let [first, most] = [0, y.columns]; first < y.columns; ) {
      const n = Math.min(most, y.columns - first);
      try {
        multiply(first, n);
        first += n;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || most <= FEWEST_COLUMNS) throw error;
        most = roundUp(most / 2, ROW_MULTIPLE);
      }
    }
  }

  transposedProduct(row: number, dy: DeviceRows, dx: DeviceRows, rank = 0, beta = 0): void {
    const n = rank > 0 ? this.paddedColumns + rank : this.columns;
    const { b, ldb } = this.#widened(row, dy.columns, rank);
    multiplyRows(this.store, dy, { address: b, ld: ldb }, n, dx, beta);
  }

  adapterProduct(row: number, dy: DeviceRows, du: DeviceRows): void {
    multiplyRows(this.store, dy, this.adapterAt(row), du.columns, du, 0);
  }

  /** Grid of a kernel of generation-held.cu: as many blocks as are resident at once, each looping over rows. */
  protected smallGrid({ x, n, lowBlocks, activation }: SmallProduct): Grid {
    const resident = this.store.kernels.multiprocessors * this.smallBlocks(x.rows);
    const most = Math.max(1, resident - lowBlocks);
    return [lowBlocks + Math.min(most, Math.ceil((activation < 0 ? n : 2 * n) / SMALL_BLOCK_ROWS))];
  }

  gatherRows(row: number, ids: Int32Array): CudaTensor {
    const out = this.store.create([ids.length, this.columns]);
    this.store.withTable(ids, (index) => {
      this.#widen({ out: out.address, ldo: out.ld, first: row, rows: ids.length, index, rank: 0 });
    });
    return out;
  }

  readRows(row: number, count: number): CudaTensor {
    const out = this.store.create([count, this.columns]);
    this.#widen({ out: out.address, ldo: out.ld, first: row, rows: count, rank: 0 });
    return out;
  }

  override bf16Rows(row: number, count: number): DeviceRows {
    const { b, ldb } = this.#widened(row, count, 0);
    return { address: b, ld: ldb, rows: count, columns: this.columns, type: 'bf16' };
  }

  reserveAdapter(columns: number): void {
    if (this.#spare >= columns) return;
    const { allocator, driver } = this.store;
    const bytes = BYTES * this.rows * columns;
    const block = allocator.allocate(bytes, 'weights', 'weights');
    // Products read the padding of ranks, so it must be zero.
    driver.fillBytes(block.address, 0, bytes);
    if (this.#low) allocator.free(this.#low);
    this.#low = block;
    this.#spare = columns;
    for (const adapter of this.adapters.values()) adapter.invalidate();
  }

  adapterAt(row: number): Pick<DeviceRows, 'address' | 'ld'> {
    if (!this.#low) throw new EngineError('no columns are reserved for an adapter: call reserveAdapter first');
    return { address: offset(this.#low.address, BYTES * row * this.#spare), ld: this.#spare };
  }

  free(): void {
    if (this.#low) this.store.allocator.free(this.#low);
    // Another matrix allocates it again when it needs it.
    this.store.freeScratch();
    this.freeParts();
    this.memory.free();
  }

  /** @throws EngineError for more weights than `maxParts` */
  protected addPart(part: P): void {
    if (this.parts.length >= this.#maxParts)
      throw new EngineError(`loadWeight: a stack of ${this.held} weights holds at most ${this.#maxParts}`);
    this.parts.push(part);
    this.parts.sort((a, b) => a.row - b.row);
  }

  /** MAX_PARTS values: one of each part, then `missing`. */
  protected ofParts<T>(value: (part: P) => T, missing: T): T[] {
    return Array.from({ length: MAX_PARTS }, (_, i) => (this.parts[i] ? value(this.parts[i]) : missing));
  }

  /** The rows as bf16 in scratch, valid for the product queued next. */
  #widened(row: number, rows: number, rank: number): { readonly b: DevicePointer; readonly ldb: number } {
    const ldb = this.#wideColumns;
    const b = this.store.scratch(BYTES * rows * ldb);
    this.#widen({ out: b, ldo: ldb, first: row, rows, rank });
    return { b, ldb };
  }

  #widen(rows: WideRows): void {
    const units = Math.ceil(this.columns / UNIT) + rows.rank / UNIT;
    const low = rows.rank > 0 ? this.adapterAt(0).address : undefined;
    this.widen(rows, [Math.ceil((rows.rows * units) / THREADS)], low, this.#spare);
  }
}
