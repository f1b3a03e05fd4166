/** Texts that no message may show: access tokens, passwords and keys, also as a server may write them back. */

/** The latest are kept; a process has one or two. */
const MAX_SECRETS = 32;
/** Shorter ones are no secrets, and would blank out words. */
const MIN_LENGTH = 4;
/** Below this length a secret counts only as a word of its own. */
const WORD_LENGTH = 8;
/** So many first characters alone count as the secret: a server may have cut it. */
const HEAD = 16;
const MAX_NESTED = 64;

/** Words that are nobody's secret although somebody may have chosen one: without them no message could be read. */
const COMMON = new Set(
  (
    'main master true false null none undefined test tests user users admin root guest public private default token ' +
    'tokens pass password passwd secret login data train valid validation file files folder image images model models ' +
    'dataset datasets space spaces hugging huggingface kaggle http https localhost server proxy mirror anonymous error ' +
    'errors name names case links limits method damaged encrypted example changeme'
  ).split(' '),
);
/** A secret of letters alone, up to this length, may be a word, and counts only as one. */
const LETTERS_LENGTH = 16;

/**
 * Line ends and the like between two characters, plain or escaped. Runs of backslashes are bounded here and below: a text
 * of nothing else would take the square of its length.
 */
const BETWEEN = '(?:\\s|\\\\{1,32}[nrt]|%0[ad]){0,8}';

const known = new Map<string, RegExp>();

/** From now on {@link redact} hides this text. */
export function keepSecret(value: string): void {
  if (value.length < MIN_LENGTH || COMMON.has(value.toLowerCase())) return;
  const pattern = known.get(value) ?? secretPattern(value);
  known.delete(value);
  known.set(value, pattern);
  if (known.size > MAX_SECRETS) known.delete(known.keys().next().value!);
}

/** Keeps what a header such as `authorization` holds: the token of `Bearer`, the name and password of `Basic`. */
export function keepCredentials(header: string): void {
  const [, scheme = '', value = ''] = /^\s*(?:(\S+)\s+)?(\S+)\s*$/.exec(header) ?? [];
  keepSecret(value);
  if (scheme.toLowerCase() !== 'basic') return;
  const pair = Buffer.from(value, 'base64').toString('utf8');
  const [, user = pair, password = ''] = /^([^:]*):(.*)$/s.exec(pair) ?? [];
  // A token may stand in the place of the user, with nothing behind it.
  for (const secret of password === '' ? [user] : [pair, password]) keepSecret(secret);
}

/** The text with `***` in place of every secret, as it is or encoded: percent, base64, hex, JSON, HTML. */
export function redact(text: string): string {
  if (known.size === 0) return text;
  // The longest first: one may be a part of another, whose rest would stay.
  const patterns = [...known].sort(([a], [b]) => b.length - a.length);
  return patterns.reduce((rest, [, pattern]) => rest.replace(pattern, '***'), text);
}

/** As {@link redact}, and without users, passwords and queries of addresses: signatures stand there. */
export function redactAddresses(text: string): string {
  return redact(text).replace(
    /\b([a-z][a-z0-9+.-]{1,20}:(?:\\?\/){2})((?:[^\s/@"'<>]{1,500}@)?)([^\s?"'<>]*)((?:\?[^\s"'<>]*)?)/gi,
    (_all, scheme: string, user: string, rest: string, query: string) =>
      `${scheme}${user && '***@'}${rest}${query && '?***'}`,
  );
}

function secretPattern(value: string): RegExp {
  const bytes = Buffer.from(value, 'utf8');
  const written = [anyWriting(value)];
  if (value.length >= WORD_LENGTH) written.push(...[0, 1, 2].map((shift) => base64Core(bytes, shift)), hexOf(bytes));
  return new RegExp(written.join('|'), 'gi');
}

function anyWriting(value: string): string {
  const parts = [...value].map((character) => {
    const code = character.codePointAt(0)!;
    const hex = code.toString(16).padStart(2, '0');
    const plain = /[A-Za-z0-9]/.test(character) ? character : `\\\\{0,32}${escaped(character)}`;
    return `(?:${plain}|%(?:25)*${hex}|\\\\{1,32}u0*${hex}|\\\\{1,32}x${hex}|&#x0*${hex};|&#0*${code};)`;
  });
  if (isWord(value)) return `(?<![A-Za-z0-9])${parts.join(BETWEEN)}(?![A-Za-z0-9])`;
  return cuttable(parts);
}

function isWord(value: string): boolean {
  return value.length < WORD_LENGTH || (value.length < LETTERS_LENGTH && /^([a-z]+|[A-Z]+)$/.test(value));
}

/** The characters of base64 that are the same whatever comes before (`shift` bytes of it) and behind. */
function base64Core(bytes: Buffer, shift: number): string {
  const whole = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
  const core = whole.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + bytes.length) * 8) / 6));
  const forms: Readonly<Record<string, string>> = { '+': '(?:[+-]|%2b)', '/': '(?:\\\\{0,32}[/_]|%2f)' };
  return cuttable([...core].map((character) => forms[character] ?? character));
}

function hexOf(bytes: Buffer): string {
  return cuttable([...bytes.toString('hex')]);
}

function cuttable(parts: readonly string[]): string {
  const tail = parts.length > MAX_NESTED ? '[\\w.~+/=%-]*' : '';
  const optional = parts.slice(HEAD, MAX_NESTED).reduceRight((inner, part) => `(?:${BETWEEN}${part}${inner})?`, tail);
  return parts.slice(0, HEAD).join(BETWEEN) + optional;
}

function escaped(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|/-]/, '\\$&');
}
