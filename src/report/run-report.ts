/** The report of a run as one HTML page: what came out first, then the mistakes, then how it came about. */

import { AUDIT_STYLES, auditSection } from '../audit/audit-section.js';
import { checkNames } from '../config.js';
import { requireMaskView } from '../data/mask-view.js';
import { requireReport } from '../eval/check-report.js';
import { distinctNames, oneLine, printable } from '../messages/one-line.js';
import { html } from '../page/html.js';
import { CHART_SCRIPTS, CHART_STYLES } from '../page/line-chart.js';
import { MASK_STYLES, maskSection } from '../page/mask-section.js';
import { MATRIX_PROGRAM, MATRIX_STYLES } from '../page/matrix-table.js';
import { renderPage } from '../page/page.js';
import { calibrationSection } from './calibration-section.js';
import { requireSameClasses } from './check-evaluation.js';
import { CLASS_STYLES, classSection, SORT_PROGRAM } from './class-section.js';
import { confusionSection } from './confusion-section.js';
import { pairSamples } from './paired-samples.js';
import { provenanceSection } from './provenance-section.js';
import type { RunReportParts } from './report-parts.js';
import {
  answersSection,
  correctedSection,
  mistakesSection,
  SAMPLE_PROGRAM,
  SAMPLE_STYLES,
  type SampleView,
} from './samples-section.js';
import type { ReportSection } from './section.js';
import { summarySection } from './summary-section.js';
import { trainingSection } from './training-section.js';

const PARTS = {
  title: false,
  description: false,
  before: false,
  after: false,
  others: false,
  images: false,
  training: false,
  audit: false,
  masks: false,
  provenance: false,
} as const;

/**
 * The report of a run as the text of one HTML file that needs nothing else: no request leaves the machine, and the
 * browser would refuse one. Parts that are missing are left out.
 * @throws ConfigError for an unknown part, or what is no evaluation report; DataError if `before` and `after` do not have
 *   the same classes
 * @example
 * ```ts
 * const html = renderRunReport({ title: 'Fractures', before, after });
 * ```
 */
export function renderRunReport(parts: RunReportParts): string {
  checkNames(parts, PARTS, 'renderRunReport');
  checkReports(parts);
  if (parts.masks !== undefined) requireMaskView(parts.masks, 'renderRunReport: `masks`');
  const { title = 'Training run', description, provenance } = parts;
  const sections = sectionsOf(parts);
  const date = provenance?.date?.slice(0, 16).replace('T', ' ');
  const body = html`<header><h1>${oneLine(title)}</h1>${description !== undefined && html`<p>${printable(description)}</p>`}${
    date !== undefined && html`<p class="quiet">${`${date} UTC`}</p>`
  }</header>
<nav aria-label="Sections" class="on-screen"><ul>${sections.map(({ id, title: name }) => html`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
${sections.length === 0 && html`<p>There is nothing to report.</p>`}
${sections.map((section) => section.body)}`;
  return renderPage({
    title: oneLine(title),
    body,
    styles: [...CHART_STYLES, MATRIX_STYLES, SAMPLE_STYLES, CLASS_STYLES, AUDIT_STYLES, MASK_STYLES, REPORT_STYLES],
    scripts: [...(parts.training ? CHART_SCRIPTS : []), MATRIX_PROGRAM, SAMPLE_PROGRAM, SORT_PROGRAM],
  });
}

function sectionsOf(parts: RunReportParts): ReportSection[] {
  const { before, after, training, audit, masks, provenance } = parts;
  const report = after ?? before;
  const names = report ? distinctNames(report.classNames) : [];
  const view: SampleView | undefined = report && {
    pairs: pairSamples(report, after && before),
    names,
    images: parts.images ?? new Map(),
    isPair: after !== undefined && before !== undefined,
  };
  const audited = audit && ('report' in audit ? audit : { report: audit });
  return [
    summarySection(parts),
    view && mistakesSection(view),
    view && correctedSection(view),
    report && confusionSection(before, after, names),
    report && classSection(before, after, names),
    calibrationSection(before, after),
    training && trainingSection(training),
    audited && { id: 'audit', title: 'Data', body: auditSection(audited.report, { thumbnails: audited.thumbnails }) },
    masks && { id: 'masks', title: 'What is learned', body: html`<div id="masks">${maskSection(masks)}</div>` },
    provenanceSection(provenance, training?.config),
    view && answersSection(view),
  ].filter((section): section is ReportSection => section !== undefined);
}

function checkReports({ before, after, others }: RunReportParts): void {
  const what = 'renderRunReport';
  const pairs = [{ name: '', before, after }, ...(others ?? [])];
  for (const [i, pair] of pairs.entries()) {
    const place = i === 0 ? '' : `others[${i - 1}].`;
    for (const name of ['before', 'after'] as const) {
      const report = pair[name];
      if (report !== undefined) requireReport(report, `${what}: \`${place}${name}\``);
    }
    requireSameClasses(pair.before, pair.after, what);
  }
}

const REPORT_STYLES = `
header h1 { margin: 0.5rem 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin: 0; padding: 0.5rem 0; list-style: none; }
nav a { display: inline-block; padding: 0.25rem 0; }
section { margin-top: 2.5rem; }
section h2 { border-bottom: 1px solid var(--line); padding-bottom: 0.25rem; }
summary { cursor: pointer; padding: 0.25rem 0; }
.figures .card h3 { margin: 0; font-size: 1rem; }
.figures .card p { margin: 0; }
.figures .figure { font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures { grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); }
.reliability { min-width: 0; }
.reliability figcaption { font-weight: 600; }
.settings th { font-weight: normal; color: var(--quiet); vertical-align: top; }
.settings td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
@media print { #provenance details::details-content { content-visibility: visible; block-size: auto; }
  section { margin-top: 1rem; } h2, h3 { break-after: avoid; } tr { break-inside: avoid; } }
`;
