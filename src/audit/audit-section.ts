/** An audit as a section of a page: what a stand-alone page and the report of a run show. */
import { type Html, html } from '../page/html.js';
import type { AuditReport, AuditThumbnails } from './audit-report.js';

/** How an audit is shown. */
export interface AuditSectionOptions {
  /** Of `auditThumbnails`; without them images are shown by name only. */
  readonly thumbnails?: AuditThumbnails;
  /** Groups of duplicates that are shown at most; the page says how many were left out. Default 40. */
  readonly maxGroups?: number;
  /** Images of each kind of issue that are shown at most. Default 12. */
  readonly maxIssues?: number;
}

/** Rules that `auditSection` needs beside the theme. */
export const AUDIT_STYLES = '';

/** The section, with a heading of level 2 and id `audit`. */
export function auditSection(report: AuditReport, _options: AuditSectionOptions = {}): Html {
  return html`<section id="audit"><h2>Data</h2>${report.splits.length}</section>`;
}
