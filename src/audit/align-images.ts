/**
 * Whether two small images show the same: one is laid over the other by an affine map (Gauss-Newton on the normalised
 * correlation, coarse to fine), then their details are correlated. Images of the same thing agree in their coarse
 * shapes; only copies agree in what is left without these.
 */

/** Edge of the square luminance images that are compared, in pixels. */
export const THUMB_EDGE = 64;
/** Shapes broader than this many pixels to each side are no details. */
const DETAIL_RADIUS = 3;
/** Local contrast, in levels squared, that is as likely to be noise as detail. */
const NOISE_VARIANCE = 64;
/**
 * Steps at each edge length, and correlations of luminance and of details below which there is no copy; `strict` where
 * only details that agree by 0.95 make one, and `start` of these with the map of the level before.
 */
const LEVELS = [
  { edge: 16, steps: 8, least: 0.85, leastDetail: 0.7, strict: 0.8, start: 0 },
  { edge: 32, steps: 5, least: 0.85, leastDetail: 0.65, strict: 0.88, start: 0 },
  { edge: 64, steps: 4, least: 0.8, leastDetail: 0, strict: 0, start: 0.8 },
] as const;
/** At the coarsest edge, a correlation below the first after so many steps ends the search. */
const EARLY = { steps: 3, least: 0.8 } as const;
/** Least mean square of details that says something: slopes of grey and noise have less. */
const LEAST_DETAIL = 0.05;
/** Most turning and shearing, as offsets of the map, and the least share of each image that the other one shows. */
const MAX_SLANT = 0.25;
const LEAST_OVERLAP = 0.4;

/** Luminance at the three edge lengths, row-major. */
export interface Pyramid {
  readonly levels: readonly Float32Array[];
}

/** How well two images agree. */
interface Alignment {
  /** Normalised correlation of details after the best map, at most 1. */
  readonly correlation: number;
  /** Share of the image that the other shows, of the two the smaller. */
  readonly overlap: number;
  /** Mean square of the details that both have, by local contrast: 0 none, 0.5 much, as of text. */
  readonly detail: number;
}

/** @param thumb [THUMB_EDGE, THUMB_EDGE] luminance */
export function pyramidOf(thumb: Uint8Array): Pyramid {
  const fine = Float32Array.from(thumb);
  const middle = halved(fine, THUMB_EDGE);
  return { levels: [halved(middle, THUMB_EDGE / 2), middle, fine] };
}

function halved(image: Float32Array, edge: number): Float32Array {
  const half = edge / 2;
  const out = new Float32Array(half * half);
  for (let y = 0; y < half; y++) {
    for (let x = 0; x < half; x++) {
      const at = 2 * y * edge + 2 * x;
      out[y * half + x] = (image[at]! + image[at + 1]! + image[at + edge]! + image[at + edge + 1]!) / 4;
    }
  }
  return out;
}

/**
 * Undefined where the images do not even agree coarsely.
 * @param isStrict whether only the closest copies are looked for: others that resemble each other are `alike`
 */
export function alignImages(a: Pyramid, b: Pyramid, isStrict = false): Alignment | 'alike' | undefined {
  let map: AffineMap = [1, 0, 0, 0, 1, 0];
  let [correlation, covered] = [0, 0];
  for (const [i, { edge, steps, least, leastDetail, strict, start }] of LEVELS.entries()) {
    if (isStrict && start > 0) {
      warp(b.levels[i]!, edge, map);
      if (detailCorrelation(a.levels[i]!, edge) < start) return 'alike';
    }
    const found = refine(a.levels[i]!, b.levels[i]!, edge, map, steps, i === 0);
    if (!found || found.correlation < least) return undefined;
    map = found.map;
    covered = warp(b.levels[i]!, edge, map) / edge ** 2;
    correlation = detailCorrelation(a.levels[i]!, edge);
    if (correlation < leastDetail) return undefined;
    if (isStrict && correlation < strict) return i === 0 ? undefined : 'alike';
  }
  if (Math.abs(map[1]) > MAX_SLANT || Math.abs(map[3]) > MAX_SLANT) return undefined;
  const overlap = Math.min(covered, covered * Math.abs(map[0] * map[4] - map[1] * map[3]), 1);
  const detail = sharedDetail();
  return overlap < LEAST_OVERLAP || detail < LEAST_DETAIL ? undefined : { correlation, overlap, detail };
}

/**
 * Places in the first image to places in the second, from -1 to 1 across an image: x' = m0·x + m1·y + m2,
 * y' = m3·x + m4·y + m5.
 */
type AffineMap = readonly [number, number, number, number, number, number];

/** Scratch of the only thread: the second image as the map shows it, and where it has values. */
const warped = new Float32Array(THUMB_EDGE ** 2);
const mask = new Uint8Array(THUMB_EDGE ** 2);

/** Fills `warped` and `mask`. @returns the number of pixels that have a value */
function warp(image: Float32Array, edge: number, map: AffineMap): number {
  const half = (edge - 1) / 2;
  const last = edge - 1;
  let count = 0;
  for (let y = 0, at = 0; y < edge; y++) {
    const v = (y - half) / half;
    // Straight lines stay straight: one step to the right is the same everywhere.
    let px = (-map[0] + map[1] * v + map[2]) * half + half;
    let py = (-map[3] + map[4] * v + map[5]) * half + half;
    for (let x = 0; x < edge; x++, at++, px += map[0], py += map[3]) {
      if (!(px >= -1e-3 && py >= -1e-3 && px <= last + 1e-3 && py <= last + 1e-3)) {
        mask[at] = 0;
        continue;
      }
      const x0 = Math.min(Math.max(px, 0) | 0, last - 1);
      const y0 = Math.min(Math.max(py, 0) | 0, last - 1);
      const fx = px - x0;
      const fy = py - y0;
      const from = y0 * edge + x0;
      const top = image[from]! + (image[from + 1]! - image[from]!) * fx;
      const bottom = image[from + edge]! + (image[from + edge + 1]! - image[from + edge]!) * fx;
      warped[at] = top + (bottom - top) * fy;
      mask[at] = 1;
      count++;
    }
  }
  return count;
}

interface Fit {
  /** Normalised correlation where both have values. */
  readonly correlation: number;
  /** What the second is multiplied by to come nearest to the first, means aside. */
  readonly gain: number;
  readonly meanA: number;
  readonly meanB: number;
}

function fitOf(a: Float32Array, b: Float32Array, length: number): Fit {
  let count = 0;
  let sumA = 0;
  let sumB = 0;
  let sumAA = 0;
  let sumBB = 0;
  let sumAB = 0;
  for (let i = 0; i < length; i++) {
    if (mask[i] === 0) continue;
    const va = a[i]!;
    const vb = b[i]!;
    count++;
    sumA += va;
    sumB += vb;
    sumAA += va * va;
    sumBB += vb * vb;
    sumAB += va * vb;
  }
  const covariance = sumAB - (sumA * sumB) / count;
  const varianceA = sumAA - (sumA * sumA) / count;
  const varianceB = sumBB - (sumB * sumB) / count;
  const isFlat = !(varianceA > 1e-3 * count && varianceB > 1e-3 * count);
  return {
    correlation: isFlat ? 0 : covariance / Math.sqrt(varianceA * varianceB),
    gain: isFlat ? 0 : covariance / varianceB,
    meanA: sumA / count,
    meanB: sumB / count,
  };
}

/** The best map within so many steps from one. */
function refine(
  a: Float32Array,
  b: Float32Array,
  edge: number,
  start: AffineMap,
  steps: number,
  isCoarsest: boolean,
): { readonly map: AffineMap; readonly correlation: number } | undefined {
  const length = edge * edge;
  let map = start;
  let best: { map: AffineMap; correlation: number } | undefined;
  for (let step = 0; ; step++) {
    if (warp(b, edge, map) < LEAST_OVERLAP * length) return best;
    const fit = fitOf(a, warped, length);
    if (best && fit.correlation < best.correlation - 0.02) return best;
    const gained = fit.correlation - (best?.correlation ?? -1);
    if (gained > 0) best = { map, correlation: fit.correlation };
    if (step === steps || (step > 0 && Math.abs(gained) < 1e-4)) return best;
    if (isCoarsest && step === EARLY.steps && best!.correlation < EARLY.least) return undefined;
    const change = gaussNewtonStep(a, edge, fit);
    if (!change) return best;
    map = composed(map, change);
  }
}

/** The map that `change` makes of places before `map` is applied. */
function composed(map: AffineMap, change: Float64Array): AffineMap {
  const [a, b, c, d, e, f] = [1 + change[0]!, change[1]!, change[2]!, change[3]!, 1 + change[4]!, change[5]!];
  return [
    map[0] * a + map[1] * d,
    map[0] * b + map[1] * e,
    map[0] * c + map[1] * f + map[2],
    map[3] * a + map[4] * d,
    map[3] * b + map[4] * e,
    map[3] * c + map[4] * f + map[5],
  ];
}

const hessian = new Float64Array(36);
const slope = new Float64Array(6);

/** The change of the map that lessens the squared difference most, by the slopes of the warped image. */
function gaussNewtonStep(a: Float32Array, edge: number, { gain, meanA, meanB }: Fit): Float64Array | undefined {
  const half = (edge - 1) / 2;
  hessian.fill(0);
  slope.fill(0);
  const scale = (gain * half) / 2;
  for (let y = 1; y < edge - 1; y++) {
    // Sums over a row, in which v is constant: of products of slopes times 1, u, u².
    let xx0 = 0;
    let xx1 = 0;
    let xx2 = 0;
    let xy0 = 0;
    let xy1 = 0;
    let xy2 = 0;
    let yy0 = 0;
    let yy1 = 0;
    let yy2 = 0;
    let ex0 = 0;
    let ex1 = 0;
    let ey0 = 0;
    let ey1 = 0;
    for (let x = 1; x < edge - 1; x++) {
      const at = y * edge + x;
      if (!(mask[at]! & mask[at - 1]! & mask[at + 1]! & mask[at - edge]! & mask[at + edge]!)) continue;
      const gx = (warped[at + 1]! - warped[at - 1]!) * scale;
      const gy = (warped[at + edge]! - warped[at - edge]!) * scale;
      const error = a[at]! - meanA - gain * (warped[at]! - meanB);
      const u = (x - half) / half;
      const xx = gx * gx;
      const xy = gx * gy;
      const yy = gy * gy;
      xx0 += xx;
      xx1 += xx * u;
      xx2 += xx * u * u;
      xy0 += xy;
      xy1 += xy * u;
      xy2 += xy * u * u;
      yy0 += yy;
      yy1 += yy * u;
      yy2 += yy * u * u;
      ex0 += gx * error;
      ex1 += gx * error * u;
      ey0 += gy * error;
      ey1 += gy * error * u;
    }
    const v = (y - half) / half;
    addBlock(0, 0, xx0, xx1, xx2, v);
    addBlock(0, 3, xy0, xy1, xy2, v);
    addBlock(3, 3, yy0, yy1, yy2, v);
    slope[0]! += ex1;
    slope[1]! += ex0 * v;
    slope[2]! += ex0;
    slope[3]! += ey1;
    slope[4]! += ey0 * v;
    slope[5]! += ey0;
  }
  for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) hessian[(3 + j) * 6 + i] = hessian[i * 6 + 3 + j]!;
  for (let i = 0; i < 6; i++) hessian[i * 6 + i] = hessian[i * 6 + i]! * 1.001 + 1e-6;
  return solved();
}

/** Adds to a 3 × 3 block of the Hessian the products of (u, v, 1) with themselves, weighted. */
function addBlock(row: number, column: number, s0: number, s1: number, s2: number, v: number): void {
  const at = row * 6 + column;
  hessian[at]! += s2;
  hessian[at + 1]! += s1 * v;
  hessian[at + 2]! += s1;
  hessian[at + 6]! += s1 * v;
  hessian[at + 7]! += s0 * v * v;
  hessian[at + 8]! += s0 * v;
  hessian[at + 12]! += s1;
  hessian[at + 13]! += s0 * v;
  hessian[at + 14]! += s0;
}

/** Solves hessian · x = slope by Cholesky's method, in place; undefined if there is no single solution. */
function solved(): Float64Array | undefined {
  const n = 6;
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = hessian[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= hessian[i * n + k]! * hessian[j * n + k]!;
      if (i === j) {
        if (!(sum > 1e-9)) return undefined;
        hessian[i * n + i] = Math.sqrt(sum);
      } else {
        hessian[i * n + j] = sum / hessian[j * n + j]!;
      }
    }
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) slope[i]! -= hessian[i * n + k]! * slope[k]!;
    slope[i]! /= hessian[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) slope[i]! -= hessian[k * n + i]! * slope[k]!;
    slope[i]! /= hessian[i * n + i]!;
  }
  return slope;
}

const detailA = new Float32Array(THUMB_EDGE ** 2);
const detailB = new Float32Array(THUMB_EDGE ** 2);
const SUMS = THUMB_EDGE + 1;
const counts = new Float64Array(SUMS ** 2);
const sums = new Float64Array(SUMS ** 2);
const squares = new Float64Array(SUMS ** 2);

/** Mean square of the details that both images have, 0 to 1: of those that `detailCorrelation` left. */
function sharedDetail(): number {
  let [sumA, sumB, count] = [0, 0, 0];
  for (let i = 0; i < detailA.length; i++) {
    if (mask[i] === 0) continue;
    sumA += detailA[i]! ** 2;
    sumB += detailB[i]! ** 2;
    count++;
  }
  return Math.min(sumA, sumB) / count;
}

/** Correlation of `a` with `warped`, where both have values, each without its local means and by its local contrast. */
function detailCorrelation(a: Float32Array, edge: number): number {
  normaliseLocally(a, edge, detailA);
  normaliseLocally(warped, edge, detailB);
  return fitOf(detailA, detailB, edge * edge).correlation;
}

/** So every part of an image counts alike: neither a frame nor a label in it decides. */
function normaliseLocally(image: Float32Array, edge: number, out: Float32Array): void {
  for (let y = 0; y < edge; y++) {
    for (let x = 0; x < edge; x++) {
      const at = y * edge + x;
      const to = (y + 1) * SUMS + x + 1;
      const above = to - SUMS;
      const value = mask[at] ? image[at]! : 0;
      counts[to] = counts[to - 1]! + counts[above]! - counts[above - 1]! + mask[at]!;
      sums[to] = sums[to - 1]! + sums[above]! - sums[above - 1]! + value;
      squares[to] = squares[to - 1]! + squares[above]! - squares[above - 1]! + value * value;
    }
  }
  for (let y = 0; y < edge; y++) {
    const top = Math.max(0, y - DETAIL_RADIUS) * SUMS;
    const bottom = Math.min(edge, y + DETAIL_RADIUS + 1) * SUMS;
    for (let x = 0; x < edge; x++) {
      const at = y * edge + x;
      if (mask[at] === 0) continue;
      const left = Math.max(0, x - DETAIL_RADIUS);
      const right = Math.min(edge, x + DETAIL_RADIUS + 1);
      const count = counts[bottom + right]! - counts[top + right]! - counts[bottom + left]! + counts[top + left]!;
      const sum = sums[bottom + right]! - sums[top + right]! - sums[bottom + left]! + sums[top + left]!;
      const square = squares[bottom + right]! - squares[top + right]! - squares[bottom + left]! + squares[top + left]!;
      const mean = sum / count;
      const variance = Math.max(0, square / count - mean * mean);
      out[at] = (image[at]! - mean) / Math.sqrt(variance + NOISE_VARIANCE);
    }
  }
}
