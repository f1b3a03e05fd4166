import { describe, expect, it } from 'vitest';
import type { Bf16Matrix } from '../../../src/engine/cuda/bf16-matrix.js';
import { type HostMatrix, LayerStream } from '../../../src/engine/cuda/layer-stream.js';
import { MersenneTwister } from '../../../src/random.js';

const [COMPUTE, COPY] = [1, 2];

interface Work {
  run?(): void;
  /** Waits until so many records of the event are passed. */
  readonly wait?: { readonly event: number; readonly records: number };
  readonly record?: number;
}

/** Two queues whose work is done late and in any order that events allow. */
class Device {
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

interface FakeSlot {
  value: string | undefined;
  isFree: boolean;
}

function setUp(seed: number, layers: readonly number[], slots = 2) {
  const device = new Device(seed);
  const stream = new LayerStream(device, slots);
  const made: FakeSlot[] = [];
  let copies = 0;
  const matrix = (layer: number, form: string): HostMatrix => ({
    layer,
    form,
    bytes: 10,
    copyTo: (slot, on) => {
      copies++;
      device.queues[on]!.push({
        run: () => {
          (slot as unknown as FakeSlot).value = `${layer} ${form}`;
        },
      });
    },
    makeSlot: () => {
      const slot = {
        value: undefined,
        isFree: false,
        free: () => {
          slot.isFree = true;
        },
      };
      made.push(slot);
      return slot as unknown as Bf16Matrix;
    },
  });
  const all = layers.map((layer) => ['a', 'b'].map((form) => matrix(layer, form)));
  const seen: string[] = [];
  const expected: string[] = [];
  /** Work of a layer that reads its matrices. */
  const use = (at: number, order: readonly number[] = [0, 1]): void => {
    for (const i of order) {
      const one = all[at]![i]!;
      const slot = stream.use(one) as unknown as FakeSlot;
      expected.push(`${one.layer} ${one.form}`);
      device.queues[COMPUTE]!.push({ run: () => void seen.push(slot.value!) });
    }
  };
  return { device, stream, all, made, use, seen, expected, copies: () => copies };
}

const LAYERS = [3, 5, 7, 9, 11];

describe('streamed layers', () => {
  it.each([1, 2, 3])(
    'are there when they are used and stay until they were, in any order of events (%i slots)',
    (slots) => {
      for (let seed = 0; seed < 40; seed++) {
        const { device, stream, all, use, seen, expected } = setUp(seed, LAYERS, slots);
        // Not in the order of the layers, as files are read.
        for (const layer of [2, 0, 4, 1, 3]) for (const one of all[layer]!.toReversed()) stream.add(one);
        for (let pass = 0; pass < 3; pass++) {
          for (let at = 0; at < LAYERS.length; at++) use(at);
          for (let at = LAYERS.length - 1; at >= 0; at--) use(at, [0, 1, 1, 0]);
          if (pass === 1) device.drain();
        }
        const random = new MersenneTwister(seed);
        for (let i = 0; i < 20; i++) use(random.nextUint32() % LAYERS.length);
        device.drain();
        expect(seen).toEqual(expected);
      }
    },
  );

  it('are foreseen from the second pass on: none is copied twice, and those at the turn stay', () => {
    const { stream, all, use, copies } = setUp(1, LAYERS);
    for (const one of all.flat()) stream.add(one);
    const pass = (): number => {
      const before = copies();
      for (let at = 0; at < LAYERS.length; at++) use(at);
      for (let at = LAYERS.length - 1; at >= 0; at--) use(at);
      return (copies() - before) / 2;
    };
    // Two of five lie there after forward already, and after backward.
    expect(pass()).toBe(5 + 3);
    expect(pass()).toBe(3 + 3);
    // Generation: always forward.
    for (let token = 0; token < 2; token++) for (let at = 0; at < LAYERS.length; at++) use(at);
    const before = copies();
    for (let at = 0; at < LAYERS.length; at++) use(at);
    expect((copies() - before) / 2).toBe(5);
  });

  it('frees its room and its events with the last matrix', () => {
    const { device, stream, all, made, use } = setUp(1, LAYERS);
    for (const one of all.flat()) stream.add(one);
    expect([stream.bytes, made.length]).toEqual([100, 4]);
    use(0);
    use(1);
    for (const one of all.flat()) stream.remove(one);
    expect([stream.isEmpty, made.every(({ isFree }) => isFree)]).toEqual([true, true]);
    stream.dispose();
    expect(device.live.size).toBe(0);
  });

  it('copies anew what lies in a slot that was changed', () => {
    const { device, stream, all, made, use, seen, expected } = setUp(3, LAYERS);
    for (const one of all.flat()) stream.add(one);
    use(1);
    stream.change(all[1]![0]!, (slot) => {
      device.drain();
      (slot as unknown as FakeSlot).value = undefined;
    });
    expect(made.filter(({ value }) => value === undefined)).toHaveLength(2);
    use(1);
    device.drain();
    expect(seen).toEqual(expected);
  });
});
