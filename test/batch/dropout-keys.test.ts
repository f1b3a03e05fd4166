import { describe, expect, it } from 'vitest';
import { type DropoutKeys, dropoutKeys } from '../../src/batch/dropout-keys.js';
import type { PackedImages } from '../../src/batch/packed-images.js';

/** Samples of so many tokens; those of pictures come second in each sample, 4 patches for a token. */
interface Sample {
  readonly tokens: number;
  readonly pictures: readonly number[];
}

function keysOf(samples: readonly Sample[], seed: number, firstSample?: number): DropoutKeys {
  const starts = [0];
  const patchStarts = [0];
  const tokenRows: number[] = [];
  for (const { tokens, pictures } of samples) {
    let row = starts.at(-1)! + 1;
    for (const size of pictures) {
      for (let i = 0; i < size; i++) tokenRows.push(row++);
      patchStarts.push(patchStarts.at(-1)! + 4 * size);
    }
    starts.push(starts.at(-1)! + tokens);
  }
  const images = { starts: Int32Array.from(patchStarts), tokenRows: Int32Array.from(tokenRows) };
  const some = tokenRows.length > 0 ? (images as PackedImages) : undefined;
  return dropoutKeys({ seed, firstSample }, Int32Array.from(starts), some);
}

const SAMPLES: readonly Sample[] = [
  { tokens: 9, pictures: [2, 3] },
  { tokens: 4, pictures: [] },
  { tokens: 12, pictures: [6] },
  { tokens: 8, pictures: [1, 1, 3] },
];

describe('dropout keys', () => {
  it('has a key of its own for each row of each kind, micro-batch and step', () => {
    const all = [keysOf(SAMPLES, 1), keysOf(SAMPLES, 2), keysOf(SAMPLES, 1, 4)];
    const keys = all.flatMap(({ tokens, patches, features }) => [...tokens, ...patches, ...features]);
    expect(keys.length).toBe(3 * (33 + 4 * 16 + 16));
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('gives a sample the same keys alone and among others', () => {
    const whole = keysOf(SAMPLES, 77);
    const alone = SAMPLES.map((sample, i) => keysOf([sample], 77, i));
    const pairs = [keysOf(SAMPLES.slice(0, 2), 77), keysOf(SAMPLES.slice(2), 77, 2)];
    for (const parts of [alone, pairs]) {
      for (const kind of ['tokens', 'patches', 'features'] as const) {
        expect(parts.flatMap((part) => [...part[kind]])).toEqual([...whole[kind]]);
      }
    }
    // Places count from the start of the sample, whatever lies before it.
    const grown = keysOf([{ tokens: 30, pictures: [5] }, ...SAMPLES.slice(1)], 77);
    expect([...grown.tokens.slice(30)]).toEqual([...whole.tokens.slice(9)]);
    expect([...grown.patches.slice(20)]).toEqual([...whole.patches.slice(20)]);
    expect([...grown.features.slice(5)]).toEqual([...whole.features.slice(5)]);
  });
});
