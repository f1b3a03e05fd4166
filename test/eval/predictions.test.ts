import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTable } from '../../src/data/csv.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { buildReport } from '../../src/eval/build-report.js';
import type { EvaluatedSample, EvaluationReport } from '../../src/eval/evaluation-report.js';
import { predictionsCsv, predictionsJsonl, readPredictions, writePredictions } from '../../src/eval/predictions.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'predictions-'));
});
afterAll(() => rm(folder, { recursive: true }));

const NAMES = ['cat', '=dog', '鳥 "b", c'];
const reportOf = (samples: EvaluatedSample[], classNames = NAMES): EvaluationReport =>
  buildReport(samples, { classNames, mode: 'free', answerMode: 'exact', datasetLength: samples.length, seconds: 1 });

const samples: EvaluatedSample[] = [
  { id: 'a.png', expected: 0, predicted: 0, answer: 'cat' },
  { id: '-1', expected: 1, predicted: null, answer: '=HYPERLINK("http://x","y")' },
  { id: "'b", expected: 2, predicted: 1, answer: 'two\r\nlines, and\ta "quote"' },
  { id: '', expected: 1, predicted: 1, answer: '', scores: [-1.5, -0.25, -1e-7], confidence: 0.1 + 0.2 },
];

describe('predictions as CSV', () => {
  it('have stable columns, quotes as in RFC 4180, and no formulas', () => {
    expect(predictionsCsv(reportOf(samples))).toBe(
      [
        'id,expected,predicted,correct,confidence,answer,scores',
        '"a.png","cat","cat",true,,"cat",',
        `"'-1","'=dog",,false,,"'=HYPERLINK(""http://x"",""y"")",`,
        `"''b","鳥 ""b"", c","'=dog",false,,"two\r\nlines, and\ta ""quote""",`,
        `"","'=dog","'=dog",true,0.30000000000000004,"","[-1.5,-0.25,-1e-7]"`,
        '',
      ].join('\r\n'),
    );
  });

  it.each(['=1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', ' =1', '\n=1', '＝1', "'=1"])(
    'never begin a text with %j',
    (answer) => {
      const line = predictionsCsv(reportOf([{ id: 'x', expected: 0, predicted: 0, answer }]));
      expect(line).toContain(`"'${answer}"`);
    },
  );

  it('are a table for the reader of data sets as well', async () => {
    const path = join(folder, 'table.csv');
    await writePredictions(reportOf(samples), path);
    const { columns, rows } = await readTable(path);
    expect(columns).toEqual(['id', 'expected', 'predicted', 'correct', 'confidence', 'answer', 'scores']);
    expect(rows.map((row) => row.expected)).toEqual(['cat', "'=dog", '鳥 "b", c', "'=dog"]);
  });
});

describe('predictions as JSON Lines', () => {
  it('have every key in every line', () => {
    const lines = predictionsJsonl(reportOf(samples)).split('\n');
    expect(lines).toHaveLength(5);
    expect(lines[1]).toBe(
      '{"id":"-1","expected":"=dog","predicted":null,"correct":false,"confidence":null,"answer":"=HYPERLINK(\\"http://x\\",\\"y\\")","scores":null}',
    );
    expect(JSON.parse(lines[3]!)).toMatchObject({ confidence: 0.1 + 0.2, scores: [-1.5, -0.25, -1e-7] });
  });
});

describe('predictions that are read back', () => {
  it.each(['csv', 'jsonl', 'ndjson', 'CSV'])('are what was written: %s', async (ending) => {
    const path = join(folder, `predictions.${ending}`);
    await writePredictions(reportOf(samples), path);
    expect(await readPredictions(path, NAMES)).toEqual(samples);
  });

  it('are what was written, whatever the texts', async () => {
    const texts = fc.string({
      unit: fc.constantFrom('a', '"', ',', '\r', '\n', "'", '=', '-', ' ', '鳥', '🙂', '\t', '\0'),
    });
    const scored = fc.record({
      scores: fc.tuple(
        fc.float({ noNaN: true, noDefaultInfinity: true }),
        fc.double({ max: 0, noNaN: true, noDefaultInfinity: true }),
      ),
      confidence: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const sample = fc
      .tuple(texts, texts, fc.nat(1), fc.option(fc.nat(1)), fc.option(scored))
      .map(([id, answer, expected, predicted, more]) => ({ id, expected, predicted, answer, ...more }));
    let number = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(sample, { maxLength: 5 }), fc.constantFrom('csv', 'jsonl'), async (list, ending) => {
        // JSON has no -0.
        const plain = JSON.parse(JSON.stringify(list)) as EvaluatedSample[];
        const path = join(folder, `any-${number++ % 4}.${ending}`);
        await writePredictions(reportOf(plain, ["'a", 'b\n']), path);
        expect(await readPredictions(path, ["'a", 'b\n'])).toEqual(plain);
      }),
      { numRuns: 40 },
    );
  });

  const HEADER = 'id,expected,predicted,correct,confidence,answer,scores\n';
  it.each<[string, string, string, RegExp]>([
    ['another table', 'x.csv', 'id,label\na,b\n', /line 1: the columns expected, predicted, correct, .* are missing/],
    ['an empty file', 'x.csv', '', /line 1: the columns id, /],
    ['a short row', 'x.csv', `${HEADER}"a","cat"\n`, /line 2: expected 7 fields, got 2/],
    ['an open quote', 'x.csv', `${HEADER}"a\n\n`, /line 2: a quote is not closed/],
    [
      'text behind a quote',
      'x.csv',
      `${HEADER}"a"b,"cat",,false,,"",\n`,
      /line 2: there is text behind a closed quote/,
    ],
    [
      'an unknown class',
      'x.csv',
      `${HEADER}"a\nb","cat","cat",true,,"",\n"a","cow",,false,,"",\n`,
      /line 4: `expected`: "cow" is not in `classNames`/,
    ],
    [
      'a confidence that is none',
      'x.csv',
      `${HEADER}"a","cat","cat",true,1.5,"",\n`,
      /line 2: `confidence`: expected a number from 0 to 1, got 1\.5/,
    ],
    [
      'scores of other classes',
      'x.csv',
      `${HEADER}"a","cat","cat",true,0.5,"","[1,2]"\n`,
      /`scores`: expected a list of 3 numbers, got/,
    ],
    ['no JSON', 'x.jsonl', '{"id":\n', /line 1: expected JSON/],
    ['no object', 'x.jsonl', '\n[1]\n', /line 2: expected an object/],
    ['a missing key', 'x.jsonl', '{"id":"a"}\n', /line 1: `confidence`: expected a number from 0 to 1, got/],
  ])('are refused with their line: %s', async (_, name, text, message) => {
    const path = join(folder, name);
    await writeFile(path, text);
    await expect(readPredictions(path, NAMES)).rejects.toThrow(DataError);
    await expect(readPredictions(path, NAMES)).rejects.toThrow(message);
  });

  it('are refused where the file is none', async () => {
    await expect(readPredictions(join(folder, 'none.csv'), NAMES)).rejects.toThrow(/none\.csv: .*no such file/);
    await expect(readPredictions(join(folder, 'x.txt'), NAMES)).rejects.toThrow(ConfigError);
    await expect(writePredictions(reportOf(samples), join(folder, 'x'))).rejects.toThrow(/\.csv, \.jsonl or \.ndjson/);
    await expect(readPredictions(join(folder, 'x.csv'), undefined as never)).rejects.toThrow(
      /readPredictions: `classNames`/,
    );
    await writeFile(join(folder, 'latin1.csv'), Buffer.from([0xe9, 0x0a]));
    await expect(readPredictions(join(folder, 'latin1.csv'), NAMES)).rejects.toThrow(DataError);
  });

  it('are complete files or none', async () => {
    const path = join(folder, 'whole.jsonl');
    await writePredictions(reportOf(samples), path);
    expect(await readFile(path, 'utf8')).toBe(predictionsJsonl(reportOf(samples)));
  });
});
