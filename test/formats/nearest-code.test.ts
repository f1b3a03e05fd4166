import { expect, it } from 'vitest';
import { firstCodes } from '../../src/formats/nearest-code.js';

it('a search starts from the code of the smallest float32 with the same upper half', () => {
  // Values at a midpoint have the lower code.
  const midpoints = Float32Array.of(-3.5, -1, 0, 1, 2.75, Number.POSITIVE_INFINITY);
  const floatOf = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!;
  const expected = Array.from({ length: 65536 }, (_, upper) => {
    // A NaN is above none of them.
    const ends = [0, 65535].map((lower) => floatOf(upper * 65536 + lower)).filter((x) => !Number.isNaN(x));
    const smallest = ends.length === 0 ? Number.NaN : Math.min(...ends);
    return midpoints.filter((midpoint) => smallest > midpoint).length;
  });
  expect(Buffer.from(firstCodes(midpoints)).equals(Buffer.from(expected))).toBe(true);
  expect(new Set(expected).size).toBe(6);
});
