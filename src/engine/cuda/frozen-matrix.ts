/**
 * What operations may ask of a frozen matrix on the device, whatever format it is stored in. A format is one subclass
 * in a file of its own, chosen in weights.ts; nothing else knows how its values lie.
 */
import type { HeldFormat, Nf4Absmax } from '../../formats/weight-source.js';
import { roundUp } from '../arena.js';
import type { DevicePointer } from './launch.js';
import { ROW_MULTIPLE, type TensorStore } from './tensor-store.js';
import type { CudaTensor, DeviceRows } from './tensors.js';
import type { WeightTarget } from './weight-stream.js';

/** A low-rank addition to some rows of a matrix; scale·B lies with the matrix. */
export interface MatrixAdapter {
  /** Version of the parameter values that scale·B was computed from; 0 before the first. */
  readonly version: number;
  /** scale·B is lost or lies elsewhere. */
  invalidate(): void;
  dispose(): void;
}

/** A product with a few rows of x, bound by reading the weight once, with what lies around it in the same launch. */
export interface SmallProduct {
  readonly y: DeviceRows;
  readonly x: DeviceRows;
  /** Columns of y; with an activation, 2·n rows of the matrix are read: gate above up. */
  readonly n: number;
  /** Thread blocks that compute u; they come first in the grid. */
  readonly lowBlocks: number;
  /** Low-rank addition, if any: A and its row stride, columns of u, and where parts of u and their counter lie. */
  readonly a: DevicePointer | undefined;
  readonly lda: number;
  readonly width: number;
  readonly low: DevicePointer | undefined;
  readonly ready: DevicePointer | undefined;
  /** Value of the counter once all parts of u are written. */
  readonly target: number;
  /** y = activation(gate) ⊙ up, by its number in common.cu; -1 for none. */
  readonly activation: number;
  /** Of the one row of x, before the product: addresses. */
  readonly norm:
    | {
        readonly sum: DevicePointer | undefined;
        readonly residual: DevicePointer | undefined;
        readonly weight: DevicePointer;
        readonly eps: number;
      }
    | undefined;
}

/** e4m3 codes on the device, and float32 scales [rows]. */
export interface E4m3Rows {
  readonly codes: DevicePointer;
  /** Row stride in bytes, a multiple of 16. */
  readonly ld: number;
  readonly scales: DevicePointer;
}

/** Copies of a matrix in another format (e4m3-copies.ts). */
export interface MatrixCopies {
  free(): void;
}

/** d = dy·B + beta·d, with the first `n` columns of rows B that lie as bf16. */
export function multiplyRows(
  { products }: Pick<TensorStore, 'products'>,
  dy: DeviceRows,
  { address, ld }: Pick<DeviceRows, 'address' | 'ld'>,
  n: number,
  d: DeviceRows,
  beta: number,
): void {
  // biome-ignore format: parameters by operand
  products.run({
    m: dy.rows, n, k: dy.columns, a: dy.address, lda: dy.ld, b: address, ldb: ld, d: d.address, ldd: d.ld, beta,
  });
}

/** W [rows, columns]. Rows of it are a weight: products take those from `row` on, as many as the other operand says. */
export abstract class FrozenMatrix {
  readonly rows: number;
  readonly columns: number;
  /** `columns` rounded up. In operands with a low-rank part, u and du begin here, after zeros. */
  readonly paddedColumns: number;
  users = 0;
  /** First rows of the weights that were put in it. */
  readonly places = new Set<number>();
  readonly adapters = new Map<number, MatrixAdapter>();
  copies: MatrixCopies | undefined;

  constructor(rows: number, columns: number) {
    this.rows = rows;
    this.columns = columns;
    this.paddedColumns = roundUp(columns, ROW_MULTIPLE);
  }

  /** Format, unless bf16. */
  readonly held: HeldFormat['format'] | undefined;
  abstract readonly bytes: number;
  /** Most scratch bytes of a product. */
  get scratchBytes(): number {
    return 0;
  }
  /** Rows of x up to which `smallProduct` is the faster one; 0 for a format without it. */
  abstract readonly smallRows: number;
  /** Most columns for which `smallProduct` fuses a norm. */
  get smallNormColumns(): number {
    return 8192;
  }

  /** y = x·Wᵀ; with `rank`, [x | u]·[W | scale·B]ᵀ, u of so many columns. */
  abstract product(row: number, x: DeviceRows, y: DeviceRows, rank?: number): void;
  /** dx = dy·W + beta·dx; with `rank`, [dx | du] = dy·[W | scale·B]. */
  abstract transposedProduct(row: number, dy: DeviceRows, dx: DeviceRows, rank?: number, beta?: number): void;
  /** du = dy·(scale·B) */
  abstract adapterProduct(row: number, dy: DeviceRows, du: DeviceRows): void;
  abstract smallProduct(row: number, product: SmallProduct): void;
  /** Rows row + ids[i] as a new tensor. */
  abstract gatherRows(row: number, ids: Int32Array): CudaTensor;
  /** `count` rows as a new tensor. */
  abstract readRows(row: number, count: number): CudaTensor;

  /** Rows as bf16: in place, or dequantised to scratch for work queued next; undefined if it has no products. */
  bf16Rows(_row: number, _count: number): DeviceRows | undefined {
    return undefined;
  }
  /** Rows from `row` on in place, if held in e4m3 with a scale per row. */
  e4m3Rows(_row: number): E4m3Rows | undefined {
    return undefined;
  }

  /**
   * Destination of `rows` stored rows.
   * @param absmax stored absmax of 4-bit values
   */
  abstract target(row: number, rows: number, absmax?: Nf4Absmax): WeightTarget;

  /**
   * Makes room for a scale·B of so many columns; adapters whose scale·B moves are invalidated. May run out of memory.
   */
  abstract reserveAdapter(columns: number): void;
  /** Where the scale·B of the rows from `row` on lies, bf16. */
  abstract adapterAt(row: number): Pick<DeviceRows, 'address' | 'ld'>;
  abstract free(): void;
}
