/** Names that are markup, escapes or blanks somewhere, and readers of what is written with them; both come with typedoc. */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

interface MarkdownIt {
  render(text: string): string;
  renderInline(text: string): string;
  readonly linkify: { tlds(endings: readonly string[]): unknown };
}

/** GitHub's Markdown: HTML counts, and addresses become links. */
export const markdown: MarkdownIt = new (require('markdown-it') as new (options: object) => MarkdownIt)({
  html: true,
  linkify: true,
});
// GitHub makes links of addresses, not of bare names: `a.bw` is a file here and not a place in Botswana.
markdown.linkify.tlds(['com', 'org', 'net']);

export const parseYaml: (text: string) => unknown = (require('yaml') as { parse: (text: string) => unknown }).parse;

/** The text that a browser shows of HTML; fails on elements other than these. */
export function shownText(html: string, allowed: readonly string[] = []): string {
  const text = html.replace(/<\/?([a-z0-9]+)[^>]*>/gi, (tag, name: string) => {
    if (!allowed.includes(name)) throw new Error(`unexpected ${tag} in ${html}`);
    return '';
  });
  const names: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"' };
  return text.replace(/&(\w+|#\d+);/g, (_, name: string) =>
    name.startsWith('#') ? String.fromCodePoint(Number(name.slice(1))) : names[name]!,
  );
}

/** Each is shown as it stands by what is printed as text. */
export const MARKUP_NAMES: readonly string[] = [
  ...['<img src=x onerror=alert(1)>', '<script>alert(1)</script>', '<b>', '</td></table>', '<!--', '<a@b.example>'],
  ...[
    'a|b',
    '|',
    'a\\|b',
    'a\\',
    '\\',
    '\\\\|',
    '*x*',
    '**x**',
    '_x_',
    '__x__',
    'a_b_c',
    '_a',
    '~~x~~',
    '`x`',
    '``',
    '`',
  ],
  ...['[link](javascript:alert(1))', '![i](http://x.example/y.png)', '[x]: http://x.example', '[^1]', '[ ] task'],
  ...['http://x.example', 'https://x.example/a_b', 'www.x.example', 'HTTP://X.EXAMPLE', 'ftp://x.example'],
  ...['---', '***', '___', '- x', '+ x', '* x', '# x', '#', '## x ##', '1. x', '1) x', '> x', '===', '=', '+', '-'],
  ...[
    '&lt;',
    '&#60;',
    '&copy;',
    '&',
    'AT&T',
    'p < 0.05 > q',
    '$x$',
    'a: b',
    'a #b',
    '"x"',
    "'x'",
    '{x}',
    '%x',
    '@x',
    '!x',
  ],
  ...[
    'null',
    'yes',
    '~',
    '1e3',
    '0x1f',
    '2020-01-01',
    '? x',
    ': x',
    'Ärger',
    '鳥',
    '한국',
    'فارسی می\u200cخواهم',
    '👩\u200d🔬',
    '❤\ufe0f',
  ],
];

/** What must not reach a terminal: each holds at least one. */
export const HOSTILE_NAMES: readonly string[] = [
  'esc\u001b]0;owned\u0007',
  'clear\u001b[2J\u001b[H',
  'return\rforged',
  'lines\nsaved /x\nwarning: forged',
  'hint\n  hint: all is well',
  'tab\there',
  'csi\u009b31m',
  'nel\u0085x',
  'del\u007fx',
  'back\u0008\u0008x',
  'bidi\u202egnp.exe',
  'isolate\u2066x\u2069',
  'mark\u200e\u200f\u061cx',
  'zero\u200bwidth\u2060\ufeff',
  'joined\u200dx\u200c',
  'separator\u2028x\u2029',
  'tags\u{e0041}\u{e0042}',
  'soft\u00adhyphen',
  'lone\ud83dx',
];

/** What a terminal obeys or hides; line feeds are the messages' own. */
export const UNSAFE = new RegExp(
  '[\\u0000-\\u0009\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]|' +
    '[\\u{e0000}-\\u{e007f}]|\\p{Surrogate}',
  'u',
);
