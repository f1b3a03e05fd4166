import { describe, expect, it } from 'vitest';
import { DeviceAllocator } from '../../../src/engine/cuda/memory.js';
import { Overhead, ownEntry } from '../../../src/engine/cuda/process-memory.js';
import { OutOfMemoryError } from '../../../src/errors.js';
import { FakeMemory } from './fake-memory.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

describe('the entry of this process', () => {
  const others = [
    { pid: 10, bytes: 1 },
    { pid: 11, bytes: 2 },
  ];

  it('has its id, or came with its context', () => {
    expect(ownEntry(11, [], others)).toEqual({ pid: 11, bytes: 2 });
    expect(ownEntry(99, others, [...others, { pid: 4711, bytes: 3 }])).toEqual({ pid: 4711, bytes: 3 });
  });

  it('is not guessed', () => {
    expect(ownEntry(99, [], others)).toBeUndefined();
    expect(ownEntry(99, others, others)).toBeUndefined();
  });
});

describe('a budget', () => {
  /** A card on which the process takes `beside` the pools. */
  function make(budget: number, beside: { bytes: number }) {
    const card = new FakeMemory(80 * GIB);
    const used = (): number => beside.bytes + card.total - card.memoryInfo().free;
    return { card, allocator: new DeviceAllocator(card, budget, new Overhead({ usedBytes: used })) };
  }

  it('counts what the process takes beside the pools', () => {
    const { card, allocator } = make(4 * GIB, { bytes: 500 * MIB });
    const { limitBytes, overheadBytes } = allocator.memory();
    // In steps of 32 MiB, and what is loaded later.
    expect(overheadBytes).toBe(512 * MIB + 128 * MIB);
    expect(limitBytes).toBe(4 * GIB - 640 * MIB);
    allocator.allocate(limitBytes);
    expect(card.total - card.memoryInfo().free).toBe(limitBytes);
    expect(() => allocator.allocate(1)).toThrow(OutOfMemoryError);
    expect(() => allocator.allocate(1)).toThrow('the budget is 4.00 GiB, of which code and context take 640.00 MiB');
  });

  it('shrinks when the process takes more than was set aside', async () => {
    const beside = { bytes: 500 * MIB };
    const { allocator } = make(4 * GIB, beside);
    beside.bytes = 900 * MIB;
    allocator.allocate(GIB);
    const { limitBytes, deviceBytes } = allocator.memory();
    expect(limitBytes).toBe(4 * GIB - 928 * MIB);
    expect(deviceBytes).toBe(GIB + 900 * MIB);
  });
});

describe('the overhead', () => {
  it('is measured no more than once a second, and assumed where it cannot be', () => {
    let calls = 0;
    const overhead = new Overhead({ usedBytes: () => 100 * MIB * ++calls });
    overhead.measure(0, 5000);
    overhead.measure(0, 5900);
    overhead.measure(0, 6100);
    expect(calls).toBe(3);
    expect(overhead.bytes).toBe(300 * MIB);
    const blind = new Overhead({ usedBytes: () => undefined }, 700 * MIB);
    blind.measure(GIB, 5000);
    expect([blind.bytes, blind.counted]).toEqual([700 * MIB, (704 + 128) * MIB]);
    expect(new Overhead().counted).toBe(0);
  });
});
