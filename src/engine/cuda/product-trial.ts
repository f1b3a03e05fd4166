/**
 * Finds the fastest algorithm for a product while the products are done anyway: the candidates take turns, with an
 * event before and after, and the times are read when they have come in. Nobody waits; it costs what the slower
 * candidates lose in their few turns.
 */
import type { Algorithm } from './cublas-lt.js';
import type { CudaDriver } from './driver.js';

export type TrialDriver = Pick<CudaDriver, 'createEvent' | 'recordEvent' | 'eventDone' | 'elapsedMilliseconds'>;

/** Turns of each candidate: the fastest counts, as the first may load code. */
const TURNS = 2;

interface Candidate {
  readonly algorithm: Algorithm;
  turns: number;
  /** Least milliseconds for each multiplication. */
  best: number;
}

interface Timing {
  readonly candidate: Candidate;
  readonly multiplications: number;
  readonly start: number;
  readonly end: number;
}

/** Timing events that are used again. */
export class EventPool {
  readonly #driver: TrialDriver;
  readonly #idle: number[] = [];

  constructor(driver: TrialDriver) {
    this.#driver = driver;
  }

  record(): number {
    const event = this.#idle.pop() ?? this.#driver.createEvent(true);
    this.#driver.recordEvent(event);
    return event;
  }

  giveBack(...events: readonly number[]): void {
    this.#idle.push(...events);
  }

  /** Events that nothing uses, for the owner to destroy. */
  takeAll(): number[] {
    return this.#idle.splice(0);
  }
}

export class ProductTrial {
  readonly #driver: TrialDriver;
  readonly #events: EventPool;
  readonly #candidates: readonly Candidate[];
  readonly #pending: Timing[] = [];
  #winner: Algorithm | undefined;

  constructor(driver: TrialDriver, events: EventPool, algorithms: readonly Algorithm[]) {
    this.#driver = driver;
    this.#events = events;
    this.#candidates = algorithms.map((algorithm) => ({ algorithm, turns: 0, best: Infinity }));
  }

  /** The fastest, once all have had their turns and the device has done them. */
  get winner(): Algorithm | undefined {
    if (this.#winner) return this.#winner;
    this.#collect();
    if (this.#pending.length > 0 || this.#candidates.some(({ turns }) => turns < TURNS)) return undefined;
    const best = Math.min(...this.#candidates.map((candidate) => candidate.best));
    this.#winner = this.#candidates.find((candidate) => candidate.best === best)!.algorithm;
    return this.#winner;
  }

  /**
   * Gives the next candidate its turn.
   * @param launch queues the product and gives the library's status
   * @returns whether it was queued; if not, the caller does it with an algorithm of its own
   */
  run(multiplications: number, isUsable: (algorithm: Algorithm) => boolean, launch: (a: Algorithm) => number): boolean {
    const fewest = Math.min(...this.#candidates.map(({ turns }) => turns));
    const candidate = this.#candidates.find(({ turns }) => turns === fewest && turns < TURNS);
    if (!candidate) return false;
    candidate.turns++;
    if (!isUsable(candidate.algorithm)) return false;
    const start = this.#events.record();
    const status = launch(candidate.algorithm);
    const end = this.#events.record();
    if (status !== 0) {
      this.#events.giveBack(start, end);
      return false;
    }
    this.#pending.push({ candidate, multiplications, start, end });
    return true;
  }

  #collect(): void {
    for (let first = this.#pending[0]; first && this.#driver.eventDone(first.end); first = this.#pending[0]) {
      this.#pending.shift();
      const { candidate, multiplications, start, end } = first;
      const time = this.#driver.elapsedMilliseconds(start, end) / multiplications;
      candidate.best = Math.min(candidate.best, time);
      this.#events.giveBack(start, end);
    }
  }
}
