/** Before a run: is there something to learn in every sample? Found out late, it costs the hours before. */
import type { Collator } from '../data/data-loader.js';
import { nameSample } from '../data/sample-error.js';
import type { Dataset, SftExample } from '../data/types.js';
import { DataError } from '../errors.js';

/** Samples that are looked at; of a larger set these, evenly spread. The others are found when their batch is made. */
const PROBES = 10_000;
const LISTED = 10;
/** Samples between two looks at the clock, the signal and whatever else waits for its turn. */
const PER_TURN = 64;

/**
 * Asks the collator, if it can tell from the text alone, whether each sample has a label.
 * @throws DataError naming the samples without one, and what making or encoding a sample throws
 */
export async function checkLabels(
  dataset: Dataset<SftExample>,
  collator: Collator,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!collator.hasLabels) return;
  const count = Math.min(PROBES, dataset.length);
  const unlabelled: string[] = [];
  for (let i = 0; i < count; i++) {
    if (i % PER_TURN === 0) {
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
    }
    const index = Math.floor((i * dataset.length) / count);
    const example = await dataset.get(index);
    const id = example.id ?? String(index);
    try {
      if (!collator.hasLabels(example)) unlabelled.push(id);
    } catch (error) {
      throw nameSample(error, id);
    }
  }
  if (unlabelled.length === 0) return;
  const more = unlabelled.length > LISTED ? ` and ${unlabelled.length - LISTED} more` : '';
  throw new DataError(
    `there is nothing to learn in ${unlabelled.length} of ${count} samples, no token of which carries a label: ` +
      `${unlabelled.slice(0, LISTED).join(', ')}${more}`,
    {
      hint: 'Each needs an assistant message with text, and a template that renders it. Repair them or filter them out.',
      details: { samples: unlabelled },
    },
  );
}
