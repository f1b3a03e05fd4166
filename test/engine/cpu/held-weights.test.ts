import { afterAll, describe, expect, it } from 'vitest';
import { CpuRuntime } from '../../../src/engine/cpu/cpu-runtime.js';
import { E4m3Weight } from '../../../src/engine/cpu/e4m3-weight.js';
import { Nf4Weight } from '../../../src/engine/cpu/nf4-weight.js';
import { StoredWeight } from '../../../src/engine/cpu/stored-weight.js';
import { dequantizedSource, quantizedSource } from '../../../src/formats/held-source.js';
import { type HeldFormat, sizeOf, type WeightSource } from '../../../src/formats/weight-source.js';
import { MersenneTwister } from '../../../src/random.js';
import { expectSame } from '../conformance/measure.js';

const runtime = new CpuRuntime({ threads: 2 });
afterAll(() => runtime.dispose());

const random = new MersenneTwister(3);

/** Float32 values, to be held in a format. */
function sourceOf(shape: readonly number[], hold: HeldFormat): WeightSource {
  const values = Float32Array.from({ length: sizeOf(shape) }, () => random.nextNormal() / 8);
  const bytes = new Uint8Array(values.buffer);
  const read = async (target: Uint8Array, offset = 0): Promise<void> =>
    target.set(bytes.subarray(offset, offset + target.length));
  return { name: 'w', shape, dtype: 'f32', byteLength: bytes.length, hold, read };
}

function place(count: number): number {
  const ptr = runtime.alloc(4 * count);
  const values = runtime.f32(ptr, count);
  for (let i = 0; i < count; i++) values[i] = random.nextNormal();
  return ptr;
}

const nf4 = (blockSize: number, doubleQuantization: boolean): HeldFormat => ({
  format: 'nf4',
  blockSize,
  doubleQuantization,
});

describe('weights held in fewer bits', () => {
  // Larger than what is kept in float32 as well. Blocks end with rows, inside them, and odd rows begin inside a byte.
  it.each([
    [[130, 640], nf4(64, true)],
    [[130, 640], nf4(64, false)],
    [[210, 330], nf4(32, true)],
    [[257, 301], nf4(64, true)],
    [[301, 257], nf4(128, false)],
    [[5, 20011], nf4(4096, true)],
    [[2200, 31], nf4(32, true)],
    [[131, 515], { format: 'f8_e4m3' }],
    [[700, 100], { format: 'f8_e4m3' }],
    [[5, 20011], { format: 'f8_e4m3' }],
  ] as const)('%j in %j multiplies as its dequantised values do', async (shape, hold) => {
    const [rows, columns] = shape;
    const source = sourceOf(shape, hold);
    const plain = await StoredWeight.load(runtime, dequantizedSource(await quantizedSource(source)));
    const held = await (hold.format === 'nf4' ? Nf4Weight : E4m3Weight).load(runtime, source);
    expect([held.widened, held.held, held.dtype]).toEqual([undefined, hold.format, 'f32']);
    expect(held.byteLength / (rows * columns)).toBeLessThan(
      0.02 + (hold.format === 'nf4' ? 0.5 + (hold.doubleQuantization ? 1 : 4) / hold.blockSize : 1 + 4 / columns),
    );
    const most = Math.max(rows, columns) * 9;
    const [a, expected, got] = [place(most), place(most), place(most)];
    const same = (count: number, run: (weight: StoredWeight, to: number) => void): void => {
      run(plain, expected);
      run(held, got);
      expectSame(runtime.f32(got, count), runtime.f32(expected, count));
    };
    for (const m of [1, 8, 9]) {
      same(m * rows, (weight, to) => weight.product(m, a, to));
      same(m * columns, (weight, to) => weight.transposedProduct(m, a, to));
    }
    const ids = [rows - 1, 0, 1, rows >> 1];
    same(4 * columns, (weight, to) => weight.gatherRows(ids, to));
    // A column that is no multiple of 4, as no product of the engine begins there.
    const [n, k, bColumn, bRow] = [rows - 3, Math.ceil(columns / 2), Math.floor(columns / 2), 2];
    same(9 * n, (b, c) => runtime.matmul({ m: 9, n, k, a, b, transB: true, bColumn, bRow, c }));
    for (const ptr of [a, expected, got]) runtime.free(ptr);
    plain.release();
    held.release();
  });

  it('refuses blocks and factors that do not fit', async () => {
    const source = sourceOf([40, 64], nf4(48, true));
    await expect(Nf4Weight.load(runtime, source)).rejects.toThrow(/w in blocks of 48 .* powers of two/);
    const codes: WeightSource = { ...source, dtype: 'nf4', byteLength: 1280, hold: undefined };
    await expect(Nf4Weight.load(runtime, codes)).rejects.toThrow(/w has 4-bit values but no quant state/);
    const quantState = { blockSize: 64, read: async () => ({ absmax: new Float32Array(39) }) };
    await expect(Nf4Weight.load(runtime, { ...codes, quantState })).rejects.toThrow(/39 absmax .* expected 40/);
    expect(runtime.weightBytes).toBe(0);
  });
});
