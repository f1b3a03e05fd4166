/** The kernels of kernels/*.cu: compiled on first use, or before it. */
import { EngineError } from '../../errors.js';
import { KERNEL_SOURCES } from '../../generated/cuda-kernels.js';
import { KERNELS, PROGRAMS } from '../../generated/kernel-launchers.js';
import type { KernelCompiler } from './compiler.js';
import type { CudaDriver, KernelFunction } from './driver.js';
import type { Grid, Kernel, KernelLauncher, KernelProgram } from './launch.js';

/** The programs that need no macros. */
export const PLAIN_PROGRAMS: readonly KernelProgram[] = Object.values(PROGRAMS);

export function plainKernels(): Kernel<unknown>[] {
  return Object.values(KERNELS).flatMap((kernel) =>
    'program' in kernel ? [kernel] : 'pack' in kernel ? [] : Object.values(kernel),
  ) as Kernel<unknown>[];
}

function nameOf(files: KernelProgram['files']): string {
  return files.at(-1)!.replace(/\.cu$/, '');
}

function sourceOf(files: KernelProgram['files']): string {
  const texts = files.map((file) => {
    const text = KERNEL_SOURCES[file];
    if (text === undefined) throw new EngineError(`the CUDA source ${file} is not in this build`);
    return text;
  });
  return texts.join('\n');
}

export class Kernels implements KernelLauncher {
  readonly multiprocessors: number;
  readonly #driver: CudaDriver;
  readonly #compiler: KernelCompiler;
  readonly #modules = new Map<string, number>();
  readonly #functions = new Map<unknown, KernelFunction>();

  constructor(driver: CudaDriver, compiler: KernelCompiler) {
    this.#driver = driver;
    this.#compiler = compiler;
    this.multiprocessors = driver.device.multiprocessors;
  }

  get hasWarpgroups(): boolean {
    return this.#driver.device.capability === 90 && this.#compiler.hasWarpgroups;
  }

  launch<P>(kernel: Kernel<P>, grid: Grid, parameters: P, block = kernel.block): void {
    const { name, program } = kernel;
    let known = this.#functions.get(kernel);
    if (!known) {
      known = this.#driver.kernel(this.#module(program), name, program.sharedBytes);
      this.#functions.set(kernel, known);
    }
    kernel.pack(this.#driver.parameters, parameters);
    this.#driver.launch(known, grid, block, program.sharedBytes);
  }

  /** Compiles programs beside what the program does meanwhile, so that the first step need not. Never fails. */
  async prepare(programs: readonly KernelProgram[]): Promise<void> {
    const { capability } = this.#driver.device;
    await Promise.all(
      programs.map(({ files, defines, isSpecific }) =>
        // What fails is tried again when the kernel is needed, and throws there.
        this.#compiler.prepare(nameOf(files), sourceOf(files), capability, defines, isSpecific).catch(() => undefined),
      ),
    );
  }

  #module({ files, defines, isSpecific }: KernelProgram): number {
    const name = nameOf(files);
    const key = `${name} ${JSON.stringify(defines)}`;
    let module = this.#modules.get(key);
    if (module === undefined) {
      const { capability } = this.#driver.device;
      const code = this.#compiler.compile(name, sourceOf(files), capability, defines, isSpecific);
      module = this.#driver.loadModule(code);
      this.#modules.set(key, module);
    }
    return module;
  }

  dispose(): void {
    for (const module of this.#modules.values()) this.#driver.call('cuModuleUnload', ['uint64'], module);
    this.#modules.clear();
    this.#functions.clear();
  }
}
