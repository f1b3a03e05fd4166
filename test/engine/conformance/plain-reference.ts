/**
 * Every operation once more in double precision and plain loops, forward and backward: what the engines are compared
 * with. Written from the definitions in src/engine/operations.ts and nothing else; plain-reference.test.ts compares the
 * backwards with differences of the forwards. Matrices are row-major Float64Arrays.
 *
 * A `PlainRun` says what storing a result does to it: nothing for the exact values, a rounding to bfloat16 for those that
 * an engine has that keeps its tensors so, operation by operation, and sums in more than that.
 */
import type { Activation, Segments } from '../../../src/engine/operations.js';
import { dropoutBits } from '../../../src/random.js';

export type Values = Float64Array;
export type Gradients = readonly (Values | undefined)[];

/** Results of an operation, and the gradients of its inputs from those of its outputs. */
export interface Plain {
  readonly outputs: readonly Values[];
  backward(gradients: Gradients): readonly Values[];
}

export interface PlainRun {
  /** What is left of values that are stored. */
  store(values: Values): Values;
  /** float32 in every engine, all in a row, and what backward adds up for them. */
  readonly parameters: Values;
  readonly parameterGradients: Values;
}

export function roundBfloat16(values: ArrayLike<number>): Values {
  const narrow = Float32Array.from(values);
  const bits = new Uint32Array(narrow.buffer);
  for (let i = 0; i < bits.length; i++) {
    if (Number.isNaN(narrow[i])) continue;
    bits[i] = (bits[i]! + 0x7fff + ((bits[i]! >>> 16) & 1)) & 0xffff0000;
  }
  return Float64Array.from(narrow);
}

export function plainRun(parameters: Values, isBfloat16: boolean): PlainRun {
  const store = isBfloat16 ? roundBfloat16 : (values: Values): Values => values;
  return { store, parameters, parameterGradients: new Float64Array(parameters.length) };
}

/** A gradient that nobody gave is zero. */
function filled(gradient: Values | undefined, size: number): Values {
  return gradient ?? new Float64Array(size);
}

function plus(a: Values, b: Values): Values {
  return a.map((value, i) => value + b[i]!);
}

/** op(a)·op(b) with op(a) [m, k] and op(b) [k, n]. */
function product(a: Values, b: Values, [m, n, k]: readonly number[], transposed: 'a' | 'b' | 'none'): Values {
  const y = new Float64Array(m! * n!);
  for (let i = 0; i < m!; i++) {
    // Along the rows of b: each element is the same sum in the same order.
    for (let j = 0; transposed === 'b' && j < n!; j++) {
      let sum = 0;
      for (let p = 0; p < k!; p++) {
        const left = a[i * k! + p]!;
        if (left !== 0) sum += left * b[j * k! + p]!;
      }
      y[i * n! + j] = sum;
    }
    for (let p = 0; transposed !== 'b' && p < k!; p++) {
      const left = transposed === 'a' ? a[p * m! + i]! : a[i * k! + p]!;
      if (left === 0) continue;
      for (let j = 0; j < n!; j++) y[i * n! + j]! += left * b[p * n! + j]!;
    }
  }
  return y;
}

export interface PlainLora {
  /** Where A [rank, k] and B [n, rank] stand among the parameters. */
  readonly a: number;
  readonly b: number;
  readonly rank: number;
  readonly scale: number;
  /** A multiple of 1/65536, so that nothing is rounded. */
  readonly dropout: number;
  readonly seed: number;
  readonly rowKeys?: Int32Array | undefined;
}

export interface PlainPart {
  /** [n, k] */
  readonly weight: Values;
  readonly n: number;
  readonly bias?: Values | undefined;
  readonly lora?: PlainLora | undefined;
}

/**
 * (x) → one output a part. Stored besides the outputs: A and scale·B, x·Aᵀ, dy·B, and the frozen and the low-rank share
 * of x's gradient, part by part.
 */
export function plainLinear(run: PlainRun, x: Values, k: number, parts: readonly PlainPart[]): Plain {
  const m = x.length / k;
  const made = parts.map(({ weight, n, bias, lora }) => {
    let y = product(x, weight, [m, n, k], 'b');
    let back = (_dy: Values): Values | undefined => undefined;
    if (lora) {
      const { a, b, rank, scale, dropout, seed, rowKeys } = lora;
      const kept = x.map((_, i) => {
        if (dropout === 0) return 1;
        const bits = dropoutBits(rowKeys![Math.floor(i / k)]!, seed, i % k);
        return bits >= dropout * 65536 ? 1 / (1 - dropout) : 0;
      });
      const dropped = x.map((value, i) => value * kept[i]!);
      const down = run.store(run.parameters.slice(a, a + rank * k));
      const up = run.store(run.parameters.slice(b, b + n * rank).map((value) => scale * value));
      const low = run.store(product(dropped, down, [m, rank, k], 'b'));
      y = plus(y, product(low, up, [m, n, rank], 'b'));
      back = (dy) => {
        const dLow = run.store(product(dy, up, [m, rank, n], 'none'));
        for (const [i, value] of product(dLow, dropped, [rank, k, m], 'a').entries()) {
          run.parameterGradients[a + i]! += value;
        }
        for (const [i, value] of product(dy, low, [n, rank, m], 'a').entries()) {
          run.parameterGradients[b + i]! += scale * value;
        }
        return product(dLow, down, [m, k, rank], 'none').map((value, i) => value * kept[i]!);
      };
    }
    y = run.store(y);
    if (bias) y = run.store(y.map((value, i) => value + bias[i % n]!));
    return { y, back };
  });
  return {
    outputs: made.map(({ y }) => y),
    backward: (gradients) => {
      let dx: Values | undefined;
      for (const [i, { weight, n }] of parts.entries()) {
        const dy = gradients[i];
        if (!dy) continue;
        let share = run.store(product(dy, weight, [m, k, n], 'none'));
        const low = made[i]!.back(dy);
        if (low) share = run.store(plus(share, low));
        dx = dx ? run.store(plus(dx, share)) : share;
      }
      return [filled(dx, x.length)];
    },
  };
}

/** (x) → (y), or (x, residual) → (y, sum). */
export function plainRmsNorm(run: PlainRun, inputs: readonly Values[], weight: Values, eps: number): Plain {
  const columns = weight.length;
  const [x, residual] = inputs as [Values, Values?];
  const sum = residual ? run.store(plus(x, residual)) : x;
  const scales = Float64Array.from({ length: x.length / columns }, (_, row) => {
    let squares = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) squares += sum[i]! ** 2;
    return 1 / Math.sqrt(squares / columns + eps);
  });
  const normed = run.store(sum.map((value, i) => value * scales[Math.floor(i / columns)]!));
  const y = run.store(normed.map((value, i) => value * weight[i % columns]!));
  return {
    outputs: residual ? [y, sum] : [y],
    backward: ([dy, direct]) => {
      const dx = new Float64Array(x.length);
      for (const [row, scale] of dy ? scales.entries() : []) {
        let dot = 0;
        for (let i = 0; i < columns; i++) dot += dy![row * columns + i]! * weight[i]! * sum[row * columns + i]!;
        for (let i = 0; i < columns; i++) {
          const at = row * columns + i;
          dx[at] = scale * (dy![at]! * weight[i]! - (sum[at]! * scale * scale * dot) / columns);
        }
      }
      const gradient = run.store(direct ? plus(dx, direct) : dx);
      return residual ? [gradient, gradient] : [gradient];
    },
  };
}

export interface PlainTables {
  readonly headDim: number;
  readonly cos: Values;
  readonly sin: Values;
  /** Of the queries only. */
  readonly queryScale?: Values | undefined;
}

function turned(x: Values, columns: number, { headDim, cos, sin }: PlainTables, sign: number, scale?: Values): Values {
  const half = headDim / 2;
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length / columns; row++) {
    for (let head = 0; head < columns; head += headDim) {
      for (let i = 0; i < half; i++) {
        const at = row * columns + head + i;
        const [c, s] = [cos[row * half + i]!, sign * sin[row * half + i]!];
        const factor = scale ? scale[row]! : 1;
        y[at] = (x[at]! * c - x[at + half]! * s) * factor;
        y[at + half] = (x[at + half]! * c + x[at]! * s) * factor;
      }
    }
  }
  return y;
}

/** (q, k) → (q, k) */
export function plainRotary(run: PlainRun, inputs: readonly Values[], tables: PlainTables, rows: number): Plain {
  const turn = (values: Values, i: number, sign: number): Values =>
    run.store(turned(values, inputs[i]!.length / rows, tables, sign, i === 0 ? tables.queryScale : undefined));
  return {
    outputs: inputs.map((values, i) => turn(values, i, 1)),
    backward: (gradients) => inputs.map(({ length }, i) => turn(filled(gradients[i], length), i, -1)),
  };
}

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly causal: boolean;
  readonly segments: Segments;
}

/** (q, k, v) → (out). A query row that sees no key gives zeros. Probabilities and their gradients are stored. */
export function plainAttention(run: PlainRun, [q, k, v]: readonly Values[], shape: AttentionShape): Plain {
  const { heads, kvHeads, headDim, scale, causal, segments } = shape;
  const { queryStarts, keyStarts, keyLengths } = segments;
  const dot = (a: Values, at: number, b: Values, bt: number): number => {
    let sum = 0;
    for (let d = 0; d < headDim; d++) sum += a[at + d]! * b[bt + d]!;
    return sum;
  };
  const add = (to: Values, at: number, from: Values, bt: number, factor: number): void => {
    for (let d = 0; d < headDim; d++) to[at + d]! += factor * from[bt + d]!;
  };
  const rowsOf = (body: (query: number, key: (j: number) => number, probabilities: Values) => void): void => {
    for (let s = 0; s < keyStarts.length; s++) {
      const [first, length] = [queryStarts[s]!, keyLengths[s]!];
      const count = queryStarts[s + 1]! - first;
      for (let i = 0; i < count; i++) {
        const visible = causal ? Math.min(length, i + length - count + 1) : length;
        if (visible <= 0) continue;
        for (let head = 0; head < heads; head++) {
          const kvHead = Math.floor((head * kvHeads) / heads);
          const query = ((first + i) * heads + head) * headDim;
          const key = (j: number): number => ((keyStarts[s]! + j) * kvHeads + kvHead) * headDim;
          const scores = Float64Array.from({ length: visible }, (_, j) => scale * dot(q!, query, k!, key(j)));
          const peak = scores.reduce((a, b) => Math.max(a, b));
          const weights = scores.map((score) => Math.exp(score - peak));
          const total = weights.reduce((a, b) => a + b);
          body(
            query,
            key,
            weights.map((weight) => weight / total),
          );
        }
      }
    }
  };
  const out = new Float64Array(q!.length);
  rowsOf((query, key, probabilities) => {
    run.store(probabilities).forEach((p, j) => {
      add(out, query, v!, key(j), p);
    });
  });
  const stored = run.store(out);
  return {
    outputs: [stored],
    backward: ([given]) => {
      const dOut = filled(given, out.length);
      const [dq, dk, dv] = [q!, k!, v!].map(({ length }) => new Float64Array(length)) as [Values, Values, Values];
      rowsOf((query, key, probabilities) => {
        const delta = dot(dOut, query, stored, query);
        const dScores = probabilities.map((p, j) => p * (dot(dOut, query, v!, key(j)) - delta));
        run.store(probabilities).forEach((p, j) => {
          add(dv, key(j), dOut, query, p);
        });
        run.store(dScores).forEach((ds, j) => {
          add(dq, query, k!, key(j), scale * ds);
          add(dk, key(j), q!, query, scale * ds);
        });
      });
      return [dq, dk, dv].map((gradient) => run.store(gradient));
    },
  };
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

const TANH_SCALE = Math.sqrt(2 / Math.PI);

export function plainActivation(kind: Activation, x: number): number {
  if (kind === 'silu') return x / (1 + Math.exp(-x));
  if (kind === 'gelu') return 0.5 * x * (1 + erf(x / Math.SQRT2));
  if (kind === 'gelu_tanh') return 0.5 * x * (1 + Math.tanh(TANH_SCALE * (x + 0.044715 * x ** 3)));
  return Math.max(x, 0);
}

function slope(kind: Activation, x: number): number {
  if (kind === 'silu') {
    const opening = 1 / (1 + Math.exp(-x));
    return opening * (1 + x * (1 - opening));
  }
  if (kind === 'gelu') return 0.5 * (1 + erf(x / Math.SQRT2)) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
  if (kind === 'gelu_tanh') {
    const t = Math.tanh(TANH_SCALE * (x + 0.044715 * x ** 3));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * TANH_SCALE * (1 + 3 * 0.044715 * x * x);
  }
  return x > 0 ? 1 : 0;
}

/** (x) → (activation(x)), or (gate, up) → (activation(gate) ⊙ up). */
export function plainActivations(run: PlainRun, kind: Activation, [gate, up]: readonly Values[]): Plain {
  const factor = (i: number): number => (up ? up[i]! : 1);
  return {
    outputs: [run.store(gate!.map((value, i) => plainActivation(kind, value) * factor(i)))],
    backward: ([given]) => {
      const dy = filled(given, gate!.length);
      const dGate = run.store(gate!.map((value, i) => dy[i]! * factor(i) * slope(kind, value)));
      return up ? [dGate, run.store(gate!.map((value, i) => dy[i]! * plainActivation(kind, value)))] : [dGate];
    },
  };
}

export function plainAdd(run: PlainRun, [a, b]: readonly Values[]): Plain {
  return { outputs: [run.store(plus(a!, b!))], backward: ([dy]) => [filled(dy, a!.length), filled(dy, a!.length)] };
}

/** Arrays one after the other. */
export function joined(arrays: readonly ArrayLike<number>[]): Values {
  const all = new Float64Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const values of arrays) {
    all.set(values, end);
    end += values.length;
  }
  return all;
}

/** Results whose element i is element from[i] of all inputs in a row: gathers, scatters, patches. */
export function plainMoved(inputs: readonly Values[], from: readonly number[]): Plain {
  const all = joined(inputs);
  return {
    outputs: [Float64Array.from(from, (at) => all[at]!)],
    backward: ([dy]) => {
      const back = new Float64Array(all.length);
      if (dy) for (const [i, at] of from.entries()) back[at]! += dy[i]!;
      let end = 0;
      return inputs.map(({ length }) => {
        end += length;
        return back.slice(end - length, end);
      });
    },
  };
}

/** `plainMoved`, whose gradients are stored. */
export function plainGathered(run: PlainRun, inputs: readonly Values[], from: readonly number[]): Plain {
  const moved = plainMoved(inputs, from);
  return { outputs: moved.outputs, backward: (gradients) => moved.backward(gradients).map((dx) => run.store(dx)) };
}

/** Elements of whole rows. */
export function rowElements(rows: Iterable<number>, columns: number): number[] {
  return [...rows].flatMap((row) => Array.from({ length: columns }, (_, i) => row * columns + i));
}

export function patchElements(columns: number, grids: Int32Array, merge: number): number[] {
  const from: number[] = [];
  const block = merge * merge;
  let first = 0;
  for (let image = 0; image < grids.length; image += 2) {
    const [height, width] = [grids[image]!, grids[image + 1]!];
    for (let y = 0; y < height / merge; y++) {
      for (let z = 0; z < width / merge; z++) {
        for (let c = 0; c < columns; c++) {
          for (let j = 0; j < block; j++) {
            const patch = first + (y * merge + Math.floor(j / merge)) * width + z * merge + (j % merge);
            from.push(patch * columns + c);
          }
        }
      }
    }
    first += height * width;
  }
  return from;
}

export interface PlainTargets {
  readonly head: Values;
  readonly targets: Int32Array;
  readonly scale: number;
  readonly smoothing?: number | undefined;
  readonly weights?: Float32Array | undefined;
}

/** (hidden) → (loss [1], loss of each row), neither rounded. The gradient of the logits is stored. */
export function plainCrossEntropy(run: PlainRun, hidden: Values, columns: number, given: PlainTargets): Plain {
  const { head, targets, scale, smoothing = 0, weights } = given;
  const weightOf = (row: number): number => (weights ? weights[row]! : 1);
  const vocabulary = head.length / columns;
  const logits = product(hidden, head, [targets.length, vocabulary, columns], 'b');
  const dLogits = new Float64Array(logits.length);
  const rowLoss = Float64Array.from(targets, (target, row) => {
    const own = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
    const peak = own.reduce((a, b) => Math.max(a, b));
    const total = own.reduce((sum, logit) => sum + Math.exp(logit - peak), 0);
    const logTotal = peak + Math.log(total);
    const mean = own.reduce((sum, logit) => sum + (logTotal - logit), 0) / vocabulary;
    for (const [i, logit] of own.entries()) {
      const wanted = (i === target ? 1 - smoothing : 0) + smoothing / vocabulary;
      dLogits[row * vocabulary + i] = scale * weightOf(row) * (Math.exp(logit - logTotal) - wanted);
    }
    return (1 - smoothing) * (logTotal - own[target]!) + smoothing * mean;
  });
  return {
    outputs: [Float64Array.of(scale * rowLoss.reduce((sum, loss, row) => sum + weightOf(row) * loss, 0)), rowLoss],
    backward: ([dLoss]) => {
      const dx = run.store(product(run.store(dLogits), head, [targets.length, columns, vocabulary], 'none'));
      return [run.store(dx.map((value) => value * (dLoss?.[0] ?? 0)))];
    },
  };
}
