/** Cells of a table that are read as classes: numbers, lists of one, and what programs write where nothing is. */

/** `1.0`, as pandas writes whole numbers in a column with gaps, is `1`. */
export const wholeNumber = (text: string): string => text.replace(/\.0+$/, '');

/** What programs write where a value is missing. */
export const MISSING = /^(?:nan|<na>|n\/a|#n\/a|null|na)$/i;

/** The values of a JSON list of texts or numbers, or undefined. */
export function listOf(cell: string): string[] | undefined {
  if (!cell.startsWith('[') || !cell.endsWith(']')) return undefined;
  try {
    const list: unknown = JSON.parse(cell);
    return Array.isArray(list) ? list.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))) : undefined;
  } catch {
    // As Python prints it.
    return cell
      .slice(1, -1)
      .split(',')
      .map((one) => one.trim().replace(/^(['"])(.*)\1$/, '$2'))
      .filter((one) => one !== '');
  }
}

/** The first key of a JSON object that holds a text. */
export function firstKey(object: string): string | undefined {
  try {
    return Object.entries(JSON.parse(object) as object).find(([, value]) => typeof value === 'string')?.[0];
  } catch {
    return undefined;
  }
}
