/**
 * Finds the fastest algorithm for a product while the products are done anyway: the candidates take turns, with an
 * event before and after, and the times are read when they have come in. Nobody waits; it costs what the slower
 * candidates lose in their few turns.
 */
import type { Algorithm } from './cublas-lt.js';
import type { CudaDriver } from './driver.js';

export type TrialDriver = Pick<CudaDriver, 'createEvent' | 'recordEvent' | 'eventDone' | 'elapsedMilliseconds'>;

/** Turns of each candidate: clocks change from one product to the next by as much as candidates differ. */
const TURNS = 4;
/** The library's first choice stays unless another is so much faster. */
const ADVANTAGE = 0.98;

interface Candidate {
  readonly algorithm: Algorithm;
  /** What is left: an algorithm that is new to the process has one more, as the first may load code. */
  turns: number;
  /** Milliseconds for each multiplication. */
  readonly times: number[];
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
    if (this.#known.has(key)) return TURNS;
    this.#known.add(key);
    return TURNS + 1;
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
      return { algorithm, turns: ground.turnsOf(algorithm), times: [] };
    });
  }

  /** The fastest, or the first of about equal ones, once all have had their turns and the device has done them. */
  get winner(): Algorithm | undefined {
    if (this.#winner) return this.#winner;
    this.#collect();
    if (this.#pending.length > 0 || this.#candidates.some(({ turns }) => turns > 0)) return undefined;
    const [first, ...others] = this.#candidates.map(({ algorithm, times }) => ({ algorithm, time: typical(times) }));
    let winner = { ...first!, time: ADVANTAGE * first!.time };
    for (const other of others) if (other.time < winner.time) winner = other;
    this.#winner = winner.algorithm;
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
      candidate.times.push(this.#ground.driver.elapsedMilliseconds(start, end) / multiplications);
      this.#ground.giveBack(start, end);
    }
  }
}

/** The mean of the faster half. */
function typical(times: readonly number[]): number {
  const faster = [...times].sort((a, b) => a - b).slice(0, TURNS / 2);
  return faster.length > 0 ? faster.reduce((sum, time) => sum + time, 0) / faster.length : Number.POSITIVE_INFINITY;
}
