/** An audit as a section of a page: what a stand-alone page and the report of a run show. */
import { z } from 'zod';
import { type Given, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { distinctNames, tableCell } from '../messages/one-line.js';
import { type Html, html } from '../page/html.js';
import {
  type AuditedImage,
  type AuditReport,
  type AuditThumbnails,
  type DuplicateGroup,
  type ImageIssue,
  imageKey,
} from './audit-report.js';
import { requireAuditReport } from './checked-report.js';
import {
  copiesLine,
  counted,
  grouped,
  groupLine,
  ISSUE_TITLES,
  leakLines,
  sampleLines,
  share,
  sizesLine,
} from './describe-audit.js';
import { issuesByKind, shownMembers } from './shown-images.js';

/** How an audit is shown. */
export interface AuditSectionOptions {
  /** Of `auditThumbnails`; without them images are shown by name only. Default: none. */
  readonly thumbnails?: AuditThumbnails | undefined;
  /** Groups of copies that are shown at most; the page says how many were left out. Default: 40. */
  readonly maxGroups?: number | undefined;
  /** Images of each kind of issue that are shown at most. Default: 12. */
  readonly maxIssues?: number | undefined;
}

const sectionSchema = lazySchema(() =>
  z.strictObject({
    thumbnails: z
      .custom<AuditThumbnails>(
        (value) => typeof value === 'object' && value !== null,
        'expected what auditThumbnails gives',
      )
      .default({}),
    maxGroups: z.int().nonnegative().default(40),
    maxIssues: z.int().nonnegative().default(12),
  }),
);
type _Input = NoMismatch<Mismatch<Given<z.input<ReturnType<typeof sectionSchema>>>, Given<AuditSectionOptions>>>;

/** Groups that are open at first: a page with all of them hides what comes after. */
const FIRST_GROUPS = 6;

/** Rules that `auditSection` needs beside the theme. */
export const AUDIT_STYLES = `
.audit-classes { width: 100%; max-width: 60rem; }
.audit-classes .bar { display: block; height: 0.7em; min-width: 1px; margin: 0.15rem 0; print-color-adjust: exact; }
.audit-classes .bars { width: 40%; min-width: 5rem; }
.audit-classes th[scope="row"] { min-width: 7rem; }
.audit-classes .number { white-space: nowrap; }
.audit-classes .swatch { display: inline-block; width: 0.7em; height: 0.7em; }
.audit-tall { max-height: 34rem; overflow: auto; }
.audit-groups { display: flex; flex-wrap: wrap; gap: 1rem; margin: 0.75rem 0; }
.audit-group { max-width: 100%; }
.audit-group h4 { width: 0; min-width: 100%; margin: 0 0 0.5rem; font-size: 1rem; }
.audit-images { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 0; padding: 0; list-style: none; }
.audit-images li { flex: 0 1 10rem; min-width: 8rem; }
.audit-images li:not(:has(img)) { flex: 1 1 18rem; }
.audit-images img { display: block; width: 100%; height: 10rem; object-fit: contain; margin: 0 0 0.25rem; background: #000; border-radius: 0.25rem; }
.audit-images figcaption { font-size: 0.875rem; overflow-wrap: anywhere; }
.audit-images strong { display: block; }
@media print { .audit-tall { max-height: none; } }
`;

/** The section, with a heading of level 2 and id `audit`. @throws ConfigError for wrong options */
export function auditSection(report: AuditReport, options: AuditSectionOptions = {}): Html {
  requireAuditReport(report, 'auditSection');
  const { thumbnails, maxGroups, maxIssues } = parseOptions(sectionSchema, options, 'auditSection');
  const samples = report.splits.reduce((sum, split) => sum + split.samples, 0);
  const perSplit = report.splits.map((split) => `${tableCell(split.name)} ${grouped(split.samples)}`).join(', ');
  const leaks = leakLines(report, tableCell);
  return html`<section id="audit">
<h2>Data</h2>
<p>${counted(samples, 'sample')}: ${perSplit}. ${sizesLine(report)}.</p>
${report.notes.map((note) => html`<p class="warn">${tableCell(note)}.</p>`)}
${leaks.map((line) => html`<p class="warn"><strong>${line}.</strong></p>`)}
${classTable(report)}
<h3>Copies</h3>
<p>${copiesLine(report)}.</p>
${sampleLines(report).map((line) => html`<p>${line}.</p>`)}
${groupCards(report.duplicates.slice(0, maxGroups), thumbnails)}
${leftOut(report.duplicates.length - maxGroups, 'more group')}
${issuesByKind(report).map((issues) => issueList(issues, maxIssues, thumbnails))}
${report.issues.length === 0 && html`<p>No image is damaged, blank, dark, blurred, tiny or odd.</p>`}
</section>`;
}

function leftOut(count: number, what: string): Html | false {
  return count > 0 && html`<p class="quiet">${counted(count, what)} not shown.</p>`;
}

function classTable({ classNames, splits }: AuditReport): Html | false {
  if (classNames.length === 0) return false;
  const largest = Math.max(...splits.flatMap(({ classCounts, samples }) => classCounts.map((n) => n / samples || 0)));
  const scale = 100 / (largest || 1);
  const rows = distinctNames(classNames).map((name, i) => {
    const cells = splits.map(({ classCounts, samples }) => {
      const count = classCounts[i]!;
      const part = samples > 0 ? share(count, samples) : '';
      return html`<td class="number${count === 0 && ' bad'}">${grouped(count)}</td><td class="number quiet">${part}</td>`;
    });
    const bars = splits.map(({ classCounts, samples }, s) => {
      const width = samples > 0 ? ((scale * classCounts[i]!) / samples).toFixed(1) : '0';
      return html`<span class="bar" style="width: ${width}%; background: ${colorOf(s)}"></span>`;
    });
    return html`<tr><th scope="row">${name}</th>${cells}<td class="bars" aria-hidden="true">${bars}</td></tr>`;
  });
  const heads = splits.map(({ name }, s) => {
    const swatch = html`<span class="swatch" style="background: ${colorOf(s)}" aria-hidden="true"></span>`;
    return html`<th scope="col" class="number" colspan="2">${tableCell(name)} ${swatch}</th>`;
  });
  return html`<h3>Classes</h3>
<div class="scroll${classNames.length > 30 && ' audit-tall'}" tabindex="0" role="region" aria-label="Samples of each class"><table class="audit-classes">
<thead><tr><th scope="col">Class</th>${heads}<th scope="col">Share of the split</th></tr></thead>
<tbody>${rows}</tbody>
</table></div>`;
}

const colorOf = (split: number): string => `var(--series-${(split % 5) + 1})`;

function groupCards(groups: readonly DuplicateGroup[], thumbnails: AuditThumbnails): Html {
  const cards = groups.map((group) => groupCard(group, thumbnails));
  const rest = cards.slice(FIRST_GROUPS);
  return html`<div class="audit-groups">${cards.slice(0, FIRST_GROUPS)}</div>${
    rest.length > 0 &&
    html`<details><summary>${counted(rest.length, 'more group')}</summary><div class="audit-groups">${rest}</div></details>`
  }`;
}

function groupCard(group: DuplicateGroup, thumbnails: AuditThumbnails): Html {
  const left = group.images.length - shownMembers(group).length;
  const tone = group.isConflict ? 'bad' : group.splits.length > 1 ? 'warn' : '';
  return html`<article class="card audit-group">
<h4 class="${tone}">${groupLine(group, tableCell)}</h4>
<ul class="audit-images">${shownMembers(group).map((image) => imageItem(image, thumbnails))}</ul>
${leftOut(left, 'more image')}
</article>`;
}

function issueList(issues: readonly ImageIssue[], most: number, thumbnails: AuditThumbnails): Html {
  return html`<h3>${ISSUE_TITLES[issues[0]!.kind]}</h3>
<p>${counted(issues.length, 'image')}.</p>
<ul class="audit-images">${issues.slice(0, most).map(({ image, reason }) => imageItem(image, thumbnails, reason))}</ul>
${leftOut(issues.length - most, 'more image')}`;
}

function imageItem(image: AuditedImage, thumbnails: AuditThumbnails, reason?: string): Html {
  const key = imageKey(image);
  const uri = Object.hasOwn(thumbnails, key) ? thumbnails[key] : undefined;
  const name = tableCell(image.name);
  const size = `${image.width} × ${image.height}`;
  // Some reasons begin with the size.
  const facts = [image.width > 0 && !reason?.startsWith(size) && size, reason !== undefined && tableCell(reason)];
  return html`<li><figure>${isImageUri(uri) && html`<img src="${uri}" alt="${name}">`}
<figcaption><strong>${tableCell(image.split)}${image.label !== null && `: ${tableCell(image.label)}`}</strong>
<span class="quiet">${name}${facts.map((fact) => fact && html`<br>${fact}`)}</span></figcaption></figure></li>`;
}

/** Thumbnails may come from a file: only images within the page are shown. */
const isImageUri = (uri: unknown): uri is string =>
  typeof uri === 'string' && /^data:image\/(webp|png|jpeg);base64,/.test(uri);
