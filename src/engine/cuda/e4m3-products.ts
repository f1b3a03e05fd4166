/**
 * Products with frozen matrices in e4m3. Rows of x, dy and W have a scale each. In dx = dy·W the scales of W run along
 * the summed dimension, so dy is multiplied by them before it is quantised.
 *
 * Only compute capability 9.0 has row scales. Other cards scale a whole operand by its largest magnitude, and multiply
 * y by the weight's scales in a launch of its own.
 */
import { EngineError, OutOfMemoryError } from '../../errors.js';
import { KERNELS } from '../../generated/kernel-launchers.js';
import type { Precision } from '../operations.js';
import type { E4m3Scales } from './cublas-lt.js';
import { E4M3_MULTIPLE, E4m3Copies } from './e4m3-copies.js';
import {
  hasLowRankUp,
  type LowRankProduct,
  quantizesAdapted,
  withQuantized,
  withQuantizedAdapted,
  withQuantizedLowRank,
} from './e4m3-rows.js';
import type { E4m3Rows, FrozenMatrix } from './frozen-matrix.js';
import { type DevicePointer, grid2 } from './launch.js';
import { CACHE, type DeviceBlock } from './memory.js';
import type { TensorStore } from './tensor-store.js';
import type { DeviceRows } from './tensors.js';
import type { DeviceWeight } from './weights.js';

/** First compute capability with e4m3 products, and the one with row scales. */
const LEAST_CAPABILITY = 89;
const ROW_SCALES_CAPABILITY = 90;
/** cuBLAS 12.9 */
const ROW_SCALES_VERSION = 120900;

/** Share of the free memory that kept copies may take: activations kept for backward save more time. */
const COPIES_SHARE = 1 / 3;
/** Always left free: a pass of a few thousand tokens through a 14B model takes about 3 GiB. */
const PASS_BYTES = 4 * 2 ** 30;

/** The operand scales that card and library support; undefined without e4m3 products. */
export function e4m3ScalesOf(capability: number, libraryVersion: number): E4m3Scales | undefined {
  if (capability < LEAST_CAPABILITY) return undefined;
  return capability === ROW_SCALES_CAPABILITY && libraryVersion >= ROW_SCALES_VERSION ? 'rows' : 'tensor';
}

/** The rows of a matrix that take part in one product. */
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
  /** Bytes of the largest copies that are made anew for a product. */
  #scratchBytes = 0;

  constructor(store: TensorStore, scales: E4m3Scales | undefined, capability: number) {
    this.#store = store;
    this.scales = scales;
    this.#capability = capability;
  }

  /** Most bytes that a product allocates for copies, as of the last `prepare`. */
  get scratchBytes(): number {
    return this.#scratchBytes;
  }

  /**
   * Whether a product runs in e4m3: `precision` says so and cuBLASLt supports its extents.
   * @throws EngineError on a card without such products
   */
  takes(precision: Precision, isBackward: boolean, { matrix, row, rows }: MatrixRows): boolean {
    if (precision === 'bf16' || (precision === 'fp8-backward' && !isBackward)) return false;
    this.#require(precision);
    return [matrix.columns, row, rows].every((extent) => extent % E4M3_MULTIPLE === 0);
  }

  /** Whether `product` supports `beta`. */
  get accumulates(): boolean {
    return this.scales === 'rows';
  }

  /**
   * y = x·Wᵀ + beta·y
   * @param operand codes of x with row scales, where the kernel that made x also quantised it
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

  /**
   * The factors [rows] that `transposedProduct` multiplies dy's columns by, if known in advance: the kernel that makes
   * dy can then reduce the largest magnitude of each row.
   */
  gradientFactors({ matrix, row }: MatrixRows): DevicePointer | undefined {
    return this.scales === 'rows' ? E4m3Copies.of(this.#store, matrix).transposedScales(row) : undefined;
  }

  /** Whether a kernel makes u·(scale·B)ᵀ of so many columns of u, before the product that is added. */
  hasLowRankUp(columns: number): boolean {
    return this.scales === 'rows' && hasLowRankUp(columns);
  }

  /** Whether `transposedProduct` computes so many columns of du, though nobody knows the largest magnitudes. */
  takesLowRank(columns: number): boolean {
    return this.scales === 'rows' && quantizesAdapted(columns);
  }

  /**
   * dx = dy·W
   * @param low if `takesLowRank` says so, or with `most`: du is computed while quantising
   * @param most largest magnitudes of the rows of dy ⊙ `gradientFactors`, float32 [T]; needs `low`
   */
  transposedProduct(
    { matrix, row, rows }: MatrixRows,
    dy: DeviceRows,
    dx: DeviceRows,
    low?: LowRankProduct,
    most?: DevicePointer,
  ): void {
    const { scales } = this;
    if (!scales || dy.rows === 0) return;
    const store = this.#store;
    const { columns } = matrix;
    E4m3Copies.of(store, matrix).withTransposed(row, rows, (b) => {
      const multiply = (a: E4m3Rows): void => {
        // biome-ignore format: parameters by operand
        store.products.run({
          m: dy.rows, n: columns, k: rows, a: a.codes, lda: a.ld,
          b: b.codes, ldb: b.ld, transB: true, d: dx.address, ldd: dx.ld,
          e4m3: { scales, a: a.scales, b: this.#one(scales === 'rows' ? columns : 1), isFast: false },
        });
      };
      if (low && most !== undefined) withQuantizedLowRank(store, dy, b.scales, most, low, multiply);
      else if (low) withQuantizedAdapted(store, dy, b.scales, low, multiply);
      else withQuantized(store, dy, scales, b.scales, multiply);
    });
  }

  /**
   * Makes and keeps the copies that products of this precision read, within COPIES_SHARE of the free memory and with
   * room left for a pass: first those of forward, then those of backward, in order. The rest is made anew for each
   * product. `bf16` frees all copies.
   */
  prepare(weights: readonly DeviceWeight[], precision: Precision): void {
    const store = this.#store;
    const isTaken = ({ rows, columns }: FrozenMatrix) =>
      [rows, columns].every((extent) => extent % E4M3_MULTIPLE === 0);
    const matrices = [...new Set(weights.map(({ matrix }) => matrix))].filter(isTaken);
    this.#scratchBytes = 0;
    if (precision === 'bf16') {
      for (const { copies } of matrices) copies?.free();
      return;
    }
    this.#require(precision);
    const all = matrices.map((matrix) => E4m3Copies.of(store, matrix));
    const { limitBytes, bytesInUse } = store.allocator.memory();
    const free = limitBytes - bytesInUse;
    let room = Math.min(COPIES_SHARE * free, free - PASS_BYTES);
    const keep = (copies: E4m3Copies, make: () => void): void => {
      if (copies.copyBytes > room) return;
      try {
        make();
        room -= copies.copyBytes;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        // The card has less memory than was counted.
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

  /** Device address of at least `count` float32 ones. */
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
      `precision '${precision}' needs compute capability 8.9 or more, this card has ${(this.#capability / 10).toFixed(1)}`,
      { hint: "Set precision to 'bf16'." },
    );
  }
}
