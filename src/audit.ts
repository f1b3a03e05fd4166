/** `ministral-tune/audit`: what may spoil a training or flatter its test, found in the data before either costs anything. */

// The audit.
export { auditDataset } from './audit/audit-dataset.js';
export type { AuditInput, AuditOptions, AuditProgress, NamedSplits } from './audit/audit-options.js';
export type {
  AuditedImage,
  AuditedSample,
  AuditedSplit,
  AuditReport,
  AuditSettings,
  Distribution,
  DuplicateGroup,
  DuplicatePair,
  ImageIssue,
  ImageIssueKind,
  ImageTransform,
  SampleGroup,
  SamplePair,
  SplitLeak,
} from './audit/audit-report.js';

// Data sets without copies.
export { deduplicate } from './audit/deduplicate.js';
export type { Deduplicated, DeduplicateOptions, RemovedSample, SelectedSplits } from './audit/deduplicate.js';
export { leakFreeSplit } from './audit/leak-free-split.js';
export type { LeakedSample, LeakFreeOptions, LeakFreeSplit } from './audit/leak-free-split.js';
export type { SelectedDataset } from './audit/checked-report.js';

// Text and pages.
export { type FormatAuditOptions, formatAudit } from './audit/format-audit.js';
export { type AuditThumbnailOptions, auditThumbnails } from './audit/audit-thumbnails.js';
export { type AuditPageOptions, renderAuditPage } from './audit/audit-page.js';
export { AUDIT_STYLES, type AuditSectionOptions, auditSection } from './audit/audit-section.js';
export { type AuditThumbnails, imageKey } from './audit/audit-report.js';
export type { Html } from './page/html.js';
