/** Lines and cells of a plan. */
import { displayWidth } from '../messages/display-width.js';
import { splitText } from '../messages/wrap-text.js';

export const WIDTH = 80;

/** Cells of a width each; a negative one aligns at the right. */
export function row(cells: readonly (readonly [string, number])[]): string {
  return cells
    .map(([text, width]) => (width < 0 ? text.padStart(-width) : text.padEnd(width)))
    .join('')
    .trimEnd();
}

export function rate(value: number): string {
  return value < 100 ? value.toPrecision(3) : value.toFixed(0);
}

export function duration(seconds: number): string {
  if (seconds < 1) return '<1 s';
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  return seconds < 172_800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} d`;
}

/** Lines of at most 80 columns; those after the first are indented. */
export function wrapped(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line: string | undefined;
  for (const word of text.split(' ').flatMap((one) => splitText(one, WIDTH - indent.length))) {
    if (line === undefined) line = word;
    else if (line.trim() !== '' && displayWidth(line) + 1 + displayWidth(word) > WIDTH) {
      lines.push(line);
      line = `${indent}${word}`;
    } else line = `${line} ${word}`;
  }
  return [...lines, line ?? ''];
}
