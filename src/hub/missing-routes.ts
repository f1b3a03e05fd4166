/** Mirrors that hand out files but do not list them: the files of the usual names are asked for one by one. */
import { createHash } from 'node:crypto';
import { HubError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { errorOf } from '../transfer/answer-error.js';
import type { HttpAnswer } from '../transfer/http-answer.js';
import { withRetries } from '../transfer/retry.js';
import { sendRequest } from '../transfer/send-request.js';
import { askHub, explainAnswer, type HubSubject } from './explain-answer.js';
import { selectPaths } from './file-patterns.js';
import { type HubConnection, requestSettings } from './hub-options.js';
import { apiPath } from './repo-kind.js';
import { isCommit, type RepoFile, type RepoTree } from './repo-tree.js';
import { pathFault } from './safe-names.js';

const INDEX = 'model.safetensors.index.json';

/** What models and adapters consist of, beside the parts that an index names. */
const USUAL = [
  'config.json',
  'generation_config.json',
  'model.safetensors',
  INDEX,
  'adapter_config.json',
  'adapter_model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'processor_config.json',
  'preprocessor_config.json',
  'chat_template.jinja',
  'chat_template.json',
];

/** Patterns whose files are all among the usual ones and an index's. */
const COVERED = new Set(['model*.safetensors', 'tokenizer*.json', 'chat_template.*']);

const MAX_PARTS = 2000;

/** Whether an error says that the server has no such route; the Hub itself gives a reason with every 404. */
export function lacksRoute(error: unknown): error is HubError {
  return error instanceof HubError && error.errorCode === undefined && [404, 405, 501].includes(error.status!);
}

/** The commit of a revision, from the header of a file. Undefined if no file of a usual name exists. */
export async function probeCommit(connection: HubConnection, subject: HubSubject): Promise<string | undefined> {
  for (const path of ['config.json', 'adapter_config.json', '.gitattributes', 'README.md']) {
    const answer = await head(connection, subject, subject.revision, path);
    if (!answer) continue;
    const commit = answer.headers.get('x-repo-commit') ?? '';
    if (isCommit(commit)) return commit;
    throw new HubError(
      `${subject.repoId}: the server neither has the route /api/${apiPath(subject.repoId)}/revision/ nor names the commit ` +
        'of its files',
      {
        hint: 'Give the 40 digits of the commit as `revision`, or a folder that holds the files.',
        details: { repoId: subject.repoId, endpoint: connection.endpoint },
      },
    );
  }
  return undefined;
}

/**
 * Those of the files asked for that exist. It is not the list of all files, and must not be kept as one.
 * @throws HubError for a pattern whose files cannot be known without a list
 */
export async function probeTree(
  connection: HubConnection,
  subject: HubSubject,
  commit: string,
  allow: string | readonly string[] | undefined,
): Promise<RepoTree> {
  const patterns = allow === undefined ? [] : [allow].flat();
  const unknown = patterns.filter((pattern) => /[*?[]|\/$/.test(pattern) && !COVERED.has(pattern));
  if (allow === undefined || unknown.length > 0) {
    throw new HubError(
      `${subject.repoId}: the server has no route /api/${apiPath(subject.repoId)}/tree/, so that ` +
        `${allow === undefined ? 'which files exist' : `what "${unknown[0]}" stands for`} cannot be known`,
      {
        hint: 'Give full names as `allowPatterns`, or a folder that holds the files in place of the name.',
        details: { repoId: subject.repoId, endpoint: connection.endpoint },
      },
    );
  }
  const tree = new Map<string, RepoFile>();
  const add = async (paths: readonly string[]): Promise<void> => {
    for (const path of selectPaths(paths, patterns)) {
      if (tree.has(path)) continue;
      const answer = await head(connection, subject, commit, path);
      if (answer) tree.set(path, fileOf(answer, path, commit, subject));
    }
  };
  await add([...USUAL, ...patterns.filter((pattern) => !/[*?[]/.test(pattern) && !pathFault(pattern))]);
  if (tree.has(INDEX)) await add(await partsOf(connection, subject, commit));
  return tree;
}

/** Undefined if there is no such file. */
function head(
  connection: HubConnection,
  subject: HubSubject,
  revision: string,
  path: string,
): Promise<HttpAnswer | undefined> {
  const settings = requestSettings(connection);
  const once = async (): Promise<HttpAnswer | undefined> => {
    const answer = await sendRequest({
      ...settings,
      url: fileAddress(connection, subject.repoId, revision, path),
      method: 'HEAD',
      headers: { 'accept-encoding': 'identity' },
      // The Hub says what a file is before it leads to the storage.
      stopAtOrigin: true,
    });
    const code = answer.headers.get('x-error-code');
    if (answer.status === 404 && (code === null || code === 'EntryNotFound')) return undefined;
    const error = answer.status >= 400 ? await errorOf(answer, explainAnswer(connection, subject)) : undefined;
    await answer.cancel();
    if (error) throw error;
    return answer;
  };
  return withRetries(once, settings.retry, settings.signal);
}

function fileOf(answer: HttpAnswer, path: string, commit: string, { repoId }: HubSubject): RepoFile {
  const { headers } = answer;
  const stated = headers.get('x-linked-size') ?? (answer.status < 300 ? headers.get('content-length') : null) ?? '';
  if (!/^\d{1,15}$/.test(stated)) {
    throw new HubError(`${repoId}: the server does not say how long ${path} is`, {
      hint: 'Give a folder that holds the files in place of the name.',
      details: { repoId, path },
    });
  }
  const size = Number(stated);
  const etag = (headers.get('x-linked-etag') ?? headers.get('etag') ?? '').replace(/^W\/|"/g, '');
  // Names of nothing: 64 digits under which a content is kept that no digest is known of.
  const name = createHash('sha256')
    .update(JSON.stringify([repoId, commit, path, etag]))
    .digest('hex');
  if (/^[0-9a-f]{64}$/.test(etag)) return { size, blob_id: name, lfs_sha256: etag, lfs_size: size };
  return { size, blob_id: /^[0-9a-f]{40}$/.test(etag) ? etag : name };
}

/** The files that the index of a model in parts names. */
async function partsOf(connection: HubConnection, subject: HubSubject, commit: string): Promise<string[]> {
  const url = fileAddress(connection, subject.repoId, commit, INDEX);
  const { value } = await askHub(connection, subject, url);
  const map = (value as { weight_map?: unknown } | null)?.weight_map;
  const parts = new Set(typeof map === 'object' && map !== null ? Object.values(map as object) : []);
  for (const part of parts) {
    if (parts.size > MAX_PARTS || typeof part !== 'string' || pathFault(part)) {
      const fault = parts.size > MAX_PARTS ? `more than ${MAX_PARTS} files` : showValue(part);
      throw new HubError(`${subject.repoId}: expected the names of files in ${INDEX}, found ${fault}`, {
        hint: 'The file is damaged, or the mirror gives another one: compare it with that on the Hub.',
        url,
      });
    }
  }
  return [...parts] as string[];
}

/** Where a file is fetched from. */
export function fileAddress({ endpoint }: HubConnection, repoId: string, revision: string, path: string): string {
  const name = path.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${repoId}/resolve/${encodeURIComponent(revision)}/${name}`;
}
