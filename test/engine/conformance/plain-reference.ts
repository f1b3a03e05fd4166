/**
 * Every operation once more, in double precision and plain loops, forward only: what the engines are compared with.
 * Written from the definitions in src/engine/operations.ts and nothing else. Matrices are row-major Float64Arrays.
 */
import type { Activation, Segments } from '../../../src/engine/operations.js';
import { dropoutBits } from '../../../src/random.js';

export interface PlainPart {
  /** [n, k] */
  readonly weight: Float64Array;
  readonly n: number;
  readonly bias?: Float64Array | undefined;
  readonly lora?:
    | {
        a: Float64Array;
        b: Float64Array;
        rank: number;
        scale: number;
        /** A multiple of 1/65536, so that nothing is rounded. */
        dropout: number;
        seed: number;
        rowKeys?: Int32Array | undefined;
      }
    | undefined;
}

/** x·wᵀ with x [m, k] and w [n, k]. */
function productTransposed(x: Float64Array, w: Float64Array, m: number, n: number, k: number): Float64Array {
  const y = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += x[i * k + p]! * w[j * k + p]!;
      y[i * n + j] = sum;
    }
  }
  return y;
}

export function plainLinear(x: Float64Array, k: number, part: PlainPart): Float64Array {
  const { weight, n, bias, lora } = part;
  const m = x.length / k;
  const y = productTransposed(x, weight, m, n, k);
  if (bias) for (let i = 0; i < y.length; i++) y[i]! += bias[i % n]!;
  if (lora) {
    const { a, b, rank, scale, dropout, seed, rowKeys } = lora;
    const kept = x.map((value, i) => {
      if (dropout === 0) return value;
      const bits = dropoutBits(rowKeys![Math.floor(i / k)]!, seed, i % k);
      return bits >= dropout * 65536 ? value / (1 - dropout) : 0;
    });
    const low = productTransposed(kept, a, m, rank, k);
    const addition = productTransposed(low, b, m, n, rank);
    for (let i = 0; i < y.length; i++) y[i]! += scale * addition[i]!;
  }
  return y;
}

export function plainRmsNorm(x: Float64Array, weight: Float64Array, eps: number): Float64Array {
  const columns = weight.length;
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += columns) {
    let squares = 0;
    for (let i = 0; i < columns; i++) squares += x[row + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / columns + eps);
    for (let i = 0; i < columns; i++) y[row + i] = x[row + i]! * scale * weight[i]!;
  }
  return y;
}

export function plainRotary(
  x: Float64Array,
  columns: number,
  headDim: number,
  cos: Float64Array,
  sin: Float64Array,
  rowScale?: Float64Array,
): Float64Array {
  const half = headDim / 2;
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length / columns; row++) {
    for (let head = 0; head < columns; head += headDim) {
      for (let i = 0; i < half; i++) {
        const at = row * columns + head + i;
        const [c, s] = [cos[row * half + i]!, sin[row * half + i]!];
        const factor = rowScale ? rowScale[row]! : 1;
        y[at] = (x[at]! * c - x[at + half]! * s) * factor;
        y[at + half] = (x[at + half]! * c + x[at]! * s) * factor;
      }
    }
  }
  return y;
}

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly causal: boolean;
  readonly segments: Segments;
}

/** A query row that sees no key gives zeros. */
export function plainAttention(
  q: Float64Array,
  k: Float64Array,
  v: Float64Array,
  { heads, kvHeads, headDim, scale, causal, segments }: AttentionShape,
): Float64Array {
  const out = new Float64Array(q.length);
  const { queryStarts, keyStarts, keyLengths } = segments;
  for (let s = 0; s < keyStarts.length; s++) {
    const first = queryStarts[s]!;
    const count = queryStarts[s + 1]! - first;
    for (let i = 0; i < count; i++) {
      const visible = causal ? Math.min(keyLengths[s]!, i + keyLengths[s]! - count + 1) : keyLengths[s]!;
      if (visible <= 0) continue;
      for (let head = 0; head < heads; head++) {
        const kvHead = Math.floor((head * kvHeads) / heads);
        const query = ((first + i) * heads + head) * headDim;
        const key = (j: number): number => ((keyStarts[s]! + j) * kvHeads + kvHead) * headDim;
        const scores = new Float64Array(visible);
        for (let j = 0; j < visible; j++) {
          let sum = 0;
          for (let d = 0; d < headDim; d++) sum += q[query + d]! * k[key(j) + d]!;
          scores[j] = sum * scale;
        }
        const peak = scores.reduce((a, b) => Math.max(a, b));
        const weights = scores.map((score) => Math.exp(score - peak));
        const total = weights.reduce((a, b) => a + b);
        for (let j = 0; j < visible; j++) {
          for (let d = 0; d < headDim; d++) out[query + d]! += (weights[j]! / total) * v[key(j) + d]!;
        }
      }
    }
  }
  return out;
}

/** Taylor series near zero, Lentz's continued fraction of erfc in the tails. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && n < 200; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 120; n >= 1; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}

export function plainActivation(kind: Activation, x: number): number {
  if (kind === 'silu') return x / (1 + Math.exp(-x));
  if (kind === 'gelu') return 0.5 * x * (1 + erf(x / Math.SQRT2));
  if (kind === 'gelu_tanh') return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  return Math.max(x, 0);
}

export function plainMergePatches(x: Float64Array, columns: number, grids: Int32Array, merge: number): Float64Array {
  const out = new Float64Array(x.length);
  const block = merge * merge;
  let first = 0;
  let row = 0;
  for (let image = 0; image < grids.length; image += 2) {
    const [height, width] = [grids[image]!, grids[image + 1]!];
    for (let y = 0; y < height / merge; y++) {
      for (let z = 0; z < width / merge; z++, row++) {
        for (let c = 0; c < columns; c++) {
          for (let j = 0; j < block; j++) {
            const patch = first + (y * merge + Math.floor(j / merge)) * width + z * merge + (j % merge);
            out[row * columns * block + c * block + j] = x[patch * columns + c]!;
          }
        }
      }
    }
    first += height * width;
  }
  return out;
}

export function plainGather(x: Float64Array, columns: number, rows: ArrayLike<number>): Float64Array {
  const out = new Float64Array(rows.length * columns);
  for (let i = 0; i < rows.length; i++) {
    out.set(x.subarray(rows[i]! * columns, (rows[i]! + 1) * columns), i * columns);
  }
  return out;
}

export function plainScatter(
  base: Float64Array,
  source: Float64Array,
  columns: number,
  rows: Int32Array,
): Float64Array {
  const out = base.slice();
  for (const [i, row] of rows.entries()) out.set(source.subarray(i * columns, (i + 1) * columns), row * columns);
  return out;
}

/** Loss of each row. */
export function plainCrossEntropy(
  hidden: Float64Array,
  head: Float64Array,
  columns: number,
  targets: Int32Array,
  smoothing = 0,
): Float64Array {
  const vocabulary = head.length / columns;
  const logits = productTransposed(hidden, head, targets.length, vocabulary, columns);
  return Float64Array.from(targets, (target, row) => {
    const own = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
    const peak = own.reduce((a, b) => Math.max(a, b));
    const total = own.reduce((sum, logit) => sum + Math.exp(logit - peak), 0);
    const logTotal = peak + Math.log(total);
    const mean = own.reduce((sum, logit) => sum + (logTotal - logit), 0) / vocabulary;
    return (1 - smoothing) * (logTotal - own[target]!) + smoothing * mean;
  });
}
