/** Charts of hundreds and thousands of classes: bounded in size, and still with names. */
import { describe, expect, it } from 'vitest';
import { barChart } from '../../src/chart/bar-chart.js';
import { text } from '../../src/chart/font.js';
import { matrixChart } from '../../src/chart/matrix-chart.js';
import { confusionChart } from '../../src/eval/confusion-chart.js';
import type { EvaluationReport } from '../../src/eval/evaluation-report.js';
import { precisionRecallFscoreSupport } from '../../src/eval/metrics.js';

function reportOf(classes: number, unparsed = 0): EvaluationReport {
  const classNames = Array.from({ length: classes }, (_, i) => `c${i}`);
  // Every class is right nine times; every seventh is taken for its neighbour, the last seven of them most often.
  const counts = classNames.map((_, r) =>
    classNames.map((_, c) =>
      r === c ? 9 : r % 7 === 0 && c === (r + 1) % classes ? 1 + Math.floor((8 * r) / classes) : 0,
    ),
  );
  const confusion = { counts, unparsed: classNames.map(() => unparsed) };
  return {
    classNames,
    confusion,
    perClass: precisionRecallFscoreSupport(confusion),
    accuracy: 0.8,
    accuracyInterval: { low: 0.7, high: 0.9 },
    macroF1: 0.8,
    count: 10,
    datasetLength: 10,
    correct: 8,
  } as unknown as EvaluationReport;
}

/** The strokes of a text, wherever it stands. */
const strokesOf = (content: string) => /\bd="[^"]*"/.exec(text(0, 0, content))![0];

const size = (svg: string) => /width="(\d+)" height="(\d+)"/.exec(svg)!.slice(1).map(Number) as [number, number];

describe('confusionChart', () => {
  it.each([151, 400, 1000])('of %i classes shows those with the most wrong answers, and says so', (classes) => {
    const svg = confusionChart(reportOf(classes, 1));
    expect(svg.length).toBeLessThan(1_500_000);
    expect(Math.max(...size(svg))).toBeLessThan(2500);
    // The most confused are the last of the sevenths, and what they are taken for.
    const last = 7 * Math.floor((classes - 2) / 7);
    for (const name of [`c${last}`, `c${last + 1}`, '(other classes)', '(no class)']) {
      expect(svg).toContain(strokesOf(name));
    }
    expect(svg).not.toContain(strokesOf('c3'));
    expect(svg).toContain(
      strokesOf(
        'Accuracy 80.0 % (95 % interval 70.0 % to 90.0 %), macro F1 0.800; ' +
          `the 40 of ${classes.toLocaleString('en')} classes with the most wrong answers`,
      ),
    );
  });

  it('of many classes counts what is not drawn as answers of other classes', () => {
    const report = reportOf(400);
    const counts = report.confusion.counts.map((row, r) =>
      row.map((value, c) => (r === c ? value : r === 300 && c === 390 ? 5 : r < 38 && c === 398 - r ? 1 : 0)),
    );
    const svg = confusionChart({ ...report, confusion: { ...report.confusion, counts } });
    // Class 300 is drawn for its five, 390 for being taken for; 38 of the others by their order.
    for (const name of ['c300', 'c390', 'c0', '(other classes)']) expect(svg).toContain(strokesOf(name));
    for (const name of ['c398', '(no class)']) expect(svg).not.toContain(strokesOf(name));
  });

  it.each([49, 150])('of %i classes has shades and no numbers', (classes) => {
    const svg = confusionChart(reportOf(classes));
    expect(svg.match(/<path/g)!.length).toBeLessThan(3 * classes);
    expect(Math.max(...size(svg))).toBeLessThan(2200);
  });
});

describe('matrixChart', () => {
  it('takes hundreds of rows with a value in every cell', () => {
    const labels = Array.from({ length: 300 }, (_, i) => `a long name of class ${i}`);
    const row = labels.map((_, i) => i % 9);
    const svg = matrixChart({ title: '', rowLabels: labels, columnLabels: labels, values: labels.map(() => row) });
    expect(Math.max(...size(svg))).toBeLessThan(3000);
    expect(svg.length).toBeLessThan(4_000_000);
  });

  it('shades the cells of a large matrix by their share of the row', () => {
    const labels = Array.from({ length: 60 }, (_, i) => `${i}`);
    const values = labels.map((_, r) => labels.map((_, c) => (r === c ? 3 : c === 0 ? 1 : 0)));
    const svg = matrixChart({ title: '', rowLabels: labels, columnLabels: labels, values });
    const cells = (colour: string) => new RegExp(`fill="${colour}" d="([^"]*)"`).exec(svg)?.[1]?.match(/M/g)?.length;
    // The whole of its row in the first, three of four and one of four in the others.
    expect([cells('#005490'), cells('#397aa9'), cells('#acc7db')]).toEqual([1, 59, 59]);
  });

  it('names the value that does not fit', () => {
    const labels = ['a', 'b'];
    const chart = (values: number[][]) => matrixChart({ title: '', rowLabels: labels, columnLabels: labels, values });
    expect(() =>
      chart([
        [1, 2],
        [3, -4],
      ]),
    ).toThrow(/at least 0, got -4/);
    expect(() => chart([[1, 2]])).toThrow(/values \[2\]\[2\] after the labels, got 1 rows of \[2\]/);
  });
});

describe('barChart', () => {
  const bars = (count: number, more = {}) =>
    barChart({
      title: 'Counts',
      labels: Array.from({ length: count }, (_, i) => `class ${i}`),
      series: [{ name: 'train', values: Array.from({ length: count }, (_, i) => i) }],
      ...more,
    });

  it.each([201, 1000, 200_000])('of %i labels draws the largest and the smallest', (count) => {
    const svg = bars(count);
    const [, height] = size(svg);
    expect(height).toBeLessThan(4000);
    // One bar each, but for the one of 0.
    expect(svg.match(/<(path|rect) fill="#0072b2"|fill="#0072b2"/g)).toHaveLength(119);
    // What is drawn twice as large still fits the renderer.
    expect(2 * height).toBeLessThan(32_767);
  });

  it('of 200 labels draws all of them, and in a size that renders', () => {
    const svg = bars(200);
    expect(svg.match(/fill="#0072b2"/g)).toHaveLength(199);
    expect(size(svg)[1]).toBeLessThan(6000);
  });
});
