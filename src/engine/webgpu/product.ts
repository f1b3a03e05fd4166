/** What a product of matrices is, whichever kernel computes it. */
import type { WebgpuWeight, WeightPart } from './frozen-weight.js';
import type { BufferRange } from './gpu-types.js';

/** Row-major values in the arena; row 0 begins at element `first`, and rows are `stride` apart. */
export interface Rows {
  readonly range: BufferRange;
  /** Default: 0. */
  readonly first?: number | undefined;
  /** Default: contiguous. */
  readonly stride?: number | undefined;
  /** Of A: it lies outside of the arena, where no launch writes, and is bound `read`. */
  readonly isFixed?: boolean | undefined;
}

/** low.scale · mask ⊙ (u · op(b)), added to a product. */
export interface LowRank {
  /** [m, rank] */
  readonly u: BufferRange;
  /** [n, rank] where B is stored as [n, k], else [rank, n]. */
  readonly b: BufferRange;
  readonly rank: number;
  readonly scale: number;
  /** Of the sum's elements. */
  readonly mask?: Mask | undefined;
}

/** Elements that dropout keeps: see random.ts. */
interface Mask {
  readonly dropout: number;
  readonly seed: number;
  /** [m], bound `read`. */
  readonly rowKeys: BufferRange;
}

export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** [m, k], or [k, m] with transA. */
  readonly a: Rows;
  readonly transA?: boolean | undefined;
  /** [k, n], or [n, k] with transB: contiguous. */
  readonly b: BufferRange | { readonly weight: WebgpuWeight; readonly part: WeightPart };
  readonly transB?: boolean | undefined;
  /** [m, n] */
  readonly c: Rows;
  /** Default: 1. */
  readonly alpha?: number | undefined;
  /** 0 (the default) overwrites, whatever C holds. */
  readonly beta?: number | undefined;
  /** [..., n], bound `read`: from element `firstColumn` on. */
  readonly bias?: BufferRange | undefined;
  readonly low?: LowRank | undefined;
  /** Of this product in what `bias` and `low.b` are for: B may be a part of a weight. Default: 0. */
  readonly firstColumn?: number | undefined;
}
