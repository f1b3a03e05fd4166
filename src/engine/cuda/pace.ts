/**
 * Keeps the queue of the card long enough to bridge what the host does between steps, and short where it can: with about
 * a thousand launches under way the driver makes the thread wait, and nothing else is served.
 */
import type { CudaDriver } from './driver.js';
import type { Staging } from './staging.js';

export type PaceDriver = Pick<CudaDriver, 'launches' | 'createEvent' | 'recordEvent' | 'destroyEvent'>;

/** Launches that may be under way when work is queued next. */
const LAUNCHES_AHEAD = 640;

interface Mark {
  readonly event: number;
  readonly launches: number;
}

export class Pace {
  readonly #driver: PaceDriver;
  readonly #staging: Pick<Staging, 'passed'>;
  /** Not known to be passed, oldest first. */
  readonly #marks: Mark[] = [];
  readonly #idle: number[] = [];
  #done = 0;

  constructor(driver: PaceDriver, staging: Pick<Staging, 'passed'>) {
    this.#driver = driver;
    this.#staging = staging;
  }

  /** Resolves when no more than `LAUNCHES_AHEAD` are under way, or only those since the call before. */
  async keep(): Promise<void> {
    const { launches } = this.#driver;
    const before = this.#marks.at(-1)?.launches ?? this.#done;
    if (launches > before) {
      const event = this.#idle.pop() ?? this.#driver.createEvent();
      this.#driver.recordEvent(event);
      this.#marks.push({ event, launches });
    }
    for (let mark = this.#marks[0]; mark && launches - this.#done > LAUNCHES_AHEAD; mark = this.#marks[0]) {
      // The last stretch alone may be longer than that: to wait for it would leave the card without work.
      if (mark.launches === launches) break;
      await this.#staging.passed(mark.event);
      if (this.#marks[0] !== mark) continue;
      this.#marks.shift();
      this.#done = mark.launches;
      this.#idle.push(mark.event);
    }
  }

  dispose(): void {
    for (const event of [...this.#idle.splice(0), ...this.#marks.splice(0).map((mark) => mark.event)])
      this.#driver.destroyEvent(event);
  }
}
