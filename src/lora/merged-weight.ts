/** The arithmetic of a merge on values in memory, free of files, so that worker threads can carry it. */
import { float32ToBfloat16, float32ToFloat16, widen } from '../formats/half-precision.js';
import type { DType } from '../formats/weight-source.js';

interface LowRank {
  readonly r: number;
  readonly scale: number;
  /** [r, in] */
  readonly a: Float32Array;
  /** [out, r] */
  readonly b: Float32Array;
}

/**
 * W + scale · B·A in float32, not yet rounded to the stored dtype. The product is summed in double precision.
 * @param weight [out, in]
 */
export function mergedWeight(weight: Float32Array, inFeatures: number, lora: LowRank): Float32Array {
  const { scale } = lora;
  const merged = new Float32Array(weight.length);
  const rows = weight.length / inFeatures;
  const padded = padRanks(lora, rows);
  // Four rows of the product at a time: they and four ranks of A stay in the processor's cache.
  const sums = Array.from({ length: 4 }, () => new Float64Array(inFeatures)) as FourRows;
  for (let row = 0; row < rows; row += 4) {
    for (const sum of sums) sum.fill(0);
    for (let k = 0; k < padded.r; k += 4) addFourRanks(sums, padded, row, k, rows - 1);
    for (let j = 0; j < 4 && row + j < rows; j++) {
      const sum = sums[j]!;
      for (let i = 0, at = (row + j) * inFeatures; i < inFeatures; i++, at++) {
        merged[at] = weight[at]! + Math.fround(scale * sum[i]!);
      }
    }
  }
  return merged;
}

type FourRows = [Float64Array, Float64Array, Float64Array, Float64Array];

/** Ranks in multiples of four: the others are zeros. */
interface PaddedRanks {
  readonly r: number;
  /** [r, in] */
  readonly a: Float64Array;
  /** [rows, r] */
  readonly b: Float64Array;
}

function padRanks({ r, a, b }: LowRank, rows: number): PaddedRanks {
  const padded = Math.ceil(r / 4) * 4;
  const wideA = new Float64Array((a.length / r) * padded);
  wideA.set(a);
  const wideB = new Float64Array(rows * padded);
  for (let row = 0; row < rows; row++) wideB.set(b.subarray(row * r, (row + 1) * r), row * padded);
  return { r: padded, a: wideA, b: wideB };
}

/** Adds four terms of B·A, from rank `k`, to four rows; rows past the last are computed as the last and not used. */
function addFourRanks(sums: FourRows, { r, a, b }: PaddedRanks, row: number, k: number, last: number): void {
  const [s0, s1, s2, s3] = sums;
  const length = s0.length;
  const at = (j: number): number => Math.min(row + j, last) * r + k;
  const [m, n, o, p] = [at(0), at(1), at(2), at(3)];
  const [m0, m1, m2, m3] = [b[m]!, b[m + 1]!, b[m + 2]!, b[m + 3]!];
  const [n0, n1, n2, n3] = [b[n]!, b[n + 1]!, b[n + 2]!, b[n + 3]!];
  const [o0, o1, o2, o3] = [b[o]!, b[o + 1]!, b[o + 2]!, b[o + 3]!];
  const [p0, p1, p2, p3] = [b[p]!, b[p + 1]!, b[p + 2]!, b[p + 3]!];
  const first = k * length;
  const [second, third, fourth] = [first + length, first + 2 * length, first + 3 * length];
  for (let i = 0; i < length; i++) {
    const a0 = a[first + i]!;
    const a1 = a[second + i]!;
    const a2 = a[third + i]!;
    const a3 = a[fourth + i]!;
    s0[i]! += m0 * a0 + m1 * a1 + m2 * a2 + m3 * a3;
    s1[i]! += n0 * a0 + n1 * a1 + n2 * a2 + n3 * a3;
    s2[i]! += o0 * a0 + o1 * a1 + o2 * a2 + o3 * a3;
    s3[i]! += p0 * a0 + p1 * a1 + p2 * a2 + p3 * a3;
  }
}

/** Rows of a stored weight, and what is added to them. */
export interface RowsToMerge {
  /** Whole rows [rows, in] as they are stored. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly dtype: DType;
  /** `b` has these rows alone. */
  readonly lora: LowRank;
}

/** The merged rows in the dtype in which they came; or an element that it cannot hold. */
export type MergedRows = { readonly bytes: Uint8Array<ArrayBuffer> } | { readonly beyond: number };

export function mergeRows({ bytes, dtype, lora }: RowsToMerge): MergedRows {
  const merged = mergedWeight(widen(bytes, dtype), lora.a.length / lora.r, lora);
  const beyond = firstBeyond(merged, ROUNDS_TO_INFINITY[dtype]);
  return beyond === undefined ? { bytes: narrow(merged, dtype) } : { beyond };
}

/** From this magnitude on, a stored value is infinite. */
const ROUNDS_TO_INFINITY: Readonly<Record<DType, number>> = {
  f32: Number.POSITIVE_INFINITY,
  bf16: 2 ** 128 - 2 ** 119,
  f16: 65_520,
};

function firstBeyond(values: Float32Array, bound: number): number | undefined {
  // NaN is below nothing.
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]!) < bound)) return values[i];
  return undefined;
}

function narrow(values: Float32Array, dtype: DType): Uint8Array<ArrayBuffer> {
  const stored = dtype === 'f32' ? values : (dtype === 'bf16' ? float32ToBfloat16 : float32ToFloat16)(values);
  return new Uint8Array(stored.buffer as ArrayBuffer, stored.byteOffset, stored.byteLength);
}
