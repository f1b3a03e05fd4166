/** Pixels become patches on the device. */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import { type ImagePatches, unpaddedPixels } from '../../image-patches.js';
import { blocks, type TensorStore, type WebgpuTensor } from '../tensor-store.js';

/** As `Engine.imagePatches`. */
export function imagePatches(store: TensorStore, of: ImagePatches): WebgpuTensor {
  const { images, patchSize, grids } = of;
  const columns = (images[0]?.channels ?? 0) * patchSize ** 2;
  const sizes = images.map((_, n) => grids[2 * n]! * grids[2 * n + 1]! * columns);
  const count = sizes.reduce((sum, size) => sum + size, 0);
  // Joined here: an upload of its own for each row of a padded image takes longer.
  const joined = new Float32Array(count);
  let at = 0;
  for (const n of images.keys()) {
    for (const piece of unpaddedPixels(of, n)) {
      joined.set(piece, at);
      at += piece.length;
    }
  }
  const shape = [columns === 0 ? 0 : count / columns, columns];
  const pixels = store.fromArray(joined, shape);
  const out = store.create(shape);
  let first = 0;
  for (const [n, size] of sizes.entries()) {
    const places = { n: size, first, columns, size: patchSize, across: grids[2 * n + 1]! };
    store.kernels.launch(WGSL.imagePatches, blocks(size), { out: out.range, x: pixels.range, ...places });
    first += size;
  }
  store.release(pixels);
  return out;
}
