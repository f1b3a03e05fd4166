/** The cuda engine with its driver in the caller's hands, to record events between what it queues. */
import { KernelCompiler } from '../../src/engine/cuda/compiler.js';
import { CublasLt } from '../../src/engine/cuda/cublas-lt.js';
import { CudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import type { CudaEngineOptions } from '../../src/engine/cuda/cuda-options.js';
import { CudaDriver } from '../../src/engine/cuda/driver.js';
import { KernelLoader } from '../../src/engine/cuda/kernel-loading.js';
import { Kernels } from '../../src/engine/cuda/kernels.js';
import { physicalMemory } from '../../src/engine/cuda/physical-memory.js';

export function openCuda(options: CudaEngineOptions = {}): { driver: CudaDriver; engine: CudaEngine } {
  const driver = new CudaDriver(options.device);
  const compiler = new KernelCompiler();
  const parts = {
    driver,
    memory: physicalMemory(driver),
    kernels: new Kernels(driver, compiler),
    library: new CublasLt(),
    compilerVersion: compiler.version,
    loader: new KernelLoader(driver),
  };
  return { driver, engine: new CudaEngine(parts, options) };
}
