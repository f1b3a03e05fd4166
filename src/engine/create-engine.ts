/** Chooses an engine, once and visibly. */
import { checkNames } from '../config.js';
import { ConfigError, EngineError } from '../errors.js';
import { createCpuEngine } from './cpu/cpu-engine.js';
import type { CudaEngineOptions } from './cuda/cuda-engine.js';
import type { Engine } from './engine.js';
import type { TfNamespace } from './tfjs/tf-namespace.js';
import { createTfjsEngine, type TfjsEngineOptions } from './tfjs/tfjs-engine.js';

/** `auto` takes the fastest engine that this machine can run; `tfjs` is taken only when asked for. */
export type EngineChoice = 'auto' | 'cpu' | 'cuda' | 'tfjs';

/** Options of `createEngine`; those of engines that are not tried are ignored. */
export interface CreateEngineOptions {
  /** Threads of the cpu engine, the calling one included. Default: as many as the machine offers. */
  threads?: number;
  /** Told in one line which engine `auto` took and why. Default: nobody. */
  onChoice?: (line: string) => void;
  /** Options of the cuda engine: which card, how much of its memory. */
  cuda?: CudaEngineOptions;
  /** For `tfjs`: the namespace to compute with, e.g. `await import('@tensorflow/tfjs-node-gpu')` or `await loadTfjs()`. */
  tf?: TfNamespace;
  /** Other options of the tfjs engine: how much memory, which adapter must fit. */
  tfjs?: Omit<TfjsEngineOptions, 'tf'>;
}

/** Their names; none must be given. */
const OPTIONS = { threads: false, onChoice: false, cuda: false, tf: false, tfjs: false } as const;

/**
 * Makes an engine. Its `description` says in one line what runs on what; show it.
 * @throws EngineError for a name that is not an engine, or an engine that cannot run here
 * @throws ConfigError for options that are wrong, also where `auto` could take another engine
 */
export async function createEngine(choice: EngineChoice = 'auto', options: CreateEngineOptions = {}): Promise<Engine> {
  checkNames(options, OPTIONS, 'createEngine');
  switch (choice) {
    case 'auto':
      return automatic(options);
    case 'cpu':
      return cpu(options);
    case 'cuda': {
      const { createCudaEngine } = await import('./cuda/cuda-engine.js');
      return createCudaEngine(options.cuda);
    }
    case 'tfjs':
      if (!options.tf) {
        throw new EngineError('the tfjs engine needs a TensorFlow.js namespace', {
          hint: "install @tensorflow/tfjs-node-gpu or tfjs-node and pass it: createEngine('tfjs', { tf: await loadTfjs() })",
        });
      }
      return createTfjsEngine({ ...options.tfjs, tf: options.tf });
    default:
      throw new EngineError(`there is no engine "${String(choice)}"`, { hint: 'choose one of: auto, cpu, cuda, tfjs' });
  }
}

function cpu(options: CreateEngineOptions): Engine {
  return createCpuEngine(options.threads === undefined ? {} : { threads: options.threads });
}

/** cuda if a card and all that it needs is there, else cpu. */
async function automatic(options: CreateEngineOptions): Promise<Engine> {
  let reason = `there is no cuda engine for ${process.platform}`;
  if (process.platform === 'linux') {
    try {
      const { createCudaEngine } = await import('./cuda/cuda-engine.js');
      const engine = createCudaEngine(options.cuda);
      options.onChoice?.('auto: cuda, because a card and its libraries were found');
      return engine;
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      // createEngine('cuda') tells the whole of it.
      reason = error instanceof Error ? error.message.split('\n')[0]! : String(error);
    }
  }
  options.onChoice?.(`auto: cpu, because ${reason}`);
  return cpu(options);
}
