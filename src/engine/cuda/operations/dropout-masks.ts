/** Dropout masks, which lora_down makes, and the row keys of the passes under way, on the device. */

import type { LinearPart, LoraPart } from '../../operations.js';
import type { DevicePointer } from '../launch.js';
import type { DeviceBlock } from '../memory.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

/** Key tables that are kept: text, patches and merged patches of a pass, and of the one before. */
const KEPT_TABLES = 6;

/** What a launch of lora_down needs to know of the masks of x. */
export interface Dropout {
  /** [T] on the device. */
  readonly rowKeys: DevicePointer;
  /** Room for the masks of the parts, a bit an element: [parts, rows, maskBytes(columns)] as bytes. */
  readonly bits: CudaTensor | undefined;
}

/** A value for each of the four parts that a kernel takes. */
export function byPart(parts: readonly LinearPart[], value: (lora: LoraPart) => number, otherwise: number): number[] {
  const at = (i: number): number => {
    const lora = parts[i]?.lora;
    return lora ? value(lora) : otherwise;
  };
  // Not Array.from, which takes many times as long: a step makes thousands of these.
  return [at(0), at(1), at(2), at(3)];
}

export function maskBytes(columns: number): number {
  return 4 * Math.ceil(columns / 32);
}

export class DropoutMasks {
  readonly #store: TensorStore;
  /** Keys are uploaded once for the layers that share an array; least recently used first. */
  readonly #tables = new Map<Int32Array, DeviceBlock>();

  constructor(store: TensorStore) {
    this.#store = store;
  }

  /** @param isKept backward needs them */
  open({ rows, columns }: CudaTensor, rowKeys: Int32Array, parts: readonly LinearPart[], isKept: boolean): Dropout {
    const words = (parts.length * rows * maskBytes(columns)) / 4;
    const bits = isKept ? this.#store.createF32([words]) : undefined;
    return { rowKeys: this.#table(rowKeys).address, bits };
  }

  dispose(): void {
    for (const rowKeys of [...this.#tables.keys()]) this.#forget(rowKeys);
  }

  #table(rowKeys: Int32Array): DeviceBlock {
    const known = this.#tables.get(rowKeys);
    if (known) this.#tables.delete(rowKeys);
    else if (this.#tables.size >= KEPT_TABLES) this.#forget(this.#tables.keys().next().value!);
    const table = known ?? this.#store.table(rowKeys);
    this.#tables.set(rowKeys, table);
    return table;
  }

  #forget(rowKeys: Int32Array): void {
    const table = this.#tables.get(rowKeys);
    if (table) this.#store.allocator.free(table);
    this.#tables.delete(rowKeys);
  }
}
