/** Batches of an evaluation, dealt round robin to several ranks: their results come together in the order of all. */
import type { RankExchange } from './rank-exchange.js';

/** Batches of each rank between two messages: the ranks wait for the slowest, and hear of the end of a run. */
const PER_MESSAGE = 8;

export class SharedBatches<T> {
  readonly #ranks: RankExchange;
  readonly #count: number;
  readonly #add: (result: T) => void;
  #own: T[] = [];
  /** Batches of all ranks that have come together. */
  #done = 0;

  /**
   * @param count batches of all ranks
   * @param add receives the result of each, JSON, in their order
   */
  constructor(ranks: RankExchange, count: number, add: (result: T) => void) {
    this.#ranks = ranks;
    this.#count = count;
    this.#add = add;
  }

  /** Those of this rank. */
  dealt<B>(batches: readonly B[]): B[] {
    const { rank, worldSize } = this.#ranks.group;
    return batches.filter((_, b) => b % worldSize === rank);
  }

  /** Takes the result of this rank's next batch. Gives whether results of all ranks have come. */
  async add(result: T): Promise<boolean> {
    this.#own.push(result);
    if (this.#own.length < PER_MESSAGE) return false;
    await this.#exchange();
    return true;
  }

  /** To be called after the last batch of this rank: others may have more, and it has to hear of all. */
  async end(): Promise<void> {
    while (this.#done < this.#count) await this.#exchange();
  }

  async #exchange(): Promise<void> {
    const { worldSize } = this.#ranks.group;
    const own = this.#own;
    this.#own = [];
    const all = await this.#ranks.gather(`batches from ${this.#done} on`, own);
    const end = Math.min(this.#count, this.#done + PER_MESSAGE * worldSize);
    for (let b = this.#done; b < end; b++) this.#add(all[b % worldSize]![Math.floor((b - this.#done) / worldSize)]!);
    this.#done = end;
  }
}
