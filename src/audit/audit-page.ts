/** An audit as a page of its own. */
import { html } from '../page/html.js';
import { renderPage } from '../page/page.js';
import type { AuditReport } from './audit-report.js';
import { AUDIT_STYLES, type AuditSectionOptions, auditSection } from './audit-section.js';

/** How the page of an audit is made. */
export interface AuditPageOptions extends AuditSectionOptions {
  /** Heading of the page. Default: `Data audit`. */
  readonly title?: string | undefined;
}

/**
 * One HTML file with the images in it: nothing is loaded from elsewhere.
 * @throws ConfigError for wrong options
 * @example
 * ```ts
 * const report = await auditDataset(data);
 * const thumbnails = await auditThumbnails(data, report);
 * const html = renderAuditPage(report, { thumbnails });
 * ```
 */
export function renderAuditPage(
  report: AuditReport,
  { title = 'Data audit', ...options }: AuditPageOptions = {},
): string {
  const section = auditSection(report, options);
  return renderPage({ title, body: html`<h1>${title}</h1>${section}`, styles: [AUDIT_STYLES] });
}
