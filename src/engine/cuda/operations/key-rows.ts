/**
 * Keys and values of rows that several segments share: copied once for each segment, and the gradients of the copies
 * summed. Index tables are uploaded once for all layers that share a list.
 */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import { rowPlaces } from '../../row-lists.js';
import { type DevicePointer, grid2, offset } from '../launch.js';
import type { DeviceBlock } from '../memory.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { placeWords, sumRows } from './rows.js';

const OPERATION = 'attentionBlock: keyRows';
/** Lists whose tables are cached: of this pass and recent ones. */
const KEPT_LISTS = 4;

interface Tables {
  /** The list itself, then `placeWords`. */
  readonly block: DeviceBlock;
  /** Rows that the list indexes. */
  readonly count: number;
}

export type KeysAndValues = readonly [k: CudaTensor, v: CudaTensor];

export class KeyRows {
  readonly #store: TensorStore;
  /** Least recently used ones first. */
  readonly #tables = new Map<Int32Array, Tables>();

  constructor(store: TensorStore) {
    this.#store = store;
  }

  /** New tensors whose row i is row rows[i] of k and v. */
  gather([k, v]: KeysAndValues, rows: Int32Array): KeysAndValues {
    const copies = [
      this.#store.create([rows.length, k.columns]),
      this.#store.create([rows.length, v.columns]),
    ] as const;
    this.#copy(copies, [k, v], rows);
    return copies;
  }

  /** Row rows[i] of k and v becomes row to[i] of keys and values. The rows of `to` are distinct and exist. */
  append(cache: KeysAndValues, from: KeysAndValues, rows: Int32Array, to: Int32Array): void {
    this.#store.withTable(to, (places) => this.#copy(cache, from, rows, places));
  }

  /** Writes the sum of the gradients of each row's copies; zeros for rows without any. */
  sum(into: KeysAndValues, gradients: KeysAndValues, rows: Int32Array): void {
    const table = offset(this.#table(rows, into[0].rows), 4 * rows.length);
    sumRows(this.#store, into, gradients, table);
  }

  dispose(): void {
    for (const { block } of this.#tables.values()) this.#store.allocator.free(block);
    this.#tables.clear();
  }

  #copy([keys, values]: KeysAndValues, [k, v]: KeysAndValues, rows: Int32Array, to?: DevicePointer): void {
    const from = this.#table(rows, k.rows);
    const { columns } = k;
    // biome-ignore format: parameters by operand
    this.#store.kernels.launch(KERNELS.gatherKeyValue, grid2(rows.length, columns), {
      keyOut: keys.address, ldkeyOut: keys.ld, valueOut: values.address, ldvalueOut: values.ld,
      key: k.address, ldkey: k.ld, value: v.address, ldvalue: v.ld, from, to, n: rows.length, columns,
    });
  }

  #table(rows: Int32Array, count: number): DevicePointer {
    let known = this.#tables.get(rows);
    if (known) this.#tables.delete(rows);
    if (known && known.count !== count) {
      this.#store.allocator.free(known.block);
      known = undefined;
    }
    if (!known) {
      const words = placeWords(rowPlaces(rows, count, OPERATION));
      known = { block: this.#store.table(Int32Array.from([...rows, ...words])), count };
    }
    this.#tables.set(rows, known);
    if (this.#tables.size > KEPT_LISTS) this.#forgetOldest();
    return known.block.address;
  }

  #forgetOldest(): void {
    const [rows, { block }] = this.#tables.entries().next().value!;
    this.#store.allocator.free(block);
    this.#tables.delete(rows);
  }
}
