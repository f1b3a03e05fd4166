/**
 * What operations may ask of a frozen weight, whatever format it is stored in. A format is one class in a file of its
 * own, chosen in tensor-store.ts, and a way to widen its rows in wasm/widen.ts.
 */
import type { Weight } from '../tensor.js';

/** Linear weights are [rows, columns] = [out, in]. Operands are byte addresses of float32 rows in the heap. */
export interface FrozenWeight extends Weight {
  /** Product of all extents but the last; 1 for a vector. */
  readonly rows: number;
  readonly columns: number;
  /** Bytes that it takes outside the heap. */
  readonly byteLength: number;
  /** Heap address of all of it as float32, where it is small enough to be kept so as well; all vectors are. */
  readonly widened: number | undefined;

  /** y [m, rows] = x [m, columns] · Wᵀ */
  product(m: number, x: number, y: number): void;
  /** dx [m, columns] = dy [m, rows] · W + beta · dx */
  transposedProduct(m: number, dy: number, dx: number, beta?: number): void;
  /** The listed rows to `target`, one after the other. @throws EngineError for a row that it has not */
  gatherRows(ids: ArrayLike<number>, target: number): void;
  /** Rows start..end to `target`. @throws EngineError for a row that it has not */
  widenRows(start: number, end: number, target: number): void;
  release(): void;
}
