/** What a rendering may spend: steps and characters, so that it ends in bounded time and memory. */
import { outOfBounds } from './error.js';

/** Characters that a single value may have when printed, on top of a multiple of what came in. */
const MAX_VALUE = 262_144;
/** What all values that a rendering makes may take together, on top of a multiple of what came in. */
const MAX_TOTAL = 16_777_216;
/** For each node of an expression, in the units of MAX_TOTAL; and for an element of a list. */
export const STEP = 8;
export const ELEMENT = 16;
/** How deeply lists and objects may lie in one another where they are printed or compared. */
export const MAX_NESTING = 64;
/** Calls of macros and recursive loops in one another; Python allows some more. */
const MAX_CALLS = 120;

export class Budget {
  #maxValue = Number.POSITIVE_INFINITY;
  #left = Number.POSITIVE_INFINITY;
  #calls = 0;

  /** What came in sets the scale: a long conversation may be long when rendered. */
  constructor(inputSize: number, total = Number.POSITIVE_INFINITY) {
    this.#maxValue = MAX_VALUE + 4 * inputSize;
    this.#left = Math.min(MAX_TOTAL + 256 * inputSize, total);
  }

  get isSpent(): boolean {
    return this.#left < 0;
  }

  spend(units: number): void {
    this.#left -= units;
    if (!(this.#left >= 0)) {
      this.#left = -1;
      throw outOfBounds('a loop, a macro or a filter multiplies without end');
    }
  }

  /** Before a text of so many characters is made. */
  expect(size: number): void {
    if (!(size <= this.#maxValue)) throw outOfBounds(`a value would have ${Math.ceil(size)} characters`);
    this.spend(size);
  }

  /** After a text grew to so many characters. */
  checkSize(size: number): void {
    if (!(size <= this.#maxValue)) throw outOfBounds(`a value would have ${Math.ceil(size)} characters`);
  }

  call<T>(run: () => T): T {
    if (++this.#calls > MAX_CALLS) throw outOfBounds(`macros call one another more than ${MAX_CALLS} deep`);
    this.spend(256);
    const result = run();
    this.#calls--;
    return result;
  }
}
