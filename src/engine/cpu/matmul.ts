/** Matrix products over the heap and over frozen weights: checks, and the choice of kernel and tiles. */
import { EngineError } from '../../errors.js';
import type { Heap } from './heap.js';
import type { Pool } from './pool.js';

/** A frozen matrix as the kernels read it: rows outside the heap, in a format of wasm/widen.ts. */
export interface FrozenRows {
  readonly id: number;
  readonly name: string;
  readonly shape: readonly number[];
  readonly rows: number;
  readonly columns: number;
  readonly kernelFormat: number;
}

/** c = alpha · op(a) · op(b) + beta · c, all row-major float32; pointers are byte addresses in the heap. */
export interface Matmul {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** op(a) is [m, k]: stored [m, k], or [k, m] with `transA`. */
  readonly a: number;
  /** Elements from one stored row to the next. Default: the stored row length. */
  readonly lda?: number | undefined;
  readonly transA?: boolean | undefined;
  /** op(b) is [k, n]: stored [k, n], or [n, k] with `transB` (as linear weights are). */
  readonly b: number | FrozenRows;
  /** Only with `b` in the heap. */
  readonly ldb?: number | undefined;
  readonly transB?: boolean | undefined;
  /** Only with a frozen `b`: its first stored row and column. Default 0. */
  readonly bRow?: number | undefined;
  readonly bColumn?: number | undefined;
  /** [m, n]; may not overlap a or b. */
  readonly c: number;
  readonly ldc?: number | undefined;
  /** Default 1. */
  readonly alpha?: number | undefined;
  /** Default 0; c is not read then. */
  readonly beta?: number | undefined;
}

/** Register block of the kernel, and its widest tile (wasm/matmul.ts). */
const MR = 6;
const NR = 8;
const MAX_TILE_COLUMNS = 256;
/** Up to this many rows, dot products along the stored rows of b beat packing them. */
const FEW_ROWS = { heap: 4, frozen: 8 };
/** Products below this many multiply-adds are not worth waking a thread for. */
const SMALL_PRODUCT = 150_000;
/** Tiles per thread to aim for, so that a slow thread holds up little. */
const TILES_PER_THREAD = 4;
/** Multiply-adds that a tile should have, if that leaves one a thread: each tile packs its part of b. */
const TILE_WORK = 200_000;

/** @throws EngineError when a row distance is shorter than the row, or a frozen weight does not reach so far */
export function matmul(pool: Pool, heap: Heap, product: Matmul): void {
  const { m, n, k, transA = false, transB = false, alpha = 1, beta = 0 } = product;
  const frozen = typeof product.b === 'number' ? undefined : product.b;
  const { lda = transA ? m : k, ldc = n, bRow = 0, bColumn = 0 } = product;
  const ldb = frozen ? frozen.columns : (product.ldb ?? (transB ? k : n));
  check(product, lda, ldb, ldc);
  if (m === 0 || n === 0) return;
  const b = frozen ? frozen.id : (product.b as number);
  const format = frozen ? frozen.kernelFormat : 0;
  const shared = [b, ldb, product.c, ldc, m, n, k, +transB, +(frozen !== undefined), format, bRow, bColumn];
  const work = m * n * k;
  if (m <= (frozen ? FEW_ROWS.frozen : FEW_ROWS.heap) && transB && !transA) {
    const grain = Math.ceil(SMALL_PRODUCT / 4 / (m * Math.max(1, k)));
    pool.run('matmulDots', n, grain, [product.a, lda, ...shared, 0, 0], [alpha, beta]);
    return;
  }
  const [tileM, tileN] = tiles(m, n, k, work < SMALL_PRODUCT ? 1 : pool.threads, frozen !== undefined && !transB);
  const count = Math.ceil(m / tileM) * Math.ceil(n / tileN);
  const grain = work < SMALL_PRODUCT ? count : 1;
  if (!transA) {
    pool.run('matmulTiles', count, grain, [product.a, lda, ...shared, tileM, tileN], [alpha, beta]);
    return;
  }
  // The kernel reads a by its rows: a temporary transpose. Rows a power of two apart would all fall on the same lines
  // of the cache.
  const row = (Math.ceil(k / 16) | 1) * 16;
  const ptr = heap.alloc(4 * row * m);
  try {
    pool.run('transpose', Math.ceil(m / 16), Math.ceil(8000 / k), [product.a, lda, k, m, ptr, row], []);
    pool.run('matmulTiles', count, grain, [ptr, row, ...shared, tileM, tileN], [alpha, beta]);
  } finally {
    heap.free(ptr);
  }
}

/**
 * Rows and columns of a tile. A tile packs its part of b, so it takes all rows of a where columns alone keep the
 * threads busy. `wide`: b is copied row by row, and longer pieces of rows are copied faster.
 */
function tiles(m: number, n: number, k: number, threads: number, wide: boolean): [number, number] {
  const widest = wide ? MAX_TILE_COLUMNS : MAX_TILE_COLUMNS / 2;
  if (threads === 1) return [m, Math.min(widest, n)];
  const wanted = Math.max(Math.min(threads * TILES_PER_THREAD, Math.ceil((m * n * k) / TILE_WORK)), threads);
  const share = Math.ceil(n / wanted / NR) * NR;
  const tileN = Math.min(widest, Math.max(share, wide ? 128 : 64), n);
  const split = Math.max(1, Math.floor(wanted / Math.ceil(n / tileN)));
  const tileM = Math.ceil(Math.max(m / split, 48) / MR) * MR;
  return [Math.min(tileM, m), tileN];
}

function check(product: Matmul, lda: number, ldb: number, ldc: number): void {
  const { m, n, k, transA, transB, b, bRow = 0, bColumn = 0 } = product;
  const bRows = transB ? n : k;
  const bColumns = transB ? k : n;
  const fault = [m, n, k].some((extent) => !Number.isInteger(extent) || extent < 0)
    ? 'extents must be integers of at least 0'
    : lda < (transA ? m : k)
      ? `lda ${lda} is shorter than a row of a`
      : ldc < n
        ? `ldc ${ldc} is shorter than a row of c`
        : typeof b === 'number'
          ? ldb < bColumns && `ldb ${ldb} is shorter than a row of b`
          : (bRow + bRows > b.rows || bColumn + bColumns > b.columns) &&
            `rows ${bRow}..${bRow + bRows}, columns ${bColumn}..${bColumn + bColumns} do not lie in ${b.name} [${b.shape}]`;
  if (fault) throw new EngineError(`matmul of m ${m}, n ${n}, k ${k}: ${fault}`);
}
