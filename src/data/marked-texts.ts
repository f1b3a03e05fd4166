/** Marks around the strings that a template is given, by which they are found again in what it writes. */
import { TextError } from '../errors.js';
import type { Leaf, Put } from './template-view.js';

/** What occurs nowhere else: characters around a string, and a key of parts that no rendering should show. */
export interface Marks {
  readonly open: string;
  readonly middle: string;
  readonly close: string;
  readonly leak: string;
}

/** A stretch of a rendering: the template's own, or a string that it was given. */
export interface Piece {
  /** As rendered: in a string that was written as JSON, with its backslashes. Never empty. */
  readonly text: string;
  readonly leaf?: Leaf;
}

/** How strings are marked: a template may look at some, so that marks change what it does. */
export interface Marking {
  /** White space at the ends of a string is within its marks; not so for templates that trim. */
  readonly keepEnds: boolean;
  /** The strings of tool definitions are marked too. */
  readonly tools: boolean;
}

const LEAK = 'keyOfAPart';
const PRIVATE = /[\ue000-\uf8ff]/;
/** No name of a control token looks like this, and templates compare such strings: with types, lengths of ids. */
const HARMLESS = /^[\w .,:-]*$/;
/** Templates write a tool's answer that is a number as a number. */
const LONGEST_NUMBER = 400;
const NUMBER = /^[\d._+-]+(?:e[+-]?\d+)?$|^[+-]?(?:nan|inf|infinity)$/i;

/** Whether a text has nothing in it that is used for marks. */
export function isUnmarked(text: string): boolean {
  return !PRIVATE.test(text) && !text.includes(LEAK);
}

/** Three characters of the private use area (U+E000 to U+F8FF), and a word, that do not occur in the text. */
export function unusedMarks(text: string): Marks {
  const used = PRIVATE.test(text) ? new Set(text) : new Set<string>();
  const free: string[] = [];
  for (let code = 0xe000; code <= 0xf8ff && free.length < 3; code++) {
    const char = String.fromCharCode(code);
    if (!used.has(char)) free.push(char);
  }
  if (free.length < 3) {
    throw new TextError('the conversation uses every private-use character, none is left to mark its parts');
  }
  // Python writes other characters than letters as escapes.
  let leak = LEAK;
  while (text.includes(leak)) leak += 'x';
  return { open: free[0]!, middle: free[1]!, close: free[2]!, leak };
}

export function marker({ open, middle, close }: Marks, { keepEnds, tools }: Marking, leaves: Leaf[]): Put {
  return (leaf) => {
    const { kind, text } = leaf;
    const isTools = kind === 'tool' || (kind === 'detail' && leaf.messageIndex === undefined);
    // Templates test for empty content, so that stays empty.
    const core = keepEnds ? text : text.trim();
    const isPlain = (kind === 'detail' && HARMLESS.test(text)) || (kind === 'result' && isNumber(text));
    if (core === '' || isPlain || (isTools && !tools)) return text;
    const start = text.indexOf(core);
    leaves.push({ ...leaf, text: core });
    const wrapped = `${open}${leaves.length - 1}${middle}${core}${close}`;
    return text.slice(0, start) + wrapped + text.slice(start + core.length);
  };
}

function isNumber(text: string): boolean {
  return text.length <= LONGEST_NUMBER && NUMBER.test(text.trim());
}

/** A marked rendering in pieces; undefined if a mark or a string between two was tampered with. */
export function cutAtMarks(rendered: string, marks: Marks, leaves: readonly Leaf[]): Piece[] | undefined {
  const pieces: Piece[] = [];
  for (let position = 0; ; ) {
    const open = rendered.indexOf(marks.open, position);
    const end = open < 0 ? rendered.length : open;
    if (end > position) pieces.push({ text: rendered.slice(position, end) });
    if (open < 0) break;
    const middle = rendered.indexOf(marks.middle, open);
    const close = rendered.indexOf(marks.close, middle);
    const leaf = leaves[Number(rendered.slice(open + 1, middle))];
    if (close < 0 || !leaf) return undefined;
    const text = rendered.slice(middle + 1, close);
    if (!isWriting(text, leaf.text)) return undefined;
    pieces.push({ text, leaf });
    position = close + 1;
  }
  return pieces.every(({ text, leaf }) => leaf || !text.includes(marks.close)) ? pieces : undefined;
}

/** Whether a text is a string as it is, or within JSON, or within JSON in a string of JSON. */
function isWriting(text: string, string: string): boolean {
  let inner: string | undefined = text;
  for (let depth = 0; inner !== undefined && depth < 3; depth++) {
    if (inner === string) return true;
    inner = unescaped(inner);
  }
  // Jinja escapes strings for HTML that are joined to one that is marked as safe.
  return text.replaceAll(/&(?:amp|lt|gt|#34|#39);/g, (name) => HTML[name]!) === string;
}

const HTML: Readonly<Record<string, string>> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&#34;': '"', '&#39;': "'" };

function unescaped(text: string): string | undefined {
  if (!text.includes('\\')) return undefined;
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    return undefined;
  }
}

/** A string of a tool definition that could be taken for a control token, where it cannot be marked. */
export function looksLikeToken(text: string): boolean {
  return /\[[^\s[\]]+\]|<[^\s<>]+>/.test(text);
}
