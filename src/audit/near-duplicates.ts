/** Which images of a set look the same: candidates by their coarse shape, then a look at their details. */
import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import { alignImages, type Pyramid, pyramidOf } from './align-images.js';
import type { ImageTransform } from './audit-report.js';
import { type Candidate, candidates, coarseShape, SHAPE_LENGTH, turned } from './coarse-shape.js';

/** Candidates that are looked at, in a set of any size. */
const MAX_CANDIDATES = 500_000;
/** Pyramids that are kept: candidates come in the order of their first image. */
const KEPT_PYRAMIDS = 4096;

/** By the bits of a candidate's turn. */
const TRANSFORMS: readonly ImageTransform[] = [
  'none',
  'mirrored',
  'mirrored, rotated by 180°',
  'rotated by 180°',
  'mirrored, rotated by 270°',
  'rotated by 270°',
  'rotated by 90°',
  'mirrored, rotated by 90°',
];

/** Two images that look the same. */
export interface NearPair {
  /** Index of the image. */
  readonly a: number;
  /** Above `a`. */
  readonly b: number;
  readonly correlation: number;
  readonly overlap: number;
  readonly transform: ImageTransform;
}

interface NearSearch {
  /** Of each image [THUMB_EDGE, THUMB_EDGE]; undefined for one that is compared with none. */
  readonly thumbs: readonly (Uint8Array | undefined)[];
  readonly minCorrelation: number;
  readonly transforms: boolean;
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal | undefined;
}

/** @returns pairs by `a` and `b`, each once, and whether there were more candidates than are looked at */
export async function findNearDuplicates({
  thumbs,
  minCorrelation,
  transforms,
  onProgress,
  signal,
}: NearSearch): Promise<{ pairs: NearPair[]; isCut: boolean }> {
  const compared = [...thumbs.keys()].filter((i) => thumbs[i] !== undefined);
  const shapes = new Float32Array(compared.length * SHAPE_LENGTH);
  for (const [place, i] of compared.entries()) {
    coarseShape(thumbs[i]!, shapes.subarray(place * SHAPE_LENGTH, (place + 1) * SHAPE_LENGTH));
  }
  const turn = async (): Promise<void> => {
    if (isTurnDue()) await eventLoopTurn();
    signal?.throwIfAborted();
  };
  const search = candidates({ shapes, turns: transforms, limit: MAX_CANDIDATES });
  let step = search.next();
  for (; !step.done; step = search.next()) await turn();
  const found = (step.value as Candidate[]).sort((x, y) => x.a - y.a || x.b - y.b || x.turn - y.turn);
  const pyramids = new Map<number, Pyramid>();
  const pyramid = (place: number): Pyramid => {
    let made = pyramids.get(place);
    if (!made) {
      if (pyramids.size >= KEPT_PYRAMIDS) pyramids.clear();
      made = pyramidOf(thumbs[compared[place]!]!);
      pyramids.set(place, made);
    }
    return made;
  };
  const best = new Map<string, NearPair>();
  for (const [done, { a, b, turn: bits }] of found.entries()) {
    const other = bits === 0 ? pyramid(b) : pyramidOf(turned(thumbs[compared[b]!]!, bits));
    const alignment = alignImages(pyramid(a), other);
    if (alignment && alignment.correlation >= minCorrelation) {
      const key = `${a} ${b}`;
      const before = best.get(key);
      // An image that is its own mirror image is a copy as it is.
      if (!before || alignment.correlation > before.correlation + 1e-3) {
        best.set(key, { a: compared[a]!, b: compared[b]!, ...alignment, transform: TRANSFORMS[bits]! });
      }
    }
    if (done % 64 === 63) {
      onProgress(done + 1, found.length);
      await turn();
    }
  }
  return { pairs: [...best.values()], isCut: found.length === MAX_CANDIDATES };
}
