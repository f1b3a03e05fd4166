import { describe, expect, it } from 'vitest';
import { WorkerThreads } from '../../src/async/worker-threads.js';
import { float32ToBfloat16 } from '../../src/formats/half-precision.js';
import program from '../../src/generated/merge-worker.js';
import { type MergedRows, mergeRows, type RowsToMerge } from '../../src/lora/merged-weight.js';

const [INNER, R] = [96, 3];
const numbers = (length: number, seed: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => Math.sin(seed * 131 + i * 1.7));
const rowsOf = (rows: number, seed: number): RowsToMerge => ({
  bytes: new Uint8Array(float32ToBfloat16(numbers(rows * INNER, seed)).buffer as ArrayBuffer),
  dtype: 'bf16',
  lora: { r: R, scale: 1.5, a: numbers(R * INNER, seed + 1), b: numbers(rows * R, seed + 2) },
});

const poolOf = (workers: number) => new WorkerThreads<RowsToMerge, MergedRows>(program, workers);
const merge = (pool: ReturnType<typeof poolOf>, rows: RowsToMerge, signal?: AbortSignal) =>
  pool.run(rows, [rows.bytes.buffer], signal);

describe('the merge worker', () => {
  it('gives each what it asked for, for more jobs than workers, and moves the bytes', async () => {
    const pool = poolOf(2);
    const sizes = [1, 2, 3, 4, 5, 17, 64, 7, 9, 33];
    const jobs = sizes.map((rows, i) => rowsOf(rows, i));
    const expected = sizes.map((rows, i) => mergeRows(rowsOf(rows, i)));
    const results = await Promise.all(jobs.map((job) => merge(pool, job)));
    expect(results).toEqual(expected);
    expect(jobs.every(({ bytes }) => bytes.byteLength === 0)).toBe(true);
    await pool.close(new Error('the merge has ended'));
  });

  it('tells of an element that the dtype cannot hold', async () => {
    const pool = poolOf(1);
    const rows = rowsOf(4, 1);
    rows.lora.b[5] = Number.NaN;
    expect(await merge(pool, rows)).toEqual({ beyond: Number.NaN });
    await pool.close(new Error('the merge has ended'));
  });

  it('rejects what a worker throws, and goes on', async () => {
    const pool = poolOf(1);
    // Half a bfloat16.
    const broken = { ...rowsOf(2, 1), bytes: new Uint8Array(3) };
    await expect(merge(pool, broken)).rejects.toThrow(RangeError);
    expect(await merge(pool, rowsOf(2, 1))).toEqual(mergeRows(rowsOf(2, 1)));
    await pool.close(new Error('the merge has ended'));
  });

  it('rejects what is not done when it is closed', async () => {
    const pool = poolOf(1);
    const jobs = [rowsOf(2000, 1), rowsOf(2, 2), rowsOf(2, 3)].map((rows) => merge(pool, rows));
    const ended = Promise.allSettled(jobs);
    await pool.close(new Error('the merge has ended'));
    expect((await ended).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  });
});
