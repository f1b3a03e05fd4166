import { beforeEach, describe, expect, it } from 'vitest';
import type { Bf16Matrix } from '../../../src/engine/cuda/bf16-matrix.js';
import type { Kernel } from '../../../src/engine/cuda/launch.js';
import { DeviceAllocator } from '../../../src/engine/cuda/memory.js';
import { Staging } from '../../../src/engine/cuda/staging.js';
import { TensorStore } from '../../../src/engine/cuda/tensor-store.js';
import { RING_BLOCKS } from '../../../src/engine/cuda/upload-ring.js';
import { type DeviceWeight, WeightStore } from '../../../src/engine/cuda/weights.js';
import { e4m3ToNumber } from '../../../src/formats/float8.js';
import { float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../../src/formats/half-precision.js';
import { DTYPE_BYTES, type StoredDType, sizeOf, type WeightSource } from '../../../src/formats/weight-source.js';
import type { E4m3ToBf16 } from '../../../src/generated/kernel-launchers.js';
import { FakeCard, physical } from './fake-card.js';

/** Bytes of a piece; weights of up to a 32nd of it are small. */
const PIECE = 64 << 10;

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
