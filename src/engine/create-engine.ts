import { checkNames, parseOptions } from '../config.js';
import { ConfigError, EngineError, reasonOf } from '../errors.js';
import { describeGiven, isObject, isPromise } from '../messages/given-kind.js';
import { nearestName } from '../messages/nearest-name.js';
import { requireCallback, requireInteger, requireOptions } from '../require-given.js';
import type { CudaEngineOptions } from './cuda/cuda-options.js';
import { type DeviceMapOptions, deviceMapSchema, requireDeviceMap } from './device-map.js';
import type { Engine } from './engine.js';
import type { TfNamespace } from './tfjs/tf-namespace.js';
import type { TfjsEngineOptions } from './tfjs/tfjs-engine.js';
import type { WebgpuEngineOptions } from './webgpu/create-webgpu.js';
import type { GpuDevice } from './webgpu/gpu-types.js';

/** `auto` takes the fastest engine that this machine can run; `tfjs` is taken only when asked for. */
export type EngineChoice = 'auto' | 'cpu' | 'cuda' | 'tfjs' | 'webgpu';

/** All of them, for messages and checks. */
export const ENGINE_CHOICES: readonly EngineChoice[] = ['auto', 'cpu', 'cuda', 'tfjs', 'webgpu'];

/** Options of `createEngine`; those of engines that are not tried are ignored. */
export interface CreateEngineOptions extends DeviceMapOptions {
  /** Threads of the cpu engine, the calling one included. Default: as many as the machine offers. */
  threads?: number;
  /** Receives one line: which engine `auto` took and why. Default: none. */
  onChoice?: (line: string) => void;
  /** Options of the cuda engine: which card, how much of its memory. Default: its defaults. */
  cuda?: CudaEngineOptions;
  /**
   * For `tfjs`: the namespace to compute with, e.g. `await import('@tensorflow/tfjs-node-gpu')` or `await loadTfjs()`.
   * Default: none; `tfjs` needs it.
   */
  tf?: TfNamespace;
  /** Other options of the tfjs engine: how much memory, which adapter must fit. Default: its defaults. */
  tfjs?: Omit<TfjsEngineOptions, 'tf'>;
  /**
   * For `webgpu`: a device of your own, of the `webgpu` package or another WebGPU; it stays open when the engine is
   * disposed of. Default: the engine opens the fastest GPU.
   */
  device?: GpuDevice;
  /** Other options of the webgpu engine: how much memory, whether software will do. Default: its defaults. */
  webgpu?: Omit<WebgpuEngineOptions, 'device'>;
}

/** All are optional. */
const OPTIONS = {
  ...{ threads: false, onChoice: false, cuda: false, tf: false, tfjs: false },
  ...{ device: false, webgpu: false, deviceMap: false, maxMemory: false },
} as const;

/** Options of one engine, which stand in an object of its own. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  memorybudget: '{ cuda: { memoryBudget } } has it, in bytes, or { webgpu: { memoryBudget } }',
  software: "createEngine('webgpu', { webgpu: { software: true } }) has it",
  offload: "createEngine('cuda', { cuda: { offload } }) has it",
};

/**
 * Makes an engine. Its `description` says in one line what runs on what; show it.
 * @throws EngineError for a name that is not an engine, or an engine that cannot run here
 * @throws ConfigError for options that are wrong, also where `auto` could take another engine
 * @example
 * ```ts
 * const engine = await createEngine('auto'); // cuda, else a GPU through WebGPU, else cpu
 * console.log(engine.description);
 * await engine.dispose();
 * ```
 */
export async function createEngine(choice: EngineChoice = 'auto', options: CreateEngineOptions = {}): Promise<Engine> {
  requireChoice(choice);
  checkNames(options, OPTIONS, 'createEngine', {}, ELSEWHERE);
  requireCallback(options.onChoice, 'createEngine: `onChoice`', 'e.g. { onChoice: console.log }.', true);
  for (const name of ['cuda', 'tfjs', 'webgpu'] as const) requireOptions(options[name], `createEngine: \`${name}\``);
  const { deviceMap, maxMemory } = options;
  parseOptions(deviceMapSchema(), { deviceMap, maxMemory }, 'createEngine');
  requireDeviceMap(options, 'createEngine');
  if (deviceMap !== undefined && !['auto', 'cuda'].includes(choice)) {
    throw new ConfigError(`createEngine: \`deviceMap\` is for cards, and the ${choice} engine uses none`, {
      hint: "Leave it out, or createEngine('cuda', { deviceMap: 'auto' }).",
    });
  }
  if (options.device !== undefined) await requireUsedDevice(options.device, choice);
  if (options.threads !== undefined) requireInteger(options.threads, 'createEngine: `threads`', 1, MAX_THREADS);
  switch (choice) {
    case 'auto':
      return automatic(options);
    case 'cpu':
      return cpu(options);
    case 'cuda':
      return cuda(options);
    case 'tfjs': {
      if (!options.tf) {
        throw new EngineError('the tfjs engine needs a TensorFlow.js namespace', {
          hint: "install @tensorflow/tfjs-node-gpu or tfjs-node and pass it: createEngine('tfjs', { tf: await loadTfjs() })",
        });
      }
      if (options.tf instanceof Promise || typeof options.tf === 'string') {
        throw new EngineError(
          `createEngine: \`tf\`: expected a TensorFlow.js namespace, got ${describeGiven(options.tf)}`,
          {
            hint: options.tf instanceof Promise ? 'Await it.' : "await loadTfjs('tfjs-node') gives one.",
          },
        );
      }
      const { createTfjsEngine } = await import('./tfjs/tfjs-engine.js');
      return createTfjsEngine({ ...options.tfjs, tf: options.tf });
    }
    case 'webgpu':
      return webgpu(options);
  }
}

/** Of the cpu engine, whose pool has a bound of its own. */
const MAX_THREADS = 1024;
/** Other names in use. */
const OTHER_NAMES: Readonly<Record<string, EngineChoice>> = {
  ...{ gpu: 'cuda', nvidia: 'cuda', wasm: 'cpu' },
  ...{ metal: 'webgpu', mps: 'webgpu', vulkan: 'webgpu', dawn: 'webgpu', rocm: 'webgpu' },
  tensorflow: 'tfjs',
};

function requireChoice(choice: unknown): asserts choice is EngineChoice {
  if (ENGINE_CHOICES.includes(choice as EngineChoice)) return;
  if (isObject(choice) && !isPromise(choice)) {
    throw new EngineError(`createEngine: expected the name of an engine, got ${describeGiven(choice)}`, {
      hint: "options come second: createEngine('auto', { … }). Names: auto, cpu, cuda, tfjs, webgpu",
    });
  }
  const near =
    typeof choice === 'string' ? (OTHER_NAMES[choice.toLowerCase()] ?? nearestName(choice, ENGINE_CHOICES)) : undefined;
  throw new EngineError(`there is no engine ${describeGiven(choice)}${near ? `; did you mean "${near}"?` : ''}`, {
    hint: 'choose one of: auto, cpu, cuda, tfjs, webgpu',
  });
}

/** Engines load when they are made: each is a hundred kilobytes or more of code and kernels. */
async function cpu(options: CreateEngineOptions): Promise<Engine> {
  const { createCpuEngine } = await import('./cpu/cpu-engine.js');
  return createCpuEngine(options.threads === undefined ? {} : { threads: options.threads });
}

async function cuda(options: CreateEngineOptions): Promise<Engine> {
  if (options.deviceMap !== undefined) {
    const { createSplitCudaEngine } = await import('./split/create-split.js');
    return createSplitCudaEngine(options.cuda, options);
  }
  const { createCudaEngine } = await import('./cuda/cuda-engine.js');
  return createCudaEngine(options.cuda);
}

async function webgpu({ webgpu: given, device }: CreateEngineOptions): Promise<Engine> {
  const { createWebgpuEngine } = await import('./webgpu/create-webgpu.js');
  return createWebgpuEngine({ ...given, ...(device === undefined ? {} : { device }) });
}

/** @throws ConfigError for what is no device, or an engine that would not use it */
async function requireUsedDevice(device: unknown, choice: EngineChoice): Promise<void> {
  const { requireDevice } = await import('./webgpu/create-webgpu.js');
  requireDevice(device);
  if (choice === 'webgpu') return;
  throw new ConfigError(`createEngine: \`device\` is a GPUDevice, which the ${choice} engine does not use`, {
    hint: "createEngine('webgpu', { device }) does.",
  });
}

/** cuda where a card and its libraries exist, else a GPU through the package webgpu where it is installed, else cpu. */
async function automatic(options: CreateEngineOptions): Promise<Engine> {
  const candidates = [
    ...(process.platform === 'linux' ? [{ name: 'cuda', make: cuda, why: 'a card and its libraries were found' }] : []),
    // Cards that a model is to be laid over are those of cuda.
    ...(options.deviceMap === undefined
      ? [{ name: 'webgpu', make: webgpu, why: 'the package webgpu is installed and finds a GPU' }]
      : []),
  ];
  const reasons = process.platform === 'linux' ? [] : [`there is no cuda engine for ${process.platform}`];
  for (const { name, make, why } of candidates) {
    let engine: Engine;
    try {
      engine = await make(options);
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      // createEngine with its name throws the whole message.
      reasons.push(reasonOf(error).replace(/\.$/, ''));
      continue;
    }
    const before = reasons.length > 0 ? `, and ${reasons.join(', and ')}` : '';
    options.onChoice?.(`auto: ${name}, because ${why}${before}`);
    return engine;
  }
  options.onChoice?.(`auto: cpu, because ${reasons.join(', and ')}`);
  return cpu(options);
}
