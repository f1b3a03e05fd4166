/**
 * Matrix products: C = alpha · op(A) · op(B) + beta · C, where B is float32 or a frozen weight. Which tiles compute one, and
 * in how many splits of k, follows from the extents alone, so that results are the same on every run.
 */
import { OutOfMemoryError } from '../../errors.js';
import { WGSL } from '../../generated/wgsl-kernels.js';
import { dropoutScale, dropoutThreshold } from '../../random.js';
import type { WebgpuWeight } from './frozen-weight.js';
import type { BufferRange } from './gpu-types.js';
import type { Defines } from './kernel-source.js';
import { flat } from './kernels.js';
import { knownVariant } from './known-variants.js';
import { type MatrixPlan, type MatrixTile, matrixProduct, planMatrices } from './matrix-products.js';
import type { MatrixUnit } from './matrix-unit.js';
import type { Product, Rows } from './product.js';
import type { TensorStore } from './tensor-store.js';
import { weightParameters } from './weight-reader.js';

/** Of a workgroup: rows and columns of C, k-steps, and what a thread holds in groups of 4. */
export interface Tile {
  readonly bm: number;
  readonly bn: number;
  readonly bk: number;
  readonly rowGroups: number;
  readonly columnGroups: number;
  /** Copies of the tiles in workgroup memory: with 2 the next step is stored while this one is computed. */
  readonly stages: 1 | 2;
  /** What a thread brings into workgroup memory at a time: see product.wgsl. */
  readonly loader: 'vector' | 'block';
  /** Values of k that are written out, a divisor of bk. */
  readonly unroll: number;
}

export const TILES = {
  large: { bm: 128, bn: 128, bk: 16, rowGroups: 2, columnGroups: 2, stages: 1, loader: 'block', unroll: 16 },
  medium: { bm: 64, bn: 64, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1, loader: 'block', unroll: 16 },
  tall16: { bm: 128, bn: 16, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1, loader: 'block', unroll: 16 },
  tall32: { bm: 128, bn: 32, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1, loader: 'block', unroll: 16 },
  wide16: { bm: 16, bn: 128, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1, loader: 'block', unroll: 16 },
  wide32: { bm: 32, bn: 128, bk: 16, rowGroups: 1, columnGroups: 1, stages: 1, loader: 'block', unroll: 16 },
} as const satisfies Record<string, Tile>;

/** Workgroups that keep a large GPU busy: of large tiles, of which one occupies a processor, and of the others. */
const ENOUGH_LARGE = 128;
const ENOUGH_GROUPS = 256;
/** Large tiles are half again as fast as medium ones: worth it from this share of `ENOUGH_LARGE` on. */
const WORTHWHILE = 0.7;
/** k-steps of a split at least: fewer are not worth writing and adding up their sums. */
const STEPS_OF_SPLIT = 16;
/** Values of k in a step at least. */
const SMALLEST_STEP = 8;
/** Values of the partial sums of all splits at most: 64 MiB. */
const MAX_PARTIALS = 1 << 24;
/** Of the values of nf4 in workgroup memory, beside the tiles. */
const NF4_TABLE_BYTES = 64;

/** Rows of A that the kernel for few of them takes. */
const MAX_FEW_ROWS = 16;

export interface Plan {
  /** Without one matrix-vector.wgsl computes it: B is read once, by rows. */
  readonly tile?: Tile | undefined;
  /** On subgroup matrices; what is low-rank is computed before it. */
  readonly matrixTile?: MatrixTile | undefined;
  readonly splits: number;
}

/**
 * What computes a product of these extents.
 * @param unit subgroup matrices, where the device has them
 */
export function planProduct(what: Product, unit?: MatrixUnit): Plan {
  const { m, n, k, bias, low } = what;
  if (m <= MAX_FEW_ROWS && fitsFewRows(what)) return { splits: 1 };
  const onMatrices = unit && isWide(what) ? planMatrices(what, unit) : undefined;
  if (onMatrices) return onMatrices;
  // The bias is added once, by one split; what is low-rank is the first of all, and needs a step after it.
  const isLowSplit = !low || ((what.alpha ?? 1) === 1 && low.rank <= STEPS_OF_SPLIT * SMALLEST_STEP);
  const mayBeSplit = bias === undefined && isLowSplit;
  const plan = (tile: Tile, enough: number, spare: number): Plan => {
    const groups = groupsOf(tile, m, n);
    const most = Math.min(
      Math.floor(Math.ceil(k / tile.bk) / STEPS_OF_SPLIT),
      Math.floor(MAX_PARTIALS / Math.max(1, m * n)),
      Math.floor(enough / Math.max(1, groups) + spare),
    );
    return { tile, splits: mayBeSplit ? Math.max(1, most) : 1 };
  };
  if (m > 64 && n > 64) {
    const large = plan(TILES.large, ENOUGH_LARGE, 0);
    if (groupsOf(TILES.large, m, n) * large.splits >= WORTHWHILE * ENOUGH_LARGE) return large;
  }
  const tile = narrowTile(m, n);
  return groupsOf(tile, m, n) > ENOUGH_GROUPS / 2 ? { tile, splits: 1 } : plan(tile, ENOUGH_GROUPS, 1 - 1 / 64);
}

function groupsOf({ bm, bn }: Tile, m: number, n: number): number {
  return Math.ceil(m / bm) * Math.ceil(n / bn);
}

/** Whether four neighbours of every operand can be read at once. */
function isWide({ m, n, k, a, transA, b, transB, c }: Product): boolean {
  const block = 'weight' in b && b.part.factors ? b.weight.block[1] : 0;
  const [across, down] = [transA ? m : k, transB ? k : n];
  return areMultiples(4, across, a.stride ?? 0, a.first ?? 0, down, n, c.stride ?? 0, c.first ?? 0, block);
}

/** Whether rows begin where eight values can be read at once. */
function fitsFewRows({ k, a, transA, b, transB, low }: Product): boolean {
  const block = 'weight' in b && b.part.factors ? b.weight.block[1] : 0;
  return (
    areMultiples(8, k, a.first ?? 0, a.stride ?? k, block) && transB === true && !transA && !a.isFixed && !low?.mask
  );
}

function narrowTile(m: number, n: number): Tile {
  if (n <= 16) return TILES.tall16;
  if (m <= 16) return TILES.wide16;
  if (n <= 32) return TILES.tall32;
  if (m <= 32) return TILES.wide32;
  return TILES.medium;
}

/** Queues a product. k must not be 0. */
export function product(store: TensorStore, what: Product, plan: Plan = planProduct(what, store.matrices)): void {
  const { m, n, c, alpha = 1, beta = 0 } = what;
  if (m === 0 || n === 0) return;
  const { tile, matrixTile, splits } = plan;
  if (matrixTile) {
    onMatrices(store, what, { matrixTile, splits });
    return;
  }
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

/** Where there is no memory to pack the operands, plain kernels compute it in one split, which needs none. */
function onMatrices(store: TensorStore, what: Product, plan: MatrixPlan): void {
  const { low } = what;
  const lowFirst = (): void => {
    // C becomes what is low-rank, and beta · C.
    if (low) launchTiles(store, { ...what, k: 0, bias: undefined }, TILES.medium, 1);
  };
  try {
    matrixProduct(store, low ? { ...what, low: undefined, beta: 1 } : what, plan, lowFirst);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    product(store, what, { ...planProduct(what), splits: 1 });
  }
}

function launchTiles(store: TensorStore, what: Product, tile: Tile, splits: number): void {
  const { m, n, k, a, transA = false, b, transB = false, low, bias } = what;
  const { bm, bn, bk } = tile;
  const { mask } = low ?? {};
  const held = 'weight' in b ? b : undefined;
  const wide = isWide(what) && (low?.rank ?? 0) % 4 === 0;
  const totalSteps = Math.ceil(k / bk) + (low ? Math.ceil(low.rank / bk) : 0);
  const parameters = parametersOf(what);
  parameters.steps = Math.ceil(totalSteps / splits);
  parameters.split_size = m * n;
  const tileBytes = 4 * (bm + bn) * bk * tile.stages;
  const defines = {
    ELEMENT: wide ? 'vec4f' : 'f32',
    WIDE: wide,
    TRANS_A: transA,
    TRANS_B: transB,
    FORMAT: held ? held.weight.format : false,
    FACTORS: held?.part.factors !== undefined,
    FIXED_A: a.isFixed === true,
    LOW_RANK: low !== undefined,
    BIAS: bias !== undefined,
    DROPOUT: mask !== undefined,
    NF4_TABLE: store.kernels.limits.maxComputeWorkgroupStorageSize >= tileBytes + NF4_TABLE_BYTES,
  };
  const groups = [Math.ceil(n / bn), Math.ceil(m / bm), splits];
  store.kernels.launch(
    WGSL.product,
    groups,
    parameters,
    knownVariant(tile, defines, () => tileDefines(tile)),
  );
}

function launchFewRows({ kernels }: TensorStore, what: Product): void {
  const { m, n, b, low, bias } = what;
  const held = 'weight' in b ? b : undefined;
  const rows = 2 ** Math.ceil(Math.log2(m));
  const chunk = Math.min(4, rows);
  const defines = {
    FORMAT: held ? held.weight.format : false,
    FACTORS: held?.part.factors !== undefined,
    LOW_RANK: low !== undefined,
    BIAS: bias !== undefined,
    CHUNK: chunk,
    CHUNKS: rows / chunk,
    NF4_TABLE: held?.weight.format === 'nf4',
  };
  kernels.launch(
    WGSL.matrixVector,
    flat(Math.ceil(n / 4)),
    parametersOf(what),
    knownVariant(WGSL.matrixVector, defines),
  );
}

/**
 * What both kernels bind and take as uniforms, and those of product.wgsl alone. One literal without spreads: copies of so
 * many properties cost more than the rest of a launch.
 */
function parametersOf({ m, n, k, a, transA, b, c, alpha = 1, beta = 0, bias, low, firstColumn = 0 }: Product) {
  const held = 'weight' in b ? weightParameters(b.weight, b.part) : undefined;
  const mask = low?.mask;
  return {
    // Or fixed_a; matrix-vector.wgsl, which has only this one, never computes with a fixed A.
    a: (a.isFixed ? undefined : a.range) as BufferRange,
    fixed_a: a.isFixed ? a.range : undefined,
    c: c.range,
    b: held ? undefined : (b as BufferRange),
    weight: held?.weight,
    factors: held?.factors,
    low: low?.u,
    low_b: low?.b,
    bias,
    row_keys: mask?.rowKeys,
    m,
    n,
    k,
    alpha,
    beta,
    a_first: a.first ?? 0,
    a_stride: a.stride ?? (transA ? m : k),
    c_first: c.first ?? 0,
    c_stride: c.stride ?? n,
    n_first: firstColumn,
    low_rank: low?.rank ?? 0,
    low_scale: low?.scale ?? 0,
    weight_columns: held?.weight_columns ?? 1,
    block_rows: held?.block_rows ?? 1,
    block_columns: held?.block_columns ?? 1,
    factors_across: held?.factors_across ?? 1,
    steps: 0,
    split_size: 0,
    seed: mask ? mask.seed >>> 0 : 0,
    threshold: mask ? dropoutThreshold(mask.dropout) : 0,
    kept_scale: mask ? dropoutScale(mask.dropout) : 1,
  };
}

function areMultiples(of: number, ...extents: number[]): boolean {
  for (const extent of extents) if (extent % of !== 0) return false;
  return true;
}

/** What product.wgsl needs to know of a tile. */
function tileDefines({ bm, bn, bk, rowGroups, columnGroups, stages, loader, unroll }: Tile): Defines {
  const across = bn / (4 * columnGroups);
  const down = bm / (4 * rowGroups);
  const threads = across * down;
  const loads =
    loader === 'block'
      ? { LOADS: Math.ceil(((bm + bn) * bk) / 16 / threads) }
      : { A_LOADS: Math.ceil((bm * bk) / 4 / threads), B_LOADS: Math.ceil((bn * bk) / 4 / threads) };
  return {
    ...{ BM: bm, BN: bn, BK: bk, ROW_GROUPS: rowGroups, COLUMN_GROUPS: columnGroups, STAGES: stages },
    ...{ ...loads, LOADER: loader, UNROLL: unroll, WRITTEN_OUT: unroll === bk },
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
