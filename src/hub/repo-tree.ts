/** The files of a repository at a commit: asked from the Hub, or as Python's tools keep them in the cache. */
import { z } from 'zod';
import { lazySchema } from '../config.js';
import { HubError } from '../errors.js';
import { parseJson } from '../files/read-json.js';
import { showValue } from '../messages/show-value.js';
import type { FileDigests } from '../transfer/digests.js';
import { askHub, type HubSubject } from './explain-answer.js';
import type { HubConnection } from './hub-options.js';
import { type ListLimits, listPages } from './list-pages.js';
import { apiPath } from './repo-kind.js';
import { pathFault } from './safe-names.js';

/** One file, in the words of the cached form. */
export interface RepoFile {
  /** Bytes. */
  readonly size: number;
  /** What git calls its content. Of a file in large-file storage: its pointer. */
  readonly blob_id: string;
  /** Large-file storage only. */
  readonly lfs_sha256?: string | undefined;
  readonly lfs_size?: number | undefined;
  readonly xet_hash?: string | undefined;
}

/** By path. */
export type RepoTree = ReadonlyMap<string, RepoFile>;

const size = lazySchema(() => z.int().min(0));
const sha256 = lazySchema(() => z.string().regex(/^[0-9a-f]{64}$/));
const repoFileSchema = lazySchema(() =>
  z.object({
    size: size(),
    blob_id: z.string().regex(/^[0-9a-f]{40}$|^[0-9a-f]{64}$/),
    lfs_sha256: sha256().optional(),
    lfs_size: size().optional(),
    xet_hash: sha256().optional(),
  }),
);
/** A path that leads out of its folder is never followed. */
const path = lazySchema(() => z.string().refine((text) => pathFault(text) === undefined));
const treeFileSchema = lazySchema(() =>
  z.object({ format_version: z.literal(1), files: z.record(path(), repoFileSchema()) }),
);

/** Name of the file's content in the cache. */
export function blobName({ blob_id, lfs_sha256, xet_hash }: RepoFile): string {
  return lfs_sha256 ?? xet_hash ?? blob_id;
}

/** What the file's bytes must add up to. */
export function digestsOf({ blob_id, lfs_sha256, xet_hash }: RepoFile): FileDigests {
  if (lfs_sha256) return { sha256: lfs_sha256 };
  return xet_hash || blob_id.length !== 40 ? {} : { gitSha1: blob_id };
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** The commit that a branch or tag stands for now. @throws HubError that explains what is missing */
export async function resolveRevision(connection: HubConnection, subject: HubSubject): Promise<string> {
  const url = `${connection.endpoint}/api/${apiPath(subject.repoId)}/revision/${encodeURIComponent(subject.revision)}`;
  const { value } = await askHub(connection, subject, url);
  const sha = (value as { sha?: unknown } | null)?.sha;
  if (typeof sha === 'string' && isCommit(sha)) return sha;
  throw new HubError(`${url}: the answer does not name the commit`, { url });
}

const entrySchema = lazySchema(() =>
  z.object({
    type: z.string(),
    path: path(),
    size: size(),
    oid: z.string(),
    lfs: z.object({ oid: z.string(), size: size() }).optional(),
    xetHash: z.string().optional(),
  }),
);

/** All files at a commit, or below one of its folders. @throws HubError that explains what is missing, or for a list that is not to be trusted */
export async function listTree(
  connection: HubConnection,
  subject: HubSubject,
  commit: string,
  limits?: ListLimits,
  within?: string,
): Promise<RepoTree> {
  const tree = new Map<string, RepoFile>();
  const folder = within === undefined ? '' : `/${within.split('/').map(encodeURIComponent).join('/')}`;
  const url = new URL(
    `${connection.endpoint}/api/${apiPath(subject.repoId)}/tree/${commit}${folder}?recursive=true&expand=false`,
  );
  for await (const page of listPages(url, connection, { ...subject, revision: commit }, limits)) {
    for (const item of page) {
      if ((item as { type?: unknown } | null)?.type === 'directory') continue;
      const [name, file] = readEntry(item, subject.repoId);
      if (tree.has(name)) throw badEntry(subject.repoId, item, 'comes twice');
      tree.set(name, file);
    }
  }
  return tree;
}

function readEntry(item: unknown, repoId: string): [string, RepoFile] {
  const entry = entrySchema().safeParse(item);
  if (!entry.success) throw badEntry(repoId, item);
  const { lfs, xetHash, oid } = entry.data;
  const file = repoFileSchema().safeParse({
    size: lfs?.size ?? entry.data.size,
    blob_id: oid,
    ...(lfs ? { lfs_sha256: lfs.oid, lfs_size: lfs.size } : {}),
    ...(xetHash ? { xet_hash: xetHash } : {}),
  });
  if (!file.success) throw badEntry(repoId, item);
  // A second name of the same content, in a list that may be long: beside the first nobody needs it.
  if (lfs) delete (file.data as { xet_hash?: string | undefined }).xet_hash;
  return [entry.data.path, file.data];
}

function badEntry(repoId: string, item: unknown, what = 'makes no sense'): HubError {
  const named = (item as { path?: unknown } | null)?.path;
  const fault = typeof named === 'string' ? pathFault(named) : undefined;
  const why = fault === undefined ? '' : ` (${fault})`;
  return new HubError(`${repoId}: the list of its files has an entry that ${what}${why}: ${showValue(item)}`, {
    hint: 'Nothing of this repository was written. Is the endpoint the one that is meant?',
    details: { repoId, entry: showValue(item) },
  });
}

/** Reads the cached form; undefined for anything that is not it. */
export function parseTree(bytes: Uint8Array): RepoTree | undefined {
  try {
    return new Map(Object.entries(treeFileSchema().parse(parseJson(bytes)).files));
  } catch {
    return undefined;
  }
}

export function formatTree(tree: RepoTree): string {
  const files = Object.fromEntries([...tree].sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify({ format_version: 1, files }, null, 1);
}
