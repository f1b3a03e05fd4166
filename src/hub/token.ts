/** Who asks the Hub: the access token, from the places where Python's tools look for it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from '../errors.js';
import { type Environment, expandPath, hubHome, isTrue, parseEndpoint } from './environment.js';

export interface HubToken {
  /** Secret. */
  readonly value: string;
  /** Where it was found, for messages. */
  readonly source: string;
  /** How it is sent. Default `Bearer`; `Basic` for a user and password. */
  readonly scheme?: 'Basic' | undefined;
}

/** How to get and place a token. */
export const TOKEN_HINT =
  'Make a token on https://huggingface.co/settings/tokens and give it in HF_TOKEN, by `hf auth login`, or in a program as `token`.';

/**
 * Finds the token: `given`; `HF_TOKEN`; the file `HF_TOKEN_PATH`, by default `$HF_HOME/token`. Any Hub's tokens are
 * taken, also those that do not start with `hf_`.
 * @param given false: none, whatever else there is
 * @returns undefined if there is none: public repositories need none
 * @throws ConfigError if the token cannot be one, or its file cannot be read
 */
export async function findHubToken(
  given: string | false | undefined,
  env: Environment = process.env,
): Promise<HubToken | undefined> {
  if (given === false) return undefined;
  if (given !== undefined) return checked(given, 'the option `token`');
  if (isTrue(env['HF_HUB_DISABLE_IMPLICIT_TOKEN'])) return undefined;
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const value = env[name]?.trim();
    if (value) return checked(value, name);
  }
  const path = expandPath(env['HF_TOKEN_PATH'] || join(hubHome(env), 'token'), env);
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new ConfigError(`${path}: the Hub's access token cannot be read: ${code}`, { details: { path }, cause });
  }
  return text ? checked(text, path) : undefined;
}

/** User and password in the address of a Hub, as company mirrors want them. */
export function endpointLogin(option: string | undefined, env: Environment = process.env): HubToken | undefined {
  const { url, source } = parseEndpoint(option, env);
  if (url.username === '' && url.password === '') return undefined;
  const pair = [url.username, url.password].map(decodeURIComponent).join(':');
  return { value: Buffer.from(pair).toString('base64'), source, scheme: 'Basic' };
}

function checked(value: string, source: string): HubToken {
  const token = value.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    const what = 'no access token: it is empty, or has white space or characters beyond ASCII in it';
    throw new ConfigError(`${source}: ${what}`, { hint: TOKEN_HINT, details: { source } });
  }
  return { value: token, source };
}
