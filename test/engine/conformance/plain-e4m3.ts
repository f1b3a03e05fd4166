/**
 * Linear layers whose frozen product has e4m3 operands, in plain double precision: x, W and dy rounded to e4m3 as
 * src/engine/cuda/e4m3-products.ts defines it, everything else as `plainLinear`.
 */
import type { Precision } from '../../../src/engine/operations.js';
import { type Plain, type PlainPart, type PlainRun, plainLinear, type Values } from './plain-reference.js';

const MOST = 448;
const LEAST_AMAX = 1e-30;

/** To the nearest e4m3, even at a tie; 448 is the largest. */
export function roundE4m3(x: number): number {
  const magnitude = Math.min(Math.abs(x), MOST);
  const step = 2 ** (Math.max(-6, Math.floor(Math.log2(magnitude))) - 3);
  const whole = Math.floor(magnitude / step);
  const rest = magnitude / step - whole;
  const up = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? 1 : 0;
  return magnitude === 0 ? 0 : Math.sign(x) * (whole + up) * step;
}

/** Codes of rows, and the scale of each. @param isWhole one scale for all, as long as there are rows */
export function quantized(values: Values, columns: number, isWhole = false): { codes: Values; scales: Values } {
  const length = isWhole ? values.length : columns;
  const codes = new Float64Array(values.length);
  const scales = new Float64Array(values.length / columns);
  for (let at = 0; at < values.length; at += length) {
    const row = values.subarray(at, at + length);
    const amax = Math.max(Math.fround(LEAST_AMAX), ...row.map(Math.abs));
    const inverse = Math.fround(MOST / amax);
    for (const [i, value] of row.entries()) codes[at + i] = roundE4m3(Math.fround(value * inverse));
    scales.fill(Math.fround(amax / MOST), at / columns, (at + length) / columns);
  }
  return { codes, scales };
}

function dequantized(values: Values, columns: number, isWhole = false): Values {
  const { codes, scales } = quantized(values, columns, isWhole);
  return codes.map((code, i) => code * scales[Math.floor(i / columns)]!);
}

/** Rows of several matrices side by side; absent ones are zeros. */
function beside(matrices: readonly (Values | undefined)[], widths: readonly number[], rows: number): Values {
  const width = widths.reduce((sum, n) => sum + n, 0);
  const joined = new Float64Array(rows * width);
  let column = 0;
  for (const [i, n] of widths.entries()) {
    for (let row = 0; matrices[i] && row < rows; row++) {
      joined.set(matrices[i]!.subarray(row * n, (row + 1) * n), row * width + column);
    }
    column += n;
  }
  return joined;
}

/**
 * As `plainLinear`.
 * @param groups parts whose weights lie in one matrix: their output gradients are quantised side by side
 * @param isWhole activations and gradients have one scale for all rows
 */
export function plainE4m3Linear(
  run: PlainRun,
  x: Values,
  k: number,
  groups: readonly (readonly PlainPart[])[],
  precision: Exclude<Precision, 'bf16'>,
  isWhole: boolean,
): Plain {
  const rows = x.length / k;
  const made = groups.map((parts) => {
    const frozen = parts.map(({ weight, n }) => ({ weight: dequantized(weight, k), n }));
    const low = plainLinear(
      run,
      x,
      k,
      parts.map((part) => ({ ...part, weight: new Float64Array(part.weight.length), bias: undefined })),
    );
    const forward =
      precision === 'fp8'
        ? plainLinear(run, dequantized(x, k, isWhole), k, frozen).outputs.map((y, i) =>
            run.store(y.map((value, at) => value + low.outputs[i]![at]! + (parts[i]!.bias?.[at % parts[i]!.n] ?? 0))),
          )
        : plainLinear(run, x, k, parts).outputs;
    const backward = (gradients: readonly (Values | undefined)[]): Values => {
      const widths = parts.map(({ n }) => n);
      const width = widths.reduce((sum, n) => sum + n, 0);
      const weights = parts.map(({ weight }) => quantized(weight, k));
      const codes = Float64Array.from(weights.flatMap(({ codes: each }) => [...each]));
      const scales = weights.flatMap(({ scales: each }) => [...each]);
      const scaled = beside(gradients, widths, rows).map((value, i) => Math.fround(value * scales[i % width]!));
      const whole = plainLinear(run, x, k, [{ weight: codes, n: width }]);
      const [share] = whole.backward([dequantized(scaled, width, isWhole)]) as [Values];
      const [rest] = low.backward(gradients) as [Values];
      return run.store(share.map((value, i) => value + rest[i]!));
    };
    return { forward, backward, count: parts.length };
  });
  return {
    outputs: made.flatMap(({ forward }) => forward),
    backward: (gradients) => {
      let dx: Values | undefined;
      let first = 0;
      for (const { backward, count } of made) {
        const own = gradients.slice(first, first + count);
        first += count;
        if (!own.some((gradient) => gradient)) continue;
        const share = backward(own);
        dx = dx ? run.store(dx.map((value, i) => value + share[i]!)) : share;
      }
      return [dx ?? new Float64Array(x.length)];
    },
  };
}
