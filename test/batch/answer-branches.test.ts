import { describe, expect, it } from 'vitest';
import { withAnswers } from '../../src/batch/answer-branches.js';
import type { PackedBatch } from '../../src/batch/packed-batch.js';
import { sharePrefixes } from '../../src/batch/packed-window.js';
import { allowedTokens, answerTree } from '../../src/model/answer-tree.js';
import { MersenneTwister } from '../../src/random.js';

const END = 99;

function packedOf(samples: readonly (readonly number[])[]): PackedBatch {
  const starts = new Int32Array(samples.length + 1);
  for (const [i, { length }] of samples.entries()) starts[i + 1] = starts[i]! + length;
  return {
    ids: Int32Array.from(samples.flat()),
    positions: Int32Array.from(samples.flatMap((ids) => [...ids.keys()])),
    starts,
    labelRows: new Int32Array(0),
    labelTargets: new Int32Array(0),
    images: undefined,
  };
}

/** The tokens that a row attends to, its own the last. */
function contextOf({ ids, starts, sharedKeys }: PackedBatch, row: number): number[] {
  const segment = starts.findIndex((start, i) => start <= row && row < starts[i + 1]!);
  const keys = sharedKeys!.rows.subarray(sharedKeys!.starts[segment]!, sharedKeys!.starts[segment + 1]!);
  // The rows of a segment are the last of its keys, in order.
  const own = starts[segment + 1]! - starts[segment]!;
  expect([...keys.subarray(keys.length - own)]).toEqual(Array.from({ length: own }, (_, i) => starts[segment]! + i));
  return Array.from(keys.subarray(0, keys.length - (starts[segment + 1]! - 1 - row)), (key) => ids[key]!);
}

describe('answers behind prompts', () => {
  it('attend to their prompt and what stands before them, and each token is there once', () => {
    const random = new MersenneTwister(4);
    const below = (count: number): number => random.nextUint32() % count;
    for (let round = 0; round < 60; round++) {
      const instruction = Array.from({ length: below(2) * 20 }, () => below(50));
      const samples = Array.from({ length: 1 + below(4) }, () => [
        ...instruction,
        ...Array.from({ length: 1 + below(5) }, () => below(50)),
      ]);
      const texts = new Map<string, number[]>();
      for (let i = 0; i <= below(12); i++) {
        const ids = Array.from({ length: 1 + below(4) }, () => below(3));
        texts.set(ids.join(), ids);
      }
      const answers = [...texts.values()];
      const prompts = sharePrefixes(packedOf(samples));
      const ofPrompt = { tree: answerTree(answers), count: answers.length, end: END };
      const { packed, labels } = withAnswers(
        prompts,
        samples.map(() => ofPrompt),
      );
      for (const [b, sample] of samples.entries()) {
        for (const [i, ids] of answers.entries()) {
          expect(labels[b]![i]!.map((at) => packed.labelTargets[at])).toEqual([...ids, END]);
          for (const [k, at] of labels[b]![i]!.entries()) {
            const row = packed.labelRows[at]!;
            expect(contextOf(packed, row)).toEqual([...sample, ...ids.slice(0, k)]);
            expect(packed.positions[row]).toBe(sample.length + k - 1);
          }
        }
      }
      const beginnings = new Set(answers.flatMap((ids) => ids.map((_, k) => ids.slice(0, k + 1).join())));
      expect(packed.ids.length).toBe(prompts.ids.length + samples.length * beginnings.size);
      expect([...packed.labelRows]).toEqual([...packed.labelRows].sort((a, b) => a - b));
    }
  });

  it('may be as long as a model allows', () => {
    const long = Array.from({ length: 20_000 }, (_, i) => i % 7);
    const { labels } = withAnswers(packedOf([[1]]), [{ tree: answerTree([long, [3]]), count: 2, end: END }]);
    expect(labels[0]!.map(({ length }) => length)).toEqual([20_001, 2]);
  });
});

describe('a tree of answers', () => {
  it('lets an answer end inside another', () => {
    const tree = answerTree([[1, 2], [1], [3]]);
    expect(allowedTokens(tree, END)).toEqual([1, 3]);
    const inside = tree.next.get(1)!;
    expect(allowedTokens(inside, END)).toEqual([2, END]);
    expect(allowedTokens(inside.next.get(2)!, END)).toEqual([END]);
  });
});
