/** Cells of the tables of a plan. */

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
