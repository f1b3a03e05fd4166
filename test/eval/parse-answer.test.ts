import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { createAnswerParser } from '../../src/eval/parse-answer.js';

const NAMES = ['Avulsion fracture', 'Fracture Dislocation', 'Hairline Fracture', 'Müller fracture'];

describe('createAnswerParser', () => {
  it.each([
    'Hairline Fracture',
    ' hairline fracture\n',
    'HAIRLINE FRACTURE.',
    '**Hairline Fracture**',
    '**Hairline Fracture.**',
    '`Hairline Fracture`',
    '"Hairline Fracture".',
    '“Hairline  Fracture”',
    '# Hairline Fracture',
    '- *Hairline\tFracture*!',
    '> Hairline Fracture;',
    '```\nHairline Fracture\n```',
  ])('normalized: reads %j', (answer) => {
    expect(createAnswerParser(NAMES)(answer)).toBe(2);
  });

  it.each([
    '',
    '   ',
    '...',
    '**',
    'It is a Hairline Fracture',
    'Hairline Fracture or Avulsion fracture',
    'Hairline Fracture. The bone shows a thin line',
    'Class: Hairline Fracture',
    'Hairline',
    'Fracture',
    'Hairline Fractures',
    'HairlineFracture',
    '(Hairline Fracture)',
  ])('normalized: %j is no class', (answer) => {
    expect(createAnswerParser(NAMES)(answer)).toBeUndefined();
  });

  it('takes composed and decomposed letters as the same', () => {
    expect(createAnswerParser(NAMES)('mu\u0308ller FRACTURE')).toBe(3);
  });

  it('exact: only white space at the ends is forgiven', () => {
    expect(createAnswerParser(NAMES, 'exact')(' Hairline Fracture\n')).toBe(2);
    expect(createAnswerParser(NAMES, 'exact')('hairline fracture')).toBeUndefined();
    expect(createAnswerParser(NAMES, 'exact')('Hairline Fracture.')).toBeUndefined();
  });

  it('reads every class name back in both modes, also odd ones', () => {
    const names = ['C', 'C#', '.NET', '?', '!', '*', '1.', 'a-b', 'N/A', '#5'];
    for (const mode of ['exact', 'normalized'] as const)
      expect(names.map(createAnswerParser(names, mode))).toEqual(names.map((_, i) => i));
  });

  it('reads any list of distinct words back', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.stringMatching(/^[a-z]{1,8}( [a-z]{1,8})?$/), { minLength: 1 }), (names) => {
        const parse = createAnswerParser(names);
        expect(names.map((name) => parse(`"${name.toUpperCase()}".`))).toEqual(names.map((_, i) => i));
        expect(parse(`${names[0]} 9`)).toBeUndefined();
      }),
    );
  });

  it('does not take long for long answers', () => {
    const start = process.cpuUsage();
    for (const unit of ['* ', '#', '.', '"', '> ', '- * ', ' \n', '**a'])
      createAnswerParser(NAMES)(`${unit.repeat(100_000)}x`);
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(1);
  });

  it('refuses class names that cannot be told apart', () => {
    expect(() => createAnswerParser([])).toThrow(ConfigError);
    expect(() => createAnswerParser(['a', ' '])).toThrow(/name 1 is empty/);
    expect(() => createAnswerParser(['a', 'b', 'a'], 'exact')).toThrow(/"a" \(0\) and "a" \(2\)/);
    expect(() => createAnswerParser(['Yes', 'yes!'])).toThrow(/read the same in mode 'normalized'/);
    expect(createAnswerParser(['Yes', 'yes!'], 'exact')('yes!')).toBe(1);
  });
});
