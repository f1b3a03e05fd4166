/** Steps from which nothing was learned: each is survived, a run of them alone is none. */
import type { VlmBatch } from '../data/types.js';
import { TrainingError } from '../errors.js';
import { describeSkipped, skippedSamples } from './training-window.js';

/** Steps in a row without a readable sample after which a run stops: the data is gone, not an image. */
const MAX_UNREADABLE_STEPS = 3;

export class LeftOutSteps {
  #unreadableInRow = 0;
  #unreadable = 0;
  #dropped = 0;

  /**
   * Takes in the micro-batches of a step.
   * @param isEmpty whether no sample is left in them
   * @returns warnings
   */
  add(collated: readonly VlmBatch[], isEmpty: boolean): string[] {
    const skipped = skippedSamples(collated);
    const isUnreadable = skipped.length > 0 && isEmpty;
    this.#unreadableInRow = isUnreadable ? this.#unreadableInRow + 1 : 0;
    if (isUnreadable) this.#unreadable++;
    else if (isEmpty) this.#dropped++;
    const warnings = skipped.length > 0 ? [describeSkipped(skipped)] : [];
    if (isUnreadable) warnings.push('none of its samples is left; nothing was learned');
    else if (isEmpty) warnings.push('all of its samples were dropped by the collator; nothing was learned');
    return warnings;
  }

  /** @throws TrainingError if no sample of several steps in a row can be read */
  requireReadable(step: number, collated: readonly VlmBatch[]): void {
    if (this.#unreadableInRow < MAX_UNREADABLE_STEPS) return;
    const skipped = skippedSamples(collated);
    throw new TrainingError(
      `step ${step}: no sample of ${MAX_UNREADABLE_STEPS} steps in a row can be read; ${describeSkipped(skipped)}`,
      {
        hint: 'Is the folder of the images still there? Then go on with `resumeFromCheckpoint`.',
        details: { step, skipped },
      },
    );
  }

  /**
   * For a run, or an epoch of it, that has learned nothing at all.
   * @param notFinite steps that were left out because of their loss or norm
   */
  nothingLearned(step: number, notFinite: number): TrainingError {
    const count = (steps: number) => (steps === 1 ? 'of 1 step' : `of ${steps} steps`);
    const reasons = [
      ...(this.#dropped > 0 ? [`the collator dropped all samples ${count(this.#dropped)}`] : []),
      ...(this.#unreadable > 0 ? [`no sample ${count(this.#unreadable)} can be read`] : []),
      ...(notFinite > 0 ? [`the loss or gradient norm ${count(notFinite)} was not finite`] : []),
    ];
    const hints = [
      ...(this.#dropped > 0
        ? [
            'Samples longer than `maxLength` are dropped by `overlong: "drop"`: raise it, use "truncateText", or smaller images.',
          ]
        : []),
      ...(this.#unreadable > 0 ? ['Are the image files still there? `verify: true` reads them all beforehand.'] : []),
      ...(notFinite > 0 ? ['Try a lower `learningRate`, and check the base model by an evaluation.'] : []),
    ];
    return new TrainingError(`nothing was learned, up to step ${step} of the run: ${reasons.join('; ')}`, {
      hint: hints.join(' '),
      details: { step, droppedSteps: this.#dropped, unreadableSteps: this.#unreadable, notFiniteSteps: notFinite },
    });
  }
}
