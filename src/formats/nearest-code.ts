/** Nearest value of a sorted table: a search that starts from the upper half of a float32's bits. */
import { BitView } from './bit-view.js';

/**
 * By the upper 16 bits of a float32: the code of the smallest float32 with those bits. That of a NaN is 0.
 * @param midpoints between neighbouring values, ascending; the last is Infinity, which ends a search
 */
export function firstCodes(midpoints: Float32Array): Uint8Array {
  const codes = new Uint8Array(65536);
  const view = new BitView(1);
  for (let upper = 0; upper < codes.length; upper++) {
    // The smallest value of a bucket: lower bits clear if positive, all set if negative.
    view.bits[0] = upper < 0x8000 ? upper << 16 : ((upper << 16) | 0xffff) >>> 0;
    const x = view.floats[0]!;
    let code = 0;
    while (x > midpoints[code]!) code++;
    codes[upper] = code;
  }
  return codes;
}
