/**
 * Which rank computes which micro-batch of a window: a step takes as long as its slowest rank. All ranks compute the same
 * from the same facts, so there is no randomness and no clock in here.
 */

/** A micro-batch on the rank that has read it. */
export interface CostedBatch {
  readonly home: number;
  /** Time on the card, in any unit. */
  readonly cost: number;
  /** That it takes to send it elsewhere; undefined where it has to stay. */
  readonly bytes?: number | undefined;
}

interface DealOptions {
  readonly worldSize: number;
  /** In the unit of the costs: what the slowest rank must win, at least, for anything to move. Default: a share of it. */
  readonly leastGain?: number | undefined;
}

/** Of the slowest rank's cost. */
const LEAST_GAIN_SHARE = 0.01;
/** What a move has to win, as a share of the mean cost of a rank: in itself, and for each byte. */
const MOVE_SHARE = 0.0005;
const BYTE_SHARE = 1e-10;
/** Counted, as a clock would differ between the ranks: in all about a millisecond. */
const MOST_TRIALS = 100_000;
const MOST_NODES = 10_000;

/**
 * The rank of each micro-batch, for the smallest cost of the slowest rank with few moves. Exact for few micro-batches, as 8
 * on two ranks; else by moves and exchanges from the slowest rank. All stay at home where a cost is no number.
 */
export function dealByCost(batches: readonly CostedBatch[], { worldSize, leastGain = 0 }: DealOptions): number[] {
  const homes = batches.map(({ home }) => home);
  const total = batches.reduce((sum, { cost }) => sum + cost, 0);
  const isSound = batches.every(({ cost }) => cost >= 0) && Number.isFinite(total) && total > 0;
  if (worldSize < 2 || !isSound) return homes;
  const deal = new Deal(batches, worldSize, total);
  const before = deal.slowest;
  const needed = Math.max(leastGain, LEAST_GAIN_SHARE * before);
  if (before - total / worldSize < needed) return homes;
  deal.improve();
  deal.search();
  return before - deal.slowest < needed ? homes : [...deal.owners];
}

class Deal {
  owners: number[];
  readonly #batches: readonly CostedBatch[];
  readonly #loads: number[];
  /** Of each move from home, in the unit of the costs; infinite for what has to stay. */
  readonly #prices: readonly number[];
  readonly #total: number;

  constructor(batches: readonly CostedBatch[], worldSize: number, total: number) {
    this.#batches = batches;
    this.#total = total;
    this.owners = batches.map(({ home }) => home);
    this.#loads = new Array<number>(worldSize).fill(0);
    for (const { home, cost } of batches) this.#loads[home]! += cost;
    const mean = total / worldSize;
    this.#prices = batches.map(({ bytes }) =>
      bytes === undefined ? Number.POSITIVE_INFINITY : mean * (MOVE_SHARE + BYTE_SHARE * bytes),
    );
  }

  get slowest(): number {
    return Math.max(...this.#loads);
  }

  #priceAt(batch: number, rank: number): number {
    return rank === this.#batches[batch]!.home ? 0 : this.#prices[batch]!;
  }

  #put(batch: number, rank: number): void {
    const { cost } = this.#batches[batch]!;
    this.#loads[this.owners[batch]!]! -= cost;
    this.#loads[rank]! += cost;
    this.owners[batch] = rank;
  }

  /** Takes the best move from the slowest rank, or exchange with it, as long as one pays; then takes back what was needless. */
  improve(): void {
    const { owners } = this;
    const loads = this.#loads;
    for (let trials = 0; trials < MOST_TRIALS; ) {
      const order = loads.map((_, rank) => rank).sort((a, b) => loads[b]! - loads[a]! || a - b);
      const from = order[0]!;
      const before = loads[from]!;
      let best: { readonly batch: number; readonly other: number; readonly to: number } | undefined;
      let most = 0;
      const own = owners.flatMap((rank, batch) => (rank === from ? [batch] : []));
      const consider = (batch: number, other: number, to: number): void => {
        trials++;
        const moved = this.#batches[batch]!.cost - (other < 0 ? 0 : this.#batches[other]!.cost);
        if (moved <= 0) return;
        let price = this.#priceAt(batch, to) - this.#priceAt(batch, from);
        if (other >= 0) price += this.#priceAt(other, from) - this.#priceAt(other, to);
        // Of these two: where others are nearly as slow, each has to become faster before all are.
        const gain = before - Math.max(before - moved, loads[to]! + moved) - price;
        if (gain > most) {
          most = gain;
          best = { batch, other, to };
        }
      };
      for (const batch of own) {
        for (const to of order) if (to !== from) consider(batch, -1, to);
        for (const [other, to] of owners.entries()) if (to !== from) consider(batch, other, to);
      }
      if (!best) break;
      this.#put(best.batch, best.to);
      if (best.other >= 0) this.#put(best.other, from);
    }
    const { slowest } = this;
    for (const [batch, { home, cost }] of this.#batches.entries()) {
      if (owners[batch] !== home && loads[home]! + cost <= slowest) this.#put(batch, home);
    }
  }

  /** Branch and bound, the largest first: to the end where there are few, else as far as its nodes reach. */
  search(): void {
    const loads = this.#loads;
    const order = this.owners.map((_, batch) => batch);
    order.sort((a, b) => this.#batches[b]!.cost - this.#batches[a]!.cost || a - b);
    const priceOf = () => this.owners.reduce((sum, rank, batch) => sum + this.#priceAt(batch, rank), 0);
    let least = this.slowest + priceOf();
    let best = [...this.owners];
    const owners = [...this.owners];
    const at = new Array<number>(loads.length).fill(0);
    // Rounding differs with the order of sums: what is as good within it is no better.
    const margin = 1e-12 * this.#total;
    const lowest = this.#total / loads.length;
    let nodes = 0;
    const visit = (depth: number, slowest: number, price: number): void => {
      if (Math.max(slowest, lowest) + price >= least - margin) return;
      if (depth === order.length) {
        least = slowest + price;
        best = [...owners];
        return;
      }
      const batch = order[depth]!;
      const { cost, home } = this.#batches[batch]!;
      const ranks = at.map((_, rank) => rank);
      ranks.sort((a, b) => Number(b === home) - Number(a === home) || at[a]! - at[b]! || a - b);
      for (const rank of ranks) {
        if (nodes++ >= MOST_NODES) return;
        const before = at[rank]!;
        at[rank] = before + cost;
        owners[batch] = rank;
        visit(depth + 1, Math.max(slowest, at[rank]!), price + this.#priceAt(batch, rank));
        at[rank] = before;
      }
    };
    visit(0, 0, 0);
    for (const [batch, rank] of best.entries()) if (rank !== this.owners[batch]) this.#put(batch, rank);
  }
}
