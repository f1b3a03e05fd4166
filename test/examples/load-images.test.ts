import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadImages } from '../../examples/load-images.js';
import { countsOf, plant } from '../data/image-tree.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'load-images-'));
  await plant(join(dir, 'set'), ['a/1.png', 'a/2.png', 'b/3.png', 'b/4.png']);
  await plant(join(dir, 'only-test'), ['test/a/1.png', 'test/b/2.png']);
  await plant(dir, ['labels.csv=file,label,split\n1.png,x,train\n2.png,y,train\n3.png,x,test\n4.png,y,test\n']);
});
afterAll(() => rm(dir, { recursive: true }));

it('holds out a share of each class, and says so where none is asked for', async () => {
  const data = await loadImages(join(dir, 'set'), { holdout: 0.5 });
  expect(countsOf(data)).toEqual({ train: { a: 1, b: 1 }, test: { a: 1, b: 1 } });
  await expect(loadImages(join(dir, 'set'), {})).rejects.toThrow(/no test images, only: train 4\n.*--holdout 0\.2/);
  await expect(loadImages(join(dir, 'only-test'), {})).rejects.toThrow(/no training images, only: test 2/);
});

it('takes classes and splits from a table', async () => {
  const data = await loadImages(join(dir, 'set'), { labels: join(dir, 'labels.csv') });
  expect(countsOf(data)).toEqual({ train: { x: 1, y: 1 }, test: { x: 1, y: 1 } });
  await expect(loadImages(join(dir, 'set'), { labels: join(dir, 'labels.csv'), holdout: 0.5 })).rejects.toThrow(
    /there is a test split already, of 2 images/,
  );
});
