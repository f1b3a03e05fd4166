/** Images of a packed batch, dealt out so that the host can prepare some while the device computes others. */
import type { PackedImages } from './packed-images.js';

/**
 * Groups of neighbouring images with at most so many patches each, or one image. Without dropout keys: for passes that
 * nothing is learned from.
 */
export function imageGroups({ images, grids, starts, tokenRows, ...rest }: PackedImages, most: number): PackedImages[] {
  const patches = starts.at(-1)!;
  const groups: PackedImages[] = [];
  const add = (from: number, to: number): void => {
    const [first, end] = [starts[from]!, starts[to]!];
    // A merged patch takes the place of a token.
    const tokenOf = (patch: number): number => (patch * tokenRows.length) / patches;
    groups.push({
      ...{ images: images.slice(from, to), patchSize: rest.patchSize, grids: grids.slice(2 * from, 2 * to) },
      starts: starts.slice(from, to + 1).map((start) => start - first),
      tokenRows: tokenRows.slice(tokenOf(first), tokenOf(end)),
    });
  };
  let from = 0;
  for (let n = 1; n < images.length; n++) {
    if (starts[n + 1]! - starts[from]! <= most) continue;
    add(from, n);
    from = n;
  }
  add(from, images.length);
  return groups;
}
