/** Which classes of many are worth showing. */
import { type ConfusionMatrix, sum } from './metrics.js';

/** Indices of the classes that were most often answered wrongly, or given as a wrong answer, in the order of classes. */
export function mostConfused({ counts, unparsed }: ConfusionMatrix, most: number): number[] {
  const wrong = counts.map((row, i) => sum(row) - row[i]! + unparsed[i]!);
  for (const [r, row] of counts.entries()) {
    for (const [c, count] of row.entries()) if (r !== c) wrong[c]! += count;
  }
  const ranked = wrong.map((_, i) => i).sort((a, b) => wrong[b]! - wrong[a]! || a - b);
  return ranked.slice(0, most).sort((a, b) => a - b);
}
