/** Weights on a device that keeps bytes: parts of what a binding does not hold, and loads that fail. */
import { describe, expect, it } from 'vitest';
import { createWebgpuEngine } from '../../../src/engine/webgpu/create-webgpu.js';
import type { WebgpuWeight, WeightPart } from '../../../src/engine/webgpu/frozen-weight.js';
import { partRows, wholeRows } from '../../../src/engine/webgpu/weight-parts.js';
import { weightBytes } from '../../../src/engine/webgpu/weight-room.js';
import { CheckpointError, EngineError, OutOfMemoryError } from '../../../src/errors.js';
import { quantizedSource } from '../../../src/formats/held-source.js';
import { expandAbsmax } from '../../../src/formats/nf4.js';
import type { HeldFormat, WeightSource } from '../../../src/formats/weight-source.js';
import { FakeDevice } from './fake-device.js';

type Fake = FakeDevice['buffers'] extends Set<infer B> ? B : never;

const E4M3: HeldFormat = { format: 'f8_e4m3' };
const nf4 = (blockSize: number): HeldFormat => ({ format: 'nf4', blockSize, doubleQuantization: true });

function sourceOf(bytes: Uint8Array, rest: Partial<WeightSource> & Pick<WeightSource, 'shape'>): WeightSource {
  const read = async (target: Uint8Array, offset = 0): Promise<void> => {
    await Promise.resolve();
    target.set(bytes.subarray(offset, offset + target.length));
  };
  return { name: 'w', dtype: 'f32', byteLength: bytes.length, read, ...rest };
}

const floats = (count: number): Uint8Array =>
  new Uint8Array(Float32Array.from({ length: count }, (_, i) => Math.sin(i)).buffer);

/** Bytes of the parts one after the other, without what rounds them up. */
function bytesOf(parts: readonly WeightPart[], which: 'values' | 'factors', length: (part: WeightPart) => number) {
  return Buffer.concat(
    parts.map((part) => {
      const { buffer, offset } = part[which]!;
      return (buffer as Fake).bytes.subarray(offset, offset + length(part));
    }),
  );
}

describe('parts of a weight', () => {
  it('cover all rows once, and begin where a block of factors does', () => {
    for (const unit of [1, 3, 8]) {
      for (const most of [1, 2, 3, 7, 8, 20, 100]) {
        for (const mayDivide of [true, false]) {
          const parts = [...partRows(50, { columns: 4, rows: unit, mayDivide }, most)];
          if (!mayDivide && most < unit) {
            expect(parts).toEqual([{ first: 0, count: 0 }]);
            continue;
          }
          let next = 0;
          for (const { first, count } of parts) {
            expect(first).toBe(next);
            expect(count).toBeGreaterThan(0);
            expect(count).toBeLessThanOrEqual(most);
            // Either whole units, or all in one.
            const isInOne = Math.floor(first / unit) === Math.floor((first + count - 1) / unit);
            if (first % unit !== 0) expect(isInOne).toBe(true);
            if (!mayDivide) expect(first % unit).toBe(0);
            next = first + count;
          }
          expect(next).toBe(50);
        }
      }
    }
  });

  it('take the fewest rows that hold whole blocks', () => {
    expect(wholeRows(4096, 64).rows).toBe(1);
    expect(wholeRows(96, 64).rows).toBe(2);
    expect(wholeRows(129, 64).rows).toBe(64);
    expect(wholeRows(16, 4096).rows).toBe(256);
  });

  it('hold the bytes of the weight in every format', async () => {
    const engine = await createWebgpuEngine({ device: new FakeDevice({ bindingBytes: 4096 }), memoryBudget: 2 ** 29 });
    for (const [rows, columns] of [
      [100, 96],
      [130, 33],
    ] as const) {
      const bytes = floats(rows * columns);
      for (const hold of [undefined, nf4(32), nf4(64), E4M3]) {
        const source = sourceOf(bytes, { shape: [rows, columns], hold });
        const weight = (await engine.loadWeight(source)) as WebgpuWeight;
        const expected = await quantizedSource(source);
        const whole = new Uint8Array(expected.byteLength);
        await expected.read(whole);
        const width = expected.byteLength / (rows * columns);
        const values = bytesOf(weight.parts, 'values', (part) => Math.ceil(part.rows * columns * width));
        expect(values.equals(whole), `${rows} x ${columns} ${JSON.stringify(hold)}`).toBe(true);
        if (hold?.format === 'nf4') {
          const absmax = expandAbsmax(await expected.quantState!.read());
          const factors = bytesOf(
            weight.parts,
            'factors',
            (part) => 4 * Math.ceil((part.rows * columns) / hold.blockSize),
          );
          expect([...new Float32Array(new Uint8Array(factors).buffer)]).toEqual([...absmax]);
        }
        if (hold?.format !== 'nf4') expect(weight.parts.length).toBeGreaterThan(1);
        engine.releaseWeight(weight);
      }
    }
    expect(engine.memory().bytesInUse).toBe(0);
    await engine.dispose();
  });

  it('share the factor of a block that is larger than a binding', async () => {
    const engine = await createWebgpuEngine({ device: new FakeDevice({ bindingBytes: 1024 }), memoryBudget: 2 ** 29 });
    const codes = new Uint8Array(40 * 64).fill(0x38);
    const scale = { block: [40, 64], read: async () => Float32Array.of(0.5) } as const;
    const source = sourceOf(codes, { shape: [40, 64], dtype: 'f8_e4m3', scale, hold: E4M3 });
    const { parts, block } = (await engine.loadWeight(source)) as WebgpuWeight;
    expect(parts.map(({ firstRow, rows }) => [firstRow, rows])).toEqual([
      [0, 16],
      [16, 16],
      [32, 8],
    ]);
    expect(block).toEqual([40, 64]);
    for (const part of parts) {
      expect([...new Float32Array(new Uint8Array(bytesOf([part], 'factors', () => 4)).buffer)]).toEqual([0.5]);
    }
    await engine.dispose();
  });

  it('refuses a row that no binding holds', async () => {
    const engine = await createWebgpuEngine({ device: new FakeDevice({ bindingBytes: 1024 }), memoryBudget: 2 ** 29 });
    const call = engine.loadWeight(sourceOf(floats(2000), { shape: [2, 1000] }));
    await expect(call).rejects.toThrow('w: 1 rows of 4000 bytes are more than the 1024 that the device binds');
    await engine.dispose();
  });
});

describe('a load that fails', () => {
  const faults: [string, WeightSource, new (...args: never[]) => Error][] = [
    [
      'its source',
      { ...sourceOf(floats(64), { shape: [8, 8] }), read: () => Promise.reject(new RangeError('disk')) },
      RangeError,
    ],
    ['its bytes', sourceOf(floats(63), { shape: [8, 8] }), EngineError],
    [
      'a NaN code',
      sourceOf(new Uint8Array(64).fill(0x7f), {
        shape: [8, 8],
        dtype: 'f8_e4m3',
        hold: E4M3,
        scale: { block: [8, 8], read: async () => Float32Array.of(1) },
      }),
      CheckpointError,
    ],
    [
      'an infinite value',
      sourceOf(new Uint8Array(new Float32Array(64).fill(Number.POSITIVE_INFINITY).buffer), {
        shape: [8, 8],
        hold: nf4(64),
      }),
      CheckpointError,
    ],
    ['its blocks', sourceOf(floats(64), { shape: [8, 8], hold: nf4(48) }), EngineError],
    ['a state that is missing', sourceOf(new Uint8Array(32), { shape: [8, 8], dtype: 'nf4' }), EngineError],
    [
      'a state of another size',
      sourceOf(new Uint8Array(32), {
        shape: [8, 8],
        dtype: 'nf4',
        quantState: { blockSize: 64, read: async () => ({ absmax: new Float32Array(2) }) },
      }),
      EngineError,
    ],
  ];

  it('leaves nothing behind', async () => {
    const device = new FakeDevice();
    const engine = await createWebgpuEngine({ device, memoryBudget: 2 ** 29 });
    const buffers = device.buffers.size;
    for (const [what, source, kind] of faults) {
      await expect(engine.loadWeight(source), what).rejects.toThrow(kind);
      expect(engine.memory().bytesInUse, what).toBe(0);
      expect(device.buffers.size, what).toBe(buffers);
    }
    // Others under way are not held up, nor those after it.
    const good = sourceOf(floats(64), { shape: [8, 8], hold: nf4(64) });
    const loads = await Promise.allSettled([
      engine.loadWeight(good),
      engine.loadWeight(faults[3]![1]),
      engine.loadWeight(good),
    ]);
    expect(loads.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await engine.dispose();
  });

  it('ends with the engine that is disposed of meanwhile', async () => {
    const device = new FakeDevice();
    const engine = await createWebgpuEngine({ device, memoryBudget: 2 ** 29 });
    const load = engine.loadWeight(sourceOf(floats(64), { shape: [8, 8] }));
    await engine.dispose();
    await expect(load).rejects.toThrow('the engine was disposed');
    expect(device.buffers.size).toBe(0);
  });
});

describe('room for a model', () => {
  const layer = (mib: number): WeightSource =>
    sourceOf(new Uint8Array(0), { shape: [mib, 2 ** 19], dtype: 'bf16', usage: { layer: 0 } });

  it('counts as the engine holds', async () => {
    const device = new FakeDevice();
    const engine = await createWebgpuEngine({ device, memoryBudget: 2 ** 29 });
    for (const hold of [undefined, nf4(64), E4M3]) {
      const source = sourceOf(floats(64 * 64), { shape: [64, 64], hold });
      const weight = await engine.loadWeight(source);
      expect(engine.memory().bytesInUse).toBe(weightBytes(source));
      engine.releaseWeight(weight);
    }
    await engine.dispose();
  });

  it('refuses what cannot fit before it is read, and names a format that would', async () => {
    const engine = await createWebgpuEngine({ device: new FakeDevice(), memoryBudget: 2 ** 30 });
    engine.placeWeights([layer(700)]);
    const refused = (): void => engine.placeWeights([layer(1200)]);
    expect(refused).toThrow(OutOfMemoryError);
    expect(refused).toThrow(/weights take 1\.\d+ G\S*B[\s\S]*quantization: 'fp8' takes 6\d\d/);
    expect(() => engine.placeWeights([layer(2000)])).toThrow(/quantization: 'nf4' takes/);
    expect(() => engine.placeWeights([layer(9000)])).toThrow(/A smaller model: in 4 bits this one takes/);
    await engine.dispose();
  });
});
