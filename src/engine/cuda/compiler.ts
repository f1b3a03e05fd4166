/**
 * CUDA C to machine code at run time: NVRTC, with the results kept on disk under a key of source, architecture and
 * compiler version. The kernels need no toolkit headers.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { EngineError } from '../../errors.js';
import { kernelCacheFolder, readCheckedFile, writeCheckedFile } from './cache-file.js';
import { type ForeignFunction, foreignCalls } from './foreign-calls.js';
import { foreignFunctions, loadLibrary } from './library-search.js';

/**
 * What `compile` takes. `capability` is that of the card, e.g. 90; `isSpecific` code is for it alone, with what later
 * ones lack: sm_90a instead of sm_90.
 */
type Request = [
  name: string,
  source: string,
  capability: number,
  defines?: Readonly<Record<string, string | number>>,
  isSpecific?: boolean,
];

/** What is to be compiled, and where its code is kept. */
interface Job {
  readonly name: string;
  readonly source: string;
  readonly options: readonly string[];
  readonly isNative: boolean;
  readonly path: string;
}

interface CompileOptions {
  readonly texts: readonly Buffer[];
  readonly pointers: BigUint64Array;
  readonly length: number;
}

const WARPGROUP_TRIAL =
  'extern "C" __global__ void trial() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }';

export class KernelCompiler {
  readonly version: string;
  readonly #function: ReturnType<typeof foreignFunctions>;
  readonly #newest: number;
  #hasWarpgroups: boolean | undefined;
  /** Code by its path in the cache, which may not be writable. */
  readonly #prepared = new Map<string, Uint8Array>();

  constructor() {
    const { library, path } = loadLibrary('nvrtc');
    this.#function = foreignFunctions(library);
    // NVRTC looks its builtins up by name only: they must be loaded before, for everyone to see.
    for (const name of builtinsBeside(path)) {
      try {
        foreignCalls().load(name, { global: true });
        break;
      } catch {
        // Not there: NVRTC finds them itself where the loader path is set.
      }
    }
    const version = [new Int32Array(1), new Int32Array(1)] as const;
    this.#call('nvrtcVersion', ['void*', 'void*'], version[0], version[1]);
    this.version = `${version[0][0]}.${version[1][0]}`;
    const count = new Int32Array(1);
    this.#call('nvrtcGetNumSupportedArchs', ['void*'], count);
    const architectures = new Int32Array(count[0]!);
    this.#call('nvrtcGetSupportedArchs', ['void*'], architectures);
    this.#newest = Math.max(...architectures);
  }

  /**
   * Whether this compiler knows sm_90a, Hopper with warpgroup products. MINISTRAL_TUNE_WARPGROUPS=off uses the kernels
   * of other cards there as well.
   */
  get hasWarpgroups(): boolean {
    if (process.env.MINISTRAL_TUNE_WARPGROUPS === 'off') return false;
    if (this.#hasWarpgroups === undefined) {
      try {
        this.compile('warpgroup-trial', WARPGROUP_TRIAL, 90, {}, true);
        this.#hasWarpgroups = true;
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        this.#hasWarpgroups = false;
      }
    }
    return this.#hasWarpgroups;
  }

  /**
   * Code from the cache or fresh: machine code, or PTX for the driver to finish where the card is newer than the
   * compiler.
   * @throws EngineError with the compiler's log
   */
  compile(...request: Request): Uint8Array {
    const job = this.#job(...request);
    const known = this.#prepared.get(job.path) ?? readCheckedFile(job.path);
    if (known) return known;
    const { program, options } = this.#start(job);
    try {
      const code = this.#finish(job, program, this.#compileCall(program[0], options.length, options.pointers));
      writeCheckedFile(job.path, code);
      return code;
    } finally {
      this.#call('nvrtcDestroyProgram', ['void*'], program);
    }
  }

  /** Compiles on another thread what is not in the cache, for `compile` to find. @throws EngineError as `compile` */
  async prepare(...request: Request): Promise<void> {
    const job = this.#job(...request);
    if (this.#prepared.has(job.path) || readCheckedFile(job.path)) return;
    const { program, options } = this.#start(job);
    try {
      const status = await new Promise<number>((resolve, reject) => {
        const done = (error: unknown, result: number): void => (error ? reject(error) : resolve(result));
        this.#compileCall.async(program[0], options.length, options.pointers, done);
      });
      const code = this.#finish(job, program, status);
      this.#prepared.set(job.path, code);
      writeCheckedFile(job.path, code);
    } finally {
      this.#call('nvrtcDestroyProgram', ['void*'], program);
    }
  }

  #job(...[name, source, capability, defines = {}, isSpecific = false]: Request): Job {
    const isNative = isSpecific || capability <= this.#newest;
    const options = [
      `--gpu-architecture=${isNative ? `sm_${capability}${isSpecific ? 'a' : ''}` : `compute_${this.#newest}`}`,
      '--std=c++17',
      '--use_fast_math',
      '-default-device',
      ...Object.entries(defines).map(([key, value]) => `-D${key}=${value}`),
    ];
    const content = JSON.stringify([source, options, this.version]);
    const key = createHash('sha256').update(content).digest('hex').slice(0, 32);
    const path = join(kernelCacheFolder(), `${name}-sm${capability}-${key}.kernel`);
    return { name, source, options, isNative, path };
  }

  /** A program, and its options as the compiler reads them: both stay alive with what is returned. */
  #start({ name, source, options }: Job): { program: BigUint64Array; options: CompileOptions } {
    const program = new BigUint64Array(1);
    const types = ['void*', 'str', 'str', 'int', 'void*', 'void*'];
    this.#call('nvrtcCreateProgram', types, program, source, `${name}.cu`, 0, null, null);
    const texts = options.map((option) => Buffer.from(`${option}\0`));
    const pointers = BigUint64Array.from(texts, (text) => foreignCalls().address(text));
    return { program, options: { texts, pointers, length: options.length } };
  }

  get #compileCall(): ForeignFunction {
    return this.#function('nvrtcCompileProgram', ['uint64', 'int', 'void*']);
  }

  #finish({ name, options, isNative }: Job, program: BigUint64Array, status: number): Uint8Array {
    if (status !== 0) {
      const log = this.#bytes(program[0]!, 'nvrtcGetProgramLogSize', 'nvrtcGetProgramLog');
      const text = Buffer.from(log).toString().replace(/\0+$/, '');
      throw new EngineError(
        `CUDA kernel ${name}.cu does not compile (NVRTC ${this.version}, ${options.join(' ')}):\n${text}`,
        { status },
      );
    }
    if (isNative) return this.#bytes(program[0]!, 'nvrtcGetCUBINSize', 'nvrtcGetCUBIN');
    return this.#bytes(program[0]!, 'nvrtcGetPTXSize', 'nvrtcGetPTX');
  }

  #bytes(program: bigint, sizeCall: string, dataCall: string): Uint8Array {
    const size = new BigUint64Array(1);
    this.#call(sizeCall, ['uint64', 'void*'], program, size);
    const bytes = new Uint8Array(Number(size[0]));
    this.#call(dataCall, ['uint64', 'void*'], program, bytes);
    return bytes;
  }

  #call(name: string, parameters: readonly string[], ...values: unknown[]): void {
    const status = this.#function(name, parameters)(...values);
    if (status !== 0) throw new EngineError(`NVRTC: ${name} failed with status ${status}`, { status });
  }
}

/** File names under which the builtins of this NVRTC may be found. */
function builtinsBeside(path: string): string[] {
  const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/') + 1) : '';
  const major = /\.so\.(\d+)/.exec(path)?.[1] ?? '13';
  return Array.from({ length: 10 }, (_, minor) => `${folder}libnvrtc-builtins.so.${major}.${minor}`);
}
