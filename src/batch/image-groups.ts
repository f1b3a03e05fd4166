/** Splits the images of a packed batch, so that the host writes one group while the device computes another. */
import type { PackedImages } from './packed-images.js';

/**
 * Consecutive images in groups of at most `maxPatches` patches; a larger image is a group of its own. Dropout keys are
 * left out: for inference only.
 */
export function imageGroups(
  { images, grids, starts, tokenRows, ...rest }: PackedImages,
  maxPatches: number,
): PackedImages[] {
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
    if (starts[n + 1]! - starts[from]! <= maxPatches) continue;
    add(from, n);
    from = n;
  }
  add(from, images.length);
  return groups;
}
