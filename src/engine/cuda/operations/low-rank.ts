/** Launches of lora.cu that forward needs: dropout masks and the way down, for up to four stacked parts. */

import { KERNELS } from '../../../generated/kernel-launchers.js';
import { dropoutScale } from '../../../random.js';
import type { LinearPart } from '../../operations.js';
import type { AdapterGroup } from '../adapters.js';
import { type DevicePointer, grid2, ofWidth } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { maskBytes } from './dropout-masks.js';

/** Rows up to which lora_down, with a block for 32 of them, leaves most of the card idle: a library's product splits K. */
const FEW_ROWS = 512;

/** A value for each of the four parts that a kernel takes. */
export function four(parts: readonly LinearPart[], value: (part: LinearPart) => number, otherwise: number): number[] {
  // Not Array.from: several of these are made for each launch.
  const at = (i: number): number => (parts[i]?.lora ? value(parts[i]!) : otherwise);
  return [at(0), at(1), at(2), at(3)];
}

/** 1 / (1 - p) of each part. */
export function keeps(parts: readonly LinearPart[]): number[] {
  return four(parts, ({ lora }) => dropoutScale(lora!.dropout), 1);
}

interface LoraDown {
  /** Address of u [T, E]. */
  readonly u: DevicePointer;
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
  if (!bits && rows <= FEW_ROWS) {
    const operands = { a: x.address, lda: ld, b: group.a, ldb: group.lda, transB: true, d: u, ldd: ldu };
    store.products.run({ m: rows, n: group.columns, k: columns, ...operands });
    if (saved) {
      const copy = { out: saved.address, x: u, rows, columns: group.columns, ldo: saved.ld, ldx: ldu };
      store.kernels.launch(KERNELS.copyBf16, grid2(rows, group.columns), copy);
    }
    return;
  }
  const width = Math.min(group.columns, 64);
  const grid = [Math.ceil(rows / 32), Math.ceil(group.columns / width)] as const;
  // biome-ignore format: parameters by operand
  store.kernels.launch(ofWidth(KERNELS.loraDown, width), grid, {
    u, ldu, saved: saved?.address, ldsaved: saved?.ld ?? 0, x: x.address, ldx: ld, a: group.a, lda: group.lda,
    bits: bits?.address, kb: maskBytes(columns), rows, K: columns, E: group.columns,
    starts: group.starts, keeps: keeps(parts),
  });
}
