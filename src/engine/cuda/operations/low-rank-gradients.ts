/**
 * Launches of lora-gradient.cu, lora-backward.cu and what backward needs of lora.cu: the low-rank part of dx, and the
 * gradients of A and B, added to the flat float32 gradients.
 */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { LinearPart } from '../../operations.js';
import type { AdapterGroup } from '../adapters.js';
import { type DevicePointer, ofWidth } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { byPart, maskBytes } from './dropout-masks.js';
import { keepScales } from './low-rank.js';
import { splitRows } from './row-splits.js';

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
  readonly isWanted: readonly boolean[];
}

export interface LoraInputSide extends LoraSide {
  /** Address of du [T, E]. */
  readonly du: DevicePointer;
  readonly lddu: number;
  readonly bits: CudaTensor | undefined;
}

interface LoraOutputSide extends LoraSide {
  readonly u: CudaTensor;
  /** [T, N], all parts side by side. */
  readonly dy: CudaTensor;
  /** First column of each part in dy. */
  readonly columns: readonly number[];
}

/** The input of an adapted layer as backward has it. */
export interface SavedInput {
  readonly rows: number;
  /** Its values, kept or computed again, to be released by the caller. */
  rematerialize(): CudaTensor;
  /** Where x is bf16(bf16(sum·rstd)·weight): a kernel may compute it on the way. */
  readonly norm?: { readonly sum: CudaTensor; readonly rstd: CudaTensor; readonly weight: DevicePointer } | undefined;
}

export function savedInput(store: TensorStore, x: CudaTensor): SavedInput {
  const rematerialize = (): CudaTensor => {
    store.retain(x);
    return x;
  };
  return { rows: x.rows, rematerialize };
}

/** Address of each part's gradient, undefined for parts that have none; marks them as touched. */
export function targets(
  store: TensorStore,
  { parts, isWanted }: LoraSide,
  which: 'a' | 'b',
): (DevicePointer | undefined)[] {
  const at = (i: number): DevicePointer | undefined => {
    const lora = parts[i]?.lora;
    if (!lora || !isWanted[i]) return undefined;
    const gradient = store.use(lora[which].grad, 'linear');
    gradient.isTouched = true;
    return gradient.address;
  };
  return [at(0), at(1), at(2), at(3)];
}

/** dx += mask ⊙ (du·A) / (1 - p) and dA += duᵀ·(mask ⊙ x) / (1 - p). */
export function loraInputGradients(store: TensorStore, dx: CudaTensor, low: LoraInputSide, x: SavedInput): void {
  const { rows, columns } = dx;
  const { du, lddu, bits, group, parts } = low;
  const { starts, ranks } = group;
  const isOne = group.columns <= MAX_COLUMNS && ranks.filter((rank) => rank > 0).length <= MAX_RANKED;
  if (!isOne || rows === 0) {
    loraInputGradient(store, dx, low);
    loraGradientA(store, low, x);
    return;
  }
  const { norm } = x;
  const values = norm ? norm.sum : x.rematerialize();
  const strips = Math.ceil(columns / TILE);
  // dx is read and written, x is read: 6 bytes an element.
  const split = splitRows(store, rows, strips, 2, (2 * 4 * group.columns) / (TILE * 6));
  const partial = store.createF32([split.splits, group.columns, columns]);
  // biome-ignore format: parameters by operand
  store.kernels.launch(ofWidth(KERNELS.loraBackward, group.columns), [strips, split.splits], {
    grads: targets(store, low, 'a'), partial: partial.address, counters: store.counters(strips),
    dx: dx.address, lddx: dx.ld, x: values.address, ldx: values.ld,
    rstd: norm?.rstd.address, weight: norm?.weight, du, lddu, a: group.a, lda: group.lda,
    bits: bits?.address, kb: maskBytes(columns), rows, K: columns,
    starts, ranks, splitRows: split.rows, keeps: keepScales(parts),
  });
  store.release(partial);
  if (!norm) store.release(values);
}

/** dx += mask ⊙ (du·A) / (1 - p), over all parts. */
function loraInputGradient(store: TensorStore, dx: CudaTensor, low: LoraInputSide): void {
  const { rows, columns } = dx;
  const { du, lddu, bits, group, parts } = low;
  const grid = [Math.ceil(columns / 128), Math.ceil(rows / 64)] as const;
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.loraInputGradient, grid, {
    dx: dx.address, lddx: dx.ld, du, lddu, a: group.a, lda: group.lda,
    bits: bits?.address, kb: maskBytes(columns), rows, K: columns, E: group.columns,
    starts: group.starts, keeps: keepScales(parts),
  });
}

/** dA += duᵀ·(mask ⊙ x) / (1 - p). */
export function loraGradientA(store: TensorStore, low: LoraInputSide, x: SavedInput): void {
  const { du, lddu, bits, group, parts } = low;
  if (x.rows === 0) return;
  const values = x.rematerialize();
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
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.loraGradientA, [tiles[0], split.splits, tiles[1]], {
    grads: targets(store, low, 'a'), partial: partial.address, counters: store.counters(tiles[0] * tiles[1]),
    du, lddu, x: values.address, ldx: values.ld, bits: bits?.address, kb: maskBytes(columns),
    rows, K: columns, E: width, starts, ranks, splitRows: split.rows, keeps: keepScales(parts),
  });
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
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.loraGradientB, [tiles, split.splits, deep], {
    grads: targets(store, low, 'b'), partial: partial.address, counters: store.counters(tiles * deep),
    u: u.address, ldu: u.ld, dy: dy.address, lddy: dy.ld, rows, N: n, width, E: group.columns,
    firstColumns: firsts, starts, ranks, splitRows: split.rows, factors: scales(parts),
  });
  store.release(partial);
}

/** The end of `loraGradientB`, of partial sums [splits, N, width] that another kernel has made. */
export function finishB(store: TensorStore, low: Omit<LoraOutputSide, 'u' | 'dy'>, partial: CudaTensor): void {
  const [splits, n, width] = partial.shape as [number, number, number];
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.loraFinishB, [Math.ceil((n * width) / 1024)], {
    grads: targets(store, low, 'b'), partial: partial.address, N: n, width, splits,
    firstColumns: firstColumns(low, n), ranks: low.group.ranks, factors: scales(low.parts),
  });
}

function scales(parts: readonly LinearPart[]): number[] {
  return byPart(parts, ({ scale }) => scale, 0);
}

function firstColumns({ columns }: Pick<LoraOutputSide, 'columns'>, n: number): number[] {
  return [columns[0] ?? n, columns[1] ?? n, columns[2] ?? n, columns[3] ?? n, n];
}
