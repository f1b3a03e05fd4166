/**
 * Decides how near is near enough: an engine that computes in float32 has fixed bounds; one that computes in bfloat16
 * may err at most 1.5 times as much as transformers does in bfloat16, array by array.
 */
import type { SafetensorsFile } from '../../src/engine/safetensors.js';
import { type CheckList, relativeL2 } from './check-list.js';
import { GapTable, projectionOf } from './gap-table.js';

/** How often transformers' own error. */
export const ALLOWED_RATIO = 1.5;

/** transformers' attention implementations that add-bf16.py computed with; the larger error counts. */
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
    this.#ratio(what, error, Math.max(...theirs.map((values) => relativeL2(values, expected))));
  }

  /**
   * An adapter's tensors. The error of one small gradient is much a matter of chance: transformers with eager attention
   * is more than 1.5 times as far off as with SDPA in one or two of 84. So the gap of a tensor is its own, or the root
   * mean square of its tower's tensors of the same projection where that is larger.
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
    const gaps = [];
    for (const { name, actual, expected } of tensors) {
      const theirs = await this.#variants({ key: `${key}/${name}`, bound });
      gaps.push({ name, gap: table.add(name, actual, expected, theirs) });
    }
    const usual = table.byKind(projectionOf);
    for (const { name, gap } of gaps) {
      this.#ratio(`${what} ${name}`, gap.ours, Math.max(gap.theirs, usual.get(projectionOf(name))!.theirs));
    }
    console.log(`     ${what}: ${table.describe(ALLOWED_RATIO)}`);
  }

  /**
   * Losses in a row, as root mean square. One number can be exact by chance, so the gap is at least twice the deviation
   * that independent errors of the tokens' losses leave in their mean.
   */
  async losses(what: string, actual: readonly number[], expected: Float32Array, group: string): Promise<void> {
    const error = distance(actual, expected);
    const theirs = await this.#variants({ key: `${group}/loss`, bound: 0 });
    const noise = await this.#variants({ key: `${group}/loss_noise`, bound: 0 });
    const gaps = [
      ...theirs.map((values) => distance(values, expected)),
      ...noise.map((values) => distance(values, [])),
    ];
    this.#ratio(what, error, Math.max(...gaps));
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

  #ratio(what: string, error: number, gap: number): void {
    const ratio = error === 0 && gap === 0 ? 1 : error / gap;
    this.#checks.atMost(`${what}: error ${error.toExponential(2)}, ratio to the gap`, ratio, ALLOWED_RATIO);
  }
}

/** Root mean square of the differences; numbers that are left out count as 0. */
function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < actual.length; i++) sum += (actual[i]! - (expected[i] ?? 0)) ** 2;
  return Math.sqrt(sum / actual.length);
}
