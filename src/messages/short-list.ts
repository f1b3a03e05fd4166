/** Long lists in messages: the first few, and how many more there are. */

/** The first lines; the last one is `and 5 more` where that is not all. @param what of the others */
export function firstLines(lines: readonly string[], most: number, what = ''): string[] {
  const more = lines.length - most;
  return more > 0 ? [...lines.slice(0, most), `and ${more} more${what && ` ${what}`}`] : [...lines];
}

/** `a, b and 5 more` */
export function shortList<T>(items: readonly T[], most: number, write: (item: T) => string): string {
  const more = items.length - most;
  return items.slice(0, most).map(write).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
