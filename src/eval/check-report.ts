/** Reports that are handed over: made by an evaluator, or read from a file that one wrote. */
import { z } from 'zod';
import { lazySchema, parseOptions } from '../config.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { requireKind } from '../require-given.js';
import type { EvaluatedSample } from './evaluation-report.js';
import type { ConfusionMatrix } from './metrics.js';

const count = lazySchema(() => z.int().nonnegative());
const share = lazySchema(() => z.number());
const interval = lazySchema(() => z.looseObject({ low: share(), high: share() }));

const sampleSchema = lazySchema(() =>
  z.looseObject({
    id: z.string(),
    expected: count(),
    predicted: count().nullable(),
    answer: z.string(),
    scores: z.array(share()).optional(),
    confidence: share().min(0).max(1).optional(),
  }),
);

/** What is read of a report; those of other versions may have more or less. */
const reportSchema = lazySchema(() =>
  z.looseObject({
    classNames: z.array(z.string()),
    mode: z.enum(['free', 'constrained', 'scored']).optional(),
    answerMode: z.enum(['exact', 'normalized']).optional(),
    count: count(),
    datasetLength: count(),
    correct: count(),
    accuracy: share(),
    accuracyInterval: interval(),
    macroF1: share(),
    macroF1Occurring: share().optional(),
    perClass: z.array(
      z.looseObject({ name: z.string(), precision: share(), recall: share(), f1: share(), support: count() }),
    ),
    confusion: z.looseObject({ counts: z.array(z.array(count())), unparsed: z.array(count()) }),
    probabilities: z
      .looseObject({
        topKAccuracy: z.array(share()),
        logLoss: share(),
        brierScoreLoss: share(),
        expectedCalibrationError: share(),
        riskCoverageArea: share(),
      })
      .optional(),
    intervals: z
      .looseObject({
        confidenceLevel: share(),
        accuracy: interval(),
        balancedAccuracy: interval(),
        macroF1: interval(),
        weightedF1: interval(),
      })
      .optional(),
    samples: z.array(sampleSchema()),
    seconds: share(),
  }),
);

const matrixSchema = lazySchema(() => reportSchema().pick({ classNames: true, confusion: true }));

/**
 * @throws ConfigError for what is no report, naming the field that is not what it should be; DataError for samples of other
 *   classes
 */
export function requireReport(report: unknown, what: string): void {
  requireKind('report', report, what);
  const { classNames, confusion, perClass, samples } = parseOptions(reportSchema, report, what);
  requireSizes(classNames, confusion, what);
  if (perClass.length !== classNames.length) {
    throw new ConfigError(`${what}: \`perClass\` is not of the ${classNames.length} \`classNames\` of the report`);
  }
  requireClasses(samples as readonly EvaluatedSample[], classNames.length, what);
}

export function requireMatrix(report: unknown, what: string): void {
  if (!isObject(report) || !('confusion' in report)) requireKind('report', report, what);
  const { classNames, confusion } = parseOptions(matrixSchema, report, what);
  requireSizes(classNames, confusion, what);
}

function requireSizes({ length }: readonly string[], confusion: ConfusionMatrix, what: string): void {
  const sizes = [confusion.unparsed, confusion.counts, ...confusion.counts].map((row) => row.length);
  if (sizes.every((size) => size === length)) return;
  throw new ConfigError(`${what}: \`confusion\` is not of the ${length} \`classNames\` of the report`);
}

/** @throws ConfigError unless these are answered samples, as `stream` yields them */
export function requireSamples(samples: unknown, what: string): void {
  const hint = 'collect `samples` of what stream yields';
  parseOptions(
    z.array(sampleSchema(), {
      error: () => `expected a list of answered samples, got ${describeGiven(samples)}; ${hint}`,
    }),
    samples,
    what,
  );
}

/** @throws DataError for classes that are none, or scores of other classes */
export function requireClasses(samples: readonly EvaluatedSample[], classCount: number, what: string): void {
  for (const [i, { id, expected, predicted, scores }] of samples.entries()) {
    const label = [expected, predicted].find((one) => one !== null && one >= classCount);
    if (label === undefined && (scores === undefined || scores.length === classCount)) continue;
    const came = label === undefined ? `${scores!.length} scores` : `class ${label}`;
    throw new DataError(
      `${what}: expected one of ${classCount} classes for sample ${oneLine(id)}, got ${came} at ${i}`,
      {
        hint: 'The samples must be of the same classes in the same order as `classNames`.',
      },
    );
  }
}
