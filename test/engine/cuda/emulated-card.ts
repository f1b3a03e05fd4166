/**
 * The `cuda` engine on a card that g++ makes of the kernels' own sources: card/emulation/ stands in for the CUDA language
 * and its PTX, host memory for device memory, plain loops for cuBLASLt. Everything is done at once, in order.
 */
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { KernelCompiler } from '../../../src/engine/cuda/compiler.js';
import type { E4m3Scales } from '../../../src/engine/cuda/cublas-lt.js';
import { CudaEngine, type CudaParts, type EngineDriver } from '../../../src/engine/cuda/cuda-engine.js';
import type { CudaEngineOptions } from '../../../src/engine/cuda/cuda-options.js';
import type { CudaDriver } from '../../../src/engine/cuda/driver.js';
import { type ForeignLibrary, foreignCalls } from '../../../src/engine/cuda/foreign-calls.js';
import { Kernels, PLAIN_PROGRAMS } from '../../../src/engine/cuda/kernels.js';
import { ParameterBlock } from '../../../src/engine/cuda/launch.js';
import type { PhysicalMemory } from '../../../src/engine/cuda/memory.js';
import { KERNEL_SOURCES } from '../../../src/generated/cuda-kernels.js';

const FOLDER = new URL('./card/emulation/', import.meta.url);
const BUILD = join(tmpdir(), 'ministral-tune-emulated-card');
const OPTIONS = ['-std=c++17', '-O2', '-w', '-shared', '-fPIC', '-ffp-contract=off', '-fno-gnu-unique'];
const TOTAL_BYTES = 2 ** 34;

type Function = (...values: unknown[]) => unknown;
type Library = ForeignLibrary;

export function hasCompiler(): boolean {
  try {
    execFileSync('g++', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function text(name: string): string {
  return readFileSync(new URL(name, FOLDER), 'utf8');
}

/** A kernel program as C++, still without the functions that launch its kernels. */
function translate(source: string): string {
  const [head, rest] = source.split('// PTX begin');
  if (rest !== undefined) {
    const common = head! + text('emulated-ptx.h') + rest.split('// PTX end')[1]!;
    return text('fibers.h') + text('emulator.h') + common + text('run-block.h') + text('launch.h');
  }
  let kernels = source.replace(/extern __shared__ .*\n/, '');
  for (const helpers of ['mma-helpers.cuh', 'warpgroup-helpers.cuh']) {
    kernels = kernels.replace(KERNEL_SOURCES[helpers]!, '');
  }
  return text('fibers.h') + text('warpgroups.h') + text('single-warps.h') + text('launch.h') + kernels;
}

/** Compiles a program unless it was before. @returns the path of a shared library */
class Build {
  readonly path: string;
  readonly #cpp: string;
  readonly #defines: readonly string[];
  readonly #source: string;

  constructor(name: string, source: string, defines: Readonly<Record<string, string | number>>) {
    this.#source = source;
    this.#defines = Object.entries(defines).map(([key, value]) => `-D${key}=${value}`);
    const key = createHash('sha256')
      .update(JSON.stringify([source, this.#defines, OPTIONS]))
      .digest('hex');
    mkdirSync(BUILD, { recursive: true });
    const base = join(BUILD, `${name}-${key.slice(0, 24)}`);
    this.path = `${base}.so`;
    this.#cpp = `${base}.${process.pid}.cpp`;
  }

  get isDone(): boolean {
    return existsSync(this.path);
  }

  /** What g++ is told first: to expand macros, which name kernels. */
  get expanding(): string[] {
    writeFileSync(this.#cpp, this.#source);
    return ['-E', ...this.#defines, ...OPTIONS, this.#cpp];
  }

  /** What g++ is told then. @param expanded what it said first */
  compiling(expanded: string): string[] {
    const names = [...expanded.matchAll(/extern "C"\s+(?:__global__\s+)?void\s+(\w+)\s*\(/g)].map(([, name]) => name!);
    const kernels = names.filter((name) => name !== 'switch_stacks');
    const launchers = kernels.map(
      (name) =>
        `extern "C" void launch_${name}(unsigned x, unsigned y, unsigned z, unsigned block, void** values) { launch(${name}, x, y, z, block, values); }`,
    );
    writeFileSync(this.#cpp, `${this.#source}\n${launchers.join('\n')}\n`);
    return [...this.#defines, ...OPTIONS, '-o', `${this.path}.${process.pid}`, this.#cpp];
  }

  finish(): void {
    renameSync(`${this.path}.${process.pid}`, this.path);
  }
}

const GPP_BYTES = { encoding: 'utf8', maxBuffer: 2 ** 28 } as const;

function compileNow(build: Build): string {
  if (!build.isDone) {
    execFileSync('g++', build.compiling(execFileSync('g++', build.expanding, GPP_BYTES)), GPP_BYTES);
    build.finish();
  }
  return build.path;
}

/** Stands in for NVRTC: its code is the path of a shared library. */
class EmulatedCompiler {
  readonly version = 'g++';
  readonly hasWarpgroups: boolean;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(hasWarpgroups: boolean) {
    this.hasWarpgroups = hasWarpgroups;
  }

  compile(name: string, source: string, _capability: number, defines: Record<string, number> = {}): Uint8Array {
    return Buffer.from(compileNow(new Build(name, translate(source), defines)));
  }

  async prepare(name: string, source: string, _capability: number, defines: Record<string, number>): Promise<void> {
    const build = new Build(name, translate(source), defines);
    if (build.isDone) return;
    if (this.#running >= availableParallelism()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      const run = promisify(execFile);
      const { stdout } = await run('g++', build.expanding, GPP_BYTES);
      await run('g++', build.compiling(stdout), GPP_BYTES);
      build.finish();
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }
}

/** Memory, copies and matrix products. */
class Device {
  readonly #library: Library;
  readonly allocate: (bytes: number) => number;
  readonly free: (address: number) => void;
  readonly fill: (target: number, value: number, bytes: number) => void;
  readonly copy: (target: number, source: number, bytes: number) => void;
  readonly upload: (target: number, source: ArrayBufferView, bytes: number) => void;
  readonly download: (target: ArrayBufferView, source: number, bytes: number) => void;
  readonly matmul: (...values: number[]) => void;
  readonly matmulE4m3: (...values: number[]) => void;

  constructor() {
    const build = new Build('device', text('device.cpp'), {});
    this.#library = foreignCalls().load(compileNow(build));
    const find = (name: string, result: string, types: readonly string[]): Function =>
      this.#library.func(`card_${name}`, result, [...types]) as unknown as Function;
    const allocate = find('allocate', 'uint64', ['uint64']);
    this.allocate = (bytes) => Number(allocate(bytes));
    this.free = find('free', 'void', ['uint64']) as Device['free'];
    this.fill = find('fill', 'void', ['uint64', 'int', 'uint64']) as Device['fill'];
    this.copy = find('copy', 'void', ['uint64', 'uint64', 'uint64']) as Device['copy'];
    this.upload = find('upload', 'void', ['uint64', 'void*', 'uint64']) as Device['upload'];
    this.download = find('download', 'void', ['void*', 'uint64', 'uint64']) as Device['download'];
    const sizes = ['int', 'int', 'int', 'int', 'int', 'int', 'int', 'int', 'int'];
    const types = ['uint64', 'uint64', 'uint64', ...sizes, 'float', 'float'];
    this.matmul = find('matmul', 'void', types) as Device['matmul'];
    const e4m3 = ['uint64', 'uint64', 'uint64', ...sizes.slice(3), 'uint64', 'uint64', 'int', 'float'];
    this.matmulE4m3 = find('matmul_e4m3', 'void', e4m3) as Device['matmulE4m3'];
  }
}

function nothing(): void {}

/** Names of the kernels that ran. */
export const launched = new Set<string>();

/** Fresh memory as cudaMalloc leaves it: anything. Here, no numbers. */
const POISON = 0xff;

export type EmulatedDriver = EngineDriver & Pick<CudaDriver, 'launch' | 'parameters'> & Partial<CudaDriver>;

function emulatedDriver(device: Device, capability: number): EmulatedDriver {
  const modules: Library[] = [];
  const functions: Function[] = [];
  const parameters = new ParameterBlock();
  const first = foreignCalls().address(parameters.bytes);
  const pointers = BigUint64Array.from({ length: parameters.bytes.length / 8 }, (_, i) => first + BigInt(8 * i));
  let next = 1;
  return {
    device: {
      ordinal: 0,
      name: 'emulated',
      capability,
      multiprocessors: 4,
      totalBytes: TOTAL_BYTES,
      driverVersion: 13000,
      hasVirtualMemory: false,
    },
    stream: 1,
    copyStream: 2,
    launches: 0,
    allocatePinned: (bytes) => ({ bytes: new Uint8Array(bytes), free: nothing }),
    upload: (target, source) => device.upload(target, source, source.byteLength),
    uploadRows: (target, pitch, source, rowBytes, rows) => {
      for (let row = 0; row < rows; row++) {
        device.upload(target + row * pitch, source.subarray(row * rowBytes, (row + 1) * rowBytes), rowBytes);
      }
    },
    downloadAsync: (target, source) => device.download(target, source, target.byteLength),
    copy: device.copy,
    copyFromPeer: device.copy,
    copyRows: (target, targetPitch, source, sourcePitch, rowBytes, rows) => {
      for (let row = 0; row < rows; row++) {
        device.copy(target + row * targetPitch, source + row * sourcePitch, rowBytes);
      }
    },
    fillBytes: device.fill,
    clearRows: (target, pitch, rowBytes, rows) => {
      for (let row = 0; row < rows; row++) device.fill(target + row * pitch, 0, rowBytes);
    },
    createEvent: () => next++,
    eventDone: () => true,
    elapsedMilliseconds: () => 1,
    ...{ recordEvent: nothing, synchronizeEvent: nothing, destroyEvent: nothing, waitEvent: nothing },
    ...{ synchronize: nothing, dispose: nothing, call: nothing },

    loadModule: (code) => modules.push(foreignCalls().load(Buffer.from(code).toString())) - 1,
    kernel: (module, name) => {
      const types = ['uint', 'uint', 'uint', 'uint', 'void*'];
      const launch = modules[module]!.func(`launch_${name}`, 'void', types) as unknown as Function;
      return { name, handle: functions.push(launch) - 1 };
    },
    parameters,
    launch: ({ name, handle }, [x, y = 1, z = 1], block) => {
      if (x * y * z === 0) return;
      launched.add(name);
      functions[handle]!(x, y, z, block, pointers);
    },
  };
}

function emulatedMemory(device: Device): PhysicalMemory {
  return {
    isVirtual: false,
    granularity: 2 << 20,
    reserve: () => 0,
    map: (_address, bytes) => {
      const address = device.allocate(bytes);
      return { address, handle: address };
    },
    release: ({ address }) => device.free(address),
    memoryInfo: () => ({ free: TOTAL_BYTES, total: TOTAL_BYTES }),
    ...{ move: nothing, dispose: nothing, synchronize: nothing },
  };
}

function emulatedProducts(device: Device): CudaParts['library'] {
  const layouts = new Map<number, { type: string; rows: number; columns: number; ld: number }>();
  let next = 1;
  let scales: readonly number[] = [];
  return {
    version: 120900,
    descriptor: (transA, transB) => (transA ? 2 : 0) + (transB ? 1 : 0),
    e4m3Descriptor: (kind) => (kind === 'rows' ? 5 : 4),
    setScales: (_descriptor, a, b) => {
      scales = [a, b];
    },
    createLayout: (type, rows, columns, ld) => {
      layouts.set(next, { type, rows, columns, ld });
      return next++;
    },
    destroyLayout: (layout) => layouts.delete(layout),
    firstChoice: () => new BigUint64Array(8),
    check: () => 0,
    matmul: (handles, _algorithm, alpha, a, b, beta, d) => {
      const [left, right, result] = [handles.a, handles.b, handles.d].map((layout) => layouts.get(layout)!);
      if (handles.descriptor >= 4) {
        const [m, n, k] = [result!.rows, result!.columns, left!.rows];
        const extents = [m, n, k, result!.ld, left!.ld, right!.ld];
        const isAligned = [a, b, d, m, k, left!.ld, right!.ld, 2 * result!.ld].every((value) => value % 16 === 0);
        if (!isAligned || left!.columns !== m || right!.columns !== n) {
          throw new Error(`the card takes no such e4m3 product: ${[a, b, d, ...extents]}`);
        }
        device.matmulE4m3(d, a, b, ...extents, ...scales, handles.descriptor === 5 ? 1 : 0, beta);
        return 0;
      }
      const [transA, transB] = [handles.descriptor >> 1, handles.descriptor & 1];
      const k = transA ? left!.rows : left!.columns;
      const isWide = result!.type === 'f32' ? 1 : 0;
      const sizes = [result!.rows, result!.columns, k, result!.ld, left!.ld, right!.ld];
      device.matmul(d, a, b, ...sizes, transA, transB, isWide, alpha, beta);
      return 0;
    },
    dispose: nothing,
  };
}

export interface EmulatedCardOptions extends CudaEngineOptions {
  /** 90 has warpgroup products. Default 80. */
  readonly capability?: 80 | 86 | 89 | 90;
  /** Another driver in the place of the card's own, which does all at once, and what connects it with others. */
  readonly around?: (driver: EmulatedDriver) => Pick<CudaParts, 'driver' | 'communication'>;
}

/** Compiles what is not in the temporary folder yet, which takes half a minute the first time. */
export async function emulatedEngine(
  { capability = 80, around, ...options }: EmulatedCardOptions = {},
  e4m3Scales?: E4m3Scales,
): Promise<CudaEngine> {
  const device = new Device();
  const own = emulatedDriver(device, capability);
  const { driver, communication } = around?.(own) ?? { driver: own, communication: undefined };
  const compiler = new EmulatedCompiler(capability === 90);
  const kernels = new Kernels(driver as CudaDriver, compiler as unknown as KernelCompiler);
  await kernels.prepare(PLAIN_PROGRAMS);
  const engine = new CudaEngine(
    {
      driver,
      memory: emulatedMemory(device),
      kernels,
      library: emulatedProducts(device),
      compilerVersion: compiler.version,
      ...(communication && { communication }),
      ...(e4m3Scales && { e4m3Scales }),
    },
    options,
  );
  // Measuring it would take hours.
  engine.matrixTflops = () => undefined;
  const { allocator } = engine;
  const allocate = allocator.allocate.bind(allocator);
  allocator.allocate = (...given) => {
    const block = allocate(...given);
    // In its turn: what had this memory before may still be queued.
    driver.fillBytes(block.address, POISON, block.bytes);
    return block;
  };
  return engine;
}
