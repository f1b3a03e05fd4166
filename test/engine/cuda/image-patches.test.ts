import { describe, expect, it, vi } from 'vitest';
import { Staging } from '../../../src/engine/cuda/staging.js';
import { recordingEngine } from '../recording-engine.js';
import { FakeCard } from './fake-card.js';

describe('CudaEngine.imagePatches', () => {
  /** Images of 1 × 3 and 2 × 1 patches of two pixels, padded by so many rows and columns. */
  const grids = Int32Array.of(1, 3, 2, 1);
  function images(rows: number, columns: number) {
    return [0, 1].map((n) => {
      const height = 2 * grids[2 * n]! + rows;
      const width = 2 * grids[2 * n + 1]! + columns;
      const pixels = new Float32Array(5 + 3 * height * width).fill(-1);
      for (let c = 0; c < 3; c++) {
        for (let y = 0; y < height - rows; y++) {
          for (let x = 0; x < width - columns; x++) {
            pixels[5 + (c * height + y) * width + x] = 1000 * n + 100 * c + 10 * y + x;
          }
        }
      }
      return { pixels, offset: 5, channels: 3, height, width };
    });
  }

  it.each([
    [0, 0],
    [3, 0],
    [1, 2],
  ])(
    'uploads images padded by %i rows and %i columns without it, and cuts each in one launch',
    async (down, across) => {
      const sent: number[] = [];
      const upload = (_: unknown, source: ArrayBufferView) => {
        sent.push(...new Float32Array(source.buffer, source.byteOffset, source.byteLength / 4));
      };
      const { engine, launches } = recordingEngine({}, { upload });
      const held = engine.memory().bytesInUse;
      const tensor = engine.imagePatches({ images: images(down, across), patchSize: 2, grids });
      expect(tensor.shape).toEqual([5, 12]);
      const whole = images(0, 0).flatMap(({ pixels }) => [...pixels.subarray(5)]);
      expect(sent).toEqual(whole);
      const cuts = launches.filter(({ name }) => name === 'image_patches').map(({ parameters }) => parameters);
      expect(cuts).toMatchObject([
        { rows: 3, columns: 12, size: 2, across: 3, ldo: 16 },
        { rows: 2, columns: 12, size: 2, across: 1, ldo: 16 },
      ]);
      // The second image lies behind the three patches of the first.
      expect(Number(cuts[1]!.x) - Number(cuts[0]!.x)).toBe(4 * 3 * 12);
      expect(Number(cuts[1]!.out) - Number(cuts[0]!.out)).toBe(2 * 3 * 16);
      engine.release(tensor);
      expect(engine.memory().bytesInUse).toBe(held);
      await engine.dispose();
    },
  );
});

describe('Staging.take', () => {
  it.each([true, false])(
    'waits for the oldest copy where many are under way, unless it waits for others: %s',
    (isHeld) => {
      const card = new FakeCard();
      const waits = vi.spyOn(card, 'synchronizeEvent');
      vi.spyOn(card, 'eventDone').mockReturnValue(false);
      const staging = new Staging(card);
      staging.isHeld = () => isHeld;
      for (let i = 0; i < 5; i++) staging.giveBack(staging.take(64 << 20));
      expect(waits).toHaveBeenCalledTimes(isHeld ? 0 : 1);
      staging.dispose();
      expect(card.pinnedBytes).toBe(0);
      expect(card.mostPinnedBytes).toBe((isHeld ? 5 : 4) * (64 << 20));
    },
  );
});

describe('Staging.uploadJoined', () => {
  it('joins arrays, across the pieces in which it uploads', () => {
    const card = new FakeCard();
    const staging = new Staging(card);
    const base = 2 ** 20;
    const MiB = 2 ** 20;
    const sources = [9 * MiB, 0, 9 * MiB + 3, 5].map((length, n) => new Uint8Array(length).fill(n + 1));
    const bytes = 18 * MiB + 8;
    staging.uploadJoined(base as never, bytes, sources);
    card.synchronize();
    expect(card.copiesOn.get(card.stream)).toBe(2);
    expect(Buffer.concat(sources).equals(card.at(base, bytes))).toBe(true);
    expect(card.at(base + bytes, 1)[0]).toBe(0);
    staging.dispose();
  });
});
