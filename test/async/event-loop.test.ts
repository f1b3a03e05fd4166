import { describe, expect, it } from 'vitest';
import { copyInTurns, findNotFinite } from '../../src/async/event-loop.js';

/** Immediates that were served while a promise was pending. */
async function turnsOf(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const count = (): void => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await work;
  isDone = true;
  return turns;
}

describe('findNotFinite', () => {
  it('finds the first of them', async () => {
    expect(await findNotFinite(Float32Array.of(0, -0, 3e38, 1e-45))).toBe(-1);
    expect(await findNotFinite(Float32Array.of(0, Number.NaN, 1))).toBe(1);
    const long = new Float32Array(200_000);
    long[70_000] = Number.NEGATIVE_INFINITY;
    long[199_999] = Number.POSITIVE_INFINITY;
    expect(await findNotFinite(long)).toBe(70_000);
    expect(await findNotFinite(long.subarray(70_001))).toBe(129_998);
  });

  it('lets others have turns in a long array', async () => {
    expect(await turnsOf(findNotFinite(new Float32Array(60_000_000)))).toBeGreaterThan(1);
  });
});

describe('copyInTurns', () => {
  it('copies what the arrays hold at its end, of each kind', async () => {
    const floats = Float32Array.from({ length: 3_000_001 }, (_, i) => i);
    const bytes = Uint8Array.of(1, 2, 3);
    const copies = copyInTurns([floats.subarray(1), bytes, new Float32Array(0)]);
    const [first, second, third] = await copies;
    expect(first).toBeInstanceOf(Float32Array);
    expect(Buffer.from(first!.buffer).equals(Buffer.from(floats.buffer, 4))).toBe(true);
    expect(second).toEqual(bytes);
    expect(third).toHaveLength(0);
  });
});
