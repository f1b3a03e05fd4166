/** Whether a saved adapter does what it should: loaded from the disk, it must change the model, and as trained. */

import { requirePath } from '../config.js';
import type { VlmBatch } from '../data/types.js';
import { CheckpointError } from '../errors.js';
import { requireKind } from '../require-given.js';
import { loadAdapter } from './adapter-file.js';
import { type LoraHost, requireLoraHost } from './lora-host.js';

/** A model whose output can be looked at. */
export interface ProbedModel extends LoraHost {
  /** Logits [B, V] after the last token of each sample. */
  lastLogits(batch: VlmBatch): Promise<Float32Array>;
}

/** What {@link verifyAdapter} measured. */
export interface AdapterCheck {
  /** Linear layers that the files adapt. */
  readonly modules: number;
  /** The largest change of a logit that the files bring about. */
  readonly maxChange: number;
  /** The largest difference between the files and the adapter on the model; undefined if it has none. */
  readonly maxDeviation: number | undefined;
}

/** Of the adapter's own effect: what the files may differ by from the adapter on the model. */
const TOLERANCE = 0.01;

/**
 * Loads an adapter's files beside the adapter that the model may have, and compares the logits of a batch: without any
 * adapter, with the files, with the adapter on the model. Two or three forward passes; the model is left as it was.
 * @param batch a few samples or prompts, from the collator
 * @throws CheckpointError if the files change no logit, make one NaN or infinite, or do something else than the
 *   adapter on the model; as `loadAdapter` does
 * @example
 * ```ts
 * await trainer.train();
 * await saveAdapter(activeAdapter(model)!, 'adapter');
 * const { modules, maxChange } = await verifyAdapter(model, 'adapter', await collator.collatePrompts(examples));
 * ```
 */
export async function verifyAdapter(model: ProbedModel, directory: string, batch: VlmBatch): Promise<AdapterCheck> {
  requireLoraHost(model, 'verifyAdapter');
  requirePath(directory, 'verifyAdapter: `directory`');
  requireKind(
    'batch',
    batch,
    'verifyAdapter: `batch`',
    'verifyAdapter(model, directory, await collator.collate(samples))',
  );
  const own = model.linearModules.map(({ lora }) => lora);
  const trained = own.some((lora) => lora) ? await model.lastLogits(batch) : undefined;
  for (const module of model.linearModules) module.lora = undefined;
  try {
    const base = await model.lastLogits(batch);
    // What the model trains on stays as it is: the copy is only looked at.
    const { engine, linearModules } = model;
    const copy = await loadAdapter(directory, { engine, linearModules }, { onWarning: () => undefined });
    const modules = copy.modules.length;
    let loaded: Float32Array;
    try {
      loaded = await model.lastLogits(batch);
    } finally {
      copy.dispose();
    }
    const maxChange = largestDifference(loaded, base);
    const maxDeviation = trained && largestDifference(loaded, trained);
    const fault = faultOf(maxChange, maxDeviation);
    if (fault !== undefined) {
      const isOther = maxDeviation !== undefined && Number.isFinite(maxChange) && maxChange > 0;
      throw new CheckpointError(`${directory}: the adapter of ${modules} layers ${fault}`, {
        ...(isOther && {
          hint: 'Are these the files of the active adapter? setAdapter or disable changes which one is compared.',
        }),
        details: { directory, modules, maxChange, maxDeviation },
      });
    }
    return { modules, maxChange, maxDeviation };
  } finally {
    for (const [i, module] of model.linearModules.entries()) module.lora = own[i];
  }
}

function faultOf(maxChange: number, maxDeviation: number | undefined): string | undefined {
  if (!Number.isFinite(maxChange)) return 'produces logits that are not finite: its training has diverged';
  if (maxChange === 0) return 'changes no logit: it has not been trained, or every B is zero';
  if (maxDeviation === undefined || maxDeviation <= TOLERANCE * maxChange) return undefined;
  return (
    `does not do what the adapter on the model does: logits differ by up to ${maxDeviation.toPrecision(3)}, ` +
    `where its whole effect is ${maxChange.toPrecision(3)}`
  );
}

/** NaN if there is one. */
function largestDifference(a: Float32Array, b: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (Number.isNaN(difference)) return Number.NaN;
    largest = Math.max(largest, difference);
  }
  return largest;
}
