/** Small images for the page of an audit, decoded again: a report holds none. */
import { z } from 'zod';
import { functionOption, type Given, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { decodeWithin } from '../data/decode-budget.js';
import type { Dataset, ImageInput } from '../data/types.js';
import { imageDataUri } from '../page/data-uri.js';
import { type AuditInput, splitsOf } from './audit-options.js';
import { type AuditedImage, type AuditReport, type AuditThumbnails, imageKey } from './audit-report.js';
import { requireAuditReport, requireSplit } from './checked-report.js';
import { factsOf } from './sample-images.js';
import { shownImages } from './shown-images.js';

/** Which images of a report become thumbnails, and how large. */
export interface AuditThumbnailOptions<T = unknown> {
  /** Groups of copies of which images are made at most, as `auditSection` shows them. Default: 40. */
  readonly maxGroups?: number | undefined;
  /** Images of each kind of issue at most, as `auditSection` shows them. Default: 12. */
  readonly maxIssues?: number | undefined;
  /** Longest edge in pixels. Default: 200. */
  readonly longestEdge?: number | undefined;
  /** Images of a sample, as `auditDataset` was given. Default: found as there. */
  readonly images?: ((sample: T, index: number) => ImageInput | readonly ImageInput[]) | undefined;
  /** Ends the work, which then rejects with the signal's reason. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

const thumbnailSchema = z.strictObject({
  maxGroups: z.int().nonnegative().default(40),
  maxIssues: z.int().nonnegative().default(12),
  longestEdge: z.int().positive().max(1024).default(200),
  images: functionOption<NonNullable<AuditThumbnailOptions['images']>>().optional(),
  signal: z.instanceof(AbortSignal, { error: 'expected an AbortSignal' }).optional(),
});
type _Input = NoMismatch<Mismatch<Given<z.input<typeof thumbnailSchema>>, Given<AuditThumbnailOptions>>>;

/**
 * Thumbnails of the images that `auditSection` shows with the same limits, some 4 KB each. Images that cannot be read
 * have none.
 * @param data what was audited
 * @throws DataError if the report is about other data; ConfigError for wrong options; the signal's reason
 */
export async function auditThumbnails<T>(
  data: AuditInput<T>,
  report: AuditReport,
  options: AuditThumbnailOptions<T> = {},
): Promise<AuditThumbnails> {
  requireAuditReport(report, 'auditThumbnails');
  const { maxGroups, maxIssues, longestEdge, images, signal } = parseOptions(
    thumbnailSchema,
    options,
    'auditThumbnails',
  );
  const splits = new Map(splitsOf(data, 'auditThumbnails') as [string, Dataset<unknown>][]);
  for (const [name, dataset] of splits) requireSplit(report, name, dataset, 'auditThumbnails');
  const wanted = [
    ...new Map(shownImages(report, { maxGroups, maxIssues }).map((one) => [imageKey(one), one])).values(),
  ];
  const uris: (string | undefined)[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < wanted.length) {
      const place = next++;
      signal?.throwIfAborted();
      uris[place] = await thumbnailOf(wanted[place]!);
    }
  };
  const thumbnailOf = async ({ split, index, position }: AuditedImage): Promise<string | undefined> => {
    try {
      const sample = await splits.get(split)?.get(index);
      const image = sample === undefined ? undefined : factsOf(sample, index, { images }).images[position];
      if (image === undefined) return undefined;
      const held = await decodeWithin(image, signal);
      try {
        return await imageDataUri(held.image, longestEdge);
      } finally {
        held.release();
      }
    } catch {
      // What cannot be read is an issue of the report already.
      signal?.throwIfAborted();
      return undefined;
    }
  };
  await Promise.all(Array.from({ length: 4 }, work));
  return Object.fromEntries(wanted.flatMap((one, i) => (uris[i] === undefined ? [] : [[imageKey(one), uris[i]]])));
}
