/** Chooses an engine, once and visibly. */
import { EngineError } from '../errors.js';
import { createCpuEngine } from './cpu/cpu-engine.js';
import type { Engine } from './engine.js';

/** `auto` takes the fastest engine that this machine can run. */
export type EngineChoice = 'auto' | 'cpu';

export interface CreateEngineOptions {
  /** Threads of the cpu engine, the calling one included. Default: as many as the machine offers. */
  threads?: number;
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
    default:
      throw new EngineError(`there is no engine "${String(choice)}"`, { hint: 'choose one of: auto, cpu' });
  }
}
