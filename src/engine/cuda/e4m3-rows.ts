/** Quantises rows of bf16 to e4m3 (kernels/e4m3.cu). */
import { KERNELS } from '../../generated/kernel-launchers.js';
import type { E4m3Scales } from './cublas-lt.js';
import type { E4m3Rows } from './frozen-matrix.js';
import { type DevicePointer, offset, ofWidth } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { TensorStore } from './tensor-store.js';
import type { DeviceRows } from './tensors.js';

/** Vectors of 8 elements that a thread of quantize_e4m3 may hold. */
const VECTORS = [2, 4, 8] as const;
const MAX_THREADS = 512;

/** Most columns that a row kept in registers may have. */
export const MAX_HELD = 8 * MAX_THREADS * 8;

/** Threads per row of so many columns, and vectors per thread. */
export function quantizeShape(columns: number): { readonly threads: number; readonly vectors: number } {
  const vectors = VECTORS.find((count) => 8 * MAX_THREADS * count >= columns) ?? 8;
  return { threads: Math.min(MAX_THREADS, 32 * Math.ceil(columns / (256 * vectors))), vectors };
}

/**
 * Writes the codes of x ⊙ factors and a scale per row, or one scale for all rows.
 * @param factors float32 [columns]. Default: 1
 * @param most largest magnitude of all elements, for one scale
 */
export function quantizeRows(
  store: TensorStore,
  { address, ld, rows, columns }: DeviceRows,
  to: E4m3Rows,
  factors?: DevicePointer,
  most?: DevicePointer,
): void {
  const { threads, vectors } = quantizeShape(columns);
  // biome-ignore format: parameters by operand
  store.kernels.launch(ofWidth(KERNELS.quantizeE4m3, vectors), [rows], {
    codes: to.codes, scales: to.scales, x: address, factors, most, rows, columns, ldcodes: to.ld, ldx: ld,
  }, threads);
}

/** Memory for codes [rows, columns], followed by a scale per row. The caller frees the block. */
export function operandRoom(
  store: TensorStore,
  rows: number,
  columns: number,
): E4m3Rows & { readonly block: DeviceBlock } {
  const bytes = rows * columns;
  // At least two floats: a single scale, and the amax it is computed from.
  const block = store.allocator.allocate(bytes + 4 * Math.max(2, rows), 'e4m3 operands');
  return { block, codes: block.address, ld: columns, scales: offset(block.address, bytes) };
}

/**
 * Calls `body` with x ⊙ factors as the operand of a product, and frees it afterwards.
 * @param factors float32 [columns]. Default: 1
 */
export function withQuantized(
  store: TensorStore,
  x: DeviceRows,
  scales: E4m3Scales,
  factors: DevicePointer | undefined,
  body: (operand: E4m3Rows) => void,
): void {
  const { rows, columns } = x;
  const operand = operandRoom(store, rows, columns);
  try {
    let most: DevicePointer | undefined;
    if (scales === 'tensor') {
      most = offset(operand.scales, 4);
      store.driver.fillBytes(most, 0, 4);
      const parameters = { most, x: x.address, factors, rows, columns, ldx: x.ld };
      const threads = Math.min(MAX_THREADS, 32 * Math.ceil(columns / 512));
      store.kernels.launch(KERNELS.tensorAmax, [rows], parameters, threads);
    }
    quantizeRows(store, x, operand, factors, most);
    body(operand);
  } finally {
    store.allocator.free(operand.block);
  }
}

/** Columns of u that low_rank_up has kernels for: with 48 a bf16 product is as fast. */
const UP_WIDTHS = [16, 32, 64];
/** Columns of du that quantize_adapted has kernels for: with more, reading B takes longer than reading x again. */
const ADAPTED_WIDTHS = [16, 32];

/** Operands of du = x·(scale·B). */
export interface LowRankProduct {
  readonly b: Pick<DeviceRows, 'address' | 'ld'>;
  /** The rank of a part, padded. */
  readonly rank: number;
  readonly du: Pick<DeviceRows, 'address' | 'ld' | 'columns'>;
}

/**
 * As `withQuantized` with row scales, for rows whose largest magnitudes are known, of two stacked parts of one padded
 * rank. The same launch computes du = x·(scale·B).
 * @param most float32 [T]: the largest magnitude of each row of x ⊙ factors
 */
export function withQuantizedLowRank(
  store: TensorStore,
  x: DeviceRows,
  factors: DevicePointer,
  most: DevicePointer,
  { b, rank, du }: LowRankProduct,
  body: (operand: E4m3Rows) => void,
): void {
  const { kernels } = store;
  const { rows, columns } = x;
  const n = columns / 2;
  const transposed = store.create([rank, columns]);
  const operand = operandRoom(store, rows, columns);
  try {
    const parameters = { out: transposed.address, b: b.address, n, ldb: b.ld };
    kernels.launch(ofWidth(KERNELS.transposeLowRank, rank), [Math.ceil(columns / 256)], parameters);
    // biome-ignore format: parameters by operand
    kernels.launch(ofWidth(KERNELS.quantizeLowRank, rank), [Math.ceil(rows / 16), 2], {
      codes: operand.codes, scales: operand.scales, du: du.address, x: x.address, factors, most, b: transposed.address,
      rows, n, ldcodes: operand.ld, lddu: du.ld, ldx: x.ld,
    });
    store.release(transposed);
    body(operand);
  } finally {
    store.allocator.free(operand.block);
  }
}

/** Whether `withQuantizedAdapted` takes an adapter of so many columns. */
export function quantizesAdapted(columns: number): boolean {
  return ADAPTED_WIDTHS.includes(columns);
}

/** Whether `lowRankUp` takes an adapter of so many columns. */
export function hasLowRankUp(columns: number): boolean {
  return UP_WIDTHS.includes(columns);
}

/** As `withQuantized` with row scales. The same launch computes du = x·(scale·B). */
export function withQuantizedAdapted(
  store: TensorStore,
  x: DeviceRows,
  factors: DevicePointer,
  { b, du }: LowRankProduct,
  body: (operand: E4m3Rows) => void,
): void {
  const { rows, columns } = x;
  const operand = operandRoom(store, rows, columns);
  try {
    // biome-ignore format: parameters by operand
    store.kernels.launch(ofWidth(KERNELS.quantizeAdapted, du.columns), [Math.ceil(rows / 8)], {
      codes: operand.codes, scales: operand.scales, du: du.address, x: x.address, factors, b: b.address,
      rows, columns, ldcodes: operand.ld, lddu: du.ld, ldx: x.ld, ldb: b.ld,
    });
    body(operand);
  } finally {
    store.allocator.free(operand.block);
  }
}

/** y = u·(scale·B)ᵀ. y: of a multiple of 8 columns */
export function lowRankUp(store: TensorStore, y: DeviceRows, u: DeviceRows, b: LowRankProduct['b']): void {
  const { rows, columns } = y;
  // biome-ignore format: parameters by operand
  store.kernels.launch(ofWidth(KERNELS.lowRankUp, u.columns), [Math.ceil(columns / 256), Math.ceil(rows / 64)], {
    y: y.address, u: u.address, b: b.address, rows, columns, ldy: y.ld, ldu: u.ld, ldb: b.ld,
  });
}
