/** Two queues of a device whose work is done late and in any order that events allow: what lacks an ordering shows. */
import { expect } from 'vitest';
import { MersenneTwister } from '../../../src/random.js';

export const [COMPUTE, COPY] = [1, 2];

interface Work {
  run?(): void;
  /** Waits until so many records of the event are passed. */
  readonly wait?: { readonly event: number; readonly records: number };
  readonly record?: number;
}

export class TwoQueues {
  readonly stream = COMPUTE;
  readonly copyStream = COPY;
  readonly queues: Record<number, Work[]> = { [COMPUTE]: [], [COPY]: [] };
  readonly live = new Set<number>();
  #recorded = new Map<number, number>();
  #passed = new Map<number, number>();
  #next = 1;
  readonly #random: MersenneTwister;

  constructor(seed: number) {
    this.#random = new MersenneTwister(seed);
  }

  createEvent(): number {
    this.live.add(this.#next);
    return this.#next++;
  }

  destroyEvent(event: number): void {
    expect(this.live.delete(event)).toBe(true);
  }

  recordEvent(event: number, stream = COMPUTE): void {
    this.#recorded.set(event, (this.#recorded.get(event) ?? 0) + 1);
    this.queues[stream]!.push({ record: event });
  }

  waitEvent(event: number, stream = COMPUTE): void {
    this.queues[stream]!.push({ wait: { event, records: this.#recorded.get(event) ?? 0 } });
  }

  synchronizeEvent(): void {
    this.drain();
  }

  drain(): void {
    for (;;) {
      const able = [COMPUTE, COPY].filter((stream) => {
        const [first] = this.queues[stream]!;
        return first && (!first.wait || (this.#passed.get(first.wait.event) ?? 0) >= first.wait.records);
      });
      if (able.length === 0) break;
      const work = this.queues[able[this.#random.nextUint32() % able.length]!]!.shift()!;
      work.run?.();
      if (work.record !== undefined) this.#passed.set(work.record, (this.#passed.get(work.record) ?? 0) + 1);
    }
    expect([this.queues[COMPUTE]!.length, this.queues[COPY]!.length]).toEqual([0, 0]);
  }
}
