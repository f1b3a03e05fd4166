/** Jinja's tokens, with jinja2's rules for white space: trim_blocks, lstrip_blocks, no newline at the end. */
import { JinjaError, unsupported } from './error.js';
import { isSpace, stripEnd } from './python-text.js';

/** `data` is text outside of tags; `begin` and `end` are the tags' brackets; `op` is punctuation. */
export type TokenType = 'data' | 'begin' | 'end' | 'name' | 'string' | 'integer' | 'float' | 'op' | 'eof';

export interface Token {
  readonly type: TokenType;
  /** Of `begin` and `end`: `block` or `variable`. */
  readonly value: string;
  readonly line: number;
}

const OPENING = /\{[{%#]/g;
const FLOAT = /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{L}\p{N}_]+/uy;
const IDENTIFIER = /^[\p{XID_Start}_][\p{XID_Continue}]*$/u;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+*/%~[\](){}<>=.:|,;]/y;
const CLOSERS: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

export function tokenize(source: string): Token[] {
  const text = source.replace(/\r\n?/g, '\n').replace(/\n$/, '');
  return new Lexer(text).run();
}

class Lexer {
  readonly #text: string;
  readonly #tokens: Token[] = [];
  #position = 0;
  #line = 1;
  #lineCountedTo = 0;
  #startsLine = true;

  constructor(text: string) {
    this.#text = text;
  }

  run(): Token[] {
    while (this.#position < this.#text.length) {
      OPENING.lastIndex = this.#position;
      const opening = OPENING.exec(this.#text);
      const end = opening ? opening.index : this.#text.length;
      const data = this.#text.slice(this.#position, end);
      if (!opening) {
        this.#push('data', data);
        break;
      }
      const kind = this.#text[end + 1]!;
      const sign = this.#text[end + 2];
      this.#push('data', this.#before(data, sign, kind !== '{'));
      this.#position = end + 2 + (sign === '-' || sign === '+' ? 1 : 0);
      if (kind === '#') this.#comment();
      else if (kind === '%' && !this.#raw()) this.#tag('block', '%}');
      else if (kind === '{') this.#tag('variable', '}}');
    }
    this.#push('eof', '');
    return this.#tokens;
  }

  #push(type: TokenType, value: string): void {
    if (type === 'data' && value === '') return;
    for (; this.#lineCountedTo < this.#position; this.#lineCountedTo++) {
      if (this.#text[this.#lineCountedTo] === '\n') this.#line++;
    }
    this.#tokens.push({ type, value, line: this.#line });
  }

  #fail(why: string): JinjaError {
    this.#push('op', '');
    return new JinjaError(`${why} (line ${this.#line})`);
  }

  #before(data: string, sign: string | undefined, isBlock: boolean): string {
    if (sign === '-') return stripEnd(data);
    if (sign === '+' || !isBlock) return data;
    const start = data.lastIndexOf('\n') + 1;
    if (start === 0 && !this.#startsLine) return data;
    for (let i = start; i < data.length; i++) if (!isSpace(data.charCodeAt(i))) return data;
    return data.slice(0, start);
  }

  /** Goes behind the end of a tag, which lies at `at`, and what that strips. */
  #close(at: number, sign: string, length: number, trims: boolean): void {
    let next = at + sign.length + length;
    if (sign === '-') while (next < this.#text.length && isSpace(this.#text.charCodeAt(next))) next++;
    else if (trims && sign === '' && this.#text[next] === '\n') next++;
    this.#startsLine = this.#text[next - 1] === '\n';
    this.#position = next;
  }

  #comment(): void {
    const end = this.#text.indexOf('#}', this.#position);
    if (end < 0) throw this.#fail('Missing end of comment tag');
    const last = end > this.#position ? this.#text[end - 1] : '';
    const sign = last === '-' || last === '+' ? last : '';
    this.#close(end - sign.length, sign, 2, true);
  }

  #raw(): boolean {
    const begin = /\s*raw\s*(?:(-)%\}|%\})/y;
    begin.lastIndex = this.#position;
    const match = begin.exec(this.#text);
    if (!match) return false;
    this.#close(begin.lastIndex - 2 - (match[1] ? 1 : 0), match[1] ?? '', 2, false);
    const ending = /\{%([-+]?)\s*endraw\s*(\+%\}|-%\}|%\})/g;
    ending.lastIndex = this.#position;
    const end = ending.exec(this.#text);
    if (!end) throw this.#fail('Missing end of raw directive');
    this.#push('data', this.#before(this.#text.slice(this.#position, end.index), end[1], true));
    const sign = end[2]!.length === 3 ? end[2]![0]! : '';
    this.#close(ending.lastIndex - 2 - sign.length, sign, 2, true);
    return true;
  }

  #tag(kind: 'block' | 'variable', close: string): void {
    this.#push('begin', kind);
    const open: string[] = [];
    const text = this.#text;
    for (;;) {
      while (this.#position < text.length && isSpace(text.charCodeAt(this.#position))) this.#position++;
      if (this.#position >= text.length) return;
      if (open.length === 0) {
        const sign = /[-+]/.test(text[this.#position]!) ? text[this.#position]! : '';
        if (text.startsWith(close, this.#position + sign.length) && (sign !== '+' || kind === 'block')) {
          this.#push('end', kind);
          this.#close(this.#position, sign, 2, kind === 'block');
          return;
        }
      }
      this.#token(open);
    }
  }

  #token(open: string[]): void {
    const text = this.#text;
    const char = text[this.#position]!;
    if (text[this.#position - 1] !== '.') {
      const float = this.#match(FLOAT);
      if (float !== undefined) {
        this.#push('float', float.replaceAll('_', ''));
        return;
      }
    }
    const integer = this.#match(INTEGER);
    if (integer !== undefined) {
      this.#push('integer', integer.replaceAll('_', ''));
      return;
    }
    const name = this.#match(NAME);
    if (name !== undefined) {
      if (!IDENTIFIER.test(name)) throw this.#fail(`invalid character in the identifier ${name}`);
      // Python brings identifiers to one form, so that two spellings may name one variable.
      if (name.normalize('NFKC') !== name) throw unsupported(`the identifier ${name}`);
      this.#push('name', name);
      return;
    }
    if (char === "'" || char === '"') {
      this.#string(char);
      return;
    }
    const operator = this.#match(OPERATOR);
    if (operator === undefined) throw this.#fail(`unexpected character ${JSON.stringify(char)}`);
    if (operator in CLOSERS) open.push(CLOSERS[operator]!);
    else if (operator === ')' || operator === ']' || operator === '}') {
      if (open.pop() !== operator) throw this.#fail(`unexpected '${operator}'`);
    }
    this.#push('op', operator);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    const match = pattern.exec(this.#text)?.[0];
    if (match) this.#position += match.length;
    return match;
  }

  #string(quote: string): void {
    const text = this.#text;
    let end = this.#position + 1;
    for (; end < text.length && text[end] !== quote; end++) if (text[end] === '\\') end++;
    if (end >= text.length) throw this.#fail(`unexpected character ${quote}`);
    const inner = text.slice(this.#position + 1, end);
    this.#position = end + 1;
    this.#push('string', inner.includes('\\') ? unescapeText(inner) : inner);
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** Python's `unicode-escape`: escapes that it does not know keep their backslash. */
function unescapeText(text: string): string {
  // A backslash before a character beyond ASCII escapes the backslash of that character's own escape.
  return text.replace(
    /\\(?:([0-7]{1,3})|x([0-9a-fA-F]{0,2})|u([0-9a-fA-F]{0,4})|U([0-9a-fA-F]{0,8})|([\s\S]))/gu,
    (whole, octal, x, u, U, other) => {
      if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
      const hex: string | undefined = x ?? u ?? U;
      if (hex !== undefined) {
        const code = Number.parseInt(hex, 16);
        if (hex.length !== (x !== undefined ? 2 : u !== undefined ? 4 : 8) || code > 0x10ffff) {
          throw new JinjaError(`the escape ${whole} in a string is cut off or out of range`);
        }
        return String.fromCodePoint(code);
      }
      if (other === 'N') throw unsupported('a character by its name (\\N) in a string');
      if (other in ESCAPES) return ESCAPES[other]!;
      if (other.codePointAt(0)! < 128) return `\\${other}`;
      const code: number = other.codePointAt(0)!;
      const [letter, width] = code < 256 ? ['x', 2] : code < 65536 ? ['u', 4] : ['U', 8];
      return `\\${letter}${code.toString(16).padStart(width as number, '0')}`;
    },
  );
}
