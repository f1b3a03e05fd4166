import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readFirstMeasures, writeFirstMeasures } from '../../src/cli/first-measures.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import { Evaluator } from '../../src/eval/evaluator.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'first-measures-'));
});
afterEach(() => rm(folder, { recursive: true }));

const OF = { settings: { data: '/data', limit: 2, outputDir: '/a' }, testSamples: 2, evalSamples: 0 };

it('are those of the same settings and data, wherever the run lies now', async () => {
  const evaluator = new Evaluator({ classNames: ['a', 'b'], generate: async (examples) => examples.map(() => 'a') });
  const dataset = IndexedDataset.from([{ label: 0 }, { label: 1 }]);
  const report = await evaluator.evaluate(dataset, {
    toExample: () => ({ messages: [{ role: 'user', content: 'x' }] }),
  });
  expect(await readFirstMeasures(folder, OF)).toBeUndefined();
  await writeFirstMeasures(folder, OF, { report, evalLoss: 0.5 });
  const moved = { ...OF, settings: { outputDir: '/b', limit: 2, data: '/data' } };
  expect(await readFirstMeasures(folder, moved)).toEqual({ report: JSON.parse(JSON.stringify(report)), evalLoss: 0.5 });
  expect(await readFirstMeasures(folder, { ...OF, testSamples: 3 })).toBeUndefined();
  expect(await readFirstMeasures(folder, { ...OF, settings: { data: '/data', limit: 3 } })).toBeUndefined();
});

it('are taken again where the file is damaged or of another version', async () => {
  await writeFirstMeasures(folder, OF, { report: undefined, evalLoss: undefined });
  expect(await readdir(folder)).toEqual([]);
  await writeFirstMeasures(folder, OF, { report: undefined, evalLoss: 0.5 });
  expect(await readFirstMeasures(folder, OF)).toEqual({ report: undefined, evalLoss: 0.5 });
  const path = join(folder, 'before.json');
  const text = await readFile(path, 'utf8');
  for (const wrong of [
    '',
    '[]',
    text.replace(/"version": "[^"]*"/, '"version": "0.0.0"'),
    text.replace('}', ', "report": {}}'),
  ]) {
    await writeFile(path, wrong);
    expect(await readFirstMeasures(folder, OF)).toBeUndefined();
  }
});
