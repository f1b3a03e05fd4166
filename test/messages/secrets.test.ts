import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { ConfigError, HubError } from '../../src/errors.js';
import { keepCredentials, keepSecret, redact, redactAddresses } from '../../src/messages/secrets.js';

const TOKEN = 'hf_Ab3+dE/fG=hI&jK';
keepSecret(TOKEN);

const escapes = (form: (code: string) => string): string =>
  [...TOKEN].map((letter) => form(letter.charCodeAt(0).toString(16).padStart(2, '0'))).join('');

it.each([
  ['as it is', TOKEN],
  ['in capitals', TOKEN.toUpperCase()],
  ['percent-encoded', encodeURIComponent(TOKEN)],
  ['percent-encoded twice', encodeURIComponent(encodeURIComponent(TOKEN))],
  ['percent-encoded letter by letter', escapes((hex) => `%${hex}`)],
  ['in JSON', JSON.stringify(TOKEN).replace('/', '\\/')],
  ['in JSON, letter by letter', escapes((hex) => `\\u00${hex}`)],
  ['in HTML', TOKEN.replace('&', '&#38;').replace('/', '&#x2F;')],
  ['in lines', `${TOKEN.slice(0, 7)}\r\n ${TOKEN.slice(7)}`],
  ['in lines, escaped', `${TOKEN.slice(0, 7)}\\n${TOKEN.slice(7)}`],
  ['in base64', Buffer.from(TOKEN).toString('base64')],
  ['in base64 behind a word', Buffer.from(`Bearer ${TOKEN}`).toString('base64')],
  ['in base64 with something before and behind', Buffer.from(`xx${TOKEN}yyy`).toString('base64url')],
  ['in hex', Buffer.from(TOKEN).toString('hex')],
  ['cut', TOKEN.slice(0, 16)],
])('a secret is hidden %s', (_how, written) => {
  const clean = redact(`before ${written} behind`);
  expect(clean).toContain('***');
  expect(clean).toMatch(/^before .* behind$/s);
  // Two or three letters of base64 beside the secret depend on its neighbours too.
  expect(clean.length).toBeLessThan('before  behind'.length + 20);
});

it('what is no secret stays', () => {
  keepSecret('abc');
  keepSecret('word77');
  expect(redact('abc of hf_Ab3, password77 and word77')).toBe('abc of hf_Ab3, password77 and ***');
});

it('of user and password the password is the secret, and both in base64', () => {
  const pair = Buffer.from('somebody:p4ssw0rd!').toString('base64');
  keepCredentials(`Basic ${pair}`);
  expect(redact(`somebody wrote p4ssw0rd! or ${pair}`)).toBe('somebody wrote *** or ***');
});

it('a secret that contains another goes as a whole', () => {
  keepSecret('tail-of-it');
  keepSecret('head-and-tail-of-it');
  keepSecret('tail-of-it');
  expect(redact('(head-and-tail-of-it)')).toBe('(***)');
});

it('addresses lose users, passwords and queries', () => {
  expect(
    redactAddresses('see https://me:pw@host.example/a?X-Signature=abc&b=c, "http://h/x?y" and http:\\/\\/h?z'),
  ).toBe('see https://***@host.example/a?*** "http://h/x?***" and http:\\/\\/h?***');
  expect(redactAddresses('file /a?b, https://host/path (1?)')).toBe('file /a?b, https://host/path (1?)');
});

it('errors show none, in any part', () => {
  const inner = Object.assign(new TypeError(`fetch of ${TOKEN}`), { code: 'ECODE', body: { said: TOKEN } });
  const deep = new Error('outer', { cause: new AggregateError([inner], 'several') });
  const error = new HubError(`it says ${TOKEN}`, {
    hint: `not ${TOKEN}`,
    details: { list: [{ [TOKEN]: { text: `x${TOKEN}` } }], url: 'https://h/p?signature=1' },
    cause: deep,
  });
  const shown = inspect(error, { depth: 20, showHidden: true }) + error.stack + JSON.stringify(error.details);
  expect(shown).not.toContain(TOKEN);
  expect(shown).not.toContain('signature=1');
  expect(error.details).toEqual({ list: [{ '***': { text: 'x***' } }], url: 'https://h/p?***' });
  expect((error.cause as Error).message).toBe('outer');
  const several = (error.cause as Error).cause as AggregateError;
  expect(several.errors[0]).toMatchObject({ name: 'TypeError', code: 'ECODE', message: 'fetch of ***' });
});

it('causes without one are kept as they are', () => {
  const cause = new TypeError('x', { cause: new Error('y') });
  expect(new ConfigError('z', { cause }).cause).toBe(cause);
});

it('takes no longer for texts that almost are one', () => {
  const text = `${TOKEN.slice(0, 15)}${' '.repeat(8)}`.repeat(20_000) + 'h'.repeat(100_000);
  expect(redact(text)).toBe(text);
});

it('nor for a text of backslashes alone', () => {
  // Without a bound it takes more than ten seconds; the runner gives a test five.
  expect(redact('\\'.repeat(65_536))).toHaveLength(65_536);
});

it.each(['main', 'damaged', 'Password', 'a', 'train'])('"%s" as a secret leaves the messages readable', (word) => {
  keepSecret(word);
  const error = new HubError(`no revision "${word}"`, { details: { [word]: word } });
  expect(error.message).toBe(`no revision "${word}"`);
  expect(error.details).toEqual({ [word]: word });
});

it('a secret of letters alone counts as a word of its own', () => {
  keepSecret('snapshot');
  expect(redact('snapshotDownload and snapshots say snapshot.')).toBe('snapshotDownload and snapshots say ***.');
});

it('a token in the place of the user is a secret', () => {
  keepCredentials(`Basic ${Buffer.from('gl-t0ken-5:').toString('base64')}`);
  expect(redact('the token: gl-t0ken-5')).toBe('the token: ***');
});

it('what has no secret stays the very thing: circles, numbers, bytes, classes', () => {
  const circle: Record<string, unknown> = { n: 1, nan: Number.NaN, big: 10n, bytes: Buffer.from('x'), at: new Date(0) };
  Object.assign(circle, { self: circle, other: circle, map: new Map([['a', circle]]) });
  class OwnError extends Error {}
  const cause = Object.assign(new OwnError('fine'), { big: 10n });
  Object.assign(cause, { self: cause, cause });
  const error = new HubError('x', { details: { circle }, cause });
  expect(error.details.circle).toBe(circle);
  expect(error.cause).toBe(cause);
});

it('what has one keeps its form, its class and its other fields', () => {
  const circle: Record<string, unknown> = { said: TOKEN, status: 403, list: [1, TOKEN] };
  circle.self = circle;
  const inner = Object.assign(new RangeError(`of ${TOKEN}`), { status: 403, body: circle, request: new Headers() });
  const error = new HubError('x', {
    details: { circle, inner, map: new Map([[TOKEN, new Set([TOKEN])]]), url: new URL(`https://h/${TOKEN}`) },
    cause: new TypeError('fetch failed', { cause: inner }),
  });
  expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(TOKEN);
  const found = error.details.circle as typeof circle;
  expect(found).toMatchObject({ said: '***', status: 403, list: [1, '***'] });
  expect(found.self).toBe(found);
  expect(error.details.map).toEqual(new Map([['***', new Set(['***'])]]));
  expect(error.cause).toBeInstanceOf(TypeError);
  expect((error.cause as Error).cause).toBeInstanceOf(RangeError);
  expect((error.cause as Error).cause).toMatchObject({ message: 'of ***', status: 403, body: { said: '***' } });
});

it('a cause that cannot be looked at does not take the place of the error', () => {
  const cause = new Error('x');
  Object.defineProperty(cause, 'field', {
    enumerable: true,
    get: () => {
      throw new Error('a getter');
    },
  });
  expect(new HubError('first', { cause }).message).toBe('first');
  expect(new HubError('first', { cause: new DOMException(TOKEN, 'AbortError') }).cause).toMatchObject({
    name: 'AbortError',
    message: '***',
  });
  const trap = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error('a trap');
      },
    },
  );
  expect(new HubError('first', { details: { trap } }).message).toBe('first');
});
