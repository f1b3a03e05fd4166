import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { axisWeights, resampleBicubic } from '../../src/data/resample.js';
import { noiseImage } from './noise-image.js';

// References: torch 2.13.0, torchvision 0.28.0, transforms.v2.functional.resize(uint8, BICUBIC, antialias=True), CPU.
const SMALL: [width: number, height: number, toWidth: number, toHeight: number, levels: number[]][] = [
  [
    5,
    3,
    7,
    4,
    [
      0, 89, 211, 2, 55, 210, 9, 49, 224, 12, 93, 232, 130, 45, 48, 96, 132, 10, 0, 255, 68, 145, 185, 240, 83, 179,
      237, 30, 155, 223, 36, 114, 196, 53, 97, 173, 104, 169, 149, 152, 254, 133, 224, 213, 186, 156, 210, 215, 94, 179,
      197, 88, 122, 118, 54, 161, 184, 111, 211, 214, 194, 243, 207, 177, 155, 83, 174, 130, 157, 159, 105, 163, 135,
      112, 48, 131, 196, 76, 113, 232, 164, 93, 228, 243,
    ],
  ],
  [
    9,
    8,
    4,
    3,
    [
      118, 124, 155, 99, 111, 97, 81, 171, 174, 91, 153, 134, 140, 135, 110, 112, 96, 79, 82, 117, 101, 127, 162, 174,
      76, 100, 158, 120, 110, 110, 115, 112, 101, 111, 155, 106,
    ],
  ],
  [1, 1, 3, 2, [0, 93, 212, 0, 93, 212, 0, 93, 212, 0, 93, 212, 0, 93, 212, 0, 93, 212]],
  [
    4,
    4,
    4,
    2,
    [5, 171, 156, 127, 148, 226, 54, 159, 217, 112, 87, 95, 75, 147, 136, 181, 239, 153, 135, 200, 171, 97, 161, 200],
  ],
  [
    3,
    5,
    5,
    5,
    [
      0, 96, 212, 5, 75, 212, 14, 47, 214, 15, 76, 224, 14, 99, 230, 157, 36, 3, 91, 121, 22, 14, 249, 69, 140, 246,
      183, 232, 229, 253, 66, 237, 243, 64, 191, 208, 58, 124, 164, 39, 136, 211, 27, 151, 248, 217, 252, 186, 202, 216,
      146, 178, 157, 97, 167, 127, 157, 162, 114, 202, 132, 105, 50, 130, 150, 68, 124, 219, 109, 109, 230, 192, 99,
      229, 242,
    ],
  ],
];
const LARGE: [width: number, height: number, toWidth: number, toHeight: number, sha256: string][] = [
  [97, 61, 112, 84, '16706aa5637798eabab66ba557f9d5e4'],
  [640, 480, 644, 504, '93ef4bac2cb343de0acd2f52ecf932d5'],
  [331, 257, 28, 56, 'f3afe3582c8c02685799085f477432bf'],
  [1000, 3, 4, 7, '6c4e944febfe4e3594e289ccb55edae5'],
  [2, 700, 3, 2, 'a3a026a2d51e8aaa6b59f34c40750dd6'],
  [57, 113, 57, 84, 'daa9c0695e8dc06bbd9b623dde6a6b3b'],
  [211, 34, 112, 34, 'e904e50b868ecfbd26700278f0ab77df'],
  [1201, 801, 560, 392, '4ea046219724379cfe63f069a2feb2e2'],
];

describe('resampleBicubic', () => {
  it.each(SMALL)(
    'gives every level of torchvision for %i × %i to %i × %i',
    (width, height, toWidth, toHeight, levels) => {
      const result = resampleBicubic(noiseImage(width, height), toWidth, toHeight);
      expect(result.width).toBe(toWidth);
      expect(result.height).toBe(toHeight);
      expect([...result.data]).toEqual(levels);
    },
  );

  it.each(LARGE)('is bit-equal to torchvision for %i × %i to %i × %i', (width, height, toWidth, toHeight, sha256) => {
    const { data } = resampleBicubic(noiseImage(width, height), toWidth, toHeight);
    expect(data.length).toBe(toWidth * toHeight * 3);
    expect(createHash('sha256').update(data).digest('hex').slice(0, 32)).toBe(sha256);
  });

  it('returns the image itself where no size changes', () => {
    const image = noiseImage(12, 7);
    expect(resampleBicubic(image, 12, 7)).toBe(image);
  });

  it('leaves its input alone', () => {
    const image = noiseImage(33, 21);
    const before = image.data.slice();
    resampleBicubic(image, 28, 28);
    expect(image.data).toEqual(before);
  });

  it('keeps an even image even within one level, at any size', () => {
    const side = fc.integer({ min: 1, max: 80 });
    fc.assert(
      fc.property(side, side, side, side, fc.integer({ min: 0, max: 255 }), (w, h, toW, toH, level) => {
        const image = { width: w, height: h, data: new Uint8Array(w * h * 3).fill(level) };
        const worst = resampleBicubic(image, toW, toH).data.reduce(
          (most, value) => Math.max(most, Math.abs(value - level)),
          0,
        );
        expect(worst).toBeLessThanOrEqual(1);
      }),
      { numRuns: 60 },
    );
  });

  it('does not mix channels', () => {
    const image = noiseImage(30, 20);
    for (let i = 1; i < image.data.length; i += 3) image.data[i] = 0;
    const { data } = resampleBicubic(image, 56, 28);
    expect(data.some((value, i) => i % 3 === 1 && value !== 0)).toBe(false);
    expect(data.some((value, i) => i % 3 === 0 && value !== 0)).toBe(true);
  });
});

describe('axisWeights', () => {
  it('gives windows inside the input whose weights add up to one', () => {
    const side = fc.integer({ min: 1, max: 3000 });
    fc.assert(
      fc.property(side, side, (from, to) => {
        const { taps, first, count, weights, precision } = axisWeights(from, to);
        expect(taps % 4).toBe(0);
        const faults: number[] = [];
        for (let i = 0; i < to; i++) {
          const row = weights.subarray(i * taps, (i + 1) * taps);
          const sum = row.reduce((total, weight) => total + weight, 0);
          const inside = first[i]! >= 0 && count[i]! > 0 && first[i]! + count[i]! <= from;
          // Each weight is rounded by half a unit at most.
          const whole = Math.abs(sum - 2 ** precision) <= count[i]! / 2 + 1;
          if (!inside || !whole || row.subarray(count[i]!).some((weight) => weight !== 0)) faults.push(i);
        }
        expect(faults).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });

  it('takes the finest precision whose largest weight still fits 16 bits, 22 at most', () => {
    for (const [from, to] of [
      [640, 644],
      [10, 3],
      [500, 30],
    ] as const) {
      const { weights, precision } = axisWeights(from, to);
      const largest = weights.reduce((most, weight) => Math.max(most, weight), 0);
      expect(largest).toBeLessThan(32768);
      expect(largest * 2).toBeGreaterThanOrEqual(32767);
      expect(precision).toBeLessThan(22);
    }
    expect(axisWeights(5000, 3).precision).toBe(22);
  });
});
