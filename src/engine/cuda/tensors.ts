/**
 * Tensors of the `cuda` engine. A tensor is rows of a device block: bf16 with a row stride, or contiguous float32.
 *
 * - What comes from the program (`fromArray`) is float32 until an operation computes with it: then it becomes bf16 in
 *   place. Rotary tables, query scales and loss gradients are used as they came. Vectors stay float32.
 * - Views are column ranges of a wider block, without a copy. Several tensors then share one `Storage`.
 */

import { sizeOf } from '../../formats/weight-source.js';
import { CountedTensor } from '../counted-tensors.js';
import { type DevicePointer, offset } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { PinnedPiece } from './pinned-arena.js';

export type ElementType = 'bf16' | 'f32';

export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = { bf16: 2, f32: 4 };

/** Rows of a matrix on the device: a tensor, or a part of one. */
export interface DeviceRows {
  readonly address: DevicePointer;
  /** Row stride in elements. */
  readonly ld: number;
  readonly rows: number;
  readonly columns: number;
  readonly type: ElementType;
}

/** `count` rows from `first` on, without a tensor of their own. */
export function rowRange({ address, ld, columns, type }: DeviceRows, first: number, count: number): DeviceRows {
  return { address: offset(address, ELEMENT_BYTES[type] * first * ld), ld, rows: count, columns, type };
}

/** A device block and the number of tensors that lie in it. */
export class Storage {
  readonly block: DeviceBlock;
  users = 0;

  constructor(block: DeviceBlock) {
    this.block = block;
  }
}

/** Host copy of a tensor that was moved out of the device, or is being moved. */
export interface HostCopy {
  readonly piece: PinnedPiece;
  /** Event: the latest copy, in either direction, is complete. */
  readonly event: number;
  /** Device memory: until the copy out is complete, and again once the copy back is queued. */
  storage: Storage | undefined;
}

export class CudaTensor extends CountedTensor {
  /** Product of all extents but the last; 1 for a vector. */
  readonly rows: number;
  readonly columns: number;
  type: ElementType;
  /** undefined for a tensor without elements of its own: a shape, a parameter. */
  storage: Storage | undefined;
  address: DevicePointer;
  /** Row stride in elements. */
  ld: number;
  /** Columns behind its own (rounded up) that nobody else uses: a linear layer's scratch. */
  spare = 0;
  /** Set while it is in host memory: `storage` is then undefined, and `TensorStore.use` brings it back. */
  hostCopy: HostCopy | undefined;

  constructor(
    shape: readonly number[],
    type: ElementType,
    storage: Storage | undefined,
    address: DevicePointer,
    ld: number,
    isParameter = false,
  ) {
    super(shape, isParameter);
    this.columns = shape.at(-1) ?? 1;
    this.rows = shape.length === 2 ? shape[0]! : sizeOf(shape.slice(0, -1));
    this.type = type;
    this.storage = storage;
    this.address = address;
    this.ld = ld;
    if (storage) storage.users++;
  }
}
