/** What errors cost, by a matrix of the user: to overlook a fracture may be worse than to suspect one. */
import { ConfigError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { requireMatrix } from './check-report.js';
import type { EvaluationReport } from './evaluation-report.js';
import { sum } from './metrics.js';

/** Costs of the answers of one evaluation, in the unit of the matrix. */
export interface ErrorCost {
  /** Sum over all samples. */
  readonly total: number;
  /** `total` over the samples; 0 for no samples. */
  readonly mean: number;
  /** [K] Sum over the samples of each true class. */
  readonly perClass: readonly number[];
  /** Part of `total` that answers cost which are no class. */
  readonly invalid: number;
}

/**
 * @param costs [K][K] cost of an answer: row = true class, column = answered class, in the order of `classNames`. The
 *   diagonal is what right answers cost, usually 0; negative costs are gains
 * @param invalidCost cost of an answer that is no class: one for all, or one for each true class [K]. Must be given if there
 *   are such answers
 * @throws ConfigError for costs of another shape, or no `invalidCost` where it is needed
 */
export function errorCost(
  report: Pick<EvaluationReport, 'classNames' | 'confusion'>,
  costs: readonly (readonly number[])[],
  invalidCost?: number | readonly number[],
): ErrorCost {
  requireMatrix(report, 'errorCost: `report`');
  const { counts, unparsed } = report.confusion;
  const size = counts.length;
  if (!Array.isArray(costs) || costs.length !== size) {
    throw new ConfigError(`errorCost: \`costs\`: expected ${size} rows, one a class, got ${describeGiven(costs)}`, {
      hint: 'Write a row for each true class, with the cost of each answer in it.',
    });
  }
  const rows = costs.map((row, i) => requireCosts(row, size, `\`costs[${i}]\``));
  const invalid = sum(unparsed);
  if (invalidCost === undefined && invalid > 0) {
    throw new ConfigError(`errorCost: ${invalid} answers are no class, and \`invalidCost\` is missing`, {
      hint: 'Give the cost of such an answer: errorCost(report, costs, 1).',
    });
  }
  const each = typeof invalidCost === 'object' ? invalidCost : new Array<number>(size).fill(invalidCost ?? 0);
  const ofInvalid = requireCosts(each, size, '`invalidCost`').map((cost, i) =>
    unparsed[i] === 0 ? 0 : cost * unparsed[i]!,
  );
  const perClass = rows.map((row, r) => sum(row.map((cost, c) => cost * counts[r]![c]!)) + ofInvalid[r]!);
  const samples = sum(counts.map(sum)) + invalid;
  const total = sum(perClass);
  return { total, mean: samples === 0 ? 0 : total / samples, perClass, invalid: sum(ofInvalid) };
}

function requireCosts(values: unknown, size: number, what: string): readonly number[] {
  if (Array.isArray(values) && values.length === size && Array.from(values).every(Number.isFinite)) return values;
  throw new ConfigError(
    `errorCost: ${what}: expected ${size} finite numbers, one a class, got ${describeGiven(values)}`,
  );
}
