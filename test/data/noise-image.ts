import type { RgbImage } from '../../src/data/types.js';

/** Reproducible noise: a multiply-xorshift hash of the position, which the script that made the references used too. */
export function noiseImage(width: number, height: number): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    let x = Math.imul(i, 2654435761) >>> 0;
    x = Math.imul(x ^ (x >>> 15), 2246822519) >>> 0;
    data[i] = x >>> 24;
  }
  return { width, height, data };
}
