import { describe, expect, it } from 'vitest';
import {
  counterHash,
  dropoutBits,
  dropoutMask,
  dropoutScale,
  dropoutThreshold,
  uniformNoise,
} from '../../src/random.js';

const [ROWS, COLUMNS] = [2048, 2048];
const DRAWS = ROWS * COLUMNS;
/** Everything here is fixed, so a fair coin of this many sigmas either always passes or never does. */
const SIGMAS = 4;

/** Keys as a step makes them. */
function rowKeys(step: number): Int32Array {
  return Int32Array.from({ length: ROWS }, (_, row) => counterHash(counterHash(99, step), row));
}

/** 1 where an element is dropped. */
function drops(keys: Int32Array, seed: number, p: number): Uint8Array {
  const mask = dropoutMask(keys, COLUMNS, seed, p);
  const dropped = new Uint8Array(mask.length);
  for (let i = 0; i < mask.length; i++) dropped[i] = mask[i] === 0 ? 1 : 0;
  return dropped;
}

/** Sigmas by which two sets of drops meet more or less often than independent ones; b is read `shift` further on. */
function meeting(a: Uint8Array, b: Uint8Array, p: number, shift = 0, runs = DRAWS): number {
  const joint = p * p;
  let count = 0;
  let met = 0;
  for (let first = 0; first < DRAWS; first += runs) {
    const end = Math.min(first + runs, DRAWS) - shift;
    for (let i = first; i < end; i++) met += a[i]! & b[i + shift]!;
    count += Math.max(0, end - first);
  }
  // Of a mask with itself moved, each element takes part twice: 2·(p³ - p⁴) is their covariance.
  const spread = joint * (1 - joint) + (a === b ? 2 * (p ** 3 - joint ** 2) : 0);
  return (met - count * joint) / Math.sqrt(count * spread);
}

/** Sigmas by which the counts of equally likely values are too uneven (or too even). */
function chiSquare(counts: Uint32Array): number {
  const mean = counts.reduce((a, b) => a + b) / counts.length;
  const sum = counts.reduce((total, count) => total + (count - mean) ** 2 / mean, 0);
  return (sum - (counts.length - 1)) / Math.sqrt(2 * (counts.length - 1));
}

describe('dropout masks', () => {
  it.each([
    [0, 0, 0, 0],
    [1, 0, 1, 58314],
    [0x9abcdef0, 0x12345678, 2, 48829],
    [0x9abcdef0, 0x12345678, 3, 65078],
    [0xffffffff, 7, 5119, 23206],
    [0x80000000, 0xfedcba98, 16383, 57583],
  ])('the bits of row key %i, seed %i, column %i are %i', (rowKey, seed, column, bits) => {
    expect(dropoutBits(rowKey, seed, column)).toBe(bits);
    expect(dropoutBits(rowKey | 0, seed | 0, column)).toBe(bits);
  });

  it.each([1, 2, 7, 64])('a whole mask of %i columns is that of its elements', (columns) => {
    const keys = rowKeys(3).subarray(0, 50);
    const mask = dropoutMask(keys, columns, 17, 0.3);
    expect(mask.length).toBe(50 * columns);
    const expected = Float32Array.from({ length: mask.length }, (_, i) => {
      const bits = dropoutBits(keys[Math.floor(i / columns)]!, 17, i % columns);
      return bits < Math.round(0.3 * 65536) ? 0 : dropoutScale(0.3);
    });
    expect(Buffer.from(mask.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
  });

  it('rounds p to 1/65536 and scales by what it rounded to', () => {
    for (const p of [0, 1e-6, 0.05, 0.1, 1 / 3, 0.5, 0.99, 0.9999999]) {
      const dropped = dropoutThreshold(p) / 65536;
      expect(Math.abs(dropped - p)).toBeLessThanOrEqual(1 / 65536);
      expect(dropped).toBeLessThan(1);
      expect((1 - dropped) * dropoutScale(p)).toBeCloseTo(1, 12);
    }
    expect(dropoutMask(Int32Array.of(5, 6), 100, 1, 0).every((value) => value === 1)).toBe(true);
  });

  it.each([0.05, 0.1, 0.5])('drops %f of all elements, rows and columns as often as chance would', (p) => {
    const exact = dropoutThreshold(p) / 65536;
    const dropped = drops(rowKeys(1), 11, p);
    const byRow = new Uint32Array(ROWS);
    const byColumn = new Uint32Array(COLUMNS);
    for (let i = 0; i < DRAWS; i++) {
      byRow[Math.floor(i / COLUMNS)]! += dropped[i]!;
      byColumn[i % COLUMNS]! += dropped[i]!;
    }
    const total = byRow.reduce((sum, count) => sum + count);
    expect(Math.abs(total - DRAWS * exact)).toBeLessThan(SIGMAS * Math.sqrt(DRAWS * exact * (1 - exact)));
    for (const [counts, draws] of [
      [byRow, COLUMNS],
      [byColumn, ROWS],
    ] as const) {
      const variance = counts.reduce((sum, count) => sum + (count - draws * exact) ** 2, 0) / counts.length;
      const ratio = variance / (draws * exact * (1 - exact));
      expect(Math.abs(ratio - 1)).toBeLessThan(SIGMAS * Math.sqrt(2 / counts.length));
    }
  });

  it.each([0.05, 0.1, 0.5])('drops neighbours, rows, layers and steps independently at p = %f', (p) => {
    const exact = dropoutThreshold(p) / 65536;
    const mask = drops(rowKeys(1), 11, p);
    expect(meeting(mask, mask, exact)).toBeGreaterThan(100);
    // Both columns of one hash.
    let both = 0;
    for (let i = 0; i < DRAWS; i += 2) both += mask[i]! & mask[i + 1]!;
    const spread = Math.sqrt((DRAWS / 2) * exact ** 2 * (1 - exact ** 2));
    expect(Math.abs(both - (DRAWS / 2) * exact ** 2)).toBeLessThan(SIGMAS * spread);
    for (const shift of [1, 2, 3, 4, 5, 6, 7, 8, 16, 31, 32, 64, 100, 128, 256, 512, 1000, 1024]) {
      expect(Math.abs(meeting(mask, mask, exact, shift, COLUMNS)), `columns ${shift} apart`).toBeLessThan(SIGMAS);
    }
    for (const rows of [1, 2, 3, 7, 64, 1024]) {
      expect(Math.abs(meeting(mask, mask, exact, rows * COLUMNS)), `rows ${rows} apart`).toBeLessThan(SIGMAS);
    }
    for (const seed of [10, 12, 11 ^ 0x80000000, counterHash(1, 1)]) {
      expect(Math.abs(meeting(mask, drops(rowKeys(1), seed, p), exact)), `layer ${seed}`).toBeLessThan(SIGMAS);
    }
    for (const step of [0, 2, 3, 1000]) {
      expect(Math.abs(meeting(mask, drops(rowKeys(step), 11, p), exact)), `step ${step}`).toBeLessThan(SIGMAS);
    }
  });

  it('draws all values of 16 bits, and all pairs of upper bits of neighbours, equally often', () => {
    const tables = {
      even: new Uint32Array(65536),
      odd: new Uint32Array(65536),
      halves: new Uint32Array(65536),
      evenNeighbours: new Uint32Array(65536),
      oddNeighbours: new Uint32Array(65536),
    };
    const bits = new Uint16Array(COLUMNS);
    for (const [row, key] of rowKeys(4).entries()) {
      for (let column = 0; column < COLUMNS; column++) bits[column] = dropoutBits(key, row % 64, column);
      for (let column = 0; column + 2 < COLUMNS; column += 2) {
        const [even, odd, next, afterNext] = [bits[column]!, bits[column + 1]!, bits[column + 2]!, bits[column + 3]!];
        tables.even[even]!++;
        tables.odd[odd]!++;
        tables.halves[(even & 0xff00) | (odd >>> 8)]!++;
        tables.evenNeighbours[(even & 0xff00) | (next >>> 8)]!++;
        tables.oddNeighbours[(odd & 0xff00) | (afterNext >>> 8)]!++;
      }
    }
    for (const [name, counts] of Object.entries(tables)) {
      expect(Math.abs(chiSquare(counts)), name).toBeLessThan(SIGMAS);
    }
  });
});

describe('the noise of embeddings', () => {
  const [rows, columns] = [256, 512];
  const keysOf = (step: number) => rowKeys(step).subarray(0, rows);
  const noiseOf = (step: number) =>
    uniformNoise({ rowKeys: keysOf(step), bounds: new Float32Array(rows).fill(1) }, columns);
  const noise = noiseOf(1);

  /** Sigmas by which two sets of values go along with each other, b read `shift` further on. */
  const correlation = (a: Float32Array, b: Float32Array, shift = 0): number => {
    const count = a.length - shift;
    const meanOf = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [meanA, meanB] = [meanOf(a), meanOf(b)];
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = 0; i < count; i++) {
      const [x, y] = [a[i]! - meanA, b[i + shift]! - meanB];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    return (ab / Math.sqrt(aa * bb)) * Math.sqrt(count);
  };

  it('is uniform between the bounds', () => {
    const counts = new Uint32Array(256);
    expect(noise.every((value) => Math.abs(value) < 1)).toBe(true);
    for (const value of noise) counts[Math.floor((value + 1) * 128)]!++;
    expect(Math.abs(chiSquare(counts))).toBeLessThan(SIGMAS);
  });

  it('goes along neither with the dropout masks of the same rows nor with itself elsewhere', () => {
    expect(correlation(noise, noise)).toBeGreaterThan(100);
    const strength = noise.map((value) => value * value);
    for (let layer = 0; layer < 30; layer++) {
      const mask = dropoutMask(keysOf(1), columns, counterHash(0xa4093822, layer), 0.1);
      expect(Math.abs(correlation(noise, mask)), `layer ${layer}`).toBeLessThan(SIGMAS);
      expect(Math.abs(correlation(strength, mask)), `strength, layer ${layer}`).toBeLessThan(SIGMAS);
      expect(Math.abs(correlation(noise, mask, 1 + layer)), `layer ${layer}, moved`).toBeLessThan(SIGMAS);
    }
    for (const shift of [1, 2, 3, 4, 64, 256, columns, 2 * columns, 100 * columns]) {
      expect(Math.abs(correlation(noise, noise, shift)), `${shift} further on`).toBeLessThan(SIGMAS);
    }
    for (const step of [0, 2, 3, 1000]) {
      expect(Math.abs(correlation(noise, noiseOf(step))), `step ${step}`).toBeLessThan(SIGMAS);
    }
  });
});
