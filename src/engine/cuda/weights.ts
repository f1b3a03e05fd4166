/**
 * Frozen weights on the device: matrices as bf16 with spare columns after their own, where an adapter's scaled B goes
 * (see operations/linear.ts), vectors as bf16. Weights that share an input can lie in one stacked matrix.
 */
import { EngineError } from '../../errors.js';
import { bfloat16ToFloat32, float16ToFloat32 } from '../../formats/half-precision.js';
import { DTYPE_BYTES, type DType, type StackPlace, sizeOf, type WeightSource } from '../../formats/weight-source.js';
import type { Weight } from '../tensor.js';
import type { AdapterGroup } from './adapters.js';
import { roundUp } from './arena.js';
import { type DevicePointer, offset } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { Staging } from './staging.js';
import { ROW_MULTIPLE, type TensorStore } from './tensor-store.js';
import { type WeightDriver, WeightStream } from './weight-stream.js';

/** A bf16 matrix [rows, columns] with spare columns. */
export class DeviceMatrix {
  readonly rows: number;
  readonly columns: number;
  /** Own columns, rounded up; zeros lie between. The spare columns start here. */
  readonly paddedColumns: number;
  block: DeviceBlock;
  /** Row stride in elements. */
  ld: number;
  /** Weights that lie in it. */
  users = 0;
  /** First rows of the weights that were put in it. */
  readonly places = new Set<number>();
  /** Adapters whose B stands in the spare columns, by first row. */
  readonly adapters = new Map<number, AdapterGroup>();

  constructor(rows: number, columns: number, block: DeviceBlock, ld: number) {
    this.rows = rows;
    this.columns = columns;
    this.paddedColumns = roundUp(columns, ROW_MULTIPLE);
    this.block = block;
    this.ld = ld;
  }

  get spare(): number {
    return this.ld - this.paddedColumns;
  }
}

export class DeviceWeight implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Product of all extents but the last; 1 for a vector. */
  readonly rows: number;
  readonly columns: number;
  readonly matrix: DeviceMatrix;
  /** First row in the matrix. */
  readonly row: number;
  /** A vector as it was stored: small, and exact for whoever reads it back. */
  vector: Float32Array | undefined;

  constructor(name: string, shape: readonly number[], dtype: DType, matrix: DeviceMatrix, row: number) {
    this.name = name;
    this.shape = shape;
    this.dtype = dtype;
    this.columns = shape.at(-1) ?? 1;
    this.rows = sizeOf(shape.slice(0, -1));
    this.matrix = matrix;
    this.row = row;
    matrix.users++;
    matrix.places.add(row);
  }

  /** Device address; may change when an adapter needs more spare columns. */
  get address(): DevicePointer {
    return offset(this.matrix.block.address, 2 * this.row * this.matrix.ld);
  }

  get ld(): number {
    return this.matrix.ld;
  }
}

export class WeightStore {
  readonly #store: TensorStore;
  readonly #stream: WeightStream;
  readonly #weights = new Set<DeviceWeight>();
  readonly #stacks = new Map<string, DeviceMatrix>();
  /** Spare columns that a matrix gets when it is loaded, for each weight in it. */
  readonly #spareColumns: number;

  /**
   * @param adapterRank rank for which spare columns are kept ready; a higher one costs a copy of the matrix
   * @param pieceBytes see WeightStream
   */
  constructor(store: TensorStore, driver: WeightDriver, staging: Staging, adapterRank: number, pieceBytes?: number) {
    this.#store = store;
    this.#stream = new WeightStream(store, driver, staging, pieceBytes);
    this.#spareColumns = roundUp(adapterRank, 16);
  }

  /** Loads may overlap: they share a ring of page-locked blocks, and are read in the order of the calls. */
  async load(source: WeightSource): Promise<DeviceWeight> {
    const { name, shape, dtype, byteLength, stack } = source;
    const needed = sizeOf(shape) * DTYPE_BYTES[dtype];
    if (byteLength !== needed) {
      throw new EngineError(
        `loadWeight: ${name} has ${byteLength} bytes, [${shape.join(', ')}] of ${dtype} needs ${needed}`,
      );
    }
    const columns = shape.at(-1) ?? 1;
    const rows = sizeOf(shape.slice(0, -1));
    const matrix = stack
      ? this.#stack(stack, rows, columns, name)
      : this.#matrix(rows, columns, shape.length > 1 ? 1 : 0);
    const held = dtype === 'f8_e4m3' ? 'bf16' : dtype;
    const weight = new DeviceWeight(name, [...shape], held, matrix, stack?.row ?? 0);
    this.#weights.add(weight);
    const keep = (bytes: Uint8Array): void => {
      weight.vector = widened(bytes, held);
    };
    try {
      await this.#stream.fill(weight, source, shape.length === 1 ? keep : undefined);
      return weight;
    } catch (error) {
      this.release(weight);
      throw error;
    }
  }

  /** The numbers as the device holds them; vectors as they were stored. */
  async read(weight: DeviceWeight): Promise<Float32Array> {
    if (weight.vector) return weight.vector.slice();
    const { rows, columns } = weight;
    const wide = new Float32Array(rows * columns);
    // A block of rows at a time: there may be no room for the whole in float32.
    const block = Math.max(1, Math.min(rows, Math.floor((1 << 24) / columns)));
    for (let row = 0; row < rows; row += block) {
      const count = Math.min(block, rows - row);
      const narrow = this.#store.create([count, columns]);
      const rowBytes = 2 * columns;
      this.#store.driver.copyRows(
        narrow.address,
        2 * narrow.ld,
        offset(weight.address, 2 * row * weight.ld),
        2 * weight.ld,
        rowBytes,
        count,
      );
      const part = this.#store.toF32(narrow);
      const numbers = this.#store.staging.download(part.address, 4 * part.size);
      this.#store.release(narrow);
      this.#store.release(part);
      wide.set(new Float32Array(await numbers.arrive()), row * columns);
    }
    return wide;
  }

  release(weight: DeviceWeight): void {
    this.#weights.delete(weight);
    const { matrix } = weight;
    if (--matrix.users > 0) return;
    for (const group of [...matrix.adapters.values()]) group.dispose();
    for (const [name, stacked] of this.#stacks) if (stacked === matrix) this.#stacks.delete(name);
    this.#store.allocator.free(matrix.block);
  }

  /** Waits for the weights on their way. */
  dispose(): Promise<void> {
    return this.#stream.dispose();
  }

  /** @throws EngineError if the weight is released or belongs to another engine */
  use(weight: Weight, operation: string): DeviceWeight {
    if (weight instanceof DeviceWeight && this.#weights.has(weight)) return weight;
    throw new EngineError(`${operation}: the weight ${weight.name} is released, or belongs to another engine`);
  }

  /** A weight [rows, columns] of any number of rows. */
  useMatrix(weight: Weight, columns: number, operation: string): DeviceWeight {
    const known = this.use(weight, operation);
    if (known.shape.length !== 2 || known.columns !== columns) {
      const shape = known.shape.join(', ');
      throw new EngineError(`${operation}: ${known.name} has shape [${shape}], expected [any, ${columns}]`);
    }
    return known;
  }

  /** Device address of a bf16 vector of this length. */
  vector(weight: Weight, length: number, operation: string): DevicePointer {
    const known = this.use(weight, operation);
    if (known.shape.length !== 1 || known.columns !== length) {
      throw new EngineError(`${operation}: ${known.name} has shape [${known.shape.join(', ')}], expected [${length}]`);
    }
    return known.address;
  }

  /** Gives a matrix at least `columns` spare columns; its address may change. */
  ensureSpare(matrix: DeviceMatrix, columns: number): void {
    if (matrix.spare >= columns) return;
    const { allocator, driver } = this.#store;
    const ld = matrix.paddedColumns + columns;
    const block = allocator.allocate(2 * matrix.rows * ld, 'weights', 'weights');
    driver.clearRows(offset(block.address, 2 * matrix.paddedColumns), 2 * ld, 2 * columns, matrix.rows);
    const rowBytes = 2 * matrix.paddedColumns;
    driver.copyRows(block.address, 2 * ld, matrix.block.address, 2 * matrix.ld, rowBytes, matrix.rows);
    allocator.free(matrix.block);
    matrix.block = block;
    matrix.ld = ld;
    for (const group of matrix.adapters.values()) group.invalidate();
  }

  #stack(place: StackPlace, rows: number, columns: number, name: string): DeviceMatrix {
    const named = this.#stacks.get(place.name);
    // A place that is taken is of another model with the same names: that one's stack is complete.
    const known = named?.places.has(place.row) ? undefined : named;
    // Room for the adapters of q, k and v.
    const matrix = known ?? this.#matrix(place.rows, columns, 3);
    if (matrix.columns !== columns || matrix.rows !== place.rows || place.row + rows > place.rows) {
      throw new EngineError(
        `loadWeight: ${name} [${rows}, ${columns}] does not fit at row ${place.row} of the stack ${place.name} ` +
          `[${matrix.rows}, ${matrix.columns}]`,
      );
    }
    this.#stacks.set(place.name, matrix);
    return matrix;
  }

  /** @param weights how many adapted weights the matrix may hold */
  #matrix(rows: number, columns: number, weights: number): DeviceMatrix {
    const ld = roundUp(columns, ROW_MULTIPLE) + weights * this.#spareColumns;
    const block = this.#store.allocator.allocate(2 * Math.max(1, rows) * ld, 'weights', 'weights');
    const matrix = new DeviceMatrix(rows, columns, block, ld);
    // Padding takes part in products with adapters: zeros.
    this.#store.driver.clearRows(offset(block.address, 2 * columns), 2 * ld, 2 * (ld - columns), rows);
    return matrix;
  }
}

function widened(bytes: Uint8Array, dtype: DType): Float32Array {
  const copy = bytes.slice().buffer;
  if (dtype === 'f32') return new Float32Array(copy);
  const half = new Uint16Array(copy);
  return dtype === 'bf16' ? bfloat16ToFloat32(half) : float16ToFloat32(half);
}
