/**
 * Finds NVIDIA's libraries where users really have them: the loader's own path, CUDA_HOME, toolkit folders, a conda
 * environment, the wheels of a Python environment. Nothing is installed.
 */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { EngineError, reasonOf } from '../../errors.js';
import { type ForeignFunction, type ForeignLibrary, foreignCalls } from './foreign-calls.js';

/**
 * Functions of a library by name and parameter types; each is declared once.
 * @throws EngineError, when it is asked for, if the library has no such function
 */
export function foreignFunctions(library: ForeignLibrary) {
  const known = new Map<string, ForeignFunction>();
  return (name: string, parameters: readonly string[]): ForeignFunction => {
    let found = known.get(name);
    if (!found) {
      try {
        found = library.func(name, 'int', [...parameters]);
      } catch (cause) {
        throw new EngineError(`a library that the cuda engine has loaded lacks ${name}: ${reasonOf(cause)}`, {
          hint: 'Update the NVIDIA driver and the CUDA libraries; `npx ministral-tune doctor` says where they were found.',
          cause,
        });
      }
      known.set(name, found);
    }
    return found;
  };
}

/** What `body` writes into an 8-byte out-parameter. */
export function outHandle(body: (out: BigUint64Array) => void): number {
  const out = new BigUint64Array(1);
  body(out);
  return Number(out[0]);
}

/** Library file names in order of preference, and how to install each. */
const LIBRARIES = {
  driver: {
    names: ['libcuda.so.1'],
    cure: 'install the NVIDIA driver; in a container, start it with GPU access (docker run --gpus all)',
  },
  nvml: {
    names: ['libnvidia-ml.so.1'],
    cure: 'it comes with the NVIDIA driver; in a container, allow the utility capability',
  },
  nvrtc: {
    names: ['libnvrtc.so.13', 'libnvrtc.so.12'],
    cure: 'install the CUDA toolkit (cuda-nvrtc), or `pip install nvidia-cuda-nvrtc`, or set CUDA_HOME to a toolkit',
  },
  cublasLt: {
    names: ['libcublasLt.so.13', 'libcublasLt.so.12'],
    cure: 'install the CUDA toolkit (libcublas), or `pip install nvidia-cublas`, or set CUDA_HOME to a toolkit',
  },
  nccl: {
    names: ['libnccl.so.2'],
    cure:
      'install NCCL (the package libnccl2 of NVIDIA, or nvidia-nccl-cu12 or -cu13 from PyPI), the same version for all ' +
      'ranks; LD_LIBRARY_PATH, VIRTUAL_ENV and CONDA_PREFIX are looked at',
    user: 'training on several GPUs',
  },
} as const satisfies Readonly<Record<string, LibraryNeeds>>;

export type LibraryName = keyof typeof LIBRARIES;

interface LibraryNeeds {
  readonly names: readonly string[];
  readonly cure: string;
  /** What needs it. Default: the cuda engine. */
  readonly user?: string;
}

/** What is looked for, and how to install it. */
export function libraryNeeds(name: LibraryName): LibraryNeeds {
  return LIBRARIES[name];
}

/** Folders that are tried after the loader's own path, in order. */
function libraryFolders(environment: NodeJS.ProcessEnv = process.env): string[] {
  const folders: string[] = [];
  const add = (...paths: string[]): void => {
    for (const path of paths) if (existsSync(path) && !folders.includes(path)) folders.push(path);
  };
  const targets = ['targets/x86_64-linux/lib', 'targets/sbsa-linux/lib'];
  const toolkit = (root: string): void => add(...['lib64', 'lib', ...targets].map((folder) => join(root, folder)));
  for (const name of ['CUDA_HOME', 'CUDA_PATH']) if (environment[name]) toolkit(environment[name]!);
  for (const root of list('/usr/local', /^cuda/)) add(...['lib64', ...targets].map((folder) => join(root, folder)));
  add('/usr/local/nvidia/lib64', '/usr/local/nvidia/lib', '/usr/lib/wsl/lib');
  add('/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64');
  if (environment.CONDA_PREFIX) toolkit(environment.CONDA_PREFIX);
  for (const root of pythonRoots(environment)) {
    for (const version of list(join(root, 'lib'), /^python3/)) {
      for (const packages of ['site-packages', 'dist-packages']) {
        add(...list(join(version, packages, 'nvidia'), /./).map((wheel) => join(wheel, 'lib')));
      }
    }
  }
  return folders;
}

/** The active virtual environment, and the environment of the python that the shell would start. */
function pythonRoots(environment: NodeJS.ProcessEnv): string[] {
  const roots = [environment.VIRTUAL_ENV, environment.CONDA_PREFIX].filter((root) => root !== undefined);
  for (const folder of (environment.PATH ?? '').split(delimiter)) {
    const python = join(folder, 'python3');
    if (!existsSync(python)) continue;
    roots.push(dirname(folder), dirname(dirname(realpathSync(python))));
    break;
  }
  return roots;
}

function list(folder: string, pattern: RegExp): string[] {
  try {
    const names = readdirSync(folder).filter((name) => pattern.test(name));
    return names
      .sort()
      .reverse()
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

let isStackSet = false;

/** NVRTC runs on the stack of the call and overflows its 2 MiB; the size can be set only before the first load. */
function enlargeCallStack(calls: ReturnType<typeof foreignCalls>): void {
  if (isStackSet) return;
  isStackSet = true;
  try {
    calls.config({ sync_stack_size: 16 << 20, async_stack_size: 16 << 20 });
  } catch {
    // The application used koffi before: its stack size is settled.
  }
}

/**
 * Loads a library from the first place that has it.
 * @throws EngineError listing every attempt and the cure, or of `foreignCalls`
 */
export function loadLibrary(name: LibraryName): { readonly library: ForeignLibrary; readonly path: string } {
  const calls = foreignCalls();
  enlargeCallStack(calls);
  const { names, cure, user = 'the cuda engine' } = libraryNeeds(name);
  const attempts: string[] = [];
  const folders = libraryFolders();
  const inFolders = folders.flatMap((folder) => names.map((file) => join(folder, file)));
  for (const path of [...names, ...inFolders.filter((candidate) => existsSync(candidate))]) {
    try {
      return { library: calls.load(path), path };
    } catch (error) {
      attempts.push(`${path}: ${reasonOf(error)}`);
    }
  }
  const tried = attempts.join('\n    ');
  const places = folders.join('\n    ');
  throw new EngineError(
    `${user} needs ${names.join(' or ')}, which was not found.\n  tried:\n    ${tried}\n  looked for it in:\n    ${places}`,
    { hint: cure, details: { library: name, attempts, folders } },
  );
}
