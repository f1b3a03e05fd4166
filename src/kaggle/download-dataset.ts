/** From the name of a Kaggle data set to a folder with its files. */
import { rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { z } from 'zod';
import { callback, parseOptions } from '../config.js';
import { DataError } from '../errors.js';
import { withLock } from '../transfer/lock.js';
import { isTransient } from '../transfer/retry.js';
import { findKaggleCredentials } from './credentials.js';
import { DatasetCache, kaggleCacheFolder } from './dataset-cache.js';
import { extractZip } from './extract-zip.js';
import { formatKaggleHandle, type KaggleHandle, parseKaggleHandle } from './handle.js';
import { KaggleApi, kaggleEndpoint } from './kaggle-api.js';

/** How far a download is. */
export type KaggleProgress =
  | {
      /** The archive is on its way. */
      readonly phase: 'download';
      /** Bytes of the archive on the disk, those of an interrupted run included. */
      readonly received: number;
      /** Bytes of the whole archive; undefined if the server does not say. */
      readonly total: number | undefined;
    }
  /** Files of the archive that are unpacked. */
  | {
      /** The archive is whole, its files are being written. */
      readonly phase: 'extract';
      /** Unpacked so far. */
      readonly files: number;
      /** In the whole archive; folders do not count. */
      readonly totalFiles: number;
    };

export const kaggleDownloadSchema = z.strictObject({
  /** Root of the cache. Default: `$KAGGLEHUB_CACHE`, else `~/.cache/kagglehub`, both shared with Python's kagglehub. */
  cacheDir: z.string().min(1).optional(),
  /** Download again although the cache has it. What is there stays until the new files are whole. Default false. */
  forceDownload: z.boolean().default(false),
  /**
   * Credentials: a token, or user name and key. Default: those that Kaggle's own clients would find, in their order:
   * in a Kaggle notebook its token; `KAGGLE_API_TOKEN` (token or path); `~/.kaggle/access_token[.txt]`;
   * `KAGGLE_USERNAME` and `KAGGLE_KEY`; `kaggle.json` in `$KAGGLE_CONFIG_DIR` or `~/.kaggle`; what `kaggle auth login`
   * wrote to `~/.kaggle/credentials.json`. Without any a public data set is fetched anonymously.
   */
  login: z
    .union([
      z.strictObject({ token: z.string().min(1) }),
      z.strictObject({ username: z.string().min(1), key: z.string().min(1) }),
    ])
    .optional(),
  /** Base address of the service: https, or http on this machine. Default: `$KAGGLE_API_ENDPOINT`, else Kaggle. */
  endpoint: z.string().min(1).optional(),
  /** Attempts in a row without progress before giving up. Default 7. */
  maxAttempts: z.number().int().min(1).max(100).default(7),
  /** Wait before the second attempt, in milliseconds; it doubles each time, up to 30 s. Default 500. */
  retryDelayMs: z.number().min(0).default(500),
  /** The longest silence of the server, in milliseconds. Default 30,000. */
  timeoutMs: z.number().positive().default(30_000),
  /** Told how far it is, several times a second. Default: nobody. */
  onProgress: callback<KaggleProgress>().optional(),
  /** Told in one line what is odd: a failed attempt, a server out of reach. Default: `process.emitWarning`. */
  onWarning: callback<string>().optional(),
  /** Stops the download, which then fails with the signal's reason. What has arrived is continued next time. */
  signal: z.instanceof(AbortSignal).optional(),
});

/** Options of `KaggleImageFolder.download`, beside those of `ImageFolder.load`. */
export type KaggleDownloadOptions = z.input<typeof kaggleDownloadSchema>;

type ParsedOptions = z.output<typeof kaggleDownloadSchema>;

/**
 * Brings a data set into the cache, unless it is there, and gives the folder of its files. A handle with a version
 * that is in the cache needs no network; one without asks Kaggle for the current version, and takes the latest in the
 * cache, with a warning, if Kaggle cannot be reached.
 * @returns absolute path
 * @throws ConfigError for a bad handle, option or credentials file; HubError if the download fails; DataError for an
 *   archive that is damaged or not to be trusted; the signal's reason
 */
export async function downloadKaggleDataset(name: string, input: KaggleDownloadOptions = {}): Promise<string> {
  const options = parseOptions(kaggleDownloadSchema, input, 'KaggleImageFolder.download');
  const warn = options.onWarning ?? ((line: string) => process.emitWarning(line, 'KaggleWarning'));
  const handle = parseKaggleHandle(name);
  const endpoint = kaggleEndpoint(options.endpoint ?? process.env['KAGGLE_API_ENDPOINT']);
  const cache = new DatasetCache(kaggleCacheFolder(options.cacheDir), handle);
  const wanted = async (version: number): Promise<boolean> =>
    !options.forceDownload && (await cache.isComplete(version));
  options.signal?.throwIfAborted();
  if (handle.version !== undefined && (await wanted(handle.version))) return cache.folder(handle.version);

  const search = { env: process.env, home: homedir(), onWarning: warn };
  const credentials = await findKaggleCredentials(options.login, search);
  const api = (maxAttempts: number, signal = options.signal): KaggleApi =>
    new KaggleApi({
      endpoint,
      credentials,
      timeoutMs: options.timeoutMs,
      retry: { maxAttempts, baseDelayMs: options.retryDelayMs, onRetry: warn },
      signal,
    });
  const version = handle.version ?? (await currentVersion(handle, cache, options, api, warn));
  if (await wanted(version)) return cache.folder(version);

  const exact = { ...handle, version };
  const onWait = (): void => warn(`${formatKaggleHandle(exact)}: another process downloads it; waiting`);
  const fetchOnce = async (signal: AbortSignal): Promise<void> => {
    // Another may have been faster.
    if (await wanted(version)) return;
    await fetchVersion(exact, cache, { ...options, signal }, api(options.maxAttempts, signal));
  };
  await withLock(cache.lock(version), fetchOnce, { signal: options.signal, onWait });
  return cache.folder(version);
}

async function currentVersion(
  handle: KaggleHandle,
  cache: DatasetCache,
  options: ParsedOptions,
  api: (maxAttempts: number) => KaggleApi,
  warn: (line: string) => void,
): Promise<number> {
  const kept = options.forceDownload ? undefined : await cache.latestComplete();
  try {
    return await api(kept === undefined ? options.maxAttempts : Math.min(2, options.maxAttempts)).currentVersion(
      handle,
    );
  } catch (error) {
    if (kept === undefined || !isTransient(error)) throw error;
    const [line] = error.message.split('\n');
    warn(`${formatKaggleHandle(handle)}: using version ${kept} from the cache, perhaps not the current one: ${line}`);
    return kept;
  }
}

/** Archive, files, marker; what an earlier call has left is used. */
async function fetchVersion(
  handle: KaggleHandle & { readonly version: number },
  cache: DatasetCache,
  options: ParsedOptions,
  api: KaggleApi,
): Promise<void> {
  const { signal, onProgress } = options;
  const archive = cache.archive(handle.version);
  // Under its own name an archive is whole: an earlier call could not unpack it, for want of space perhaps.
  const isThere = !options.forceDownload && (await stat(archive).catch(() => undefined)) !== undefined;
  if (!isThere) {
    await api.downloadArchive(
      handle,
      archive,
      onProgress && (({ received, total }) => onProgress({ phase: 'download', received, total })),
    );
  }
  let reported = Number.NEGATIVE_INFINITY;
  try {
    await cache.replace(handle.version, (dir) =>
      extractZip(archive, dir, {
        signal,
        onProgress: ({ files, totalFiles }) => {
          const now = performance.now();
          if (!onProgress || (now < reported + 100 && files < totalFiles)) return;
          reported = now;
          onProgress({ phase: 'extract', files, totalFiles });
        },
      }),
    );
  } catch (error) {
    // One that is no good is fetched anew by the next call.
    if (error instanceof DataError) await rm(archive, { force: true });
    throw error;
  }
  await rm(archive, { force: true });
}
