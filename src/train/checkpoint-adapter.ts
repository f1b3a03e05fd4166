/** How the adapter's files come into a checkpoint's folder. */
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
