/** The collated micro-batches of one optimizer step, and what the trainer must know of them. */

import { IGNORE_INDEX, type SkippedSample, type VlmBatch } from '../data/types.js';
import { TrainingError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import type { Window } from './sampler.js';
import { countLabels } from './trainable-model.js';

const LISTED = 5;

export interface TrainingWindow {
  /** Those that hold a sample. */
  readonly batches: readonly VlmBatch[];
  /** Labelled tokens as the loss counts them; at least 1. */
  readonly labelCount: number;
  /** The place of each batch among all micro-batches of the run. */
  readonly dropoutSlots: readonly number[];
  /** Real tokens, padding left out. */
  readonly tokens: number;
  /** Names of all samples, for messages. */
  readonly sampleIds: readonly string[];
  /** Names of the samples from which nothing is learned, for messages. */
  readonly unlabelled: readonly string[];
}

/**
 * @param plan the indices that the batches were collated from; a collator may have dropped samples
 * @returns undefined if no sample is left
 * @throws TrainingError if there are samples, but no token of the whole window carries a label
 */
export function describeWindow(plan: Window, collated: readonly VlmBatch[]): TrainingWindow | undefined {
  const batches: VlmBatch[] = [];
  const dropoutSlots: number[] = [];
  const sampleIds: string[] = [];
  const unlabelled: string[] = [];
  let labelCount = 0;
  let tokens = 0;
  collated.forEach((batch, b) => {
    const rows = batch.inputIds.shape[0]!;
    if (rows === 0) return;
    batches.push(batch);
    dropoutSlots.push(plan.firstMicroBatch + b);
    const ids = batch.sampleIds ?? plan.microBatches[b]!.slice(0, rows).map(String);
    sampleIds.push(...ids);
    unlabelled.push(...unlabelledRows(batch).map((row) => oneLine(ids[row]!)));
    labelCount += countLabels(batch);
    for (const real of batch.attentionMask.data) tokens += real;
  });
  if (batches.length === 0) return undefined;
  if (labelCount === 0) {
    throw new TrainingError(`step ${plan.step + 1}: no token of its ${sampleIds.length} samples carries a label`, {
      hint: 'Each sample needs an assistant message; an over-long prompt may have pushed the answer out.',
      details: { step: plan.step + 1, sampleIds },
    });
  }
  return { batches, dropoutSlots, labelCount, tokens, sampleIds, unlabelled };
}

/** Samples of a window that are missing because an image cannot be read. */
export function skippedSamples(collated: readonly VlmBatch[]): SkippedSample[] {
  return collated.flatMap(({ skipped }) => skipped ?? []);
}

/** `2 samples cannot be read and are left out: a.jpg (...), b.jpg (...)` */
export function describeSkipped(samples: readonly SkippedSample[]): string {
  const shown = samples.slice(0, LISTED).map(({ sampleId, reason }) => `${oneLine(sampleId)} (${oneLine(reason)})`);
  const more = samples.length > LISTED ? ` and ${samples.length - LISTED} more` : '';
  const subject =
    samples.length === 1 ? 'a sample cannot be read and is' : `${samples.length} samples cannot be read and are`;
  return `${subject} left out: ${shown.join(', ')}${more}`;
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
