import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/errors.js';
import { distinctNames, oneLine, printable, tableCell, warningLine } from '../../src/messages/one-line.js';
import { showValue } from '../../src/messages/show-value.js';
import { HOSTILE_NAMES, MARKUP_NAMES, UNSAFE } from '../markup.js';

describe('a name in a message', () => {
  it.each(HOSTILE_NAMES.map((name) => [JSON.stringify(name), name]))('%s is safe, on one line', (_, name) => {
    for (const shown of [
      oneLine(name),
      warningLine(name),
      tableCell(name),
      showValue(name),
      showValue({ [name]: 1 }),
    ]) {
      expect(shown).not.toMatch(UNSAFE);
      expect(shown).not.toContain('\n');
    }
    expect(printable(name).replaceAll('\t', '')).not.toMatch(UNSAFE);
  });

  it.each(MARKUP_NAMES)('%s stays what it is', (name) => {
    for (const shown of [oneLine(name), warningLine(name), tableCell(name), printable(name)]) expect(shown).toBe(name);
  });

  it('says what is hidden', () => {
    expect(oneLine('a\u001b[2J\r\n\t\u202e\u200b\u{e0041}\ud83d')).toBe(
      'a\\u001b[2J\\r\\n\\t\\u202e\\u200b\\u{e0041}\\ud83d',
    );
  });

  it.each([
    'می\u200cخواهم',
    'क\u094d\u200dष',
    '👩\u200d👩\u200d👧',
    '👩🏽\u200d🔬',
    '❤\ufe0f',
    '1\ufe0f\u20e3',
    '葛\u{e0100}',
  ])('keeps the joiners and variants that writing needs: %s', (name) => expect(oneLine(name)).toBe(name));

  it.each(['cat\u200d', '\u200ccat', 'ca\u200dt', 'c\ufe0fat', 'c\u{e0100}at'])(
    'shows those that nobody sees: %j',
    (name) => {
      expect(oneLine(name)).toMatch(/\\u/);
    },
  );

  it('is shortened in the middle, between whole characters', () => {
    const name = `/data/${'😀'.repeat(5000)}/last.png`;
    const shown = oneLine(name);
    expect(shown.length).toBeLessThanOrEqual(402);
    expect(shown).toMatch(/^\/data\/😀+…😀+\/last\.png$/u);
    expect(warningLine('x'.repeat(100_000)).length).toBeLessThan(5000);
  });
});

describe('an error', () => {
  it('shows no control character of names, hints and causes, and keeps the names themselves in its details', () => {
    for (const name of HOSTILE_NAMES) {
      const cause = Object.assign(new Error(`ENOENT: open '${name}'`, { cause: new Error(name) }), { code: 'ENOENT' });
      const error = new DataError(`${name}: not found`, { hint: `Is ${name} there?`, details: { path: name }, cause });
      for (const text of [error.message, error.hint!, error.stack!.split('\n    at ')[0]!]) {
        expect(text.replaceAll('\t', '')).not.toMatch(UNSAFE);
      }
      expect(error.message.split('\n')).toHaveLength(3);
      expect(error.details).toEqual({ path: name });
      const inner = error.cause as NodeJS.ErrnoException & { cause: Error };
      for (const text of [inner.message, inner.stack!, inner.cause.message, inner.cause.stack!]) {
        expect(text.replaceAll('\t', '')).not.toMatch(UNSAFE);
      }
      expect(inner).toBeInstanceOf(Error);
      expect(inner.code).toBe('ENOENT');
    }
  });

  it('passes on a harmless cause as it is', () => {
    const cause = new Error('plain\nlines');
    expect(new DataError('x', { cause }).cause).toBe(cause);
    expect(new DataError('x', { cause: 'a text' }).cause).toBe('a text');
  });

  it('keeps the lines of a message, also where its details hold messages', () => {
    const reason = 'two faults:\n  - one\n  - two';
    expect(new DataError(`no: ${reason}`, { details: { reason } }).message).toBe(`no: ${reason}`);
  });
});

describe('names in a report', () => {
  it('are told apart where they differ in what nobody sees', () => {
    const long = 'x'.repeat(10_000);
    const names = [
      ...['cat', 'cat\u200b', 'cat ', ' cat', 'cat\u00a0', 'ca\u00adt', 'c\u034fat', 'cat\u202c', 'cat\ufe0f', 'cat\n'],
      ...[
        'a b',
        'a  b',
        'a\tb',
        'a\u2003b',
        'é',
        'e\u0301',
        '가',
        '\u1100\u1161',
        '',
        '\u3164',
        'dog\\u200b',
        'dog\u200b',
      ],
      ...[`${long}y${long}`, `${long}z${long}`, 'me', 'ME', '❤', '❤\ufe0f'],
    ];
    const shown = distinctNames(names);
    const looks = shown.map((name) => name.normalize('NFC').replace(/\p{Default_Ignorable_Code_Point}|^ | $/gu, ''));
    expect(new Set(looks).size).toBe(names.length);
    for (const name of shown) {
      expect(name).not.toMatch(UNSAFE);
      expect(name.length).toBeLessThan(200);
    }
    expect(shown[0]).toBe('cat');
    expect(shown.slice(1, 3)).toEqual(['cat\\u200b', 'cat\\u0020']);
  });

  it('are left alone otherwise', () => {
    expect(distinctNames(MARKUP_NAMES.filter((name) => !/^❤/.test(name)))).toEqual(
      MARKUP_NAMES.filter((name) => !/^❤/.test(name)),
    );
  });
});
