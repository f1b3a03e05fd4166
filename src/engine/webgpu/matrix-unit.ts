/** Subgroup matrices, Dawn's experimental way to tensor cores and their like: which of them a device has. */
import type { GpuAdapterInfo, GpuDevice } from './gpu-types.js';

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
