/** Splits the images of a packed batch, so that the host writes one group while the device computes another. */
import { type PackedImages, sliceImages } from './packed-images.js';

/** Consecutive images in groups of at most `maxPatches` patches; a larger image is a group of its own. */
export function imageGroups(packed: PackedImages, maxPatches: number): PackedImages[] {
  const { images, starts, tokenRows } = packed;
  const patches = starts.at(-1)!;
  // A merged patch takes the place of a token.
  const tokenOf = (image: number): number => (starts[image]! * tokenRows.length) / patches;
  const groups: PackedImages[] = [];
  const add = (from: number, to: number): void => {
    groups.push(sliceImages(packed, [from, to], [tokenOf(from), tokenOf(to)], 0));
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
