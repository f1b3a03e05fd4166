/**
 * Before the first window of a run: a small pass, forward and backward, so that the engine has met all that training
 * computes and can prepare for passes of the usual size while nothing is queued. Else each kernel is loaded in the midst
 * of a step, and the card waits.
 */
import { eventLoopTurn } from '../async/event-loop.js';
import { PackedWindow } from '../batch/packed-window.js';
import { runPass } from '../engine/computation.js';
import type { Precision } from '../engine/operations.js';
import type { ParameterSet } from '../engine/tensor.js';
import { OutOfMemoryError } from '../errors.js';
import type { AdapterView } from '../model/network/layers.js';
import type { TrainableModel } from './trainable-model.js';

interface WarmUpOptions {
  readonly trainable: ParameterSet;
  readonly precision: Precision;
  readonly adapter: AdapterView | undefined;
  readonly requireParts: () => unknown;
  readonly signal: AbortSignal | undefined;
}

/** Precision that training of each set was last prepared for. */
const prepared = new WeakMap<ParameterSet, Precision>();

/**
 * Once for each set of parameters and precision, inside of `exclusively`; gradients must be zero, and are afterwards.
 * Does nothing where there is nothing to gain, or no memory.
 */
export async function warmUp(model: TrainableModel, options: WarmUpOptions): Promise<void> {
  const { engine } = model;
  const { trainable, precision, adapter, requireParts, signal } = options;
  // Streamed layers would be copied to the device once more.
  if (!engine.prepareLargerPasses || !model.sampleBatch || engine.storage.streamedBytes) return;
  if (prepared.get(trainable) === precision) return;
  prepared.set(trainable, precision);
  const window = new PackedWindow([model.pack(model.sampleBatch(), { seed: 0 })], {
    sharePrefix: model.sharesPrefixes === true,
  });
  const mark = engine.mark();
  try {
    await runPass(engine, { signal, requireParts, record: true }, async (pass) => {
      const loss = await pass.run(model.lossSteps(pass.tape, window.join(window.samples), 1, { precision, adapter }));
      if (!loss) return;
      engine.retain(loss);
      await pass.backward(loss);
      // Loading waits for what is queued, and the thread with it.
      await engine.read(loss);
      engine.release(loss);
      const growth = engine.tokensPerPass / window.sizeOf(window.samples).tokens;
      for (const _ of engine.prepareLargerPasses!(growth)) {
        await eventLoopTurn();
        pass.requireParts();
      }
    });
  } catch (error) {
    engine.releaseSince(mark);
    if (error instanceof OutOfMemoryError) return;
    prepared.delete(trainable);
    throw error;
  } finally {
    engine.zeroGradients(trainable);
  }
}
