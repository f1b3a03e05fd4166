/** Kaggle's REST protocol on this machine: the service, and the storage that it redirects to, on two ports. */
import { type StoredFile, serveFile } from './file-storage.js';
import { answer, type Handler, ScriptedServer } from './scripted-server.js';

const NOT_FOUND = { code: 404, message: 'Not found' };

export class KaggleServer {
  readonly api: ScriptedServer;
  readonly storage: ScriptedServer;
  /** Archives by version. */
  readonly archives: Map<number, StoredFile>;
  currentVersion: number;
  /** Archives of competitions by name, for those who send credentials. */
  readonly competitions = new Map<string, StoredFile>();
  /** The data set that the archives are of. */
  handle = 'owner/set';
  /** Whether the rules of the competitions are accepted. */
  rulesAccepted = true;
  #signature = 0;

  private constructor(api: ScriptedServer, storage: ScriptedServer, archives: Map<number, StoredFile>) {
    this.api = api;
    this.storage = storage;
    this.archives = archives;
    this.currentVersion = Math.max(...archives.keys());
  }

  /** Serves `owner/set` with the given archives. */
  static async start(archives: Readonly<Record<number, Buffer>>): Promise<KaggleServer> {
    const files = Object.entries(archives).map(([version, content]): [number, StoredFile] => [
      Number(version),
      { content, etag: `"etag-${version}"`, lastModified: 'Tue, 03 Feb 2026 10:00:00 GMT' },
    ]);
    let server: KaggleServer;
    const api = await ScriptedServer.start((request, response) => server.#serveApi(request, response));
    const storage = await ScriptedServer.start((request, response) => server.#serveStorage(request, response));
    server = new KaggleServer(api, storage, new Map(files));
    return server;
  }

  get endpoint(): string {
    return this.api.url;
  }

  /** Addresses given so far are refused from now on. */
  expireAddresses(): void {
    this.#signature++;
  }

  async close(): Promise<void> {
    await Promise.all([this.api.close(), this.storage.close()]);
  }

  #serveApi: Handler = (request, response) => {
    const url = new URL(request.url!, this.endpoint);
    const [, competition] = /^\/api\/v1\/competitions\/data\/download-all\/([\w-]+)$/.exec(url.pathname) ?? [];
    if (competition !== undefined) return this.#serveCompetition(competition)(request, response);
    const [, call, handle] = /^\/api\/v1\/datasets\/(view|download)\/(.+)$/.exec(url.pathname) ?? [];
    if (handle !== undefined && handle !== this.handle) return answer(404, NOT_FOUND)(request, response);
    const version = Number(url.searchParams.get('dataset_version_number') ?? this.currentVersion);
    if (call === 'view') {
      const view = {
        title: 'A set',
        currentVersionNumber: this.currentVersion,
        totalBytes: 1,
        licenseName: 'CC BY 4.0',
      };
      answer(200, view)(request, response);
    } else if (call === 'download' && this.archives.has(version)) {
      const location = `${this.storage.url}/bucket/${version}.zip?signature=${this.#signature}&expires=60`;
      answer(302, '', { location, 'content-length': '0' })(request, response);
    } else {
      answer(404, NOT_FOUND)(request, response);
    }
  };

  #serveCompetition(name: string): Handler {
    return (request, response) => {
      const location = `${this.storage.url}/bucket/${name}.zip?signature=${this.#signature}&expires=60`;
      if (!request.headers.authorization)
        return answer(401, { code: 401, message: 'Unauthenticated' })(request, response);
      if (!this.competitions.has(name)) return answer(404, NOT_FOUND)(request, response);
      if (this.rulesAccepted) return answer(302, '', { location, 'content-length': '0' })(request, response);
      const message = "You must accept this competition's rules before you'll be able to download files.";
      answer(403, { code: 403, message })(request, response);
    };
  }

  #serveStorage: Handler = (request, response) => {
    const url = new URL(request.url!, this.storage.url);
    const name = /^\/bucket\/([\w-]+)\.zip$/.exec(url.pathname)?.[1] ?? '';
    const file = this.competitions.get(name) ?? this.archives.get(Number(name));
    if (Number(url.searchParams.get('signature')) !== this.#signature) {
      answer(400, '<Error><Code>ExpiredToken</Code></Error>', { 'content-type': 'application/xml' })(request, response);
    } else if (!file) {
      answer(404, '<Error><Code>NoSuchKey</Code></Error>')(request, response);
    } else {
      serveFile(file)(request, response);
    }
  };
}
