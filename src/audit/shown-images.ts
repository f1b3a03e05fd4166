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

export const shownMembers = ({ images }: DuplicateGroup): readonly AuditedImage[] => images.slice(0, MAX_SHOWN_MEMBERS);

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
