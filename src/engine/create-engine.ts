/** Chooses an engine, once and visibly. */
import { EngineError } from '../errors.js';
import { createCpuEngine } from './cpu/cpu-engine.js';
import type { CudaEngineOptions } from './cuda/cuda-engine.js';
import type { Engine } from './engine.js';
import type { TfNamespace } from './tfjs/tf-namespace.js';
import { createTfjsEngine } from './tfjs/tfjs-engine.js';

/** `auto` takes the fastest engine that this machine can run; `tfjs` is taken only when asked for. */
export type EngineChoice = 'auto' | 'cpu' | 'cuda' | 'tfjs';

export interface CreateEngineOptions {
  /** Threads of the cpu engine, the calling one included. Default: as many as the machine offers. */
  threads?: number;
  /** Options of the cuda engine: which card, how much of its memory. */
  cuda?: CudaEngineOptions;
  /** For `tfjs`: the namespace to compute with, e.g. `await import('@tensorflow/tfjs-node-gpu')`. */
  tf?: TfNamespace;
}

/**
 * Makes an engine. Its `description` says in one line what runs on what; show it.
 * @throws EngineError for a name that is not an engine, or an engine that cannot run here
 */
export async function createEngine(choice: EngineChoice = 'auto', options: CreateEngineOptions = {}): Promise<Engine> {
  switch (choice) {
    case 'auto':
      return (await cudaIfPossible(options.cuda)) ?? cpu(options);
    case 'cpu':
      return cpu(options);
    case 'cuda': {
      const { createCudaEngine } = await import('./cuda/cuda-engine.js');
      return createCudaEngine(options.cuda);
    }
    case 'tfjs':
      if (!options.tf) {
        throw new EngineError('the tfjs engine needs a TensorFlow.js namespace', {
          hint: "install @tensorflow/tfjs-node-gpu (or another build) and pass it: createEngine('tfjs', { tf })",
        });
      }
      return createTfjsEngine({ tf: options.tf });
    default:
      throw new EngineError(`there is no engine "${String(choice)}"`, { hint: 'choose one of: auto, cpu, cuda, tfjs' });
  }
}

function cpu(options: CreateEngineOptions): Engine {
  return createCpuEngine(options.threads === undefined ? {} : { threads: options.threads });
}

/** The cuda engine if there is a card and all that it needs; `createEngine('cuda')` says what is missing. */
async function cudaIfPossible(options: CudaEngineOptions | undefined): Promise<Engine | undefined> {
  if (process.platform !== 'linux') return undefined;
  try {
    const { createCudaEngine } = await import('./cuda/cuda-engine.js');
    return createCudaEngine(options);
  } catch {
    return undefined;
  }
}
