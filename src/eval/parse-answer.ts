/**
 * From the text of an answer to a class. Deliberately strict: an answer counts only if it is a class name and nothing
 * else. No search for a name inside a sentence, no nearest name, no prefix: a model that explains itself did not follow
 * the instruction, and the report shows that as `unparsed` rather than hiding it.
 */
import { ConfigError } from '../errors.js';
import { showValue } from '../messages/show-value.js';

/**
 * How an answer is compared with the class names.
 * - `exact`: equal after white space at both ends is removed.
 * - `normalized` (default): equal after `normalizeAnswer`, which forgives letter case, Markdown, quotes, terminal
 *   punctuation and repeated spaces.
 */
export type AnswerMode = 'exact' | 'normalized';

const LEADING_MARKS = /^(?:\s|#+\s|>\s|[-+*]\s|[*_`~"'“”„‘’«»])+/u;
const TRAILING_MARK = /[\s*_`~"'“”„‘’«».,;:!?…。！？]/u;

/**
 * The text without what says nothing about the class: Unicode composed (NFC), letter case folded, Markdown marks
 * (`**bold**`, `` `code` ``, `# heading`, `- item`, `> quote`) and quotes removed from both ends, punctuation removed
 * from the end only, inner white space made single spaces.
 *
 * `**Hairline Fracture.**` gives `hairline fracture`; `It is a hairline fracture` stays a sentence.
 */
function normalizeAnswer(text: string): string {
  const folded = text.normalize('NFC').toLowerCase().trim();
  // A loop, not a pattern that ends in `+$`: that would take quadratic time on long runs of marks.
  let end = folded.length;
  while (end > 0 && TRAILING_MARK.test(folded[end - 1]!)) end--;
  return folded.slice(0, end).replace(LEADING_MARKS, '').replace(/\s+/gu, ' ');
}

/** Gives the class index of an answer, or undefined if it is no class. */
export type AnswerParser = (text: string) => number | undefined;

/**
 * Prepares a parser for a list of classes. An exact match wins over a normalised one.
 * @throws ConfigError if the list is empty, holds a name twice, or two names cannot be told apart in this mode
 */
export function createAnswerParser(classNames: readonly string[], mode: AnswerMode = 'normalized'): AnswerParser {
  const exact = indexNames(classNames, (name) => name.trim(), mode);
  if (mode === 'exact') return (text) => exact.get(text.trim());
  const normalized = indexNames(classNames, normalizeAnswer, mode);
  return (text) => {
    const key = normalizeAnswer(text);
    return exact.get(text.trim()) ?? (key ? normalized.get(key) : undefined);
  };
}

function indexNames(names: readonly string[], keyOf: (name: string) => string, mode: AnswerMode): Map<string, number> {
  if (names.length === 0) throw new ConfigError('classNames: expected at least one class name, got none');
  const index = new Map<string, number>();
  for (const [i, name] of names.entries()) {
    if (name.trim() === '') throw new ConfigError(`classNames: name ${i} is empty`);
    const key = keyOf(name);
    if (key === '') continue; // A name made of punctuation only, such as "?", is matched exactly or not at all.
    const other = index.get(key);
    if (other !== undefined)
      throw new ConfigError(
        `classNames: ${showValue(names[other])} (${other}) and ${showValue(name)} (${i}) read the same in mode '${mode}'`,
        { hint: "Rename one of them, or use mode 'exact' if they differ only in case or punctuation." },
      );
    index.set(key, i);
  }
  return index;
}
