/** Finds the `webgpu` package in the user's own project, and opens a device; this package does not depend on it. */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { requirePath } from '../../config.js';
import { ConfigError, EngineError, reasonOf } from '../../errors.js';
import { describeGiven } from '../../messages/given-kind.js';
import type { Gpu, GpuAdapter, GpuAdapterInfo, GpuDevice, GpuLimits } from './gpu-types.js';
import { MATRIX_FEATURES } from './matrix-unit.js';

const INSTALL = 'npm install webgpu (Dawn: Metal, Vulkan, Direct3D 12; 132 MB)';

/** What the engine asks the device for where the adapter offers more than WebGPU's defaults. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupsPerDimension',
] as const satisfies readonly (keyof GpuLimits)[];
const FEATURES = ['subgroups', 'timestamp-query'] as const;

/** A device, with the adapter's description of itself. */
export interface OpenDevice {
  readonly device: GpuDevice;
  readonly info: GpuAdapterInfo;
  /** Held as long as the device: collected before it, nothing that was asked for is answered any more. */
  readonly gpu?: Gpu | undefined;
  /** Computes on the processor. */
  readonly isSoftware: boolean;
  /** The user's own: not destroyed with the engine. */
  readonly isBorrowed?: boolean | undefined;
}

/**
 * The GPU object of the `webgpu` package, as `navigator.gpu` of a browser: for
 * `createEngine('webgpu', { device })` with a device of your own. Keep it as long as the device: collected before it,
 * nothing that was asked for is answered.
 * @param from folder of the project whose node_modules holds it. Default: the working directory
 * @param flags of Dawn, e.g. `backend=vulkan`
 * @throws ConfigError for flags that are no list of strings
 * @throws EngineError if it is not installed or cannot be loaded
 */
export async function loadWebgpu(from: string = process.cwd(), flags: readonly string[] = []): Promise<Gpu> {
  requirePath(from, 'loadWebgpu: `from`');
  if (!Array.isArray(flags) || !flags.every((flag) => typeof flag === 'string')) {
    throw new ConfigError(`loadWebgpu: \`flags\`: expected a list of strings, got ${describeGiven(flags)}`, {
      hint: "They are Dawn's, e.g. ['backend=vulkan'].",
    });
  }
  let path: string;
  try {
    path = createRequire(resolve(from, 'index.js')).resolve('webgpu');
  } catch {
    throw new EngineError(`the package webgpu is not installed for ${from}`, { hint: INSTALL, details: { from } });
  }
  try {
    const { create } = (await import(pathToFileURL(path).href)) as { create(flags: readonly string[]): Gpu };
    return create(flags);
  } catch (cause) {
    throw new EngineError(`webgpu is installed but cannot be loaded: ${reasonOf(cause)}`, { hint: INSTALL, cause });
  }
}

/**
 * The fastest adapter.
 * @throws EngineError if there is none
 */
export async function findAdapter(gpu: Gpu): Promise<GpuAdapter> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    throw new EngineError('WebGPU finds no GPU here', {
      hint:
        'On Linux it needs a Vulkan driver and libvulkan1 (apt-get install libvulkan1), in a container also ' +
        'VK_DRIVER_FILES at the driver\'s file. createEngine("cpu") runs everywhere.',
    });
  }
  return adapter;
}

/**
 * The fastest adapter's device, with all that it offers.
 * @throws EngineError if there is none, or it gives no device
 */
export async function openDevice(gpu: Gpu): Promise<OpenDevice> {
  const adapter = await findAdapter(gpu);
  const requiredFeatures: string[] = FEATURES.filter((name) => adapter.features.has(name));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  const matrixFeatures = MATRIX_FEATURES.filter(
    (name) => adapter.features.has(name) && !requiredFeatures.includes(name),
  );
  let device: GpuDevice;
  try {
    device = await adapter
      .requestDevice({ requiredFeatures: [...requiredFeatures, ...matrixFeatures], requiredLimits })
      // An experiment that fails costs nobody the engine.
      .catch(async (cause) => {
        if (matrixFeatures.length === 0) throw cause;
        // An adapter that was asked once may not answer again.
        return (await findAdapter(gpu)).requestDevice({ requiredFeatures, requiredLimits });
      });
  } catch (cause) {
    throw new EngineError(`WebGPU gives no device of ${adapter.info?.description || 'the GPU'}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  return { device, gpu, info: adapter.info ?? {}, isSoftware: adapterIsSoftware(adapter) };
}

/** Whether it computes on the processor. */
export function adapterIsSoftware({ info, isFallbackAdapter }: GpuAdapter): boolean {
  return (
    isFallbackAdapter === true ||
    info?.isFallbackAdapter === true ||
    /swiftshader|llvmpipe|lavapipe/i.test(`${info?.architecture} ${info?.description}`)
  );
}
