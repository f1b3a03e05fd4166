import { describe, expect, it } from 'vitest';
import type { Kernel } from '../../../src/engine/cuda/launch.js';
import { DropoutMasks } from '../../../src/engine/cuda/operations/dropout-masks.js';
import { type DeviceContext, TensorStore } from '../../../src/engine/cuda/tensor-store.js';
import type { LinearPart } from '../../../src/engine/operations.js';

interface Launch {
  readonly name: string;
  readonly grid: readonly number[];
  readonly block: number;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** A store without a card: what is launched and uploaded is written down. */
function recorder() {
  const launches: Launch[] = [];
  const uploads: { address: number; words: number[] }[] = [];
  const held = new Set<object>();
  let next = 2 ** 40;
  const allocator = {
    allocate: (bytes: number) => {
      const block = { address: next, bytes };
      next += bytes;
      held.add(block);
      return block;
    },
    free: (block: object) => expect(held.delete(block)).toBe(true),
  };
  const context = {
    kernels: {
      launch: ({ name }: Kernel<unknown>, grid: readonly number[], parameters: Launch['parameters'], block: number) =>
        launches.push({ name, grid, block, parameters }),
    },
    allocator,
    staging: { upload: (address: number, words: Int32Array) => uploads.push({ address, words: [...words] }) },
  } as unknown as DeviceContext;
  const store = new TensorStore(context, { rematerialize: false });
  return { store, launches, uploads, held };
}

/** A part as far as masks go. */
function part(dropout: number, seed: number): LinearPart {
  return { weight: {}, lora: { dropout, seed } } as unknown as LinearPart;
}

describe('dropout masks on the device', () => {
  it('uploads the keys of a pass once and forgets those of old passes', () => {
    const { store, launches, uploads } = recorder();
    const masks = new DropoutMasks(store);
    const [text, image] = [Int32Array.of(1, -2, 3), Int32Array.of(7, 8)];
    for (let layer = 0; layer < 40; layer++) {
      for (const keys of [text, image]) {
        store.release(masks.make(store.create([keys.length, 48]), keys, [part(0.1, layer)]));
      }
    }
    expect(uploads.map(({ words }) => words)).toEqual([
      [1, -2, 3],
      [7, 8],
    ]);
    const addressOf = (launch: number): unknown => launches[launch]!.parameters.rowKeys;
    expect(addressOf(0)).toBe(uploads[0]!.address);
    expect(addressOf(1)).toBe(uploads[1]!.address);
    expect(addressOf(78)).toBe(uploads[0]!.address);
    // Others push them out, the oldest first; equal numbers in another array are other keys.
    for (let i = 0; i < 5; i++) masks.make(store.create([3, 48]), text.slice(), [part(0.1, 0)]);
    masks.make(store.create([2, 48]), image, [part(0.1, 0)]);
    expect(uploads.length).toBe(7);
    masks.make(store.create([3, 48]), text, [part(0.1, 0)]);
    expect(uploads.length).toBe(8);
  });

  it('holds few tables, and gives them back', () => {
    const { store, held } = recorder();
    const masks = new DropoutMasks(store);
    for (let i = 0; i < 20; i++) {
      const x = store.create([2, 16]);
      store.release(masks.make(x, new Int32Array(2), [part(0.5, i)]));
      store.release(x);
    }
    expect(held.size).toBe(6);
    masks.dispose();
    expect(held.size).toBe(0);
  });

  it.each([
    [1, 5, [1, 1, 2], 32],
    [4128, 5120, [1, 1032, 2], 160],
    [9, 16384, [2, 3, 2], 256],
    [300_000, 8224, [2, 65535, 2], 256],
  ])('covers %i rows of %i columns', (rows, columns, grid, block) => {
    const { store, launches } = recorder();
    const keys = new Int32Array(rows);
    const bits = new DropoutMasks(store).make(store.create([rows, columns]), keys, [part(0.25, 5), part(0, 6)]);
    const words = Math.ceil(columns / 32);
    expect(bits.size).toBe(2 * rows * words);
    const [launch] = launches;
    expect(launch).toMatchObject({ name: 'dropout_bits', grid, block });
    expect(launch!.grid[0]! * launch!.block).toBeGreaterThanOrEqual(words);
    const [seeds, thresholds] = [
      [5, 6, 0, 0],
      [2 ** 30, 0, 0, 0],
    ];
    expect(launch!.parameters).toMatchObject({ rows, K: columns, kb: 4 * words, seeds, thresholds });
  });
});
