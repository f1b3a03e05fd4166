/**
 * Texts of others on a terminal, in a log or in an error: names of files, classes, columns and tensors, and what servers
 * and templates say. They may hold escape sequences, marks that turn the direction of writing, line ends that look like
 * messages of their own, characters that nobody sees, or a megabyte.
 */
import { cutText, startOf } from './cut-text.js';

/** The name of a file, class or column in a message: short, on one line, with nothing hidden in it. */
export function oneLine(name: string): string {
  return oneLineOf(shortened(name));
}

/** A whole message: lines and tabs stay, other control characters and hidden ones become `\u001b`, `\u{e0041}`. */
export function printable(text: string): string {
  return HARMLESS.test(text) ? text : text.replace(UNPRINTABLE, escaped);
}

/** A whole warning, which is one line whatever it quotes. */
export function warningLine(text: string): string {
  return oneLineOf(cutText(text, MAX_WARNING));
}

function oneLineOf(text: string): string {
  return printable(text).replace(/[\t\n]/g, escaped);
}

/**
 * Names of classes as a report shows them: short, each on one line, and no two alike. Where two would be, as they differ
 * in what nobody sees, these are written out, and where that is not enough their places tell.
 */
export function distinctNames(names: readonly string[]): string[] {
  const plain = names.map((name) => tableCell(shortened(name, MAX_CELL)));
  const alike = repeated(plain);
  const written = plain.map((name, i) => (alike.has(look(name)) ? explicit(shortened(names[i]!, MAX_CELL)) : name));
  const still = repeated(written);
  return written.map((name, i) => (still.has(look(name)) ? `${name} (class ${i})` : name));
}

/** A text in a cell of a table: control characters become spaces. */
export function tableCell(text: string): string {
  return printable(text.replace(/\p{Cc}+/gu, ' '));
}

/** As {@link printable}, with every space and mark that could be overlooked. */
function explicit(text: string): string {
  return text.replace(/^ | $|(?<= ) |[^\x21-\x7e\p{L}\p{N}\p{P}\p{S} ]|[\p{Default_Ignorable_Code_Point}]/gu, escaped);
}

function look(name: string): string {
  const visible = name.replace(/\p{Default_Ignorable_Code_Point}/gu, '').normalize('NFC');
  return visible.replace(/\p{Z}+/gu, ' ').trim();
}

function repeated(names: readonly string[]): Set<string> {
  const seen = new Set<string>();
  return new Set(names.map(look).filter((one) => seen.has(one) || !seen.add(one)));
}

function escaped(character: string): string {
  const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0)!.toString(16);
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`;
}

/** A name that is longer is shown without its middle: paths are told by their ends. */
const MAX_NAME = 400;
const MAX_CELL = 120;
const MAX_WARNING = 4000;

function shortened(name: string, most = MAX_NAME): string {
  if (name.length <= most) return name;
  const end = Math.floor(most / 3);
  // By characters: half of one would be shown as damaged.
  const start = startOf(name, most - end);
  return `${start}…${name.slice(-end).replace(/^[\udc00-\udfff]/, '')}`;
}

const HARMLESS = /^[\t\n\x20-\x7e]*$/;

/**
 * Controls but tab and line feed; separators of lines; marks of direction; what is drawn as nothing; halves of characters.
 * Joiners stay where writing needs them, between letters that join or parts of an emoji, and variation selectors behind
 * what has variants.
 */
const UNPRINTABLE = new RegExp(
  [
    '[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e]',
    '[\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb]',
    '[\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}]',
    '\\p{Surrogate}',
    '(?<![\\p{M}\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\p{Script=Arabic}\\p{Script=Syriac}])[\\u200c\\u200d]',
    '[\\u200c\\u200d](?![\\p{M}\\p{L}\\p{Extended_Pictographic}])',
    '(?<![\\p{Emoji}\\p{Extended_Pictographic}\\p{Script=Han}\\p{Script=Myanmar}])[\\ufe00-\\ufe0f]',
    '(?<!\\p{Script=Han})[\\u{e0100}-\\u{e01ef}]',
  ].join('|'),
  'gu',
);
