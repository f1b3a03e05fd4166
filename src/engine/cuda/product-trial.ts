/**
 * Finds the fastest algorithm for a product while the products are done anyway: the candidates take turns, with an
 * event before and after, and the times are read when they have come in. Nobody waits; it costs what the slower
 * candidates lose in their few turns.
 */
import type { Algorithm } from './cublas-lt.js';
import type { CudaDriver } from './driver.js';

export type TrialDriver = Pick<CudaDriver, 'createEvent' | 'recordEvent' | 'eventDone' | 'elapsedMilliseconds'>;

interface Candidate {
  readonly algorithm: Algorithm;
  /** What is left: an algorithm that is new to the process has one more, as the first may load code. */
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

/** What the trials of a device share: timing events that are used again, and which algorithms have run before. */
export class TrialGround {
  readonly driver: TrialDriver;
  readonly #idle: number[] = [];
  readonly #known = new Set<string>();

  constructor(driver: TrialDriver) {
    this.driver = driver;
  }

  /** Turns that an algorithm needs, which thereby becomes known. */
  turnsOf(algorithm: Algorithm): number {
    const key = algorithm.join();
    if (this.#known.has(key)) return 1;
    this.#known.add(key);
    return 2;
  }

  record(): number {
    const event = this.#idle.pop() ?? this.driver.createEvent(true);
    this.driver.recordEvent(event);
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
  readonly #ground: TrialGround;
  readonly #candidates: readonly Candidate[];
  readonly #pending: Timing[] = [];
  #winner: Algorithm | undefined;

  constructor(ground: TrialGround, algorithms: readonly Algorithm[]) {
    this.#ground = ground;
    this.#candidates = algorithms.map((algorithm) => {
      return { algorithm, turns: ground.turnsOf(algorithm), best: Number.POSITIVE_INFINITY };
    });
  }

  /** The fastest, once all have had their turns and the device has done them. */
  get winner(): Algorithm | undefined {
    if (this.#winner) return this.#winner;
    this.#collect();
    if (this.#pending.length > 0 || this.#candidates.some(({ turns }) => turns > 0)) return undefined;
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
    const most = Math.max(...this.#candidates.map(({ turns }) => turns));
    const candidate = this.#candidates.find(({ turns }) => turns === most);
    if (!candidate || most === 0) return false;
    candidate.turns--;
    if (!isUsable(candidate.algorithm)) return false;
    const start = this.#ground.record();
    const status = launch(candidate.algorithm);
    const end = this.#ground.record();
    if (status !== 0) {
      this.#ground.giveBack(start, end);
      return false;
    }
    this.#pending.push({ candidate, multiplications, start, end });
    return true;
  }

  #collect(): void {
    for (let first = this.#pending[0]; first && this.#ground.driver.eventDone(first.end); first = this.#pending[0]) {
      this.#pending.shift();
      const { candidate, multiplications, start, end } = first;
      const time = this.#ground.driver.elapsedMilliseconds(start, end) / multiplications;
      candidate.best = Math.min(candidate.best, time);
      this.#ground.giveBack(start, end);
    }
  }
}
