/** The proxy that a request goes through, as the usual variables name it, on every version of Node. */
import { BlockList, isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { ConfigError } from '../errors.js';
import { keepCredentials } from '../messages/secrets.js';
import { decoded, isLoopback } from './address.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** A way through a proxy. */
export interface ProxyRoute {
  /** Address of the proxy without user and password. */
  readonly shown: string;
  readonly fetch: typeof fetch;
}

/** By variable value: connections to a proxy are shared. */
const routes = new Map<string, Promise<ProxyRoute>>();

/**
 * The way to an address; undefined if it leads there directly. What speaks with proxies is loaded when the first is
 * needed.
 * @throws ConfigError for a proxy that is none, or of another kind
 */
export async function proxyRoute(url: URL, env: Environment = process.env): Promise<ProxyRoute | undefined> {
  const proxy = proxyFor(url, env);
  if (!proxy) return undefined;
  const opened = routes.get(proxy.href) ?? openRoute(proxy);
  routes.set(proxy.href, opened);
  return opened;
}

/**
 * HTTPS_PROXY for https, HTTP_PROXY for http, else ALL_PROXY; small letters go before capitals. Hosts that NO_PROXY
 * names, and this machine itself, need none.
 */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  if (isLoopback(url.hostname) || exempt(url, setting('no_proxy', env)?.[1] ?? '')) return undefined;
  const scheme = url.protocol.slice(0, -1);
  // A web server hands a request's header `Proxy` on as HTTP_PROXY to the programs that it runs.
  const isCgi = scheme === 'http' && env['REQUEST_METHOD'] !== undefined;
  const found =
    setting(`${scheme}_proxy`, isCgi ? { http_proxy: env['http_proxy'] } : env) ?? setting('all_proxy', env);
  return found && parseProxy(...found);
}

/** Name and value of a variable, in small letters or capitals. */
function setting(name: string, env: Environment): [string, string] | undefined {
  for (const key of [name, name.toUpperCase()]) {
    const value = env[key]?.trim().replace(/^(["'])(.*)\1$/, '$2');
    if (value) return [key, value];
  }
  return undefined;
}

function parseProxy(name: string, value: string): URL {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.hostname !== '') return url;
  // Not the value: it may hold a password.
  const isSocks = /^socks/i.test(text);
  const what = isSocks ? 'a SOCKS proxy, which is not supported' : 'not the address of a proxy';
  throw new ConfigError(`${name}: ${what}`, {
    hint: isSocks
      ? 'Name an http proxy, as http://HOST:PORT; many SOCKS programs offer one too. NO_PROXY names hosts that need none.'
      : 'Expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, special characters as %XX.',
    details: { variable: name },
  });
}

/**
 * Whether a list of hosts names this one: separated by commas, semicolons, bars or spaces; `*` for all, and for any part
 * of a name; a name also for all below it, with or without a dot or `*.` before; with `:PORT` for that port only; IPv6
 * with or without brackets; ranges such as 10.0.0.0/8.
 */
function exempt(url: URL, list: string): boolean {
  const host = url.hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list.split(/[\s,;|]+/).some((written) => {
    // An address in place of a name is meant so.
    const entry = written
      .toLowerCase()
      .replace(/^["']|["']$/g, '')
      .replace(/^https?:\/\//, '')
      .replace(/\/$/, '');
    if (entry === '') return false;
    if (entry === '*') return true;
    const [, bracketed, named, wanted] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
    if (wanted !== undefined && wanted !== port) return false;
    const name = bracketed ?? named ?? entry;
    if (name.includes('/')) return inRange(host, name);
    const isIpv6 = name.includes(':');
    if (isIpv6) return sameIpv6(name, host);
    const suffix = name.replace(/^\*?\.?/, '').replace(/\.$/, '');
    if (suffix.includes('*')) return matches(host, suffix);
    const plain = domainToASCII(suffix);
    return plain !== '' && (host === plain || host.endsWith(`.${plain}`));
  });
}

function sameIpv6(name: string, host: string): boolean {
  return URL.canParse(`http://[${name}]`) && new URL(`http://[${name}]`).hostname === `[${host}]`;
}

/** Whether a name, or its end, is one with `*` for some of its letters. */
function matches(host: string, pattern: string): boolean {
  const source = pattern
    .split(/\*+/)
    .map((part) => part.replace(/[^\w-]/g, '\\$&'))
    .join('.*');
  return pattern.length <= 253 && pattern.split('*').length <= 8 && new RegExp(`(^|\\.)${source}$`).test(host);
}

/** Whether an address lies in a range such as 10.0.0.0/8 or fd00::/8. */
function inRange(host: string, range: string): boolean {
  const [, base = '', bits = ''] = /^(.+)\/(\d{1,3})$/.exec(range) ?? [];
  const family = isIP(base);
  if (family === 0 || family !== isIP(host) || Number(bits) > (family === 4 ? 32 : 128)) return false;
  const name = family === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(base, Number(bits), name);
  return list.check(host, name);
}

async function openRoute(proxy: URL): Promise<ProxyRoute> {
  // Node's own fetch must be there first: each of the two makes itself the default of all if it finds none.
  new Headers();
  const { fetch: proxiedFetch, ProxyAgent } = await import('undici');
  const [user, password] = [decoded(proxy.username), decoded(proxy.password)];
  const token = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  if (user || password) keepCredentials(token);
  // An http address is asked of the proxy itself: many let tunnels lead to the port of https alone.
  const dispatcher = new ProxyAgent({ uri: proxy.origin, proxyTunnel: false, ...(user || password ? { token } : {}) });
  const through = (input: string | URL, init?: object): ReturnType<typeof proxiedFetch> =>
    proxiedFetch(input, { ...init, dispatcher });
  return { shown: proxy.origin, fetch: through as unknown as typeof fetch };
}
