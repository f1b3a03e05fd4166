/** Who asks: the credentials of Kaggle's own clients, in all their forms and in their order. */
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../errors.js';
import { exists } from '../files/regular-file.js';

/** A token, or the older pair of user name and key. */
export type KaggleLogin = { readonly token: string } | { readonly username: string; readonly key: string };

export interface KaggleCredentials {
  /** Of the request header. Secret. */
  readonly authorization: string;
  /** Where they were found, for messages. */
  readonly source: string;
  /** Texts that must not be shown. */
  readonly secrets: readonly string[];
}

interface CredentialSearch {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly onWarning: (line: string) => void;
}

/** How to get and place credentials. */
export const CREDENTIALS_HINT =
  'Make a token on https://www.kaggle.com/settings/api and set KAGGLE_API_TOKEN, or save it as ~/.kaggle/access_token; ' +
  'a user name and key go into KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json.';

/**
 * Finds credentials. The first of these that exists counts, a token always before a user name and key:
 *
 * 1. `login`, given by the caller
 * 2. in a Kaggle notebook: the file that `KAGGLE_API_V1_TOKEN` names
 * 3. `KAGGLE_API_TOKEN`: a token, or the path of a file with one
 * 4. `~/.kaggle/access_token`, `~/.kaggle/access_token.txt`
 * 5. `KAGGLE_USERNAME` and `KAGGLE_KEY`
 * 6. `kaggle.json` in `KAGGLE_CONFIG_DIR`; without that in `~/.kaggle`, or on Linux, if there is no `~/.kaggle`, in
 *    `${XDG_CONFIG_HOME:-~/.config}/kaggle`
 * 7. `~/.kaggle/credentials.json`, where `kaggle auth login` puts a token of some hours
 *
 * @returns undefined if there are none: public data sets need none
 * @throws ConfigError for a file that cannot be read or understood
 */
export async function findKaggleCredentials(
  login: KaggleLogin | undefined,
  search: CredentialSearch = { env: process.env, home: homedir(), onWarning: () => undefined },
): Promise<KaggleCredentials | undefined> {
  if (login) {
    return 'token' in login
      ? bearer(login.token, 'the option `login`')
      : basic(login.username, login.key, 'the option `login`');
  }
  const { env, home } = search;
  if (env['KAGGLE_KERNEL_RUN_TYPE'] && env['KAGGLE_API_V1_TOKEN']) {
    const path = env['KAGGLE_API_V1_TOKEN'];
    const token = await readToken(path);
    if (token) return bearer(token, `${path}, named by KAGGLE_API_V1_TOKEN`);
  }
  const given = env['KAGGLE_API_TOKEN']?.trim();
  if (given) {
    // Asked without reading: a pipe can be read once only, and an error of reading would quote the token as a path.
    const found = await stat(given).catch(() => undefined);
    if (!found || found.isDirectory()) return bearer(given, 'KAGGLE_API_TOKEN');
    const token = await readToken(given, search);
    if (token) return bearer(token, `${given}, named by KAGGLE_API_TOKEN`);
  }
  for (const name of ['access_token', 'access_token.txt']) {
    const path = join(home, '.kaggle', name);
    const token = await readToken(path, search);
    if (token) return bearer(token, path);
  }
  const { KAGGLE_USERNAME: username, KAGGLE_KEY: key } = env;
  if (username && key) return basic(username, key, 'KAGGLE_USERNAME and KAGGLE_KEY');
  if (username || key) {
    search.onWarning(`${username ? 'KAGGLE_USERNAME' : 'KAGGLE_KEY'} is set alone and not used: both are needed`);
  }
  return (await readKaggleJson(await kaggleJsonPath(search), search)) ?? readLogin(search);
}

/** What `kaggle auth login` left. It is not renewed here: that is for the program that made it. */
async function readLogin(search: CredentialSearch): Promise<KaggleCredentials | undefined> {
  const path = join(search.home, '.kaggle', 'credentials.json');
  const content = await readSecretJson(path, search);
  if (content === undefined) return undefined;
  const { access_token: token, access_token_expiration: end } = content;
  const login = 'run `kaggle auth login`, or make a token: see the settings of your account';
  if (typeof token !== 'string' || token === '') {
    search.onWarning(`${path}: no "access_token" in it, it is not used; ${login}`);
    return undefined;
  }
  if (typeof end === 'string' && Date.parse(end) <= Date.now()) {
    search.onWarning(`${path}: its token ended on ${new Date(end).toISOString()}, it is not used; ${login}`);
    return undefined;
  }
  return bearer(token, path);
}

function bearer(token: string, source: string): KaggleCredentials {
  if (!/^[\x21-\x7e]+$/.test(token)) {
    const what = 'no Kaggle token: it has white space or characters beyond ASCII in it';
    throw new ConfigError(`${source}: ${what}`, { hint: CREDENTIALS_HINT, details: { source } });
  }
  return { authorization: `Bearer ${token}`, source, secrets: [token] };
}

function basic(username: string, key: string, source: string): KaggleCredentials {
  const encoded = Buffer.from(`${username}:${key}`).toString('base64');
  return { authorization: `Basic ${encoded}`, source, secrets: [key, encoded] };
}

/** A file's trimmed text; undefined if there is no such file, or nothing in it. */
async function readToken(path: string, search?: CredentialSearch): Promise<string | undefined> {
  const text = (await readIfThere(path))?.trim();
  if (text && search) await warnIfReadable(path, search);
  return text || undefined;
}

async function kaggleJsonPath({ env, home }: CredentialSearch): Promise<string> {
  if (env['KAGGLE_CONFIG_DIR']) return join(env['KAGGLE_CONFIG_DIR'], 'kaggle.json');
  const folder = join(home, '.kaggle');
  if (process.platform !== 'linux' || (await exists(folder))) return join(folder, 'kaggle.json');
  return join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'kaggle', 'kaggle.json');
}

async function readKaggleJson(path: string, search: CredentialSearch): Promise<KaggleCredentials | undefined> {
  const content = await readSecretJson(path, search);
  if (content === undefined) return undefined;
  const { username, key } = content;
  // It may hold other settings of the clients alone, beside a login.
  if (username === undefined && key === undefined && Object.keys(content).length > 0) {
    const login = await readLogin(search);
    if (login) return login;
  }
  const missing = Object.entries({ username, key }).filter(([, value]) => typeof value !== 'string' || value === '');
  if (missing.length > 0) {
    throw new ConfigError(`${path}: no ${missing.map(([name]) => `"${name}"`).join(' and no ')} in it`, {
      hint: 'Expected {"username": "...", "key": "..."}, as Kaggle writes the file.',
      details: { path },
    });
  }
  return basic(username as string, key as string, path);
}

/** An object of a JSON file; undefined if there is no such file. */
async function readSecretJson(path: string, search: CredentialSearch): Promise<Record<string, unknown> | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  await warnIfReadable(path, search);
  try {
    const content: unknown = JSON.parse(text);
    return (typeof content === 'object' && content !== null ? content : {}) as Record<string, unknown>;
  } catch {
    // The parser's own message may quote the key.
    throw new ConfigError(`${path}: no valid JSON`, { hint: CREDENTIALS_HINT, details: { path } });
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    // A token may be taken for a path: too long a name, or no path at all.
    if (['ENOENT', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG', 'ERR_INVALID_ARG_VALUE'].includes(code)) return undefined;
    throw new ConfigError(`${path}: the credentials cannot be read: ${code}`, { details: { path }, cause });
  }
}

async function warnIfReadable(path: string, { onWarning }: CredentialSearch): Promise<void> {
  if (process.platform === 'win32') return;
  const { mode } = await stat(path);
  if (mode & 0o077) onWarning(`${path}: others on this machine may read these credentials; run: chmod 600 ${path}`);
}
