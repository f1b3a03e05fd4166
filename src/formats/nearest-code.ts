/** Nearest value of a sorted table: a search that starts from the upper half of a float32's bits. */
import { BitView } from './bit-view.js';

/**
 * By the upper 16 bits of a float32: the code of the smallest float32 with those bits. That of a NaN is 0.
 * @param midpoints between neighbouring values, ascending; the last is Infinity, which ends a search
 */
export function firstCodes(midpoints: Float32Array): Uint8Array {
  const codes = new Uint8Array(65536);
  const view = new BitView(1);
  // In ascending order of the values, so that the search goes on from the last one's code.
  let code = 0;
  const search = (upper: number, lower: number): void => {
    view.bits[0] = ((upper << 16) | lower) >>> 0;
    const x = view.floats[0]!;
    while (x > midpoints[code]!) code++;
    codes[upper] = code;
  };
  // The smallest value of a bucket: lower bits all set if negative, clear if positive.
  for (let upper = 0xff7f; upper >= 0x8000; upper--) search(upper, 0xffff);
  for (let upper = 0; upper <= 0x7f80; upper++) search(upper, 0);
  return codes;
}
