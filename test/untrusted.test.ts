/** The small parts on which the refusal of hostile files rests. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withinTime } from '../src/async/time-limit.js';
import { ConfigError, DataError } from '../src/errors.js';
import { parseJson, readJson } from '../src/files/read-json.js';
import { openRegularFile, readRegularFile } from '../src/files/regular-file.js';
import { showValue } from '../src/messages/show-value.js';
import { fuzzConfigs, fuzzPictures, fuzzSafetensors } from './fuzz/fuzz.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'untrusted-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const json = (text: string, anyKey = false): unknown => parseJson(Buffer.from(text), { anyKey });

describe('parseJson', () => {
  it('reads ordinary JSON', () => {
    expect(json('{"a": [1, {"b": "}]{["}], "c\\"": "\\\\"}')).toEqual({ a: [1, { b: '}]{[' }], 'c"': '\\' });
    expect(json(`${'['.repeat(100)}${']'.repeat(100)}`)).toBeInstanceOf(Array);
  });

  it.each([
    ['nesting', '['.repeat(101) + ']'.repeat(101), /nests more than 100 deep/],
    ['a megabyte of brackets', '['.repeat(1_000_000), /nests more than 100 deep/],
    ['a million lists', `[${'[],'.repeat(1_000_000)}0]`, /more than 1000000 lists/],
    ['__proto__', '{"a": {"__proto__": {"r": 1}}}', /__proto__/],
    ['__proto__ in disguise', '{"a": [{"\\u005f_pro\\u0074o__": 1}]}', /__proto__/],
    ['text', 'NaN', /JSON/],
    ['a cut', '{"a": "b', /JSON/],
  ])('refuses %s', (_, text, message) => {
    expect(() => json(text)).toThrow(SyntaxError);
    expect(() => json(text)).toThrow(message);
  });

  it('refuses what is no UTF-8', () => {
    expect(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(/not UTF-8/);
  });

  it('keeps __proto__ as an ordinary key where keys are data', () => {
    const value = json('{"__proto__": 7}', true) as Record<string, unknown>;
    expect(Object.entries(value)).toEqual([['__proto__', 7]]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });
});

describe('readJson and openRegularFile', () => {
  it('do not wait for a pipe, nor read folders, devices and files that are too large', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    await expect(readJson(pipe)).rejects.toThrow('not a regular file');
    await expect(openRegularFile('/dev/zero')).rejects.toThrow('not a regular file');
    await expect(openRegularFile(folder)).rejects.toThrow('a folder, not a file');
    await expect(openRegularFile(join(folder, 'none'))).rejects.toThrow(/ENOENT/);
    const path = join(folder, 'large.json');
    await writeFile(path, '[1, 2]');
    await expect(readJson(path, { maxBytes: 5 })).rejects.toThrow('it has 6 bytes, at most 5 are read');
    expect(await readJson(path, { maxBytes: 6 })).toEqual([1, 2]);
    expect((await readRegularFile(path, 6)).toString()).toBe('[1, 2]');
  });
});

describe('showValue', () => {
  it('shows short values as JSON, and little of others', () => {
    expect(showValue({ a: [1, 'x', null, true] })).toBe('{"a":[1,"x",null,true]}');
    expect(showValue(undefined)).toBe('nothing');
    expect(showValue(Number.NaN)).toBe('NaN');
    expect(showValue([])).toBe('[]');
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(showValue(deep)).toBe('[[[[…]]]]');
    expect(showValue('x'.repeat(1e6)).length).toBeLessThan(130);
    expect(showValue(Array.from({ length: 1e6 }, () => ({ key: 'x'.repeat(50) }))).length).toBeLessThan(130);
  });
});

describe('withinTime', () => {
  const timeout = (): Error => new DataError('too slow');
  it('gives results and errors on', () => {
    expect(withinTime(1000, () => 42, timeout)).toBe(42);
    expect(() =>
      withinTime(
        1000,
        () => {
          throw new ConfigError('own');
        },
        timeout,
      ),
    ).toThrow(ConfigError);
    expect(withinTime(1000, () => withinTime(1000, () => 'inner', timeout), timeout)).toBe('inner');
  });

  it('ends regular expressions and loops', () => {
    expect(() => withinTime(50, () => /^(a+)+$/.test(`${'a'.repeat(50)}!`), timeout)).toThrow('too slow');
    expect(() =>
      withinTime(
        50,
        () => {
          for (;;);
        },
        timeout,
      ),
    ).toThrow('too slow');
    expect(withinTime(1000, () => 1, timeout)).toBe(1);
  });
});

describe('messages of errors', () => {
  it('cannot drive a terminal, and do not grow with what they quote', () => {
    const { message } = new DataError('\u001b[2J\u202efoo\u0007.jpg\u009b31m: no\npicture', { hint: 'a\u0000b' });
    const shown = '\\u001b[2J\\u202efoo\\u0007.jpg\\u009b31m: no\npicture\n  hint: a\\u0000b';
    expect(message.startsWith(`${shown}\n  see https://`)).toBe(true);
    expect(new DataError(`${'x'.repeat(1e6)}\nsecond`).message).toMatch(/^x{2000}…\nsecond$/);
  });
});

describe('mutated files', () => {
  it('are read or refused, soon and in little memory', { timeout: 60_000 }, async () => {
    const safetensors = await fuzzSafetensors({ count: 600, seed: 11 });
    expect(safetensors.failures).toEqual([]);
    // Neither all nor nothing: the mutations reach what lies behind the first check.
    expect(safetensors.accepted).toBeGreaterThan(20);
    expect(safetensors.refused).toBeGreaterThan(300);
    for (const [name, tally] of await fuzzConfigs({ count: 240, seed: 12 })) {
      expect([name, tally.failures]).toEqual([name, []]);
      expect(tally.refused).toBeGreaterThan(0);
    }
    for (const [name, tally] of await fuzzPictures({ count: 120, seed: 13 })) {
      expect([name, tally.failures]).toEqual([name, []]);
    }
  });
});
