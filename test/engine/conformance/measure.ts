/** How far an engine's numbers are from the exact ones, and how far they may be. */
import assert from 'node:assert/strict';

export interface Reading {
  readonly what: string;
  /** Relative L2 error. */
  readonly error: number;
  readonly limit: number;
}

/**
 * Limits of an engine that keeps tensors in bfloat16. They are not found by trial: the same operation, in double
 * precision but with every stored value rounded to bfloat16 (plain-reference.ts), has an error that such an engine cannot
 * do without. Other roundings than these have other errors by chance, of the same size, which for sums over many
 * elements differ by little: half as much again is far beyond it. A fused operation rounds less often, so it keeps to the
 * limit of the composition that it stands for. Where nothing is stored between (a gather, a loss in float32) that
 * error is 0, and float32 sums in another order and fast exponentials are all there is: half a unit in the last of the 8
 * binary places, the error of one rounding, is room for these and still tells every defect of an index or a factor.
 */
const FACTOR = 1.5;
const HALF_UNIT = 2 ** -9;
/**
 * A single element may be far off without being seen in the L2 error of many. The largest of all errors differs more from
 * one set of roundings to another than their mean: twice the factor, and a whole unit of the largest element.
 */
const PEAK_FACTOR = 2 * FACTOR;

function norm(values: ArrayLike<number>): number {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += values[i]! ** 2;
  return Math.sqrt(squares);
}

function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!));
  return most;
}

function differences(actual: ArrayLike<number>, expected: ArrayLike<number>): Float64Array {
  assert.equal(actual.length, expected.length, 'length');
  const apart = new Float64Array(expected.length);
  for (let i = 0; i < apart.length; i++) apart[i] = actual[i]! - expected[i]!;
  return apart;
}

/** Relative L2 error; NaN never passes for small, and zeros must be met exactly. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  const [error, size] = [norm(differences(actual, expected)), norm(expected)];
  if (Number.isNaN(error)) return Number.POSITIVE_INFINITY;
  return size === 0 ? error : error / size;
}

/** Bit for bit; comparisons of whole arrays take seconds for long ones. */
export function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what = 'numbers'): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(actual[i], expected[i])) assert.fail(`${what}: ${actual[i]} instead of ${expected[i]} at ${i}`);
  }
}

/** Takes the readings of one check. */
export class Meter {
  readonly readings: Reading[] = [];

  /**
   * @param rounded of the bfloat16 composition; undefined for an engine of float32, which has a limit of its own
   * @param scale the least norm that errors are relative to
   * @throws AssertionError beyond the limit
   */
  compare(
    what: string,
    actual: ArrayLike<number>,
    exact: ArrayLike<number>,
    rounded: ArrayLike<number> | undefined,
    tolerance: number,
    scale = 0,
  ): void {
    const off = differences(actual, exact);
    const size = Math.max(norm(exact), scale) || 1;
    const error = norm(off) / size;
    if (!rounded) {
      this.read(what, error, tolerance);
      return;
    }
    const own = differences(rounded, exact);
    this.read(what, error, FACTOR * (norm(own) / size) + HALF_UNIT);
    const peak = largest(exact) || size;
    this.read(`${what}, worst element`, largest(off) / peak, PEAK_FACTOR * (largest(own) / peak) + 2 * HALF_UNIT);
  }

  read(what: string, error: number, limit: number): void {
    const held = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    this.readings.push({ what, error: held, limit });
    assert.ok(held <= limit, `${what}: error ${held.toExponential(2)}, limit ${limit.toExponential(2)}`);
  }
}
