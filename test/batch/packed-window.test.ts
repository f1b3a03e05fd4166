import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joinPacked, packBatch } from '../../src/batch/packed-batch.js';
import { PackedWindow, sharePrefixes, sizeOfPacked, splitPacked, windowParts } from '../../src/batch/packed-window.js';
import type { VlmBatch } from '../../src/data/types.js';

const PATCH = 2;
const MERGE = 2;
const IMAGE = 3;

/** Samples with any number of pictures, of [rows, columns] merged patches each. */
function batchOf(samples: readonly (readonly (readonly [number, number])[])[]): VlmBatch {
  const rows = samples.map((pictures, s) => [
    ...Array.from({ length: 1 + (s % 3) }, (_, t) => 10 + t),
    ...pictures.flatMap(([h, w]) => [...new Array<number>(h * w).fill(IMAGE), 5]),
    20,
    21,
  ]);
  const columns = Math.max(...rows.map(({ length }) => length));
  const pictures = samples.flat();
  const [height, width] = [0, 1].map(
    (side) => PATCH * MERGE * Math.max(1, ...pictures.map((picture) => picture[side]!)),
  ) as [number, number];
  const fill = (value: number, pick: (row: number[]) => number[]) => {
    const data = new Int32Array(rows.length * columns).fill(value);
    for (const [b, row] of rows.entries()) data.set(pick(row), b * columns);
    return { data, shape: [rows.length, columns] };
  };
  const pixels = Float32Array.from({ length: pictures.length * 3 * height * width }, (_, i) => i);
  return {
    inputIds: fill(0, (row) => row),
    attentionMask: fill(0, (row) => row.map(() => 1)),
    labels: fill(-100, (row) => row.map((id) => (id < 10 ? -100 : id))),
    ...(pictures.length === 0
      ? {}
      : {
          pixelValues: { data: pixels, shape: [pictures.length, 3, height, width] },
          imageSizes: {
            data: Int32Array.from(pictures.flatMap(([h, w]) => [h * PATCH * MERGE, w * PATCH * MERGE])),
            shape: [pictures.length, 2],
          },
        }),
  };
}

const pack = (batch: VlmBatch) =>
  packBatch(batch, { patchSize: PATCH, mergeSize: MERGE, imageTokenId: IMAGE, vocabSize: 100 });

describe('splitPacked', () => {
  it('takes a batch apart into what its samples are alone', () => {
    const samples = [
      [[1, 2]],
      [],
      [
        [2, 1],
        [3, 2],
      ],
      [[1, 1]],
    ] as [number, number][][];
    const parts = splitPacked(pack(batchOf(samples)));
    expect(parts).toHaveLength(4);
    expect(parts[1]!.images).toBeUndefined();
    expect(parts.map(sizeOfPacked)).toEqual([
      { tokens: 6, patches: 8, features: 2, labels: 2 },
      { tokens: 4, patches: 0, features: 0, labels: 3 },
      { tokens: 15, patches: 32, features: 8, labels: 4 },
      { tokens: 5, patches: 4, features: 1, labels: 2 },
    ]);
    expect(parts[0]!.starts).toEqual(Int32Array.of(0, 6));
    expect(parts[2]!.images!.starts).toEqual(Int32Array.of(0, 8, 32));
    expect(parts[2]!.images!.tokenRows).toEqual(Int32Array.of(3, 4, 6, 7, 8, 9, 10, 11));
  });

  it('gives the batch back when joined', () => {
    const pictures = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 })), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(fc.array(pictures, { minLength: 1, maxLength: 5 }), (samples) => {
        const packed = pack(batchOf(samples));
        expect(joinPacked(splitPacked(packed))).toEqual(packed);
      }),
      { numRuns: 50 },
    );
  });
});

describe('windowParts', () => {
  const lengths = (microBatches: readonly number[]): number[] => {
    const samples = microBatches.flatMap((rows, microBatch) => Array.from({ length: rows }, () => ({ microBatch })));
    const parts = windowParts(samples);
    expect(parts.flat()).toEqual(samples);
    return parts.map(({ length }) => length);
  };

  it.each([
    ['one of up to 64', [32, 32], [64]],
    ['even ones of more', [33, 33, 33, 33], [33, 33, 33, 33]],
    ['whole micro-batches', new Array<number>(40).fill(2), [40, 40]],
    ['pieces of micro-batches that are larger', [130, 4], [45, 45, 44]],
  ] as const)('are %s', (_, microBatches, expected) => {
    expect(lengths(microBatches)).toEqual(expected);
  });
});

describe('PackedWindow of more samples than are compared with each other', () => {
  const samples = 130;
  const columns = 24;
  const ids = Int32Array.from({ length: samples * columns }, (_, i) => 10 + (i % columns < 20 ? i % columns : i % 31));
  const shape = [samples, columns];
  const packed = pack({
    inputIds: { data: ids, shape },
    attentionMask: { data: new Int32Array(ids.length).fill(1), shape },
    labels: { data: ids, shape },
  });

  it('shares prefixes within each part, and refuses a pass of samples of two', () => {
    const window = new PackedWindow([packed], { sharePrefix: true });
    const [first, second] = windowParts(window.samples);
    const { tokens } = window.sizeOf(second!);
    expect(tokens).toBeLessThanOrEqual(20 + 4 * second!.length);
    expect(window.join(second!).ids).toHaveLength(tokens);
    expect(() => window.join([...first!, second![0]!])).toThrow('samples of several parts');
  });

  it('is shared as a whole where it is one pass', () => {
    expect(sharePrefixes(packed).ids.length).toBeLessThanOrEqual(20 + 4 * samples);
  });
});
