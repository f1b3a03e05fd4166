/** Launches of dropout.cu, and the row keys of the passes under way, on the device. */

import { KERNELS } from '../../../generated/kernel-launchers.js';
import { dropoutThreshold } from '../../../random.js';
import type { LinearPart, LoraPart } from '../../operations.js';
import type { DeviceBlock } from '../memory.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

/** Key tables that are kept: text, patches and merged patches of a pass, and of the one before. */
const KEPT_TABLES = 6;
const ROWS_PER_THREAD = 4;

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

  /** The masks of the parts of x, a bit an element: [parts, rows, maskBytes(columns)] as bytes. */
  make({ rows, columns }: CudaTensor, rowKeys: Int32Array, parts: readonly LinearPart[]): CudaTensor {
    const store = this.#store;
    const rowBytes = maskBytes(columns);
    const words = rowBytes / 4;
    const bits = store.createF32([parts.length * rows * words]);
    const block = Math.min(256, 32 * Math.ceil(words / 32));
    const lines = Math.min(Math.ceil(rows / ROWS_PER_THREAD), 65535);
    // biome-ignore format: parameters by operand
    const parameters = {
      bits: bits.address, rowKeys: this.#table(rowKeys).address, rows, K: columns, kb: rowBytes,
      seeds: byPart(parts, ({ seed }) => seed, 0),
      // Compared with the upper 16 bits of the hash.
      thresholds: byPart(parts, ({ dropout }) => dropoutThreshold(dropout) * 65536, 0),
    };
    store.kernels.launch(KERNELS.dropoutBits, [Math.ceil(words / block), lines, parts.length], parameters, block);
    return bits;
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
