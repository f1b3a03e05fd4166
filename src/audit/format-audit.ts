/** An audit as text for a terminal of 80 columns. */
import { z } from 'zod';
import { type Given, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { displayWidth } from '../messages/display-width.js';
import { distinctNames, oneLine, tableCell } from '../messages/one-line.js';
import { splitText, wrapText } from '../messages/wrap-text.js';
import type { AuditedImage, AuditReport } from './audit-report.js';
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
import { ISSUE_KINDS } from './image-issues.js';

/** How much of an audit is listed. */
export interface FormatAuditOptions {
  /** Groups of copies that are listed at most. Default: 10. */
  readonly maxGroups?: number | undefined;
  /** Images of each kind of issue that are listed at most. Default: 3. */
  readonly maxIssues?: number | undefined;
  /** Classes that are listed at most. Default: 30. */
  readonly maxClasses?: number | undefined;
}

const COLUMNS = 80;
/** Images of a group that are listed at most. */
const MAX_MEMBERS = 4;
const limit = (count: number) => z.int().nonnegative().default(count);
const formatSchema = lazySchema(() =>
  z.strictObject({ maxGroups: limit(10), maxIssues: limit(3), maxClasses: limit(30) }),
);
type _Input = NoMismatch<Mismatch<Given<z.input<ReturnType<typeof formatSchema>>>, Given<FormatAuditOptions>>>;

/** Lines of at most 80 columns. What is left out is counted. @throws ConfigError */
export function formatAudit(report: AuditReport, options: FormatAuditOptions = {}): string {
  requireAuditReport(report, 'formatAudit');
  const { maxGroups, maxIssues, maxClasses } = parseOptions(formatSchema, options, 'formatAudit');
  const samples = report.splits.reduce((sum, split) => sum + split.samples, 0);
  const images = report.splits.reduce((sum, split) => sum + split.images, 0);
  const perSplit = report.splits.map((split) => `${oneLine(split.name)} ${grouped(split.samples)}`).join(', ');
  const blocks = [
    wrapped([
      `Data audit: ${counted(samples, 'sample')} (${perSplit}), ${counted(images, 'image')}, in ${report.seconds.toFixed(1)} s`,
      sizesLine(report),
      ...report.notes.map((note) => `Note: ${tableCell(note)}`),
    ]),
    classTable(report, maxClasses),
    wrapped([...leakLines(report, oneLine), copiesLine(report), ...sampleLines(report)]),
    groupList(report, maxGroups),
    ...issueLists(report, maxIssues),
  ];
  return blocks
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

function wrapped(sentences: readonly string[]): string[] {
  return sentences.flatMap((sentence) => wrapText(sentence, COLUMNS));
}

/** Classes down, splits across, with their shares. */
function classTable({ classNames, splits }: AuditReport, most: number): string[] {
  if (classNames.length === 0) return [];
  // So many splits fit beside the names.
  const shown = splits.slice(0, 3);
  const rows = distinctNames(classNames).map((name, i) => {
    const cells = shown.map(({ classCounts, samples }) => {
      const count = classCounts[i]!;
      return `${grouped(count).padStart(8)} ${(samples > 0 ? share(count, samples) : '').padStart(7)}`;
    });
    return `${fitted(name, NAME_COLUMNS, 'start')}${cells.join('')}`;
  });
  const head = `${'class'.padEnd(NAME_COLUMNS)}${shown.map(({ name }) => ` ${fittedRight(tableCell(name), 15)}`).join('')}`;
  const left = [rows.length - most, splits.length - shown.length];
  const more = [
    ...(left[0]! > 0 ? [`and ${counted(left[0]!, 'more class', 'more classes')}`] : []),
    ...(left[1]! > 0 ? [`and ${counted(left[1]!, 'more split')}`] : []),
  ];
  return [head, '─'.repeat(NAME_COLUMNS + 16 * shown.length), ...rows.slice(0, most), ...more];
}

const NAME_COLUMNS = 30;

function groupList(report: AuditReport, most: number): string[] {
  const lines = report.duplicates.slice(0, most).flatMap((group, i) => {
    const number = `${i + 1}.`;
    const indent = ' '.repeat(number.length + 1);
    const [first = '', ...others] = wrapText(groupLine(group, oneLine), COLUMNS - indent.length);
    const members = group.images.slice(0, MAX_MEMBERS).map((image) => imageLine(image, indent));
    const left = group.images.length - MAX_MEMBERS;
    return [
      `${number} ${first}`,
      ...others.map((line) => indent + line),
      ...members,
      ...(left > 0 ? [`${indent}and ${counted(left, 'more image')}`] : []),
    ];
  });
  const left = report.duplicates.length - most;
  return [...lines, ...(left > 0 && most > 0 ? [`and ${counted(left, 'more group')} of copies`] : [])];
}

function imageLine(image: AuditedImage, indent: string): string {
  const label = image.label === null ? '' : `${shortened(tableCell(image.label), 24)}: `;
  const before = `${indent}${shortened(tableCell(image.split), 12)} ${label}`;
  return before + shortened(tableCell(image.name), Math.max(16, COLUMNS - displayWidth(before)), 'end');
}

function issueLists(report: AuditReport, most: number): string[][] {
  return ISSUE_KINDS.flatMap((kind) => {
    const found = report.issues.filter((issue) => issue.kind === kind);
    if (found.length === 0) return [];
    const left = found.length - most;
    return [
      [
        `${ISSUE_TITLES[kind]}: ${counted(found.length, 'image')}`,
        ...found.slice(0, most).flatMap(({ image, reason }) => [
          imageLine(image, '  '),
          ...wrapText(tableCell(reason), COLUMNS - 4)
            .slice(0, 3)
            .map((line) => `    ${line}`),
        ]),
        ...(left > 0 && most > 0 ? [`  and ${grouped(left)} more`] : []),
      ],
    ];
  });
}

/** At most so many columns; paths keep their end. */
function shortened(text: string, width: number, keep: 'start' | 'end' = 'start'): string {
  if (displayWidth(text) <= width) return text;
  if (keep === 'start') return `${splitText(text, width - 1)[0]!}…`;
  const characters = [...new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(text)].map((one) => one.segment);
  let rest = '';
  for (const character of characters.reverse()) {
    if (displayWidth(rest) + displayWidth(character) > width - 1) break;
    rest = character + rest;
  }
  return `…${rest}`;
}

function fitted(text: string, width: number, keep: 'start' | 'end'): string {
  const short = shortened(text, width, keep);
  return short + ' '.repeat(Math.max(0, width - displayWidth(short)));
}

function fittedRight(text: string, width: number): string {
  const short = shortened(text, width);
  return ' '.repeat(Math.max(0, width - displayWidth(short))) + short;
}
