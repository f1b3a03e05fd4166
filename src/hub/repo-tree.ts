/** The files of a repository at a commit: asked from the Hub, or as Python's tools keep them in the cache. */
import { listFiles } from '@huggingface/hub';
import { z } from 'zod';
import { HubError } from '../errors.js';
import type { FileDigests } from '../transfer/digests.js';
import { requestJson } from '../transfer/request-json.js';
import { explainAnswer, type HubSubject } from './explain-answer.js';
import { hubFetch, placeholderToken } from './hub-fetch.js';
import { authorization, type HubConnection } from './hub-options.js';
import { apiPath, repoDesignation } from './repo-kind.js';

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

const size = z.int().min(0);
const repoFileSchema = z.object({
  size,
  blob_id: z.string().regex(/^[0-9a-f]{40}$|^[0-9a-f]{64}$/),
  lfs_sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  lfs_size: size.optional(),
  xet_hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
/** Windows takes what follows a colon for a stream of the file before it; elsewhere it is a letter like others. */
const UNSAFE = process.platform === 'win32' ? /[\\:\0]/ : /[\\\0]|^[a-z]:/i;
/** A path that leads out of its folder is never followed. */
const path = z
  .string()
  .refine((text) => text.split('/').every((part) => !['', '.', '..'].includes(part)) && !UNSAFE.test(text));
const treeFileSchema = z.object({ format_version: z.literal(1), files: z.record(path, repoFileSchema) });

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
  const { value } = await requestJson({
    url,
    privateHeaders: authorization(connection),
    explain: explainAnswer(connection, subject),
    answerTimeoutMs: connection.timeoutMs,
    silenceTimeoutMs: connection.timeoutMs,
    retry: connection.retry,
    signal: connection.signal,
  });
  const sha = (value as { sha?: unknown } | null)?.sha;
  if (typeof sha === 'string' && isCommit(sha)) return sha;
  throw new HubError(`${url}: the answer does not tell the commit`, { details: { url } });
}

/** All files at a commit. @throws HubError that explains what is missing, or for a list that is not to be trusted */
export async function listTree(connection: HubConnection, subject: HubSubject, commit: string): Promise<RepoTree> {
  const tree = new Map<string, RepoFile>();
  const entries = listFiles({
    repo: repoDesignation(subject.repoId),
    revision: commit,
    recursive: true,
    hubUrl: connection.endpoint,
    fetch: hubFetch(connection, { ...subject, revision: commit }),
    ...placeholderToken(connection),
  });
  for await (const entry of entries) {
    if (entry.type !== 'file') continue;
    const file = repoFileSchema.safeParse({
      size: entry.lfs?.size ?? entry.size,
      blob_id: entry.oid,
      ...(entry.lfs ? { lfs_sha256: entry.lfs.oid, lfs_size: entry.lfs.size } : {}),
      ...(entry.xetHash ? { xet_hash: entry.xetHash } : {}),
    });
    if (!file.success || !path.safeParse(entry.path).success) {
      throw new HubError(`${subject.repoId}: the list of its files has an entry that makes no sense`, {
        details: { repoId: subject.repoId, entry },
      });
    }
    tree.set(entry.path, file.data);
  }
  return tree;
}

/** Reads the cached form; undefined for anything that is not it. */
export function parseTree(text: string): RepoTree | undefined {
  try {
    return new Map(Object.entries(treeFileSchema.parse(JSON.parse(text)).files));
  } catch {
    return undefined;
  }
}

export function formatTree(tree: RepoTree): string {
  const files = Object.fromEntries([...tree].sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify({ format_version: 1, files }, null, 1);
}
