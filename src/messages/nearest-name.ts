/** What may have been meant by a name that is not known. */

const MAX_COMPARED = 300;
const MAX_KNOWN = 20_000;

/** The known name within two thirds of the letters, by edit distance, or undefined. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  // The distance takes time as the product of the lengths, for each of the known names.
  if (name.length > MAX_COMPARED || known.length > MAX_KNOWN) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(plainName(name), plainName(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Names that differ in case and separators alone are one. */
export const plainName = (name: string): string => name.toLowerCase().replace(/[_-]/g, '');

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
