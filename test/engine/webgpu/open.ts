/**
 * A device for tests: of the `webgpu` package in the folder MINISTRAL_TUNE_WEBGPU (default: this project's), on a GPU, or
 * with `software` on the SwiftShader library that Chromium brings.
 */
import { existsSync } from 'node:fs';
import { loadWebgpu, openDevice } from '../../../src/engine/webgpu/load-webgpu.js';
import { WebgpuEngine } from '../../../src/engine/webgpu/webgpu-engine.js';

const SWIFTSHADER = ['/usr/lib/chromium/vk_swiftshader_icd.json'];

/** The file that Vulkan's loader wants, if the library is here. */
export function findSwiftShader(): string | undefined {
  return [...(process.env.SWIFTSHADER ? [process.env.SWIFTSHADER] : []), ...SWIFTSHADER].find((path) =>
    existsSync(path),
  );
}

/** @param budget bytes */
export async function openTestEngine({ software = true, budget = 1 << 30 } = {}): Promise<WebgpuEngine> {
  const driver = findSwiftShader();
  if (software && driver) process.env.VK_DRIVER_FILES = driver;
  const gpu = await loadWebgpu(process.env.MINISTRAL_TUNE_WEBGPU ?? process.cwd());
  return new WebgpuEngine(await openDevice(gpu), { bytes: budget, source: 'for a test' });
}
