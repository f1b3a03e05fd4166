/** Chooses an engine, once and visibly. */
import { EngineError } from '../errors.js';
import { createCpuEngine } from './cpu/cpu-engine.js';
import type { Engine } from './engine.js';
import type { TfNamespace } from './tfjs/tf-namespace.js';
import { createTfjsEngine } from './tfjs/tfjs-engine.js';

/** `auto` takes the fastest engine that this machine can run; `tfjs` is taken only when asked for. */
export type EngineChoice = 'auto' | 'cpu' | 'tfjs';

export interface CreateEngineOptions {
  /** Threads of the cpu engine, the calling one included. Default: as many as the machine offers. */
  threads?: number;
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
    case 'cpu':
      return createCpuEngine(options.threads === undefined ? {} : { threads: options.threads });
    case 'tfjs':
      if (!options.tf) {
        throw new EngineError('the tfjs engine needs a TensorFlow.js namespace', {
          hint: "install @tensorflow/tfjs-node-gpu (or another build) and pass it: createEngine('tfjs', { tf })",
        });
      }
      return createTfjsEngine({ tf: options.tf });
    default:
      throw new EngineError(`there is no engine "${String(choice)}"`, { hint: 'choose one of: auto, cpu, tfjs' });
  }
}
