import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PythonRegExp } from '../../src/lora/python-regexp.js';

interface Fixture {
  readonly names: readonly string[];
  /** [pattern, fullmatch, match] by name, null for an error. */
  readonly patterns: readonly (readonly [string, string | null, string | null])[];
}

const fixture = JSON.parse(readFileSync(new URL('../fixtures/regexp/regexp.json', import.meta.url), 'utf8')) as Fixture;

/** What Python knows and this package refuses by name. */
const NOT_KNOWN_HERE = [
  /beyond ASCII is not supported/,
  /\\N\{…\}.* is not supported/,
  /flag \(\?t/,
  /name of the group/,
];

describe('PythonRegExp', () => {
  it('finds in each name what Python finds, or says that it does not know the pattern', () => {
    const wrong: string[] = [];
    const refused: string[] = [];
    let pairs = 0;
    for (const [pattern, full, match] of fixture.patterns) {
      // The newest Python calls the end \z as well.
      if (pattern === 'a\\z') continue;
      let compiled: PythonRegExp;
      try {
        compiled = new PythonRegExp(pattern);
      } catch (error) {
        const { message } = error as Error;
        if (full === null) expect(error).toBeInstanceOf(SyntaxError);
        else if (NOT_KNOWN_HERE.some((known) => known.test(message))) refused.push(pattern);
        else wrong.push(`${pattern}: ${message}`);
        continue;
      }
      if (full === null || match === null) {
        wrong.push(`${pattern}: an error in Python`);
        continue;
      }
      for (const [i, name] of fixture.names.entries()) {
        let found: string;
        try {
          found = `${compiled.fullMatch(name) ? 1 : 0}${compiled.match(name) ? 1 : 0}`;
        } catch (error) {
          expect((error as Error).message).toMatch(/with names beyond ASCII is not supported/);
          continue;
        }
        pairs++;
        if (found !== full[i]! + match[i]!) wrong.push(`${pattern} on ${JSON.stringify(name)}: ${found}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(refused.length).toBeLessThan(6);
    expect(pairs).toBeGreaterThan(12_000);
  });

  it.each([
    ['(?<n>a)', /Python writes \(\?P<name>/],
    ['a(?i)b', /are not at the start/],
    ['a**', /two repetitions in a row/],
    ['(?<=a*)b', /look-behind needs a pattern of one length/],
    ['[a-\\d]', /bad character range a-\\d/],
    ['\\p{L}', /bad escape \\p/],
    ['(a', /missing \)/],
    ['a)', /unbalanced parenthesis/],
    ['\\N{EM DASH}', /write the character/],
    ['(?L)a', /flag L is for bytes/],
    ['(?(2)a|b)(c)', /no group 2/],
    [`${'('.repeat(300)}a${')'.repeat(300)}`, /nested more than 200 deep/],
  ])('says what is wrong with %s', (pattern, message) => {
    expect(() => new PythonRegExp(pattern)).toThrow(message);
  });

  it('takes \\z for the end, as Python 3.14 does', () => {
    expect(new PythonRegExp('a\\z').match('a')).toBeDefined();
    expect(new PythonRegExp('a\\z').match('a\n')).toBeUndefined();
    expect(new PythonRegExp('a$').match('a\n')).toBeDefined();
  });

  it('gives the texts of named groups, undefined for one that took no part', () => {
    const pattern = new PythonRegExp('.*?(?P<layer>\\d+)(?:\\.(?P<rest>x))?');
    expect(pattern.match('layers.12.y')?.groups).toEqual({ layer: '12', rest: undefined });
    expect(pattern.match('layers.12.x')?.groups).toEqual({ layer: '12', rest: 'x' });
    expect(pattern.match('layers')).toBeUndefined();
  });

  it('turns a possessive repetition further after an empty turn that was owed', () => {
    // The first turn is empty and sets the group, by which the second takes the letter.
    expect(new PythonRegExp('(?P<n>(?(n)\\w+?))++').fullMatch('a')).toBeDefined();
  });

  it('keeps the order of branches that start alike', () => {
    expect(new PythonRegExp('(?>ab|abc)d').match('abcd')).toBeUndefined();
    expect(new PythonRegExp('(?>abc|ab)d').match('abcd')).toBeDefined();
    expect(new PythonRegExp('(?>ab|x|abc|ab\\.c|abd)e').fullMatch('abe')).toBeDefined();
    expect(new PythonRegExp('(?:abc|abd|a|b)+').fullMatch('abcabdab')).toBeDefined();
  });
});
