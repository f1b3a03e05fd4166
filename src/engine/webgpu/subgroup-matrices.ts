/**
 * Whether products run on subgroup matrices: chosen when an engine opens, and only after a small product on them was what
 * plain kernels give.
 */
import { reasonOf } from '../../errors.js';
import type { GpuAdapterInfo, GpuDevice } from './gpu-types.js';
import { matrixProduct, planMatrices } from './matrix-products.js';
import { describeUnit, findUnit, type MatrixUnit } from './matrix-unit.js';
import type { Product } from './product.js';
import { planProduct, product } from './products.js';
import type { TensorStore } from './tensor-store.js';

/**
 * Lets the store's products run on subgroup matrices, where the device has them and they compute what they should.
 * @returns a few words on it
 */
export async function useMatrices(store: TensorStore, device: GpuDevice, info: GpuAdapterInfo): Promise<string> {
  const unit = findUnit(device, info);
  if (typeof unit === 'string') return describeUnit(unit);
  store.matrices = unit;
  // What a driver makes of experimental kernels is not the engine's failure.
  for (const filter of ['validation', 'internal'] as const) device.pushErrorScope(filter);
  let fault: string | undefined;
  try {
    fault = await differences(store, unit);
  } catch (error) {
    fault = reasonOf(error);
  }
  for (let i = 0; i < 2; i++) {
    const error = await device.popErrorScope().catch(() => undefined);
    if (error) fault = firstLine(error.message);
  }
  if (fault === undefined) return describeUnit(unit);
  store.matrices = undefined;
  return `no ${describeUnit(unit)}: ${fault}`;
}

/** A compiler's message has many. */
function firstLine(message: string): string {
  return message.split('\n', 1)[0]!;
}

/** Of the largest sum: without the low halves it is ten times as much. */
const TOLERANCE = 1e-5;

/** Compares a product with that of the plain kernels. */
async function differences(store: TensorStore, unit: MatrixUnit): Promise<string | undefined> {
  const [m, n, k] = [132, 136, 264];
  const values = (size: number, seed: number): Float32Array =>
    Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i) * 2 ** ((i % 5) - 2));
  const [a, b] = [store.fromArray(values(m * k, 1), [m, k]), store.fromArray(values(n * k, 2), [n, k])];
  const [sums, expected] = [store.create([m, n]), store.create([m, n])];
  const what: Product = { m, n, k, a: { range: a.range }, b: b.range, transB: true, c: { range: sums.range } };
  try {
    const plan = planMatrices(what, unit);
    if (!plan) return 'no tile fits the workgroup memory';
    matrixProduct(store, what, plan);
    product(store, { ...what, c: { range: expected.range } }, planProduct(what));
    const [found, plain] = await Promise.all([store.download(sums)(), store.download(expected)()]);
    let [worst, largest] = [0, 0];
    for (let i = 0; i < plain.length; i++) {
      const difference = Math.abs(found[i]! - plain[i]!);
      if (!(difference <= worst)) worst = difference;
      largest = Math.max(largest, Math.abs(plain[i]!));
    }
    if (largest === 0) return 'the check computed nothing';
    if (worst <= TOLERANCE * largest) return undefined;
    return `they differ from plain products by ${worst.toExponential(1)} where those are ${largest.toFixed(1)} at most`;
  } finally {
    for (const tensor of [a, b, sums, expected]) store.release(tensor);
  }
}
