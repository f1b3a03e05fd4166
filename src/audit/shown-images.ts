/** Which images of a report a page shows: the same for those who make thumbnails and those who place them. */
import type { AuditedImage, AuditReport, DuplicateGroup, ImageIssue } from './audit-report.js';
import { ISSUE_KINDS } from './image-issues.js';

/** How many are shown. */
interface ShownLimits {
  readonly maxGroups: number;
  /** Of each kind. */
  readonly maxIssues: number;
}

/** Images of a group that are shown at most. */
const MAX_SHOWN_MEMBERS = 6;

/** The first of each split, then of each label, then others, in their order: what the group is reported for is among them. */
export function shownMembers({ images }: DuplicateGroup): readonly AuditedImage[] {
  const firstOf = (key: (image: AuditedImage) => string): AuditedImage[] => [
    ...new Map([...images].reverse().map((image) => [key(image), image])).values(),
  ];
  const chosen = new Set([
    ...firstOf(({ split }) => split).reverse(),
    ...firstOf(({ label }) => JSON.stringify(label)).reverse(),
    ...images,
  ]);
  const shown = new Set([...chosen].slice(0, MAX_SHOWN_MEMBERS));
  return images.filter((image) => shown.has(image));
}

/** Issues by kind, all of them: the first are shown. Kinds without issues are left out. */
export function issuesByKind(report: AuditReport): (readonly ImageIssue[])[] {
  const byKind = ISSUE_KINDS.map((kind) => report.issues.filter((issue) => issue.kind === kind));
  return byKind.filter((issues) => issues.length > 0);
}

export function shownImages(report: AuditReport, { maxGroups, maxIssues }: ShownLimits): AuditedImage[] {
  const members = report.duplicates.slice(0, maxGroups).flatMap(shownMembers);
  const issues = issuesByKind(report).flatMap((found) => found.slice(0, maxIssues).map(({ image }) => image));
  return [...members, ...issues];
}
