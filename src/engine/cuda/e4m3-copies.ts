/**
 * Copies of a frozen matrix that e4m3 products read: its codes with a scale per row, unless it is held so, and their
 * transpose for the gradient of the input, since Hopper takes both operands with K contiguous only. Each copy is either
 * kept or made anew for every product, with the same results.
 */
import { KERNELS } from '../../generated/kernel-launchers.js';
import { roundUp } from '../arena.js';
import { quantizeRows } from './e4m3-rows.js';
import type { E4m3Rows, FrozenMatrix, MatrixCopies } from './frozen-matrix.js';
import { type DevicePointer, offset } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { TensorStore } from './tensor-store.js';

/** Extents of operands, and the first row of a weight in its matrix, are multiples of this. */
export const E4M3_MULTIPLE = 16;

const HOLDER = 'e4m3 copies of weights';

interface KeptCodes extends E4m3Rows {
  readonly block: DeviceBlock;
}

export class E4m3Copies implements MatrixCopies {
  readonly #store: TensorStore;
  readonly #matrix: FrozenMatrix;
  #codes: KeptCodes | undefined;
  /** Codes [columns, rows], scales [rows]. */
  #transposed: KeptCodes | undefined;

  constructor(store: TensorStore, matrix: FrozenMatrix) {
    this.#store = store;
    this.#matrix = matrix;
  }

  static of(store: TensorStore, matrix: FrozenMatrix): E4m3Copies {
    if (!(matrix.copies instanceof E4m3Copies)) matrix.copies = new E4m3Copies(store, matrix);
    return matrix.copies as E4m3Copies;
  }

  /** Whether y = x·Wᵀ needs no copy made for it. */
  get hasCodes(): boolean {
    return this.#codes !== undefined || this.#matrix.e4m3Rows(0) !== undefined;
  }

  get hasTransposed(): boolean {
    return this.#transposed !== undefined;
  }

  /** The scales of the rows from `row` on, if the transposed copy is kept. */
  transposedScales(row: number): DevicePointer | undefined {
    return this.#transposed && offset(this.#transposed.scales, 4 * row);
  }

  /** Size of each of the two copies. */
  get copyBytes(): number {
    const { rows, columns } = this.#matrix;
    return roundUp(rows, E4M3_MULTIPLE) * columns + 4 * rows;
  }

  /** Makes and keeps the codes. @throws OutOfMemoryError */
  keepCodes(): void {
    if (this.hasCodes) return;
    const { rows, columns } = this.#matrix;
    this.#codes = this.#room('weights', rows, columns);
    this.#quantize(this.#codes, 0, rows);
  }

  /** Makes and keeps the transposed codes. @throws OutOfMemoryError */
  keepTransposed(): void {
    if (this.#transposed) return;
    const { rows } = this.#matrix;
    const made = this.#room('weights', rows, roundUp(rows, E4M3_MULTIPLE));
    try {
      this.withCodes(0, rows, (codes) => {
        this.#transpose(made, codes, rows);
        this.#store.driver.copy(made.scales, codes.scales, 4 * rows);
      });
    } catch (error) {
      this.#store.allocator.free(made.block);
      throw error;
    }
    this.#transposed = made;
  }

  /** Calls `body` with the codes [rows, columns] of the rows from `row` on. */
  withCodes(row: number, rows: number, body: (codes: E4m3Rows) => void): void {
    const own = this.#codes ? rowsFrom(this.#codes, row) : this.#matrix.e4m3Rows(row);
    if (own) {
      body(own);
      return;
    }
    const made = this.#room('tensors', rows, this.#matrix.columns);
    try {
      this.#quantize(made, row, rows);
      body(made);
    } finally {
      this.#store.allocator.free(made.block);
    }
  }

  /** Calls `body` with the transposed codes [columns, rows] of the rows from `row` on, and their scales [rows]. */
  withTransposed(row: number, rows: number, body: (transposed: E4m3Rows) => void): void {
    const known = this.#transposed;
    if (known) {
      const { codes, ld, scales } = known;
      body({ codes: offset(codes, row), ld, scales: offset(scales, 4 * row) });
      return;
    }
    this.withCodes(row, rows, (codes) => {
      const made = this.#room('tensors', rows, roundUp(rows, E4M3_MULTIPLE));
      try {
        this.#transpose(made, codes, rows);
        body({ ...made, scales: codes.scales });
      } finally {
        this.#store.allocator.free(made.block);
      }
    });
  }

  free(): void {
    for (const made of [this.#codes, this.#transposed]) if (made) this.#store.allocator.free(made.block);
    this.#codes = undefined;
    this.#transposed = undefined;
  }

  /** Memory for the codes of so many rows, transposed or not, followed by their scales. */
  #room(pool: 'weights' | 'tensors', rows: number, ld: number): KeptCodes {
    const bytes = roundUp(rows, E4M3_MULTIPLE) * this.#matrix.columns;
    const block = this.#store.allocator.allocate(bytes + 4 * rows, HOLDER, pool);
    return { block, codes: block.address, ld, scales: offset(block.address, bytes) };
  }

  #quantize(to: E4m3Rows, row: number, rows: number): void {
    const own = this.#matrix.bf16Rows(row, rows);
    const wide = own ?? this.#matrix.readRows(row, rows);
    quantizeRows(this.#store, wide, to);
    if (!own) this.#store.release(wide as ReturnType<FrozenMatrix['readRows']>);
  }

  #transpose(to: E4m3Rows, from: E4m3Rows, rows: number): void {
    const { columns } = this.#matrix;
    const grid = [Math.ceil(columns / 64), Math.ceil(rows / 64)] as const;
    const parameters = { out: to.codes, x: from.codes, rows, columns, ldo: to.ld, ldx: from.ld };
    this.#store.kernels.launch(KERNELS.transposeBytes, grid, parameters);
  }
}

function rowsFrom({ codes, ld, scales }: E4m3Rows, row: number): E4m3Rows {
  return { codes: offset(codes, ld * row), ld, scales: offset(scales, 4 * row) };
}
