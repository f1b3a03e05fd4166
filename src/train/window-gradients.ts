/** The gradients of one optimizer step, of nobody's parameters but those that are trained. */

import { afterAbort } from '../async/or-aborted.js';
import type { Deferred } from '../engine/engine.js';
import { changesOf, type ParameterLease } from '../engine/parameter-lease.js';
import type { ParameterSet } from '../engine/tensor.js';
import { TrainingError } from '../errors.js';
import { counterHash } from '../random.js';
import type { SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';
import type { TrainingWindow } from './training-window.js';

/** Milliseconds that a model's own end is waited for when the run was told to stop: it uses the engine until then. */
export const MODEL_GRACE = 1_000;

/** What a run computes with. */
interface GradientParts {
  readonly model: TrainableModel;
  readonly config: SftConfig;
  readonly signal: AbortSignal;
  readonly lease: ParameterLease;
  /** Whether a reader of the run's events is at work on one. */
  readonly isRead: () => boolean;
}

export class WindowGradients {
  readonly #parts: GradientParts;
  readonly #trainable: ParameterSet;
  #unanswered: Promise<unknown> | undefined;

  constructor(parts: GradientParts, trainable: ParameterSet) {
    this.#parts = parts;
    this.#trainable = trainable;
  }

  /** What the model is computing; settles with it, whatever it gives. */
  get unanswered(): Promise<unknown> | undefined {
    return this.#unanswered;
  }

  /**
   * Adds the gradients of a window to the parameters, which are not changed.
   * @param meanwhile runs while the engine works on them. What it, or a reader in it, sets in the parameters is heeded: the
   *   gradients are then computed again
   * @param onWarning receives what had to change for the window to fit
   * @returns the loss
   * @throws the signal's reason if it is aborted meanwhile, or was before and a reader is at work on the step before;
   *   TrainingError if another adapter became active
   */
  async compute(
    step: number,
    window: TrainingWindow,
    meanwhile: () => Promise<void>,
    onWarning: (message: string) => void,
  ): Promise<Deferred<number>> {
    const { model, signal, isRead } = this.#parts;
    for (;;) {
      this.requireSameParameters(step);
      const loss = await this.#accumulate(window, onWarning);
      const changes = changesOf(this.#trainable);
      // A model that did not hear of it has done the work: it counts, unless somebody looks at the step before.
      const wasAborted = signal.aborted;
      try {
        await meanwhile();
        if (!wasAborted || isRead()) signal.throwIfAborted();
        this.requireSameParameters(step);
        if (changesOf(this.#trainable) === changes) return loss;
      } catch (error) {
        discard(loss);
        throw error;
      }
      discard(loss);
      model.engine.zeroGradients(this.#trainable);
    }
  }

  /** @throws TrainingError if the model would compute with another adapter than the one that is trained */
  requireSameParameters(step: number): void {
    if (this.#parts.model.trainable === this.#trainable) return;
    throw new TrainingError(`step ${step}: another adapter became active while this run was training`, {
      hint: 'Call setAdapter after the run. To compute without the adapter meanwhile, use withDisabled between two steps.',
      details: { step },
    });
  }

  async #accumulate(
    { batches, labelCount, dropoutSlots }: TrainingWindow,
    onWarning: (message: string) => void,
  ): Promise<Deferred<number>> {
    const { model, config, signal, lease } = this.#parts;
    const options = lease.own({
      labelCount,
      dropoutSeeds: dropoutSlots.map((slot) => counterHash(config.seed, slot)),
      labelSmoothing: config.labelSmoothingFactor,
      neftuneNoiseAlpha: config.neftuneNoiseAlpha,
      gradientCheckpointing: config.gradientCheckpointing,
      memoryBudget: config.memoryBudget,
      autoMicroBatch: config.autoMicroBatch,
      signal,
      onWarning,
    });
    const work = model.accumulateGradients(batches, options);
    const answered = () => {
      this.#unanswered = undefined;
    };
    this.#unanswered = work.then(answered, answered);
    return afterAbort(work, signal, MODEL_GRACE);
  }
}

/** A loss that nobody will ask for still holds memory of the engine until it has come. */
function discard(loss: Deferred<number>): void {
  void loss().catch(() => {});
}
