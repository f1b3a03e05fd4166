/** Which images of a set look the same: candidates by their coarse shape, then a look at their details. */
import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import { alignImages, type Pyramid, pyramidOf } from './align-images.js';
import type { ImageTransform } from './audit-report.js';
import { type Candidate, candidates, coarseShape, SHAPE_LENGTH, turned } from './coarse-shape.js';
import type { NearPair } from './copy-groups.js';
import { kinOf, LEAST_RESEMBLANCE, Lookalikes } from './image-families.js';

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

/** Two views of an image, each [THUMB_EDGE, THUMB_EDGE]. */
interface ImageViews {
  readonly thumb: Uint8Array;
  /** Without borders; `thumb` itself where there are none. */
  readonly inner: Uint8Array;
  /** Whether it has fewer pixels than are compared. */
  readonly isSmall: boolean;
}

interface NearSearch {
  /** Of each image; undefined for one that is compared with none. */
  readonly views: readonly (ImageViews | undefined)[];
  readonly minCorrelation: number;
  readonly transforms: boolean;
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Images are compared whole with whole, and without borders with without: an image and its copy in a frame agree in the
 * one, crops of one with a dark background in the other.
 * @returns pairs by `a` and `b`, each once, whether there were more candidates than are looked at, and how many images
 *   have so many that resemble them that only the closest count as their copies
 */
export async function findNearDuplicates(
  search: NearSearch,
): Promise<{ pairs: NearPair[]; isCut: boolean; family: number }> {
  const { views, minCorrelation, transforms, onProgress, signal } = search;
  const compared = [...views.keys()].filter((i) => views[i] !== undefined);
  const turn = async (): Promise<void> => {
    if (isTurnDue()) await eventLoopTurn();
    signal?.throwIfAborted();
  };
  const find = async (thumbOf: (views: ImageViews) => Uint8Array): Promise<Candidate[]> => {
    const shapes = new Float32Array(compared.length * SHAPE_LENGTH);
    for (const [place, i] of compared.entries()) {
      coarseShape(thumbOf(views[i]!), shapes.subarray(place * SHAPE_LENGTH, (place + 1) * SHAPE_LENGTH));
    }
    const steps = candidates({ shapes, turns: transforms, limit: MAX_CANDIDATES });
    let step = steps.next();
    for (; !step.done; step = steps.next()) await turn();
    return step.value.sort((x, y) => x.a - y.a || x.b - y.b || x.turn - y.turn);
  };
  const whole = await find(({ thumb }) => thumb);
  const hasBorder = (place: number): boolean => views[compared[place]!]!.inner !== views[compared[place]!]!.thumb;
  const hasBorders = compared.some((_, place) => hasBorder(place));
  const inner = hasBorders ? (await find((one) => one.inner)).filter(({ a, b }) => hasBorder(a) || hasBorder(b)) : [];
  const best = new Map<string, NearPair>();
  const lookalikes = new Lookalikes(compared.length);
  const places = new Map(compared.map((image, place) => [image, place]));
  let done = 0;
  const compare = async (found: readonly Candidate[], thumbOf: (views: ImageViews) => Uint8Array): Promise<void> => {
    const pyramids = new PyramidCache((place) => thumbOf(views[compared[place]!]!));
    for (const { a, b, turn: bits } of found) {
      const isSmall = views[compared[a]!]!.isSmall || views[compared[b]!]!.isSmall;
      const isStrict = isSmall || lookalikes.fullness(a, b) === 1;
      const aligned = alignImages(pyramids.of(a), pyramids.of(b, bits), isStrict);
      const alignment = aligned === 'alike' ? undefined : aligned;
      const before = best.get(`${a} ${b}`);
      if (alignment && alignment.correlation >= requiredCorrelation(minCorrelation, alignment.detail, isSmall)) {
        lookalikes.delete(a, b);
        // An image that is its own mirror image is a copy as it is.
        if (!before || alignment.correlation > before.correlation + 1e-3) {
          const { correlation, overlap } = alignment;
          const transform = TRANSFORMS[bits]!;
          best.set(`${a} ${b}`, { a: compared[a]!, b: compared[b]!, correlation, overlap, transform });
        }
      } else if (!before && (aligned === 'alike' || (alignment && alignment.correlation >= LEAST_RESEMBLANCE))) {
        lookalikes.add(a, b);
      }
      if (++done % 64 > 0) continue;
      onProgress(done, whole.length + inner.length);
      await turn();
    }
  };
  await compare(whole, ({ thumb }) => thumb);
  await compare(inner, (one) => one.inner);
  onProgress(done, done);
  const kin = kinOf([...best.values()], (image) => lookalikes.fullness(places.get(image)!, places.get(image)!));
  const pairs = [...best.values()]
    .filter(({ a, b, correlation }) => correlation >= raised(minCorrelation, Math.max(kin(a), kin(b))))
    .sort((x, y) => x.a - y.a || x.b - y.b);
  const family = compared.filter((image) => kin(image) === 1).length;
  return { pairs, isCut: whole.length === MAX_CANDIDATES || inner.length === MAX_CANDIDATES, family };
}

/** Correlation that is asked of small images: those of one class have little that tells them apart. */
const SMALL_CORRELATION = 0.97;
/**
 * Correlation that is asked of a family, and of images full of details from `MUCH_DETAIL` on: pages of one form have most
 * in common.
 */
const FULL_CORRELATION = 0.95;
const SOME_DETAIL = 0.45;
const MUCH_DETAIL = 0.6;

function requiredCorrelation(least: number, detail: number, isSmall: boolean): number {
  const fullness = Math.min(1, Math.max(0, (detail - SOME_DETAIL) / (MUCH_DETAIL - SOME_DETAIL)));
  const required = raised(least, fullness);
  return isSmall ? Math.max(required, SMALL_CORRELATION) : required;
}

function raised(least: number, share: number): number {
  return least + Math.max(0, FULL_CORRELATION - least) * share;
}

/** Pyramids of images as they are; turned ones are made each time. */
class PyramidCache {
  readonly #kept = new Map<number, Pyramid>();
  readonly #thumbOf: (place: number) => Uint8Array;

  constructor(thumbOf: (place: number) => Uint8Array) {
    this.#thumbOf = thumbOf;
  }

  of(place: number, turn = 0): Pyramid {
    if (turn > 0) return pyramidOf(turned(this.#thumbOf(place), turn));
    let pyramid = this.#kept.get(place);
    if (!pyramid) {
      if (this.#kept.size >= KEPT_PYRAMIDS) this.#kept.clear();
      pyramid = pyramidOf(this.#thumbOf(place));
      this.#kept.set(place, pyramid);
    }
    return pyramid;
  }
}
