import { describe, expect, it } from 'vitest';
import { Arena } from '../../../src/engine/arena.js';
import { ActivationOffload } from '../../../src/engine/cuda/activation-offload.js';
import type { DevicePointer } from '../../../src/engine/cuda/launch.js';
import type { DeviceAllocator, DeviceBlock } from '../../../src/engine/cuda/memory.js';
import { PinnedArena } from '../../../src/engine/cuda/pinned-arena.js';
import { CudaTensor, Storage } from '../../../src/engine/cuda/tensors.js';
import { OutOfMemoryError } from '../../../src/errors.js';
import { MersenneTwister } from '../../../src/random.js';
import { standInEngine } from './stand-in.js';
import { COMPUTE, TwoQueues } from './two-queues.js';

const [ROWS, COLUMNS] = [4, 64];
const BYTES = 2 * ROWS * COLUMNS;

/** A device of bytes: blocks are handed out again as soon as they are free. */
function setUp(seed: number, blocks = 8, hostBlocks = Number.POSITIVE_INFINITY) {
  const queues = new TwoQueues(seed);
  const memory = new Uint8Array(blocks * BYTES);
  const arena = new Arena();
  arena.grow(0, memory.length);
  let pinned = 0;
  const at = (address: number) => memory.subarray(address, address + BYTES);
  const driver = {
    stream: queues.stream,
    copyStream: queues.copyStream,
    createEvent: () => queues.createEvent(),
    destroyEvent: (event: number) => queues.destroyEvent(event),
    recordEvent: (event: number, stream?: number) => queues.recordEvent(event, stream),
    waitEvent: (event: number, stream?: number) => queues.waitEvent(event, stream),
    allocatePinned: (bytes: number) => {
      if (pinned + bytes > hostBlocks * BYTES) throw new OutOfMemoryError('no more pages to lock');
      pinned += bytes;
      const free = (): void => {
        pinned -= bytes;
      };
      return { bytes: new Uint8Array(bytes), free };
    },
    upload: (target: number, source: ArrayBufferView, stream = COMPUTE) => {
      queues.queues[stream]!.push({ run: () => at(target).set(source as Uint8Array) });
    },
    downloadAsync: (target: ArrayBufferView, source: number, stream = COMPUTE) => {
      queues.queues[stream]!.push({ run: () => (target as Uint8Array).set(at(source)) });
    },
  };
  const allocator = {
    allocate: (bytes: number) => {
      const inner = arena.allocate(bytes);
      if (!inner) throw new OutOfMemoryError('the device is full');
      return { address: inner.address as DevicePointer, bytes, pool: 'tensors', holder: 'tensors', inner };
    },
    free: (block: DeviceBlock) => arena.free(block.inner),
  } as Pick<DeviceAllocator, 'allocate' | 'free'>;
  const offload = new ActivationOffload(driver, allocator, 2 * BYTES);
  const compute = (run: () => void): void => void queues.queues[COMPUTE]!.push({ run });
  const make = (value: number): CudaTensor => {
    const block = allocator.allocate(BYTES);
    compute(() => void at(block.address).fill(value));
    return new CudaTensor([ROWS, COLUMNS], 'bf16', new Storage(block), block.address, COLUMNS);
  };
  const seen: number[][] = [];
  /** As the store does for an operation. */
  const use = (tensor: CudaTensor): void => {
    if (tensor.hostCopy) offload.bringBack(tensor);
    const { address } = tensor;
    compute(() => void seen.push([...new Set(at(address))]));
  };
  const drop = (tensor: CudaTensor): void => {
    offload.drop(tensor);
    if (tensor.storage && --tensor.storage.users === 0) allocator.free(tensor.storage.block);
  };
  return { queues, arena, offload, make, use, drop, seen, pinned: () => pinned };
}

describe('tensors that leave the device until backward', () => {
  it('have their values when they are used, in any order of events, and leave nothing behind', () => {
    for (let seed = 0; seed < 60; seed++) {
      const { queues, arena, offload, make, use, drop, seen, pinned } = setUp(seed);
      const random = new MersenneTwister(seed);
      const expected: number[][] = [];
      const one = (of: number): boolean => random.nextUint32() % of === 0;
      const read = (tensor: CudaTensor, value: number): void => {
        use(tensor);
        expected.push([value]);
      };
      for (let pass = 0; pass < 3; pass++) {
        const inputs: CudaTensor[] = [];
        for (let layer = 0; layer < 12; layer++) {
          const input = make(20 * pass + layer);
          inputs.push(input);
          // What a layer makes and frees lies where inputs have been.
          const temporaries = [make(250), make(251)];
          read(input, 20 * pass + layer);
          for (const tensor of temporaries) drop(tensor);
          offload.moveToHost(input);
          if (one(8)) read(inputs[layer - 1] ?? input, 20 * pass + Math.max(0, layer - 1));
          for (const tensor of inputs) if (tensor.storage) offload.moveToHost(tensor);
        }
        expect(offload.hostBytes).toBe(12 * BYTES);
        // That of the last one is free when another leaves.
        expect(arena.bytesInUse).toBe(BYTES);
        const isGivenUp = one(4);
        for (const [layer, input] of [...inputs.entries()].reverse()) {
          if (isGivenUp && layer === 5) break;
          if (layer > 0 && !one(5)) offload.prefetch(inputs[layer - 1]!);
          const temporary = make(252);
          read(input, 20 * pass + layer);
          drop(temporary);
          drop(input);
          inputs.pop();
          if (one(6)) queues.drain();
        }
        for (const input of inputs) drop(input);
        expect([arena.bytesInUse, offload.hostBytes]).toEqual([0, 0]);
      }
      queues.drain();
      expect(seen).toEqual(expected);
      // From pass to pass the same room.
      expect(pinned()).toBe(12 * BYTES);
      offload.dispose();
      expect([queues.live.size, pinned()]).toEqual([0, 0]);
    }
  });

  it('comes back without a copy if it was the last to leave', () => {
    const { queues, offload, make, use, drop, seen } = setUp(1);
    const tensor = make(7);
    const { address } = tensor;
    offload.moveToHost(tensor);
    use(tensor);
    expect(tensor.address).toBe(address);
    queues.drain();
    expect(seen).toEqual([[7]]);
    drop(tensor);
  });

  it('stays where the host has no room, or others lie in its block', () => {
    const { offload, make } = setUp(1, 8, 2);
    const tensors = [make(1), make(2), make(3)];
    for (const tensor of tensors) offload.moveToHost(tensor);
    expect(tensors.map(({ storage }) => storage === undefined)).toEqual([true, true, false]);
    const shared = make(4);
    const view = new CudaTensor([ROWS, 8], 'bf16', shared.storage, shared.address, COLUMNS);
    for (const tensor of [shared, view]) offload.moveToHost(tensor);
    expect([shared.hostCopy, view.hostCopy]).toEqual([undefined, undefined]);
  });

  it('keeps its values where the device has no room for them, and has them later', () => {
    const { queues, offload, make, use, drop, seen } = setUp(1, 2);
    const [tensor, next] = [make(1), make(2)];
    offload.moveToHost(tensor);
    offload.moveToHost(next);
    const other = make(3);
    expect(() => use(tensor)).toThrow('the device is full');
    drop(other);
    use(tensor);
    use(next);
    queues.drain();
    expect(seen).toEqual([[1], [2]]);
  });
});

describe('the cuda engine', () => {
  it('has the room of what went to host memory until it is used, and frees it there if nobody uses it', async () => {
    const { engine } = standInEngine(2 ** 30);
    const held = () => engine.memory().bytesInUse;
    const before = held();
    const [first, second] = [engine.zeros([256, 512]), engine.zeros([256, 512])];
    const bytes = (held() - before) / 2;
    for (const tensor of [first, second]) engine.moveToHost(tensor);
    // That of the last one is free when another leaves.
    expect(held() - before).toBe(bytes);
    engine.retain(first);
    engine.release(first);
    expect(held() - before).toBe(bytes);
    engine.prefetch(first);
    expect(held() - before).toBe(2 * bytes);
    expect(await engine.read(first)).toHaveLength(256 * 512);
    engine.moveToHost(first);
    expect(held() - before).toBe(bytes);
    expect(await engine.read(second)).toHaveLength(256 * 512);
    expect(held() - before).toBe(2 * bytes);
    const mark = engine.mark();
    engine.moveToHost(engine.zeros([256, 512]));
    engine.moveToHost(engine.zeros([256, 512]));
    engine.releaseSince(mark);
    for (const tensor of [first, second]) engine.release(tensor);
    expect(held()).toBe(before);
    expect(() => engine.moveToHost(first)).toThrow('is used after it was freed');
    await engine.dispose();
  });
});

describe('page-locked room', () => {
  it('is cut from slabs, which grow with what is asked for', () => {
    const sizes: number[] = [];
    const allocatePinned = (bytes: number) => {
      sizes.push(bytes);
      return { bytes: new Uint8Array(bytes), free: () => {} };
    };
    const arena = new PinnedArena({ allocatePinned }, 4096);
    const pieces = [1000, 3000, 5000].map((bytes) => arena.take(bytes));
    expect(sizes).toEqual([4096, 8192]);
    for (const [i, { bytes }] of pieces.entries()) bytes.fill(i + 1);
    expect(pieces.map(({ bytes }) => [bytes.length, new Set(bytes).size])).toEqual([
      [1000, 1],
      [3000, 1],
      [5000, 1],
    ]);
    for (const piece of pieces) arena.giveBack(piece);
    arena.take(8192);
    expect(sizes).toHaveLength(2);
  });
});
