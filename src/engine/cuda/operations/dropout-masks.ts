/** Launches of dropout.cu, and the row keys of the passes under way, on the device. */

import { KERNELS } from '../../../generated/kernel-launchers.js';
import { dropoutThreshold } from '../../../random.js';
import type { LinearPart } from '../../operations.js';
import type { DeviceBlock } from '../memory.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

/** Key tables that are kept: text, patches and merged patches of a pass, and of the one before. */
const KEPT_TABLES = 6;
/** Rows that a thread does, one after the other. */
const ROWS_PER_THREAD = 4;

/** Bytes of a mask row. */
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
    const seed = (i: number): number => parts[i]?.lora?.seed ?? 0;
    // Compared with the upper 16 bits of the hash.
    const threshold = (i: number): number => dropoutThreshold(parts[i]?.lora?.dropout ?? 0) * 65536;
    // biome-ignore format: parameters by operand
    const parameters = {
      bits: bits.address, rowKeys: this.#table(rowKeys).address, rows, K: columns, kb: rowBytes,
      seeds: [seed(0), seed(1), seed(2), seed(3)],
      thresholds: [threshold(0), threshold(1), threshold(2), threshold(3)],
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
