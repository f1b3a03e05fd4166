/** Reports that are handed over: made by an evaluator, or read from a file that one wrote. */
import { z } from 'zod';
import { parseOptions } from '../config.js';
import { ConfigError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { requireKind } from '../require-given.js';

const count = z.int().nonnegative();
const share = z.number();

const sampleSchema = z.looseObject({
  id: z.string(),
  expected: count,
  predicted: count.nullable(),
  answer: z.string(),
});

/** What is read of a report; those of other versions may have more or less. */
const reportSchema = z.looseObject({
  classNames: z.array(z.string()),
  answerMode: z.enum(['exact', 'normalized']).optional(),
  count,
  datasetLength: count,
  correct: count,
  accuracy: share,
  accuracyInterval: z.looseObject({ low: share, high: share }),
  macroF1: share,
  macroF1Occurring: share.optional(),
  perClass: z.array(z.looseObject({ name: z.string(), precision: share, recall: share, f1: share, support: count })),
  confusion: z.looseObject({ counts: z.array(z.array(count)), unparsed: z.array(count) }),
  samples: z.array(sampleSchema),
  seconds: share,
});

const matrixSchema = reportSchema.pick({ classNames: true, confusion: true });

/** @throws ConfigError for what is no report, naming the field that is not what it should be */
export function requireReport(report: unknown, what: string): void {
  requireKind('report', report, what);
  parseOptions(reportSchema, report, what);
}

export function requireMatrix(report: unknown, what: string): void {
  if (!isObject(report) || !('confusion' in report)) requireKind('report', report, what);
  const { classNames, confusion } = parseOptions(matrixSchema, report, what);
  const { length } = classNames;
  const sizes = [confusion.unparsed, confusion.counts, ...confusion.counts].map((row) => row.length);
  if (sizes.every((size) => size === length)) return;
  throw new ConfigError(`${what}: \`confusion\` is not of the ${length} \`classNames\` of the report`);
}

/** @throws ConfigError unless these are answered samples, as `stream` yields them */
export function requireSamples(samples: unknown, what: string): void {
  const hint = 'collect `samples` of what stream yields';
  parseOptions(
    z.array(sampleSchema, {
      error: () => `expected a list of answered samples, got ${describeGiven(samples)}; ${hint}`,
    }),
    samples,
    what,
  );
}
