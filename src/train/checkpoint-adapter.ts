/** How the adapter's files come into a checkpoint's folder. */
import { afterAbort } from '../async/or-aborted.js';
import { CheckpointError } from '../errors.js';
import type { TrainableModel } from './trainable-model.js';

/**
 * Writes the adapter with these values [trainable.size] into a folder.
 * @param isCurrent whether they are what the model holds: what a user's function writes is read from there
 */
export type CheckpointAdapter = (folder: string, parameters: Float32Array, isCurrent: boolean) => Promise<void>;

/** Milliseconds that `saveAdapter` may take once the run is to stop. */
const ADAPTER_PATIENCE = 30_000;

interface AdapterParts {
  readonly model: Pick<TrainableModel, 'engine' | 'trainable' | 'writeAdapter'>;
  readonly collator: unknown;
  /** The user's, which may never answer: a run that is to stop does not wait for it for ever. */
  readonly saveAdapter: ((directory: string) => Promise<void>) | undefined;
  readonly signal: AbortSignal;
}

/**
 * The user's function first, then the model's own, which leaves alone what it finds. For the adapter that is active when
 * the run begins: it may be switched off, or another one active, when a checkpoint is written.
 */
export class AdapterWriter {
  /** For checkpoints. */
  readonly write: CheckpointAdapter;
  /** `saveAdapter` did not answer in time: from then on checkpoints are written without it. */
  isSilent = false;

  constructor({ model, collator, saveAdapter, signal }: AdapterParts) {
    const { engine, trainable } = model;
    const writeOwn = model.writeAdapter?.bind(model);
    const save = async (directory: string): Promise<void> => {
      await afterAbort(saveAdapter!(directory), signal, ADAPTER_PATIENCE, () => {
        this.isSilent = true;
        const seconds = ADAPTER_PATIENCE / 1000;
        return new CheckpointError(`\`saveAdapter\` has not answered within ${seconds} s after the run was to stop`);
      });
    };
    this.write = async (folder, parameters, isCurrent) => {
      if (saveAdapter && !this.isSilent && isCurrent) await save(folder);
      else if (saveAdapter && !this.isSilent) {
        const current = await engine.readParameters(trainable);
        engine.writeParameters(trainable, parameters);
        try {
          await save(folder);
        } finally {
          engine.writeParameters(trainable, current);
        }
      }
      await writeOwn?.(folder, parameters, collator);
    };
  }
}
