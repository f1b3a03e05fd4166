/** Sentences that the text and the page of an audit have in common. */
import type { AuditReport, DuplicateGroup, ImageIssueKind } from './audit-report.js';

/** Headings of issues, with what is meant. */
export const ISSUE_TITLES: Readonly<Record<ImageIssueKind, string>> = {
  damaged: 'Damaged: the image does not decode, or not all of it',
  blank: 'Blank: next to no contrast',
  dark: 'Dark',
  bright: 'Bright',
  blurred: 'Blurred',
  tiny: 'Tiny',
  'odd-aspect': 'Odd aspect ratio',
  'odd-size': 'Odd size, beside the others',
  'odd-mode': 'Odd mode: channels or colours that few images have',
};

export const grouped = (count: number): string => count.toLocaleString('en');

/** `1 sample`, `1,129 samples` */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

export function share(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)} %`;
}

/** `39 of 140 samples of test (27.9 %) have a copy in train` */
export function leakLines(report: AuditReport, clean: (name: string) => string): string[] {
  return report.leaks.map(({ split, other, samples }) => {
    const all = report.splits.find(({ name }) => name === split)!.samples;
    const verb = samples.length === 1 ? 'has' : 'have';
    const part = `${grouped(samples.length)} of ${counted(all, 'sample')} of ${clean(split)} (${share(samples.length, all)})`;
    return `${part} ${verb} a copy in ${clean(other)}`;
  });
}

/** What the groups are, in one line: `182 groups of copies, 424 images: …`. */
export function copiesLine({ duplicates }: AuditReport): string {
  if (duplicates.length === 0) return 'No copies among the images';
  const count = (test: (group: DuplicateGroup) => boolean): string => grouped(duplicates.filter(test).length);
  const images = duplicates.reduce((sum, group) => sum + group.images.length, 0);
  return (
    `${counted(duplicates.length, 'group')} of copies, of ${grouped(images)} images: ` +
    `${count(({ isExact }) => isExact)} exact; ${count(({ splits }) => splits.length > 1)} across splits; ` +
    `${count(({ isConflict }) => isConflict)} with different labels`
  );
}

/** Samples that are copies, where that is not said by the groups of images: in conversations. */
export function sampleLines({ duplicates, duplicateSamples }: AuditReport): string[] {
  const conflicts = duplicateSamples.filter(({ isConflict }) => isConflict).length;
  const said = duplicates.filter(({ isConflict }) => isConflict).length;
  if (duplicateSamples.length === duplicates.length && conflicts === said) return [];
  const groups = counted(duplicateSamples.length, 'group');
  return [
    `${groups} of samples with the same images and the same question: ${grouped(conflicts)} with different answers`,
  ];
}

/** `different labels; across train and test; near copies, correlation 0.97, mirrored` */
export function groupLine(group: DuplicateGroup, clean: (name: string) => string): string {
  const parts: string[] = [];
  if (group.isConflict) parts.push('different labels');
  if (group.splits.length > 1) parts.push(`across ${group.splits.map(clean).join(' and ')}`);
  if (group.isExact) return [...parts, 'exact copies'].join('; ');
  const near = group.pairs.filter(({ kind }) => kind === 'near');
  const least = near.reduce((low, { correlation }) => Math.min(low, correlation), 1);
  const transforms = new Set(near.map(({ transform }) => transform).filter((one) => one !== 'none'));
  const isCropped = near.some(({ overlap }) => overlap < CROPPED);
  const changes = [...transforms, ...(isCropped ? ['cropped'] : [])];
  parts.push([`near copies, correlation ${least.toFixed(3)}`, ...changes].join(', '));
  return parts.join('; ');
}

/** Overlap below which a copy is called cropped: narrower margins are noise of the alignment. */
const CROPPED = 0.95;

/** `Width 58 to 640 pixels (median 443), height …` */
export function sizesLine({ sizes }: AuditReport): string {
  if (!sizes) return 'No image has a readable header';
  const { width, height, aspectRatio } = sizes;
  return (
    `Width ${width.min} to ${width.max} pixels (median ${Math.round(width.median)}), ` +
    `height ${height.min} to ${height.max} (median ${Math.round(height.median)}), ` +
    `aspect ratio ${aspectRatio.min.toFixed(1)} to ${aspectRatio.max.toFixed(1)}`
  );
}
