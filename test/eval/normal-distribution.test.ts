import { describe, expect, it } from 'vitest';
import { erfc, normalCdf, normalQuantile } from '../../src/eval/normal-distribution.js';

// scipy.special.erfc, scipy.stats.norm of SciPy 1.17.
describe('the normal distribution', () => {
  it.each([
    [0, 1],
    [0.1, 0.8875370839817152],
    [0.5, 0.4795001221869535],
    [1, 0.15729920705028516],
    [1.9999, 0.00467980209297061],
    [2, 0.004677734981047266],
    [2.5, 0.00040695201744495886],
    [5, 1.5374597944280347e-12],
    [10, 2.0884875837625446e-45],
    [25, 8.300172571196523e-274],
  ])('has erfc(%d) to 12 digits', (x, value) => {
    expect(erfc(x) / value).toBeCloseTo(1, 12);
  });

  it.each([
    [-8, 6.22096057427174e-16],
    [-3, 0.0013498980316300933],
    [-1, 0.15865525393145707],
    [0, 0.5],
    [0.5, 0.6914624612740131],
    [2, 0.9772498680518208],
    [4, 0.9999683287581669],
  ])('has the share below %d', (z, share) => {
    expect(normalCdf(z) / share).toBeCloseTo(1, 12);
  });

  it.each([
    [1e-10, -6.361340902404056],
    [1e-4, -3.7190164854556804],
    [0.025, -1.9599639845400545],
    [0.3, -0.5244005127080409],
    [0.5, 0],
    [0.9, 1.2815515655446004],
    [0.999, 3.090232306167813],
    [0, Number.NEGATIVE_INFINITY],
    [1, Number.POSITIVE_INFINITY],
  ])('has the quantile of %d', (p, z) => {
    expect(normalQuantile(p)).toBeCloseTo(z, 11);
  });
});
