/** Whether tests can run on SwiftShader through the `webgpu` package here. */
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { findSwiftShader } from './open.js';

/** What is missing; undefined if nothing is. */
export function missingForWebgpu(folder = process.env.MINISTRAL_TUNE_WEBGPU ?? process.cwd()): string | undefined {
  try {
    createRequire(join(resolve(folder), 'index.js')).resolve('webgpu');
  } catch {
    return 'MINISTRAL_TUNE_WEBGPU does not name a folder with the package webgpu';
  }
  return findSwiftShader() ? undefined : 'SWIFTSHADER does not name the driver file of SwiftShader';
}
