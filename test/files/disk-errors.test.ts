import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drawRadiographs } from '../../src/demo/radiographs.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { DiskError } from '../../src/errors.js';
import { makeOutputFolder } from '../../src/files/disk-errors.js';

let root: string;
let file: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'disk-errors-'));
  file = join(root, 'file');
  await writeFile(file, '');
});
afterAll(() => rm(root, { recursive: true }));

describe('makeOutputFolder', () => {
  it('makes a folder and those above it, and takes one that exists', async () => {
    const path = join(root, 'a', 'b');
    await makeOutputFolder(path, 'test');
    await makeOutputFolder(path, 'test');
    expect((await stat(path)).isDirectory()).toBe(true);
  });

  it('says what is in the way', async () => {
    await expect(makeOutputFolder(join(file, 'x'), 'test')).rejects.toThrow(
      `${join(file, 'x')}: cannot be written: a file is in the place of its folder`,
    );
    await expect(makeOutputFolder(file, 'test')).rejects.toThrow(
      `${file}: cannot be written: another file is in its place`,
    );
  });

  it('is how a demonstration refuses such a folder', async () => {
    const outputDir = join(file, 'x');
    await expect(drawRadiographs({ outputDir, trainPerClass: 1, testPerClass: 1 })).rejects.toThrow(DiskError);
    await expect(writeTinyCheckpoint({ outputDir, seed: 1, corpus: ['a b'] })).rejects.toThrow(DiskError);
  });
});
