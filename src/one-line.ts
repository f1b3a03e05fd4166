/**
 * Texts of others on a terminal, in a log or in an error: names of files, classes, columns and tensors, and what servers
 * and templates say. They may hold escape sequences, marks that turn the direction of writing, line ends that look like
 * messages of their own, characters that nobody sees, or a megabyte.
 */

/** The name of a file, class or column in a message: short, on one line, with nothing hidden in it. */
export function oneLine(name: string): string {
  return printable(shortened(name)).replace(/[\t\n]/g, (character) => (character === '\n' ? '\\n' : '\\t'));
}

/** A whole message: lines and tabs stay, other control characters and hidden ones become `\u001b`, `\u{e0041}`. */
export function printable(text: string): string {
  return HARMLESS.test(text) ? text : text.replace(UNPRINTABLE, escaped);
}

/** As {@link printable}, with every character beyond ASCII that has no ink of its own, for names that look alike. */
export function explicit(text: string): string {
  return text.replace(/^ | $|(?<= ) |[^\x21-\x7e\p{L}\p{N}\p{P}\p{S} ]|[\p{Default_Ignorable_Code_Point}]/gu, escaped);
}

/** A character by its code point. */
export function escaped(character: string): string {
  if (character === '\r') return '\\r';
  const code = character.codePointAt(0)!.toString(16);
  return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`;
}

/** A name that is longer is shown without its middle: paths are told by their ends. */
const MAX_NAME = 400;
const SHOWN_END = 150;

function shortened(name: string): string {
  if (name.length <= MAX_NAME) return name;
  // By characters: half of one would be shown as damaged.
  const start = name.slice(0, MAX_NAME - SHOWN_END).replace(/[\ud800-\udbff]$/, '');
  return `${start}…${name.slice(-SHOWN_END).replace(/^[\udc00-\udfff]/, '')}`;
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
