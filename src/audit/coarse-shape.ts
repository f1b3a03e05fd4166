/**
 * The coarse shape of an image as a short unit vector, and which images of a set are alike in it: candidates for a closer
 * look. Copies that are cropped by a tenth, or brighter, stay near; so do mirrored and turned ones, whose vectors follow
 * from the image's own by signs and an exchange of axes.
 */
import { THUMB_EDGE } from './align-images.js';

/** Frequencies u (down) and v (across) with 1 ≤ u + v ≤ this, in half periods an edge. */
const MAX_FREQUENCY = 7;
/** Amplitudes of natural images fall as 1 / frequency: half of that is made up for, in the exponent. */
const WHITENING = 0.5;
const SAMPLES = 32;

interface Frequency {
  readonly u: number;
  readonly v: number;
}

/** Even u and v first, then even u, even v, neither: mirroring changes the signs of whole groups. */
const FREQUENCIES: readonly Frequency[] = Array.from({ length: (MAX_FREQUENCY + 1) ** 2 }, (_, i) => ({
  u: Math.floor(i / (MAX_FREQUENCY + 1)),
  v: i % (MAX_FREQUENCY + 1),
}))
  .filter(({ u, v }) => u + v >= 1 && u + v <= MAX_FREQUENCY)
  .sort((a, b) => groupOf(a) - groupOf(b));

function groupOf({ u, v }: Frequency): number {
  return (u % 2) * 2 + (v % 2);
}

const GROUP_ENDS = [0, 1, 2, 3].map((group) => FREQUENCIES.filter((one) => groupOf(one) <= group).length);
/** Place of each frequency when the axes are exchanged. */
const EXCHANGED = FREQUENCIES.map(({ u, v }) => FREQUENCIES.findIndex((other) => other.u === v && other.v === u));
const WEIGHTS = FREQUENCIES.map(({ u, v }) => (u * u + v * v) ** (WHITENING / 2));
const COSINES = Array.from({ length: MAX_FREQUENCY + 1 }, (_, frequency) =>
  Float64Array.from({ length: SAMPLES }, (_, x) => Math.cos((Math.PI * (x + 0.5) * frequency) / SAMPLES)),
);

/** Elements of a coarse shape. */
export const SHAPE_LENGTH = FREQUENCIES.length;

/** Writes the shape of an image. @param thumb [THUMB_EDGE, THUMB_EDGE] luminance @param out [SHAPE_LENGTH] */
export function coarseShape(thumb: Uint8Array, out: Float32Array): void {
  const factor = THUMB_EDGE / SAMPLES;
  // Rows first: [MAX_FREQUENCY + 1, SAMPLES], summed over pairs of pixels.
  const rows = COSINES.map((cosine) => {
    const sums = new Float64Array(SAMPLES);
    for (let y = 0; y < THUMB_EDGE; y++) {
      let sum = 0;
      for (let x = 0; x < THUMB_EDGE; x++) sum += thumb[y * THUMB_EDGE + x]! * cosine[(x / factor) | 0]!;
      sums[(y / factor) | 0]! += sum;
    }
    return sums;
  });
  let norm = 0;
  for (const [i, { u, v }] of FREQUENCIES.entries()) {
    const row = rows[v]!;
    const cosine = COSINES[u]!;
    let sum = 0;
    for (let y = 0; y < SAMPLES; y++) sum += row[y]! * cosine[y]!;
    out[i] = sum * WEIGHTS[i]!;
    norm += out[i]! ** 2;
  }
  const scale = norm > 0 ? 1 / Math.sqrt(norm) : 0;
  for (let i = 0; i < out.length; i++) out[i]! *= scale;
}

/** Two images that may be copies, the second turned in one of eight ways. */
export interface Candidate {
  readonly a: number;
  /** Above `a`. */
  readonly b: number;
  /** What makes `b` look as `a`, as bits: 1 mirrored left to right, 2 top to bottom, 4 axes exchanged after that. */
  readonly turn: number;
  /** Cosine of the shapes. */
  readonly likeness: number;
}

/** Least cosine of shapes of images that are looked at more closely. */
const LEAST_LIKENESS = 0.82;
/** Candidates of an image, the most alike first; a pair stays that is among those of one of its two. */
const PER_IMAGE = 32;
const TURNS = 8;

/** How candidates are searched for. */
interface CandidateSearch {
  /** [count, SHAPE_LENGTH] Unit vectors; zero vectors have no candidates. */
  readonly shapes: Float32Array;
  /** Whether mirrored and turned images count. */
  readonly turns: boolean;
  /** Candidates in all at most: the most alike. */
  readonly limit: number;
}

/**
 * Compares each image with each: 10,000 images take a few seconds, 50,000 a few minutes. Yields after every image, so
 * that the caller may let others have a turn.
 */
export function* candidates({ shapes, turns, limit }: CandidateSearch): Generator<void, Candidate[]> {
  const count = shapes.length / SHAPE_LENGTH;
  const norms = groupNorms(shapes, count);
  const best = new BestOfEach(count);
  const exchanged = new Float32Array(SHAPE_LENGTH);
  const likenesses = new Float32Array(TURNS);
  for (let a = 0; a < count; a++) {
    const own = shapes.subarray(a * SHAPE_LENGTH, (a + 1) * SHAPE_LENGTH);
    for (let i = 0; i < SHAPE_LENGTH; i++) exchanged[i] = own[EXCHANGED[i]!]!;
    const n0 = norms[a * 4]!;
    const n1 = norms[a * 4 + 1]!;
    const n2 = norms[a * 4 + 2]!;
    const n3 = norms[a * 4 + 3]!;
    for (let b = a + 1; b < count; b++) {
      // No likeness exceeds that of the lengths of the groups.
      const at = b * 4;
      const outer = n0 * norms[at]! + n3 * norms[at + 3]!;
      const straight = outer + n1 * norms[at + 1]! + n2 * norms[at + 2]! >= LEAST_LIKENESS;
      const crossed = turns && outer + n1 * norms[at + 2]! + n2 * norms[at + 1]! >= LEAST_LIKENESS;
      if (straight) fourLikenesses(own, shapes, b * SHAPE_LENGTH, likenesses, 0);
      // Exchanging the axes of the one or of the other is the same to a product.
      if (crossed) fourLikenesses(exchanged, shapes, b * SHAPE_LENGTH, likenesses, 4);
      for (let turn = straight ? 0 : 4; turn < (crossed ? TURNS : turns ? 4 : straight ? 1 : 0); turn++) {
        if (likenesses[turn]! >= LEAST_LIKENESS) best.add({ a, b, turn, likeness: likenesses[turn]! });
      }
    }
    yield;
  }
  const kept = best.all();
  return kept.length > limit ? kept.sort((x, y) => y.likeness - x.likeness).slice(0, limit) : kept;
}

/** [count, 4] Length of each group of a shape. */
function groupNorms(shapes: Float32Array, count: number): Float32Array {
  const norms = new Float32Array(count * 4);
  for (let image = 0; image < count; image++) {
    for (let i = 0; i < SHAPE_LENGTH; i++) {
      norms[image * 4 + groupOf(FREQUENCIES[i]!)]! += shapes[image * SHAPE_LENGTH + i]! ** 2;
    }
  }
  return norms.map(Math.sqrt);
}

/** Likeness to the second as it is, mirrored left to right, top to bottom, and both, from `to` on. */
function fourLikenesses(own: Float32Array, shapes: Float32Array, from: number, out: Float32Array, to: number): void {
  const end0 = GROUP_ENDS[0]!;
  const end1 = GROUP_ENDS[1]!;
  const end2 = GROUP_ENDS[2]!;
  let i = 0;
  let even = 0;
  for (; i < end0; i++) even += own[i]! * shapes[from + i]!;
  let across = 0;
  for (; i < end1; i++) across += own[i]! * shapes[from + i]!;
  let down = 0;
  for (; i < end2; i++) down += own[i]! * shapes[from + i]!;
  let both = 0;
  for (; i < SHAPE_LENGTH; i++) both += own[i]! * shapes[from + i]!;
  out[to] = even + across + down + both;
  out[to + 1] = even - across + down - both;
  out[to + 2] = even + across - down - both;
  out[to + 3] = even - across - down + both;
}

/** Keeps the best candidates of every image. */
class BestOfEach {
  readonly #lists: Candidate[][];

  constructor(count: number) {
    this.#lists = Array.from({ length: count }, () => []);
  }

  add(candidate: Candidate): void {
    for (const image of [candidate.a, candidate.b]) {
      const list = this.#lists[image]!;
      list.push(candidate);
      if (list.length < 2 * PER_IMAGE) continue;
      list.sort((x, y) => y.likeness - x.likeness);
      list.length = PER_IMAGE;
    }
  }

  /** Each once, by `a`, `b`, `turn`. */
  all(): Candidate[] {
    const kept = new Set<Candidate>();
    for (const list of this.#lists) {
      list.sort((x, y) => y.likeness - x.likeness);
      for (const one of list.slice(0, PER_IMAGE)) kept.add(one);
    }
    return [...kept].sort((x, y) => x.a - y.a || x.b - y.b || x.turn - y.turn);
  }
}

/** The image turned as a candidate says: the second of two, to look as the first. */
export function turned(thumb: Uint8Array, turn: number): Uint8Array {
  if (turn === 0) return thumb;
  const last = THUMB_EDGE - 1;
  const out = new Uint8Array(thumb.length);
  for (let y = 0; y < THUMB_EDGE; y++) {
    for (let x = 0; x < THUMB_EDGE; x++) {
      // Mirrored first, then the axes are exchanged: where the latter, x counts rows.
      const row = turn & 4 ? x : y;
      const column = turn & 4 ? y : x;
      out[y * THUMB_EDGE + x] =
        thumb[(turn & 2 ? last - row : row) * THUMB_EDGE + (turn & 1 ? last - column : column)]!;
    }
  }
  return out;
}
