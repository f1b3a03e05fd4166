/**
 * Decides how near is near enough: an engine that computes in float32 has fixed bounds; one that computes in bfloat16
 * may err at most 1.5 times as much as transformers does in bfloat16, value by value. Errors of losses and of small
 * gradients are much a matter of chance, so transformers' gap is the largest error of several runs that bfloat16 cannot
 * tell apart: add-bf16.py makes them.
 */
import type { SafetensorsFile } from '../../src/formats/safetensors.js';
import { type CheckList, relativeL2 } from './check-list.js';
import { GapTable } from './gap-table.js';

/** How often transformers' own error. */
export const ALLOWED_RATIO = 1.5;

/** transformers' attention implementations. */
const VARIANTS = ['sdpa', 'eager'];

/** Where add-bf16.py put its value, and what an engine in float32 may err by. */
export interface Yardstick {
  /** GROUP/NAME */
  readonly key: string;
  readonly bound: number;
  /** Picks from the stored array what `actual` holds. */
  readonly pick?: (values: Float32Array) => Float32Array;
}

export class Judge {
  readonly #checks: CheckList;
  readonly #theirs: SafetensorsFile | undefined;

  /** @param theirs transformers' values in bfloat16, for an engine that computes in it */
  constructor(checks: CheckList, theirs?: SafetensorsFile) {
    this.#checks = checks;
    this.#theirs = theirs;
  }

  get isFloat32(): boolean {
    return this.#theirs === undefined;
  }

  /** Relative L2 distance. */
  async array(what: string, actual: Float32Array, expected: Float32Array, yardstick: Yardstick): Promise<void> {
    const error = relativeL2(actual, expected);
    if (this.isFloat32) return this.#checks.atMost(what, error, yardstick.bound);
    const theirs = await this.#variants(yardstick);
    await this.#ratio(what, error, yardstick.key, ...theirs.map((values) => relativeL2(values, expected)));
  }

  /**
   * An adapter's tensors. In bfloat16 also prints how their errors compare with those of transformers' two plain runs.
   */
  async adapterTensors(
    what: string,
    tensors: readonly { name: string; actual: Float32Array; expected: Float32Array }[],
    { key, bound }: Yardstick,
  ): Promise<void> {
    if (this.isFloat32) {
      for (const { name, actual, expected } of tensors) {
        this.#checks.atMost(`${what} ${name}`, relativeL2(actual, expected), bound);
      }
      return;
    }
    const table = new GapTable();
    for (const { name, actual, expected } of tensors) {
      const gap = table.add(name, actual, expected, await this.#variants({ key: `${key}/${name}`, bound }));
      await this.#ratio(`${what} ${name}`, gap.ours, `${key}/${name}`, gap.theirs);
    }
    console.log(`     ${what}: ${table.describe(ALLOWED_RATIO)}`);
  }

  /**
   * Losses in a row, as root mean square.
   * @param floor the least that the gap counts as
   */
  async losses(
    what: string,
    actual: readonly number[],
    expected: Float32Array,
    { key }: { readonly key: string },
    floor = 0,
  ): Promise<void> {
    const theirs = await this.#variants({ key, bound: 0 });
    await this.#ratio(what, distance(actual, expected), key, floor, ...theirs.map((v) => distance(v, expected)));
  }

  /** The standard deviation that the mean of these numbers would have if their errors were independent. */
  async meanDeviation(expected: Float32Array, yardstick: Yardstick): Promise<number> {
    const theirs = await this.#variants(yardstick);
    return Math.max(...theirs.map((values) => distance(values, expected))) / Math.sqrt(expected.length);
  }

  /** The largest distance of single numbers that transformers has. */
  async largestGap(expected: Float32Array, yardstick: Yardstick): Promise<number> {
    const theirs = await this.#variants(yardstick);
    let largest = 0;
    for (const values of theirs) {
      for (const [i, value] of expected.entries()) largest = Math.max(largest, Math.abs(values[i]! - value));
    }
    return largest;
  }

  async #variants({ key, pick }: Yardstick): Promise<Float32Array[]> {
    const arrays: Float32Array[] = [];
    for (const variant of VARIANTS) {
      const values = await this.#theirs!.readFloat32(`${variant}/${key}`);
      arrays.push(pick ? pick(values) : values);
    }
    return arrays;
  }

  /** The gap is the largest of `errors` and of those that runs with nudged pictures had. */
  async #ratio(what: string, error: number, key: string, ...errors: number[]): Promise<void> {
    const nudged = `nudged/${key}`;
    if (this.#theirs!.tensors.has(nudged)) errors.push((await this.#theirs!.readFloat32(nudged))[0]!);
    const gap = Math.max(...errors);
    const ratio = error === 0 && gap === 0 ? 1 : error / gap;
    this.#checks.atMost(`${what}: error ${error.toExponential(2)}, ratio to the gap`, ratio, ALLOWED_RATIO);
  }
}

function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < actual.length; i++) sum += (actual[i]! - expected[i]!) ** 2;
  return Math.sqrt(sum / actual.length);
}
