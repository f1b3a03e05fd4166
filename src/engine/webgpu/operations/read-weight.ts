/** Frozen weights widened to float32 on the device, a stretch at a time. */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { WebgpuWeight, WeightPart } from '../frozen-weight.js';
import { blocks, type TensorStore } from '../tensor-store.js';
import { weightParameters } from '../weight-reader.js';

/** Values that are widened at once. */
const STRETCH = 1 << 22;

/** As `Engine.readWeight`. */
export async function readWeight(store: TensorStore, weight: WebgpuWeight): Promise<Float32Array> {
  const values = new Float32Array(weight.rows * weight.columns);
  for (const part of weight.parts) {
    const [begin, count] = [part.firstRow * weight.columns, part.rows * weight.columns];
    for (let first = 0; first < count; first += STRETCH) {
      const n = Math.min(STRETCH, count - first);
      values.set(await widened(store, weight, part, first, n), begin + first);
    }
  }
  return values;
}

function widened(
  store: TensorStore,
  weight: WebgpuWeight,
  part: WeightPart,
  first: number,
  n: number,
): Promise<Float32Array> {
  const out = store.create([n]);
  const variant = { defines: { FORMAT: weight.format, FACTORS: part.factors !== undefined } };
  const parameters = { out: out.range, n, first, ...weightParameters(weight, part) };
  store.kernels.launch(WGSL.widen, blocks(n), parameters, variant);
  const arrival = store.download(out);
  store.release(out);
  return arrival();
}
