/** What an audit is given: data sets in any form, and limits. */
import { z } from 'zod';
import { callback, functionOption, type Given, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import type { Dataset, ImageInput } from '../data/types.js';
import { ConfigError } from '../errors.js';
import { describeGiven, isKind, isObject } from '../messages/given-kind.js';
import type { AuditSettings } from './audit-report.js';
import type { SampleReaders } from './sample-images.js';

/** Splits by name: `{ train, test }`. */
export type NamedSplits<T = unknown> = Readonly<Record<string, Dataset<T>>>;

/** One data set, an `ImageFolder` with its splits, or splits by name. */
export type AuditInput<T = unknown> =
  | Dataset<T>
  | NamedSplits<T>
  | { readonly splits: ReadonlyMap<string, Dataset<T>> };

/** Where an audit is. */
export interface AuditProgress {
  /** `images`: samples are read and decoded; `pairs`: images that may be copies are compared. */
  readonly phase: 'images' | 'pairs';
  /** Samples or pairs so far. */
  readonly done: number;
  /** Samples or pairs in all. */
  readonly total: number;
}

/** Options of `auditDataset`: limits, and what samples of a caller's own kind hold. */
export interface AuditOptions<T = unknown> extends Partial<AuditSettings> {
  /** Images of a sample. Default: its `image`, the images of its messages, or the sample itself where that is an image. */
  readonly images?: ((sample: T, index: number) => ImageInput | readonly ImageInput[]) | undefined;
  /** Class of a sample. Default: its `className` or `label`, or the assistant's words in a conversation. */
  readonly label?: ((sample: T, index: number) => string | undefined) | undefined;
  /** Called as the audit goes on. Default: none. */
  readonly onProgress?: ((progress: AuditProgress) => void) | undefined;
  /** Ends the audit, which then rejects with the signal's reason. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

const auditSchema = z.strictObject({
  nearDuplicates: z.boolean().default(true),
  transforms: z.boolean().default(true),
  minCorrelation: z.number().min(0.3).max(1).default(0.85),
  tinyEdge: z.number().nonnegative().default(64),
  maxAspectRatio: z.number().min(1).default(5),
  maxSizeFactor: z.number().min(1).default(16),
  darkLevel: z.number().min(0).max(255).default(64),
  blankRange: z.number().min(0).max(255).default(10),
  maxBlur: z.number().min(0).max(1).default(0.75),
  images: functionOption<NonNullable<SampleReaders<unknown>['images']>>().optional(),
  label: functionOption<NonNullable<SampleReaders<unknown>['label']>>().optional(),
  onProgress: callback<AuditProgress>().optional(),
  signal: z.instanceof(AbortSignal, { error: 'expected an AbortSignal' }).optional(),
});
type _Input = NoMismatch<Mismatch<Given<z.input<typeof auditSchema>>, Given<AuditOptions>>>;

const ALIASES = { threshold: 'minCorrelation', rotations: 'transforms', flips: 'transforms', minsize: 'tinyEdge' };

/** The checked options, in two parts. @throws ConfigError */
export function parseAuditOptions(options: unknown): {
  settings: AuditSettings;
  rest: Pick<z.output<typeof auditSchema>, 'images' | 'label' | 'onProgress' | 'signal'>;
} {
  const { images, label, onProgress, signal, ...settings } = parseOptions(
    auditSchema,
    options,
    'auditDataset',
    ALIASES,
  );
  return { settings, rest: { images, label, onProgress, signal } };
}

/** @throws ConfigError for what holds no data set */
export function splitsOf<T>(data: AuditInput<T>, what: string): [name: string, dataset: Dataset<T>][] {
  const hint = 'Give an ImageFolder, a data set, or splits by name: { train, test }.';
  if (isKind(data, 'dataset')) return [['train', data as Dataset<T>]];
  if (!isObject(data) || Array.isArray(data) || isKind(data, 'promise')) {
    throw new ConfigError(`${what}: expected data sets, got ${describeGiven(data)}`, {
      hint: Array.isArray(data)
        ? 'IndexedDataset.from(array) makes a data set of it.'
        : isKind(data, 'promise')
          ? 'Await it.'
          : hint,
    });
  }
  const splits = (data as { splits?: unknown }).splits;
  const named =
    splits instanceof Map ? [...(splits as Map<string, Dataset<T>>)] : Object.entries(data as NamedSplits<T>);
  if (named.length === 0) throw new ConfigError(`${what}: no data set is given`, { hint });
  for (const [name, dataset] of named) {
    if (isKind(dataset, 'dataset')) continue;
    throw new ConfigError(`${what}: \`${name}\`: expected a data set, got ${describeGiven(dataset)}`, { hint });
  }
  return named;
}
