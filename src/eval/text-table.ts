/** Aligned tables for terminals and Markdown. */
import { displayWidth } from '../messages/display-width.js';
import { escapeMarkdown } from '../messages/markdown.js';
import { tableCell } from '../messages/one-line.js';

export type Alignment = 'left' | 'right';

/** Rows of cells as aligned text: a header, a rule, the rows. Control characters in cells become spaces, hidden ones are written out. */
export function textTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  align: readonly Alignment[],
): string {
  const cells = [header, ...rows].map((row) => row.map(tableCell));
  const widths = header.map((_, column) => Math.max(...cells.map((row) => displayWidth(row[column] ?? ''))));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column]!, align[column] ?? 'left'))
      .join('  ')
      .trimEnd(),
  );
  return [lines[0]!, widths.map((width) => '─'.repeat(width)).join('  '), ...lines.slice(1)].join('\n');
}

/** The same as a GitHub Markdown table; cells are text, and no markup in them counts. */
export function markdownTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  align: readonly Alignment[],
): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => escapeMarkdown(tableCell(cell))).join(' | ')} |`;
  const rule = `|${header.map((_, i) => (align[i] === 'right' ? '---:' : '---')).join('|')}|`;
  return [line(header), rule, ...rows.map(line)].join('\n');
}

function pad(cell: string, width: number, align: Alignment): string {
  const space = ' '.repeat(width - displayWidth(cell));
  return align === 'right' ? space + cell : cell + space;
}
