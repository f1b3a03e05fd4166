import { describe, expect, it } from 'vitest';
import type { Bf16Matrix } from '../../../src/engine/cuda/bf16-matrix.js';
import { type HostMatrix, LayerStream } from '../../../src/engine/cuda/layer-stream.js';
import { MersenneTwister } from '../../../src/random.js';
import { COMPUTE, TwoQueues } from './two-queues.js';

interface FakeSlot {
  value: string | undefined;
  isFree: boolean;
}

function setUp(seed: number, layers: readonly number[], slots = 2) {
  const device = new TwoQueues(seed);
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
