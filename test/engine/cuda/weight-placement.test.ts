import { describe, expect, it } from 'vitest';
import { placeWeights, streamedWithLess } from '../../../src/engine/cuda/weight-placement.js';
import { OutOfMemoryError } from '../../../src/errors.js';
import type { WeightSource, WeightUsage } from '../../../src/formats/weight-source.js';

const MIB = 2 ** 20;

function source(name: string, mebibytes: number, usage?: WeightUsage, more: Partial<WeightSource> = {}): WeightSource {
  const shape = [512 * mebibytes, 1024];
  return { name, shape, dtype: 'bf16', byteLength: mebibytes * MIB, read: async () => {}, usage, ...more };
}

/** 100 MiB of layers, 10 each, 30 of a table, and 20 of other weights. */
const MODEL = [
  source('head', 20),
  source('table', 30, 'lookup'),
  ...Array.from({ length: 10 }, (_, layer) => source(`layer ${layer}`, 10, { layer })),
];
/** 10 MiB, and 1 MiB for each 256 tokens. */
const trainingBytes = (tokens: number): number => (10 + tokens / 256) * MIB;

const OTHERS = { overheadBytes: 5 * MIB, spareColumns: 0, trainingBytes };

function place(room: number, offload: Parameters<typeof placeWeights>[1]['offload'] = 'auto', model = MODEL) {
  const options = { offload, roomBytes: room * MIB, ...OTHERS };
  const { embedding, layers, slots } = placeWeights(model, options);
  return { embedding, layers: [...layers], slots };
}

describe('where weights lie', () => {
  it('is the card where all fits with a usual pass beside it', () => {
    // 150 of weights, 10 + 16 of training.
    expect(place(176)).toEqual({ embedding: false, layers: [], slots: 0 });
  });

  it('is the host for a table of rows first, then for as few layers as make room for a usual pass', () => {
    expect(place(175)).toEqual({ embedding: true, layers: [], slots: 0 });
    // 120, and 10 + 10 for a pass of 2560 tokens.
    expect(place(140)).toEqual({ embedding: true, layers: [], slots: 0 });
    // Two slots and ten layers less those that are streamed: one more than the slots saves one.
    expect(place(139)).toMatchObject({ layers: { length: 3 }, slots: 2 });
    expect(place(136).layers).toHaveLength(3);
    expect(place(135).layers).toHaveLength(4);
    expect(place(66)).toMatchObject({ layers: { length: 10 }, slots: 2 });
  });

  it('spreads the layers that are streamed', () => {
    expect(place(126).layers).toEqual([2, 4, 7, 9]);
    expect(place(116).layers).toEqual([1, 3, 5, 7, 9]);
  });

  it('is what the option says', () => {
    expect(place(30, 'none')).toEqual({ embedding: false, layers: [], slots: 0 });
    expect(place(1000, { embedding: true })).toEqual({ embedding: true, layers: [], slots: 0 });
    expect(place(1000, { layers: 2 })).toEqual({ embedding: false, layers: [4, 9], slots: 2 });
    expect(place(1000, { layers: 99 })).toMatchObject({ layers: { length: 10 }, slots: 2 });
  });

  it('leaves layers whose weights have no usage, and quantised tables, on the card', () => {
    const unknown = MODEL.map(({ usage: _, ...one }) => one);
    expect(() => place(100, 'auto', unknown)).toThrow('with no layer streamed from host memory');
    const table = source('table', 30, 'lookup', { hold: { format: 'f8_e4m3' } });
    // 20, 15 of the table, and two slots of 10; a row has two bytes for a scale, and is dequantised whole.
    const held = MODEL.map((one) => (one.name === 'table' ? table : one));
    expect(() => place(54, 'auto', held)).toThrow('they need 55.06 MiB on the card');
  });

  it('streams layers in 4 and 8 bits, with room for the largest matrix in 16 beside a pass', () => {
    const halved = (mebibytes: number, layer: number) =>
      source(`layer ${layer}`, mebibytes, { layer }, { hold: { format: 'f8_e4m3' } });
    const held = [...MODEL.slice(0, 2), ...Array.from({ length: 10 }, (_, layer) => halved(10, layer))];
    // 20 and 50.2 of weights, 10 + 10 of a pass of 2560 tokens, 10 of scratch.
    expect(place(101, 'auto', held).layers).toHaveLength(0);
    expect(place(100, 'auto', held)).toMatchObject({ layers: { length: 4 }, slots: 2 });
    // 20, two slots of 5, 10 + 16 of a pass, 10 of scratch, and a layer.
    expect(place(72, 'auto', held)).toMatchObject({ layers: { length: 9 }, slots: 2 });
    expect(place(70, 'auto', held)).toMatchObject({ layers: { length: 10 }, slots: 2 });
  });

  it('makes slots that hold the matrices of every layer, where formats are mixed', () => {
    const mixed = MODEL.map((one) => (one.name === 'layer 4' ? { ...one, hold: { format: 'f8_e4m3' } as const } : one));
    // 20, and two slots of 10 + 5.
    expect(() => place(50, 'auto', mixed)).toThrow('they need 50.04 MiB on the card');
  });

  it('says how many bytes would be streamed with 15 % less', () => {
    const less = (room: number): number | undefined =>
      streamedWithLess(MODEL, { offload: 'auto', roomBytes: room * MIB, ...OTHERS });
    // 5 of overhead: 0.85 · 165 - 5 = 135.25, 0.85 · 45 - 5 = 33.25.
    expect(less(160)).toBe(40 * MIB);
    expect(less(40)).toBeUndefined();
  });

  it('takes a budget in which only generation has room, and says the smallest one for each', () => {
    // 20, and two slots of 10.
    expect(place(40).layers).toHaveLength(10);
    const refused = (): unknown => place(39);
    expect(refused).toThrow(OutOfMemoryError);
    expect(refused).toThrow('they need 40.00 MiB on the card with every decoder layer streamed');
    expect(refused).toThrow(
      'The smallest memoryBudget that loads them is 45.00 MiB; to train on samples of up to 1024 tokens, 59.00 MiB.',
    );
  });
});
