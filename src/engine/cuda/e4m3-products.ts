/**
 * Products with frozen matrices in e4m3. Rows of x and dy are quantised with a scale each, weights with one for each of
 * theirs. The weight's scales lie along the sum of dx = dy·W: dy is multiplied by them before it is quantised.
 *
 * Cards whose library has one scale for an operand only (all but compute capability 9.0) take the largest magnitude of
 * the whole operand; y is then multiplied by the weight's scales in a launch of its own.
 */

import { EngineError, OutOfMemoryError } from '../../errors.js';
import { KERNELS } from '../../generated/kernel-launchers.js';
import type { Precision } from '../operations.js';
import type { E4m3Scales } from './cublas-lt.js';
import { E4M3_MULTIPLE, E4m3Copies } from './e4m3-copies.js';
import { withQuantized } from './e4m3-rows.js';
import type { E4m3Rows, FrozenMatrix } from './frozen-matrix.js';
import { type DevicePointer, grid2 } from './launch.js';
import { CACHE, type DeviceBlock } from './memory.js';
import type { TensorStore } from './tensor-store.js';
import type { DeviceRows } from './tensors.js';
import type { DeviceWeight } from './weights.js';

/** Compute capability from which there are e4m3 products, and the one with a scale for each row. */
const LEAST_CAPABILITY = 89;
const ROW_SCALES_CAPABILITY = 90;
/** cuBLAS 12.9. */
const ROW_SCALES_VERSION = 120900;

/** Most of the free memory that kept copies take: what backward would keep is worth more there. */
const COPIES_SHARE = 1 / 3;

/** The scales that card and library have for operands; undefined without e4m3 products. */
export function e4m3ScalesOf(capability: number, libraryVersion: number): E4m3Scales | undefined {
  if (capability < LEAST_CAPABILITY) return undefined;
  return capability === ROW_SCALES_CAPABILITY && libraryVersion >= ROW_SCALES_VERSION ? 'rows' : 'tensor';
}

/** Rows of a matrix that one product has. */
interface MatrixRows {
  readonly matrix: FrozenMatrix;
  readonly row: number;
  readonly rows: number;
}

export class E4m3Products {
  readonly scales: E4m3Scales | undefined;
  readonly #store: TensorStore;
  readonly #capability: number;
  #ones: { readonly block: DeviceBlock; readonly count: number } | undefined;
  /** Bytes of copies that are made for one product at a time. */
  #scratchBytes = 0;

  constructor(store: TensorStore, scales: E4m3Scales | undefined, capability: number) {
    this.#store = store;
    this.scales = scales;
    this.#capability = capability;
  }

  /** What products take beside tensors while they run, since `prepare`. */
  get scratchBytes(): number {
    return this.#scratchBytes;
  }

  /**
   * Whether a product runs in e4m3: asked for, and of extents that the library takes.
   * @throws EngineError on a card without such products
   */
  takes(precision: Precision, isBackward: boolean, { matrix, row, rows }: MatrixRows): boolean {
    if (precision === 'bf16' || (precision === 'fp8-backward' && !isBackward)) return false;
    this.#require(precision);
    return [matrix.columns, row, rows].every((extent) => extent % E4M3_MULTIPLE === 0);
  }

  /** Whether `product` can add to what y holds. */
  get accumulates(): boolean {
    return this.scales === 'rows';
  }

  /**
   * y = x·Wᵀ + beta·y
   * @param operand the codes of x, with a scale for each row, where they were made with it
   */
  product({ matrix, row, rows }: MatrixRows, x: DeviceRows, y: DeviceRows, beta = 0, operand?: E4m3Rows): void {
    const { scales } = this;
    if (!scales || x.rows === 0) return;
    const store = this.#store;
    const multiply = (a: E4m3Rows): void => {
      E4m3Copies.of(store, matrix).withCodes(row, rows, (b) => {
        // biome-ignore format: parameters by operand
        store.products.run({
          m: x.rows, n: rows, k: x.columns, a: a.codes, lda: a.ld,
          b: b.codes, ldb: b.ld, transB: true, d: y.address, ldd: y.ld, beta,
          e4m3: { scales, a: a.scales, b: scales === 'rows' ? b.scales : this.#one(1), isFast: true },
        });
        if (scales === 'rows') return;
        const parameters = { y: y.address, factors: b.scales, rows: x.rows, columns: rows, ldy: y.ld };
        store.kernels.launch(KERNELS.scaleColumns, grid2(x.rows, rows), parameters);
      });
    };
    if (operand) multiply(operand);
    else withQuantized(store, x, scales, undefined, multiply);
  }

  /** dx = dy·W */
  transposedProduct({ matrix, row, rows }: MatrixRows, dy: DeviceRows, dx: DeviceRows): void {
    const { scales } = this;
    if (!scales || dy.rows === 0) return;
    const store = this.#store;
    const { columns } = matrix;
    E4m3Copies.of(store, matrix).withTransposed(row, rows, (b) => {
      withQuantized(store, dy, scales, b.scales, (a) => {
        // biome-ignore format: parameters by operand
        store.products.run({
          m: dy.rows, n: columns, k: rows, a: a.codes, lda: a.ld,
          b: b.codes, ldb: b.ld, transB: true, d: dx.address, ldd: dx.ld,
          e4m3: { scales, a: a.scales, b: this.#one(scales === 'rows' ? columns : 1), isFast: false },
        });
      });
    });
  }

  /**
   * Makes the copies of weights that products of this precision read, as far as they fit into a third of what is free:
   * first those of forward, then those of backward, in order. The others are made for each product. `bf16` frees them.
   */
  prepare(weights: readonly DeviceWeight[], precision: Precision): void {
    const store = this.#store;
    const matrices = [...new Set(weights.map(({ matrix }) => matrix))];
    this.#scratchBytes = 0;
    if (precision === 'bf16') {
      for (const { copies } of matrices) copies?.free();
      return;
    }
    this.#require(precision);
    const all = matrices.map((matrix) => E4m3Copies.of(store, matrix));
    const { limitBytes, bytesInUse } = store.allocator.memory();
    let room = COPIES_SHARE * Math.max(0, limitBytes - bytesInUse);
    const keep = (copies: E4m3Copies, make: () => void): void => {
      if (copies.copyBytes > room) return;
      try {
        make();
        room -= copies.copyBytes;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        // The card has less than the books say.
        room = 0;
      }
    };
    if (precision === 'fp8') for (const copies of all) if (!copies.hasCodes) keep(copies, () => copies.keepCodes());
    for (const copies of all) if (!copies.hasTransposed) keep(copies, () => copies.keepTransposed());
    const missing = all.map((copies) => {
      const made = copies.hasTransposed ? 0 : copies.copyBytes;
      const isNeeded = precision === 'fp8' || !copies.hasTransposed;
      return made + (copies.hasCodes || !isNeeded ? 0 : copies.copyBytes);
    });
    this.#scratchBytes = Math.max(0, ...missing);
  }

  dispose(): void {
    if (this.#ones) this.#store.allocator.free(this.#ones.block);
    this.#ones = undefined;
  }

  /** So many float32 ones. */
  #one(count: number): DevicePointer {
    if (!this.#ones || this.#ones.count < count) {
      this.dispose();
      const block = this.#store.allocator.allocate(4 * count, CACHE);
      this.#store.staging.upload(block.address, new Float32Array(count).fill(1));
      this.#ones = { block, count };
    }
    return this.#ones.block.address;
  }

  #require(precision: Precision): void {
    if (this.scales) return;
    throw new EngineError(
      `precision '${precision}' needs compute capability 8.9, this card has ${this.#capability / 10}`,
      {
        hint: "Set precision to 'bf16'.",
      },
    );
  }
}
