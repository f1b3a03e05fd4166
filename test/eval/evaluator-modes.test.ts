import { describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import type { EvaluatorOptions, ScoreClasses } from '../../src/eval/evaluator-options.js';
import { formatReport } from '../../src/eval/report.js';

const NAMES = ['cat', 'dog', '鳥'];
const items = [0, 1, 2, 0, 1].map((label, i) => ({ label, text: `sample ${i}` }));
const dataset = IndexedDataset.from(items);
const toExample = ({ text, label }: (typeof items)[number]): SftExample => ({
  id: text,
  messages: [
    { role: 'user', content: text },
    { role: 'assistant', content: NAMES[label]! },
  ],
});
/** Natural-log probabilities of the classes, of samples 0 to 4; samples 2 and 4 are answered wrongly. */
const SCORES = [
  [0.7, 0.2, 0.1],
  [0.3, 0.6, 0.1],
  [0.5, 0.1, 0.4],
  [0.9, 0.05, 0.05],
  [0.4, 0.2, 0.4],
].map((row) => row.map(Math.log));
const idOf = (example: SftExample) => Number(example.id!.split(' ')[1]);
const score: ScoreClasses = async (examples) => examples.map((example) => SCORES[idOf(example)]!);
const evaluatorOf = (options: Partial<EvaluatorOptions>) =>
  new Evaluator({ classNames: NAMES, batchSize: 2, ...options });

describe('an evaluation by scores', () => {
  it('answers with the most probable class and keeps what all of them got', async () => {
    const asked: unknown[] = [];
    const evaluator = evaluatorOf({
      mode: 'scored',
      score: async (examples, classNames, signal) => {
        asked.push([examples.map((one) => one.messages.map(({ role }) => role)), classNames, signal]);
        return score(examples, classNames);
      },
    });
    const { signal } = new AbortController();
    const report = await evaluator.evaluate(dataset, { toExample, signal });
    expect(asked[2]).toEqual([[['user']], NAMES, signal]);
    expect([report.mode, report.answerMode, report.invalid]).toEqual(['scored', 'exact', 0]);
    expect(report.samples.map((one) => one.predicted)).toEqual([0, 1, 0, 0, 0]);
    expect(report.samples[1]).toEqual({
      ...{ id: 'sample 1', expected: 1, predicted: 1, answer: 'dog', scores: SCORES[1] },
      confidence: expect.closeTo(0.6, 12),
    });
    const { probabilities } = report;
    expect(probabilities!.topKAccuracy).toEqual([expect.closeTo(0.6, 12), 0.8, 1]);
    expect(probabilities!.logLoss).toBeCloseTo(-Math.log(0.7 * 0.6 * 0.4 * 0.9 * 0.2) / 5, 12);
    const brier = [0.09 + 0.04 + 0.01, 0.09 + 0.16 + 0.01, 0.25 + 0.01 + 0.36, 0.015, 0.16 + 0.64 + 0.16];
    expect(probabilities!.brierScoreLoss).toBeCloseTo(brier.reduce((a, b) => a + b) / 5, 12);
    // Each answer has a bin of its own: |right - confidence|.
    expect(probabilities!.expectedCalibrationError).toBeCloseTo((0.3 + 0.4 + 0.5 + 0.1 + 0.4) / 5, 12);
    expect(probabilities!.calibration).toHaveLength(10);
    // Errors of the first 1, 2, … most confident: 0/1, 0/2, 0/3, 1/4, 2/5.
    expect(probabilities!.riskCoverageArea).toBeCloseTo((0.25 + 0.4) / 5, 12);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
    expect(formatReport(report)).toMatch(
      /\ntop-2 accuracy +80\.0 %\s*\n.*\nlog loss +0\.\d{3}\s*\nBrier score +0\.\d{3}/,
    );
  });

  it('takes arrays of float32, and scores that are no probabilities but for a constant', async () => {
    const typed = evaluatorOf({
      mode: 'scored',
      score: async (examples) => examples.map((one) => Float32Array.from(SCORES[idOf(one)]!, (x) => x - 500)) as never,
    });
    const report = await typed.evaluate(dataset, { toExample });
    expect(report.samples.map((one) => one.predicted)).toEqual([0, 1, 0, 0, 0]);
    expect(report.samples[3]!.confidence).toBeCloseTo(0.9, 3);
    expect(Array.isArray(report.samples[0]!.scores)).toBe(true);
  });

  it.each<[string, unknown, RegExp]>([
    ['nothing', undefined, /expected from `score` 2 lists of scores, got nothing/],
    ['too few', [SCORES[0]], /2 lists of scores, got 1\n/],
    ['no list', [SCORES[0], 0.5], /a list of 3 numbers for sample sample 1, got 0\.5/],
    ['other classes', [SCORES[0], [-1, -2]], /3 scores, one a class, for sample sample 1, got 2/],
    ['NaN', [SCORES[0], [-1, Number.NaN, -2]], /finite log-probabilities for sample sample 1, got NaN for class 1/],
    ['the logarithm of 0', [[-1, -1, Number.NEGATIVE_INFINITY], SCORES[0]], /got -Infinity for class 2\n.*-1e3/],
    ['probabilities', [[0.5, 0.25, 0.25], SCORES[0]], /looks like probabilities: their sum is 1\n.*Math\.log/],
  ])('refuses %s in place of scores', async (_, given, message) => {
    const evaluator = evaluatorOf({ mode: 'scored', score: async () => given as never });
    const run = evaluator.evaluate(dataset, { toExample });
    await expect(run).rejects.toThrow(DataError);
    await expect(run).rejects.toThrow(message);
  });
});

describe('a constrained evaluation', () => {
  it('hands the class names on, and reads answers exactly', async () => {
    const asked: unknown[] = [];
    const evaluator = evaluatorOf({
      mode: 'constrained',
      generate: async (examples, _, choices) => {
        asked.push(choices);
        return examples.map(() => choices![1]!);
      },
    });
    const report = await evaluator.evaluate(dataset, { toExample });
    expect(asked).toEqual([NAMES, NAMES, NAMES]);
    expect([report.mode, report.answerMode, report.accuracy]).toEqual(['constrained', 'exact', 0.4]);
    expect(report.probabilities).toBeUndefined();
  });

  it('refuses an answer that is no class: `choices` was not passed on', async () => {
    const evaluator = evaluatorOf({ mode: 'constrained', generate: async (examples) => examples.map(() => 'Cat.') });
    await expect(evaluator.evaluate(dataset, { toExample })).rejects.toThrow(
      /a class name as the constrained answer for sample sample 0, got "Cat\."\n.*`choices`/,
    );
  });

  it('is no free one, which is given no choices', async () => {
    const lengths: number[] = [];
    const generate = async (...given: unknown[]) => {
      lengths.push(given.length);
      return (given[0] as SftExample[]).map(() => 'cat');
    };
    await evaluatorOf({ generate: generate as never }).evaluate(dataset, { toExample });
    expect(lengths).toEqual([2, 2, 2]);
  });
});

describe('options that have no effect in a mode', () => {
  const generate = async () => [];
  it.each<[string, Partial<EvaluatorOptions>, RegExp]>([
    [
      'an unknown mode',
      { mode: 'fre' as 'free', generate },
      /`mode`: expected one of free, constrained, scored, got "fre"/,
    ],
    ['no scores', { mode: 'scored' }, /`score` is missing/],
    ['no answers', { mode: 'constrained' }, /`generate` is missing/],
    ['scores in mode free', { score }, /`score` has no effect in mode 'free'\n.*mode: 'scored'/],
    ['both', { mode: 'scored', score, generate }, /`generate` has no effect in mode 'scored'/],
    ['a way to read', { mode: 'scored', score, answerMode: 'exact' }, /`answerMode` has no effect in mode 'scored'/],
  ])('are refused: %s', (_, options, message) => {
    expect(() => evaluatorOf(options)).toThrow(ConfigError);
    expect(() => evaluatorOf(options)).toThrow(message);
  });
});

describe('intervals of an evaluation', () => {
  const evaluator = evaluatorOf({ mode: 'scored', score });

  it('are made as asked, or not at all', async () => {
    const plain = await evaluator.evaluate(dataset, { toExample });
    expect(plain.intervals).toMatchObject({ method: 'bca', resamples: 2000, seed: 0 });
    const given = { method: 'percentile', seed: 3, resamples: 500 } as const;
    expect((await evaluator.evaluate(dataset, { toExample, intervals: given })).intervals).toMatchObject(given);
    expect((await evaluator.evaluate(dataset, { toExample, intervals: false })).intervals).toBeUndefined();
  });

  it('are refused before any answer where the options are wrong', async () => {
    let asked = 0;
    const counting = evaluatorOf({ generate: async (examples) => examples.map(() => `${asked++}`) });
    const intervals = { resample: 10 } as never;
    await expect(counting.evaluate(dataset, { toExample, intervals })).rejects.toThrow(
      /evaluate: `intervals`: unknown option `resample`; did you mean `resamples`/,
    );
    expect(asked).toBe(0);
  });
});

describe('computeMetrics of an evaluator', () => {
  it('names what a trainer compares, and hands over the report', async () => {
    const reports: unknown[] = [];
    const computeMetrics = evaluatorOf({ mode: 'scored', score }).asMetrics(dataset, {
      toExample,
      onReport: (report) => void reports.push(report),
    });
    const metrics = await computeMetrics({ signal: undefined });
    expect(Object.keys(metrics)).toEqual([
      ...['accuracy', 'balancedAccuracy', 'macroPrecision', 'macroRecall', 'macroF1', 'weightedF1'],
      ...['matthewsCorrcoef', 'validShare', 'logLoss', 'brierScoreLoss'],
    ]);
    expect([metrics.accuracy, metrics.validShare]).toEqual([0.6, 1]);
    expect(reports).toMatchObject([{ accuracy: 0.6, samples: { length: 5 } }]);
    const free = evaluatorOf({ generate: async (examples) => examples.map(() => 'what?') }).asMetrics(dataset, {
      toExample,
    });
    expect(await free()).toMatchObject({ accuracy: 0, validShare: 0 });
  });

  it('refuses at once what would fail at the first evaluation of a run', () => {
    const evaluator = evaluatorOf({ mode: 'scored', score });
    expect(() => evaluator.asMetrics(dataset, {} as never)).toThrow(/asMetrics: `toExample` is missing/);
    expect(() => evaluator.asMetrics(items as never, { toExample })).toThrow(/asMetrics: `dataset`/);
    expect(() => evaluator.asMetrics(dataset, { toExample, limit: 0 })).toThrow(
      /asMetrics: `limit`: .* at least 1, got 0/,
    );
    expect(() => evaluator.asMetrics(dataset.select([]), { toExample })).toThrow(/the data set is empty/);
    expect(() => evaluator.asMetrics(dataset, { toExample, signal: undefined } as never)).toThrow(
      /unknown option `signal`/,
    );
  });

  it('stops with the signal of the run', async () => {
    const evaluator = evaluatorOf({ mode: 'scored', score: () => new Promise<never>(() => undefined) });
    const controller = new AbortController();
    const run = evaluator.asMetrics(dataset, { toExample })({ signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(run).rejects.toThrow('enough');
  });
});
