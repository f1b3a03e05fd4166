/** Options of everything that talks to the Hub, and what becomes of them. */

import { z } from 'zod';
import { callback } from '../config.js';
import { ConfigError } from '../errors.js';
import { formatBytes } from '../format-bytes.js';
import { describeGiven, isObject } from '../given-kind.js';
import { warningLine } from '../one-line.js';
import type { RetryOptions } from '../transfer/retry.js';
import { hubEndpoint } from './environment.js';
import { findHubToken, type HubToken } from './token.js';

/** What every request needs to know. */
export const hubConnectionSchema = z.strictObject({
  /**
   * Access token; false: none. Default: `HF_TOKEN`, else the file `HF_TOKEN_PATH` (default `$HF_HOME/token`), where
   * `hf auth login` puts it; none if `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set. Sent to the endpoint only, and never shown.
   */
  token: z.union([z.string().min(1), z.literal(false)]).optional(),
  /** Base address of the Hub: https, or http on this machine. Default: `HF_ENDPOINT`, else https://huggingface.co. */
  endpoint: z.string().min(1).optional(),
  /** Attempts in a row without progress before giving up. Default 7. */
  maxAttempts: z.int().min(1).max(100).default(7),
  /** Wait before the second attempt, in milliseconds; it doubles each time, up to 30 s. Default 500. */
  retryDelayMs: z.number().min(0).default(500),
  /** The longest silence of the server, in milliseconds. Default 30,000. */
  timeoutMs: z.number().positive().default(30_000),
  /** Told in one line what is odd: a failed attempt, a Hub out of reach. Default: `process.emitWarning`. */
  onWarning: callback<string>().optional(),
  /** Stops everything; the call then fails with the signal's reason. What has arrived is continued next time. */
  signal: z.instanceof(AbortSignal).optional(),
});

/** Options of everything that asks the Hub. */
export type HubConnectionOptions = z.input<typeof hubConnectionSchema>;

export type HubConnectionSettings = z.output<typeof hubConnectionSchema>;

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
  /** Files that are there. */
  readonly filesDone: number;
  /** Files that are wanted. */
  readonly filesTotal: number;
}

/** A line such as `1.20 GiB of 7.70 GiB (16 %), 2 of 7 files`. */
export function formatHubProgress(progress: HubProgress): string {
  const names = ['received', 'total', 'filesDone', 'filesTotal'] as const;
  if (!isObject(progress) || !names.every((name) => typeof progress[name] === 'number')) {
    throw new ConfigError(`formatHubProgress: expected what onProgress is told, got ${describeGiven(progress)}`, {
      hint: 'Write onProgress: (progress) => console.log(formatHubProgress(progress)).',
    });
  }
  const { received, total, filesDone, filesTotal } = progress;
  const percent = total === 0 ? 100 : Math.floor((100 * received) / total);
  return `${formatBytes(received)} of ${formatBytes(total)} (${percent} %), ${filesDone} of ${filesTotal} files`;
}

/** What every download needs to know. */
export const hubDownloadSchema = hubConnectionSchema.extend({
  /** Branch, tag, or the 40 digits of a commit. Default `main`. */
  revision: z.string().min(1).default('main'),
  /** Root of the cache. Default: `HF_HUB_CACHE`, else `$HF_HOME/hub`; shared with Python's tools. */
  cacheDir: z.string().min(1).optional(),
  /** Use the cache alone, as always where `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` is set. Default: false. */
  localFilesOnly: z.boolean().default(false),
  /** Told several times a second. Default: nobody. */
  onProgress: callback<HubProgress>().optional(),
});

/** Options of everything that may download from the Hub. */
export type HubDownloadOptions = z.input<typeof hubDownloadSchema>;
export type HubDownload = z.output<typeof hubDownloadSchema>;

/** A Hub, and how it is asked. */
export interface HubConnection {
  readonly endpoint: string;
  readonly token: HubToken | undefined;
  readonly retry: RetryOptions;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly warn: (line: string) => void;
}

/** @throws ConfigError for a bad endpoint or token */
export async function connectHub(options: HubConnectionSettings): Promise<HubConnection> {
  const tell = options.onWarning ?? ((line: string) => process.emitWarning(line, 'HubWarning'));
  const warn = (line: string): void => tell(warningLine(line));
  return {
    endpoint: hubEndpoint(options.endpoint),
    token: await findHubToken(options.token),
    retry: { maxAttempts: options.maxAttempts, baseDelayMs: options.retryDelayMs, onRetry: warn },
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    warn,
  };
}

/** The token, for `privateHeaders`. */
export function authorization({ token }: HubConnection): Record<string, string> {
  return token ? { authorization: `Bearer ${token.value}` } : {};
}
