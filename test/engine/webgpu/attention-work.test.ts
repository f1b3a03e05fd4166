/** Tiles of the attention kernels and the lists of their work. */
import { describe, expect, it } from 'vitest';
import {
  attentionBytes,
  attentionDefines,
  coversKeys,
  decodeWork,
  keyWork,
  MAX_HEAD_DIM,
  queryWork,
  TILES,
  withoutOverlap,
} from '../../../src/engine/webgpu/operations/attention-work.js';

function segments(queries: readonly number[], keys: readonly number[], keyStarts?: readonly number[]) {
  const sums = (counts: readonly number[]): number[] => [
    0,
    ...counts.map((_, i) => counts.slice(0, i + 1).reduce((a, b) => a + b)),
  ];
  return {
    queryStarts: Int32Array.from(sums(queries)),
    keyStarts: Int32Array.from(keyStarts ?? sums(keys).slice(0, -1)),
    keyLengths: Int32Array.from(keys),
  };
}

function items(list: Int32Array): number[][] {
  return Array.from({ length: list.length / 4 }, (_, i) => [...list.subarray(4 * i, 4 * i + 4)]);
}

describe('tiles of attention', () => {
  it('fit the workgroups of every device at every head size, and every thread loads whole vectors', () => {
    for (let headDim = 4; headDim <= MAX_HEAD_DIM; headDim += 4) {
      const { OWN_LOADS, STREAM_LOADS, VALUE_LOADS } = attentionDefines(TILES, headDim);
      expect(attentionBytes(TILES, headDim)).toBeLessThanOrEqual(16384);
      for (const loads of [OWN_LOADS, STREAM_LOADS, VALUE_LOADS]) expect(loads % 1).toBe(0);
    }
    const { GROUPS, DEPTH4, STEPS4, DEPTH_UNROLL, STEP_UNROLL } = TILES;
    expect([DEPTH4 % DEPTH_UNROLL, STEPS4 % STEP_UNROLL]).toEqual([0, 0]);
    expect(16 * GROUPS).toBeLessThanOrEqual(256);
  });
});

describe('work of attention', () => {
  it('takes each query row once, the tile that sees most keys first', () => {
    const list = items(queryWork(segments([70, 0, 5], [70, 3, 200]), 32, true));
    expect(list).toEqual([
      [70, 75, 73, 273],
      [64, 70, 0, 70],
      [32, 70, 0, 70],
      [0, 70, 0, 70],
    ]);
  });

  it('without causal order gives every tile of a segment the same weight', () => {
    const list = items(queryWork(segments([64, 64], [10, 90]), 32, false));
    expect(list.map(([first]) => first)).toEqual([64, 96, 0, 32]);
  });

  it('takes each key row once, those that most query rows see first', () => {
    const list = items(keyWork(segments([3, 40], [33, 40]), 32, true));
    expect(list).toEqual([
      [33, 73, 3, 43],
      [65, 73, 3, 43],
      [0, 33, 0, 3],
      [32, 33, 0, 3],
    ]);
  });

  it('shares the keys of a row out in parts of whole blocks', () => {
    const { items: list, slots, slotCount } = decodeWork(segments([1, 2], [0, 300]), true, 64);
    // 512 workgroups for 3 rows of 64: two parts each.
    expect(items(list)).toEqual([
      [1, 0, 192, 0],
      [2, 0, 192, 2],
      [2, 192, 300, 3],
      [1, 192, 299, 1],
    ]);
    expect([...slots]).toEqual([0, 0, 0, 2, 2, 2]);
    expect(slotCount).toBe(4);
  });

  it('gives a row before the first key no part', () => {
    const { slots, slotCount } = decodeWork(segments([3], [1]), true, 8);
    expect([...slots]).toEqual([0, 0, 0, 0, 0, 1]);
    expect(slotCount).toBe(1);
  });
});

describe('key ranges', () => {
  it('that overlap go apart, each into one group', () => {
    const all = segments([1, 1, 1, 1], [10, 10, 5, 0], [0, 5, 15, 3]);
    const groups = withoutOverlap(all).map(({ keyLengths }) => [...keyLengths]);
    expect(groups).toEqual([
      [10, 0, 5, 0],
      [0, 10, 0, 0],
    ]);
  });

  it('that only touch stay together', () => {
    const all = segments([1, 1, 1], [10, 5, 10], [15, 10, 0]);
    expect(withoutOverlap(all)).toEqual([all]);
  });

  it('cover the keys only in order and without gaps', () => {
    expect(coversKeys(segments([1, 1], [3, 4]), 7)).toBe(true);
    expect(coversKeys(segments([1, 1], [3, 4]), 8)).toBe(false);
    expect(coversKeys(segments([1, 1], [3, 4], [4, 0]), 7)).toBe(false);
  });
});
