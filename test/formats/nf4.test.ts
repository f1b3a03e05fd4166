import { describe, expect, it } from 'vitest';
import { dequantizedSource, quantizedSource } from '../../src/formats/held-source.js';
import { expandAbsmax, NF4_VALUES, Nf4Quantizer, quantizeAbsmax } from '../../src/formats/nf4.js';
import type { Nf4Absmax, StoredDType, WeightSource } from '../../src/formats/weight-source.js';
import { counterHash } from '../../src/random.js';

const { fround } = Math;

/** As printed in bitsandbytes' sources, that of code 15 first. */
const THRESHOLDS = [
  ...[0.8614784181118011, 0.6427869200706482, 0.5016634166240692, 0.3893125355243683, 0.2920137718319893],
  ...[0.2035212516784668, 0.1202552504837513, 0.03979014977812767, -0.045525018125772476, -0.13791173323988914],
  ...[-0.23460740596055984, -0.33967943489551544, -0.4599952697753906, -0.6106329262256622, -0.8480964004993439],
].map(fround);

/** Slow and plain: codes, and the largest magnitude of each block. */
function plainNf4(values: Float32Array, blockSize: number): { codes: number[]; absmax: number[] } {
  const codes: number[] = [];
  const absmax: number[] = [];
  for (let start = 0; start < values.length; start += blockSize) {
    const block = [...values.subarray(start, start + blockSize)];
    const top = block.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const reciprocal = fround(1 / top);
    absmax.push(top);
    for (const x of block) {
      const above = THRESHOLDS.findIndex((threshold) => fround(x * reciprocal) > threshold);
      codes.push(above < 0 ? 0 : 15 - above);
    }
  }
  return { codes, absmax };
}

/** Slow and plain: the nearest of the map's values by search over all of them, the lower at a tie. */
function plainNested(
  absmax: readonly number[],
  map: Float32Array,
): { codes: number[]; nested: number[]; mean: number } {
  const mean = fround(absmax.reduce((sum, x) => sum + x, 0) / absmax.length);
  const codes: number[] = [];
  const nested: number[] = [];
  for (let start = 0; start < absmax.length; start += 256) {
    const block = absmax.slice(start, start + 256).map((x) => fround(x - mean));
    const top = Math.max(...block.map(Math.abs));
    nested.push(top);
    for (const x of block) {
      const scaled = fround(x * fround(1 / top));
      let code = 0;
      for (let k = 0; k < 255; k++) if (scaled > fround(fround(map[k]! + map[k + 1]!) / 2)) code = k + 1;
      codes.push(code);
    }
  }
  return { codes, nested, mean };
}

const unpack = (codes: Uint8Array): number[] => [...codes].flatMap((pair) => [pair >> 4, pair & 15]);

function normal(count: number, seed: number, scale = 0.02): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const u = (counterHash(seed, 2 * i) + 1) / 2 ** 32;
    return scale * Math.sqrt(-2 * Math.log(u)) * Math.cos((2 * Math.PI * counterHash(seed, 2 * i + 1)) / 2 ** 32);
  });
}

/** The next float32 towards +Infinity, or -Infinity. */
function neighbour(x: number, up: boolean): number {
  const bits = new Int32Array(Float32Array.of(x).buffer);
  bits[0] = bits[0]! + (x > 0 === up ? 1 : -1);
  return new Float32Array(bits.buffer)[0]!;
}

function quantize(values: Float32Array, blockSize: number, double: boolean, piece = values.length) {
  const quantizer = new Nf4Quantizer('w', values.length, blockSize);
  for (let i = 0; i < values.length; i += piece) quantizer.push(values.subarray(i, i + piece));
  return { codes: quantizer.codes, state: quantizer.finish(double) };
}

function nested(state: Nf4Absmax): Exclude<Nf4Absmax, { readonly absmax: Float32Array }> {
  if ('absmax' in state) throw new Error('expected double quantisation');
  return state;
}

function sourceOf(values: Float32Array, shape: readonly number[], hold?: WeightSource['hold']): WeightSource {
  const bytes = new Uint8Array(values.buffer);
  const read = async (target: Uint8Array, offset = 0): Promise<void> =>
    target.set(bytes.subarray(offset, offset + target.length));
  return { name: 'w', shape, dtype: 'f32' as StoredDType, byteLength: bytes.length, hold, read };
}

async function bf16Of(source: WeightSource): Promise<Uint16Array> {
  const values = new Uint16Array(source.shape.reduce((a, b) => a * b));
  await dequantizedSource(source).read(new Uint8Array(values.buffer));
  return values;
}

describe('NF4', () => {
  it('has 16 ascending values with the thresholds in their middles', () => {
    expect(NF4_VALUES).toHaveLength(16);
    expect([NF4_VALUES[0], NF4_VALUES[7], NF4_VALUES[15]]).toEqual([-1, 0, 1]);
    for (let code = 1; code < 16; code++) {
      const middle = (NF4_VALUES[code - 1]! + NF4_VALUES[code]!) / 2;
      expect(Math.abs(THRESHOLDS[15 - code]! - middle)).toBeLessThan(1e-7);
    }
  });

  it('codes a million values, magnitudes and double quantisation as the plain algorithm does', () => {
    const values = normal(1_000_000, 7);
    // Blocks of very different sizes, as outliers make them.
    for (let i = 0; i < values.length; i += 6400) values[i] = values[i]! * 50;
    const { codes, state } = quantize(values, 64, true);
    const plain = plainNf4(values, 64);
    expect(Buffer.from(codes).equals(Buffer.from(pack(plain.codes)))).toBe(true);
    const second = nested(state);
    const expected = plainNested(plain.absmax, second.map);
    expect(second.offset).toBe(expected.mean);
    expect([...second.codes]).toEqual(expected.codes);
    expect([...second.nestedAbsmax]).toEqual(expected.nested);
    expect(second.nestedBlockSize).toBe(256);
    expect([...expandAbsmax(state)]).toEqual(
      expected.codes.map((code, i) => {
        const product = fround(second.map[code]! * expected.nested[Math.floor(i / 256)]!);
        return fround(product + expected.mean);
      }),
    );
    const single = quantize(values, 64, false).state;
    expect([...expandAbsmax(single)]).toEqual(plain.absmax);
  });

  it('takes the lower code at a tie, and the exact neighbours of thresholds on their sides', () => {
    const near = THRESHOLDS.flatMap((x) => [neighbour(x, false), x, neighbour(x, true)]);
    const values = Float32Array.from([1, ...near, -1, 0, -0]);
    const { codes } = quantize(values, 64, false);
    const found = unpack(codes).slice(1, 1 + near.length);
    expect(found).toEqual(THRESHOLDS.flatMap((_, i) => [14 - i, 14 - i, 15 - i]));
    expect(unpack(codes).slice(near.length + 1, values.length)).toEqual([0, 7, 7]);
  });

  it.each([
    ['zeros', new Float32Array(64)],
    ['negative zeros', new Float32Array(64).fill(-0)],
    ['denormals', Float32Array.from({ length: 64 }, (_, i) => (i - 32) * 2 ** -149)],
    ['small normals', Float32Array.from({ length: 64 }, (_, i) => (i - 20) * 2 ** -120)],
    ['huge values', Float32Array.from({ length: 64 }, (_, i) => (i - 40) * 8e36)],
    ['one value', Float32Array.of(-3)],
    ['an odd number of values', normal(77, 3)],
  ])('codes %s as the plain algorithm does', (_, values) => {
    for (const double of [false, true]) {
      const { codes, state } = quantize(values, 32, double);
      const plain = plainNf4(values, 32);
      expect(unpack(codes).slice(0, values.length)).toEqual(plain.codes);
      if (!double) expect([...expandAbsmax(state)]).toEqual(plain.absmax);
      else expect([...nested(state).codes]).toEqual(plainNested(plain.absmax, nested(state).map).codes);
    }
  });

  it('keeps magnitudes that are all the same exactly', () => {
    const absmax = new Float32Array(300).fill(0.3);
    const state = quantizeAbsmax(absmax);
    expect([nested(state).offset, ...nested(state).nestedAbsmax]).toEqual([fround(0.3), 0, 0]);
    expect(expandAbsmax(state)).toEqual(absmax);
  });

  it('does not depend on how the values come in pieces', () => {
    const values = normal(5 * 333, 11);
    const whole = quantize(values, 128, true);
    for (const piece of [1, 63, 128, 333]) expect(quantize(values, 128, true, piece)).toEqual(whole);
  });

  it('refuses what is not finite, and says where', () => {
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      const values = normal(200, 5);
      values[130] = bad;
      expect(() => quantize(values, 64, true)).toThrow(/w: value 130 is not finite/);
    }
  });
});

describe('quantizedSource and dequantizedSource', () => {
  it('give lut · absmax in float32, rounded once to bf16, with blocks that straddle rows', async () => {
    const [rows, columns] = [7, 45];
    const values = normal(rows * columns, 13);
    const hold = { format: 'nf4', blockSize: 32, doubleQuantization: true } as const;
    const held = await quantizedSource(sourceOf(values, [rows, columns], hold));
    expect(held).toMatchObject({ dtype: 'nf4', shape: [rows, columns], byteLength: 158 });
    const absmax = expandAbsmax(await held.quantState!.read());
    const { codes } = plainNf4(values, 32);
    const expected = codes.map((code, i) => bf16(fround(NF4_VALUES[code]! * absmax[Math.floor(i / 32)]!)));
    expect([...(await bf16Of(held))]).toEqual(expected);
  });

  it('read any piece alike, odd first elements too', async () => {
    const values = normal(333, 17);
    const hold = { format: 'nf4', blockSize: 64, doubleQuantization: false } as const;
    const held = await quantizedSource(sourceOf(values, [3, 111], hold));
    const whole = await bf16Of(held);
    const source = dequantizedSource(held);
    for (const [start, count] of [
      [0, 1],
      [1, 1],
      [63, 3],
      [101, 200],
      [332, 1],
    ] as const) {
      const part = new Uint16Array(count);
      await source.read(new Uint8Array(part.buffer), 2 * start);
      expect([...part]).toEqual([...whole.subarray(start, start + count)]);
    }
  });

  it('leave alone what has no other format to be held in', async () => {
    const plain = sourceOf(normal(64, 1), [8, 8]);
    expect(await quantizedSource(plain)).toBe(plain);
    const hold = { format: 'nf4', blockSize: 32, doubleQuantization: false } as const;
    const held = await quantizedSource(sourceOf(normal(64, 1), [8, 8], hold));
    expect(await quantizedSource(held)).toBe(held);
  });

  it('refuse 4-bit values of another length, or without their quant state', async () => {
    const hold = { format: 'nf4', blockSize: 32, doubleQuantization: false } as const;
    const held = await quantizedSource(sourceOf(normal(64, 1), [8, 8], hold));
    expect(() => dequantizedSource({ ...held, byteLength: 31 })).toThrow(/31 bytes.*nf4 needs 32/);
    expect(() => dequantizedSource({ ...held, quantState: undefined })).toThrow(/without their quant state/);
  });
});

function pack(codes: readonly number[]): Uint8Array {
  return Uint8Array.from({ length: codes.length / 2 }, (_, i) => (codes[2 * i]! << 4) | codes[2 * i + 1]!);
}

/** Nearest, ties to even, by arithmetic on the value. */
function bf16(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0]!;
  const [upper, lower] = [bits >>> 16, bits & 0xffff];
  return lower > 0x8000 || (lower === 0x8000 && upper % 2 === 1) ? upper + 1 : upper;
}
