/** Keys and values of every layer for a set of growing sequences; each sequence owns a range of rows. */
import type { Engine } from '../../engine/engine.js';
import type { KeyValueRows, Segments } from '../../engine/operations.js';
import type { Tensor, Weight } from '../../engine/tensor.js';
import { DataError } from '../../errors.js';
import type { KeyValueStore } from './layers.js';

/** Keys and values of all layers, with room for so many tokens of each sequence: see `VisionLanguageModel.createCache`. */
export class KvCache implements KeyValueStore {
  readonly #engine: Engine;
  readonly #keys: Tensor[];
  readonly #values: Tensor[];
  readonly #capacities: readonly number[];
  /** First row of each sequence. */
  readonly #starts: Int32Array;
  /** Tokens held of each sequence. */
  readonly #lengths: Int32Array;
  #rows = new Int32Array(0);

  /**
   * @param layers a weight of each
   * @param width kv-heads × head size
   */
  constructor(engine: Engine, layers: readonly Weight[], width: number, capacities: readonly number[]) {
    this.#engine = engine;
    this.#capacities = capacities;
    this.#starts = new Int32Array(capacities.length);
    for (let i = 1; i < capacities.length; i++) this.#starts[i] = this.#starts[i - 1]! + capacities[i - 1]!;
    this.#lengths = new Int32Array(capacities.length);
    const rows = capacities.reduce((sum, capacity) => sum + capacity, 0);
    this.#keys = layers.map((weight) => engine.zeros([rows, width], weight));
    this.#values = layers.map((weight) => engine.zeros([rows, width], weight));
  }

  /**
   * Makes room for the next tokens of each sequence (given as packed ranges, possibly empty) and gives the ranges
   * that they attend to. Called once before the layers run, which then fill the room one after the other.
   * @param newStarts the same ranges with the tokens shared between sequences, of which each sequence stores a copy
   */
  segments(queryStarts: Int32Array, newStarts: Int32Array = queryStarts): Segments {
    const rows = new Int32Array(newStarts[newStarts.length - 1]!);
    let at = 0;
    for (let s = 0; s < this.#capacities.length; s++) {
      const added = newStarts[s + 1]! - newStarts[s]!;
      if (this.#lengths[s]! + added > this.#capacities[s]!) {
        throw new DataError(
          `the key/value cache of sequence ${s} holds ${this.#capacities[s]} tokens, ${this.#lengths[s]! + added} are needed`,
        );
      }
      for (let i = 0; i < added; i++) rows[at++] = this.#starts[s]! + this.#lengths[s]! + i;
      this.#lengths[s]! += added;
    }
    this.#rows = rows;
    return { queryStarts, keyStarts: this.#starts, keyLengths: this.#lengths.slice() };
  }

  layer(index: number): KeyValueRows {
    return { keys: this.#keys[index]!, values: this.#values[index]!, rows: this.#rows };
  }

  /** Drops the tokens of these sequences, whose pass failed. */
  clear(sequences: readonly number[]): void {
    for (const s of sequences) this.#lengths[s] = 0;
  }

  /** Frees the memory; the cache is of no use afterwards. May be called twice. */
  dispose(): void {
    for (const tensor of [...this.#keys.splice(0), ...this.#values.splice(0)]) this.#engine.release(tensor);
  }
}
