/** What of a sample is learned, token by token, with the cells of its images in place: as plain data. */
import { z } from 'zod';
import { parseOptions } from '../config.js';
import { ConfigError, DataError, TuneError } from '../errors.js';
import { describeGiven, isKind, isObject, isPromise } from '../messages/given-kind.js';
import { requireKind, requireSignal } from '../require-given.js';
import { type MaskImage, maskImage } from './mask-images.js';
import type { EncodedSample, PaddingSide } from './pad-batch.js';
import type { SampleInspection } from './sample-inspection.js';
import { type ImageSpan, sharedPrefixLength } from './shared-prefix.js';
import { type TokenText, tokenTexts } from './token-texts.js';
import type { MinistralTokenizer } from './tokenizer.js';
import { type Dataset, IGNORE_INDEX, type TrainingExample } from './types.js';
import type { VlmCollator } from './vlm-collator.js';

export type { MaskImage } from './mask-images.js';

/** A batch of samples, as training sees them. Plain data: it survives JSON. */
export interface MaskView {
  /** In the order in which they were given, those that are not in the batch included. */
  readonly samples: readonly MaskedSample[];
  /** Tokens of a row of the batch, padding included. */
  readonly length: number;
  /** On which side of a shorter sample the padding is. */
  readonly paddingSide: PaddingSide;
  /** The collator's option, in tokens; absent without a limit. */
  readonly maxLength?: number;
}

/** One sample of a `MaskView`. */
export interface MaskedSample {
  /** As in `SkippedSample`. */
  readonly id: string;
  /**
   * What becomes of it: `learned`; `empty`, nothing of it has a label; `dropped`, longer than `maxLength` and left out;
   * `skipped`, an image of it cannot be read and it is left out; `failed`, it stops the run.
   */
  readonly status: 'learned' | 'empty' | 'dropped' | 'skipped' | 'failed';
  /** Why it is not learned; absent of a learned one. */
  readonly reason?: string;
  /** The row of the batch, its padding included; empty if the sample cannot be encoded. */
  readonly tokens: readonly MaskToken[];
  /** In the order of their tokens. */
  readonly images: readonly MaskImage[];
  /** Tokens without padding. */
  readonly length: number;
  /** Tokens that are learned. */
  readonly labels: number;
  /** Tokens at its beginning that it shares with an earlier sample: `sharePrefix` computes them once in a pass. */
  readonly sharedPrefix: number;
  /** What `overlong: 'truncateText'` cut off; absent if nothing. */
  readonly truncated?: {
    /** Tokens before. */
    readonly length: number;
    /** The user text that is missing. */
    readonly text: string;
  };
  /** What `VlmCollator.inspect` finds; absent if the sample cannot be encoded. */
  readonly inspection?: SampleInspection;
}

/** One token of a `MaskedSample`. */
export interface MaskToken {
  /** Its index in the row of the batch. */
  readonly position: number;
  /** As in `inputIds`. */
  readonly id: number;
  /**
   * What it stands for, on one line: a space is `·`, a line end `↵`, a tab `⇥`; characters that nobody sees are written
   * as `\u200b`, bytes that are only a part of a character as `\xe6`.
   */
  readonly text: string;
  /** `control` is a control token other than those of images; `break` and `end` close a row of cells. */
  readonly kind: 'text' | 'control' | 'cell' | 'break' | 'end' | 'padding';
  /** As in `labels`: its id, or -100. */
  readonly label: number;
  /** Whether it is in the loss: it has a label and is not the first of its sample, which nothing predicts. */
  readonly isLearned: boolean;
  /** Whether an earlier sample has it in a prefix that both share. */
  readonly isShared: boolean;
  /** The characters that its bytes are a part of; absent if it has no part of one. */
  readonly partOf?: string;
  /** Of the tokens of an image. */
  readonly cell?: {
    /** Index in the sample's `images`. */
    readonly image: number;
    /** From the top, beginning with 0. */
    readonly row: number;
    /** From the left, beginning with 0; of `break` and `end` the number of cells of the row. */
    readonly column: number;
  };
}

const maskViewSchema = z.strictObject({
  /** Of a data set: which samples the batch is made of. Default: the first four. */
  indices: z.array(z.int().nonnegative()).readonly().optional(),
  /** Longest edge in pixels of the images in the view; 0 leaves them out. Default 768. */
  imageEdge: z.int().nonnegative().max(4096).default(768),
});

/** Options of `maskView`. */
export interface MaskViewOptions extends z.input<typeof maskViewSchema> {
  /** Stops waiting for images; the call then fails with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Samples of a data set that are shown unless it is said which. */
const SHOWN = 4;

/**
 * What training sees of some samples: one sample, a list of them as one batch, or a data set. A sample that cannot be
 * learned is in the view with the reason. Tokens and labels are those of `collator.collate`.
 *
 * ```ts
 * const view = await maskView(dataset.map(toExample), collator);
 * console.log(formatMask(view));
 * await writeFile('mask.html', renderMaskPage(view));
 * ```
 * @throws ConfigError, DataError for an index that the data set does not have, and what making a sample throws
 */
export async function maskView(
  samples: TrainingExample | readonly TrainingExample[] | Dataset<TrainingExample>,
  collator: VlmCollator,
  options: MaskViewOptions = {},
): Promise<MaskView> {
  const { signal, ...plain } = options ?? {};
  requireKind('collator', collator, 'maskView: `collator`', 'maskView(samples, collator)');
  requireSignal(signal, 'maskView');
  const { indices, imageEdge } = parseOptions(maskViewSchema, plain, 'maskView');
  const named = await namedSamples(samples, indices);
  signal?.throwIfAborted();
  const traces = await Promise.all(named.map(({ example }) => collator.trace(example, { ...(signal && { signal }) })));
  const { paddingSide, maxLength } = collator.options;
  const length = traces.reduce(
    (most, { status, sample }) => (status === 'learned' ? Math.max(most, sample!.inputIds.length) : most),
    0,
  );
  const earlier: EncodedSample[] = [];
  const rows: MaskedSample[] = [];
  for (const [i, { id, example }] of named.entries()) {
    const trace = traces[i]!;
    const inspection = inspected(collator, example);
    const placed = trace.sample && placeTokens(trace.sample, collator.tokenizer);
    const isInBatch = trace.status === 'learned';
    const shared = isInBatch
      ? earlier.reduce((most, other) => Math.max(most, sharedPrefixLength(trace.sample!, other, placed!.spans)), 0)
      : 0;
    if (isInBatch) earlier.push(trace.sample!);
    const padding = isInBatch ? length - trace.sample!.inputIds.length : 0;
    const tokens = placed ? rowOf(placed.tokens, padding, paddingSide, shared, collator.tokenizer) : [];
    const start = paddingSide === 'left' ? padding : 0;
    const images = (trace.sample?.images ?? []).map((image, n) =>
      maskImage(image, start + placed!.spans[n]!.first, placed!.cellSizes[n]!, collator.settings, imageEdge),
    );
    rows.push({
      id,
      status: trace.status,
      ...(trace.reason !== undefined && { reason: trace.reason }),
      tokens,
      images: await Promise.all(images),
      length: trace.sample?.inputIds.length ?? 0,
      labels: tokens.filter(({ isLearned }) => isLearned).length,
      sharedPrefix: shared,
      ...(trace.cut && { truncated: trace.cut }),
      ...(inspection && { inspection }),
    });
  }
  return { samples: rows, length, paddingSide, ...(maxLength !== undefined && { maxLength }) };
}

interface NamedSample {
  readonly id: string;
  readonly example: TrainingExample;
}

async function namedSamples(
  samples: TrainingExample | readonly TrainingExample[] | Dataset<TrainingExample>,
  indices: readonly number[] | undefined,
): Promise<NamedSample[]> {
  if (isKind(samples, 'dataset')) {
    const dataset = samples as Dataset<TrainingExample>;
    const outside = indices?.find((index) => index >= dataset.length);
    if (outside !== undefined) {
      throw new DataError(`maskView: \`indices\`: there is no sample ${outside} in a data set of ${dataset.length}`);
    }
    const shown = indices ?? Array.from({ length: Math.min(SHOWN, dataset.length) }, (_, i) => i);
    return Promise.all(
      shown.map(async (index) => {
        const example = await dataset.get(index);
        return { id: example?.id ?? String(index), example };
      }),
    );
  }
  if (indices !== undefined) {
    throw new DataError('maskView: `indices` choose samples of a data set', {
      hint: 'Leave them out, and give the samples that are to be shown.',
    });
  }
  if (Array.isArray(samples)) {
    return samples.map((example, i) => ({ id: example?.id ?? `${i} of the batch`, example }));
  }
  if (
    isKind(samples, 'folderSample') ||
    typeof samples !== 'object' ||
    samples === null ||
    isKind(samples, 'promise')
  ) {
    throw new DataError(`maskView: expected a sample, a list of samples or a data set, got ${describeGiven(samples)}`, {
      hint: isKind(samples, 'promise')
        ? 'Await it.'
        : 'Write maskView({ messages }, collator), or maskView(dataset.map(toExample), collator).',
    });
  }
  const example = samples as TrainingExample;
  return [{ id: example.id ?? '0 of the batch', example }];
}

function inspected(collator: VlmCollator, example: TrainingExample): SampleInspection | undefined {
  try {
    return collator.inspect(example);
  } catch (error) {
    if (error instanceof TuneError) return undefined;
    throw error;
  }
}

type PlacedToken = Pick<MaskToken, 'id' | 'kind' | 'cell' | 'label' | 'isLearned'> & TokenText;

interface PlacedSample {
  readonly tokens: readonly PlacedToken[];
  readonly spans: readonly ImageSpan[];
  /** Of each image, in pixels. */
  readonly cellSizes: readonly number[];
}

function placeTokens({ inputIds, labels, images }: EncodedSample, tokenizer: MinistralTokenizer): PlacedSample {
  const texts = tokenTexts(tokenizer, inputIds);
  const spans: { first: number; last: number }[] = [];
  const cellSizes: number[] = [];
  let [row, column, columns, rows] = [0, 0, 0, 0];
  const tokens = inputIds.map((id, i): PlacedToken => {
    const label = labels?.[i] ?? IGNORE_INDEX;
    const about = { id, label, isLearned: i > 0 && label !== IGNORE_INDEX, ...texts[i]! };
    if (row === rows) {
      const isText = !tokenizer.specialTokenIds.has(id);
      if (id !== tokenizer.imageTokenId) return { ...about, kind: isText ? 'text' : 'control' };
      const { width, height } = images[spans.length]!;
      columns = 0;
      while (inputIds[i + columns] === id) columns++;
      cellSizes.push(width / columns);
      [row, column, rows] = [0, 0, (height * columns) / width];
      spans.push({ first: i, last: i + rows * (columns + 1) - 2 });
    }
    const cell = { image: spans.length - 1, row, column };
    if (column++ < columns) return { ...about, kind: 'cell', cell };
    column = 0;
    return { ...about, kind: ++row === rows ? 'end' : 'break', cell };
  });
  return { tokens, spans, cellSizes };
}

function rowOf(
  placed: readonly PlacedToken[],
  padding: number,
  side: PaddingSide,
  shared: number,
  tokenizer: MinistralTokenizer,
): MaskToken[] {
  const id = tokenizer.padTokenId;
  const [padText] = tokenTexts(tokenizer, [id]);
  const pad = { id, kind: 'padding', label: IGNORE_INDEX, isLearned: false, isShared: false, ...padText! } as const;
  const pads = new Array<typeof pad>(padding).fill(pad);
  const own = placed.map((token, i) => ({ ...token, isShared: i < shared }));
  return (side === 'left' ? [...pads, ...own] : [...own, ...pads]).map((token, position) => ({ position, ...token }));
}

/** @throws ConfigError for what is no mask view */
export function requireMaskView(view: unknown, what: string): void {
  if (isObject(view) && Array.isArray(view.samples) && 'paddingSide' in view) return;
  throw new ConfigError(`${what}: expected a mask view, got ${describeGiven(view)}`, {
    hint: isPromise(view) ? 'Await it.' : 'await maskView(samples, collator) gives one.',
  });
}
