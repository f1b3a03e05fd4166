/** A report beside the data sets that it should be about: other data would lose other samples than those that were looked at. */
import { IndexedDataset } from '../data/dataset.js';
import type { Dataset } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isKind, isObject } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import type { AuditedSample, AuditReport } from './audit-report.js';
import { pathOf } from './sample-images.js';

/** What `select` of a data set gives: one with classes stays one; others become an `IndexedDataset`. */
export type SelectedDataset<D> = D extends { select(indices: Iterable<number>): infer S }
  ? S
  : D extends Dataset<infer T>
    ? IndexedDataset<T>
    : never;

const LISTS = ['splits', 'classNames', 'duplicates', 'duplicateSamples', 'leaks', 'issues', 'notes'] as const;

/** @throws ConfigError for something else */
export function requireAuditReport(report: unknown, what: string): asserts report is AuditReport {
  const isReport = isObject(report) && LISTS.every((name) => Array.isArray(report[name]));
  if (isReport && report.version === 1) return;
  const came = isReport ? `version ${showValue(report.version)} of one` : describeGiven(report);
  throw new ConfigError(`${what}: expected the report of an audit, got ${came}`, {
    hint: 'await auditDataset(data) gives one; from a file it is JSON.parse of its text.',
  });
}

/** @throws DataError if the report has no such split, or one of another length */
export function requireSplit(report: AuditReport, name: string, dataset: Dataset<unknown>, what: string): void {
  const split = report.splits.find((one) => one.name === name);
  if (split?.samples === dataset.length) return;
  const known = report.splits.map((one) => `${oneLine(one.name)} (${one.samples} samples)`).join(', ');
  throw new DataError(
    `${what}: the report is about other data: ${oneLine(name)} has ${dataset.length} samples, the report ${known}`,
    { hint: 'Audit the data sets that you give here, under the same names.', details: { split: name } },
  );
}

/** @throws ConfigError for a name that is no split of the report */
export function requireSplitNames(names: readonly string[], report: AuditReport, what: string): void {
  const known = report.splits.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new ConfigError(
    `${what}: the report has no split ${showValue(unknown)}; splits: ${known.map(oneLine).join(', ')}`,
  );
}

/** Makes the samples anew, and compares their names. @throws DataError if one is another sample than the report's */
export async function requireSamples(
  dataset: Dataset<unknown>,
  samples: readonly AuditedSample[],
  what: string,
): Promise<void> {
  for (const { split, index, name } of samples) {
    const now = nameOf(await dataset.get(index).catch(() => undefined));
    if (now === undefined || now === name || now.endsWith(name)) continue;
    throw new DataError(
      `${what}: the report is about other data: sample ${index} of ${oneLine(split)} is ${oneLine(now)}, was ${oneLine(name)}`,
      { hint: 'Audit the data sets as they are now.', details: { split, index } },
    );
  }
}

/** Path of the image of a sample with a class; of others the name may be made up. */
function nameOf(sample: unknown): string | undefined {
  if (typeof sample === 'string') return sample;
  return isObject(sample) && 'image' in sample ? pathOf(sample.image) : undefined;
}

/** The samples at these positions, in a data set of the same kind where it can select. */
export function selected<D extends Dataset<unknown>>(dataset: D, indices: readonly number[]): SelectedDataset<D> {
  if (isKind(dataset, 'dataset') && typeof (dataset as { select?: unknown }).select === 'function') {
    return (dataset as unknown as IndexedDataset<unknown>).select(indices) as SelectedDataset<D>;
  }
  return new IndexedDataset(indices.length, (i) => dataset.get(indices[i]!)) as SelectedDataset<D>;
}
