import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { standInEngine } from './stand-in.js';

const GIB = 2 ** 30;
let folder: string;
let before: string | undefined;
beforeEach(async () => {
  before = process.env.MINISTRAL_TUNE_CACHE;
  folder = await mkdtemp(join(tmpdir(), 'rate-'));
  process.env.MINISTRAL_TUNE_CACHE = folder;
});
afterEach(async () => {
  if (before === undefined) delete process.env.MINISTRAL_TUNE_CACHE;
  else process.env.MINISTRAL_TUNE_CACHE = before;
  await rm(folder, { recursive: true });
});

describe('matrixTflops of the cuda engine', () => {
  it('is measured once, gives its memory back, and comes from the cache after that', async () => {
    const { engine } = standInEngine(4 * GIB);
    const held = engine.memory().bytesInUse;
    // Events of the stand-in are a millisecond apart: ten products of 2·4096·8192² operations.
    const expected = (10 * 2 * 4096 * 8192 ** 2) / 1e-3 / 1e12;
    expect(engine.matrixTflops()).toBeCloseTo(expected, 6);
    expect(engine.memory().bytesInUse).toBe(held);
    await engine.dispose();
    const name = (await readdir(join(folder, 'kernels'))).find((file) => file.startsWith('matrix-rate-'))!;
    const path = join(folder, 'kernels', name);
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ product: [4096, 8192, 8192] });
    await writeFile(path, JSON.stringify({ tflops: 123 }));
    const later = standInEngine(4 * GIB).engine;
    expect(later.matrixTflops()).toBe(123);
    await later.dispose();
    await writeFile(path, 'broken');
    const again = standInEngine(4 * GIB).engine;
    expect(again.matrixTflops()).toBeCloseTo(expected, 6);
    await again.dispose();
  });

  it('is not known where there is no room to measure it', async () => {
    const { engine } = standInEngine(4 * GIB, { memoryBudget: GIB / 4 });
    const held = engine.memory().bytesInUse;
    expect(engine.matrixTflops()).toBeUndefined();
    expect(engine.memory().bytesInUse).toBe(held);
    await engine.dispose();
  });
});
