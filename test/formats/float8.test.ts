import { describe, expect, it } from 'vitest';
import { e4m3ToNumber, numberToE4m3, quantizeRows } from '../../src/formats/float8.js';
import { float32ToBfloat16, roundToDtype } from '../../src/formats/half-precision.js';
import { dequantizedSource, quantizedSource } from '../../src/formats/held-source.js';
import type { WeightSource } from '../../src/formats/weight-source.js';

/** The number of a code, put together from the bits of a float32. */
function independent(code: number): number {
  const view = new DataView(new ArrayBuffer(4));
  const sign = ((code & 0x80) << 24) >>> 0;
  const [exponent, mantissa] = [(code >> 3) & 15, code & 7];
  if (exponent === 0) return (sign ? -1 : 1) * (mantissa / 512);
  view.setUint32(0, (sign | ((exponent + 120) << 23) | (mantissa << 20)) >>> 0);
  return view.getFloat32(0);
}

function sourceOf(codes: Uint8Array, shape: readonly number[], factors: Float32Array, block = shape): WeightSource {
  return {
    name: 'w',
    shape,
    dtype: 'f8_e4m3',
    byteLength: codes.length,
    scale: { block: [block[0]!, block[1]!], read: async () => factors },
    read: async (target, offset = 0) => target.set(codes.subarray(offset, offset + target.length)),
  };
}

const isNumber = (code: number): boolean => (code & 0x7f) !== 0x7f;

describe('e4m3', () => {
  it('has the 254 numbers of its formula, two zeros among them, and two codes of none', () => {
    for (let code = 0; code < 256; code++) {
      const number = e4m3ToNumber(code);
      if (isNumber(code)) expect([code, Object.is(number, independent(code))]).toEqual([code, true]);
      else expect(number).toBeNaN();
    }
    expect([0x7e, 0xfe, 0x01, 0x38, 0x08].map(e4m3ToNumber)).toEqual([448, -448, 2 ** -9, 1, 2 ** -6]);
  });
});

/** By search: of the two nearest, the one with the even code; 448 is the last. */
function nearestCode(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x80 : 0;
  let best = 0;
  for (let code = 1; code < 127; code++) {
    const [distance, least] = [code, best].map((c) => Math.abs(independent(c) - Math.abs(x)));
    if (distance! < least! || (distance === least && code % 2 === 0)) best = code;
  }
  return sign | best;
}

describe('quantising to e4m3', () => {
  it('takes the nearest code for every value, middle and neighbour of a middle', () => {
    const values = [0, -0, 500, -500, 3e38, 1e-30, 2 ** -149];
    for (let code = 0; code < 126; code++) {
      const middle = (independent(code) + independent(code + 1)) / 2;
      for (const x of [independent(code), middle, middle * (1 + 2 ** -22), middle * (1 - 2 ** -22)]) values.push(x, -x);
    }
    values.push(448, -448, 463, 465, 1e4);
    for (const x of values.map(Math.fround)) expect([x, numberToE4m3(x)]).toEqual([x, nearestCode(x)]);
    expect(numberToE4m3(Number.NaN)).toBe(0x7f);
    expect([Infinity, -Infinity].map(numberToE4m3)).toEqual([0x7e, 0xfe]);
  });

  it('gives each row its scale, and rows of zeros the scale 1', () => {
    const rows = [
      [1, -2, 3, 0.1],
      [0, 0, -0, 0],
      [1e-3, 448, -7, 1e-9],
      [2 ** -149, 0, 0, 0],
    ];
    const codes = new Uint8Array(16);
    const scales = new Float32Array(4);
    quantizeRows('w', Float32Array.from(rows.flat()), 4, codes, scales);
    expect([...scales]).toEqual([Math.fround(3 / 448), 1, 1, 1]);
    const expected = rows.flatMap((row, r) => row.map((x) => nearestCode(Math.fround(Math.fround(x) / scales[r]!))));
    expect([...codes]).toEqual(expected);
    expect(() => quantizeRows('w', Float32Array.of(1, Number.NaN), 2, codes, scales)).toThrow(
      /w: a value is not finite/,
    );
  });

  it('on the host holds the values of codes times scales of rows', async () => {
    const [rows, columns] = [5, 9];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i) * (1 + i));
    const read = async (target: Uint8Array, offset = 0): Promise<void> =>
      target.set(new Uint8Array(values.buffer).subarray(offset, offset + target.length));
    const stored = { name: 'w', shape: [rows, columns], dtype: 'f32', byteLength: 180, read } as const;
    const held = await quantizedSource({ ...stored, hold: { format: 'f8_e4m3' } });
    expect(held).toMatchObject({ dtype: 'f8_e4m3', byteLength: 45, scale: { block: [1, columns] } });
    const found = new Uint16Array(rows * columns);
    await dequantizedSource(held).read(new Uint8Array(found.buffer));
    const expected = Float32Array.from(values, (x, i) => {
      const start = i - (i % columns);
      const scale = Math.fround(Math.max(...values.subarray(start, start + columns).map(Math.abs)) / 448);
      return independent(nearestCode(Math.fround(x / scale))) * scale;
    });
    expect(found).toEqual(float32ToBfloat16(expected));
  });
});

describe('dequantizedSource', () => {
  it('gives every code times the factor, rounded to bfloat16 once', async () => {
    const codes = Uint8Array.from({ length: 256 }, (_, code) => code).filter(isNumber);
    for (const factor of [1, 0.0123, 3.7e-5, -2.5].map(Math.fround)) {
      const source = dequantizedSource(sourceOf(codes, [2, 127], Float32Array.of(factor)));
      expect(source).toMatchObject({ name: 'w', shape: [2, 127], dtype: 'bf16', byteLength: 508 });
      expect(source.scale).toBeUndefined();
      const numbers = new Uint16Array(254);
      await source.read(new Uint8Array(numbers.buffer));
      const exact = Float32Array.from(codes, (code) => Math.fround(independent(code) * factor));
      expect(numbers).toEqual(float32ToBfloat16(exact));
    }
  });

  it('applies a factor to each block, cut at the borders, whatever piece is read', async () => {
    const [rows, columns] = [7, 11];
    const codes = Uint8Array.from({ length: rows * columns }, (_, i) => (i * 37) % 127);
    const factors = Float32Array.from({ length: 3 * 3 }, (_, i) => 0.25 + i / 7);
    const expected = roundToDtype(
      Float32Array.from(codes, (code, i) => {
        const [row, column] = [Math.floor(i / columns), i % columns];
        return independent(code) * factors[Math.floor(row / 3) * 3 + Math.floor(column / 4)]!;
      }),
      'bf16',
    );
    const source = dequantizedSource(sourceOf(codes, [rows, columns], factors, [3, 4]));
    for (const [from, to] of [
      [0, 77],
      [0, 1],
      [5, 40],
      [33, 77],
      [76, 77],
    ] as const) {
      const numbers = new Uint16Array(to - from);
      await source.read(new Uint8Array(numbers.buffer), 2 * from);
      expect([...numbers]).toEqual([...float32ToBfloat16(expected.subarray(from, to))]);
    }
  });

  it('refuses codes that are no numbers, and scales that do not fit or are not finite', async () => {
    const read = (source: WeightSource): Promise<void> =>
      dequantizedSource(source).read(new Uint8Array(2 * source.byteLength));
    for (const code of [0x7f, 0xff]) {
      await expect(read(sourceOf(Uint8Array.of(1, 2, code, 4), [2, 2], Float32Array.of(1)))).rejects.toThrow(
        /^w: its 8-bit floats hold the code 0x7f or 0xff/,
      );
    }
    const codes = new Uint8Array(4);
    await expect(read(sourceOf(codes, [2, 2], new Float32Array(2)))).rejects.toThrow(/w: 2 scale factors.*expected 1/);
    await expect(read(sourceOf(codes, [2, 2], Float32Array.of(Number.NaN)))).rejects.toThrow(/scale factor is NaN/);
    expect(() => dequantizedSource(sourceOf(codes, [2, 3], Float32Array.of(1)))).toThrow(/4 bytes.*needs 6/);
  });

  it('leaves other weights alone', () => {
    const source: WeightSource = { ...sourceOf(new Uint8Array(4), [2], Float32Array.of(1)), dtype: 'bf16' };
    expect(dequantizedSource(source)).toBe(source);
  });
});
