/**
 * How blurred an image is, without another one to compare with: the blur effect of Crete, Dolmiere, Ladret and Nicolas,
 * "The blur effect: perception and estimation with a new no-reference perceptual blur metric" (2007). A sharp image
 * loses much of its contrast between neighbours when it is blurred, a blurred one little.
 */

/** Every so manieth row and column is enough. */
const STRIDE = 4;
/** Pixels to each side of the mean that blurs. */
const REACH = 4;

/** From 0 (sharp) to 1 (nothing but smooth transitions); 0 for an image that is too small or has no contrast at all. */
export function blurEffect(luminance: Uint8Array, width: number, height: number): number {
  return Math.max(alongLines(luminance, width, height, 1, width), alongLines(luminance, height, width, width, 1));
}

/** @param step from one pixel of a line to the next @param line from one line to the next */
function alongLines(luminance: Uint8Array, length: number, lines: number, step: number, line: number): number {
  let total = 0;
  let lost = 0;
  for (let row = 0; row < lines; row += STRIDE) {
    for (let i = REACH + 1; i < length - REACH; i++) {
      const at = row * line + i * step;
      const contrast = Math.abs(luminance[at]! - luminance[at - step]!);
      // Two means of neighbours differ by the pixels at their ends alone.
      const blurred = Math.abs(luminance[at + REACH * step]! - luminance[at - (REACH + 1) * step]!) / (2 * REACH + 1);
      total += contrast;
      if (contrast > blurred) lost += contrast - blurred;
    }
  }
  return total === 0 ? 0 : (total - lost) / total;
}
