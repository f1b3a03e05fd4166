/**
 * Dynamic tree quantisation of Dettmers et al. (2021, "8-bit Optimizers via Block-wise Quantization"): 256 values whose
 * spacing is fine near 1 and reaches down seven decades, built as bitsandbytes' `create_dynamic_map` does.
 */
import type { BitView } from './bit-view.js';
import { firstCodes } from './nearest-code.js';

const DECADES = 7;

/** A sorted table of 256 values in [-1, 1] or [0, 1], and the search for the nearest of them. */
export class DynamicMap {
  /** Ascending, float32. */
  readonly values: Float32Array;
  /** Halfway between neighbours; the last is +Infinity, so that a search always ends. */
  readonly midpoints: Float32Array;
  /** By the upper 16 bits of a float32: the code nearest to the smallest float32 with those bits. */
  private readonly firstCode: Uint8Array;

  constructor(signed: boolean) {
    this.values = buildValues(signed);
    this.midpoints = new Float32Array(256).fill(Infinity);
    for (let i = 0; i < 255; i++) this.midpoints[i] = (this.values[i]! + this.values[i + 1]!) / 2;
    this.firstCode = firstCodes(this.midpoints);
  }

  /** Writes the code of the value nearest to each of source[0, count) to `codes` from `start` on; the lower at a tie. */
  encode(source: BitView, count: number, codes: Uint8Array, start: number): void {
    const { midpoints, firstCode } = this;
    const { floats, bits } = source;
    for (let i = 0; i < count; i++) {
      const x = floats[i]!;
      let code = firstCode[bits[i]! >>> 16]!;
      while (x > midpoints[code]!) code++;
      codes[start + i] = code;
    }
  }
}

/**
 * Decade i holds the middles of 2^i (signed) or 2^(i+1) equal cells of [0.1, 1], scaled by 10^(i-6); then 0 and 1.
 * Rounded to float32 after each operation, in the order of torch's `linspace`, so that the tables are equal bit by bit.
 */
function buildValues(signed: boolean): Float32Array {
  const { fround } = Math;
  const low = fround(0.1);
  const values = [0, 1];
  for (let i = 0; i < DECADES; i++) {
    const cells = 2 ** (signed ? i : i + 1);
    const cellWidth = fround(fround(1 - low) / cells);
    const scale = fround(10 ** (i - (DECADES - 1)));
    // linspace counts from both ends towards the middle.
    const edge = (k: number) => fround(k < cells / 2 ? low + cellWidth * k : 1 - cellWidth * (cells - k));
    for (let cell = 0; cell < cells; cell++) {
      const value = fround(scale * fround(fround(edge(cell) + edge(cell + 1)) / 2));
      values.push(value);
      if (signed) values.push(-value);
    }
  }
  return Float32Array.from(values).sort();
}
