import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { markdownTable, textTable } from '../../src/eval/text-table.js';
import { escapeMarkdown, markdownCode, yamlString } from '../../src/messages/markdown.js';
import { printable } from '../../src/messages/one-line.js';
import { HOSTILE_NAMES, MARKUP_NAMES, markdown, parseYaml, shownText, UNSAFE } from '../markup.js';

const special = fc.string({
  unit: fc.constantFrom(
    ...'\\`*_{}[]()<>#+-.!|~&$:/@=^"\' \tabw1;',
    'http://',
    'www.',
    '&lt;',
    '&#60;',
    '<b>',
    '](x)',
    'é',
  ),
  maxLength: 12,
});

/** As Markdown shows spaces. */
const spaced = (text: string) => text.replace(/ +/g, ' ').trim();

describe('a name in Markdown', () => {
  it.each(MARKUP_NAMES)('is shown as itself: %s', (name) => {
    expect(shownText(markdown.render(escapeMarkdown(name)), ['p']).trim()).toBe(spaced(name));
    expect(shownText(markdown.render(`Classes: ${escapeMarkdown(name)}, cat.`), ['p']).trim()).toBe(
      `Classes: ${spaced(name)}, cat.`,
    );
    expect(shownText(markdown.render(`# ${escapeMarkdown(name)}`), ['h1']).trim()).toBe(spaced(name));
  });

  it('is shown as itself whatever it is made of', () => {
    fc.assert(
      fc.property(special, special, (name, other) => {
        const text = `x ${escapeMarkdown(name)} y ${escapeMarkdown(other)} z`;
        const shown = spaced(`x ${name} y ${other} z`.replaceAll('\t', '\\t'));
        expect(spaced(shownText(markdown.render(text), ['p']))).toBe(shown);
        expect(spaced(shownText(markdown.render(escapeMarkdown(name)), ['p']))).toBe(
          spaced(name.replaceAll('\t', '\\t')),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['//awww.w', '///host.example', 'https://a.b', '//a.b//c.d'])('is no link: %s', (name) => {
    expect(shownText(markdown.render(`x ${escapeMarkdown(name)} z`), ['p']).trim()).toBe(`x ${name} z`);
  });

  it('is one cell of a table, as text and as code', () => {
    fc.assert(
      fc.property(special, (name) => {
        const html = markdown.render(markdownTable(['a', 'b'], [[name, 'end']], ['left', 'left']));
        const [, first, last] = /<tbody>\n<tr>\n<td>(.*)<\/td>\n<td>(.*)<\/td>\n<\/tr>/.exec(html)!;
        expect(last).toBe('end');
        expect(spaced(shownText(first!))).toBe(spaced(name.replaceAll('\t', ' ')));
        const coded = markdown.render(`| a | b |\n|---|---|\n| ${markdownCode(name)} | end |`);
        const [, code, after] = /<td><code>(.*)<\/code><\/td>\n<td>(.*)<\/td>\n<\/tr>/.exec(coded)!;
        expect(after).toBe('end');
        expect(spaced(shownText(code!))).toBe(spaced(name.replaceAll('\t', '\\t')));
      }),
      { numRuns: 2000 },
    );
  });

  it.each(HOSTILE_NAMES.map((name) => [JSON.stringify(name), name]))('hides nothing: %s', (_, name) => {
    const tables = [markdownTable, textTable].map((table) => table(['a'], [[name]], ['left']));
    for (const text of [escapeMarkdown(name), markdownCode(name), ...tables]) expect(text).not.toMatch(UNSAFE);
    expect(escapeMarkdown(name).split('\n')).toHaveLength(1);
    expect(tables.map((table) => table.split('\n').length)).toEqual([3, 3]);
    expect(shownText(markdown.renderInline(escapeMarkdown(name)))).toBe(
      printable(name).replaceAll('\n', '\\n').replaceAll('\t', '\\t'),
    );
  });
});

describe('a name in YAML', () => {
  const texts = [
    ...MARKUP_NAMES,
    ...HOSTILE_NAMES,
    'a: b # c',
    '---',
    '...',
    '- x',
    '!!js/function',
    '&a *a',
    '%YAML',
    '\u0085',
  ];

  it.each(texts.map((name) => [JSON.stringify(name), name]))('is read as itself: %s', (_, name) => {
    const text = `---\nname: ${yamlString(name)}\nlist:\n  - ${yamlString(name)}\nend: true\n`;
    const read = name.replace(/\p{Surrogate}/gu, '\ufffd');
    expect(parseYaml(text)).toEqual({ name: read, list: [read], end: true });
    expect(text).not.toMatch(UNSAFE);
    expect(text.split('\n')).toHaveLength(6);
  });
});
