/** Evaluation reports that are shown together. */
import { DataError } from '../errors.js';
import type { EvaluationReport } from '../eval/evaluation-report.js';
import { oneLine } from '../messages/one-line.js';

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
