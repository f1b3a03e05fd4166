/** Options of everything that talks to the Hub, and what becomes of them. */

import { z } from 'zod';
import { callback, lazySchema, type Mismatch, type NoMismatch, pathOption } from '../config.js';
import { ConfigError } from '../errors.js';
import { formatBytes } from '../messages/format-bytes.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { warningLine } from '../messages/one-line.js';
import { redact } from '../messages/secrets.js';
import { isLoopback } from '../transfer/address.js';
import { DEFAULT_SPEED } from '../transfer/peer-watch.js';
import type { RetryOptions } from '../transfer/retry.js';
import { hubEndpoint } from './environment.js';
import { endpointLogin, findHubToken, type HubToken } from './token.js';
/** Options of everything that asks the Hub. */
export interface HubConnectionOptions {
  /**
   * Access token; false: none. Sent to the endpoint only, and never shown. Default: `HF_TOKEN`, else the file
   * `HF_TOKEN_PATH` (default `$HF_HOME/token`), where `hf auth login` puts it; none if `HF_HUB_DISABLE_IMPLICIT_TOKEN` is
   * set.
   */
  token?: string | false | undefined;
  /**
   * Base address of the Hub, e.g. `https://mirror.example/hf`: https, or http on this machine. A user and password in
   * it are sent to it in place of a token. Default: `HF_ENDPOINT`, else https://huggingface.co.
   */
  endpoint?: string | undefined;
  /**
   * Ask a Hub over plain http on another machine, such as a company's mirror: whoever is in between reads and may change
   * what is sent. `true` sends no token there; `'withToken'` does. Default: false.
   */
  allowInsecureHttp?: boolean | 'withToken' | undefined;
  /** Attempts in a row without progress before giving up. Default: 7. */
  maxAttempts?: number | undefined;
  /** Wait before the second attempt, in milliseconds; it doubles each time, up to 30 s. Default: 500. */
  retryDelayMs?: number | undefined;
  /**
   * The longest silence of the server, in milliseconds. A list or another short answer may take three times as long as a
   * whole, all pages of a list 20 times. Default: 30,000.
   */
  timeoutMs?: number | undefined;
  /** Receives one line for each failed attempt, a Hub out of reach and the like. Default: `process.emitWarning`. */
  onWarning?: ((line: string) => void) | undefined;
  /**
   * Stops everything; the call then fails with the signal's reason. Received bytes are continued next time. Default: none.
   */
  signal?: AbortSignal | undefined;
}

/** Checks {@link HubConnectionOptions}. */
export const hubConnectionSchema = lazySchema(() =>
  z.strictObject({
    token: z.union([z.string().min(1), z.literal(false)]).optional(),
    endpoint: z.string().min(1).optional(),
    allowInsecureHttp: z.union([z.boolean(), z.literal('withToken')]).default(false),
    maxAttempts: z.int().min(1).max(100).default(7),
    retryDelayMs: z.number().min(0).default(500),
    timeoutMs: z.number().positive().default(30_000),
    onWarning: callback<string>().optional(),
    signal: z.instanceof(AbortSignal).optional(),
  }),
);

type _Connection = NoMismatch<Mismatch<z.input<ReturnType<typeof hubConnectionSchema>>, HubConnectionOptions>>;

export type HubConnectionSettings = z.output<ReturnType<typeof hubConnectionSchema>>;

/** How far a download is. */
export interface HubProgress {
  /** Path in the repository of the file that moved. */
  readonly file: string;
  /** Bytes of that file on the disk. */
  readonly fileReceived: number;
  /** Bytes of that file in all. */
  readonly fileTotal: number;
  /** Bytes of all files that are wanted and were not in the cache; those of interrupted runs count as received. */
  readonly received: number;
  /** The same, in all. */
  readonly total: number;
  /** Files that are complete. */
  readonly filesDone: number;
  /** Files that are wanted. */
  readonly filesTotal: number;
}

/** A line such as `1.20 GiB of 7.70 GiB (16 %), 2 of 7 files`. */
export function formatHubProgress(progress: HubProgress): string {
  const names = ['received', 'total', 'filesDone', 'filesTotal'] as const;
  if (!isObject(progress) || !names.every((name) => typeof progress[name] === 'number')) {
    throw new ConfigError(`formatHubProgress: expected what onProgress receives, got ${describeGiven(progress)}`, {
      hint: 'Write onProgress: (progress) => console.log(formatHubProgress(progress)).',
    });
  }
  const { received, total, filesDone, filesTotal } = progress;
  const percent = total === 0 ? 100 : Math.floor((100 * received) / total);
  return `${formatBytes(received)} of ${formatBytes(total)} (${percent} %), ${filesDone} of ${filesTotal} files`;
}
/** Options of everything that may download from the Hub. */
export interface HubDownloadOptions extends HubConnectionOptions {
  /** Branch, tag, or the 40 digits of a commit. Default: `main`. */
  revision?: string | undefined;
  /** Root of the cache. Default: `HF_HUB_CACHE`, else `$HF_HOME/hub`; shared with Python's tools. */
  cacheDir?: string | undefined;
  /** Use the cache alone, as always where `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` is set. Default: false. */
  localFilesOnly?: boolean | undefined;
  /**
   * A file that arrives more slowly than this, in bytes a second on average over `speedWindowMs`, is asked for again, and
   * given up after three times; received bytes are kept. 0: no limit. Default: 1024.
   */
  minBytesPerSecond?: number | undefined;
  /** Over which `minBytesPerSecond` is measured, in milliseconds. Default: 60,000. */
  speedWindowMs?: number | undefined;
  /** Called several times a second with how far the download is. Default: none. */
  onProgress?: ((progress: HubProgress) => void) | undefined;
}

/** Checks {@link HubDownloadOptions}. */
export const hubDownloadSchema = lazySchema(() =>
  hubConnectionSchema().extend({
    revision: z.string().min(1).default('main'),
    cacheDir: pathOption().optional(),
    localFilesOnly: z.boolean().default(false),
    minBytesPerSecond: z.number().min(0).default(DEFAULT_SPEED.minBytesPerSecond),
    speedWindowMs: z.number().positive().default(DEFAULT_SPEED.windowMs),
    onProgress: callback<HubProgress>().optional(),
  }),
);

type _Download = NoMismatch<Mismatch<z.input<ReturnType<typeof hubDownloadSchema>>, HubDownloadOptions>>;
export type HubDownload = z.output<ReturnType<typeof hubDownloadSchema>>;

/** A Hub, and how it is asked. */
export interface HubConnection {
  readonly endpoint: string;
  /** Whether plain http may be spoken with it. */
  readonly allowInsecureHttp: boolean;
  readonly token: HubToken | undefined;
  readonly retry: RetryOptions;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly warn: (line: string) => void;
}

/** @throws ConfigError for a bad endpoint or token */
export async function connectHub(options: HubConnectionSettings): Promise<HubConnection> {
  const emit = options.onWarning ?? ((line: string) => process.emitWarning(line, 'HubWarning'));
  const warn = (line: string): void => emit(warningLine(redact(line)));
  const endpoint = hubEndpoint(options.endpoint);
  const { protocol, hostname, host } = new URL(endpoint);
  const isPlain = protocol === 'http:' && !isLoopback(hostname);
  const allowed = options.allowInsecureHttp;
  if (isPlain && !allowed) {
    const source = options.endpoint ? '`endpoint`' : 'HF_ENDPOINT';
    throw new ConfigError(`${source}: ${host} would be asked over plain http`, {
      hint:
        'Give its https address. If there is none and the network in between is trusted, `allowInsecureHttp: true` ' +
        "asks it without a token, 'withToken' with one.",
      details: { endpoint },
    });
  }
  const login = await findLogin(options);
  const isHeldBack = login !== undefined && isPlain && allowed !== 'withToken';
  if (isHeldBack) {
    const remedy = "allowInsecureHttp: 'withToken' sends it";
    warn(`${host} is asked over plain http, without the token from ${login.source}: ${remedy}`);
  }
  return {
    endpoint,
    allowInsecureHttp: isPlain,
    token: isHeldBack ? undefined : login,
    retry: { maxAttempts: options.maxAttempts, baseDelayMs: options.retryDelayMs, onRetry: warn },
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    warn,
  };
}

async function findLogin({ endpoint, token }: HubConnectionSettings): Promise<HubToken | undefined> {
  const login = endpointLogin(endpoint);
  if (!login) return findHubToken(token);
  if (typeof token === 'string') {
    throw new ConfigError(`two credentials: the option \`token\`, and a user and password in ${login.source}`, {
      hint: 'A request bears one: leave the other out.',
    });
  }
  return login;
}

/** The token, for `privateHeaders`. */
export function authorization({ token }: HubConnection): Record<string, string> {
  return token ? { authorization: `${token.scheme ?? 'Bearer'} ${token.value}` } : {};
}

/** What every request to the Hub has in common. */
export function requestSettings(connection: HubConnection) {
  const { allowInsecureHttp, timeoutMs, retry, signal } = connection;
  const timeouts = { answerTimeoutMs: timeoutMs, silenceTimeoutMs: timeoutMs };
  return { privateHeaders: authorization(connection), allowInsecureHttp, ...timeouts, retry, signal };
}
