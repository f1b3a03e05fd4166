/** What a tokenizer makes of texts, as a digest: the same however its file is written. */
import { createHash } from 'node:crypto';

/** Merges that become one string at a time: there are hundreds of thousands. */
const PER_STRING = 4096;

/**
 * @param tokens by id
 * @param model of tokenizer.json; its merges come in two ways of writing
 * @param others what else decides, as JSON
 */
export function tokenizerDigest(
  tokens: readonly (string | undefined)[],
  model: Readonly<Record<string, unknown>>,
  others: unknown,
): string {
  const { vocab: _, type: __, merges, ...rest } = model;
  // What is false, null or missing is the same.
  const settings = Object.entries(rest)
    .filter(([, value]) => value)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash('sha256').update(JSON.stringify([settings, others, tokens.length]));
  const add = (values: readonly unknown[], text: (value: unknown) => string): void => {
    for (let i = 0; i < values.length; i += PER_STRING) {
      hash.update(
        `${values
          .slice(i, i + PER_STRING)
          .map(text)
          .join('\n')}\n\n`,
      );
    }
  };
  add(tokens, (token) => (token as string | undefined) ?? '');
  // Tokens of a merge hold no space: in the alphabet of bytes it is another character.
  add(Array.isArray(merges) ? merges : [], (merge) => (Array.isArray(merge) ? merge.join(' ') : String(merge)));
  return hash.digest('hex').slice(0, 16);
}
