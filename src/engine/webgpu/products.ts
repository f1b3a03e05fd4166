/**
 * Matrix products: C = alpha · op(A) · op(B) + beta · C, where B is float32 or a frozen weight. Which tiles compute one, and
 * in how many splits of k, follows from the extents alone, so that results are the same on every run.
 */
import { WGSL } from '../../generated/wgsl-kernels.js';
import { dropoutScale, dropoutThreshold } from '../../random.js';
import type { WebgpuWeight, WeightPart } from './frozen-weight.js';
import type { BufferRange } from './gpu-types.js';
import type { Defines } from './kernel-source.js';
import { flat } from './kernels.js';
import type { TensorStore } from './tensor-store.js';

/** Row-major values in the arena; row 0 begins at element `first`, and rows are `stride` apart. */
export interface Rows {
  readonly range: BufferRange;
  /** Default: 0. */
  readonly first?: number | undefined;
  /** Default: contiguous. */
  readonly stride?: number | undefined;
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
export interface Mask {
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

/** Of a workgroup: rows and columns of C, k-steps, and what a thread holds in groups of 4. */
export interface Tile {
  readonly bm: number;
  readonly bn: number;
  readonly bk: number;
  readonly rowGroups: number;
  readonly columnGroups: number;
  /** Copies of the tiles in workgroup memory: with 2 the next step is stored while this one is computed. */
  readonly stages: 1 | 2;
}

export const TILES = {
  large: { bm: 128, bn: 128, bk: 16, rowGroups: 2, columnGroups: 2, stages: 1 },
  medium: { bm: 64, bn: 64, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1 },
  tall16: { bm: 128, bn: 16, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1 },
  tall32: { bm: 128, bn: 32, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1 },
  wide16: { bm: 16, bn: 128, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1 },
  wide32: { bm: 32, bn: 128, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1 },
} as const satisfies Record<string, Tile>;

/** Workgroups that keep a large GPU busy. */
const ENOUGH_GROUPS = 256;
/** k-steps of a split at least: fewer are not worth writing and adding up their sums. */
const STEPS_OF_SPLIT = 16;
/** Values of the partial sums of all splits at most: 64 MiB. */
const MAX_PARTIALS = 1 << 24;
/** Of the values of nf4 in workgroup memory, beside the tiles. */
const NF4_TABLE_BYTES = 64;

/** Rows of A that the kernel for few of them takes. */
const MAX_FEW_ROWS = 16;

export interface Plan {
  /** Without one matrix-vector.wgsl computes it: B is read once, by rows. */
  readonly tile?: Tile | undefined;
  readonly splits: number;
}

/** What computes a product of these extents. */
export function planProduct(what: Product): Plan {
  const { m, n, k, low } = what;
  if (m <= MAX_FEW_ROWS && fitsFewRows(what)) return { splits: 1 };
  const tile = tileOf(m, n, k);
  const groups = Math.ceil(m / tile.bm) * Math.ceil(n / tile.bn);
  const most = Math.min(
    Math.floor(Math.ceil(k / tile.bk) / STEPS_OF_SPLIT),
    Math.floor(MAX_PARTIALS / Math.max(1, m * n)),
    Math.ceil(ENOUGH_GROUPS / Math.max(1, groups)),
  );
  return { tile, splits: low || groups > ENOUGH_GROUPS / 2 ? 1 : Math.max(1, most) };
}

/** Whether rows begin where eight values can be read at once. */
function fitsFewRows({ k, a, transA, b, transB, low }: Product): boolean {
  const block = 'weight' in b && b.part.factors ? b.weight.block[1] : 0;
  const areWhole = [k, a.first ?? 0, a.stride ?? k, block].every((extent) => extent % 8 === 0);
  return areWhole && transB === true && !transA && !low?.mask;
}

function tileOf(m: number, n: number, k: number): Tile {
  if (n <= 16) return TILES.tall16;
  if (m <= 16) return TILES.wide16;
  if (n <= 32) return TILES.tall32;
  if (m <= 32) return TILES.wide32;
  if (n <= 64 || m <= 64) return TILES.medium;
  const groups = Math.ceil(m / 128) * Math.ceil(n / 128);
  // Few large tiles leave processors idle, unless k is long enough to be split.
  return groups >= 128 || (groups >= 32 && k >= 32768) ? TILES.large : TILES.medium;
}

/** Queues a product. k must not be 0. */
export function product(store: TensorStore, what: Product, plan: Plan = planProduct(what)): void {
  const { m, n, c, alpha = 1, beta = 0 } = what;
  if (m === 0 || n === 0) return;
  const { tile, splits } = plan;
  if (!tile) {
    launchFewRows(store, what);
    return;
  }
  if (splits === 1) {
    launchTiles(store, what, tile, 1);
    return;
  }
  const partial = store.create([splits, m, n]);
  launchTiles(store, { ...what, c: { range: partial.range }, alpha: 1, beta: 0 }, tile, splits);
  store.kernels.launch(WGSL.sumSplits, flat(Math.ceil((m * n) / 256)), {
    c: c.range,
    partial: partial.range,
    ...{ m, n, splits, alpha, beta, c_first: c.first ?? 0, c_stride: c.stride ?? n },
  });
  store.release(partial);
}

function launchTiles(store: TensorStore, what: Product, tile: Tile, splits: number): void {
  const { m, n, k, a, transA = false, b, transB = false, c, low } = what;
  const { bm, bn, bk } = tile;
  const isWide = [
    ...[transA ? m : k, a.stride ?? 0, a.first ?? 0, transB ? k : n, n, c.stride ?? 0, c.first ?? 0, low?.rank ?? 0],
    'weight' in b && b.part.factors ? b.weight.block[1] : 0,
  ].every((extent) => extent % 4 === 0);
  const { parameters, defines } = sharedOf(what);
  const totalSteps = Math.ceil(k / bk) + (low ? Math.ceil(low.rank / bk) : 0);
  const { mask } = low ?? {};
  const tileParameters = {
    ...parameters,
    row_keys: mask?.rowKeys,
    steps: Math.ceil(totalSteps / splits),
    split_size: m * n,
    seed: mask ? mask.seed >>> 0 : 0,
    threshold: mask ? dropoutThreshold(mask.dropout) : 0,
    kept_scale: mask ? dropoutScale(mask.dropout) : 1,
  };
  const tileBytes = 4 * (bm + bn) * bk * tile.stages;
  const tileConstants = {
    ...{ ELEMENT: isWide ? 'vec4f' : 'f32', WIDE: isWide, TRANS_A: transA, TRANS_B: transB },
    DROPOUT: mask !== undefined,
    NF4_TABLE: store.memory.workgroupBytes >= tileBytes + NF4_TABLE_BYTES,
  };
  const groups = [Math.ceil(n / bn), Math.ceil(m / bm), splits];
  const variant = { defines: { ...defines, ...tileDefines(tile), ...tileConstants } };
  store.kernels.launch(WGSL.product, groups, tileParameters, variant);
}

function launchFewRows({ kernels }: TensorStore, what: Product): void {
  const { parameters, defines } = sharedOf(what);
  const rows = 2 ** Math.ceil(Math.log2(what.m));
  const chunk = Math.min(4, rows);
  const isNf4 = defines['FORMAT'] === 'nf4';
  const fewDefines = { ...defines, CHUNK: chunk, CHUNKS: rows / chunk, NF4_TABLE: isNf4 };
  kernels.launch(WGSL.matrixVector, flat(Math.ceil(what.n / 4)), parameters, { defines: fewDefines });
}

/** What both kernels bind, take as uniforms and define. */
function sharedOf({ m, n, k, a, transA, b, c, alpha = 1, beta = 0, bias, low, firstColumn = 0 }: Product) {
  const held = 'weight' in b ? b : undefined;
  const [blockRows, blockColumns] = held?.weight.block ?? [1, 1];
  const columns = held?.weight.columns ?? 1;
  const parameters = {
    a: a.range,
    c: c.range,
    b: held ? undefined : (b as BufferRange),
    weight: held?.part.values,
    factors: held?.part.factors,
    low: low?.u,
    low_b: low?.b,
    bias,
    ...{ m, n, k, alpha, beta },
    a_first: a.first ?? 0,
    a_stride: a.stride ?? (transA ? m : k),
    c_first: c.first ?? 0,
    c_stride: c.stride ?? n,
    n_first: firstColumn,
    low_rank: low?.rank ?? 0,
    low_scale: low?.scale ?? 0,
    weight_columns: columns,
    block_rows: blockRows,
    block_columns: blockColumns,
    factors_across: Math.ceil(columns / blockColumns),
  };
  const defines: Defines = {
    ...(held && { FORMAT: held.weight.format, FACTORS: held.part.factors !== undefined }),
    LOW_RANK: low !== undefined,
    BIAS: bias !== undefined,
  };
  return { parameters, defines };
}

/** What product.wgsl needs to know of a tile. */
function tileDefines({ bm, bn, bk, rowGroups, columnGroups, stages }: Tile): Defines {
  const across = bn / (4 * columnGroups);
  const down = bm / (4 * rowGroups);
  return {
    ...{ BM: bm, BN: bn, BK: bk, ROW_GROUPS: rowGroups, COLUMN_GROUPS: columnGroups, STAGES: stages },
    LOADS: Math.ceil(((bm + bn) * bk) / 16 / (across * down)),
    PATCHED: across % 8 === 0 && down % 4 === 0,
  };
}

/** y [m, weight.rows] = x · Wᵀ + bias + low, by the parts of the weight. */
export function forwardProduct(
  store: TensorStore,
  weight: WebgpuWeight,
  x: Rows,
  m: number,
  y: Rows,
  { bias, low }: Pick<Product, 'bias' | 'low'> = {},
): void {
  const stride = y.stride ?? weight.rows;
  for (const part of weight.parts) {
    const c = { range: y.range, stride, first: (y.first ?? 0) + part.firstRow };
    const firstColumn = part.firstRow;
    const what = { m, n: part.rows, k: weight.columns, a: x, b: { weight, part }, c, bias, low, firstColumn };
    product(store, { ...what, transB: true });
  }
}

/** dx [m, weight.columns] = dy · W + low + beta · dx, by the parts of the weight. */
export function backwardProduct(
  store: TensorStore,
  weight: WebgpuWeight,
  dy: Rows,
  m: number,
  dx: Rows,
  { beta = 0, low }: Pick<Product, 'beta' | 'low'> = {},
): void {
  const stride = dy.stride ?? weight.rows;
  for (const [i, part] of weight.parts.entries()) {
    const a = { range: dy.range, stride, first: (dy.first ?? 0) + part.firstRow };
    const what = { m, n: weight.columns, k: part.rows, a, b: { weight, part }, c: dx };
    product(store, i === 0 ? { ...what, beta, low } : { ...what, beta: 1 });
  }
}
