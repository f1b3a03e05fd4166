import { describe, expect, it } from 'vitest';
import { DropoutMasks, maskBytes } from '../../../src/engine/cuda/operations/dropout-masks.js';
import { type DeviceContext, TensorStore } from '../../../src/engine/cuda/tensor-store.js';
import type { LinearPart } from '../../../src/engine/operations.js';

/** A store without a card: what is uploaded is written down. */
function recorder() {
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
    allocator,
    staging: { upload: (address: number, words: Int32Array) => uploads.push({ address, words: [...words] }) },
  } as unknown as DeviceContext;
  const store = new TensorStore(context, { rematerialize: false });
  return { store, uploads, held };
}

/** A part as far as masks go. */
function part(dropout: number, seed: number): LinearPart {
  return { weight: {}, lora: { dropout, seed } } as unknown as LinearPart;
}

describe('dropout masks on the device', () => {
  it('uploads the keys of a pass once and forgets those of old passes', () => {
    const { store, uploads } = recorder();
    const masks = new DropoutMasks(store);
    const [text, image] = [Int32Array.of(1, -2, 3), Int32Array.of(7, 8)];
    const open = (keys: Int32Array): unknown =>
      masks.open(store.create([keys.length, 48]), keys, [part(0.1, 0)], false).rowKeys;
    const used = Array.from({ length: 40 }, () => [open(text), open(image)]).flat();
    expect(uploads.map(({ words }) => words)).toEqual([
      [1, -2, 3],
      [7, 8],
    ]);
    expect(used[0]).toBe(uploads[0]!.address);
    expect(used[1]).toBe(uploads[1]!.address);
    expect(used[78]).toBe(uploads[0]!.address);
    // Others push them out, the oldest first; equal numbers in another array are other keys.
    for (let i = 0; i < 5; i++) open(text.slice());
    open(image);
    expect(uploads.length).toBe(7);
    open(text);
    expect(uploads.length).toBe(8);
  });

  it('holds few tables, and gives them back', () => {
    const { store, held } = recorder();
    const masks = new DropoutMasks(store);
    for (let i = 0; i < 20; i++) {
      const x = store.create([2, 16]);
      store.release(masks.open(x, new Int32Array(2), [part(0.5, i)], true).bits!);
      store.release(x);
    }
    expect(held.size).toBe(6);
    masks.dispose();
    expect(held.size).toBe(0);
  });

  it.each([
    [1, 5],
    [9, 16384],
    [4128, 5120],
  ])('has room for a bit of each part of %i rows of %i columns where backward reads them', (rows, columns) => {
    const { store } = recorder();
    const masks = new DropoutMasks(store);
    const [keys, parts] = [new Int32Array(rows), [part(0.25, 5), part(0, 6)]];
    const { bits } = masks.open(store.create([rows, columns]), keys, parts, true);
    expect(4 * bits!.size).toBe(2 * rows * maskBytes(columns));
    expect(masks.open(store.create([rows, columns]), keys, parts, false).bits).toBeUndefined();
  });
});
