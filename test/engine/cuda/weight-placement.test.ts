import { describe, expect, it } from 'vitest';
import { placeWeights } from '../../../src/engine/cuda/weight-placement.js';
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

function place(room: number, offload: Parameters<typeof placeWeights>[1]['offload'] = 'auto', model = MODEL) {
  const options = { offload, roomBytes: room * MIB, overheadBytes: 5 * MIB, spareColumns: 0, trainingBytes };
  const { embedding, layers } = placeWeights(model, options);
  return { embedding, layers: [...layers] };
}

describe('where weights lie', () => {
  it('is the card where all fits with a usual pass beside it', () => {
    // 150 of weights, 10 + 16 of training.
    expect(place(176)).toEqual({ embedding: false, layers: [] });
  });

  it('is the host for a table of rows first, then for as few layers as make room for a usual pass', () => {
    expect(place(175)).toEqual({ embedding: true, layers: [] });
    // 120, and 10 + 10 for a pass of 2560 tokens.
    expect(place(140)).toEqual({ embedding: true, layers: [] });
    // Two slots and ten layers less those that are streamed: one more than the slots saves one.
    expect(place(139).layers).toHaveLength(3);
    expect(place(136).layers).toHaveLength(3);
    expect(place(135).layers).toHaveLength(4);
    expect(place(66).layers).toHaveLength(10);
  });

  it('spreads the layers that are streamed', () => {
    expect(place(136).layers).toEqual([3, 6, 9]);
    expect(place(116).layers).toEqual([1, 3, 5, 7, 9]);
  });

  it('is what the option says', () => {
    expect(place(30, 'none')).toEqual({ embedding: false, layers: [] });
    expect(place(1000, { embedding: true })).toEqual({ embedding: true, layers: [] });
    expect(place(1000, { layers: 2 })).toEqual({ embedding: false, layers: [4, 9] });
    expect(place(1000, { layers: 99 }).layers).toHaveLength(10);
  });

  it('leaves layers that are held in another format, or whose weights have no usage, on the card', () => {
    const held = MODEL.map((one) => ({ ...one, hold: { format: 'f8_e4m3' } as const }));
    expect(place(100, 'auto', held)).toEqual({ embedding: true, layers: [] });
    const unknown = MODEL.map(({ usage: _, ...one }) => one);
    expect(() => place(100, 'auto', unknown)).toThrow('with no layer streamed from host memory');
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
