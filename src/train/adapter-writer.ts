/** The caller's `saveAdapter`, which may never answer: a run that is told to stop does not wait for it for ever. */

import { afterAbort } from '../async/or-aborted.js';
import { CheckpointError } from '../errors.js';

/** Milliseconds that `saveAdapter` may take once the run was told to stop. */
const ADAPTER_PATIENCE = 30_000;

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
