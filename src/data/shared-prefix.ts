/** What two samples have in common at their beginnings, as passes share it (`src/batch/shared-prefixes.ts`). */
import type { EncodedSample } from './pad-batch.js';
import type { ProcessedImage } from './process-pixels.js';

/** A shorter prefix is not shared. Tests compare this and all else here with what passes do. */
const FEWEST_TOKENS = 16;

/** First and last cell of an image in its sample. */
export interface ImageSpan {
  readonly first: number;
  readonly last: number;
}

/** Tokens that `sample` reuses of `earlier` if both are in one pass. @param spans of the images of `sample` */
export function sharedPrefixLength(sample: EncodedSample, earlier: EncodedSample, spans: readonly ImageSpan[]): number {
  const [ids, others] = [sample.inputIds, earlier.inputIds];
  let length = 0;
  while (length < ids.length && ids[length] === others[length]) length++;
  for (const [n, { first, last }] of spans.entries()) {
    if (first >= length) break;
    // All images have the same tokens: pixels decide.
    if (last >= length || !isSameImage(sample.images[n]!, earlier.images[n]!)) length = first;
  }
  if (length < FEWEST_TOKENS) return 0;
  // Each sample keeps a token of its own.
  const most = Math.min(length, ids.length - 1);
  const cut = spans.find(({ first, last }) => first < most && most <= last);
  const tokens = cut ? cut.first : most;
  return tokens < FEWEST_TOKENS ? 0 : tokens;
}

function isSameImage(one: ProcessedImage, other: ProcessedImage): boolean {
  if (one.pixelValues === other.pixelValues) return true;
  if (one.height !== other.height || one.width !== other.width) return false;
  const { pixelValues } = other;
  return one.pixelValues.every((value, i) => value === pixelValues[i]);
}
