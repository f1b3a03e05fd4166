import { describe, expect, it } from 'vitest';
import { padBatch, unpaddedImages } from '../../src/data/pad-batch.js';
import type { VlmBatch } from '../../src/data/types.js';
import { decodeBatches, encodeBatches, partsOfBatch } from '../../src/train/batch-bytes.js';
import { decodeLevels, encodeLevels } from '../../src/train/level-bytes.js';

const sent = (...batches: VlmBatch[]): VlmBatch[] =>
  decodeBatches(encodeBatches(batches.map((one) => partsOfBatch(one)!)));

const image = (height: number, width: number, pixelOf: (i: number) => number) => ({
  pixelValues: Float32Array.from({ length: 3 * height * width }, (_, i) => pixelOf(i)),
  ...{ height, width },
});

/** Two samples of different lengths, with an image each. */
const collated = (pixelOf: (i: number) => number): VlmBatch =>
  padBatch(
    [
      { id: 'röntgen 1', inputIds: [1, 2, 3], labels: [-100, 2, 3], images: [image(28, 56, pixelOf)] },
      { id: '2', inputIds: [4], labels: [4], images: [image(56, 28, pixelOf)] },
    ],
    0,
    'right',
    [{ sampleId: '3', reason: 'it is gone' }],
  );

const text: VlmBatch = {
  inputIds: { data: Int32Array.of(1, 2), shape: [1, 2] },
  attentionMask: { data: Int32Array.of(1, 1), shape: [1, 2] },
};

describe('batches as bytes', () => {
  for (const [what, pixelOf] of [
    ['of 256 levels', (i: number) => (i % 256) / 3 - 40],
    ['of NaN, -0 and infinity', (i: number) => [Number.NaN, -0, 0, Number.POSITIVE_INFINITY][i % 4]!],
    ['of more levels than bytes have', (i: number) => i / 7],
  ] as const) {
    it(`keep images ${what} bit for bit, without padding`, () => {
      const batch = collated(pixelOf);
      const [got] = sent(batch);
      const [own, others] = [unpaddedImages(batch)!, unpaddedImages(got!)!];
      expect(others.map(({ height, width }) => [height, width])).toEqual([
        [28, 56],
        [56, 28],
      ]);
      for (const [n, { pixelValues }] of others.entries()) {
        expect(new Uint32Array(pixelValues.slice().buffer)).toEqual(
          new Uint32Array(own[n]!.pixelValues.slice().buffer),
        );
      }
      // Padded where it is asked for, as at home.
      expect({ ...got }).toEqual({ ...batch });
    });
  }

  it('take a byte for each pixel that comes from 8 bits', () => {
    const parts = partsOfBatch(collated((i) => i % 256))!;
    const pixels = 2 * 3 * 28 * 56;
    expect(encodeBatches([parts]).length).toBeLessThan(pixels + 2 * 3 * 1024 + 1000);
    expect(parts.bytes).toBeGreaterThan(pixels);
  });

  it('keep what a collator of one’s own puts in, whatever the arrays', () => {
    const odd = {
      ...text,
      pixelValues: { data: Float32Array.of(1, Number.NaN, -0), shape: [1, 3, 1, 1] },
      sampleIds: ['a\u0000ü'],
      weights: Float64Array.of(0.1, Number.NaN),
      wide: BigInt64Array.of(-5n, 2n ** 60n),
      unsigned: BigUint64Array.of(2n ** 63n),
      small: [Int8Array.of(-1), Uint8Array.of(1, 2, 3), Uint8ClampedArray.of(255)],
      middle: { deep: [Int16Array.of(-2), Uint16Array.of(3), Uint32Array.of(4), new Float32Array(0)] },
      part: new Float32Array(8).map((_, i) => i).subarray(3, 6),
      plain: [null, true, 'x', -0, Number.NaN, Number.NEGATIVE_INFINITY, { empty: {} }, []],
      left: undefined,
    };
    const [got, second] = sent(odd, text) as [typeof odd, VlmBatch];
    const { left, ...kept } = odd;
    expect(got).toStrictEqual(kept);
    expect(Object.is(got.plain[3], -0)).toBe(true);
    expect(second).toStrictEqual(text);
  });

  it('are read from any place in memory', () => {
    const bytes = encodeBatches([partsOfBatch(collated((i) => i % 9))!]);
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    expect({ ...decodeBatches(shifted.subarray(3))[0] }).toEqual({ ...collated((i) => i % 9) });
    expect(decodeBatches(encodeBatches([]))).toEqual([]);
  });

  it.each([
    ['a function', { run: () => 1 }],
    ['a map', { map: new Map() }],
    ['a date', { at: new Date(0) }],
    ['an object of a class', { own: new (class Own {})() }],
    ['a Buffer', { buffer: Buffer.from([1]) }],
    ['a symbol for a name', { [Symbol('x')]: 1 }],
    ['a bigint', { count: 5n }],
    [
      'a computed field',
      {
        get late() {
          return 1;
        },
      },
    ],
    ['a list with a hole', { list: new Array(2) }],
    ['a list with a name', { list: Object.assign([1], { name: 2 }) }],
    ['a name that stands for arrays', { own: { $array: ['Int8Array', 1] } }],
    ['a name that stands for numbers', { own: { $number: 'NaN' } }],
    ['an undefined in a list', { list: [undefined] }],
  ])('are not made of a batch with %s', (_, more) => {
    const descriptors = Object.getOwnPropertyDescriptors(more);
    expect(partsOfBatch(Object.defineProperties({ ...text }, descriptors))).toBeUndefined();
  });

  it('are not made of a batch that holds itself', () => {
    const batch: VlmBatch & { self?: unknown } = { ...text };
    batch.self = batch;
    expect(partsOfBatch(batch)).toBeUndefined();
  });

  it('are not made of more than is worth taking apart, also where objects are shared', () => {
    const list = { ...text, list: Array.from({ length: 300_000 }, (_, i) => i / 7) };
    expect(partsOfBatch(list)).toBeUndefined();
    let shared: unknown = { x: 1 };
    // 3^14 objects for whoever follows each name.
    for (let i = 0; i < 14; i++) shared = { a: shared, b: shared, c: shared };
    expect(partsOfBatch({ ...text, shared } as VlmBatch)).toBeUndefined();
    expect(partsOfBatch({ ...text, data: new Float32Array(300_000) } as VlmBatch)).toBeDefined();
  });
});

describe('levels', () => {
  it('are told apart by their bits, each plane for itself', () => {
    const planes = Float32Array.from({ length: 3 * 256 }, (_, i) => (i + 1) ** 3);
    const coded = encodeLevels(planes, 3)!;
    expect(decodeLevels(coded, 3)).toEqual(planes);
    expect(
      encodeLevels(
        Float32Array.from({ length: 257 }, (_, i) => i),
        1,
      ),
    ).toBeUndefined();
    const bits = new Uint32Array([0, 1, 0x80000000, 0x7fc00001, 0x7fc00000, 0]);
    const odd = new Float32Array(bits.buffer);
    expect(new Uint32Array(decodeLevels(encodeLevels(odd, 1)!, 1).buffer)).toEqual(bits);
    expect(decodeLevels(encodeLevels(new Float32Array(0), 3)!, 3)).toHaveLength(0);
  });
});
