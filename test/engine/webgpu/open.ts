/**
 * A device for tests: of the `webgpu` package in the folder MINISTRAL_TUNE_WEBGPU (default: this project's), on a GPU, or
 * with `software` on the SwiftShader library that Chromium brings.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import type { Gpu } from '../../../src/engine/webgpu/gpu-types.js';
import { loadWebgpu, openDevice } from '../../../src/engine/webgpu/load-webgpu.js';
import { MATRIX_FLAGS } from '../../../src/engine/webgpu/matrix-unit.js';
import { WebgpuEngine } from '../../../src/engine/webgpu/webgpu-engine.js';

const SWIFTSHADER = ['/usr/lib/chromium/vk_swiftshader_icd.json'];

const folder = (): string => process.env.MINISTRAL_TUNE_WEBGPU ?? process.cwd();

/** The file that Vulkan's loader wants, if the library is here. */
export function findSwiftShader(): string | undefined {
  return [...(process.env.SWIFTSHADER ? [process.env.SWIFTSHADER] : []), ...SWIFTSHADER].find((path) =>
    existsSync(path),
  );
}

/** Why nothing can be run in software here; undefined where it can. */
export function missingForSoftware(): string | undefined {
  try {
    createRequire(join(resolve(folder()), 'index.js')).resolve('webgpu');
  } catch {
    return 'MINISTRAL_TUNE_WEBGPU does not name a folder with the package webgpu, and this project has none';
  }
  return findSwiftShader()
    ? undefined
    : `there is no SwiftShader: ${SWIFTSHADER.join(', ')}, or the file SWIFTSHADER names`;
}

/**
 * SwiftShader writes out an instruction for each value of workgroup memory that Vulkan's extension sets to zero, and needs
 * three times as long to compile a product: Dawn's own loop does the same here.
 */
const SOFTWARE_FLAGS = ['disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension'];

/** @param software on SwiftShader, if it is here */
export async function testGpu(software = true): Promise<Gpu> {
  const driver = findSwiftShader();
  if (!software || !driver) return loadWebgpu(folder(), MATRIX_FLAGS);
  process.env.VK_DRIVER_FILES = driver;
  return loadWebgpu(folder(), [...MATRIX_FLAGS, ...SOFTWARE_FLAGS]);
}

/**
 * On subgroup matrices where the device has them.
 * @param budget bytes
 * @param smallProducts also those that are not worth it, as the products of tests are small
 */
export async function openTestEngine({
  software = true,
  budget = 1 << 30,
  smallProducts = true,
} = {}): Promise<WebgpuEngine> {
  const engine = new WebgpuEngine(await openDevice(await testGpu(software)), { bytes: budget, source: 'for a test' });
  await engine.useMatrices();
  const { store } = engine;
  if (smallProducts && store.matrices) store.matrices = { ...store.matrices, leastExtent: 1 };
  return engine;
}
