/** Each part of Python's regular expressions by itself; what is found is what `re` of Python 3.11 finds. */
import { describe, expect, it } from 'vitest';
import { PythonRegExp } from '../../src/lora/python-regexp.js';
import { type Piece, parsePython } from '../../src/lora/python-regexp-syntax.js';

/** [pattern, texts that it matches whole, those of which it matches the start alone, those it does not match]. */
const FOUND: readonly (readonly [string, readonly string[], (readonly string[])?, (readonly string[])?])[] = [
  ['(?i)a|b', ['B'], [], ['c']],
  ['(?i)(a)\\1', ['aA', 'aa'], [], ['ab']],
  ['(?i)z', ['Z', 'z'], [], ['Y']],
  ['(?i)Z', ['z'], [], ['y']],
  ['(?i)\\[', ['['], [], ['{']],
  ['(?i)a{', ['A{'], [], ['a[']],
  ['(?i)\\x7f', ['\u007f'], [], ['_']],
  ['(?x)a b\u000b\f\r\t\nV', ['abV'], [], ['ab', 'ab\u000bV']],
  ['(?x)a#b\nc', ['ac'], [], ['ab', 'a']],
  ['(?x)a\\ b', ['a b'], [], ['ab']],
  ['(?x)[ ]a#', [' a'], [], ['a']],
  ['(?:ab)*?c', ['ababc', 'c'], [], ['abab']],
  ['(?:ab)??ab', ['ab', 'abab']],
  ['a??b', ['ab', 'b']],
  ['(?<=(?:)*)a', ['a']],
  ['(?:)?(?<=(?:a*){0})b', ['b']],
  ['abab(?<=(?:ab){2})c', ['ababc'], [], ['abab']],
  ['ab(?<=(?:ab))c', ['abc']],
  ['ab(?<=(?>ab))c', ['abc']],
  ['a(?<=(?!b)a)b', ['ab'], [], ['aa']],
  ['aab(?<=a(?=b)b)c', ['aabc']],
  ['(?P<a1>x)?(?(a1)b|c)', ['xb', 'c'], [], ['xc', 'b']],
  ['(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)?(?(10)k|l)', ['abcdefghijk', 'abcdefghil'], [], ['abcdefghijl']],
  ['(x)?[yz](?<=(?(1)y|z))', ['xy', 'z'], [], ['xz', 'y']],
  ['(a)?(?(1)b)c', ['abc', 'c'], [], ['ac']],
  ['(?-im:a)', ['a'], [], ['A']],
  ['(?i)(?-i:a)b', ['aB'], [], ['AB']],
  ['(?i:a)b', ['Ab'], [], ['aB']],
  ['(?a)(?u:\\w)', ['\u00e9', 'a']],
  ['(?a)\\w\\b.', ['a\u00e9'], [], ['ab']],
  ['\\w\\b.', ['a-'], [], ['a\u00e9']],
  ['(?a:\\d)', ['3'], [], ['\u0663']],
  ['\\d', ['\u0663']],
  ['(?a)\\s', [' '], [], ['\u001c']],
  ['\\s', ['\u001c', '\u2003']],
  ['[\\W]', ['-'], [], ['a']],
  ['(?s).', ['\n']],
  ['.', ['\u00e9'], [], ['\n']],
  ['(?m)a^b', [], [], ['ab']],
  ['(?m)a$b', [], [], ['ab']],
  ['(?m)a$\\n^b$', ['a\nb'], [], ['a\nbc']],
  ['a\\n^b', [], [], ['a\nb']],
  ['a$', [], ['a\n'], ['a\nb']],
  ['\\Aa\\Z', ['a'], [], ['a\n']],
  ['a[x]b|a[y]c', ['axb', 'ayc'], [], ['axc']],
  ['ab|ab', ['ab']],
  ['ax|aby|abz', ['ax', 'aby', 'abz'], [], ['ab']],
  ['ax|abz|abw', ['ax', 'abz', 'abw']],
  ['a|a|ab', ['a', 'ab']],
  ['(?:a|ab|abc)d', ['ad', 'abd', 'abcd']],
  ['abc|ab|a|', ['abc', 'ab', 'a', '']],
  ['\\x414', ['A4'], [], ['A']],
  ['\\u00e91', ['\u00e91']],
  ['\\U0010ffff', ['\udbff\udfff']],
  ['\\0', ['\u0000']],
  ['\\012', ['\n']],
  ['\\1013', ['A3']],
  ['[\\1]', ['\u0001']],
  ['[\\101-\\103]', ['B'], [], ['D']],
  ['[\\x41-C]', ['B']],
  ['(a)\\1', ['aa'], [], ['ab']],
  ['(a)(?:\\1)0', ['aa0']],
  ['[]a]', [']', 'a'], [], ['b']],
  ['[^]a]', ['b'], [], [']']],
  ['[a-]', ['a', '-'], [], ['b']],
  ['[-a]', ['-', 'a']],
  ['[a^]', ['^']],
  ['[.]', ['.'], [], ['a']],
  ['[\\b]', ['\b']],
  ['[a\\]]+', ['a]']],
  ['a{,2}', ['', 'a', 'aa'], ['aaa']],
  ['a{2}', ['aa'], [], ['a']],
  ['a{2,}', ['aa', 'aaa'], [], ['a']],
  ['a{,}', ['', 'aaa']],
  ['a{}', ['a{}']],
  ['a{1', ['a{1']],
  ['a{x}', ['a{x}']],
  ['a{1,2', ['a{1,2']],
  ['{', ['{']],
  ['a{0}b', ['b'], [], ['ab']],
  ['a++a', [], [], ['aa']],
  ['a*+b', ['aab']],
  ['a?+a', ['aa'], [], ['a']],
  ['a{1,2}+a', ['aaa'], [], ['aa']],
  ['(?:ab){1,2}+ab', ['ababab'], [], ['abab']],
  ['(?>a*)a', [], [], ['aa']],
  ['(?#c)a', ['a']],
  ['a(?!b)', ['a'], [], ['ab']],
  ['a(?=b)b', ['ab']],
  ['(?<!a)b', ['b']],
  ['a(?<!a)b', [], [], ['ab']],
  ['(?P<n>a)(?P=n)', ['aa'], [], ['ab']],
  ['\u00e9', ['\u00e9'], [], ['e']],
  ['[\u00e9-\u00eb]', ['\u00ea']],
  ['\\.', ['.'], [], ['a']],
  ['\\\u00e9', ['\u00e9']],
  ['(?i)[a-c]', ['B'], [], ['D']],
  ['(?i)[^a]', ['b'], [], ['A']],
];

/** [pattern, what is wrong with it]. */
const WRONG: readonly (readonly [string, string])[] = [
  ['a|(?i)b', 'the flags (?i) are not at the start'],
  ['(a)(?(1)(?i)b)', 'the flags (?i) are not at the start'],
  ['a(?im)b', 'the flags (?im) are not at the start'],
  ['a{4294967295}', 'the number of repetitions is too large'],
  ['a{4294967295,}', 'the number of repetitions is too large'],
  ['a{,4294967295}', 'the number of repetitions is too large'],
  ['a{3,2}', '{3,2} repeats at most less often than at least'],
  ['(?<=(?(1)a|b))(x)', 'cannot refer to the open group 1'],
  ['(a(?<=(?(1)a|b)))', 'cannot refer to the open group 1'],
  ['(a\\1)', 'cannot refer to the open group 1'],
  ['(x)?(?<=(?(1)yy|z))a', 'a look-behind needs a pattern of one length'],
  ['(x)?(?<=(?(1)y))a', 'a look-behind needs a pattern of one length'],
  ['(?<=a|bb)c', 'a look-behind needs a pattern of one length'],
  ['(?<=a?)b', 'a look-behind needs a pattern of one length'],
  ['(?<=(a)\\1)', 'cannot refer to group 1 of the same look-behind'],
  ['(?<=(a)(?(1)b|c))', 'cannot refer to group 1 of the same look-behind'],
  ['\\1', 'no group 1 to refer to'],
  ['(a)\\2', 'no group 2 to refer to'],
  ['*a', 'nothing to repeat before *'],
  ['(+a)', 'nothing to repeat before +'],
  ['\\b{2}', 'nothing to repeat before {'],
  ['a+{2}', 'two repetitions in a row, { being the second'],
  ['(?', 'the expression ends after (?'],
  ['(?#a', 'missing ) after the comment'],
  ['(?P<a>x)(?P<a>y)', 'two groups are called a'],
  ['(?P<a', 'missing > after the name'],
  ['(?P<>a)', 'missing name'],
  ['(?P<1>a)', 'bad character in the name of the group "1"'],
  ['(?P<a-b>a)', 'bad character in the name of the group "a-b"'],
  ['(?Pa)', 'unknown group (?Pa'],
  ['(?P', 'unknown group (?P'],
  ['(?P=', 'missing ) after the name'],
  ['(?P=x)', 'no group is called x'],
  ['(?<', 'unknown group (?<: Python writes (?P<name>…), (?<=…) and (?<!…)'],
  ['(?<x>a)', 'unknown group (?<x: Python writes (?P<name>…), (?<=…) and (?<!…)'],
  ['(?(', 'missing ) after the group'],
  ['(?(1a)b)', 'bad character in the name of the group "1a"'],
  ['(?(0)a|b)', 'there is no group 0 to ask for'],
  ['(?(n)a)', 'no group is called n'],
  ['(?(2)a|b)(c)', 'no group 2'],
  ['(a)(?(1)b|c|d)', 'a conditional group has more than two branches'],
  ['(?au:x)', 'the flags a and u exclude each other'],
  ['(?a)(?u)b', 'the flags a and u exclude each other'],
  ['(?-a:x)', 'the flags a and u cannot be turned off'],
  ['(?-u:x)', 'the flags a and u cannot be turned off'],
  ['(?i-i:x)', 'a flag is turned on and off at once'],
  ['(?i', 'unknown group or flag (?'],
  ['(?i-)', 'unknown group or flag (?)'],
  ['(?-:a)', 'unknown group or flag (?:'],
  ['(?iz:a)', 'unknown group or flag (?z'],
  ['(?L)a', 'the flag L is for bytes, not for text'],
  ['(a', 'missing )'],
  [')', 'unbalanced parenthesis )'],
  ['a\\', 'bad escape at the end'],
  ['\\x4', 'incomplete escape \\x4'],
  ['\\U00110000', 'incomplete escape \\U00110000'],
  ['\\400', 'octal escape \\400 is above \\377'],
  ['[\\777]', 'octal escape \\777 is above \\377'],
  ['\\p{L}', 'bad escape \\p'],
  ['[\\p]', 'bad escape \\p in a set'],
  ['[\\d-a]', 'bad character range \\d-a'],
  ['[b-a]', 'bad character range b-a'],
  ['[a-', 'unterminated character set'],
  ['[]', 'unterminated character set'],
  ['(?i)é', 'the flag i with characters beyond ASCII is not supported'],
  ['(?i)[a-é]', 'the flag i with characters beyond ASCII is not supported'],
  ['\\N{EM DASH}', '\\N{…}, a character by its name, is not supported: write the character'],
];

const verdict = (pattern: string, text: string): string => {
  const compiled = new PythonRegExp(pattern);
  return compiled.fullMatch(text) ? 'whole' : compiled.match(text) ? 'start' : 'none';
};
/** What is thrown for a pattern, or for a text that it is given. */
const fault = (pattern: string, text?: string): string => {
  try {
    const compiled = new PythonRegExp(pattern);
    if (text !== undefined) compiled.match(text);
  } catch (error) {
    expect(error).toBeInstanceOf(SyntaxError);
    return (error as SyntaxError).message;
  }
  return 'none';
};

describe('PythonRegExp', () => {
  it('finds what Python finds', () => {
    const found = FOUND.map(([pattern, ...lists]) => [
      pattern,
      ...lists.map((texts = []) => texts.map((text) => verdict(pattern, text))),
    ]);
    const kinds = ['whole', 'start', 'none'];
    expect(found).toEqual(
      FOUND.map(([pattern, ...lists]) => [pattern, ...lists.map((texts = [], i) => texts.map(() => kinds[i]))]),
    );
  });

  it('names what is wrong with a pattern', () => {
    expect(WRONG.map(([pattern]) => [pattern, fault(pattern)])).toEqual(WRONG);
  });

  it('knows letters in either case of ASCII alone, and says so of a name', () => {
    const beyond = 'the flag i with names beyond ASCII is not supported';
    for (const pattern of ['(?i)a', '(?i:a)', 'a|(?:b(?i:c))'])
      expect([fault(pattern, 'é'), fault(pattern, 'aé')]).toEqual([beyond, beyond]);
    for (const pattern of ['a', '(?s)a', '(?-i:a)']) expect(fault(pattern, 'é')).toBe('none');
  });

  it('takes groups of every kind to a depth of 200', () => {
    const nested = (open: string, depth: number) => `(x)?${open.repeat(depth)}a${')'.repeat(depth)}`;
    const tooDeep = 'groups nested more than 200 deep are not supported';
    for (const open of ['(', '(?:', '(?>', '(?=', '(?<=', '(?i:']) {
      expect(fault(nested(open, 200))).toBe('none');
      expect(fault(nested(open, 201))).toBe(tooDeep);
    }
    for (const open of ['(?(1)', '(?(1)b|']) {
      expect(fault(nested(open, 201))).toBe('none');
      expect(fault(nested(open, 202))).toBe(tooDeep);
    }
  });

  it('gives the text of the last turn of a group, and of one that is tried in vain none', () => {
    const groups = (pattern: string, text: string) => ({ ...new PythonRegExp(pattern).match(text)?.groups });
    expect(groups('(?:ab)*?(?P<n>.*)', 'abab')).toEqual({ n: 'abab' });
    expect(groups('(?:ab)*(?P<n>.*)', 'ababc')).toEqual({ n: 'c' });
    expect(groups('(?P<n>[ab])+c', 'abc')).toEqual({ n: 'b' });
    expect(groups('(?:(?P<n>a)|b)+c', 'abc')).toEqual({ n: 'a' });
    expect(groups('(?:(?P<n>a)c|ab)', 'ab')).toEqual({ n: undefined });
    expect(groups('(?!(?P<n>a)b)a', 'ac')).toEqual({ n: undefined });
    expect(groups('(?=(?P<n>a))a', 'ac')).toEqual({ n: 'a' });
    expect(groups('(?:(?>(?P<n>a))c|ab)', 'ab')).toEqual({ n: undefined });
    expect(groups('(?:(?=(?P<n>a))c|ab)', 'ab')).toEqual({ n: undefined });
    expect(groups('(?:(?P<n>a)++c|aab)', 'aab')).toEqual({ n: undefined });
    expect(groups('(?P<n>🦴.)', '🦴éx')).toEqual({ n: '🦴é' });
  });
});

describe('a list of names', () => {
  const characters = (piece: Piece): number => {
    if (piece.kind === 'character') return 1;
    return 'pieces' in piece ? piece.pieces.reduce((sum, one) => sum + characters(one), 0) : 0;
  };
  it.each([
    ['ab|ac|ad', 4],
    ['abc|abd|ax|b', 6],
    ['ab|ac|xb|xc', 6],
    ['ab|xb|ac', 6],
    ['a.b|a.c', 5],
    ['[a]b|[a]c', 4],
    ['ab|ab|ab', 2],
    ['ab|a', 2],
    ['|ab|', 2],
    ['(?i)ab|(?i:a)c', 3],
  ] as const)('is kept with what its neighbours share: %s', (pattern, count) => {
    expect(characters(parsePython(pattern).root)).toBe(count);
  });
});
