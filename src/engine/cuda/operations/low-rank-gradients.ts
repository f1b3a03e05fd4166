/**
 * Launches of lora-gradient.cu, lora-backward.cu and what backward needs of lora.cu: the low-rank part of dx, and the
 * gradients of A and B, added to the flat float32 gradients.
 */
import type { LinearPart } from '../../operations.js';
import { type AdapterGroup, MAX_PARTS } from '../adapters.js';
import type { KernelName } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { maskBytes } from './dropout-masks.js';
import { four, keeps } from './low-rank.js';

/** Rows and columns that a block has at a time. */
const TILE = 64;
/** Blocks of lora_gradient_a and lora_gradient_b that fit on a multiprocessor; the others' registers allow for two. */
const GRADIENT_BLOCKS = 3;
/** Most columns of du, and parts with a rank, that lora_backward takes. */
const MAX_COLUMNS = 64;
const MAX_RANKED = 3;

interface LoraSide {
  readonly group: AdapterGroup;
  readonly parts: readonly LinearPart[];
  /** Whether each part has a gradient at all. */
  readonly isWanted: readonly boolean[];
}

/** What the gradients of x and A are made of. */
export interface LoraInputSide extends LoraSide {
  /** Address of du [T, E]. */
  readonly du: number;
  readonly lddu: number;
  readonly bits: CudaTensor | undefined;
}

/** What the gradient of B is made of. */
export interface LoraOutputSide extends LoraSide {
  readonly u: CudaTensor;
  /** [T, N], all parts side by side. */
  readonly dy: CudaTensor;
  /** First column of each part in dy. */
  readonly columns: readonly number[];
}

/** A sum over rows in ranges: rows of a range, a multiple of 64, and ranges. */
interface RowSplit {
  readonly rows: number;
  readonly splits: number;
}

/**
 * The number of row ranges with which the card is done first: whole waves of blocks, and few partial sums to add.
 * @param strips blocks of one range
 * @param partialCost what a block's partial sums take to write and read, in tiles of its rows
 */
export function splitRows(
  store: TensorStore,
  rows: number,
  strips: number,
  blocksPerMultiprocessor: number,
  partialCost: number,
): RowSplit {
  const slots = blocksPerMultiprocessor * store.kernels.multiprocessors;
  const tiles = Math.max(1, Math.ceil(rows / TILE));
  let best = { rows: TILE * tiles, splits: 1 };
  let least = Number.POSITIVE_INFINITY;
  for (let wanted = 1; wanted <= Math.min(tiles, 32); wanted++) {
    const depth = Math.ceil(tiles / wanted);
    const splits = Math.ceil(tiles / depth);
    // A block's own tiles, and about two more to start and end.
    const cost = Math.ceil((strips * splits) / slots) * (depth + 2) + (splits * strips * partialCost) / slots;
    if (cost < least) [best, least] = [{ rows: TILE * depth, splits }, cost];
  }
  return best;
}

/** Address of each part's gradient, 0 for parts that have none; marks them as touched. */
export function targets(store: TensorStore, { parts, isWanted }: LoraSide, which: 'a' | 'b'): number[] {
  return Array.from({ length: MAX_PARTS }, (_, i) => {
    const lora = parts[i]?.lora;
    if (!lora || !isWanted[i]) return 0;
    const gradient = store.use(lora[which].grad, 'linear');
    gradient.isTouched = true;
    return gradient.address;
  });
}

/** dx += mask ⊙ (du·A) / (1 - p) and dA += duᵀ·(mask ⊙ x) / (1 - p); `x` as `keepOrRemake` gave it. */
export function loraInputGradients(store: TensorStore, dx: CudaTensor, low: LoraInputSide, x: CudaTensor): void {
  const { rows, columns } = dx;
  const { du, lddu, bits, group, parts } = low;
  const { starts, ranks } = group;
  const isOne = group.columns <= MAX_COLUMNS && ranks.filter((rank) => rank > 0).length <= MAX_RANKED;
  if (!isOne || rows === 0) {
    loraInputGradient(store, dx, low);
    loraGradientA(store, low, x);
    return;
  }
  // A norm's result is made again on the way.
  const norm = x.storage ? undefined : x.recipe?.norm;
  const values = norm ? norm.sum : store.remake(x);
  const strips = Math.ceil(columns / TILE);
  // dx is read and written, x is read: 6 bytes an element.
  const split = splitRows(store, rows, strips, 2, (2 * 4 * group.columns) / (TILE * 6));
  const partial = store.createF32([split.splits, group.columns, columns]);
  store.kernels.run(`lora_backward_${group.columns}` as KernelName, [strips, split.splits], 256, [
    ...targets(store, low, 'a'),
    ...[partial.address, store.counters(strips), dx.address, values.address],
    ...[norm?.rstd.address ?? 0, norm?.weight() ?? 0, du, group.a, bits?.address ?? 0],
    ...[rows, columns, dx.ld, values.ld, lddu, group.lda, maskBytes(columns)],
    ...starts.slice(1, MAX_PARTS),
    ...ranks,
    split.rows,
    ...keeps(parts),
  ]);
  store.release(partial);
  if (!norm) store.release(values);
}

/** dx += mask ⊙ (du·A) / (1 - p), over all parts. */
export function loraInputGradient(store: TensorStore, dx: CudaTensor, low: LoraInputSide): void {
  const { rows, columns } = dx;
  const { du, lddu, bits, group, parts } = low;
  const grid = [Math.ceil(columns / 128), Math.ceil(rows / 64)] as const;
  store.kernels.run('lora_input_gradient', grid, 256, [
    ...[dx.address, du, group.a, bits?.address ?? 0],
    ...[rows, columns, group.columns, dx.ld, lddu, group.lda, maskBytes(columns)],
    ...group.starts.slice(1, MAX_PARTS),
    ...keeps(parts),
  ]);
}

/** dA += duᵀ·(mask ⊙ x) / (1 - p); `x` as `keepOrRemake` gave it. */
export function loraGradientA(store: TensorStore, low: LoraInputSide, x: CudaTensor): void {
  const { du, lddu, bits, group, parts } = low;
  if (x.rows === 0) return;
  const values = store.remake(x);
  const { rows, columns } = values;
  const { starts, ranks, columns: width } = group;
  const tiles = [Math.ceil(columns / TILE), Math.ceil(width / TILE)] as const;
  const split = splitRows(
    store,
    rows,
    tiles[0] * tiles[1],
    GRADIENT_BLOCKS,
    (2 * 4 * Math.min(width, TILE)) / (TILE * 2),
  );
  const partial = store.createF32([split.splits, width, columns]);
  store.kernels.run('lora_gradient_a', [tiles[0], split.splits, tiles[1]], 256, [
    ...targets(store, low, 'a'),
    ...[partial.address, store.counters(tiles[0] * tiles[1]), du, values.address, bits?.address ?? 0],
    ...[rows, columns, width, lddu, values.ld, maskBytes(columns)],
    ...starts.slice(1, MAX_PARTS),
    ...ranks,
    split.rows,
    ...keeps(parts),
  ]);
  store.release(partial);
  store.release(values);
}

/** dB += scale·dyᵀ·u. */
export function loraGradientB(store: TensorStore, low: LoraOutputSide): void {
  const { u, dy, group, parts } = low;
  const { rows, columns: n } = dy;
  if (rows === 0) return;
  const { starts, ranks, width } = group;
  const firsts = firstColumns(low, n);
  const tiles = parts.reduce((sum, _, i) => sum + Math.ceil((firsts[i + 1]! - firsts[i]!) / TILE), 0);
  const deep = Math.ceil(width / TILE);
  const split = splitRows(store, rows, tiles * deep, GRADIENT_BLOCKS, (2 * 4 * Math.min(width, TILE)) / (TILE * 2));
  const partial = store.createF32([split.splits, n, width]);
  store.kernels.run('lora_gradient_b', [tiles, split.splits, deep], 256, [
    ...targets(store, low, 'b'),
    ...[partial.address, store.counters(tiles * deep), u.address, dy.address],
    ...[rows, n, width, u.ld, dy.ld],
    ...firsts.slice(1, MAX_PARTS),
    ...starts.slice(1, MAX_PARTS),
    group.columns,
    ...ranks,
    split.rows,
    ...scales(parts),
  ]);
  store.release(partial);
}

/** The end of `loraGradientB`, of partial sums [splits, N, width] that another kernel has made. */
export function finishB(store: TensorStore, low: Omit<LoraOutputSide, 'u' | 'dy'>, partial: CudaTensor): void {
  const [splits, n, width] = partial.shape as [number, number, number];
  store.kernels.run('lora_finish_b', [Math.ceil((n * width) / 1024)], 256, [
    ...targets(store, low, 'b'),
    ...[partial.address, n, width, splits],
    ...firstColumns(low, n).slice(1, MAX_PARTS),
    ...low.group.ranks,
    ...scales(low.parts),
  ]);
}

function scales(parts: readonly LinearPart[]): number[] {
  return four(parts, ({ lora }) => lora!.scale, 0);
}

function firstColumns({ columns }: Pick<LoraOutputSide, 'columns'>, n: number): number[] {
  return Array.from({ length: MAX_PARTS + 1 }, (_, i) => columns[i] ?? n);
}
