/** Launches of lora.cu and lora-gradient.cu: the thin products around an adapter, for up to four stacked parts. */
import type { LinearPart } from '../../operations.js';
import { dropoutScale } from '../../random.js';
import { type AdapterGroup, MAX_PARTS } from '../adapters.js';
import { roundUp } from '../arena.js';
import type { KernelName } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { maskBytes } from './dropout-masks.js';

/** Blocks under way on each multiprocessor that the sums over rows are split for. */
const BLOCKS_PER_MULTIPROCESSOR = 4;

/** A value for each of the four parts that a kernel takes. */
function four(parts: readonly LinearPart[], value: (part: LinearPart) => number, otherwise: number): number[] {
  return Array.from({ length: MAX_PARTS }, (_, i) => (parts[i]?.lora ? value(parts[i]!) : otherwise));
}

function keeps(parts: readonly LinearPart[]): number[] {
  return four(parts, ({ lora }) => dropoutScale(lora!.dropout), 1);
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

export interface LoraBackward {
  /** Address of du [T, E]. */
  readonly du: number;
  readonly lddu: number;
  readonly u: CudaTensor;
  /** [T, N], all parts side by side. */
  readonly dy: CudaTensor;
  readonly x: CudaTensor;
  readonly bits: CudaTensor | undefined;
  readonly group: AdapterGroup;
  readonly parts: readonly LinearPart[];
  /** Which parts have a gradient at all. */
  readonly gradients: readonly (CudaTensor | undefined)[];
  /** First column of each part in dy. */
  readonly columns: readonly number[];
}

/** dx += mask ⊙ (du·A) / (1 - p), over all parts. */
export function loraInputGradient(store: TensorStore, dx: CudaTensor, low: LoraBackward): void {
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

/** dA += duᵀ·(mask ⊙ x) / (1 - p) and dB += scale·dyᵀ·u, into the flat float32 gradients. */
export function loraGradients(store: TensorStore, low: LoraBackward): void {
  if (low.dy.rows === 0) return;
  gradientA(store, low);
  gradientB(store, low);
  for (const [i, { lora }] of low.parts.entries()) {
    if (!lora || !low.gradients[i]) continue;
    store.use(lora.a.grad, 'linear').isTouched = true;
    store.use(lora.b.grad, 'linear').isTouched = true;
  }
}

/** Address of each part's gradient, 0 for parts that have none. */
function targets(store: TensorStore, { parts, gradients }: LoraBackward, which: 'a' | 'b'): number[] {
  return Array.from({ length: MAX_PARTS }, (_, i) => {
    const lora = parts[i]?.lora;
    return lora && gradients[i] ? store.use(lora[which].grad, 'linear').address : 0;
  });
}

function gradientA(store: TensorStore, low: LoraBackward): void {
  const { du, lddu, x, bits, group, parts } = low;
  const { rows, columns } = x;
  const { ranks, starts, columns: width } = group;
  const tiles = [Math.ceil(columns / 64), Math.ceil(width / 64)] as const;
  const split = splitRows(store, rows, tiles[0] * tiles[1]);
  const partial = store.createF32([split.splits, width, columns]);
  store.kernels.run('lora_partial_a', [tiles[0], split.splits, tiles[1]], 256, [
    ...[partial.address, du, x.address, bits?.address ?? 0],
    ...[rows, columns, width, lddu, x.ld, maskBytes(columns)],
    ...starts.slice(1, MAX_PARTS),
    split.rows,
  ]);
  store.kernels.run('lora_finish_a', [Math.ceil(columns / 256), width], 256, [
    ...targets(store, low, 'a'),
    ...[partial.address, columns, width, split.splits],
    ...starts.slice(1, MAX_PARTS),
    ...ranks,
    ...keeps(parts),
  ]);
  store.release(partial);
}

function gradientB(store: TensorStore, low: LoraBackward): void {
  const { u, dy, group, parts, columns } = low;
  const { rows, columns: n } = dy;
  const { ranks, starts, width } = group;
  const firsts = Array.from({ length: MAX_PARTS + 1 }, (_, i) => columns[i] ?? n);
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
  store.kernels.run('lora_finish_b', [Math.ceil(n / 64), Math.ceil(width / 16)], 256, [
    ...targets(store, low, 'b'),
    ...[partial.address, n, width, split.splits],
    ...firsts.slice(1, MAX_PARTS),
    ...ranks,
    ...four(parts, ({ lora }) => lora!.scale, 0),
  ]);
  store.release(partial);
}
