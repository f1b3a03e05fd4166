/** Puts files into a repository on the Hub, in one commit, and none if nothing changed. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import type { CommitOperation } from '@huggingface/hub';
import { z } from 'zod';
import { callback, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError, HubError, reasonOf, TransferError } from '../errors.js';
import { redact } from '../messages/secrets.js';
import { errorOf } from '../transfer/answer-error.js';
import { RetryBudget, withRetries } from '../transfer/retry.js';
import { sendRequest } from '../transfer/send-request.js';
import { offlineReason } from './environment.js';
import { asHubError, askHub, explainAnswer, type HubSubject } from './explain-answer.js';
import { hubFetch, placeholderToken } from './hub-fetch.js';
import {
  connectHub,
  type HubConnection,
  type HubConnectionOptions,
  type HubConnectionSettings,
  hubConnectionSchema,
  requestSettings,
} from './hub-options.js';
import { fileAddress } from './missing-routes.js';
import { parseRepoId } from './repo-id.js';
import { listTree, type RepoFile, type RepoTree, resolveRevision } from './repo-tree.js';
import { parseRevision } from './safe-names.js';
import { TOKEN_HINT } from './token.js';

/** How far an upload is. */
export interface PushProgress {
  /** Path in the repository. */
  readonly file: string;
  /** Between 0 and 1. */
  readonly uploaded: number;
}
/** Options of an upload. */
export interface PushOptions extends HubConnectionOptions {
  /** Whether the repository is private, if it is made now; one that exists stays as it is. Default: false. */
  private?: boolean | undefined;
  /** Branch that the commit goes to. Default: `main`. */
  revision?: string | undefined;
  /** First line of the commit's message. Default: `Upload adapter with ministral-tune`, or `merged model`. */
  commitMessage?: string | undefined;
  /** Open a pull request instead of committing to the branch. Default: false. */
  createPr?: boolean | undefined;
  /** Called while files are uploaded. Default: none. */
  onProgress?: ((progress: PushProgress) => void) | undefined;
}

/** Checks {@link PushOptions}. */
export const pushFilesSchema = hubConnectionSchema().extend({
  private: z.boolean().default(false),
  revision: z.string().min(1).default('main'),
  commitMessage: z.string().min(1).optional(),
  createPr: z.boolean().default(false),
  onProgress: callback<PushProgress>().optional(),
});

type _Input = NoMismatch<Mismatch<z.input<typeof pushFilesSchema>, PushOptions>>;
type PushFilesOptions = z.output<typeof pushFilesSchema>;

/** A file on the disk, or its text. */
export type PushedFile =
  | { readonly path: string; readonly source: string }
  | {
      readonly path: string;
      readonly text: string;
      /**
       * What becomes of the repository's text, if it has another one: it is replaced by what this gives, or kept for
       * undefined. Default: replaced by `text`.
       */
      readonly merge?: ((there: string) => string | undefined) | undefined;
    };

/** What an upload has led to. */
export interface PushResult {
  /** `OWNER/NAME`. */
  readonly repoId: string;
  /** Page of the repository. */
  readonly url: string;
  /** The commit that holds the files now; of a pull request, its own. */
  readonly commit: string;
  /** False if the repository had all files as they are: nothing was committed. */
  readonly changed: boolean;
  /** Paths of the files that were new or different. */
  readonly uploaded: readonly string[];
  /** Paths that are as people have written them on the Hub, and were not replaced. */
  readonly kept: readonly string[];
  /** Page of the pull request; undefined without `createPr`, and if nothing was committed. */
  readonly pullRequestUrl: string | undefined;
}

/**
 * Makes the repository if it is missing, compares what it has with what it should have, and commits the difference.
 * May be called again at any time, also after a failure half way.
 * @param refuse given the paths in the repository, says why the files must not come beside them; undefined if they may
 * @throws ConfigError without a token or for a bad name; HubError, explained; the signal's reason
 */
export async function pushFiles(
  id: string,
  files: readonly PushedFile[],
  options: PushFilesOptions,
  refuse?: Push['refuse'],
): Promise<PushResult> {
  const repoId = parseRepoId(id);
  const connection = await connectForPush(repoId, options);
  await Promise.all(files.map(sizeOf));
  const revision = parseRevision(options.revision);
  const subject: HubSubject = { repoId, revision, action: 'write' };
  let contents: Promise<readonly Content[]> | undefined;
  const describeAll = () => {
    contents ??= Promise.all(files.map((file) => describe(file, options.signal)));
    return contents;
  };
  const push: Push = { connection, subject, contents: describeAll, options, refuse };
  const budget = new RetryBudget(connection.retry);
  for (;;) {
    try {
      return await attemptPush(push);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof HubError && error.startOver)) throw asHubError(error);
      await budget.wait(error.with({ isTransient: true }), options.signal);
    }
  }
}

/** `OWNER/NAME` for a bare name: the owner is whoever the token belongs to. */
export async function ownedRepoId(id: string, options: HubConnectionSettings): Promise<string> {
  const name = parseRepoId(id);
  if (name.includes('/')) return name;
  return withOwner(name, await whoIs(await connectForPush(name, options), name));
}

/**
 * Asks the Hub whether an upload could begin; to be called before hours of training, not after. A fine-grained token may
 * still lack the right to this repository.
 * @param id `OWNER/NAME`, or a name alone for an owner that is whoever the token belongs to
 * @returns `OWNER/NAME`
 * @throws ConfigError without a token, for one that may only read, or for a bad name; HubError, explained, offline too
 * @example
 * ```ts
 * await checkPushAccess('USER/NAME'); // before the training, so that nothing is trained that cannot be uploaded
 * ```
 */
export async function checkPushAccess(id: string, options: HubConnectionOptions = {}): Promise<string> {
  const name = parseRepoId(id);
  const connection = await connectForPush(name, parseOptions(hubConnectionSchema, options, 'checkPushAccess'));
  const identity = await whoIs(connection, name);
  if (identity.auth?.accessToken?.role === 'read') {
    throw new ConfigError(`${name}: the access token may only read`, {
      hint: 'Make one with the right to write on https://huggingface.co/settings/tokens.',
    });
  }
  return name.includes('/') ? name : withOwner(name, identity);
}

/** What is used of the Hub's answer. */
interface Identity {
  readonly name?: unknown;
  readonly auth?: { readonly accessToken?: { readonly role?: unknown } | null } | null;
}

async function whoIs(connection: HubConnection, repoId: string): Promise<Identity> {
  const subject: HubSubject = { repoId, revision: 'main', action: 'write' };
  const { value } = await askHub(connection, subject, `${connection.endpoint}/api/whoami-v2`).catch(
    (error: unknown) => {
      throw asHubError(error);
    },
  );
  return (value as Identity | null) ?? {};
}

function withOwner(name: string, { name: owner }: Identity): string {
  if (typeof owner === 'string') return parseRepoId(`${owner}/${name}`);
  throw new HubError(`${name}: the Hub does not say whose token this is`, { hint: `Give "OWNER/${name}".` });
}

async function connectForPush(repoId: string, options: HubConnectionSettings): Promise<HubConnection> {
  const offline = offlineReason(false);
  if (offline) throw new HubError(`${repoId}: nothing can be pushed, the Hub is not asked: ${offline}`);
  const connection = await connectHub(options);
  if (connection.token) return connection;
  throw new ConfigError(`${repoId}: to push, an access token is needed`, { hint: TOKEN_HINT });
}

interface Content {
  readonly path: string;
  readonly content: Blob | URL;
  readonly size: number;
  readonly sha256: string;
  /** The name that git gives it. */
  readonly gitSha1: string;
  readonly merge: ((there: string) => string | undefined) | undefined;
}

/** A text that people read is shorter. */
const MAX_TEXT_BYTES = 1 << 20;

/** One upload, through all of its attempts. */
interface Push {
  readonly connection: HubConnection;
  readonly subject: HubSubject;
  /** Each file is digested once. */
  readonly contents: () => Promise<readonly Content[]>;
  readonly options: PushFilesOptions;
  readonly refuse: ((paths: readonly string[]) => string | undefined) | undefined;
}

async function attemptPush(push: Push): Promise<PushResult> {
  const { repoId } = push.subject;
  const parent = await headCommit(push);
  const tree = await listTree(push.connection, push.subject, parent);
  const reason = push.refuse?.([...tree.keys()]);
  if (reason !== undefined) {
    throw new HubError(`${repoId}: ${reason}`, {
      hint: 'Nothing was changed. Push into another repository, or delete that file there first.',
      details: { repoId },
    });
  }
  const changed: Content[] = [];
  const kept: string[] = [];
  // Not before the repository is known to take them: to digest gigabytes takes minutes.
  for (const file of await push.contents()) {
    if (!differs(file, tree)) continue;
    const there = tree.get(file.path);
    const merged = there && file.merge ? await mergedFile(push, file, there, parent) : file;
    if (!merged) kept.push(file.path);
    else if (differs(merged, tree)) changed.push(merged);
  }
  const url = `${push.connection.endpoint}/${repoId}`;
  if (changed.length === 0) {
    return { repoId, url, commit: parent, changed: false, uploaded: [], kept, pullRequestUrl: undefined };
  }
  const { commit, pullRequestUrl } = await commitFiles(push, changed, parent);
  const uploaded = changed.map(({ path }) => path);
  return { repoId, url, commit, changed: true, uploaded, kept, pullRequestUrl };
}

/** The file as it should be, given what the repository has; undefined if that is to be kept. */
async function mergedFile(push: Push, file: Content, there: RepoFile, commit: string): Promise<Content | undefined> {
  if (there.lfs_sha256 !== undefined || there.size > MAX_TEXT_BYTES) return undefined;
  const text = file.merge!(await readText(push, file.path, there, commit));
  return text === undefined ? undefined : describe({ path: file.path, text });
}

/** The text of a file, the very one that the list names: of anything else, also of nothing, nothing can be concluded. */
function readText(push: Push, path: string, there: RepoFile, commit: string): Promise<string> {
  const { retry, signal } = push.connection;
  const { repoId } = push.subject;
  const attempt = async (): Promise<string> => {
    const answer = await sendRequest({
      ...requestSettings(push.connection),
      url: fileAddress(push.connection, repoId, commit, path),
    });
    const error =
      answer.status === 200 ? undefined : await errorOf(answer, explainAnswer(push.connection, push.subject));
    if (error) throw error;
    const bytes = await answer.bytes(MAX_TEXT_BYTES + 1);
    const git = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
    if (bytes.length === there.size && (git === there.blob_id || there.blob_id.length !== 40)) return bytes.toString();
    throw new HubError(`${repoId}: what came as ${path} is not the file that the Hub lists: ${bytes.length} bytes`, {
      hint: 'Nothing was changed. A mirror or a proxy in between may have answered in its place.',
      status: answer.status,
      isTransient: true,
      details: { repoId, path, size: bytes.length, expectedSize: there.size },
    });
  };
  return withRetries(attempt, retry, signal);
}

/** The branch's commit; the repository is made if there is none. */
async function headCommit(push: Push): Promise<string> {
  try {
    return await resolveRevision(push.connection, push.subject);
  } catch (error) {
    if (!(error instanceof HubError && error.status === 404) || error.errorCode === 'RevisionNotFound') throw error;
  }
  await createRepository(push);
  return resolveRevision(push.connection, push.subject);
}

/** The client library, loaded with the first upload. */
function hubClient(): Promise<typeof import('@huggingface/hub')> {
  return import('@huggingface/hub');
}

async function createRepository(push: Push): Promise<void> {
  try {
    const { createRepo } = await hubClient();
    await createRepo({
      repo: { type: 'model', name: push.subject.repoId },
      visibility: push.options.private ? 'private' : 'public',
      hubUrl: push.connection.endpoint,
      fetch: hubFetch(push.connection, push.subject),
      accessToken: placeholderToken(push.connection).accessToken!,
    });
  } catch (error) {
    // Another process was faster, or the answer to an earlier attempt was lost.
    if (!(error instanceof HubError && error.status === 409)) throw error;
  }
}

async function commitFiles(
  push: Push,
  files: readonly Content[],
  parent: string,
): Promise<{ commit: string; pullRequestUrl: string | undefined }> {
  const { commitMessage, createPr, onProgress, signal } = push.options;
  const { repoId, revision } = push.subject;
  const { commitIter, HubApiError } = await hubClient();
  try {
    const events = commitIter({
      repo: { type: 'model', name: repoId },
      branch: revision,
      title: commitMessage ?? 'Upload with ministral-tune',
      operations: files.map(({ path, content }): CommitOperation => ({ operation: 'addOrUpdate', path, content })),
      parentCommit: parent,
      isPullRequest: createPr,
      // Plain large-file storage: this package's `fetch` can repeat it piece by piece.
      useXet: false,
      hubUrl: push.connection.endpoint,
      fetch: hubFetch(push.connection, push.subject),
      ...placeholderToken(push.connection),
      ...(signal ? { abortSignal: signal } : {}),
    });
    for (;;) {
      const { done, value } = await events.next();
      if (done) {
        if (!value) throw new HubError(`${repoId}: the Hub says nothing of the commit`);
        const { commit, pullRequestUrl } = value;
        // The server's words, on their way to people.
        return { commit: redact(commit.oid), pullRequestUrl: pullRequestUrl && redact(pullRequestUrl) };
      }
      if (value.event === 'fileProgress' && value.state === 'uploading') {
        onProgress?.({ file: value.path, uploaded: value.progress });
      }
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw explainFailure(push, error, error instanceof HubApiError ? error.statusCode : undefined);
  }
}

/** @param status what the Hub answered, of an error of its client */
function explainFailure(push: Push, error: unknown, status: number | undefined): unknown {
  if (error instanceof TransferError) {
    // Whether a pull request was opened before the connection broke cannot be seen from the branch.
    const unclear = push.options.createPr && error.status === undefined;
    if (!unclear || !(error instanceof HubError && error.startOver)) return error;
    return error.with({
      summary: `${error.summary}; the pull request may have been opened all the same`,
      hint: `Look at ${push.connection.endpoint}/${push.subject.repoId}/discussions before you try again.`,
      startOver: false,
    });
  }
  const { repoId } = push.subject;
  const said = reasonOf(error).replaceAll(push.connection.token!.value, '***').split(' URL: ')[0]!;
  return new HubError(`${repoId}: the upload failed: ${said}`, { status, details: { repoId }, cause: error });
}

function differs({ path, size, sha256, gitSha1 }: Content, tree: RepoTree): boolean {
  const there: RepoFile | undefined = tree.get(path);
  if (!there || there.size !== size) return true;
  return there.lfs_sha256 ? there.lfs_sha256 !== sha256 : there.blob_id !== gitSha1;
}

/** @throws ConfigError if there is no such file */
async function sizeOf(file: PushedFile): Promise<number> {
  if ('text' in file) return Buffer.byteLength(file.text);
  try {
    return (await stat(file.source)).size;
  } catch (cause) {
    throw new ConfigError(`${file.source}: there is no such file to push`, { details: { path: file.source }, cause });
  }
}

async function describe(file: PushedFile, signal?: AbortSignal): Promise<Content> {
  const { path } = file;
  const text = 'text' in file ? Buffer.from(file.text) : undefined;
  const source = 'source' in file ? file.source : '';
  const size = await sizeOf(file);
  const [sha256, git] = [createHash('sha256'), createHash('sha1').update(`blob ${size}\0`)];
  for await (const chunk of text ? [text] : createReadStream(source, { highWaterMark: 1 << 20 })) {
    signal?.throwIfAborted();
    sha256.update(chunk as Buffer);
    git.update(chunk as Buffer);
  }
  const content = text ? new Blob([text]) : pathToFileURL(source);
  const merge = 'merge' in file ? file.merge : undefined;
  return { path, content, size, sha256: sha256.digest('hex'), gitSha1: git.digest('hex'), merge };
}
