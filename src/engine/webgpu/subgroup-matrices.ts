/**
 * Whether products run on subgroup matrices, Dawn's experimental way to tensor cores and their like: chosen when an engine
 * opens, and only after a small product on them was what plain kernels give.
 */
import { reasonOf } from '../../errors.js';
import type { GpuAdapterInfo, GpuDevice } from './gpu-types.js';
import { matrixProduct, planMatrices } from './matrix-products.js';
import { type Product, planProduct, product } from './products.js';
import type { TensorStore } from './tensor-store.js';

/** Features of the device without which there are none. */
export const MATRIX_FEATURES = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as const;
/** Of Dawn, which hides the features otherwise. */
export const MATRIX_FLAGS = ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia'] as const;

/** What a subgroup multiplies at once: f16 of M x K by K x N, with sums in float32. */
export interface MatrixUnit {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly subgroupSize: number;
  readonly maxThreads: number;
  readonly maxWorkgroupBytes: number;
  /** Products with an extent below it take other kernels. */
  readonly leastExtent: number;
  /** Of one packed operand at most; where it takes more, the product is computed by blocks of rows or columns. */
  readonly packedBytes: number;
}

const LEAST_EXTENT = 64;
const PACKED_BYTES = 64 << 20;
/** The size that is built in nearly everywhere; where a device has several, the check says whether it was it. */
const USUAL_SUBGROUP = 32;

/** The unit of a device or an adapter, or why it has none. */
export function findUnit(of: Pick<GpuDevice, 'features' | 'limits'>, info: GpuAdapterInfo): MatrixUnit | string {
  const missing = MATRIX_FEATURES.find((name) => !of.features.has(name));
  if (missing) return `no ${missing}`;
  const configs = [...(info.subgroupMatrixConfigs ?? [])].filter(
    ({ componentType, resultComponentType }) => componentType === 'f16' && resultComponentType === 'f32',
  );
  // Rows of 8 halves are what is packed together; the largest does most with a load.
  const [config] = configs
    .filter(({ M, N, K }) => [M, N, K].every((extent) => extent % 8 === 0 && extent <= 32))
    .sort((one, other) => other.M * other.N * other.K - one.M * one.N * one.K);
  if (!config) return 'none of f16 with sums in f32';
  const { M, N, K } = config;
  const { subgroupMinSize: least = USUAL_SUBGROUP, subgroupMaxSize: most = USUAL_SUBGROUP } = info;
  const { maxComputeInvocationsPerWorkgroup: maxThreads, maxComputeWorkgroupStorageSize } = of.limits;
  return {
    ...{ M, N, K, subgroupSize: Math.min(most, Math.max(least, USUAL_SUBGROUP)), maxThreads },
    ...{ maxWorkgroupBytes: maxComputeWorkgroupStorageSize, leastExtent: LEAST_EXTENT, packedBytes: PACKED_BYTES },
  };
}

/** What `findUnit` gave, in a few words. */
export function describeUnit(unit: MatrixUnit | string): string {
  if (typeof unit === 'string') return `no subgroup matrices: ${unit}`;
  return `subgroup matrices ${unit.M}x${unit.N}x${unit.K} (f16, split)`;
}

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
    if (error) fault = error.message.split('\n')[0];
  }
  if (fault === undefined) return describeUnit(unit);
  store.matrices = undefined;
  return `no ${describeUnit(unit)}: ${fault}`;
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
