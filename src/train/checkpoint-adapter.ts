/** How the adapter's files come into a checkpoint's folder. */
import { afterAbort } from '../async/or-aborted.js';
import { CheckpointError } from '../errors.js';
import type { TrainableModel } from './trainable-model.js';

/**
 * Writes the adapter with these values [trainable.size] into a folder.
 * @param isCurrent whether they are what the model holds: what a user's function writes is read from there
 */
export type CheckpointAdapter = (folder: string, parameters: Float32Array, isCurrent: boolean) => Promise<void>;

/**
 * The user's function first, then the model's own, which leaves alone what is there. For the adapter that is active now:
 * it may be switched off, or another one active, when a checkpoint is written.
 */
export function checkpointAdapter(
  model: Pick<TrainableModel, 'engine' | 'trainable' | 'writeAdapter'>,
  maker: unknown,
  saveAdapter: ((directory: string) => Promise<void>) | undefined,
): CheckpointAdapter {
  const { engine, trainable } = model;
  const write = model.writeAdapter?.bind(model);
  return async (folder, parameters, isCurrent) => {
    if (saveAdapter && isCurrent) await saveAdapter(folder);
    else if (saveAdapter) {
      const current = await engine.readParameters(trainable);
      engine.writeParameters(trainable, parameters);
      try {
        await saveAdapter(folder);
      } finally {
        engine.writeParameters(trainable, current);
      }
    }
    await write?.(folder, parameters, maker);
  };
}

/** Milliseconds that `saveAdapter` may take once the run was told to stop. */
const ADAPTER_PATIENCE = 30_000;

/** The caller's `saveAdapter`, which may never answer: a run that is told to stop does not wait for it for ever. */
export class AdapterWriter {
  readonly #saveAdapter: ((directory: string) => Promise<void>) | undefined;
  readonly #signal: AbortSignal;
  #isSilent = false;

  constructor(saveAdapter: ((directory: string) => Promise<void>) | undefined, signal: AbortSignal) {
    this.#saveAdapter = saveAdapter;
    this.#signal = signal;
  }

  /** It did not answer in time: from then on checkpoints are written without it. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** For checkpoints; undefined without a `saveAdapter`. */
  get write(): ((directory: string) => Promise<void>) | undefined {
    const saveAdapter = this.#saveAdapter;
    if (!saveAdapter) return undefined;
    return async (directory) => {
      if (this.#isSilent) return;
      await afterAbort(saveAdapter(directory), this.#signal, ADAPTER_PATIENCE, () => {
        this.#isSilent = true;
        return new CheckpointError(
          `\`saveAdapter\` has not answered within ${ADAPTER_PATIENCE / 1000} s after the run was told to stop`,
        );
      });
    };
  }
}
