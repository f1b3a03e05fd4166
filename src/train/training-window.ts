/** The collated micro-batches of one optimizer step, and what the trainer must know of them. */

import { IGNORE_INDEX, type SkippedSample, type VlmBatch } from '../data/types.js';
import { TrainingError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import type { Window } from './sampler.js';
import { countLabels } from './trainable-model.js';

const LISTED = 5;

/** What is known of a collated micro-batch, on whatever rank it is: as JSON. */
export interface MicroBatchFacts {
  /** Among all micro-batches of the run. */
  readonly place: number;
  /** Labelled tokens as the loss counts them. */
  readonly labelCount: number;
  /** Real tokens, padding left out. */
  readonly tokens: number;
  readonly sampleIds: readonly string[];
  /** Names of the samples from which nothing is learned, for messages. */
  readonly unlabelled: readonly string[];
  /** Samples that are missing because an image cannot be read. */
  readonly skipped: readonly SkippedSample[];
}

/** The same of a whole optimizer step, over all ranks. */
interface WindowFacts extends Omit<MicroBatchFacts, 'place'> {
  /** By rank, where there are several: what each of them has. */
  readonly idsByRank?: readonly (readonly string[])[] | undefined;
}

export interface TrainingWindow extends WindowFacts {
  /** Those of this rank. */
  readonly batches: readonly VlmBatch[];
  /** The place of each batch among all micro-batches of the run. */
  readonly dropoutSlots: readonly number[];
}

/**
 * What is known of each batch of a window.
 * @param plan the indices that the batches were collated from; a collator may have dropped samples
 */
export function describeBatches(plan: Window, collated: readonly VlmBatch[]): MicroBatchFacts[] {
  return collated.map((batch, b): MicroBatchFacts => {
    const place = plan.places?.[b] ?? plan.firstMicroBatch + b;
    const skipped = batch.skipped ?? [];
    const rows = batch.inputIds.shape[0]!;
    if (rows === 0) return { place, skipped, labelCount: 0, tokens: 0, sampleIds: [], unlabelled: [] };
    const ids = batch.sampleIds ?? plan.microBatches[b]!.slice(0, rows).map(String);
    const unlabelled = unlabelledRows(batch).map((row) => oneLine(ids[row]!));
    let tokens = 0;
    for (const real of batch.attentionMask.data) tokens += real;
    return { place, skipped, labelCount: countLabels(batch), tokens, sampleIds: ids, unlabelled };
  });
}

/** @param facts of all micro-batches of a step, in any order */
export function joinFacts(facts: readonly MicroBatchFacts[]): WindowFacts {
  const ordered = [...facts].sort((a, b) => a.place - b.place);
  return {
    labelCount: ordered.reduce((sum, { labelCount }) => sum + labelCount, 0),
    tokens: ordered.reduce((sum, { tokens }) => sum + tokens, 0),
    sampleIds: ordered.flatMap(({ sampleIds }) => sampleIds),
    unlabelled: ordered.flatMap(({ unlabelled }) => unlabelled),
    skipped: ordered.flatMap(({ skipped }) => skipped),
  };
}

/** The window of a process that trains alone. */
export function describeWindow(plan: Window, collated: readonly VlmBatch[]): TrainingWindow {
  const facts = describeBatches(plan, collated);
  const full = facts.flatMap(({ place, sampleIds }, b) =>
    sampleIds.length > 0 ? [{ place, batch: collated[b]! }] : [],
  );
  return { batches: full.map(({ batch }) => batch), dropoutSlots: full.map(({ place }) => place), ...joinFacts(facts) };
}

/** @throws TrainingError if there are samples, but no token of the whole window carries a label */
export function requireLabels(step: number, { labelCount, sampleIds }: WindowFacts): void {
  if (labelCount > 0 || sampleIds.length === 0) return;
  throw new TrainingError(`step ${step}: no token of its ${sampleIds.length} samples carries a label`, {
    hint: 'Each sample needs an assistant message; an over-long prompt may have pushed the answer out.',
    details: { step, sampleIds },
  });
}

/** `2 samples cannot be read and are left out: a.jpg (...), b.jpg (...)` */
export function describeSkipped(samples: readonly SkippedSample[]): string {
  const shown = shortList(samples, LISTED, ({ sampleId, reason }) => `${oneLine(sampleId)} (${oneLine(reason)})`);
  const subject =
    samples.length === 1 ? 'a sample cannot be read and is' : `${samples.length} samples cannot be read and are`;
  return `${subject} left out: ${shown}`;
}

function unlabelledRows(batch: VlmBatch): number[] {
  const [rows, columns] = batch.inputIds.shape as [number, number];
  const found: number[] = [];
  for (let row = 0; row < rows; row++) {
    const labels = batch.labels?.data.subarray(row * columns + 1, (row + 1) * columns);
    if (!labels?.some((label) => label !== IGNORE_INDEX)) found.push(row);
  }
  return found;
}

/** Steps in a row without a readable sample after which a run stops: the data is gone, not an image. */
const MAX_UNREADABLE_STEPS = 3;

/** Steps from which nothing was learned: each is survived, a run of them alone is none. */
export class LeftOutSteps {
  #unreadableInRow = 0;
  #unreadable = 0;
  #dropped = 0;
  /** Samples that the collator has left out, as too long. */
  droppedSamples = 0;

  /**
   * Takes in the micro-batches of a step.
   * @param planned samples that they were collated from
   * @returns warnings
   */
  add(planned: number, { skipped, sampleIds }: WindowFacts): string[] {
    const isEmpty = sampleIds.length === 0;
    const dropped = planned - sampleIds.length - skipped.length;
    const isFirstDrop = this.droppedSamples === 0 && dropped > 0;
    this.droppedSamples += Math.max(0, dropped);
    const isUnreadable = skipped.length > 0 && isEmpty;
    this.#unreadableInRow = isUnreadable ? this.#unreadableInRow + 1 : 0;
    if (isUnreadable) this.#unreadable++;
    else if (isEmpty) this.#dropped++;
    const warnings = skipped.length > 0 ? [describeSkipped(skipped)] : [];
    if (isUnreadable) warnings.push('none of its samples is left; nothing was learned');
    else if (isEmpty) warnings.push('all of its samples were dropped by the collator; nothing was learned');
    else if (isFirstDrop) {
      warnings.push(
        `the collator left out ${dropped} of its ${planned} samples, as \`overlong: "drop"\` does with long ones; ` +
          'others are counted in the summary alone',
      );
    }
    return warnings;
  }

  /** @throws TrainingError if no sample of several steps in a row can be read */
  requireReadable(step: number, { skipped }: WindowFacts): void {
    if (this.#unreadableInRow < MAX_UNREADABLE_STEPS) return;
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
