/** Texts as Python has them: by code point, with its white space, its case and its `repr`. */
import { unsupported } from './error.js';

const SURROGATE = /[\ud800-\udfff]/;

/** Whether characters are code units: no text with a surrogate is. */
export function isPlain(text: string): boolean {
  return !SURROGATE.test(text);
}

/** The characters: Python's are code points. */
export function characters(text: string): readonly string[] {
  return isPlain(text) ? text.split('') : Array.from(text);
}

export function textLength(text: string): number {
  if (isPlain(text)) return text.length;
  let length = 0;
  for (const _ of text) length++;
  return length;
}

/** `str.isspace` of one character, all of which are code units. */
export function isSpace(code: number): boolean {
  if (code < 128) return code === 32 || (code >= 9 && code <= 13) || (code >= 28 && code <= 31);
  return (
    code === 0x85 ||
    code === 0xa0 ||
    code === 0x1680 ||
    (code >= 0x2000 && code <= 0x200a) ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000
  );
}

/** Index of the first character that `chars` does not hold; of white space if it is undefined. */
function firstKept(text: string, chars: string | undefined): number {
  let start = 0;
  if (chars === undefined) {
    while (start < text.length && isSpace(text.charCodeAt(start))) start++;
    return start;
  }
  const set = new Set(characters(chars));
  while (start < text.length) {
    const char = String.fromCodePoint(text.codePointAt(start)!);
    if (!set.has(char)) break;
    start += char.length;
  }
  return start;
}

function lastKept(text: string, chars: string | undefined, from: number): number {
  let end = text.length;
  if (chars === undefined) {
    while (end > from && isSpace(text.charCodeAt(end - 1))) end--;
    return end;
  }
  const set = new Set(characters(chars));
  while (end > from) {
    const pair = end - 2 >= from ? text.codePointAt(end - 2)! : 0;
    const char = pair > 0xffff ? String.fromCodePoint(pair) : text[end - 1]!;
    if (!set.has(char)) break;
    end -= char.length;
  }
  return end;
}

export function stripStart(text: string, chars?: string): string {
  return text.slice(firstKept(text, chars));
}

export function stripEnd(text: string, chars?: string): string {
  return text.slice(0, lastKept(text, chars, 0));
}

export function strip(text: string, chars?: string): string {
  const start = firstKept(text, chars);
  return text.slice(start, lastKept(text, chars, start));
}

/** By code point, as Python orders texts. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  if (isPlain(a) || isPlain(b)) {
    // Surrogates encode the highest code points, so one plain side alone does not do.
    if (isPlain(a) && isPlain(b)) return a < b ? -1 : 1;
  }
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they end lines in Python
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

export function splitLines(text: string, keepEnds = false): string[] {
  const lines: string[] = [];
  let start = 0;
  for (const match of text.matchAll(LINE_END)) {
    const end = match.index + match[0].length;
    lines.push(text.slice(start, keepEnds ? end : match.index));
    start = end;
  }
  if (start < text.length) lines.push(text.slice(start));
  return lines;
}

/** As `str.split` and, from the end, `str.rsplit`; without a separator at stretches of white space. */
export function split(text: string, separator: string | undefined, max: number, fromEnd: boolean): string[] {
  if (separator === undefined) return fromEnd ? splitSpaceFromEnd(text, max) : splitSpace(text, max);
  if (max < 0) return text.split(separator);
  const parts: string[] = [];
  if (fromEnd) {
    let end = text.length;
    while (parts.length < max) {
      const at = end - separator.length < 0 ? -1 : text.lastIndexOf(separator, end - separator.length);
      if (at < 0) break;
      parts.unshift(text.slice(at + separator.length, end));
      end = at;
    }
    return [text.slice(0, end), ...parts];
  }
  let start = 0;
  while (parts.length < max) {
    const at = text.indexOf(separator, start);
    if (at < 0) break;
    parts.push(text.slice(start, at));
    start = at + separator.length;
  }
  return [...parts, text.slice(start)];
}

function splitSpace(text: string, max: number): string[] {
  const parts: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text.charCodeAt(at))) at++;
    if (at >= text.length) return parts;
    if (max >= 0 && parts.length >= max) {
      parts.push(text.slice(at));
      return parts;
    }
    const start = at;
    while (at < text.length && !isSpace(text.charCodeAt(at))) at++;
    parts.push(text.slice(start, at));
  }
}

function splitSpaceFromEnd(text: string, max: number): string[] {
  const parts: string[] = [];
  let end = text.length;
  for (;;) {
    while (end > 0 && isSpace(text.charCodeAt(end - 1))) end--;
    if (end === 0) break;
    if (max >= 0 && parts.length >= max) {
      parts.push(text.slice(0, end));
      break;
    }
    let start = end;
    while (start > 0 && !isSpace(text.charCodeAt(start - 1))) start--;
    parts.push(text.slice(start, end));
    end = start;
  }
  return parts.reverse();
}

const ESCAPED = /['\\\p{C}\p{Z}]/gu;

export function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inner = text.replace(ESCAPED, (char) => {
    if (char === "'") return mark === "'" ? "\\'" : "'";
    if (char === ' ') return ' ';
    const short = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }[char];
    if (short) return short;
    const code = char.codePointAt(0)!;
    const hex = code.toString(16);
    return code < 256
      ? `\\x${hex.padStart(2, '0')}`
      : code < 65536
        ? `\\u${hex.padStart(4, '0')}`
        : `\\U${hex.padStart(8, '0')}`;
  });
  return mark + inner + mark;
}

/** The first letter as in titles, which for a few letters is not their upper case. */
function titled(char: string): string {
  const upper = char.toUpperCase();
  if (char === 'ß') return 'Ss';
  // Digraphs such as ǆ have a title case of their own, and ligatures become several letters.
  if (upper.length > char.length || /[\u01c4-\u01cc\u01f1-\u01f3\u10d0-\u10ff\u1f80-\u1fff]/.test(char)) {
    throw unsupported(`the title case of ${char}`);
  }
  return upper;
}

export function capitalize(text: string): string {
  const first = characters(text)[0];
  return first === undefined ? '' : titled(first) + lowered(text, first.length);
}

/** Lower case from `start` on; the text before decides about a sigma at the end of a word. */
function lowered(text: string, start: number): string {
  const rest = text.slice(start);
  if (rest.includes('Σ')) throw unsupported('the lower case of a sigma within a word');
  return rest.toLowerCase();
}

/** `str.title`: a letter after none is large, all others small. */
export function titleCase(text: string): string {
  if (text.includes('Σ')) throw unsupported('the title case of a sigma');
  let result = '';
  let isInWord = false;
  for (const char of text) {
    const isCased = /[\p{Uppercase}\p{Lowercase}\p{Lt}]/u.test(char);
    result += isInWord || !isCased ? char.toLowerCase() : titled(char);
    isInWord = isCased;
  }
  return result;
}
