/** Quantises rows of bf16 to e4m3 (kernels/e4m3.cu). */
import { KERNELS } from '../../generated/kernel-launchers.js';
import type { E4m3Scales } from './cublas-lt.js';
import type { E4m3Rows } from './frozen-matrix.js';
import { type DevicePointer, offset, ofWidth } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { TensorStore } from './tensor-store.js';
import type { DeviceRows } from './tensors.js';

/** Vectors of 8 elements that a thread of quantize_e4m3 holds. */
const VECTORS = [2, 4, 8] as const;
const MAX_THREADS = 512;

/** Most columns that a kernel keeps in registers. */
export const MAX_HELD = 8 * MAX_THREADS * 8;

/** Threads for a row of so many elements, and vectors of each. */
export function quantizeShape(columns: number): { readonly threads: number; readonly vectors: number } {
  const vectors = VECTORS.find((count) => 8 * MAX_THREADS * count >= columns) ?? 8;
  return { threads: Math.min(MAX_THREADS, 32 * Math.ceil(columns / (256 * vectors))), vectors };
}

/** Writes the codes of x ⊙ factors, and a scale for each row. */
export function quantizeRows(store: TensorStore, x: DeviceRows, to: E4m3Rows, factors?: DevicePointer): void {
  launch(store, x, to, factors, undefined);
}

/** Room for the codes of [rows, columns], with a scale for each row behind them. The caller frees the block. */
export function operandRoom(
  store: TensorStore,
  rows: number,
  columns: number,
): E4m3Rows & { readonly block: DeviceBlock } {
  const bytes = rows * columns;
  // One scale for all comes with the amax that it is made of.
  const block = store.allocator.allocate(bytes + 4 * Math.max(2, rows), 'e4m3 operands');
  return { block, codes: block.address, ld: columns, scales: offset(block.address, bytes) };
}

/**
 * Calls `body` with x ⊙ factors as the operand of a product; it is freed after that.
 * @param factors float32, by column; default 1
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
    if (scales === 'rows') quantizeRows(store, x, operand, factors);
    else {
      const most = offset(operand.scales, 4);
      store.driver.fillBytes(most, 0, 4);
      const parameters = { most, x: x.address, factors, rows, columns, ldx: x.ld };
      store.kernels.launch(
        KERNELS.tensorAmax,
        [rows],
        parameters,
        Math.min(MAX_THREADS, 32 * Math.ceil(columns / 512)),
      );
      launch(store, x, operand, factors, most);
    }
    body(operand);
  } finally {
    store.allocator.free(operand.block);
  }
}

function launch(
  store: TensorStore,
  { address, ld, rows, columns }: DeviceRows,
  to: E4m3Rows,
  factors: DevicePointer | undefined,
  most: DevicePointer | undefined,
): void {
  const { threads, vectors } = quantizeShape(columns);
  // biome-ignore format: parameters by operand
  store.kernels.launch(ofWidth(KERNELS.quantizeE4m3, vectors), [rows], {
    codes: to.codes, scales: to.scales, x: address, factors, most, rows, columns, ldcodes: to.ld, ldx: ld,
  }, threads);
}
