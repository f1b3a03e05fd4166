/**
 * Rotary angles. All of it in float32, as transformers does: at long positions the rounding of the angle is visible.
 * Source: modeling_rope_utils.py (YaRN, Peng et al. 2023), modeling_ministral3.py, modeling_pixtral.py.
 */
import type { RopeConfig } from '../model-config.js';

const f = Math.fround;

/** θ^(-2i/D) for i in 0..D/2-1, in float32. */
function plainFrequencies(theta: number, headDim: number): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => f(1 / f(theta ** f((2 * i) / headDim))));
}

/** Inverse frequencies [D/2] of the text model. */
export function textFrequencies(rope: RopeConfig, headDim: number): Float32Array {
  if (rope.type === 'default') return plainFrequencies(rope.theta, headDim);
  const dimensionOf = (rotations: number): number =>
    (headDim * Math.log(rope.originalMaxPositions / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.theta));
  const round = (value: number, down: boolean): number =>
    rope.truncate ? (down ? Math.floor(value) : Math.ceil(value)) : value;
  const low = Math.max(round(dimensionOf(rope.betaFast), true), 0);
  let high = Math.min(round(dimensionOf(rope.betaSlow), false), headDim - 1);
  if (low === high) high += 0.001;
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const period = f(rope.theta ** f((2 * i) / headDim));
    const extrapolated = f(1 / period);
    const interpolated = f(1 / f(rope.factor * period));
    // transformers keeps 1 - ramp and subtracts it from 1 again: the rounding is part of the result.
    const keep = f(1 - Math.min(Math.max(f((i - low) / (high - low)), 0), 1));
    return f(f(interpolated * f(1 - keep)) + f(extrapolated * keep));
  });
}

interface RotaryTable {
  /** [T, D/2] */
  readonly cos: Float32Array;
  /** [T, D/2] */
  readonly sin: Float32Array;
}

/** cos and sin for the given positions of the text model. */
export function textRotary(rope: RopeConfig, frequencies: Float32Array, positions: Int32Array): RotaryTable {
  const half = frequencies.length;
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  /** First row of each position: packed samples repeat the positions, and a copy costs less than 2·half functions. */
  const firstRows = new Map<number, number>();
  for (let t = 0; t < positions.length; t++) {
    const first = firstRows.get(positions[t]!);
    if (first !== undefined) {
      cos.copyWithin(t * half, first * half, (first + 1) * half);
      sin.copyWithin(t * half, first * half, (first + 1) * half);
      continue;
    }
    firstRows.set(positions[t]!, t);
    turnRow(cos.subarray(t * half), sin.subarray(t * half), frequencies, positions[t]!, rope.attentionFactor);
  }
  return { cos, sin };
}

/** A function of its own, which V8 compiles once; inside the loop above it was compiled for each generated token. */
function turnRow(
  cos: Float32Array,
  sin: Float32Array,
  frequencies: Float32Array,
  position: number,
  factor: number,
): void {
  for (let i = 0; i < frequencies.length; i++) {
    const angle = f(position * frequencies[i]!);
    cos[i] = f(Math.cos(angle)) * factor;
    sin[i] = f(Math.sin(angle)) * factor;
  }
}

/** Factors on the queries [T], or undefined where all are 1 (short texts, or switched off). */
export function queryScale(rope: RopeConfig, positions: Int32Array): Float32Array | undefined {
  if (rope.queryScalingBeta === 0 || positions.every((position) => position < rope.originalMaxPositions))
    return undefined;
  return Float32Array.from(positions, (position) =>
    f(1 + f(rope.queryScalingBeta * f(Math.log(1 + Math.floor(f(position / rope.originalMaxPositions)))))),
  );
}

/**
 * cos and sin for image patches: even frequencies turn with the row, odd ones with the column.
 * @param grids [N, 2] rows and columns of patches of each image
 */
export function visionRotary(theta: number, headDim: number, grids: Int32Array): RotaryTable {
  const all = plainFrequencies(theta, headDim);
  const half = all.length;
  const evens = Math.ceil(half / 2);
  let patches = 0;
  for (let n = 0; n < grids.length; n += 2) patches += grids[n]! * grids[n + 1]!;
  const cos = new Float32Array(patches * half);
  const sin = new Float32Array(patches * half);
  // The functions of each row and column number once; patches copy them.
  let extent = 0;
  for (const size of grids) extent = Math.max(extent, size);
  const rows = anglesOf(
    extent,
    all.filter((_, i) => i % 2 === 0),
  );
  const columns = anglesOf(
    extent,
    all.filter((_, i) => i % 2 === 1),
  );
  let at = 0;
  for (let n = 0; n < grids.length; n += 2) {
    for (let row = 0; row < grids[n]!; row++) {
      for (let column = 0; column < grids[n + 1]!; column++, at += half) {
        const [ofRow, ofColumn] = [row * rows.count, column * columns.count];
        for (let i = 0; i < rows.count; i++) {
          cos[at + i] = rows.cos[ofRow + i]!;
          sin[at + i] = rows.sin[ofRow + i]!;
        }
        for (let i = 0; i < columns.count; i++) {
          cos[at + evens + i] = columns.cos[ofColumn + i]!;
          sin[at + evens + i] = columns.sin[ofColumn + i]!;
        }
      }
    }
  }
  return { cos, sin };
}

/** cos and sin [extent, count] of 0..extent-1 times each frequency. */
function anglesOf(extent: number, frequencies: Float32Array): RotaryTable & { readonly count: number } {
  const count = frequencies.length;
  const angles = Float32Array.from(
    { length: extent * count },
    (_, i) => Math.floor(i / count) * frequencies[i % count]!,
  );
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin), count };
}
