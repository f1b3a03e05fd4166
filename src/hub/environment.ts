/** Where the Hub is, where its cache lies, and whether it may be asked: Python's settings, read the same way. */
import { homedir } from 'node:os';
import { join, resolve, sep } from 'node:path';
import { ConfigError } from '../errors.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** `$HF_HOME`, else `${XDG_CACHE_HOME:-~/.cache}/huggingface`. */
export function hubHome(env: Environment = process.env): string {
  return expandPath(env['HF_HOME'] || join(env['XDG_CACHE_HOME'] || '~/.cache', 'huggingface'), env);
}

/** `option`, else `$HF_HUB_CACHE`, else `$HUGGINGFACE_HUB_CACHE`, else `$HF_HOME/hub`. Absolute. */
export function hubCacheFolder(option: string | undefined, env: Environment = process.env): string {
  const named = env['HF_HUB_CACHE'] || env['HUGGINGFACE_HUB_CACHE'];
  const path = option || (named ? expandPath(named, env) : join(hubHome(env), 'hub'));
  if (path.includes('\0')) {
    throw new ConfigError('the folder of the cache has a NUL character in its name', {
      hint: 'Give another `cacheDir`, or set HF_HUB_CACHE or HF_HOME to another one.',
    });
  }
  return resolve(path);
}

/**
 * `option`, else `$HF_ENDPOINT`, else huggingface.co, without user, password and a slash at the end; a mirror may lie
 * below a path.
 * @throws ConfigError if it is no http address
 */
export function hubEndpoint(option: string | undefined, env: Environment = process.env): string {
  const { url } = parseEndpoint(option, env);
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

/** The address of the Hub as it is given, and by what. @throws ConfigError if it is no http address */
export function parseEndpoint(option: string | undefined, env: Environment): { url: URL; source: string } {
  const given = option || env['HF_ENDPOINT'] || 'https://huggingface.co';
  const source = option ? '`endpoint`' : 'HF_ENDPOINT';
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url && /^https?:$/.test(url.protocol) && !url.search && !url.hash && isDecodable(url)) return { url, source };
  throw new ConfigError(
    // Not the whole address: a password or a token may be part of it.
    `${source}: no address of a Hub: ${url ? `${url.protocol}//${url.host}` : 'not a URL'}`,
    {
      hint:
        'Expected something like https://huggingface.co or https://mirror.example/hf, without query; a user and ' +
        'password before the host with special characters as %XX.',
    },
  );
}

function isDecodable({ username, password }: URL): boolean {
  try {
    return decodeURIComponent(username + password) !== undefined;
  } catch {
    return false;
  }
}

/** Why the Hub must not be asked; undefined if it may be. */
export function offlineReason(localFilesOnly: boolean, env: Environment = process.env): string | undefined {
  if (localFilesOnly) return 'localFilesOnly is set';
  const name = ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'].find((key) => env[key]);
  return name && isTrue(env[name]) ? `${name} is set` : undefined;
}

/** What Python's tools take for yes. */
export function isTrue(value: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes(value?.toUpperCase() ?? '');
}

/** A path in a variable may name others, as `$SCRATCH/hf`; unknown ones stay, as in Python's `expandvars`. */
export function expandPath(path: string, env: Environment): string {
  return expandHome(path).replace(/\$(?:(\w+)|\{(\w+)\})/g, (all, bare, braced) => env[bare ?? braced] ?? all);
}

export function expandHome(path: string, home: string = homedir()): string {
  // Windows writes either slash, and `join` there makes every one a backslash.
  return path === '~' || path.startsWith('~/') || path.startsWith(`~${sep}`) ? join(home, path.slice(1)) : path;
}
