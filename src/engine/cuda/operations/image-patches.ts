/** Pixels become patches on the device: on the host it took longer than all else before the first launch of a step. */
import { KERNELS } from '../../../generated/kernel-launchers.js';
import { type ImagePatches, unpaddedPixels } from '../../image-patches.js';
import { grid2, offset } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import { type CudaTensor, ELEMENT_BYTES } from '../tensors.js';

/** As `Engine.imagePatches`, in bf16. */
export function imagePatches(store: TensorStore, of: ImagePatches): CudaTensor {
  const { images, patchSize, grids } = of;
  const columns = (images[0]?.channels ?? 0) * patchSize ** 2;
  const rows = images.map((_, n) => grids[2 * n]! * grids[2 * n + 1]!);
  const count = rows.reduce((sum, value) => sum + value, 0);
  const pixels = store.createF32([count, columns]);
  const pieces = function* (): Generator<Float32Array> {
    for (const n of images.keys()) yield* unpaddedPixels(of, n);
  };
  store.staging.uploadJoined(pixels.address, ELEMENT_BYTES.f32 * pixels.size, pieces());
  const out = store.createInput([count, columns]);
  let first = 0;
  for (const [n, patches] of rows.entries()) {
    // biome-ignore format: parameters by operand
    store.kernels.launch(KERNELS.imagePatches, grid2(patches, columns), {
      out: offset(out.address, ELEMENT_BYTES.bf16 * first * out.ld),
      x: offset(pixels.address, ELEMENT_BYTES.f32 * first * columns),
      rows: patches, columns, ldo: out.ld, size: patchSize, across: grids[2 * n + 1]!,
    });
    first += patches;
  }
  store.release(pixels);
  return out;
}
