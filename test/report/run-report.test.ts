import { describe, expect, it } from 'vitest';
import { ConfigError, DataError } from '../../src/errors.js';
import type { EvaluationReport } from '../../src/eval/evaluation-report.js';
import type { RunReportParts } from '../../src/report/report-parts.js';
import { renderRunReport } from '../../src/report/run-report.js';
import { HOSTILE_NAMES, MARKUP_NAMES, UNSAFE } from '../markup.js';
import { CHINESE, FRACTURES, runParts } from './run-parts.js';

const ids = (page: string): string[] => [...page.matchAll(/<section id="(\w+)">/g)].map(([, id]) => id!);
const text = (page: string): string =>
  page
    .replace(/<(script|style)\b.*?<\/\1>/gs, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
const parts = runParts({ classNames: FRACTURES, samples: 140 });

describe('the report of a run', () => {
  it('says what came out first, then the mistakes', () => {
    const page = renderRunReport(parts);
    expect(ids(page)).toEqual([
      ...['summary', 'mistakes', 'corrected', 'confusion', 'classes', 'training', 'provenance', 'answers'],
    ]);
    const { before, after } = parts;
    const change = (100 * (after!.accuracy - before!.accuracy)).toFixed(1);
    expect(text(page)).toContain(`+${change} percentage points`);
    expect(text(page)).toMatch(/95 % interval \d+\.\d % to \d+\.\d %/);
    const wrong = after!.samples.filter(({ expected, predicted }) => expected !== predicted).length;
    expect(text(page)).toContain(`${wrong} of 140 answers are wrong`);
  });

  it('leaves out what is missing', () => {
    const { before, after, training, provenance } = parts;
    expect(ids(renderRunReport({}))).toEqual([]);
    expect(text(renderRunReport({}))).toContain('There is nothing to report.');
    expect(ids(renderRunReport({ training }))).toEqual(['summary', 'training', 'provenance']);
    expect(ids(renderRunReport({ provenance }))).toEqual(['provenance']);
    expect(ids(renderRunReport({ after }))).toEqual(['summary', 'mistakes', 'confusion', 'classes', 'answers']);
    expect(ids(renderRunReport({ before }))).toEqual(['summary', 'mistakes', 'confusion', 'classes', 'answers']);
    expect(renderRunReport({ after })).not.toContain('uPlot');
    for (const one of [{}, { training }, { after }, parts]) {
      expect(text(renderRunReport(one))).not.toMatch(/undefined|NaN|null|\[object|Infinity/);
    }
    const links = [...renderRunReport(parts).matchAll(/<a href="#(\w+)">/g)].map(([, id]) => id);
    expect(links).toEqual(ids(renderRunReport(parts)));
  });

  it('shows the most confident mistakes first, with their images and both answers', () => {
    const scored = runParts({ classNames: FRACTURES, samples: 60, isScored: true });
    const wrong = scored.after!.samples.filter(({ expected, predicted }) => expected !== predicted);
    const first = [...wrong].sort((a, b) => b.confidence! - a.confidence!)[0]!;
    const images = new Map([[first.id, { uri: 'data:image/webp;base64,AAAA', width: 9, height: 9 }]]);
    const page = renderRunReport({ ...scored, images });
    const card = /<article.*?<\/article>/s.exec(page)![0];
    expect(card).toContain('src="data:image/webp;base64,AAAA"');
    expect(card).toContain(FRACTURES[first.expected]);
    expect(card).toContain(FRACTURES[first.predicted!]);
    expect(card).toContain(`${(100 * first.confidence!).toFixed(0)}\u00a0%`);
    expect(card).toMatch(/<dt>Before<\/dt>.*<dt>After<\/dt>/s);
  });

  it.each([
    ['markup', MARKUP_NAMES],
    ['controls and hidden characters', HOSTILE_NAMES],
  ])('shows texts of others as text: %s', (_, names) => {
    const hostile = runParts({
      classNames: names,
      samples: 3 * names.length,
      id: (i) => `${names[i % names.length]}/${i}`,
    });
    const answers = (report: EvaluationReport): EvaluationReport => ({
      ...report,
      samples: report.samples.map((one, i) => ({ ...one, answer: names[(i * 7) % names.length]! })),
    });
    const page = renderRunReport({
      ...{ title: names[0], description: names[1], before: answers(hostile.before!), after: answers(hostile.after!) },
      others: [{ name: names[2]!, after: hostile.after }],
      training: {
        ...hostile.training!,
        warnings: names.map((message) => ({ step: 1, message })),
        config: Object.fromEntries(names.map((name) => [name, name])),
      },
      provenance: { baseModel: names[3], engine: names[4], command: names[5], adapter: { [names[1]!]: names[0] } },
    });
    const shown = page.replace(/<(script|style)\b.*?<\/\1>/gs, '').replaceAll('\t', ' ');
    // Of a match alone: the whole page would be the message.
    const hidden = names === HOSTILE_NAMES ? UNSAFE : /\u202e/;
    const found = [/<(?:img(?! src="data:)|b>|script|!--|a@b)/, hidden, /(?:src|href)="(?!#|data:image)/].map(
      (pattern) => pattern.exec(shown)?.[0],
    );
    expect(found).toEqual([undefined, undefined, undefined]);
    expect(page.match(/<\/script>/g)!.length).toBe(page.match(/<script\b/g)!.length);
  });

  it('keeps names apart in a matrix, whatever they have in common', () => {
    const heads = (names: readonly string[]): string[] => {
      const page = renderRunReport(runParts({ classNames: names, samples: 60 }));
      const matrix = /<figure class="matrix">.*?<\/figure>/s.exec(page)![0];
      return [...matrix.matchAll(/<th scope="row"[^>]*>(.*?)<\/th>/g)].map(([, name]) => name!);
    };
    const numbered = Array.from({ length: 20 }, (_, i) => `Species number ${i} of a long list of names`);
    expect(heads(numbered)).toEqual(numbered.map((_, i) => `…${i}…`));
    const inside = Array.from({ length: 20 }, (_, i) => `Speciesnumber${i}ofalonglistofnamesthatgoeson`);
    expect(heads(inside)).toEqual(inside);
    expect(heads(FRACTURES)).toContain('Compression…ush fracture');
  });

  it('counts the steps behind the last log', () => {
    const { logs, ...course } = parts.training!;
    const steps = logs.map(({ step, loss, gradNorm, learningRate }) => ({ step, loss, gradNorm, learningRate }));
    const training = { ...course, logs: logs.slice(0, -3), steps };
    expect(text(renderRunReport({ training }))).toMatch(/Steps 120 1\.00 epochs/);
  });

  it('bounds what many classes and samples take', () => {
    const classNames = Array.from({ length: 200 }, (_, i) => `种类 ${i} ${CHINESE[i % 10]}`);
    const page = renderRunReport(runParts({ classNames, samples: 1000, steps: 20_000, isScored: true }));
    expect(page.length).toBeLessThan(2_500_000);
    expect(text(page)).toContain('The 40 of 200 classes with the most wrong answers after training');
    expect(text(page)).toContain('Each point is the mean of 14 values.');
    expect(page.match(/<table class="sortable">.*?<\/table>/s)![0].match(/<tr>/g)).toHaveLength(201);
  });

  it('says that samples of one id have another true class before than after', () => {
    const { before, after } = runParts({ classNames: FRACTURES, samples: 20 });
    const turned = before!.samples.map((one, i) => (i < 2 ? { ...one, expected: (one.expected + 1) % 10 } : one));
    const html = renderRunReport({ before: { ...before!, samples: turned }, after });
    expect(html).toContain('2 samples of the same id, but with another true class, are left out');
    expect(renderRunReport({ before, after })).not.toContain('another true class');
  });

  it('refuses what is no part, no evaluation, or of other classes', () => {
    expect(() => renderRunReport({ beforee: 1 } as RunReportParts)).toThrow(/unknown option `beforee`.*`before`/);
    expect(() => renderRunReport({ after: {} as EvaluationReport })).toThrow(ConfigError);
    const other = runParts({ classNames: CHINESE, samples: 20 });
    expect(() => renderRunReport({ before: other.before, after: parts.after })).toThrow(DataError);
    const { samples } = parts.after!;
    const out = { ...parts.after!, samples: [{ ...samples[0]!, predicted: 10 }] };
    expect(() => renderRunReport({ after: out })).toThrow(/one of 10 classes for sample .*, got class 10 at 0/);
    const short = { ...parts.after!, perClass: [] };
    expect(() => renderRunReport({ after: short })).toThrow(/`perClass` is not of the 10/);
  });
});
