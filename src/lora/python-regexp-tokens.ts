/** Characters of Python's regular expressions: tokens, escapes, classes. `re` as of Python 3.11. */

export type CharacterTest = (code: number) => boolean;

/** Letters of the inline flags that are on: `a`, `i`, `m`, `s`, `u`, `x`. */
export type Flags = ReadonlySet<string>;

/** An escape is one token, as in Python: `\)` ends neither a group nor a comment. */
export class Tokens {
  readonly #tokens: string[] = [];
  index = 0;

  constructor(source: string) {
    const characters = Array.from(source);
    for (let i = 0; i < characters.length; i++) {
      if (characters[i] !== '\\') this.#tokens.push(characters[i]!);
      else if (++i < characters.length) this.#tokens.push(`\\${characters[i]}`);
      else throw new SyntaxError('bad escape at the end');
    }
  }

  get next(): string | undefined {
    return this.#tokens[this.index];
  }

  take(): string | undefined {
    return this.#tokens[this.index++];
  }

  accept(token: string): boolean {
    if (this.next !== token) return false;
    this.index++;
    return true;
  }

  /** Up to `most` tokens that are one of `characters`. */
  takeWhile(characters: string, most = Number.POSITIVE_INFINITY): string {
    let taken = '';
    while (taken.length < most && characters.includes(this.next ?? '\\')) taken += this.take();
    return taken;
  }

  takeUntil(end: string, what: string): string {
    let taken = '';
    for (;;) {
      const token = this.take();
      if (token === undefined) throw new SyntaxError(`missing ${end} after the ${what}`);
      if (token === end) break;
      taken += token;
    }
    if (taken === '') throw new SyntaxError(`missing ${what}`);
    return taken;
  }
}

export const DIGITS = '0123456789';
const OCTAL = '01234567';
const HEXADECIMAL = '0123456789abcdefABCDEF';
const HIGHEST_OCTAL = 0o377;
const HIGHEST_CODE = 0x10ffff;
const HIGHEST_ASCII = 0x7f;
const NEWLINE = 10;

const SIMPLE_ESCAPES: Readonly<Record<string, number>> = {
  '\\a': 7,
  '\\b': 8,
  '\\t': 9,
  '\\n': NEWLINE,
  '\\v': 11,
  '\\f': 12,
  '\\r': 13,
  '\\\\': 92,
};

const character = (code: number): string => String.fromCodePoint(code);
const like =
  (pattern: RegExp): CharacterTest =>
  (code) =>
    pattern.test(character(code));

/** [for text, with the flag `a`]. JavaScript's own \w, \d and \s are others. */
const CATEGORIES: Readonly<Record<string, readonly [CharacterTest, CharacterTest]>> = {
  d: [like(/\p{Nd}/u), like(/[0-9]/)],
  w: [like(/[\p{L}\p{N}_]/u), like(/[A-Za-z0-9_]/)],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Python counts the separators 1c to 1f as white space
  s: [like(/[\t-\r\x1c-\x20\x85\xa0\u2028\u2029\p{Zs}]/u), like(/[\t-\r ]/)],
};

/** `\d`, `\w`, `\s` and their opposites; undefined for any other token. */
export function category(token: string, flags: Flags): CharacterTest | undefined {
  const letter = token.slice(1);
  const test = CATEGORIES[letter.toLowerCase()]?.[flags.has('a') ? 1 : 0];
  if (!test) return undefined;
  return letter === letter.toLowerCase() ? test : (code) => !test(code);
}

export const isWord = (code: number, flags: Flags): boolean => CATEGORIES.w![flags.has('a') ? 1 : 0](code);

export function anyCharacter(flags: Flags): CharacterTest {
  return flags.has('s') ? () => true : (code) => code !== NEWLINE;
}

/** Text below 128 in lower case. */
export const lowerCase = (code: number): number => (code >= 65 && code <= 90 ? code + 32 : code);
const upperCase = (code: number): number => (code >= 97 && code <= 122 ? code - 32 : code);

/** From one code point to another; with the flag `i` in either case. */
export function range(low: number, high: number, flags: Flags): CharacterTest {
  const within: CharacterTest = (code) => code >= low && code <= high;
  if (!flags.has('i')) return within;
  // Which letters beyond ASCII are the same is a table of Python's (ſ is s, the Kelvin sign is k).
  if (high > HIGHEST_ASCII) throw new SyntaxError('the flag i with characters beyond ASCII is not supported');
  return (code) => within(lowerCase(code)) || within(upperCase(code));
}

/** Escapes of one character, in a set or outside it; undefined if this one does not. */
export function escapedCode(token: string, tokens: Tokens): number | undefined {
  const letter = token.slice(1);
  const simple = SIMPLE_ESCAPES[token];
  if (simple !== undefined) return simple;
  const length = { x: 2, u: 4, U: 8 }[letter];
  if (length !== undefined) {
    const digits = tokens.takeWhile(HEXADECIMAL, length);
    const code = Number.parseInt(digits, 16);
    if (digits.length !== length || code > HIGHEST_CODE) throw new SyntaxError(`incomplete escape ${token}${digits}`);
    return code;
  }
  if (letter === 'N') throw new SyntaxError('\\N{…}, a character by its name, is not supported: write the character');
  if (/[A-Za-z0-9]/.test(letter)) return undefined;
  return letter.codePointAt(0);
}

/** An octal escape in a set: up to three digits. */
function octalInSet(token: string, tokens: Tokens): number {
  const digits = token[1]! + tokens.takeWhile(OCTAL, 2);
  return checkedOctal(digits);
}

/** `\0`, `\012` and `\123`, or undefined where the digits are the number of a group. */
export function octalOutsideSet(token: string, tokens: Tokens): number | undefined {
  if (token === '\\0') return Number.parseInt(`0${tokens.takeWhile(OCTAL, 2)}`, 8);
  const start = tokens.index;
  const digits = token[1]! + tokens.takeWhile(OCTAL, 2);
  if (digits.length === 3 && OCTAL.includes(digits[0]!)) return checkedOctal(digits);
  tokens.index = start;
  return undefined;
}

function checkedOctal(digits: string): number {
  const code = Number.parseInt(digits, 8);
  if (code > HIGHEST_OCTAL) throw new SyntaxError(`octal escape \\${digits} is above \\377`);
  return code;
}

/** The rest of a set after `[`, with the `]`. */
export function parseSet(tokens: Tokens, flags: Flags): CharacterTest {
  const negated = tokens.accept('^');
  const tests: CharacterTest[] = [];
  const member = (token: string): number | CharacterTest => {
    if (token[0] !== '\\') return token.codePointAt(0)!;
    if (token.length === 2 && OCTAL.includes(token[1]!)) return octalInSet(token, tokens);
    const found = category(token, flags) ?? escapedCode(token, tokens);
    if (found === undefined) throw new SyntaxError(`bad escape ${token} in a set`);
    return found;
  };
  const take = (): string => {
    const token = tokens.take();
    if (token === undefined) throw new SyntaxError('unterminated character set');
    return token;
  };
  const add = (found: number | CharacterTest): void => {
    tests.push(typeof found === 'number' ? range(found, found, flags) : found);
  };
  for (;;) {
    const token = take();
    if (token === ']' && tests.length > 0) break;
    const low = member(token);
    if (!tokens.accept('-')) {
      add(low);
      continue;
    }
    const end = take();
    if (end === ']') {
      add(low);
      add(45);
      break;
    }
    const high = member(end);
    if (typeof low !== 'number' || typeof high !== 'number' || high < low) {
      throw new SyntaxError(`bad character range ${token}-${end}`);
    }
    tests.push(range(low, high, flags));
  }
  return (code) => tests.some((test) => test(code)) !== negated;
}
