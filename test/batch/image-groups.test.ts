import { describe, expect, it } from 'vitest';
import { imageGroups } from '../../src/batch/image-groups.js';
import { type PackedImages, patchesLength, writePatches } from '../../src/batch/packed-images.js';

/** Images of the given grids, four patches a token, with a pixel a patch. */
function packed(grids: readonly (readonly [number, number])[]): PackedImages {
  const starts = [0];
  for (const [rows, columns] of grids) starts.push(starts.at(-1)! + rows * columns);
  return {
    images: grids.map(([height, width], n) => {
      const pixels = Float32Array.from({ length: height * width }, (_, i) => 100 * n + i);
      return { pixels, offset: 0, channels: 1, height, width };
    }),
    patchSize: 1,
    grids: Int32Array.from(grids.flat()),
    starts: Int32Array.from(starts),
    tokenRows: Int32Array.from({ length: starts.at(-1)! / 4 }, (_, i) => 3 * i + 1),
  };
}

function patchesOf(images: PackedImages): number[] {
  const patches = new Float32Array(patchesLength(images));
  writePatches(images, patches);
  return [...patches];
}

describe('imageGroups', () => {
  const all = packed([
    [2, 2],
    [4, 2],
    [6, 4],
    [2, 4],
    [2, 2],
  ]);

  it.each([
    [1, [1, 1, 1, 1, 1]],
    [12, [2, 1, 2]],
    [32, [2, 2, 1]],
    [1000, [5]],
  ])('takes neighbours of up to %i patches together', (most, sizes) => {
    const groups = imageGroups(all, most);
    expect(groups.map(({ images }) => images.length)).toEqual(sizes);
    expect(groups.flatMap(patchesOf)).toEqual(patchesOf(all));
    expect(groups.flatMap(({ tokenRows }) => [...tokenRows])).toEqual([...all.tokenRows]);
    for (const group of groups) {
      expect(group.starts[0]).toBe(0);
      expect(group.starts.at(-1)).toBe(4 * group.tokenRows.length);
    }
  });
});
