/** What of a sample is learned, token by token, with the cells of its images in place: as plain data. */
import { z } from 'zod';
import { lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError, DataError, TuneError } from '../errors.js';
import { describeGiven, isKind, isObject, isPromise } from '../messages/given-kind.js';
import { requireKind, requireSignal } from '../require-given.js';
import { type MaskImage, maskImage } from './mask-images.js';
import { type MaskToken, type PlacedSample, placeTokens, rowOf } from './mask-tokens.js';
import type { PaddingSide } from './pad-batch.js';
import type { SampleInspection } from './sample-inspection.js';
import type { SampleTrace } from './sample-trace.js';
import { imageDigest, type PrefixSample, sharedPrefixLength } from './shared-prefix.js';
import type { Dataset, TrainingExample } from './types.js';
import type { VlmCollator } from './vlm-collator.js';

export type { MaskImage } from './mask-images.js';
export type { MaskToken } from './mask-tokens.js';

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
/** Options of {@link maskView}. */
export interface MaskViewOptions {
  /** Of a data set: which samples the batch is made of, counted from 0. Default: the first four. */
  indices?: readonly number[] | undefined;
  /** Longest edge in pixels of the images in the view; 0 leaves them out. Default: 768. */
  imageEdge?: number | undefined;
  /** Stops waiting for images; the call then fails with the signal's reason. Default: none. */
  readonly signal?: AbortSignal;
}

/** Checks {@link MaskViewOptions}. */
const maskViewSchema = lazySchema(() =>
  z.strictObject({
    indices: z.array(z.int().nonnegative()).readonly().optional(),
    imageEdge: z.int().nonnegative().max(4096).default(768),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof maskViewSchema>>, Omit<MaskViewOptions, 'signal'>>>;

/** Samples of a data set that are shown unless it is said which. */
const SHOWN = 4;

/**
 * What training sees of some samples: one sample, a list of them as one batch, or a data set. A sample that cannot be
 * learned is in the view with the reason. Tokens and labels are those of `collator.collate`.
 * @throws ConfigError, DataError for an index that the data set does not have, and what making a sample throws
 * @example
 * ```ts
 * const view = await maskView(train.map(toExample), collator);
 * console.log(formatMask(view));
 * const html = renderMaskPage(view); // the same as a page, with images
 * ```
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
  const traced: TracedSample[] = [];
  // A few at a time: processed images are large.
  for (let i = 0; i < named.length; i += AT_ONCE) {
    signal?.throwIfAborted();
    const some = named.slice(i, i + AT_ONCE);
    traced.push(...(await Promise.all(some.map((one) => traceSample(one, collator, imageEdge, signal)))));
  }
  const { paddingSide, maxLength } = collator.options;
  const inBatch = traced.filter(({ trace }) => trace.status === 'learned');
  const length = Math.max(0, ...inBatch.map(({ tokens }) => tokens.length));
  const earlier: TracedSample[] = [];
  const rows = traced.map((sample): MaskedSample => {
    const { id, trace, images, inspection, tokens } = sample;
    const isInBatch = trace.status === 'learned';
    const shared = isInBatch ? Math.max(0, ...earlier.map((other) => sharedPrefixLength(sample, other))) : 0;
    if (isInBatch) earlier.push(sample);
    const padding = isInBatch ? length - tokens.length : 0;
    const row = rowOf(tokens, padding, paddingSide, shared, collator.tokenizer);
    const start = paddingSide === 'left' ? padding : 0;
    return {
      id,
      status: trace.status,
      ...(trace.reason !== undefined && { reason: trace.reason }),
      tokens: row,
      images: images.map((image) => ({ ...image, position: image.position + start })),
      length: tokens.length,
      labels: row.filter(({ isLearned }) => isLearned).length,
      sharedPrefix: shared,
      ...(trace.cut && { truncated: trace.cut }),
      ...(inspection && { inspection }),
    };
  });
  return { samples: rows, length, paddingSide, ...(maxLength !== undefined && { maxLength }) };
}

/** Samples that are processed at the same time. */
const AT_ONCE = 4;

/** A sample without its pixels. */
interface TracedSample extends PlacedSample, PrefixSample {
  readonly id: string;
  readonly trace: Omit<SampleTrace, 'sample'>;
  readonly images: readonly MaskImage[];
  readonly inspection: SampleInspection | undefined;
}

async function traceSample(
  { id, example }: NamedSample,
  collator: VlmCollator,
  imageEdge: number,
  signal: AbortSignal | undefined,
): Promise<TracedSample> {
  const { sample, ...trace } = await collator.trace(example, { ...(signal && { signal }) });
  const inspection = inspected(collator, example);
  const { inputIds = [], images = [] } = sample ?? {};
  const placed = sample ? placeTokens(sample, collator.tokenizer) : { tokens: [], spans: [], cellSizes: [] };
  const shown = images.map((image, n) =>
    maskImage(image, placed.spans[n]!.first, placed.cellSizes[n]!, collator.settings, imageEdge),
  );
  const digests = images.map(imageDigest);
  return { id, trace, inspection, inputIds, digests, ...placed, images: await Promise.all(shown) };
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

/** @throws ConfigError for what is no mask view */
export function requireMaskView(view: unknown, what: string): void {
  if (isObject(view) && Array.isArray(view.samples) && 'paddingSide' in view) return;
  throw new ConfigError(`${what}: expected a mask view, got ${describeGiven(view)}`, {
    hint: isPromise(view) ? 'Await it.' : 'await maskView(samples, collator) gives one.',
  });
}
