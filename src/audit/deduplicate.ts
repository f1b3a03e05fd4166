/** Data sets without copies, by the report of an audit: within each split, and a test split that training has not seen. */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import type { Dataset } from '../data/types.js';
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import { type AuditInput, splitsOf } from './audit-options.js';
import type { AuditReport } from './audit-report.js';
import {
  requireAuditReport,
  requireSamples,
  requireSplit,
  requireSplitNames,
  type SelectedDataset,
  selected,
} from './checked-report.js';
import { groupedBy } from './copy-groups.js';
import { type Component, CopyRelation, type RemovedSample } from './copy-relation.js';

export type { RemovedSample };

/** How copies are removed. */
export interface DeduplicateOptions {
  /** `near`: near copies go as well as exact ones; `exact`: only those. Default: `near`. */
  readonly kind?: 'near' | 'exact' | undefined;
  /**
   * What happens to copies with different labels, of which at most one label can be right: `remove` all of them,
   * `keep` all of them, or keep the `first` as of other copies. Default: none; must be said where there are such
   * copies.
   */
  readonly conflicts?: 'remove' | 'keep' | 'first' | undefined;
  /** Names of the splits from which samples are removed. Default: all. */
  readonly splits?: readonly string[] | undefined;
}

/** What `deduplicate` gives. */
export interface Deduplicated<D> {
  /** By the names of the report's splits. */
  readonly splits: D;
  /** In the order of splits and samples. */
  readonly removed: readonly RemovedSample[];
}

/** Data sets by the names of their splits, each without some samples. */
export type SelectedSplits<I> =
  I extends Dataset<unknown>
    ? { readonly train: SelectedDataset<I> }
    : I extends { readonly splits: ReadonlyMap<string, infer D> }
      ? Readonly<Record<string, SelectedDataset<D>>>
      : { readonly [N in keyof I]: SelectedDataset<I[N]> };

const deduplicateSchema = z.strictObject({
  kind: z.enum(['near', 'exact']).default('near'),
  conflicts: z.enum(['remove', 'keep', 'first']).optional(),
  splits: z.array(z.string()).readonly().optional(),
});
type _Input = NoMismatch<Mismatch<Given<z.input<typeof deduplicateSchema>>, Given<DeduplicateOptions>>>;

/**
 * Removes copies within each split. Samples are gone through in their order, and one is removed if it is a direct copy of
 * one that stays: so of copies the first stays, the same in every run, and what is removed has its copy among what
 * stays. In conversations a copy has the same images in the same order, and the same question. Copies across splits stay:
 * see `leakFreeSplit`.
 * @param data what was audited
 * @throws DataError if the report is about other data, and for conflicting labels when `conflicts` is not given,
 *   or if nothing is left of a split; ConfigError for wrong options
 * @example
 * ```ts
 * const report = await auditDataset(data);
 * const { splits, removed } = await deduplicate(data, report, { conflicts: 'remove', splits: ['train'] });
 * ```
 */
export async function deduplicate<I extends AuditInput>(
  data: I,
  report: AuditReport,
  options: DeduplicateOptions = {},
): Promise<Deduplicated<SelectedSplits<I>>> {
  requireAuditReport(report, 'deduplicate');
  const { kind, conflicts, splits: chosen } = parseOptions(deduplicateSchema, options, 'deduplicate');
  const splits = splitsOf(data, 'deduplicate');
  for (const [name, dataset] of splits) requireSplit(report, name, dataset, 'deduplicate');
  requireSplitNames(chosen ?? [], report, 'deduplicate: `splits`');
  const names = splits.map(([name]) => name).filter((name) => !chosen || chosen.includes(name));
  const groups = report.duplicateSamples.map((group) => new CopyRelation(group, kind));
  const removed: RemovedSample[] = [];
  for (const name of names) {
    for (const component of groups.flatMap((group) => group.components(name))) {
      if (!component.isConflict || conflicts === 'first') removed.push(...component.copies());
      else if (conflicts === 'remove') removed.push(...component.conflicting());
      else if (conflicts === undefined) throw conflictError(report, component);
    }
  }
  const result: [string, unknown][] = [];
  const bySplit = groupedBy(removed, ({ split }) => split);
  for (const [name, dataset] of splits) {
    const own = bySplit.get(name) ?? [];
    await requireSamples(dataset, own, 'deduplicate');
    const gone = new Set(own.map(({ index }) => index));
    const kept = Array.from({ length: dataset.length }, (_, index) => index).filter((index) => !gone.has(index));
    if (kept.length === 0 && own.length > 0) {
      throw new DataError(
        `deduplicate: nothing is left of ${oneLine(name)}: all of its samples are copies in conflict`,
        {
          hint: "Look at `report.duplicates`, or keep the first of each group: `conflicts: 'first'`.",
          details: { split: name, samples: own.length },
        },
      );
    }
    result.push([name, selected(dataset, kept)]);
  }
  const order = names.flatMap((name) => bySplit.get(name)?.sort((a, b) => a.index - b.index) ?? []);
  return { splits: Object.fromEntries(result) as SelectedSplits<I>, removed: order };
}

function conflictError(report: AuditReport, { members }: Component): DataError {
  const shown = shortList(members, 4, ({ name, label }) => `${oneLine(name)} (${oneLine(label ?? 'no label')})`);
  const count = report.duplicateSamples.filter(({ isConflict }) => isConflict).length;
  return new DataError(`deduplicate: copies have different labels: ${shown}; such groups in all: ${count}`, {
    hint: "Say what becomes of them: `conflicts: 'remove'` all, 'keep' all, or keep the 'first' of each group.",
    details: { samples: members.map(({ name }) => name) },
  });
}
