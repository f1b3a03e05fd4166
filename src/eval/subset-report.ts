/** Figures of a part of the samples, such as a test split without near copies of training images, without asking again. */
import { DataError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { buildReport } from './build-report.js';
import { requireReport } from './check-report.js';
import type { EvaluatedSample, EvaluationReport } from './evaluation-report.js';

/** A part of the samples: their ids, or their indices in the data set if all of it was evaluated. */
export type SampleSelection = Iterable<string> | Iterable<number>;

/**
 * The report of some of the samples, in their order; an id that several samples share selects all of them. Without
 * `intervals`: those are `bootstrapIntervals(report.confusion)`.
 * @throws DataError if nothing is selected, or what does not occur; for indices where only a part was evaluated
 */
export function subsetReport(report: EvaluationReport, selection: SampleSelection): EvaluationReport {
  requireReport(report, 'subsetReport');
  const { samples, classNames, mode = 'free', answerMode, seconds } = report;
  const chosen = samplesOf(report, selection);
  return buildReport(
    samples.filter((one) => chosen.has(one)),
    { classNames, mode, answerMode, datasetLength: chosen.size, seconds: (seconds * chosen.size) / samples.length },
  );
}

function samplesOf(report: EvaluationReport, selection: SampleSelection): Set<EvaluatedSample> {
  const { samples } = report;
  if (
    typeof selection === 'string' ||
    typeof (selection as Partial<Iterable<unknown>>)?.[Symbol.iterator] !== 'function'
  ) {
    throw new DataError(`subsetReport: expected a list of ids or indices, got ${describeGiven(selection)}`, {
      hint: 'Ids are those of the examples, as in `report.samples`.',
    });
  }
  const keys: unknown[] = [...selection];
  if (keys.length === 0) throw new DataError('subsetReport: no sample is selected');
  const isByIndex = keys.every((key) => typeof key === 'number');
  if (isByIndex && report.count !== report.datasetLength) {
    throw new DataError(
      `subsetReport: indices are those of the data set, of which ${report.count} of ${report.datasetLength} samples were evaluated`,
      { hint: 'Select by the ids of samples.' },
    );
  }
  const byId = new Map<string, EvaluatedSample[]>();
  for (const one of samples) {
    const same = byId.get(one.id);
    if (same) same.push(one);
    else byId.set(one.id, [one]);
  }
  const chosen = new Set<EvaluatedSample>();
  const unknown: string[] = [];
  for (const key of keys) {
    const at = isByIndex ? samples[key as number] : undefined;
    const found = at ? [at] : byId.get(key as string);
    if (found) for (const one of found) chosen.add(one);
    else unknown.push(typeof key === 'string' ? oneLine(key) : describeGiven(key));
  }
  if (unknown.length > 0) {
    const more = unknown.length > 5 ? `, … ${unknown.length} in all` : '';
    throw new DataError(`subsetReport: these samples are not in the report: ${unknown.slice(0, 5).join(', ')}${more}`, {
      hint: isByIndex
        ? `Indices go from 0 to ${samples.length - 1}.`
        : 'Ids are those of the examples, as in `report.samples`.',
      details: { unknown },
    });
  }
  return chosen;
}
