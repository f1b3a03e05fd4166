/** What two samples have in common at their beginnings, as passes share it (`src/batch/shared-prefixes.ts`). */
import { createHash } from 'node:crypto';
import type { EncodedSample } from './pad-batch.js';
import type { ProcessedImage } from './process-pixels.js';

/** A shorter prefix is not shared. Tests compare this and all else here with what passes do. */
const FEWEST_TOKENS = 16;

/** First and last cell of an image in its sample. */
export interface ImageSpan {
  readonly first: number;
  readonly last: number;
}

/** What decides a prefix, without the pixels. */
export interface PrefixSample {
  readonly inputIds: EncodedSample['inputIds'];
  readonly spans: readonly ImageSpan[];
  /** Of each image, by `imageDigest`. */
  readonly digests: readonly string[];
}

/** Tokens that a sample reuses of an earlier one if both are in one pass. */
export function sharedPrefixLength({ inputIds: ids, spans, digests }: PrefixSample, earlier: PrefixSample): number {
  let length = 0;
  while (length < ids.length && ids[length] === earlier.inputIds[length]) length++;
  for (const [n, { first }] of spans.entries()) {
    if (first >= length) break;
    // All images have the same tokens: pixels decide.
    if (digests[n] !== earlier.digests[n]) length = first;
  }
  // Each sample keeps a token of its own.
  const most = Math.min(length, ids.length - 1);
  const cut = spans.find(({ first, last }) => first < most && most <= last);
  const tokens = cut ? cut.first : most;
  return tokens < FEWEST_TOKENS ? 0 : tokens;
}

/** Equal for images with equal pixels alone. */
export function imageDigest({ pixelValues, height, width }: ProcessedImage): string {
  const bytes = new Uint8Array(pixelValues.buffer, pixelValues.byteOffset, pixelValues.byteLength);
  return `${height} ${width} ${createHash('sha256').update(bytes).digest('base64')}`;
}
