import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { ImageFolder } from '../../src/data/image-folder.js';
import { prepareDemonstration } from '../../src/demo/demonstration.js';
import { drawRadiographs } from '../../src/demo/radiographs.js';
import { loadProcessor } from '../../src/model/load.js';

const dir = await mkdtemp(join(tmpdir(), 'demonstration-'));
afterAll(() => rm(dir, { recursive: true }));

it('makes a data set and a model that are read as such, and says what it made', async () => {
  const notes: string[] = [];
  const onNote = (line: string): number => notes.push(line);
  const made = await prepareDemonstration({ outputDir: dir, trainPerClass: 2, testPerClass: 1, onNote });
  const data = await ImageFolder.load(made.data);
  expect([data.classNames.length, data.train.length, data.test.length]).toEqual([10, 20, 10]);
  const { tokenizer } = await loadProcessor(made.model);
  // The vocabulary has the prompt and the classes.
  expect(tokenizer.encode(data.classNames[0]!)).toHaveLength(2);
  expect(tokenizer.encode('Name the class of this image')).toHaveLength(6);
  expect(notes).toEqual([
    `drew 10 × (2 + 1) images into ${made.data}`,
    `made a tiny model of random weights in ${made.model}`,
  ]);
});

it('makes only what is asked for', async () => {
  const outputDir = join(dir, 'model-alone');
  await prepareDemonstration({ outputDir, data: false });
  expect(await readdir(outputDir)).toEqual(['tiny-model']);
});

it('refuses wrong options by name', async () => {
  await expect(prepareDemonstration({ dir } as never)).rejects.toThrow(
    /unknown option `dir`; did you mean `outputDir`/,
  );
  await expect(prepareDemonstration({ outputDir: dir, trainPerClass: 0 })).rejects.toThrow(/`trainPerClass`/);
  await expect(drawRadiographs({ outputDir: dir, trainPerClass: 1 } as never)).rejects.toThrow(/`testPerClass`/);
});
