import { describe, expect, it } from 'vitest';
import { THUMB_EDGE } from '../../src/audit/align-images.js';
import { kinOf } from '../../src/audit/image-families.js';
import { findNearDuplicates } from '../../src/audit/near-duplicates.js';
import { MersenneTwister } from '../../src/random.js';

/** A texture of blotches of three pixels, of mean 0 and variance near 1. */
function texture(seed: number): Float32Array {
  const random = new MersenneTwister(seed);
  const cells = Math.ceil(THUMB_EDGE / 3) + 1;
  const levels = Float32Array.from({ length: cells ** 2 }, () => (random.nextUint32() / 2 ** 32 - 0.5) * Math.sqrt(12));
  return Float32Array.from({ length: THUMB_EDGE ** 2 }, (_, i) => {
    return levels[Math.floor(i / THUMB_EDGE / 3) * cells + Math.floor((i % THUMB_EDGE) / 3)]!;
  });
}

/** A drawing of the template: a slope of grey, the details of all, and by a share its own. */
function drawing(seed: number, own: number): Uint8Array {
  const [all, details] = [texture(1), texture(seed)];
  const scale = 6 / Math.sqrt(1 + own);
  return Uint8Array.from(all, (value, i) => {
    const grey = 60 + (i % THUMB_EDGE) * 2;
    return Math.min(255, Math.max(0, Math.round(grey + scale * (value + Math.sqrt(own) * details[i]!))));
  });
}

async function pairsOf(thumbs: readonly Uint8Array[]) {
  const views = thumbs.map((thumb) => ({ thumb, inner: thumb, isSmall: false }));
  const search = { views, minCorrelation: 0.85, transforms: true, onProgress: () => {}, signal: undefined };
  const { pairs, family } = await findNearDuplicates(search);
  return { pairs: pairs.map(({ a, b }) => [a, b]), family };
}

describe('near duplicates', () => {
  const close = [2, 3, 4].map((seed) => drawing(seed, 0.08));
  const copy = close[0]!.map((level) => Math.round(level * 0.9));

  it('are images that agree in nine tenths of their details, where nothing else resembles them', async () => {
    const { pairs, family } = await pairsOf([...close, copy]);
    expect(pairs).toEqual([0, 1, 2].flatMap((a) => [1, 2, 3].filter((b) => b > a).map((b) => [a, b])));
    expect(family).toBe(0);
  });

  it('are the closest copies alone among drawings of one template, whichever come first', async () => {
    const others = [5, 6, 7, 8, 9, 10, 11, 12].map((seed) => drawing(seed, 0.5));
    expect(await pairsOf([...close, ...others, copy])).toEqual({ pairs: [[0, 11]], family: 12 });
    expect(await pairsOf([...others, ...close, copy])).toEqual({ pairs: [[8, 11]], family: 12 });
  });

  it('in a chain have a template in common, in a star an original', () => {
    const pair = (a: number, b: number) => ({ a, b, correlation: 0.9, overlap: 1, transform: 'none' }) as const;
    const others = Array.from({ length: 11 }, (_, i) => i);
    const chain = kinOf([...others.map((i) => pair(i, i + 1)), pair(20, 21)], () => 0);
    expect([chain(0), chain(11), chain(20), chain(30)]).toEqual([1, 1, 0, 0]);
    const star = kinOf(
      others.map((i) => pair(0, i + 1)),
      (image) => (image === 5 ? 0.5 : 0),
    );
    expect([star(0), star(5)]).toEqual([0, 0.5]);
  });
});
