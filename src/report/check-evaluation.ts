/** Evaluation reports that may come from a file: whole, and of one size throughout. */
import { ConfigError, DataError } from '../errors.js';
import { requireMatrix, requireReport } from '../eval/check-report.js';
import type { EvaluationReport } from '../eval/evaluation-report.js';
import { oneLine } from '../messages/one-line.js';

/** @throws ConfigError for what is no report, or one whose parts do not fit each other */
export function checkEvaluation(report: EvaluationReport, what: string): void {
  requireReport(report, what);
  requireMatrix(report, what);
  const { classNames, perClass, samples } = report;
  const hint = 'Give the report as an evaluator made it.';
  if (perClass.length !== classNames.length) {
    throw new ConfigError(`${what}: \`perClass\` is not of the ${classNames.length} \`classNames\` of the report`, {
      hint,
    });
  }
  for (const [i, { expected, predicted }] of samples.entries()) {
    if (expected < classNames.length && (predicted ?? 0) < classNames.length) continue;
    throw new ConfigError(
      `${what}: \`samples.${i}\` is of class ${Math.max(expected, predicted ?? 0)}; the report has ${classNames.length} classes`,
      { hint },
    );
  }
}

/** @throws DataError unless both, where they are there, have the same classes in the same order */
export function requireSameClasses(
  before: EvaluationReport | undefined,
  after: EvaluationReport | undefined,
  what: string,
): void {
  if (!before || !after || JSON.stringify(before.classNames) === JSON.stringify(after.classNames)) return;
  const list = ({ classNames }: EvaluationReport): string =>
    `${classNames.slice(0, 20).map(oneLine).join(', ')}${classNames.length > 20 ? `, … ${classNames.length} in all` : ''}`;
  throw new DataError(`${what}: expected evaluations of the same classes, got [${list(before)}] and [${list(after)}]`, {
    hint: 'Evaluate both models with the same `classNames`, in the same order.',
  });
}
