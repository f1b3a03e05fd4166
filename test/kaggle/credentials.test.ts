import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { findKaggleCredentials, type KaggleLogin } from '../../src/kaggle/credentials.js';
import { onLinux, onPosix } from '../where.js';

let base: string;
let home: string;
let warnings: string[];
let env: Record<string, string>;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'credentials-'));
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(() => {
  home = join(base, String(count++));
  warnings = [];
  env = {};
});

async function put(path: string, text: string, mode = 0o600): Promise<string> {
  const full = join(home, path);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, text);
  await chmod(full, mode);
  return full;
}

const search = (login?: KaggleLogin) =>
  findKaggleCredentials(login, { env, home, onWarning: (line) => warnings.push(line) });
const found = async (login?: KaggleLogin): Promise<string | undefined> => (await search(login))?.authorization;
const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;
const json = (username: string, key: string): string => JSON.stringify({ username, key });

describe('the order', () => {
  it('is that of the official clients, a token before a user name and key', async () => {
    const notebook = await put('notebook-token', ' from-notebook\n');
    const all: Record<string, string> = {
      KAGGLE_KERNEL_RUN_TYPE: 'Interactive',
      KAGGLE_API_V1_TOKEN: notebook,
      KAGGLE_API_TOKEN: 'from-variable',
      KAGGLE_USERNAME: 'me',
      KAGGLE_KEY: 'key',
    };
    env = all;
    await put('.kaggle/access_token', 'from-file\n');
    await put('.kaggle/access_token.txt', 'from-text-file');
    await put('.kaggle/kaggle.json', json('you', 'json-key'));
    expect(await found({ token: 'from-option' })).toBe('Bearer from-option');
    expect(await found({ username: 'a', key: 'b' })).toBe(basic('a:b'));
    expect(await found()).toBe('Bearer from-notebook');
    // The notebook's variable counts in a notebook only.
    delete all['KAGGLE_KERNEL_RUN_TYPE'];
    expect(await found()).toBe('Bearer from-variable');
    delete all['KAGGLE_API_TOKEN'];
    expect(await found()).toBe('Bearer from-file');
    await put('.kaggle/access_token', ' \n');
    expect(await found()).toBe('Bearer from-text-file');
    await rm(join(home, '.kaggle/access_token.txt'));
    expect(await found()).toBe(basic('me:key'));
    delete all['KAGGLE_KEY'];
    expect(await found()).toBe(basic('you:json-key'));
    expect(warnings).toEqual(['KAGGLE_USERNAME is set alone and not used: both are needed']);
    await rm(join(home, '.kaggle/kaggle.json'));
    expect(await found()).toBeUndefined();
  });

  it('has a token or the path of one in KAGGLE_API_TOKEN', async () => {
    env['KAGGLE_API_TOKEN'] = await put('my-token', '\n token-in-file \n');
    expect(await search()).toMatchObject({
      authorization: 'Bearer token-in-file',
      source: `${join(home, 'my-token')}, named by KAGGLE_API_TOKEN`,
    });
    for (const token of ['KGAT_0123', 'a/b+c==', 'x'.repeat(5000)]) {
      env['KAGGLE_API_TOKEN'] = token;
      expect(await found()).toBe(`Bearer ${token}`);
    }
    // A pipe, as of KAGGLE_API_TOKEN=<(pass kaggle), can be read once only.
    const pipe = join(home, 'pipe');
    execFileSync('mkfifo', ['-m', '600', pipe]);
    env['KAGGLE_API_TOKEN'] = pipe;
    const [credentials] = await Promise.all([search(), writeFile(pipe, 'token-in-pipe')]);
    expect(credentials?.authorization).toBe('Bearer token-in-pipe');
    // A file with nothing in it is as good as none.
    env['KAGGLE_API_TOKEN'] = await put('empty', ' ');
    expect(await found()).toBeUndefined();
  });
});

describe('kaggle.json', () => {
  it('is looked for in KAGGLE_CONFIG_DIR and nowhere else, if that is set', async () => {
    await put('.kaggle/kaggle.json', json('home', 'k'));
    env['KAGGLE_CONFIG_DIR'] = dirname(await put('elsewhere/kaggle.json', json('elsewhere', 'k')));
    expect(await found()).toBe(basic('elsewhere:k'));
    env['KAGGLE_CONFIG_DIR'] = join(home, 'nowhere');
    expect(await found()).toBeUndefined();
    // Tokens do not move with it.
    await put('.kaggle/access_token', 'token');
    expect(await found()).toBe('Bearer token');
  });

  onLinux.it('may lie in ~/.config/kaggle if there is no ~/.kaggle', async () => {
    await put('.config/kaggle/kaggle.json', json('config', 'k'));
    expect(await found()).toBe(basic('config:k'));
    env['XDG_CONFIG_HOME'] = join(home, 'xdg');
    await put('xdg/kaggle/kaggle.json', json('xdg', 'k'));
    expect(await found()).toBe(basic('xdg:k'));
    await mkdir(join(home, '.kaggle'));
    expect(await found()).toBeUndefined();
  });

  it('says what is wrong with it, without its content', async () => {
    const cases: [string, string][] = [
      ['{"username": "me", "key": "s3cret"', 'no valid JSON'],
      ['{"username": "me"}', 'no "key" in it'],
      ['{"username": "", "key": 5}', 'no "username" and no "key" in it'],
      ['[]', 'no "username" and no "key" in it'],
      ['null', 'no "username" and no "key" in it'],
    ];
    for (const [text, why] of cases) {
      const path = await put('.kaggle/kaggle.json', text);
      const error = await search().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(ConfigError);
      expect((error as Error).message).toContain(`${path}: ${why}`);
      expect(JSON.stringify([(error as Error).message, (error as Error).cause])).not.toContain('s3cret');
    }
  });
});

onPosix.it('warns of files that others may read', async () => {
  const path = await put('.kaggle/kaggle.json', json('me', 's3cret'), 0o644);
  expect(await found()).toBe(basic('me:s3cret'));
  expect(warnings).toEqual([`${path}: others on this machine may read these credentials; run: chmod 600 ${path}`]);
  await put('.kaggle/access_token', 's3cret', 0o640);
  await found();
  expect(warnings).toHaveLength(2);
  expect(warnings.join()).not.toContain('s3cret');
});

it('refuses tokens that no header can hold, without showing them', async () => {
  for (const token of ['two words', 'naïve', 'line\nbreak']) {
    env['KAGGLE_API_TOKEN'] = token;
    await expect(search()).rejects.toThrow('KAGGLE_API_TOKEN: no Kaggle token');
    await expect(search()).rejects.not.toThrow(token);
  }
});

describe('the login of the command line', () => {
  const login = (token: unknown, end?: string): string =>
    JSON.stringify({
      refresh_token: 'r',
      access_token: token,
      access_token_expiration: end,
      username: 'me',
      scopes: [],
    });
  const later = new Date(Date.now() + 3_600_000).toISOString();

  it('counts after all others', async () => {
    await put('.kaggle/credentials.json', login('from-login', later));
    expect(await found()).toBe('Bearer from-login');
    expect((await search())?.source).toBe(join(home, '.kaggle/credentials.json'));
    await put('.kaggle/kaggle.json', json('you', 'json-key'));
    expect(await found()).toBe(basic('you:json-key'));
    await put('.kaggle/access_token', 'from-file');
    expect(await found()).toBe('Bearer from-file');
    expect(warnings).toEqual([]);
  });

  it('counts where kaggle.json holds other settings alone', async () => {
    await put('.kaggle/kaggle.json', JSON.stringify({ proxy: 'http://proxy' }));
    await expect(search()).rejects.toThrow(/no "username" and no "key"/);
    await put('.kaggle/credentials.json', login('from-login'));
    expect(await found()).toBe('Bearer from-login');
  });

  it('is not used when it has ended or holds no token, and that is said', async () => {
    const path = await put('.kaggle/credentials.json', login('old', '2026-01-02T03:04:05Z'));
    expect(await found()).toBeUndefined();
    expect(warnings[0]).toContain(`${path}: its token ended on 2026-01-02T03:04:05.000Z, it is not used; run \`kaggle`);
    await put('.kaggle/credentials.json', login(7));
    expect(await found()).toBeUndefined();
    expect(warnings[1]).toContain('no "access_token" in it');
    await put('.kaggle/credentials.json', '{"access_token": "s3cret');
    const error = (await search().catch((cause: unknown) => cause)) as ConfigError;
    expect(error.message).toMatch(/credentials\.json: no valid JSON/);
    expect(JSON.stringify([error, warnings])).not.toContain('s3cret');
  });
});
