import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena, BLOCK_ALIGNMENT, type Block } from '../../../src/engine/arena.js';
import { CACHE, DeviceAllocator, type DeviceBlock } from '../../../src/engine/cuda/memory.js';
import { HeldDeviceError } from '../../../src/engine/held-device.js';
import { EngineError } from '../../../src/errors.js';
import { FakeMemory } from './fake-memory.js';

const MIB = 2 ** 20;

function expectApart(blocks: readonly Block[]): void {
  const order = [...blocks].sort((a, b) => a.address - b.address);
  for (const [i, block] of order.entries()) {
    expect(block.address % BLOCK_ALIGNMENT).toBe(0);
    if (i > 0) expect(order[i - 1]!.address + order[i - 1]!.bytes).toBeLessThanOrEqual(block.address);
  }
}

/** Sizes to allocate; a negative number frees the block of that position. */
const script = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 * MIB }), fc.integer({ min: -50, max: -1 })), {
  maxLength: 120,
});

describe('Arena', () => {
  it('takes the smallest hole that fits and merges neighbours', () => {
    const arena = new Arena();
    arena.grow(0, 100 * 512);
    const blocks = [10, 5, 20, 5, 60].map((units) => arena.allocate(512 * units)!);
    arena.free(blocks[0]!);
    arena.free(blocks[2]!);
    expect(arena.allocate(512 * 9)!.address).toBe(blocks[0]!.address);
    expect(arena.allocate(512 * 30)).toBeUndefined();
    arena.free(blocks[1]!);
    arena.free(blocks[3]!);
    expect(arena.largestFree).toBe(512 * 31);
    expect(() => arena.free(blocks[3]!)).toThrow('twice');
  });
});

describe('DeviceAllocator', () => {
  it.each([true, false])('keeps blocks apart and backed, and gives all of it back (virtual: %s)', (isVirtual) => {
    fc.assert(
      fc.property(script, (steps) => {
        const memory = new FakeMemory(512 * MIB, isVirtual);
        const allocator = new DeviceAllocator(memory);
        const live: DeviceBlock[] = [];
        for (const step of steps) {
          if (step < 0) {
            const [block] = live.length > 0 ? live.splice(-step % live.length, 1) : [];
            if (block) allocator.free(block);
            continue;
          }
          try {
            live.push(allocator.allocate(step));
          } catch (error) {
            expect(error).toBeInstanceOf(EngineError);
            // With movable memory, only a card that is really full says no.
            const inUse = allocator.memory().bytesInUse;
            if (isVirtual) expect(inUse + step).toBeGreaterThan(512 * MIB - 40 * live.length * MIB - 64 * MIB);
          }
          expectApart(live);
          for (const block of live) expect(memory.covers(block)).toBe(true);
        }
        expect(allocator.memory().bytesInUse).toBe(live.reduce((sum, { bytes }) => sum + bytes, 0));
        for (const block of live) allocator.free(block);
        expect(allocator.memory().bytesInUse).toBe(0);
        allocator.dispose();
        expect(memory.mapped.size).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('gives a block without bytes an address, also where it is the first one', () => {
    const allocator = new DeviceAllocator(new FakeMemory(2 ** 30));
    const block = allocator.allocate(0);
    expect(block.address).toBeGreaterThan(0);
    allocator.free(block);
    expect(allocator.memory().bytesInUse).toBe(0);
  });

  it('does not wait for a device that waits for other ranks', () => {
    const memory = new FakeMemory(256 * MIB);
    const allocator = new DeviceAllocator(memory);
    const blocks = Array.from({ length: 8 }, () => allocator.allocate(32 * MIB));
    for (const i of [0, 2, 4, 6]) allocator.free(blocks[i]!);
    const held = allocator.memory().bytesInUse;
    let isHeld = true;
    allocator.isHeld = () => isHeld;
    expect(() => allocator.allocate(128 * MIB)).toThrow(HeldDeviceError);
    expect([memory.synchronized, memory.moved, allocator.memory().bytesInUse]).toEqual([0, 0, held]);
    // What fits is given at once, and the rest once the device is free.
    allocator.free(allocator.allocate(32 * MIB));
    isHeld = false;
    expect(memory.covers(allocator.allocate(128 * MIB))).toBe(true);
  });

  it('moves the memory of holes when no hole is large enough', () => {
    const memory = new FakeMemory(256 * MIB);
    const allocator = new DeviceAllocator(memory);
    const blocks = Array.from({ length: 8 }, () => allocator.allocate(32 * MIB));
    for (const i of [0, 2, 4, 6]) allocator.free(blocks[i]!);
    const large = allocator.allocate(128 * MIB);
    expect(memory.moved).toBeGreaterThanOrEqual(4);
    expect(memory.covers(large)).toBe(true);
    expectApart([large, blocks[1]!, blocks[3]!, blocks[5]!, blocks[7]!]);
    expect(memory.memoryInfo().free).toBe(0);
  });

  it('moves smaller holes in a smaller budget', () => {
    const largest = (budget: number): unknown => {
      const allocator = new DeviceAllocator(new FakeMemory(2 ** 35), budget);
      const blocks = Array.from({ length: budget / (16 * MIB) }, () => allocator.allocate(16 * MIB));
      for (let i = 0; i < 16; i += 2) allocator.free(blocks[i]!);
      return allocator.allocate(128 * MIB);
    };
    // Pieces of 4 and of 32 MiB: eight holes of 16.
    expect(largest(2 ** 30)).toMatchObject({ bytes: 128 * MIB });
    expect(() => largest(2 ** 34)).toThrow("128.00 MiB of the engine's memory is free (largest hole 16.00 MiB)");
  });

  it('keeps to the budget, and says what holds the memory and what to change', () => {
    const allocator = new DeviceAllocator(new FakeMemory(2 ** 34), 256 * MIB);
    allocator.allocate(100 * MIB, 'weights', 'weights');
    const tensor = allocator.allocate(100 * MIB);
    const attempt = (): unknown => allocator.allocate(120 * MIB, 'matrix product workspace');
    expect(attempt).toThrow(/120\.00 MiB needed for matrix product workspace; the budget is 256\.00 MiB/);
    expect(attempt).toThrow(/held: (weights 100\.00 MiB, tensors|tensors 100\.00 MiB, weights) 100\.00 MiB/);
    expect(attempt).toThrow(/hint: .*nvidia-smi.*`memoryBudget` of the engine/);
    expect(attempt).toThrow(expect.objectContaining({ code: 'ENGINE', neededBytes: 120 * MIB, limitBytes: 256 * MIB }));
    allocator.free(tensor);
    expect(allocator.allocate(120 * MIB).bytes).toBe(120 * MIB);
  });

  it('knows its limit: the budget, or what was free less a margin', () => {
    const card = (): FakeMemory => new FakeMemory(2 ** 34);
    expect(new DeviceAllocator(card(), 256 * MIB).memory().limitBytes).toBe(256 * MIB);
    const shared = card();
    shared.map(0, 2 ** 33);
    const { limitBytes } = new DeviceAllocator(shared).memory();
    expect(limitBytes).toBeLessThan(2 ** 33);
    expect(limitBytes).toBeGreaterThan(0.95 * 2 ** 33);
    expect(new DeviceAllocator(shared, 2 ** 34).memory().limitBytes).toBe(limitBytes);
  });

  it('counts the peak, and does not count cached lists', () => {
    const allocator = new DeviceAllocator(new FakeMemory(2 ** 30));
    const cached = allocator.allocate(512, CACHE);
    const block = allocator.allocate(1000);
    expect(allocator.memory()).toMatchObject({ bytesInUse: 1024, peakBytes: 1024 });
    allocator.free(block);
    allocator.resetPeak();
    expect(allocator.memory()).toMatchObject({ bytesInUse: 0, peakBytes: 0 });
    allocator.free(cached);
  });
});
