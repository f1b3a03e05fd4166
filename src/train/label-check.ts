/** Before a run: does every sample hold something to learn? Found out late, it costs the hours before. */

import { eventLoopTurn } from '../async/event-loop.js';
import { orAborted } from '../async/or-aborted.js';
import type { Collator } from '../data/data-loader.js';
import { nameSample } from '../data/sample-error.js';
import type { SampleInspection } from '../data/sample-inspection.js';
import type { Dataset, SftExample, TrainingExample } from '../data/types.js';
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';

/** Samples that are looked at; of a larger set these, evenly spread. The others are found when their batch is made. */
const PROBES = 10_000;
const LISTED = 10;
/** Samples between two turns of the event loop. */
const PER_TURN = 64;

/**
 * Asks the collator, if it can say from the text alone, whether each sample has a label, and what else is worth a warning.
 * @param stopTokenIds the tokens that stop generation, where they are known
 * @returns warnings, one line each
 * @throws DataError naming the samples without a label, and what making or encoding a sample throws
 */
export async function checkLabels(
  dataset: Dataset<TrainingExample>,
  collator: Collator,
  signal: AbortSignal | undefined,
  stopTokenIds?: readonly number[],
): Promise<string[]> {
  if (!collator.hasLabels && !collator.inspect) return [];
  const unlabelled: string[] = [];
  const findings = new Findings(Math.min(PROBES, dataset.length), stopTokenIds);
  const count = await forProbes(dataset, signal, (example, id) => {
    try {
      const inspection = collator.inspect?.(example);
      if (inspection) findings.add(inspection, id);
      if (!(inspection ? inspection.labels > 0 : collator.hasLabels!(example))) unlabelled.push(id);
    } catch (error) {
      throw nameSample(error, id);
    }
  });
  if (unlabelled.length === 0) {
    // All of a larger set are not known to be.
    if (count === dataset.length) findings.requireOneThatFits(count);
    return findings.warnings();
  }
  throw new DataError(
    `there is nothing to learn in ${unlabelled.length} of ${count} samples, no token of which carries a label: ` +
      shortList(unlabelled, LISTED, oneLine),
    {
      hint: 'Each needs an assistant message with text, and a template that renders it. Repair them or filter them out.',
      details: { samples: unlabelled },
    },
  );
}

/**
 * Whether each sample of an evaluation set can be measured, asked before the run: the first evaluation may be hours away.
 * @throws DataError or TextError naming a sample that cannot
 */
export async function checkEvaluationSet(
  dataset: Dataset<TrainingExample>,
  collator: Collator,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!collator.inspect) return;
  let dropped = 0;
  let longest = 0;
  const count = await forProbes(dataset, signal, (example, id) => {
    const name = `${id} of the evaluation set`;
    try {
      const { labels, tooLong } = collator.inspect!(example);
      if (tooLong && !tooLong.isDropped) throw tooLongError(tooLong);
      if (tooLong) dropped++;
      longest = Math.max(longest, tooLong?.length ?? 0);
      if (labels > 0) return;
    } catch (error) {
      throw nameSample(error, name);
    }
    throw new DataError(`sample ${oneLine(name)}: there is nothing to measure, no token of it carries a label`, {
      hint: 'Each needs an assistant message with text, not masked by `weight: 0` or `train: false`.',
      details: { sample: name },
    });
  });
  if (dropped === dataset.length && count > 0) throw allTooLong('the evaluation set', count, longest);
}

function tooLongError({ length, maxLength }: NonNullable<SampleInspection['tooLong']>): DataError {
  return new DataError(`${length} tokens by its text alone; maxLength is ${maxLength}`, {
    hint: 'Raise `maxLength`, or set `overlong` of the collator to "drop" or "truncateText".',
    details: { length, maxLength },
  });
}

function allTooLong(which: string, count: number, longest: number): DataError {
  return new DataError(
    `all ${count} samples of ${which} are longer than \`maxLength\`, and \`overlong: "drop"\` leaves them out; the longest ` +
      `has at least ${longest} tokens`,
    { hint: 'Raise `maxLength`, or set `overlong: "truncateText"`.', details: { samples: count, longest } },
  );
}

/** Makes up to `PROBES` samples of a set, one after the other, and gives their number. */
async function forProbes(
  dataset: Dataset<TrainingExample>,
  signal: AbortSignal | undefined,
  look: (example: SftExample, id: string) => void,
): Promise<number> {
  const count = Math.min(PROBES, dataset.length);
  for (let i = 0; i < count; i++) {
    if (i % PER_TURN === 0) {
      await eventLoopTurn();
      signal?.throwIfAborted();
    }
    const index = Math.floor((i * dataset.length) / count);
    const example = (await orAborted(dataset.get(index), signal)) as SftExample;
    look(example, example.id ?? String(index));
  }
  return count;
}

interface Tally {
  count: number;
  samples: number;
  readonly first: string;
}

class Findings {
  readonly #looked: number;
  readonly #stopTokenIds: ReadonlySet<number> | undefined;
  readonly #open = new Map<string, Tally>();
  readonly #strange = new Map<string, Tally>();
  readonly #spelled = new Map<string, Tally>();
  readonly #promptFaults = new Set<string>();
  readonly #leftOut = new Map<string, Tally>();
  readonly #tooLong = new Map<string, Tally>();
  #dropped = 0;
  #longest = 0;

  constructor(looked: number, stopTokenIds: readonly number[] | undefined) {
    this.#looked = looked;
    this.#stopTokenIds = stopTokenIds && new Set(stopTokenIds);
  }

  add(inspection: SampleInspection, id: string): void {
    const { openAnswers, openReason, promptFault, endTokens, spelledTokens, leftOut, tooLong } = inspection;
    if (tooLong) {
      this.#longest = Math.max(this.#longest, tooLong.length);
      if (tooLong.isDropped) this.#dropped++;
      const fate = tooLong.isDropped ? 'are dropped' : 'stop the run when it comes to them';
      tally(this.#tooLong, `maxLength ${tooLong.maxLength} and ${fate}`, 1, id);
    }
    if (promptFault !== undefined) this.#promptFaults.add(promptFault);
    if (openAnswers > 0) tally(this.#open, openReason ?? 'nothing closes it', openAnswers, id);
    for (const end of endTokens) {
      if (this.#stopTokenIds && !this.#stopTokenIds.has(end.id))
        tally(this.#strange, `${end.token} (${end.id})`, 1, id);
    }
    for (const [token, times] of Object.entries(spelledTokens)) tally(this.#spelled, token, times, id);
    for (const what of leftOut) tally(this.#leftOut, what, 1, id);
  }

  /** @throws DataError if all samples are dropped */
  requireOneThatFits(count: number): void {
    if (count > 0 && this.#dropped === count) throw allTooLong('the training set', count, this.#longest);
  }

  warnings(): string[] {
    const of = ({ samples, first }: Tally) => `in ${samples} of ${this.#looked} samples (first: ${oneLine(first)})`;
    const lines: string[] = [];
    for (const [what, { samples, first }] of this.#tooLong) {
      lines.push(
        `${samples} of ${this.#looked} samples are longer than ${what} (first: ${oneLine(first)}), by their text alone`,
      );
    }
    for (const [reason, found] of this.#open) {
      lines.push(
        `the end of the answer is not learned ${of(found)}. Of the chat template: ${reason}. ` +
          'A model that never learns to stop answers without end; let the template write {{ eos_token }} after each answer',
      );
    }
    for (const fault of this.#promptFaults) {
      lines.push(
        `generation asks in another way than training shows. Of the chat template: ${fault}. ` +
          'Let it write the same in both, the prompt by {% if add_generation_prompt %}',
      );
    }
    for (const [token, found] of this.#strange) {
      const known = [...this.#stopTokenIds!].join(', ') || 'none';
      lines.push(
        `answers end with ${token} ${of(found)}, which is none of the model’s end-of-sequence tokens (${known}): ` +
          'prompts of the collator stop at both; for other programs put it into eos_token_id of generation_config.json',
      );
    }
    if (this.#spelled.size > 0) {
      const tokens = Array.from(this.#spelled, ([token, { count, samples, first }]) => {
        const often = count === 1 ? 'once' : `${count} times`;
        return `${token} ${often} in ${samples} ${samples === 1 ? 'sample' : 'samples'} (first: ${oneLine(first)})`;
      });
      lines.push(
        `texts spell control tokens, which stay text: ${tokens.join('; ')}. ` +
          'If they are meant as such, give messages and images as parts, or set `parseSpecialTokens` for plain strings',
      );
    }
    for (const [what, found] of this.#leftOut) {
      lines.push(`the chat template does not show ${what} ${of(found)}: nothing of them is seen or learned`);
    }
    return lines;
  }
}

function tally(found: Map<string, Tally>, name: string, count: number, first: string): void {
  const known = found.get(name) ?? { count: 0, samples: 0, first };
  known.count += count;
  known.samples++;
  found.set(name, known);
}
