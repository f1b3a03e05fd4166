/** Launches of lora.cu and lora-gradient.cu: the thin products around an adapter, for up to four stacked parts. */
import type { LinearPart } from '../../operations.js';
import { type AdapterGroup, MAX_PARTS } from '../adapters.js';
import { roundUp } from '../arena.js';
import type { KernelName } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

/** Blocks under way on each multiprocessor that the sums over rows are split for. */
const BLOCKS_PER_MULTIPROCESSOR = 4;

/** A value for each of the four parts that a kernel takes. */
function four(parts: readonly LinearPart[], value: (part: LinearPart) => number, otherwise: number): number[] {
  return Array.from({ length: MAX_PARTS }, (_, i) => (parts[i]?.lora ? value(parts[i]!) : otherwise));
}

/** 1 / (1 - p) of each part. */
export function keeps(parts: readonly LinearPart[]): number[] {
  return four(parts, ({ lora }) => 1 / (1 - lora!.dropout), 1);
}

/** Bytes of a mask row. */
export function maskBytes(columns: number): number {
  return 4 * Math.ceil(columns / 32);
}

/** The dropout masks of the parts of x, a bit an element. */
export function dropoutBits(store: TensorStore, x: CudaTensor, parts: readonly LinearPart[]): CudaTensor {
  const { rows, columns } = x;
  const rowBytes = maskBytes(columns);
  const bits = store.createF32([(parts.length * rows * rowBytes) / 4]);
  const grid = [Math.ceil(columns / 32 / 128), Math.min(rows, 65535), parts.length] as const;
  store.kernels.run('dropout_bits', grid, 128, [
    ...[bits.address, rows, columns, rowBytes],
    ...four(parts, ({ lora }) => lora!.seed, 0),
    ...four(parts, ({ lora }) => Math.floor(lora!.dropout * 4294967296), 0),
  ]);
  return bits;
}

export interface LoraDown {
  /** Address of u [T, E]. */
  readonly u: number;
  readonly ldu: number;
  readonly x: CudaTensor;
  readonly bits: CudaTensor | undefined;
  readonly group: AdapterGroup;
  readonly parts: readonly LinearPart[];
}

/** u = dropout(x)·Aᵀ for all parts. */
export function loraDown(store: TensorStore, { u, ldu, x, bits, group, parts }: LoraDown): void {
  const { rows, columns, ld } = x;
  const width = Math.min(group.columns, 64);
  const grid = [Math.ceil(rows / 32), Math.ceil(group.columns / width)] as const;
  store.kernels.run(`lora_down_${width}` as KernelName, grid, 512, [
    ...[u, x.address, group.a, bits?.address ?? 0],
    ...[rows, columns, group.columns, ldu, ld, group.lda, maskBytes(columns)],
    ...group.starts.slice(1, MAX_PARTS),
    ...keeps(parts),
  ]);
}

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

/** How a sum over rows is split so that the card is busy: rows of a part (a multiple of 64), and parts. */
function splitRows(store: TensorStore, rows: number, blocks: number): { rows: number; splits: number } {
  const wanted = Math.max(1, Math.round((BLOCKS_PER_MULTIPROCESSOR * store.kernels.multiprocessors) / blocks));
  const size = roundUp(Math.ceil(rows / Math.min(wanted, Math.ceil(rows / 64))), 64);
  return { rows: size, splits: Math.ceil(rows / size) };
}

/** Address of each part's gradient, 0 for parts that have none; marks them as touched. */
function targets(store: TensorStore, { parts, isWanted }: LoraSide, which: 'a' | 'b'): number[] {
  return Array.from({ length: MAX_PARTS }, (_, i) => {
    const lora = parts[i]?.lora;
    if (!lora || !isWanted[i]) return 0;
    const gradient = store.use(lora[which].grad, 'linear');
    gradient.isTouched = true;
    return gradient.address;
  });
}

/** dA += duᵀ·(mask ⊙ x) / (1 - p), into the flat float32 gradients. */
export function loraGradientA(store: TensorStore, low: LoraInputSide, x: CudaTensor): void {
  const { du, lddu, bits, group } = low;
  const { rows, columns } = x;
  if (rows === 0) return;
  const { starts, columns: width } = group;
  const tiles = [Math.ceil(columns / 64), Math.ceil(width / 64)] as const;
  const split = splitRows(store, rows, tiles[0] * tiles[1]);
  const partial = store.createF32([split.splits, width, columns]);
  store.kernels.run('lora_partial_a', [tiles[0], split.splits, tiles[1]], 256, [
    ...[partial.address, du, x.address, bits?.address ?? 0],
    ...[rows, columns, width, lddu, x.ld, maskBytes(columns)],
    ...starts.slice(1, MAX_PARTS),
    split.rows,
  ]);
  finishA(store, low, partial);
  store.release(partial);
}

/** The end of `loraGradientA`, of partial sums [splits, E, K]. */
export function finishA(store: TensorStore, low: LoraInputSide, partial: CudaTensor): void {
  const [splits, width, columns] = partial.shape as [number, number, number];
  store.kernels.run('lora_finish_a', [Math.ceil(columns / 256), width], 256, [
    ...targets(store, low, 'a'),
    ...[partial.address, columns, width, splits],
    ...low.group.starts.slice(1, MAX_PARTS),
    ...low.group.ranks,
    ...keeps(low.parts),
  ]);
}

/** dB += scale·dyᵀ·u, into the flat float32 gradients. */
export function loraGradientB(store: TensorStore, low: LoraOutputSide): void {
  const { u, dy, group, parts } = low;
  const { rows, columns: n } = dy;
  if (rows === 0) return;
  const { starts, width } = group;
  const firsts = firstColumns(low, n);
  const tiles = parts.reduce((sum, _, i) => sum + Math.ceil((firsts[i + 1]! - firsts[i]!) / 64), 0);
  const deep = Math.ceil(width / 64);
  const split = splitRows(store, rows, tiles * deep);
  const partial = store.createF32([split.splits, width, n]);
  store.kernels.run('lora_partial_b', [tiles, split.splits, deep], 256, [
    ...[partial.address, u.address, dy.address],
    ...[rows, n, width, u.ld, dy.ld],
    ...firsts.slice(1, MAX_PARTS),
    ...starts.slice(1, MAX_PARTS),
    ...[group.columns, split.rows],
  ]);
  finishB(store, low, partial);
  store.release(partial);
}

/** The end of `loraGradientB`, of partial sums [splits, width, N]. */
export function finishB(store: TensorStore, low: Omit<LoraOutputSide, 'u' | 'dy'>, partial: CudaTensor): void {
  const [splits, width, n] = partial.shape as [number, number, number];
  store.kernels.run('lora_finish_b', [Math.ceil(n / 64), Math.ceil(width / 16)], 256, [
    ...targets(store, low, 'b'),
    ...[partial.address, n, width, splits],
    ...firstColumns(low, n).slice(1, MAX_PARTS),
    ...low.group.ranks,
    ...four(low.parts, ({ lora }) => lora!.scale, 0),
  ]);
}

function firstColumns({ columns }: Pick<LoraOutputSide, 'columns'>, n: number): number[] {
  return Array.from({ length: MAX_PARTS + 1 }, (_, i) => columns[i] ?? n);
}
