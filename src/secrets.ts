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

/** Line ends and the like between two characters, plain or escaped. */
const BETWEEN = '(?:\\s|\\\\+[nrt]|%0[ad]){0,8}';

/** Each with what finds it. */
const known = new Map<string, RegExp>();

/** From now on {@link redact} hides this text. */
export function keepSecret(value: string): void {
  if (value.length < MIN_LENGTH) return;
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
  keepSecret(pair);
  keepSecret(pair.slice(pair.indexOf(':') + 1));
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

/** Plain data with every string and name made clean; what is of a class stays as it is. */
export function redactDeep(value: unknown, clean: (text: string) => string, depth = 0): unknown {
  if (typeof value === 'string') return clean(value);
  if (typeof value !== 'object' || value === null || depth > 20) return value;
  if (Array.isArray(value)) return value.map((item) => redactDeep(item, clean, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [clean(key), redactDeep(item, clean, depth + 1)]),
  );
}

/** An error without secrets: itself if it has none, else a copy of its name, code and message. */
export function redactCause(cause: unknown, clean: (text: string) => string, depth = 0): unknown {
  if (!(cause instanceof Error)) return redactDeep(cause, clean);
  if (depth > 20) return undefined;
  const inner = cause.cause === undefined ? undefined : redactCause(cause.cause, clean, depth + 1);
  const message = clean(cause.message);
  const errors = cause instanceof AggregateError ? cause.errors.map((one) => redactCause(one, clean, depth + 1)) : [];
  const fields = Object.entries(cause).filter(([name]) => name !== 'cause' && name !== 'errors');
  const isClean =
    message === cause.message &&
    inner === cause.cause &&
    errors.every((one, i) => one === (cause as AggregateError).errors[i]) &&
    clean(cause.stack ?? '') === (cause.stack ?? '') &&
    fields.every(([, field]) => sameText(field, clean));
  if (isClean) return cause;
  const copy = errors.length > 0 ? new AggregateError(errors, message) : new Error(message);
  copy.name = cause.name;
  copy.stack = clean(cause.stack ?? '');
  const { code } = cause as NodeJS.ErrnoException;
  return Object.assign(copy, code === undefined ? {} : { code }, inner === undefined ? {} : { cause: inner });
}

function sameText(value: unknown, clean: (text: string) => string): boolean {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    return false;
  }
  return text === undefined || clean(text) === text;
}

function secretPattern(value: string): RegExp {
  const bytes = Buffer.from(value, 'utf8');
  const written = [anyWriting(value)];
  if (value.length >= WORD_LENGTH) written.push(...[0, 1, 2].map((shift) => base64Core(bytes, shift)), hexOf(bytes));
  return new RegExp(written.join('|'), 'gi');
}

/** The value, each character of it plain or escaped. */
function anyWriting(value: string): string {
  const parts = [...value].map((character) => {
    const code = character.codePointAt(0)!;
    const hex = code.toString(16).padStart(2, '0');
    const plain = /[A-Za-z0-9]/.test(character) ? character : `\\\\*${escaped(character)}`;
    return `(?:${plain}|%(?:25)*${hex}|\\\\+u0*${hex}|\\\\+x${hex}|&#x0*${hex};|&#0*${code};)`;
  });
  if (value.length < WORD_LENGTH) return `(?<![A-Za-z0-9])${parts.join(BETWEEN)}(?![A-Za-z0-9])`;
  return cuttable(parts);
}

/** The characters of base64 that are the same whatever comes before (`shift` bytes of it) and behind. */
function base64Core(bytes: Buffer, shift: number): string {
  const whole = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
  const core = whole.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + bytes.length) * 8) / 6));
  const forms: Readonly<Record<string, string>> = { '+': '(?:[+-]|%2b)', '/': '(?:\\\\*[/_]|%2f)' };
  return cuttable([...core].map((character) => forms[character] ?? character));
}

function hexOf(bytes: Buffer): string {
  return cuttable([...bytes.toString('hex')]);
}

/** All parts in a row, or the first of them where the text was cut. */
function cuttable(parts: readonly string[]): string {
  const tail = parts.length > MAX_NESTED ? '[\\w.~+/=%-]*' : '';
  const optional = parts.slice(HEAD, MAX_NESTED).reduceRight((inner, part) => `(?:${BETWEEN}${part}${inner})?`, tail);
  return parts.slice(0, HEAD).join(BETWEEN) + optional;
}

function escaped(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|/-]/, '\\$&');
}
