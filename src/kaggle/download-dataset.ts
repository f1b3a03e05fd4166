/** From the name of a Kaggle data set to a folder with its files. */
import { homedir } from 'node:os';
import { z } from 'zod';
import { ArchiveError, zipError } from '../archive/archive-error.js';
import { extractZip } from '../archive/extract-zip.js';
import { callback, type Mismatch, type NoMismatch, parseOptions, pathOption } from '../config.js';
import { KaggleError, TransferError } from '../errors.js';
import { warningLine } from '../messages/one-line.js';
import { withLock } from '../transfer/lock.js';
import { findKaggleCredentials } from './credentials.js';
import { CachePlace, kaggleCacheFolder, latestComplete, nameInCache } from './dataset-cache.js';
import { formatKaggleHandle, type KaggleDataset, type KaggleSource } from './handle.js';
import { KaggleApi, kaggleEndpoint } from './kaggle-api.js';
import { KeptArchive } from './kept-archive.js';
import { parseKaggleHandle } from './pasted-handle.js';

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
/** Credentials of Kaggle: a token, or user name and key. */
export type KaggleLogin =
  | {
      /** An API token of the account. Required. */
      token: string;
    }
  | {
      /** Name of the account. Required. */
      username: string;
      /** Its key, as in kaggle.json. Required. */
      key: string;
    };

/** Options of `KaggleImageFolder.download`, beside those of `ImageFolder.load`. */
export interface KaggleDownloadOptions {
  /** Root of the cache. Default: `$KAGGLEHUB_CACHE`, else `~/.cache/kagglehub`, both shared with Python's kagglehub. */
  cacheDir?: string | undefined;
  /** Download again although the cache has it. The old files stay until the new files are whole. Default: false. */
  forceDownload?: boolean | undefined;
  /**
   * Unpack files whose names are equal but for case, or the form of Unicode, where the disk distinguishes them; elsewhere
   * they are refused all the same. Without it an archive gives the same files on every system. Default: false.
   */
  allowCaseConflicts?: boolean | undefined;
  /**
   * Credentials: a token, or user name and key. Without any a public data set is fetched anonymously; competitions need
   * them. Default: those that Kaggle's own clients would find, in their order: in a Kaggle notebook its token;
   * `KAGGLE_API_TOKEN` (token or path); `~/.kaggle/access_token[.txt]`; `KAGGLE_USERNAME` and `KAGGLE_KEY`; `kaggle.json`
   * in `$KAGGLE_CONFIG_DIR` or `~/.kaggle`; what `kaggle auth login` wrote to `~/.kaggle/credentials.json`.
   */
  login?: KaggleLogin | undefined;
  /** Base address of the service: https, or http on this machine. Default: `$KAGGLE_API_ENDPOINT`, else Kaggle. */
  endpoint?: string | undefined;
  /** Attempts in a row without progress before giving up. Default: 7. */
  maxAttempts?: number | undefined;
  /** Wait before the second attempt, in milliseconds; it doubles each time, up to 30 s. Default: 500. */
  retryDelayMs?: number | undefined;
  /** The longest silence of the server, in milliseconds. Default: 30,000. */
  timeoutMs?: number | undefined;
  /** Called several times a second with how far the download is. Default: none. */
  onProgress?: ((progress: KaggleProgress) => void) | undefined;
  /** Receives one line for each failed attempt, a server out of reach and the like. Default: `process.emitWarning`. */
  onWarning?: ((line: string) => void) | undefined;
  /**
   * Stops the download, which then fails with the signal's reason. Received bytes are continued next time. Default: none.
   */
  signal?: AbortSignal | undefined;
}

/** Checks {@link KaggleDownloadOptions}. */
export const kaggleDownloadSchema = z.strictObject({
  cacheDir: pathOption().optional(),
  forceDownload: z.boolean().default(false),
  allowCaseConflicts: z.boolean().default(false),
  login: z
    .union([
      z.strictObject({ token: z.string().min(1) }),
      z.strictObject({ username: z.string().min(1), key: z.string().min(1) }),
    ])
    .optional(),
  endpoint: z.string().min(1).optional(),
  maxAttempts: z.number().int().min(1).max(100).default(7),
  retryDelayMs: z.number().min(0).default(500),
  timeoutMs: z.number().positive().default(30_000),
  onProgress: callback<KaggleProgress>().optional(),
  onWarning: callback<string>().optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

type _Input = NoMismatch<Mismatch<z.input<typeof kaggleDownloadSchema>, KaggleDownloadOptions>>;
type ParsedOptions = z.output<typeof kaggleDownloadSchema>;

/**
 * Brings a data set, or the files of a competition, into the cache, unless they are there, and gives their folder. A
 * handle with a version that is in the cache needs no network, nor does a competition; a data set without a version asks
 * Kaggle for the current one, and takes the latest in the cache, with a warning, if Kaggle cannot be reached. An archive
 * that is whole and cannot be unpacked is kept, and not downloaded again.
 * @returns absolute path
 * @throws ConfigError for a bad handle, option or credentials file; KaggleError if the download fails; ArchiveError for one
 *   that is damaged or not unpacked; DiskError; the signal's reason
 */
export async function downloadKaggleDataset(name: string, input: KaggleDownloadOptions = {}): Promise<string> {
  return download(name, input).catch((error: unknown) => {
    // What failed on the way to Kaggle, before it could say anything itself.
    if (!(error instanceof TransferError) || error instanceof KaggleError) throw error;
    throw new KaggleError(error.summary, { ...error, cause: error });
  });
}

async function download(name: string, input: KaggleDownloadOptions): Promise<string> {
  const options = parseOptions(kaggleDownloadSchema, input, 'KaggleImageFolder.download');
  const emit = options.onWarning ?? ((line: string) => process.emitWarning(line, 'KaggleWarning'));
  const warn = (line: string): void => emit(warningLine(line));
  const endpoint = kaggleEndpoint(options.endpoint ?? process.env['KAGGLE_API_ENDPOINT']);
  const root = kaggleCacheFolder(options.cacheDir);
  const source = parseKaggleHandle(name);
  const cached = await nameInCache(root, source);
  const isWanted = async (place: CachePlace): Promise<boolean> => options.forceDownload || !(await place.isComplete());
  options.signal?.throwIfAborted();
  const at = (version?: number): CachePlace =>
    new CachePlace(root, 'competition' in cached ? cached : { ...cached, version: version ?? cached.version });
  if ('competition' in source || source.version !== undefined) {
    const place = at();
    if (!(await isWanted(place))) return place.folder;
  }

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
  let exact = source;
  if ('dataset' in source && source.version === undefined && 'dataset' in cached) {
    const kept = options.forceDownload ? undefined : await latestComplete(root, cached);
    exact = { ...source, version: await currentVersion(source, kept, options, api, warn) };
  }
  const place = at('dataset' in exact ? exact.version : undefined);
  if (!(await isWanted(place))) return place.folder;

  const onWait = (): void => warn(`${formatKaggleHandle(exact)}: another process downloads it; waiting`);
  const fetchOnce = async (signal: AbortSignal): Promise<void> => {
    // Another may have been faster.
    if (!(await isWanted(place))) return;
    await fetchFiles(exact, place, { ...options, signal }, api(options.maxAttempts, signal), warn);
  };
  await withLock(place.lock, fetchOnce, { signal: options.signal, onWait });
  return place.folder;
}

async function currentVersion(
  dataset: KaggleDataset,
  kept: number | undefined,
  options: ParsedOptions,
  api: (maxAttempts: number) => KaggleApi,
  warn: (line: string) => void,
): Promise<number> {
  try {
    const maxAttempts = kept === undefined ? options.maxAttempts : Math.min(2, options.maxAttempts);
    return await api(maxAttempts).currentVersion(dataset);
  } catch (error) {
    if (kept === undefined || !(error instanceof TransferError && error.isTransient)) throw error;
    const name = formatKaggleHandle(dataset);
    warn(`${name}: using version ${kept} from the cache, perhaps not the current one: ${error.summary}`);
    return kept;
  }
}

/** Archive, files, marker; what an earlier call has left is used. */
async function fetchFiles(
  source: KaggleSource,
  place: CachePlace,
  options: ParsedOptions,
  api: KaggleApi,
  warn: (line: string) => void,
): Promise<void> {
  const { onProgress } = options;
  const archive = await KeptArchive.open(place.archive);
  if (options.forceDownload) await archive.forget();
  const fetch = async (): Promise<void> => {
    const report =
      onProgress &&
      (({ received, total }: { received: number; total: number | undefined }) =>
        onProgress({ phase: 'download', received, total }));
    const { digest } = await api.downloadArchive(source, archive.path, report);
    await archive.arrived(digest !== undefined);
  };
  if (!archive.isThere) await fetch();
  for (;;) {
    try {
      if (archive.damage !== undefined) throw zipError(archive.path, archive.damage);
      await place.replace((dir) => unpack(archive.path, dir, options));
      await archive.remove();
      return;
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error;
      const isDamaged = error.fault === 'damaged';
      if (!isDamaged || !archive.isWorthAnother) {
        if (isDamaged) await archive.foundDamaged(error.reason);
        throw archive.refusal(error);
      }
      warn(`${formatKaggleHandle(source)}: the archive is damaged, it is downloaded once more: ${error.summary}`);
      await fetch();
    }
  }
}

async function unpack(archive: string, dir: string, options: ParsedOptions): Promise<void> {
  const { signal, onProgress, allowCaseConflicts } = options;
  let reported = Number.NEGATIVE_INFINITY;
  await extractZip(archive, dir, {
    signal,
    allowCaseConflicts,
    onProgress: ({ files, totalFiles }) => {
      const now = performance.now();
      if (!onProgress || (now < reported + 100 && files < totalFiles)) return;
      reported = now;
      onProgress({ phase: 'extract', files, totalFiles });
    },
  });
}
