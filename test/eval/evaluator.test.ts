import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderPng } from '../../src/chart/render.js';
import { ClassLabel, LabelledDataset } from '../../src/data/dataset.js';
import type { Dataset, SftExample } from '../../src/data/types.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { compareSubsets } from '../../src/eval/compare-subsets.js';
import { confusionChart } from '../../src/eval/confusion-chart.js';
import { Evaluator, withoutAnswer } from '../../src/eval/evaluator.js';
import type { EvaluationProgress } from '../../src/eval/evaluator-options.js';
import {
  compareReports,
  compareSamples,
  comparisonMarkdown,
  formatReport,
  reportJson,
  reportMarkdown,
  writeReport,
} from '../../src/eval/report.js';
import { displayWidth } from '../../src/messages/display-width.js';

const NAMES = ['cat', 'dog', '鳥'];

interface Item {
  readonly label: number;
  readonly text: string;
}

function datasetOf(items: readonly Item[]): Dataset<Item> {
  return {
    length: items.length,
    get: async (index) => items[index]!,
    async *[Symbol.asyncIterator]() {
      yield* items;
    },
  };
}

const toExample = (item: Item): SftExample => ({
  id: item.text,
  messages: [
    { role: 'user', content: item.text },
    { role: 'assistant', content: NAMES[item.label]! },
  ],
});

/** Sample i is of class i mod 3. */
const ten = datasetOf(Array.from({ length: 10 }, (_, i) => ({ label: i % 3, text: `sample ${i}` })));

/** Answers from a table by prompt, and keeps what it was asked. */
function modelOf(answers: Record<string, string>) {
  const batches: SftExample[][] = [];
  const generate = async (examples: readonly SftExample[]) => {
    batches.push([...examples]);
    return examples.map((one) => answers[String(one.messages[0]!.content)] ?? 'Cat.');
  };
  return { generate, batches };
}

describe('Evaluator', () => {
  it('counts answers in data set order', async () => {
    const { generate, batches } = modelOf({
      'sample 1': '**Dog**',
      'sample 2': '鳥。',
      'sample 4': 'I see a dog',
      'sample 5': 'dog',
    });
    const report = await new Evaluator({ classNames: NAMES, generate, batchSize: 4 }).evaluate(ten, { toExample });
    expect(batches.map((batch) => batch.length)).toEqual([4, 4, 2]);
    expect(report.count).toBe(10);
    expect(report.correct).toBe(6); // 0, 3, 6 and 9 by default, 1 and 2 by the table.
    expect(report.accuracy).toBe(0.6);
    expect(report.confusion).toEqual({
      counts: [
        [4, 0, 0],
        [1, 1, 0],
        [1, 1, 1],
      ],
      unparsed: [0, 1, 0],
    });
    expect(report.perClass.map((one) => [one.name, one.support])).toEqual([
      ['cat', 4],
      ['dog', 3],
      ['鳥', 3],
    ]);
    expect(report.samples[4]).toEqual({ id: 'sample 4', expected: 1, predicted: null, answer: 'I see a dog' });
    expect(report.samples.map((one) => one.id)).toEqual(Array.from({ length: 10 }, (_, i) => `sample ${i}`));
    expect(JSON.parse(reportJson(report))).toEqual(report);
  });

  it('compares classes by name, where two data sets number them differently', async () => {
    const names = ['dog', 'cat'];
    const items = [1, 0, 1].map((label, i) => ({ label, text: `${i}`, className: names[label]! }));
    const toPlain = (item: Item): SftExample => ({ id: item.text, messages: [{ role: 'user', content: item.text }] });
    const { generate } = modelOf({ 0: 'cat', 1: 'dog', 2: 'cat' });
    const evaluator = new Evaluator({ classNames: NAMES, generate });
    const byItem = await evaluator.evaluate(datasetOf(items), { toExample: toPlain });
    expect([byItem.accuracy, byItem.samples.map((one) => one.expected)]).toEqual([1, [0, 1, 0]]);
    const unnamed = items.map(({ label, text }) => ({ label, text }));
    const byDataset = new LabelledDataset(new ClassLabel(names), [1, 0, 1], (i) => unnamed[i]!);
    expect((await evaluator.evaluate(byDataset, { toExample: toPlain })).accuracy).toBe(1);
    const strange = datasetOf([{ label: 0, text: '0', className: 'cow' } as Item]);
    await expect(evaluator.evaluate(strange, { toExample: toPlain })).rejects.toThrow(
      /sample 0 is of class "cow", which is not in `classNames`\n.*cat, dog, 鳥/,
    );
  });

  it('reports macro F1 over the classes that occur beside the other', async () => {
    const { generate } = modelOf({ 'sample 0': 'cat' });
    const one = datasetOf([{ label: 0, text: 'sample 0' }]);
    const report = await new Evaluator({ classNames: NAMES, generate }).evaluate(one, { toExample });
    expect([report.macroF1, report.macroF1Occurring]).toEqual([1 / 3, 1]);
    expect(formatReport(report)).toContain('macro F1 0.333 (1.000 over the 1 of 3 classes that occur)');
    const { generate: all } = modelOf({ 'sample 0': 'cat', 'sample 1': 'dog', 'sample 2': '鳥' });
    const whole = await new Evaluator({ classNames: NAMES, generate: all }).evaluate(ten, { toExample });
    expect(formatReport(whole)).not.toContain('that occur');
  });

  it('never shows the model the answer', async () => {
    const { generate, batches } = modelOf({});
    await new Evaluator({ classNames: NAMES, generate }).evaluate(ten, { toExample });
    for (const example of batches.flat()) expect(example.messages.map((one) => one.role)).toEqual(['user']);
    const system = { role: 'system', content: 's' } as const;
    const user = { role: 'user', content: 'u' } as const;
    expect(withoutAnswer({ messages: [system, user], images: ['a.png'] })).toEqual({
      messages: [system, user],
      images: ['a.png'],
    });
    expect(() => withoutAnswer({ id: 'x', messages: [system, { role: 'assistant', content: 'a' }] })).toThrow(
      /sample x .* found system/,
    );
    expect(() => withoutAnswer({ messages: [] })).toThrow(DataError);
  });

  it('spreads a limit over the data set', async () => {
    const { generate } = modelOf({});
    const evaluator = new Evaluator({ classNames: NAMES, generate, batchSize: 2 });
    const ids = async (limit: number) =>
      (await evaluator.evaluate(ten, { toExample, limit })).samples.map((one) => one.id.slice(7));
    expect(await ids(1)).toEqual(['5']);
    expect(await ids(3)).toEqual(['1', '5', '8']);
    expect(await ids(10)).toHaveLength(10);
    expect(await ids(99)).toHaveLength(10);
    await expect(ids(0)).rejects.toThrow(ConfigError);
  });

  it('reports progress after each batch, by callback or iterator', async () => {
    const { generate } = modelOf({});
    const evaluator = new Evaluator({ classNames: NAMES, generate, batchSize: 4 });
    const seen: EvaluationProgress[] = [];
    await evaluator.evaluate(ten, { toExample, onProgress: (progress) => seen.push(progress) });
    expect(seen.map(({ done, total, correct }) => [done, total, correct])).toEqual([
      [4, 10, 2],
      [8, 10, 3],
      [10, 10, 4],
    ]);
    const first = await evaluator.stream(ten, { toExample }).next();
    expect(first.value?.done).toBe(4);
  });

  it('stops at a signal between batches and hands it on', async () => {
    const controller = new AbortController();
    let calls = 0;
    const evaluator = new Evaluator({
      classNames: NAMES,
      batchSize: 3,
      generate: async (examples, signal) => {
        expect(signal).toBe(controller.signal);
        calls++;
        return examples.map(() => 'cat');
      },
    });
    const run = evaluator.evaluate(ten, {
      toExample,
      signal: controller.signal,
      onProgress: ({ done }) => done === 6 && controller.abort(new Error('enough')),
    });
    await expect(run).rejects.toThrow('enough');
    expect(calls).toBe(2);
  });

  it('refuses what would give wrong figures', async () => {
    const { generate } = modelOf({});
    const evaluator = new Evaluator({ classNames: NAMES, generate });
    await expect(evaluator.evaluate(datasetOf([]), { toExample })).rejects.toThrow(/empty/);
    await expect(evaluator.evaluate(datasetOf([{ label: 3, text: '' }]), { toExample })).rejects.toThrow(
      /label from 0 to 2, got 3 at sample 0/,
    );
    const short = new Evaluator({ classNames: NAMES, generate: async () => ['cat'] });
    await expect(short.evaluate(ten, { toExample })).rejects.toThrow(/expected 8 answers from `generate`, got 1/);
    expect(() => new Evaluator({ classNames: NAMES, generate, batchSize: 0 })).toThrow(/batchSize/);
    expect(() => new Evaluator({ classNames: ['a', 'A'], generate })).toThrow(ConfigError);
  });
});

describe('reports', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'report-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const reportOf = (answers: Record<string, string>) =>
    new Evaluator({ classNames: NAMES, generate: modelOf(answers).generate }).evaluate(ten, { toExample });
  const better = { 'sample 1': 'dog', 'sample 2': '鳥', 'sample 4': 'dog', 'sample 5': '鳥', 'sample 9': 'a cat' };

  it('aligns columns by what the terminal shows', async () => {
    const lines = formatReport(await reportOf(better)).split('\n');
    expect(lines[0]).toBe('Accuracy 70.0 % (95 % interval 39.7 % to 89.2 %), macro F1 0.756');
    expect(lines[1]).toMatch(/^7 of 10 samples right, 1 answer that is no class name, \d+\.\d s$/);
    const table = lines.slice(3, 8);
    expect(lines.slice(8)).toEqual([
      '',
      'metric              value  95 % bootstrap interval',
      '─────────────────  ──────  ───────────────────────',
      expect.stringMatching(/^balanced accuracy {2}69\.4 % +\d\d\.\d % to \d\d\.\d %$/),
      expect.stringMatching(/^macro F1 {12}0\.756 +0\.\d{3} to 0\.\d{3}$/),
      expect.stringMatching(/^weighted F1 {9}0\.\d{3} +0\.\d{3} to 0\.\d{3}$/),
    ]);
    expect(table[0]).toBe('class  precision  recall     F1  support');
    expect(table[4]).toBe('鳥         1.000   0.667  0.800        3');
    expect(new Set(table.map(displayWidth)).size).toBe(1);
  });

  it('knows the width of wide, combined and invisible characters', () => {
    expect(['abc', '鳥', 'é', 'e\u0301', '한국', '🙂', '👩‍🔬', '', '\u200b'].map(displayWidth)).toEqual([
      3, 2, 1, 1, 4, 2, 2, 0, 0,
    ]);
  });

  it('compares two reports sample by sample', async () => {
    const before = await reportOf({ 'sample 1': 'dog', 'sample 3': 'unsure' });
    const after = await reportOf(better);
    const comparison = compareSamples(before, after);
    expect(comparison).toMatchObject({ paired: 10, gained: 4, lost: 1, pValue: 0.375 });
    expect(comparison.accuracyDelta).toBeCloseTo(0.3, 12);
    const text = compareReports(before, after).split('\n');
    expect(text[0]).toMatch(/^ +before +after +change$/);
    expect(text[2]).toMatch(/^accuracy +40\.0 % +70\.0 % +\+30\.0 pp$/);
    expect(text[3]).toMatch(/^balanced accuracy +36\.1 % +69\.4 % +\+33\.3 pp$/);
    expect(text[6]).toMatch(/^answers that are no class +1 +1 +0$/);
    expect(text.at(-1)).toBe(
      'On them accuracy changed by +30.0 pp, 95 % interval −12.4 pp to +62.4 pp (pp: percentage points).',
    );
    expect(text.at(-2)).toBe(
      "Of 10 samples in both, 4 became right and 1 became wrong (McNemar's exact test: p = 0.375).",
    );
    expect(compareReports(after, before)).toMatch(/−30\.0 pp/);
    expect(comparisonMarkdown(before, after)).toContain('| accuracy | 40.0 % | 70.0 % | +30.0 pp |');
  });

  it('shows reports of earlier versions, which have fewer figures', async () => {
    const report = await reportOf(better);
    const { mode: _, invalid, balancedAccuracy, weightedF1, intervals, ...others } = report;
    const earlier = JSON.parse(reportJson(others as typeof report)) as typeof report;
    const withoutIntervals = formatReport({ ...report, intervals: undefined as never });
    expect(formatReport(earlier)).toBe(withoutIntervals);
    expect(withoutIntervals).toMatch(/\nmetric +value\n.*\nbalanced accuracy +69\.4 %\n/);
    expect(compareReports(earlier, earlier)).toBe(compareReports(report, report));
    expect(compareSubsets(earlier, { some: [0, 1] })).toBe(compareSubsets(report, { some: ['sample 0', 'sample 1'] }));
  });

  it('refuses to compare different classes, and says when no sample is shared', async () => {
    const report = await reportOf({});
    expect(() => compareSamples(report, { ...report, classNames: ['cat', 'dog', 'bird'] })).toThrow(DataError);
    const renamed = { ...report, samples: report.samples.map((one) => ({ ...one, id: `other ${one.id}` })) };
    expect(compareReports(report, renamed)).toMatch(/share no samples/);
  });

  it('refuses reports whose parts do not fit together', async () => {
    const report = await reportOf({});
    const { confusion, perClass, samples } = report;
    const damaged = (part: object) => () => compareReports(report, { ...report, ...part });
    expect(damaged({ perClass: perClass.slice(1) })).toThrow(/`after`: `perClass` is not of the 3 `classNames`/);
    expect(damaged({ confusion: { ...confusion, unparsed: [0] } })).toThrow(/`confusion` is not of the 3/);
    expect(damaged({ samples: [{ ...samples[0]!, predicted: 3 }] })).toThrow(/one of 3 classes for sample sample 0/);
  });

  it('gives a Markdown table that names cannot break', async () => {
    const report = await reportOf({});
    const [first, ...others] = report.perClass;
    const odd = { ...report, perClass: [{ ...first!, name: 'a|b\nc\\' }, ...others] };
    const lines = reportMarkdown(odd).split('\n');
    expect(lines.slice(2, 4)).toEqual(['| class | precision | recall | F1 | support |', '|---|---:|---:|---:|---:|']);
    expect(lines[4]).toBe('| a\\|b c\\\\ | 0.400 | 1.000 | 0.571 | 4 |');
    expect(lines.slice(7, 10)).toEqual(['', '| metric | value | 95 % bootstrap interval |', '|---|---:|---:|']);
    expect(lines).toHaveLength(13);
  });

  it('writes JSON and the image of the matrix, and nothing else', async () => {
    const report = await reportOf(better);
    await writeReport(report, join(folder, 'new', 'report.json'));
    await renderPng(confusionChart(report), join(folder, 'new', 'confusion.png'), { scale: 2 });
    expect((await readdir(join(folder, 'new'))).sort()).toEqual(['confusion.png', 'report.json']);
    expect(JSON.parse(await readFile(join(folder, 'new', 'report.json'), 'utf8'))).toEqual(report);
    const { format, width } = await sharp(join(folder, 'new', 'confusion.png')).metadata();
    expect(format).toBe('png');
    expect(width).toBeGreaterThan(600);
  });
});
