/** From the name of a repository on the Hub to a folder with its files. */

import { dirname, resolve } from 'node:path';
import type { z } from 'zod';
import { lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { HubError, reasonOf, TransferError } from '../errors.js';
import { requireSpace, writing } from '../files/disk-errors.js';
import { makeFolder } from '../files/make-folder.js';
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import { downloadFile } from '../transfer/download-file.js';
import { withLock } from '../transfer/lock.js';
import { partialBytes } from '../transfer/partial-file.js';
import type { SpeedLimit } from '../transfer/peer-watch.js';
import { hubCacheFolder, offlineReason } from './environment.js';
import { asHubError, explainAnswer, type HubSubject } from './explain-answer.js';
import { patternsSchema, selectPaths } from './file-patterns.js';
import {
  connectHub,
  type HubConnection,
  type HubDownload,
  type HubDownloadOptions,
  type HubProgress,
  hubDownloadSchema,
  requestSettings,
} from './hub-options.js';
import { ListTooLongError } from './list-pages.js';
import { fileAddress, lacksRoute, probeCommit, probeTree } from './missing-routes.js';
import { RepoCache } from './repo-cache.js';
import { localFolder, parseRepoId } from './repo-id.js';
import { parseDatasetName } from './repo-kind.js';
import { blobName, digestsOf, isCommit, listTree, type RepoFile, type RepoTree, resolveRevision } from './repo-tree.js';
import { clashOf, parseRevision } from './safe-names.js';

/** Files of a whole repository that are listed where a single folder is wanted, before that is listed alone. */
const MAX_BESIDE = 20_000;

/** Files that are fetched at a time. */
const PARALLEL = 4;
/** Options of `snapshotDownload`. */
export interface SnapshotDownloadOptions extends HubDownloadOptions {
  /**
   * Only files that match this pattern, or one of these: `*` stands for anything, slashes too, and `?` for one
   * character. A name with a slash at its end is a folder with all in it; a backslash is read as a slash. Default: all.
   */
  allowPatterns?: string | readonly string[] | undefined;
  /** Leaves out files that match this pattern, or one of these. Default: none. */
  ignorePatterns?: string | readonly string[] | undefined;
}

/** Checks {@link SnapshotDownloadOptions}. */
export const snapshotDownloadSchema = lazySchema(() =>
  hubDownloadSchema().extend({
    allowPatterns: patternsSchema().optional(),
    ignorePatterns: patternsSchema().optional(),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof snapshotDownloadSchema>>, SnapshotDownloadOptions>>;

/** What `fromPretrained` reads of a checkpoint; never the Mistral-native `consolidated.safetensors`. */
export const MODEL_FILES: readonly string[] = [
  'config.json',
  'generation_config.json',
  'model*.safetensors',
  'model.safetensors.index.json',
  'tokenizer*.json',
  'special_tokens_map.json',
  'processor_config.json',
  'preprocessor_config.json',
  'chat_template.*',
];

/** What of a repository is wanted, and how to see that it is complete. */
export interface FileSelection {
  readonly allowPatterns?: string | readonly string[] | undefined;
  readonly ignorePatterns?: string | readonly string[] | undefined;
  /** Folder outside of which nothing is wanted: it is listed alone where the repository has too many files for a list. */
  readonly within?: string | undefined;
  /** Says what is wrong with a repository that cannot be meant, from the paths in it. */
  readonly refuse?: (paths: readonly string[], commit: string) => string | undefined;
  /** Names what a folder lacks, where there is no list of the repository's files. */
  readonly missingFrom?: (folder: string) => Promise<string[]>;
}

export interface Snapshot {
  readonly folder: string;
  readonly commit: string;
}

/**
 * Brings the files of a model repository, or of a data set (`datasets/owner/name`), into the cache that is shared with
 * Python's tools, and gives their folder.
 * Four files are fetched at a time; each goes on where an earlier run stopped, and is checked against the digest that
 * the Hub lists. A commit that is in the cache needs no request. If the Hub cannot be reached the cache answers.
 * @returns absolute path of the snapshot
 * @throws ConfigError for a bad name or option; HubError, explained, if files are missing and cannot be fetched; the
 *   signal's reason
 * @example
 * ```ts
 * const folder = await snapshotDownload('mistralai/Ministral-3-3B-Instruct-2512-BF16', {
 *   allowPatterns: ['*.json', '*.jinja'],
 * });
 * ```
 */
export async function snapshotDownload(repoId: string, input: SnapshotDownloadOptions = {}): Promise<string> {
  const { allowPatterns, ignorePatterns, ...options } = parseOptions(snapshotDownloadSchema, input, 'snapshotDownload');
  const selection = { allowPatterns, ignorePatterns };
  const isDataset = typeof repoId === 'string' && repoId.startsWith('datasets/');
  const snapshot = isDataset
    ? await datasetSnapshot(parseDatasetName(repoId).repoId, options, selection)
    : await fetchNamed(parseRepoId(repoId), options, selection);
  return snapshot.folder;
}

/**
 * The folder that a text means, or the snapshot of the repository of this name.
 * @throws as `localFolder` and `snapshotDownload`; where the name could be a folder that is missing, the hint says so
 */
export async function folderOrSnapshot(
  idOrFolder: string,
  options: HubDownload,
  selection: FileSelection,
): Promise<{ readonly folder: string; readonly commit: string | undefined }> {
  const folder = await localFolder(idOrFolder);
  if (folder !== undefined) return { folder, commit: undefined };
  try {
    return await fetchNamed(parseRepoId(idOrFolder), options, selection);
  } catch (error) {
    if (!(error instanceof HubError && [undefined, 401, 403, 404].includes(error.status))) throw error;
    const { hint } = error;
    throw error.with({
      hint: `${hint ? `${hint.replace(/\.?$/, '.')} ` : ''}If a folder was meant: there is none at ${resolve(idOrFolder)}.`,
    });
  }
}

/** The snapshot of a data set. @param name `OWNER/NAME` @throws as `snapshotDownload` */
export function datasetSnapshot(name: string, options: HubDownload, selection: FileSelection): Promise<Snapshot> {
  return fetchNamed(`datasets/${name}`, options, selection);
}

async function fetchNamed(repoId: string, options: HubDownload, selection: FileSelection): Promise<Snapshot> {
  const revision = parseRevision(options.revision);
  const cache = new RepoCache(hubCacheFolder(options.cacheDir), repoId);
  const offline = offlineReason(options.localFilesOnly);
  if (offline) {
    const found = await findCached(cache, revision, selection);
    if ('folder' in found) return found;
    throw new HubError(`${repoId}: ${found.fault}, and the Hub is not asked: ${offline}`, {
      hint: 'Download it once with the network, or name the `cacheDir` that has it.',
      details: { repoId, revision, cacheDir: cache.root, ...found.details },
    });
  }
  const connection = await connectHub(options);
  const subject: HubSubject = { repoId, revision, action: 'read' };
  const speed = { minBytesPerSecond: options.minBytesPerSecond, windowMs: options.speedWindowMs };
  const download: Download = { cache, connection, subject, speed, onProgress: options.onProgress };
  const cached = await findCached(cache, revision, selection);
  try {
    return await runDownload(download, selection, cached);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw asHubError('fault' in cached ? withoutNetwork(error, cached.fault, cache) : error);
  }
}

/** What to do where the Hub cannot be found and the cache lacks what is wanted. */
function withoutNetwork(error: unknown, fault: string, cache: RepoCache): unknown {
  if (!(error instanceof TransferError && error.isUnknownHost)) return error;
  const way =
    `Without network only what was downloaded before is there, and ${fault}. Download it on a machine with network and ` +
    `copy the folder into ${cache.root}, or give a folder that holds the files; HF_HUB_OFFLINE=1 keeps from asking.`;
  return error.with({ hint: error.hint ? `${error.hint} ${way}` : way });
}

type CacheFinding = Snapshot | { readonly fault: string; readonly details: Record<string, unknown> };

/** What the cache alone can answer, or what it lacks. */
async function findCached(cache: RepoCache, revision: string, selection: FileSelection): Promise<CacheFinding> {
  const commit = await cache.commitOf(revision);
  if (commit === undefined || !(await cache.hasSnapshot(commit))) {
    const commits = await cache.commits();
    const others = commits.length > 0 ? `; it has ${commits.join(', ')}` : '';
    return { fault: `the cache ${cache.root} has no revision "${revision}" of it${others}`, details: { commits } };
  }
  const folder = cache.snapshot(commit);
  const tree = await cache.readTree(commit, selection.within);
  if (!tree && (await cache.hasPartOfTree(commit))) {
    return {
      fault: `of commit ${commit} the cache ${cache.root} has the list of other folders alone`,
      details: { commit },
    };
  }
  const missing = tree
    ? await cache.missing(commit, tree, selectPaths(tree.keys(), selection.allowPatterns, selection.ignorePatterns))
    : ((await selection.missingFrom?.(folder)) ?? []);
  if (missing.length === 0) return { folder, commit };
  const shown = shortList(missing, 10, oneLine);
  return { fault: `the cached files of commit ${commit} lack ${shown}`, details: { commit, missing } };
}

/** One call that asks the Hub. */
interface Download {
  readonly cache: RepoCache;
  readonly connection: HubConnection;
  readonly subject: HubSubject;
  readonly speed: SpeedLimit;
  readonly onProgress: ((progress: HubProgress) => void) | undefined;
}

async function runDownload(download: Download, selection: FileSelection, cached: CacheFinding): Promise<Snapshot> {
  const { revision, repoId } = download.subject;
  const isThere = 'folder' in cached;
  // Only with the list of a commit's files is it certain that nothing is missing.
  if (isThere && isCommit(revision) && (await download.cache.readTree(revision, selection.within))) return cached;
  let commit: string;
  let tree: RepoTree;
  try {
    // With something to fall back on, the patience for a Hub out of reach is small.
    const connection = isThere
      ? { ...download.connection, retry: { ...download.connection.retry, maxAttempts: 2 } }
      : download.connection;
    commit = isCommit(revision) ? revision : await currentCommit(download, connection);
    tree =
      (await download.cache.readTree(commit, selection.within)) ??
      (await listFiles(download, connection, commit, selection));
  } catch (error) {
    if (!isThere || !(error instanceof TransferError)) throw error;
    if (!error.isTransient) {
      const hint = 'The cache has these files: `localFilesOnly: true` or HF_HUB_OFFLINE=1 uses them.';
      throw error.with({ hint: error.hint ? `${error.hint} ${hint}` : hint });
    }
    download.connection.warn(`${error.summary}; the cached commit ${cached.commit} is used`);
    return cached;
  }
  const paths = selectPaths(tree.keys(), selection.allowPatterns, selection.ignorePatterns);
  const refusal =
    selection.refuse?.([...tree.keys()], commit) ?? (paths.length === 0 ? 'no file of it is wanted' : undefined);
  if (refusal !== undefined) {
    throw new HubError(`${repoId}: ${refusal}`, { details: { repoId, revision, commit, files: [...tree.keys()] } });
  }
  await requireDistinct(download, paths);
  await fetchAll(download, commit, tree, await download.cache.missing(commit, tree, paths));
  await tryToWrite(download, () => download.cache.writeRef(revision, commit));
  return { folder: download.cache.snapshot(commit), commit };
}

async function currentCommit(download: Download, connection: HubConnection): Promise<string> {
  try {
    return await resolveRevision(connection, download.subject);
  } catch (error) {
    const commit = lacksRoute(error) ? await probeCommit(connection, download.subject) : undefined;
    if (commit === undefined) throw error;
    return commit;
  }
}

async function listFiles(
  download: Download,
  connection: HubConnection,
  commit: string,
  selection: FileSelection,
): Promise<RepoTree> {
  let tree: RepoTree;
  let within: string | undefined;
  try {
    // Both lists may be in memory for a while.
    const limits = selection.within === undefined ? undefined : { maxEntries: MAX_BESIDE };
    tree = await listTree(connection, download.subject, commit, limits).catch((error: unknown) => {
      if (!(error instanceof ListTooLongError) || selection.within === undefined) throw error;
      within = selection.within;
      return listTree(connection, download.subject, commit, undefined, within);
    });
  } catch (error) {
    if (!lacksRoute(error)) throw error;
    const found = await probeTree(connection, download.subject, commit, selection.allowPatterns);
    // Without any, the server's own words about the repository are the better answer.
    if (found.size === 0) throw error;
    const { repoId } = download.subject;
    const { host } = new URL(connection.endpoint);
    connection.warn(`${repoId}: ${host} does not list files; those of the usual names are used: it has ${found.size}`);
    return found;
  }
  await tryToWrite(download, () => download.cache.writeTree(commit, tree, within));
  return tree;
}

/** @throws HubError for files of which one would take the other's place */
async function requireDistinct(download: Download, paths: readonly string[]): Promise<void> {
  const clash = clashOf(paths, clashOf(paths, true) !== undefined && (await download.cache.ignoresCase()));
  if (clash === undefined) return;
  const { repoId } = download.subject;
  throw new HubError(`${repoId}: two files cannot lie beside each other here: ${clash}`, {
    hint: 'Leave one out with `ignorePatterns`, or name a `cacheDir` on a disk that distinguishes them.',
    details: { repoId },
  });
}

/** What only spares a later request may fail: a cache for reading alone is still good for reading. */
async function tryToWrite(download: Download, work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => download.connection.warn(reasonOf(error)));
}

async function fetchAll(download: Download, commit: string, tree: RepoTree, paths: readonly string[]): Promise<void> {
  if (paths.length === 0) return;
  /** Paths by content: two files may have the same. */
  const contents = new Map<string, string[]>();
  for (const path of paths) {
    const name = blobName(tree.get(path)!);
    contents.set(name, [...(contents.get(name) ?? []), path]);
  }
  // The largest first, so that it does not run alone at the end.
  const groups = [...contents.values()].sort((a, b) => tree.get(b[0]!)!.size - tree.get(a[0]!)!.size);
  const files = groups.map((group) => tree.get(group[0]!)!);
  await requireRoom(download, files);

  const failed = new AbortController();
  const { signal } = download.connection;
  const either = AbortSignal.any([failed.signal, ...(signal ? [signal] : [])]);
  const progress = new ProgressSum(groups, tree, download.onProgress);
  const queue = groups.values();
  const worker = async (): Promise<void> => {
    for (const group of queue) {
      try {
        await fetchContent(download, commit, group, tree.get(group[0]!)!, either, progress);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }
  };
  // All have ended before the first fault is thrown.
  const results = await Promise.allSettled(Array.from({ length: PARALLEL }, worker));
  if (results.some(({ status }) => status === 'rejected')) throw either.reason;
}

/** Fetches a content unless it is there, and links it under all its paths. */
async function fetchContent(
  download: Download,
  commit: string,
  paths: readonly string[],
  file: RepoFile,
  signal: AbortSignal,
  progress: ProgressSum,
): Promise<void> {
  signal.throwIfAborted();
  const { warn } = download.connection;
  const { repoId } = download.subject;
  const path = paths[0]!;
  const address = fileAddress(download.connection, repoId, commit, path);
  for (const written of [download.cache.lock(file), download.cache.blob(file)])
    await download.cache.requireInside(written);
  const fetched = await withLock(
    download.cache.lock(file),
    async (held) => {
      if (await download.cache.hasBlob(file)) return false;
      await downloadFile({
        ...requestSettings(download.connection),
        url: address,
        path: download.cache.blob(file),
        source: `${repoId} ${blobName(file)}`,
        expectedSize: file.size,
        digests: digestsOf(file),
        explain: explainAnswer(download.connection, download.subject),
        suspectTypes: path.endsWith('.html') ? [] : ['text/html'],
        speed: download.speed,
        signal: held,
        onProgress: ({ received }) => progress.report(path, received),
      });
      return true;
    },
    { signal, onWait: () => warn(`${repoId}: ${oneLine(path)} is on its way in another process; waiting for it`) },
  );
  for (const [i, name] of paths.entries()) {
    await download.cache.link(commit, name, file, fetched && i === paths.length - 1);
  }
  progress.finish(path);
}

async function requireRoom(download: Download, files: readonly RepoFile[]): Promise<void> {
  let bytes = 0;
  for (const file of files) {
    const blob = download.cache.blob(file);
    if (!(await download.cache.hasBlob(file))) bytes += Math.max(0, file.size - (await partialBytes(blob)));
  }
  const blob = download.cache.blob(files[0]!);
  await writing(blob, () => makeFolder(dirname(blob)));
  await requireSpace(blob, bytes);
}

/** Sums up what single files report. */
class ProgressSum {
  readonly #sizes: ReadonlyMap<string, number>;
  readonly #received = new Map<string, number>();
  readonly #total: number;
  readonly #onProgress: ((progress: HubProgress) => void) | undefined;
  #done = 0;

  constructor(groups: readonly (readonly string[])[], tree: RepoTree, onProgress?: (progress: HubProgress) => void) {
    this.#sizes = new Map(groups.map(([path]) => [path!, tree.get(path!)!.size]));
    this.#total = [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
    this.#onProgress = onProgress;
  }

  report(file: string, fileReceived: number): void {
    this.#received.set(file, fileReceived);
    this.#onProgress?.({
      file,
      fileReceived,
      fileTotal: this.#sizes.get(file)!,
      received: [...this.#received.values()].reduce((sum, bytes) => sum + bytes, 0),
      total: this.#total,
      filesDone: this.#done,
      filesTotal: this.#sizes.size,
    });
  }

  finish(file: string): void {
    this.#done++;
    this.report(file, this.#sizes.get(file)!);
  }
}
