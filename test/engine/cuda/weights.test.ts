import { beforeEach, describe, expect, it } from 'vitest';
import type { Bf16Matrix } from '../../../src/engine/cuda/bf16-matrix.js';
import type { Kernel } from '../../../src/engine/cuda/launch.js';
import { DeviceAllocator, type PhysicalMemory } from '../../../src/engine/cuda/memory.js';
import { Staging } from '../../../src/engine/cuda/staging.js';
import { TensorStore } from '../../../src/engine/cuda/tensor-store.js';
import { RING_BLOCKS } from '../../../src/engine/cuda/upload-ring.js';
import { type DeviceWeight, WeightStore } from '../../../src/engine/cuda/weights.js';
import { e4m3ToNumber } from '../../../src/formats/float8.js';
import { float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../../src/formats/half-precision.js';
import { DTYPE_BYTES, type StoredDType, sizeOf, type WeightSource } from '../../../src/formats/weight-source.js';
import type { E4m3ToBf16 } from '../../../src/generated/kernel-launchers.js';

const BASE = 2 ** 20;
const DEVICE_BYTES = 64 << 20;
/** Bytes of a piece; weights of up to a 32nd of it are small. */
const PIECE = 64 << 10;

/** Queued work with the events that it waits for and that it fires. */
type Work = { readonly run: () => void } | { readonly fires: number; readonly count: number } | Wait;
type Wait = { readonly waits: number; readonly count: number };

/**
 * A card whose memory is an array. Each stream runs its work in order, a piece of it whenever the host asks how far an
 * event is; one of them lags behind. So work that lacks an ordering happens too early or too late.
 */
class FakeCard {
  readonly stream = 1;
  readonly copyStream = 2;
  readonly memory = new Uint8Array(DEVICE_BYTES);
  readonly queues = new Map<number, Work[]>([
    [1, []],
    [2, []],
  ]);
  /** How often each event was recorded, and how often it has fired. */
  readonly recorded = new Map<number, number>();
  readonly fired = new Map<number, number>();
  pinnedBytes = 0;
  mostPinnedBytes = 0;
  copiesOn = new Map<number, number>();
  /** The stream that moves only when it must. */
  lazy = this.stream;
  #events = 0;
  /** The stream on which each event was recorded last. */
  readonly #home = new Map<number, number>();

  at(address: number, bytes: number): Uint8Array {
    return this.memory.subarray(address - BASE, address - BASE + bytes);
  }

  allocatePinned(bytes: number): { bytes: Uint8Array; free(): void } {
    this.pinnedBytes += bytes;
    this.mostPinnedBytes = Math.max(this.mostPinnedBytes, this.pinnedBytes);
    return {
      bytes: new Uint8Array(bytes),
      free: () => {
        this.pinnedBytes -= bytes;
      },
    };
  }

  createEvent = (): number => ++this.#events;
  destroyEvent(): void {}

  recordEvent(event: number, stream = this.stream): void {
    const count = (this.recorded.get(event) ?? 0) + 1;
    this.recorded.set(event, count);
    this.#home.set(event, stream);
    this.queues.get(stream)!.push({ fires: event, count });
  }

  waitEvent(event: number, stream = this.stream): void {
    this.queues.get(stream)!.push({ waits: event, count: this.recorded.get(event) ?? 0 });
  }

  eventDone(event: number): boolean {
    const eager = this.lazy === this.stream ? this.copyStream : this.stream;
    const isBlocked = !this.#step(eager) && this.queues.get(eager)!.length > 0;
    if (isBlocked || this.#home.get(event) === this.lazy) this.#step(this.lazy);
    return this.#isPast(event);
  }

  synchronizeEvent(event: number): void {
    while (!this.#isPast(event)) if (!this.#step(this.stream) && !this.#step(this.copyStream)) throw new Error('stuck');
  }

  synchronize(): void {
    while (this.#step(this.stream) || this.#step(this.copyStream));
    expect([...this.queues.values()].map((queue) => queue.length)).toEqual([0, 0]);
  }

  /** Queues a copy; the source is read only when the copy runs. */
  upload(target: number, source: ArrayBufferView, stream = this.stream): void {
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    this.copiesOn.set(stream, (this.copiesOn.get(stream) ?? 0) + 1);
    this.#queue(stream, () => this.at(target, bytes.length).set(bytes));
  }

  uploadRows(target: number, pitch: number, source: Uint8Array, rowBytes: number, rows: number, stream = 1): void {
    this.copiesOn.set(stream, (this.copiesOn.get(stream) ?? 0) + 1);
    this.#queue(stream, () => {
      for (let row = 0; row < rows; row++) {
        this.at(target + row * pitch, rowBytes).set(source.subarray(row * rowBytes, (row + 1) * rowBytes));
      }
    });
  }

  downloadAsync(target: ArrayBufferView, source: number): void {
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    this.#queue(this.stream, () => bytes.set(this.at(source, bytes.length)));
  }

  fillBytes(target: number, value: number, bytes: number): void {
    this.#queue(this.stream, () => this.at(target, bytes).fill(value));
  }

  clearRows(target: number, pitch: number, rowBytes: number, rows: number): void {
    this.#queue(this.stream, () => {
      for (let row = 0; row < rows; row++) this.at(target + row * pitch, rowBytes).fill(0);
    });
  }

  copy(): void {}
  copyRows(): void {}

  /** The conversion kernels, on the compute stream. */
  run(name: string, parameters: E4m3ToBf16): void {
    const { out, x, rows, columns, ldo, ldx } = parameters;
    const size = name === 'f32_to_bf16' ? 4 : name === 'f16_to_bf16' ? 2 : 1;
    this.#queue(this.stream, () => {
      for (let row = 0; row < rows; row++) {
        const stored = this.at(x + size * row * ldx, size * columns).slice().buffer;
        let numbers: Float32Array;
        if (size === 4) numbers = new Float32Array(stored);
        else if (size === 2) numbers = float16ToFloat32(new Uint16Array(stored));
        else {
          const { factors, first, blockRows, blockColumns, across, flag } = parameters;
          numbers = Float32Array.from(new Uint8Array(stored), (code, column) => {
            if ((code & 0x7f) === 0x7f) this.at(flag, 4).set([1, 0, 0, 0]);
            const block = Math.floor((first + row) / blockRows) * across + Math.floor(column / blockColumns);
            const factor = new Float32Array(this.at(factors + 4 * block, 4).slice().buffer)[0]!;
            return e4m3ToNumber(code) * factor;
          });
        }
        this.at(out + 2 * row * ldo, 2 * columns).set(new Uint8Array(float32ToBfloat16(numbers).buffer));
      }
    });
  }

  #queue(stream: number, run: () => void): void {
    this.queues.get(stream)!.push({ run });
  }

  #isPast(event: number): boolean {
    return (this.fired.get(event) ?? 0) >= (this.recorded.get(event) ?? 0);
  }

  /** Runs the next piece of a stream; false if there is none or it has to wait. */
  #step(stream: number): boolean {
    const queue = this.queues.get(stream)!;
    const work = queue[0];
    if (!work) return false;
    if ('waits' in work && (this.fired.get(work.waits) ?? 0) < work.count) return false;
    queue.shift();
    if ('run' in work) work.run();
    else if ('fires' in work) {
      this.fired.set(work.fires, Math.max(work.count, this.fired.get(work.fires) ?? 0));
    }
    return true;
  }
}

/** Slabs of the card's array. */
function physical(card: FakeCard): PhysicalMemory {
  let next = BASE;
  return {
    isVirtual: false,
    granularity: 4096,
    reserve: () => 0,
    map: (_, bytes) => {
      const address = next;
      next += bytes;
      if (next > BASE + DEVICE_BYTES) throw new Error('the test needs a larger card');
      return { address, handle: address };
    },
    move: () => {},
    release: () => {},
    dispose: () => {},
    synchronize: () => card.synchronize(),
    memoryInfo: () => ({ free: DEVICE_BYTES, total: DEVICE_BYTES }),
  };
}

let card: FakeCard;
let allocator: DeviceAllocator;
let weights: WeightStore;
beforeEach(() => {
  card = new FakeCard();
  allocator = new DeviceAllocator(physical(card));
  const staging = new Staging(card);
  const kernels = {
    multiprocessors: 1,
    hasWarpgroups: false,
    launch: ({ name }: Kernel<never>, _grid: unknown, parameters: unknown) => card.run(name, parameters as E4m3ToBf16),
  };
  const products = { run: () => {} };
  const store = new TensorStore({ driver: card, kernels, allocator, products, staging }, { rematerialize: true });
  weights = new WeightStore(store, card, staging, 16, PIECE);
});

interface Stored {
  readonly source: WeightSource;
  readonly expected: Uint16Array;
}

let reading = 0;
let mostReading = 0;

/** A weight of pseudo-random numbers, and what the device should hold. */
function stored(name: string, shape: readonly number[], dtype: StoredDType, seed: number): Stored {
  const size = sizeOf(shape);
  let bytes: Uint8Array;
  let expected: Uint16Array;
  const number = (i: number): number => (((i + seed) * 2654435761) % 4096) / 1024 - 2;
  const block = [Math.ceil(shape[0]! / 3), Math.ceil((shape[1] ?? 1) / 2)] as const;
  const across = Math.ceil((shape[1] ?? 1) / block[1]);
  const factors = Float32Array.from({ length: across * Math.ceil(shape[0]! / block[0]) }, (_, i) => 0.5 + i / 8);
  if (dtype === 'f8_e4m3') {
    bytes = Uint8Array.from({ length: size }, (_, i) => ((i * 31 + seed) % 127) | ((i & 1) << 7));
    const columns = shape[1]!;
    const products = Float32Array.from(bytes, (code, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      return e4m3ToNumber(code) * factors[Math.floor(row / block[0]) * across + Math.floor(column / block[1])]!;
    });
    expected = float32ToBfloat16(products);
  } else {
    const numbers = Float32Array.from({ length: size }, (_, i) => number(i));
    expected = float32ToBfloat16(numbers);
    const held = dtype === 'f32' ? numbers : dtype === 'bf16' ? expected : float32ToFloat16(numbers);
    bytes = new Uint8Array(held.buffer);
    if (dtype === 'f16') expected = float32ToBfloat16(float16ToFloat32(held as Uint16Array));
  }
  const read = async (target: Uint8Array, offset = 0): Promise<void> => {
    mostReading = Math.max(mostReading, ++reading);
    await new Promise((resolve) => setTimeout(resolve, (offset + seed) % 3));
    target.set(bytes.subarray(offset, offset + target.length));
    reading--;
  };
  const scale = dtype === 'f8_e4m3' ? { block, read: async () => factors } : undefined;
  return { source: { name, shape, dtype, byteLength: size * DTYPE_BYTES[dtype], scale, read }, expected };
}

/** The own columns of a weight, and whether the padding and the spare ones are zero. */
function held(weight: DeviceWeight): { numbers: Uint16Array; isPadded: boolean } {
  const { matrix, row: first, rows, columns } = weight;
  const pitch = 2 * matrix.adapterAt(first).ld;
  const numbers = new Uint16Array(rows * columns);
  let isPadded = true;
  for (let row = 0; row < rows; row++) {
    const line = new Uint16Array(card.at((matrix as Bf16Matrix).address(first + row), pitch).slice().buffer);
    numbers.set(line.subarray(0, columns), row * columns);
    isPadded &&= line.subarray(columns).every((value) => value === 0);
  }
  return { numbers, isPadded };
}

const bytesOf = (array: Uint16Array): Buffer => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

describe('WeightStore', () => {
  it.each([1, 2])('streams weights of every format and size at once into their rows (stream %i lags)', async (lazy) => {
    card.lazy = lazy;
    const shapes: [readonly number[], StoredDType][] = [
      [[40], 'bf16'],
      [[5, 13], 'f32'],
      [[900, 203], 'bf16'],
      [[7], 'f32'],
      [[410, 205], 'f32'],
      [[6, 24], 'f8_e4m3'],
      [[2011, 177], 'f8_e4m3'],
      [[409, 150], 'f16'],
      [[3, 8], 'bf16'],
    ];
    const all = shapes.map(([shape, dtype], i) => stored(`w${i}`, shape, dtype, i));
    const loaded = await Promise.all(all.map(({ source }) => weights.load(source)));
    card.synchronize();
    for (const [i, weight] of loaded.entries()) {
      const { numbers, isPadded } = held(weight);
      expect([weight.name, bytesOf(numbers).equals(bytesOf(all[i]!.expected)), isPadded]).toEqual([
        `w${i}`,
        true,
        true,
      ]);
    }
    expect(loaded.map(({ dtype }) => dtype).slice(4, 8)).toEqual(['f32', 'bf16', 'bf16', 'f16']);
    expect(mostReading).toBeGreaterThan(3);
    // The ring is given back; small blocks stay.
    expect(card.mostPinnedBytes).toBeLessThan(RING_BLOCKS * PIECE + (64 << 10));
    expect(card.pinnedBytes).toBeLessThan(64 << 10);
    // Only large weights use the copy stream.
    expect(card.copiesOn.get(card.copyStream)).toBe(6 + 6 + 6 + 2);
    for (const weight of loaded) weights.release(weight);
    expect(allocator.memory().bytesInUse).toBe(0);
    await weights.dispose();
  });

  it.each(['bf16', 'f32'] as const)('lets nothing be written over when the compute stream lags (%s)', async (dtype) => {
    const all = [1, 2, 3].map((seed) => stored(`w${seed}`, [700, 300], dtype, seed));
    // Something that is still to write into the memory that the weights get, and into that beside the blocks.
    for (const pool of ['weights', 'tensors'] as const) {
      const before = allocator.allocate(2 << 20, 'before', pool);
      card.fillBytes(before.address, 0xff, before.bytes);
      allocator.free(before);
    }
    const loaded = await Promise.all(all.map(({ source }) => weights.load(source)));
    card.synchronize();
    for (const [i, weight] of loaded.entries()) {
      expect(bytesOf(held(weight).numbers).equals(bytesOf(all[i]!.expected))).toBe(true);
    }
  });

  it('puts large parts of a stack below each other, loaded in any order', async () => {
    const parts = [0, 1, 2].map((i) => stored(`part${i}`, [200, 600], 'bf16', i));
    const sources = parts.map(({ source }, i) => ({ ...source, stack: { name: 'qkv', row: 200 * i, rows: 600 } }));
    const loaded = await Promise.all([...sources].reverse().map((source) => weights.load(source)));
    card.synchronize();
    loaded.reverse();
    expect(new Set(loaded.map(({ matrix }) => matrix)).size).toBe(1);
    for (const [i, weight] of loaded.entries()) {
      expect(bytesOf(held(weight).numbers).equals(bytesOf(parts[i]!.expected))).toBe(true);
    }
  });

  it('gives everything back when a read fails, and goes on with the next weight', async () => {
    const good = stored('good', [900, 203], 'bf16', 1);
    const bad = stored('bad', [1200, 800], 'bf16', 2);
    let reads = 0;
    const read = async (): Promise<void> => {
      if (++reads === 2) throw new Error('bad sector');
      await new Promise((resolve) => setTimeout(resolve, 2));
    };
    const results = await Promise.allSettled([
      weights.load({ ...bad.source, read }),
      weights.load(good.source),
      weights.load({ ...stored('short', [9], 'f16', 3).source, byteLength: 17 }),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    expect((results[0] as PromiseRejectedResult).reason.message).toBe('bad sector');
    const weight = (results[1] as PromiseFulfilledResult<DeviceWeight>).value;
    card.synchronize();
    expect(bytesOf(held(weight).numbers).equals(bytesOf(good.expected))).toBe(true);
    weights.release(weight);
    expect(allocator.memory().bytesInUse).toBe(0);
    expect(card.pinnedBytes).toBeLessThan(64 << 10);
  });

  it.each([
    [8, 24],
    [140, 1000],
  ])('refuses 8-bit floats that are NaN, in [%i, %i]', async (rows, columns) => {
    const { source } = stored('damaged', [rows, columns], 'f8_e4m3', 0);
    const read = async (target: Uint8Array, offset?: number): Promise<void> => {
      await source.read(target, offset);
      target[target.length - 2] = 0x7f;
    };
    await expect(weights.load({ ...source, read })).rejects.toThrow('damaged: its 8-bit floats hold the code');
    await expect(weights.load({ ...source, scale: undefined })).rejects.toThrow('damaged: 8-bit floats came without');
    expect(allocator.memory().bytesInUse).toBe(0);
  });
});
