import { describe, expect, it } from 'vitest';
import type { PackedBatch } from '../../src/batch/packed-batch.js';
import { parseSftConfig } from '../../src/train/sft-config.js';
import { timesOf, timesOfPacked } from '../../src/train/window-costs.js';
import { linearModel } from './linear-model.js';

const costs = {
  layers: { vision: 2, text: 3 },
  recomputeTime: (
    { tokens, patches }: { readonly tokens: number; readonly patches: number },
    { text }: { text: number },
  ) => text * tokens + patches,
};

/** Samples that begin with the same 20 tokens. */
function packedOf(...lengths: readonly number[]): PackedBatch {
  let end = 0;
  const starts = [0, ...lengths.map((own) => (end += 20 + own))];
  const ids = lengths.flatMap((own) => [
    ...Array.from({ length: 20 }, (_, t) => t),
    ...Array.from({ length: own }, (_, t) => 1000 * own + t),
  ]);
  return {
    ids: Int32Array.from(ids),
    positions: Int32Array.from(lengths.flatMap((own) => Array.from({ length: 20 + own }, (_, t) => t))),
    starts: Int32Array.from(starts),
    labelRows: new Int32Array(0),
    labelTargets: new Int32Array(0),
    images: undefined,
  };
}

describe('the time of micro-batches', () => {
  it('counts what a micro-batch adds to its neighbour: a common prefix once for all', () => {
    const packed = [packedOf(5, 7), packedOf(9), packedOf(11)];
    expect(timesOfPacked(packed, costs, true)).toEqual([3 * 12, 3 * 9, 3 * 11]);
    expect(timesOfPacked(packed, costs, false)).toEqual([3 * 52, 3 * 29, 3 * 31]);
    // Alone it has no neighbour: its own samples share.
    expect(timesOfPacked([packedOf(5, 7)], costs, true)).toEqual([3 * 32]);
    expect(timesOfPacked([], costs, true)).toEqual([]);
  });

  it('is unknown for all where one cannot be packed', () => {
    const model = {
      ...linearModel(),
      pack: () => {
        throw new Error('an id out of range');
      },
    };
    const batch = {
      inputIds: { data: Int32Array.of(1), shape: [1, 1] },
      attentionMask: { data: Int32Array.of(1), shape: [1, 1] },
    };
    expect(timesOf(model, parseSftConfig({}), [batch, batch])).toEqual([Number.NaN, Number.NaN]);
  });
});
