/** The audit of a data set: what may spoil a training or flatter its test, before either costs anything. */
import type { Dataset } from '../data/types.js';
import { cutText } from '../messages/cut-text.js';
import { oneLine, warningLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import { type AuditInput, type AuditOptions, parseAuditOptions, splitsOf } from './audit-options.js';
import type { AuditedImage, AuditedSplit, AuditReport } from './audit-report.js';
import { type CollectedData, type CollectedSample, collectImages } from './collect-images.js';
import { groupedBy } from './copy-groups.js';
import { exactClasses, findCopies } from './find-copies.js';
import { distribution, findIssues } from './image-issues.js';
import type { MeasuredImage } from './measure-image.js';
import { findNearDuplicates } from './near-duplicates.js';

/** Longer labels are answers, and are cut where they are shown. */
const MAX_LABEL = 80;
/** Answers are classes if there are at most so many, each of so many samples on average. */
const MAX_CLASSES = 1000;
const SAMPLES_PER_CLASS = 4;

/**
 * Looks at every image of a data set once: copies within and across splits, with their labels; images that are damaged,
 * blank, dark, bright, blurred, tiny or unlike the others; sizes, and classes by split. Whatever is wrong with an image
 * goes into the report and ends nothing.
 *
 * Decoding runs on libuv's threads. Memory: some 10 KB an image. Near copies may be re-encoded, resized, stretched,
 * darker, mirrored, turned by quarters, or without a tenth of their width and height; some of those that lost more are
 * found, too. Blank images have no near copies.
 * @param data an `ImageFolder`, one data set, or splits by name: `{ train, test }`
 * @throws ConfigError for wrong options; DataError for samples in which no image is known; the signal's reason
 * @example
 * ```ts
 * const data = await ImageFolder.load('xrays', { onBadImage: 'skip' });
 * const report = await auditDataset(data);
 * console.log(formatAudit(report));
 * ```
 */
export async function auditDataset<T>(data: AuditInput<T>, options: AuditOptions<T> = {}): Promise<AuditReport> {
  const start = performance.now();
  const { settings, rest } = parseAuditOptions(options);
  const splits = splitsOf(data, 'auditDataset');
  const { signal, onProgress } = rest;
  const collected = await collectImages(splits as [string, Dataset<unknown>][], {
    images: rest.images,
    label: rest.label,
    onProgress: (done, total) => onProgress?.({ phase: 'images', done, total }),
    signal,
  });
  const splitNames = splits.map(([name]) => name);
  const shown = shownImages(collected, splitNames);
  const classes = exactClasses(collected);
  // Classes are numbered in the order of their first images.
  const first: MeasuredImage[] = [];
  for (const [i, one] of classes.entries()) first[one] ??= collected.images[i]!.measured;
  const isCompared = (low: number, high: number): boolean => high - low >= settings.blankRange;
  const { pairs, isCut, family } = settings.nearDuplicates
    ? await findNearDuplicates({
        views: first.map(({ content }) => (content && isCompared(content.low, content.high) ? content : undefined)),
        minCorrelation: settings.minCorrelation,
        transforms: settings.transforms,
        onProgress: (done, total) => onProgress?.({ phase: 'pairs', done, total }),
        signal,
      })
    : { pairs: [], isCut: false, family: 0 };
  const copies = findCopies(collected, classes, pairs, shown, splitNames);
  const classNames = classNamesOf(splits, collected);
  const measured = collected.images.map((image) => image.measured);
  const auditedSplits = splits.map(([name, { length }], s): AuditedSplit => {
    const samples = collected.samples.filter(({ split }) => split === s);
    const byLabel = groupedBy(samples, ({ label }) => label);
    return {
      name,
      samples: length,
      images: samples.reduce((sum, { images }) => sum + images.length, 0),
      classCounts: classNames.map((one) => byLabel.get(one)?.length ?? 0),
    };
  });
  return {
    version: 1,
    splits: auditedSplits,
    classNames,
    sizes: sizesOf(measured.filter(({ width }) => width > 0)),
    modes: counted(measured.flatMap(({ mode }) => mode ?? [])),
    formats: counted(measured.flatMap(({ format, fault }) => format ?? (fault === undefined ? 'pixels' : []))),
    ...copies,
    issues: findIssues(shown, measured, settings),
    notes: notesOf(auditedSplits, classNames, isCut, family),
    settings,
    seconds: (performance.now() - start) / 1000,
  };
}

function shownImages({ samples, images }: CollectedData, splitNames: readonly string[]): AuditedImage[] {
  const labels = groupedBy(samples, ({ split }) => split);
  return images.map(({ split, index, position, name, measured: { width, height } }) => {
    const label = labels.get(split)![index]!.label ?? null;
    return {
      split: splitNames[split]!,
      index,
      position,
      name,
      label: label === null ? null : cutText(label, MAX_LABEL),
      width,
      height,
    };
  });
}

/** Names that the data sets have, in their order; else the answers, where there are few of them. */
function classNamesOf(
  splits: readonly (readonly [name: string, dataset: unknown])[],
  { samples }: CollectedData,
): readonly string[] {
  const known = splits.map(([, dataset]) => (dataset as { classLabel?: { names?: unknown } }).classLabel?.names);
  const labels = new Set(samples.flatMap(({ label }: CollectedSample) => label ?? []));
  const named = known.find((names): names is string[] => Array.isArray(names));
  if (named && [...labels].every((label) => named.includes(label))) return named;
  const isFew = labels.size <= MAX_CLASSES && labels.size * SAMPLES_PER_CLASS <= samples.length;
  const isShort = [...labels].every((label) => label.length <= MAX_LABEL);
  return isFew && isShort ? [...labels].sort() : [];
}

function sizesOf(measured: readonly MeasuredImage[]): AuditReport['sizes'] {
  if (measured.length === 0) return null;
  return {
    width: distribution(measured.map(({ width }) => width)),
    height: distribution(measured.map(({ height }) => height)),
    aspectRatio: distribution(measured.map(({ width, height }) => Math.max(width, height) / Math.min(width, height))),
  };
}

function counted(names: readonly string[]): { name: string; images: number }[] {
  return [...groupedBy(names, (name) => name)]
    .map(([name, all]) => ({ name, images: all.length }))
    .sort((a, b) => b.images - a.images);
}

/** Largest class by smallest, above which a note says so. */
const UNBALANCED = 10;

function notesOf(
  splits: readonly AuditedSplit[],
  classNames: readonly string[],
  isCut: boolean,
  family: number,
): string[] {
  const notes: string[] = [];
  for (const { name, classCounts, samples } of splits) {
    const missing = classNames.filter((_, i) => classCounts[i] === 0);
    if (missing.length > 0 && samples > 0) {
      notes.push(`${name} has no sample of ${shortList(missing, 5, oneLine)}`);
    }
    const present = classCounts.filter((count) => count > 0);
    const [most, least] = [Math.max(...present), Math.min(...present)];
    if (present.length > 1 && most > UNBALANCED * least) {
      notes.push(`the largest class of ${name} has ${(most / least).toFixed(0)} times the samples of the smallest`);
    }
  }
  if (isCut) {
    notes.push('there are more images alike than are compared: near copies that are cropped may be missing');
  }
  if (family > 0) {
    notes.push(
      `${family} images resemble many others in their details, as drawings of one template do: only near copies that ` +
        'correlate by 0.95 count among them',
    );
  }
  return notes.map(warningLine);
}
