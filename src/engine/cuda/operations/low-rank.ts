/** Launches of lora.cu that forward needs: dropout masks and the way down, for up to four stacked parts. */
import type { LinearPart } from '../../operations.js';
import { type AdapterGroup, MAX_PARTS } from '../adapters.js';
import type { KernelName } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

/** A value for each of the four parts that a kernel takes. */
export function four(parts: readonly LinearPart[], value: (part: LinearPart) => number, otherwise: number): number[] {
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
  /** A second place for u. */
  readonly saved: CudaTensor | undefined;
  readonly x: CudaTensor;
  readonly bits: CudaTensor | undefined;
  readonly group: AdapterGroup;
  readonly parts: readonly LinearPart[];
}

/** u = dropout(x)·Aᵀ for all parts. */
export function loraDown(store: TensorStore, { u, ldu, saved, x, bits, group, parts }: LoraDown): void {
  const { rows, columns, ld } = x;
  const width = Math.min(group.columns, 64);
  const grid = [Math.ceil(rows / 32), Math.ceil(group.columns / width)] as const;
  store.kernels.run(`lora_down_${width}` as KernelName, grid, 512, [
    ...[u, saved?.address ?? 0, x.address, group.a, bits?.address ?? 0],
    ...[rows, columns, group.columns, ldu, saved?.ld ?? 0, ld, group.lda, maskBytes(columns)],
    ...group.starts.slice(1, MAX_PARTS),
    ...keeps(parts),
  ]);
}
