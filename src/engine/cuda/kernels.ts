/**
 * The kernels of kernels/*.cu: signatures, compilation on first use, launch rules that several operations share.
 * kernels/README.md has the meaning of every parameter.
 */
import { EngineError } from '../../errors.js';
import { KERNEL_SOURCES } from '../../generated/cuda-kernels.js';
import type { KernelCompiler } from './compiler.js';
import type { CudaDriver, Grid, KernelFunction } from './driver.js';

/** Files, their kernels and signatures: p pointer, i int32, u uint32, l int64, f float32. */
const FILES = {
  normalization: {
    rms_norm_forward: 'ppppppiiiiiif',
    rms_norm_backward: 'ppppppiiiiii',
  },
  rotary: { rotary: 'pppppppiiiiiiiif' },
  activation: {
    gated_activation_forward: 'pppiiiiii',
    gated_activation_backward: 'ppppppiiiiiiiii',
    activation_forward: 'ppiiiii',
    activation_backward: 'pppiiiiii',
    add: 'pppiiiii',
    add_bias: 'ppiii',
    scale: 'pppfiiii',
  },
  convert: {
    copy_bf16: 'ppiiii',
    f32_to_bf16: 'ppiiii',
    f16_to_bf16: 'ppiiii',
    e4m3_to_bf16: 'ppiiiipiiiip',
    bf16_to_f32: 'ppiiii',
    add_f32: 'pppl',
    scale_f32: 'pppfl',
    fill_u32: 'pul',
  },
  rows: {
    gather_rows: 'pppiiii',
    scatter_rows: 'pppiiii',
    select_rows: 'ppppiiiii',
    merge_patches_forward: 'pppiiiii',
    merge_patches_backward: 'pppiiiii',
  },
  dropout: { dropout_bits: 'ppiiiuuuuuuuu', add_noise: 'pppiiiu' },
  lora: {
    lora_down_16: 'pppppiiiiiiiiiiiffff',
    lora_down_32: 'pppppiiiiiiiiiiiffff',
    lora_down_48: 'pppppiiiiiiiiiiiffff',
    lora_down_64: 'pppppiiiiiiiiiiiffff',
    lora_input_gradient: 'ppppiiiiiiiiiiffff',
  },
  'lora-gradient': {
    lora_refresh: 'ppi',
    lora_gradient_a: 'pppppppppiiiiiiiiiiiiiiffff',
    lora_gradient_b: 'ppppppppiiiiiiiiiiiiiiiiiffff',
    lora_finish_b: 'pppppiiiiiiiiiiffff',
  },
  'lora-backward': {
    lora_backward_16: 'pppppppppppppiiiiiiiiiiiiiiiffff',
    lora_backward_32: 'pppppppppppppiiiiiiiiiiiiiiiffff',
    lora_backward_48: 'pppppppppppppiiiiiiiiiiiiiiiffff',
    lora_backward_64: 'pppppppppppppiiiiiiiiiiiiiiiffff',
  },
  'gated-backward': {
    gated_backward_lora_16: 'pppppppppppppiiiiiiiiiiiiifi',
    gated_backward_lora_32: 'pppppppppppppiiiiiiiiiiiiifi',
  },
  'cross-entropy': {
    cross_entropy_chunk: 'pppppiiiiii',
    cross_entropy_smooth: 'ppiiiffi',
    cross_entropy_finish: 'pppppif',
    cross_entropy_gradient: 'ppppppiiiiififf',
  },
  optimizer: {
    squared_norm: 'ppl',
    largest_magnitude: 'ppp',
    clip_scale: 'ppif',
    adamw: 'pppppppffff',
    adamw8bit: 'ppppppppppppff',
  },
  generation: {
    small_linear: 'ppppppiiiiiiiiiu',
    small_linear_16: 'ppppppiiiiiiiiiu',
    small_linear_norm: 'pppppppppiiiiiiuf',
    argmax_rows: 'ppiiii',
  },
} as const satisfies Record<string, Record<string, string>>;

type FileName = keyof typeof FILES;
export type KernelName = { [F in FileName]: keyof (typeof FILES)[F] }[FileName] & string;

/** The file of each kernel. */
export const FILE_OF: ReadonlyMap<string, string> = new Map(
  Object.entries(FILES).flatMap(([file, kernels]) => Object.keys(kernels).map((name) => [name, file] as const)),
);
export const SIGNATURES: ReadonlyMap<string, string> = new Map(
  Object.values(FILES).flatMap((kernels) => Object.entries(kernels)),
);

/** grid2 of the README: blocks for a [rows, columns] pass of 1024 elements a block. */
export function grid2(rows: number, columns: number): Grid {
  return [Math.ceil(columns / 1024), Math.min(rows, 65535)];
}

/** A source that is compiled once for each set of macros. */
export interface KernelProgram {
  /** Concatenated; the last one names the program. */
  readonly files: readonly string[];
  readonly defines: Readonly<Record<string, number>>;
  /** Dynamic shared memory of a launch. */
  readonly sharedBytes: number;
  /** Compiled for this very compute capability and no later one, e.g. sm_90a. */
  readonly isSpecific: boolean;
}

function plainProgram(file: string): KernelProgram {
  return { files: ['common.cu', `${file}.cu`], defines: {}, sharedBytes: 0, isSpecific: false };
}

/** The programs that need no macros. */
export const PLAIN_PROGRAMS: readonly KernelProgram[] = Object.keys(FILES).map(plainProgram);

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

/** What operations need of the kernels; a test gives a recorder. */
export interface KernelLauncher {
  readonly multiprocessors: number;
  /** Whether card and compiler have the warpgroup products of Hopper. */
  readonly hasWarpgroups: boolean;
  run(name: KernelName, grid: Grid, block: number, values: readonly number[]): void;
  variant(program: KernelProgram, name: string): KernelFunction;
  launch(
    kernel: KernelFunction,
    grid: Grid,
    block: number,
    signature: string,
    values: readonly number[],
    sharedBytes?: number,
  ): void;
}

export class Kernels implements KernelLauncher {
  readonly multiprocessors: number;
  readonly #driver: CudaDriver;
  readonly #compiler: KernelCompiler;
  readonly #modules = new Map<string, number>();
  readonly #kernels = new Map<string, KernelFunction>();

  constructor(driver: CudaDriver, compiler: KernelCompiler) {
    this.#driver = driver;
    this.#compiler = compiler;
    this.multiprocessors = driver.device.multiprocessors;
  }

  run(name: KernelName, grid: Grid, block: number, values: readonly number[]): void {
    let kernel = this.#kernels.get(name);
    if (!kernel) {
      kernel = this.#driver.kernel(this.#module(plainProgram(FILE_OF.get(name)!)), name);
      this.#kernels.set(name, kernel);
    }
    this.#driver.launch(kernel, grid, block, SIGNATURES.get(name)!, values);
  }

  get hasWarpgroups(): boolean {
    return this.#driver.device.capability === 90 && this.#compiler.hasWarpgroups;
  }

  variant(program: KernelProgram, name: string): KernelFunction {
    // Files may hold kernels of the same name.
    const key = `${program.files.at(-1)} ${name} ${JSON.stringify(program.defines)}`;
    let kernel = this.#kernels.get(key);
    if (!kernel) {
      kernel = this.#driver.kernel(this.#module(program), name, program.sharedBytes);
      this.#kernels.set(key, kernel);
    }
    return kernel;
  }

  launch(
    kernel: KernelFunction,
    grid: Grid,
    block: number,
    signature: string,
    values: readonly number[],
    sharedBytes = 0,
  ): void {
    this.#driver.launch(kernel, grid, block, signature, values, sharedBytes);
  }

  /** Compiles programs beside what the program does meanwhile, so that the first step need not. Never fails. */
  async prepare(programs: readonly KernelProgram[]): Promise<void> {
    const { capability } = this.#driver.device;
    await Promise.all(
      programs.map(({ files, defines, isSpecific }) =>
        // What fails is tried again, and told, when the kernel is needed.
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
    this.#kernels.clear();
  }
}
