/** A sample on its way into a batch, with what becomes of it: nothing is thrown where a run would stop. */
import { TuneError } from '../errors.js';
import type { EncodedConversation } from './encode-conversation.js';
import type { EncodedSample } from './pad-batch.js';
import type { ProcessedImage } from './process-pixels.js';
import { nothingToLearn, SkippableImage } from './sample-error.js';
import { userText } from './sft-messages.js';
import type { TrainingRow } from './training-rows.js';
import { IGNORE_INDEX, type Message, type TrainingExample } from './types.js';

/** What becomes of a sample in training. */
export interface SampleTrace {
  /** As in `MaskedSample`. */
  readonly status: 'learned' | 'empty' | 'dropped' | 'skipped' | 'failed';
  /** Why it is not learned; absent of a learned one. */
  readonly reason?: string;
  /** As it goes into a batch, or would go if it were not too long; absent if it cannot be encoded. */
  readonly sample?: EncodedSample;
  /** What `overlong: 'truncateText'` cut off, and the tokens before; absent if nothing. */
  readonly cut?: { readonly length: number; readonly text: string };
}

/** A sample that is encoded but for the limit of its length. `I` is what is known of an image. */
export interface PreparedSample<I = ProcessedImage> {
  readonly messages: readonly Message[];
  readonly row: TrainingRow;
  readonly conversation: EncodedConversation;
  readonly images: readonly I[];
  /** Tokens of each image. */
  readonly blocks: readonly number[][];
}

/** What a collator does with a sample. */
interface CollatorSteps {
  readonly prepare: () => Promise<PreparedSample>;
  readonly expand: (
    conversation: EncodedConversation,
    prepared: PreparedSample,
  ) => Pick<Labelled, 'inputIds' | 'labels'>;
  readonly shorten: (prepared: PreparedSample) => {
    readonly conversation: EncodedConversation;
    readonly keptText?: string;
  };
}

type Labelled = EncodedSample & { readonly labels: readonly number[] };

export async function traceSample(
  { prepare, expand, shorten }: CollatorSteps,
  example: TrainingExample,
  maxLength: number | undefined,
  signal: AbortSignal | undefined,
): Promise<SampleTrace> {
  let sample: Labelled | undefined;
  let cut: SampleTrace['cut'];
  const ending = (status: SampleTrace['status'], reason?: string): SampleTrace => ({
    status,
    ...(reason !== undefined && { reason }),
    ...(sample && { sample }),
    ...(cut && { cut }),
  });
  try {
    const prepared = await prepare();
    const { conversation, images, messages } = prepared;
    const about = { id: example.id ?? '', images };
    sample = { ...about, ...expand(conversation, prepared) };
    const fitting = shorten(prepared);
    if (fitting.keptText !== undefined) {
      cut = { length: sample.inputIds.length, text: userText(messages).slice(fitting.keptText.length) };
      sample = { ...about, ...expand(fitting.conversation, prepared) };
    }
    if (!hasLabels(sample.labels)) return ending('empty', nothingToLearn(messages).summary);
  } catch (error) {
    if (signal?.aborted) throw error;
    if (error instanceof SkippableImage) return ending('skipped', error.message);
    if (!(error instanceof TuneError)) throw error;
    return ending('failed', error.summary);
  }
  const { length } = sample.inputIds;
  if (maxLength === undefined || length <= maxLength) return ending('learned');
  return ending('dropped', `${length} tokens; maxLength is ${maxLength}`);
}

/** The first token is never predicted, so its label does not count. */
export function hasLabels(labels: readonly number[]): boolean {
  return labels.some((label, i) => i > 0 && label !== IGNORE_INDEX);
}
