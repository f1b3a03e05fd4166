/** The Hub's protocol on this machine: the service, and the storage that it leads to, on two ports. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Misbehaviour, serveFile } from './file-storage.js';
import { answer, type Handler, hangUp, ScriptedServer } from './scripted-server.js';

export interface HubCommit {
  readonly oid: string;
  readonly summary: string;
  readonly files: ReadonlyMap<string, Buffer>;
}

export interface HubRepo {
  private: boolean;
  /** Only these tokens are let in, if it is set. */
  admitted?: readonly string[];
  /** Commits by branch, the latest last. */
  readonly branches: Map<string, HubCommit[]>;
}

interface Fault {
  readonly pattern: RegExp;
  readonly handler: Handler;
  times: number;
}

export const sha256 = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');
export const gitSha1 = (content: Uint8Array): string =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');

const isLarge = (path: string): boolean => /\.(safetensors|png)$/.test(path) || path === 'tokenizer.json';

export class HubServer {
  readonly api: ScriptedServer;
  readonly storage: ScriptedServer;
  readonly repos = new Map<string, HubRepo>();
  /** By SHA-256. */
  readonly objects = new Map<string, Buffer>();
  /** Who may write, and to what. */
  readonly tokens = new Map<string, string>([
    ['hf_writer', 'user'],
    ['hf_reader', 'user'],
  ]);
  /** Those of them that may only read. */
  readonly readers = new Set(['hf_reader']);
  /** Entries on a page of a list of files. */
  pageSize = 1000;
  /** Uploads above so many bytes go in parts of that size. */
  partSize = Number.POSITIVE_INFINITY;
  /** How the storage hands out files. */
  misbehaviour: () => Misbehaviour = () => ({});
  readonly #parts = new Map<string, Map<number, Buffer>>();
  readonly #faults: Fault[] = [];
  readonly #lost: RegExp[] = [];
  #signature = 0;

  private constructor(api: ScriptedServer, storage: ScriptedServer) {
    this.api = api;
    this.storage = storage;
  }

  static async start(): Promise<HubServer> {
    let server: HubServer;
    const handle =
      (serve: (request: IncomingMessage, body: Buffer) => Handler): Handler =>
      (request, response) => {
        const pieces: Buffer[] = [];
        request.on('data', (piece: Buffer) => pieces.push(piece));
        request.on('end', () => {
          const fault = server.#faults.find(({ pattern }) => pattern.test(`${request.method} ${request.url}`));
          const lost = server.#lost.findIndex((pattern) => pattern.test(`${request.method} ${request.url}`));
          if (!fault) {
            const usual = serve(request, Buffer.concat(pieces));
            if (lost < 0) return usual(request, response);
            server.#lost.splice(lost, 1);
            return hangUp(request, response);
          }
          if (--fault.times === 0) server.#faults.splice(server.#faults.indexOf(fault), 1);
          fault.handler(request, response);
        });
        request.on('error', () => undefined);
      };
    const api = await ScriptedServer.start(handle((request, body) => server.#serveApi(request, body)));
    const storage = await ScriptedServer.start(handle((request, body) => server.#serveStorage(request, body)));
    server = new HubServer(api, storage);
    return server;
  }

  get endpoint(): string {
    return this.api.url;
  }

  /** Makes a repository, or adds a commit to a branch of it. */
  commit(
    id: string,
    files: Readonly<Record<string, Buffer | string>>,
    branch = 'main',
    summary = 'a commit',
  ): HubCommit {
    const repo = this.repos.get(id) ?? { private: false, branches: new Map() };
    this.repos.set(id, repo);
    const commits = repo.branches.get(branch) ?? [];
    repo.branches.set(branch, commits);
    const all = new Map<string, Buffer>(commits.at(-1)?.files);
    for (const [path, content] of Object.entries(files)) all.set(path, Buffer.from(content as Buffer));
    for (const [path, content] of all) if (isLarge(path)) this.objects.set(sha256(content), content);
    const contents = [...all].map(([path, content]) => `${path} ${sha256(content)}`);
    const oid = createHash('sha1')
      .update([id, branch, commits.length, summary, ...contents].join('\n'))
      .digest('hex');
    const made = { oid, summary, files: all };
    commits.push(made);
    return made;
  }

  head(id: string, branch = 'main'): HubCommit {
    return this.repos.get(id)!.branches.get(branch)!.at(-1)!;
  }

  /** Answers requests whose method and URL match in another way, so many times. */
  fault(pattern: RegExp, handler: Handler, times = 1): void {
    this.#faults.push({ pattern, handler, times });
  }

  /** Does what the next such request asks for, and breaks the connection instead of saying so. */
  lose(pattern: RegExp): void {
    this.#lost.push(pattern);
  }

  /** Signed addresses given so far are refused from now on. */
  expireAddresses(): void {
    this.#signature++;
  }

  reset(): void {
    this.#faults.length = 0;
    this.#parts.clear();
    this.repos.clear();
    this.objects.clear();
    this.misbehaviour = () => ({});
    this.pageSize = 1000;
    this.partSize = Number.POSITIVE_INFINITY;
    for (const server of [this.api, this.storage]) server.requests.length = 0;
  }

  /** Paths that the service was asked for. */
  asked(): string[] {
    return this.api.requests.map(({ path }) => path);
  }

  async close(): Promise<void> {
    await Promise.all([this.api.close(), this.storage.close()]);
  }

  #serveApi(request: IncomingMessage, body: Buffer): Handler {
    const url = new URL(request.url!, this.endpoint);
    // A data set `owner/name` is kept as the repository `datasets:owner/name`.
    const path = decodeURIComponent(url.pathname)
      .replace(/^\/api\/datasets\//, '/api/models/datasets:')
      .replace(/^\/datasets\//, '/datasets:');
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (path === '/api/whoami-v2') {
      const name = this.tokens.get(token ?? '');
      const accessToken = { displayName: 'test', role: this.readers.has(token ?? '') ? 'read' : 'write' };
      const auth = { type: 'access_token', accessToken };
      return name ? answer(200, { type: 'user', name, auth }) : answer(401, { error: 'Invalid credentials' });
    }
    if (path === '/api/repos/create') {
      const { name, organization, visibility } = JSON.parse(String(body));
      const id = `${organization}/${name}`;
      if (this.tokens.get(token ?? '') !== organization) {
        return answer(403, {
          error: `You don't have the rights to create a model under the namespace "${organization}"`,
        });
      }
      if (this.repos.has(id)) return answer(409, { error: 'You already created this model repo' });
      this.commit(id, { '.gitattributes': '*.safetensors filter=lfs\n' }, 'main', 'initial commit');
      this.repos.get(id)!.private = visibility === 'private';
      return answer(200, { url: `${this.endpoint}/${id}`, id });
    }
    const [, id, call, rest = ''] =
      /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree|preupload|commit)\/(.+)$/.exec(path) ??
      /^\/([^/]+\/[^/]+)\/(resolve)\/(.+)$/.exec(path) ??
      /^\/([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/(batch)$/.exec(path) ??
      [];
    const repo = this.repos.get(id ?? '');
    if (!id || !repo || (repo.private && !this.tokens.has(token ?? ''))) {
      // Strangers are not told which names exist.
      const [status, error] = token ? [404, 'Repository not found'] : [401, 'Invalid username or password.'];
      return answer(
        status as number,
        { error },
        { 'x-error-code': 'RepoNotFound', 'x-error-message': error as string },
      );
    }
    if (repo.admitted && (call === 'resolve' || call === 'tree') && !repo.admitted.includes(token ?? '')) {
      const error = `Access to model ${id} is restricted.`;
      return answer(token ? 403 : 401, { error }, { 'x-error-code': 'GatedRepo', 'x-error-message': error });
    }
    if (call === 'revision' || call === 'tree') {
      const commit = this.#find(repo, rest);
      if (!commit) return answer(404, { error: 'Invalid rev id' }, { 'x-error-code': 'RevisionNotFound' });
      return call === 'revision' ? answer(200, { id, sha: commit.oid }) : this.#serveTree(url, commit);
    }
    if (call === 'resolve') return this.#serveFile(repo, rest);
    if (this.tokens.get(token ?? '') !== id.split('/')[0]) {
      return answer(
        403,
        { error: 'Authorization error.' },
        { 'x-error-message': `Forbidden: pass a write token, not ${token}` },
      );
    }
    if (call === 'preupload') {
      const { files } = JSON.parse(String(body)) as { files: { path: string }[] };
      const modes = files.map(({ path }) => ({ path, uploadMode: isLarge(path) ? 'lfs' : 'regular' }));
      return answer(200, { files: modes });
    }
    if (call === 'batch') return this.#serveBatch(body);
    return this.#serveCommit(id, repo, rest, url.searchParams.has('create_pr'), body);
  }

  /** Small files are sent, large ones lie in the storage. */
  #serveFile(repo: HubRepo, rest: string): Handler {
    const [revision, ...names] = rest.split('/');
    const commit = this.#find(repo, revision!);
    const content = commit?.files.get(names.join('/'));
    if (!content) return answer(404, 'Entry not found', { 'x-error-code': 'EntryNotFound' });
    const digest = sha256(content);
    const location = `${this.storage.url}/object/${digest}?signature=${this.#signature}`;
    const linked = { location, 'x-linked-etag': `"${digest}"`, 'x-linked-size': String(content.length) };
    const serve = isLarge(rest)
      ? answer(302, '', linked)
      : serveFile({ content, etag: `"${gitSha1(content)}"`, hash: false });
    return (request, response) => {
      response.setHeader('x-repo-commit', commit!.oid);
      serve(request, response);
    };
  }

  #find(repo: HubRepo, revision: string): HubCommit | undefined {
    const all = [...repo.branches.values()].flat();
    return repo.branches.get(revision)?.at(-1) ?? all.find(({ oid }) => oid === revision);
  }

  #serveTree(url: URL, { files }: HubCommit): Handler {
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const folders = new Set([...files.keys()].filter((path) => path.includes('/')).map((path) => path.split('/')[0]!));
    const entries = [
      ...[...folders].map((path) => ({ type: 'directory', path, size: 0, oid: gitSha1(Buffer.from(path)) })),
      ...[...files].map(([path, content]) => {
        const pointer = Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(content)}\n`);
        const lfs = { oid: sha256(content), size: content.length, pointerSize: pointer.length };
        const oid = gitSha1(isLarge(path) ? pointer : content);
        return { type: 'file', path, size: content.length, oid, ...(isLarge(path) ? { lfs } : {}) };
      }),
    ];
    const next = from + this.pageSize;
    url.searchParams.set('cursor', String(next));
    return answer(200, entries.slice(from, next), next < entries.length ? { link: `<${url.href}>; rel="next"` } : {});
  }

  #serveBatch(body: Buffer): Handler {
    const { transfers, objects } = JSON.parse(String(body)) as {
      transfers: string[];
      objects: { oid: string; size: number }[];
    };
    const answers = objects.map(({ oid, size }) => {
      if (this.objects.has(oid)) return { oid, size };
      const query = `?signature=${this.#signature}`;
      if (size <= this.partSize)
        return { oid, size, actions: { upload: { href: `${this.storage.url}/put/${oid}${query}` } } };
      const count = Math.ceil(size / this.partSize);
      const parts = Array.from({ length: count }, (_, i) => [
        i + 1,
        `${this.storage.url}/part/${oid}/${i + 1}${query}`,
      ]);
      const header = { chunk_size: String(this.partSize), ...Object.fromEntries(parts) };
      return { oid, size, actions: { upload: { href: `${this.storage.url}/complete/${oid}${query}`, header } } };
    });
    return answer(200, { transfer: transfers.includes('multipart') ? 'multipart' : 'basic', objects: answers });
  }

  #serveCommit(id: string, repo: HubRepo, branch: string, isPullRequest: boolean, body: Buffer): Handler {
    const lines = String(body)
      .split('\n')
      .map((line) => JSON.parse(line) as { key: string; value: Record<string, string> });
    const { summary, parentCommit } = lines.find(({ key }) => key === 'header')!.value;
    const head = repo.branches.get(branch)?.at(-1);
    if (!isPullRequest && parentCommit && parentCommit !== head?.oid) {
      return answer(412, { error: 'A commit has happened since. Please refresh and try again.' });
    }
    const files: Record<string, Buffer> = {};
    for (const { key, value } of lines) {
      if (key === 'file') files[value.path!] = Buffer.from(value.content!, 'base64');
      if (key !== 'lfsFile') continue;
      const object = this.objects.get(value.oid!);
      if (!object) return answer(400, { error: `LFS pointer pointed to a file that does not exist: ${value.oid}` });
      files[value.path!] = object;
    }
    const target = isPullRequest ? `refs/pr/${repo.branches.size}` : branch;
    if (isPullRequest) repo.branches.set(target, [head!]);
    const { oid } = this.commit(id, files, target, summary);
    const pullRequestUrl = isPullRequest ? { pullRequestUrl: `${this.endpoint}/${id}/discussions/1` } : {};
    return answer(200, {
      commitOid: oid,
      commitUrl: `${this.endpoint}/${id}/commit/${oid}`,
      hookOutput: '',
      ...pullRequestUrl,
    });
  }

  #serveStorage(request: IncomingMessage, body: Buffer): Handler {
    const url = new URL(request.url!, this.storage.url);
    if (request.headers.authorization) return answer(400, '<Error><Code>OnlyOneAuthMechanismAllowed</Code></Error>');
    if (Number(url.searchParams.get('signature')) !== this.#signature) {
      return answer(403, '<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>');
    }
    const [, call, oid, part] = /^\/(object|put|part|complete)\/(\w+)(?:\/(\d+))?$/.exec(url.pathname)!;
    if (call === 'object') {
      const content = this.objects.get(oid!);
      if (!content) return answer(404);
      return serveFile({ content, etag: `"${oid}"`, hash: false }, this.misbehaviour());
    }
    const store = (content: Buffer): Handler => {
      if (sha256(content) !== oid) return answer(400, '<Error><Code>BadDigest</Code></Error>');
      this.objects.set(oid, content);
      return answer(200);
    };
    if (call === 'put') return store(body);
    const parts = this.#parts.get(oid!) ?? new Map<number, Buffer>();
    this.#parts.set(oid!, parts);
    if (call === 'part') {
      parts.set(Number(part), body);
      return answer(200, '', { etag: `"${gitSha1(body)}"` });
    }
    const list = (JSON.parse(String(body)) as { parts: { partNumber: number; etag: string }[] }).parts;
    const whole = list.map(({ partNumber }) => parts.get(partNumber)!);
    if (list.some(({ etag }, i) => etag !== `"${gitSha1(whole[i]!)}"`)) return answer(400, 'wrong etag');
    return store(Buffer.concat(whole));
  }
}
