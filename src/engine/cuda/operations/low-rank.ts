/** The launch of lora.cu that forward needs: the way down with its dropout masks, for up to four stacked parts. */

import { KERNELS } from '../../../generated/kernel-launchers.js';
import { dropoutScale, dropoutThreshold } from '../../../random.js';
import type { LinearPart } from '../../operations.js';
import type { AdapterGroup } from '../adapters.js';
import { type DevicePointer, grid2, ofWidth } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { byPart, type Dropout, maskBytes } from './dropout-masks.js';
import { splitRows } from './row-splits.js';

/** Rows up to which a library's product is as fast as lora_down, where there is no dropout. */
const FEW_ROWS = 512;

/** Rows of a block, and columns that it has at a time. */
const TILE = 64;
/** Blocks that fit on a multiprocessor. */
const BLOCKS = 3;

/** 1 / (1 - p) of each part. */
export function keepScales(parts: readonly LinearPart[]): number[] {
  return byPart(parts, ({ dropout }) => dropoutScale(dropout), 1);
}

interface LoraDown {
  readonly u: DevicePointer;
  readonly ldu: number;
  /** A second place for u. */
  readonly saved: CudaTensor | undefined;
  readonly x: CudaTensor;
  /** Its masks are made, and written where there is room for them. */
  readonly dropout: Dropout | undefined;
  /** A matrix that is written later: room for sums until then. */
  readonly room: CudaTensor | undefined;
  readonly group: AdapterGroup;
  readonly parts: readonly LinearPart[];
}

/** u = dropout(x)·Aᵀ for all parts. */
export function loraDown(store: TensorStore, { u, ldu, saved, x, dropout, room, group, parts }: LoraDown): void {
  const { rows, columns, ld } = x;
  if (!dropout && rows <= FEW_ROWS) {
    const operands = { a: x.address, lda: ld, b: group.a, ldb: group.lda, transB: true, d: u, ldd: ldu };
    store.products.run({ m: rows, n: group.columns, k: columns, ...operands });
    if (saved) {
      const copy = { out: saved.address, x: u, rows, columns: group.columns, ldo: saved.ld, ldx: ldu };
      store.kernels.launch(KERNELS.copyBf16, grid2(rows, group.columns), copy);
    }
    return;
  }
  const width = Math.min(group.columns, 64);
  const tiles = [Math.ceil(rows / TILE), Math.ceil(group.columns / width)] as const;
  const count = tiles[0] * tiles[1];
  // A tile of x and A is read, sums are written and read.
  const split = splitRows(store, columns, count, BLOCKS, (2 * 4 * TILE * width) / (2 * TILE * (TILE + width)));
  const hasRoom = room !== undefined && room.ld >= 2 * split.splits * group.columns;
  const made = split.splits > 1 && !hasRoom ? store.createF32([split.splits, rows, group.columns]) : undefined;
  const partial = split.splits > 1 ? (made ?? room) : undefined;
  // biome-ignore format: parameters by operand
  store.kernels.launch(ofWidth(KERNELS.loraDown, width), [...tiles, split.splits], {
    u, ldu, saved: saved?.address, ldsaved: saved?.ld ?? 0, partial: partial?.address,
    counters: partial && store.counters(count), x: x.address, ldx: ld, a: group.a, lda: group.lda,
    bits: dropout?.bits?.address, rowKeys: dropout?.rowKeys, kb: maskBytes(columns),
    rows, K: columns, E: group.columns, splitColumns: split.rows, starts: group.starts,
    seeds: byPart(parts, ({ seed }) => seed, 0),
    // Compared with the upper 16 bits of the hash.
    thresholds: byPart(parts, ({ dropout }) => dropoutThreshold(dropout) * 65536, 0), keeps: keepScales(parts),
  });
  if (made) store.release(made);
}
