import { mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError, HubError } from '../../src/errors.js';
import type { HubProgress } from '../../src/hub/hub-options.js';
import { type SnapshotDownloadOptions, snapshotDownload } from '../../src/hub/snapshot-download.js';
import { MersenneTwister } from '../../src/random.js';
import { gitSha1, HubServer, sha256 } from '../servers/hub-server.js';
import { answer, hangUp, type RecordedRequest } from '../servers/scripted-server.js';
import { onPosix } from '../where.js';

const ID = 'org/model';
const FILES = {
  'config.json': '{"model_type":"mistral3"}',
  'model-00001-of-00002.safetensors': noise(300_000, 1),
  'model-00002-of-00002.safetensors': noise(200_000, 2),
  'consolidated.safetensors': noise(50_000, 3),
  'sub/notes.txt': 'notes',
  'README.md': '# hello',
};
const WEIGHTS = ['*.json', 'model*.safetensors'];

let server: HubServer;
let cacheDir: string;
let warnings: string[];
beforeAll(async () => {
  server = await HubServer.start();
});
afterAll(() => server.close());
beforeEach(async () => {
  server.reset();
  server.commit(ID, FILES);
  cacheDir = await mkdtemp(join(tmpdir(), 'hub-cache-'));
  warnings = [];
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'])
    vi.stubEnv(name, '');
  vi.stubEnv('HF_HOME', cacheDir);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cacheDir, { recursive: true, force: true });
});

/** Reproducible bytes. */
function noise(length: number, seed: number): Buffer {
  const random = new MersenneTwister(seed);
  return Buffer.from(Uint8Array.from({ length }, () => random.nextUint32() & 255));
}

const download = (options: SnapshotDownloadOptions = {}, id = ID): Promise<string> =>
  snapshotDownload(id, {
    endpoint: server.endpoint,
    cacheDir,
    retryDelayMs: 1,
    onWarning: (line) => warnings.push(line),
    ...options,
  });

async function failure(work: Promise<unknown>): Promise<HubError> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(HubError);
  return error as HubError;
}

const rangeStart = ({ headers }: RecordedRequest): number =>
  Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);

const folderOf = (): string => join(cacheDir, 'models--org--model');

describe('snapshotDownload', () => {
  it('lays files out as Python does', async () => {
    const folder = await download();
    const { oid } = server.head(ID);
    expect(folder).toBe(join(folderOf(), 'snapshots', oid));
    expect(await readFile(join(folderOf(), 'refs', 'main'), 'utf8')).toBe(oid);
    for (const [path, content] of Object.entries(FILES)) {
      const bytes = Buffer.from(content as Buffer);
      expect((await readFile(join(folder, path))).equals(bytes)).toBe(true);
      const blob = path.endsWith('.safetensors') ? sha256(bytes) : gitSha1(bytes);
      expect(await readlink(join(folder, path))).toBe(`${path.includes('/') ? '../' : ''}../../blobs/${blob}`);
    }
    const tree = JSON.parse(await readFile(join(folderOf(), 'trees', `${oid}.json`), 'utf8'));
    expect(tree.format_version).toBe(1);
    expect(tree.files['config.json']).toEqual({ size: 25, blob_id: gitSha1(Buffer.from(FILES['config.json'])) });
    expect(tree.files['consolidated.safetensors']).toMatchObject({
      size: 50_000,
      lfs_sha256: sha256(FILES['consolidated.safetensors']),
      lfs_size: 50_000,
    });
    // Nothing is left behind: no partial file, no lock.
    expect((await readdir(join(folderOf(), 'blobs'))).filter((name) => name.startsWith('.'))).toEqual([]);
    expect(await readdir(join(cacheDir, '.locks', 'models--org--model'))).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it('fetches what the patterns choose, and tells how far it is', async () => {
    const seen: HubProgress[] = [];
    const folder = await download({ allowPatterns: WEIGHTS, onProgress: (progress) => seen.push(progress) });
    expect((await readdir(folder)).sort()).toEqual(
      ['config.json', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'].sort(),
    );
    expect(server.asked().some((path) => path.includes('consolidated'))).toBe(false);
    expect(seen.at(-1)).toMatchObject({ received: 500_025, total: 500_025, filesDone: 3, filesTotal: 3 });
    for (const [i, { received }] of seen.entries()) expect(received).toBeGreaterThanOrEqual(seen[i - 1]?.received ?? 0);
    const rest = await download({ ignorePatterns: ['*.safetensors', 'sub/'] });
    expect((await readdir(rest)).sort()).toContain('README.md');
    expect(await stat(join(rest, 'sub')).catch(() => undefined)).toBeUndefined();
    await expect(download({ allowPatterns: ['*.gguf'] })).rejects.toThrow(/org\/model: no file of it is wanted/);
  });

  it('asks once for a branch that has not moved, and not at all for a commit', async () => {
    await download();
    const { oid } = server.head(ID);
    server.api.requests.length = 0;
    await download();
    expect(server.asked()).toEqual(['/api/models/org/model/revision/main']);
    server.api.requests.length = 0;
    expect(await download({ revision: oid })).toBe(join(folderOf(), 'snapshots', oid));
    expect(server.asked()).toEqual([]);
  });

  it('fetches of a new commit what is new', async () => {
    const old = await download();
    server.commit(ID, { 'README.md': '# changed' });
    server.api.requests.length = 0;
    const folder = await download();
    expect(folder).not.toBe(old);
    expect(server.asked().filter((path) => path.includes('/resolve/'))).toHaveLength(1);
    expect(await readFile(join(folder, 'README.md'), 'utf8')).toBe('# changed');
    expect(await readFile(join(old, 'README.md'), 'utf8')).toBe('# hello');
    expect(await readFile(join(folder, 'sub/notes.txt'), 'utf8')).toBe('notes');
  });

  it('reads lists of several pages, and branches with a slash', async () => {
    server.pageSize = 2;
    server.commit(ID, { 'extra.txt': 'x' }, 'refs/pr/1');
    const folder = await download({ revision: 'refs/pr/1' });
    expect(await readFile(join(folder, 'extra.txt'), 'utf8')).toBe('x');
    expect(await readFile(join(folderOf(), 'refs/refs/pr/1'), 'utf8')).toBe(server.head(ID, 'refs/pr/1').oid);
  });

  it('keeps at most four files on their way, and lets two calls share the work', async () => {
    const many = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`${i}.safetensors`, noise(2000, i)]));
    server.commit('org/many', many);
    let [open, most] = [0, 0];
    // The first four are answered when all of them have come, and a fifth would have had time to.
    let letGo = () => {};
    const four = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    server.fault(
      /\/object\//,
      async (request, response) => {
        most = Math.max(most, ++open);
        if (open >= 4) setTimeout(letGo, 5);
        await four;
        open--;
        const oid = /object\/(\w+)/.exec(request.url!)![1]!;
        answer(200, server.objects.get(oid)!.toString('latin1'))(request, response);
      },
      0,
    );
    // The body above is no file: every content is found damaged, so only the count is of interest.
    await failure(download({ maxAttempts: 1 }, 'org/many'));
    expect(most).toBe(4);
    server.reset();
    server.commit('org/many', many);
    const [a, b] = await Promise.all([download({}, 'org/many'), download({}, 'org/many')]);
    expect(a).toBe(b);
    expect(server.storage.requests).toHaveLength(12);
  });
});

describe('the token', () => {
  it('goes to the Hub alone, also one that does not start with hf_', async () => {
    server.repos.get(ID)!.private = true;
    server.tokens.set('other-secret', 'user');
    await download({ token: 'other-secret', allowPatterns: WEIGHTS });
    expect(server.api.requests.every(({ headers }) => headers.authorization === 'Bearer other-secret')).toBe(true);
    // The storage refuses requests with a token, as the real one does.
    expect(server.storage.requests.length).toBe(2);
    expect(server.storage.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  it('is found where Python puts it, and never shown', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_expired\n');
    server.repos.get(ID)!.private = true;
    server.fault(/revision/, answer(401, { error: 'bad token hf_expired' }));
    const error = await failure(download());
    expect(error.message).toMatch(/org\/model: the Hub does not accept the token from HF_TOKEN \(401\)/);
    expect(JSON.stringify(error)).not.toContain('hf_expired');
    vi.stubEnv('HF_TOKEN', '');
    await writeFile(join(cacheDir, 'token'), 'hf_writer\n');
    await download({ allowPatterns: ['config.json'] });
    await expect(download({ token: false, revision: 'x' })).rejects.toThrow(/no public repository of this name/);
    await expect(download({ token: 'with space' })).rejects.toThrow(ConfigError);
  });
});

describe('a Hub that says no', () => {
  it('401: a private or missing repository, without a token', async () => {
    const error = await failure(download({}, 'org/nothing'));
    expect(error.message).toMatch(
      /org\/nothing: the Hub has no public repository of this name, and no token was found \(401\)/,
    );
    expect(error.hint).toMatch(/huggingface\.co\/settings\/tokens/);
    expect(server.asked()).toHaveLength(1);
  });

  it('404: no such repository, revision or file', async () => {
    await expect(download({ token: 'hf_writer' }, 'org/nothing')).rejects.toThrow(
      /no such repository, or hides it from the token from the option `token` \(404\)/,
    );
    const error = await failure(download({ revision: 'v9' }));
    expect(error.message).toMatch(/org\/model: the repository has no revision "v9" \(404\)/);
    server.fault(/resolve\/\w+\/config\.json/, answer(404, '', { 'x-error-code': 'EntryNotFound' }));
    await expect(download()).rejects.toThrow(/the repository has no such file \(404\)/);
  });

  it('403 and 401: a gated repository', async () => {
    server.repos.get(ID)!.admitted = ['hf_friend'];
    const stranger = await failure(download({ token: 'hf_writer' }));
    expect(stranger.message).toMatch(
      /gated, and the account of the token from the option `token` has not been let in \(403\)/,
    );
    expect(stranger.hint).toContain(`Open ${server.endpoint}/org/model signed in, accept the terms`);
    const nobody = await failure(download());
    expect(nobody.message).toMatch(/gated, and no token was found \(401\)/);
    await download({ token: 'hf_friend', allowPatterns: WEIGHTS });
  });

  it('403 for another reason', async () => {
    server.fault(/revision/, answer(403, { error: 'Access to this resource is disabled.' }));
    await expect(download()).rejects.toThrow(/the Hub has disabled this repository \(403\)/);
  });

  it('429: waits as long as it is told, in either header', async () => {
    const start = performance.now();
    server.fault(/revision/, answer(429, '', { 'retry-after': '1' }));
    await download({ allowPatterns: WEIGHTS });
    expect(performance.now() - start).toBeGreaterThan(990);
    server.fault(/revision/, answer(429, '', { ratelimit: '"api";r=0;t=400' }));
    const error = await failure(download({ allowPatterns: WEIGHTS, cacheDir: join(cacheDir, 'other') }));
    expect(error.message).toMatch(/asked too often \(429\); the server asks to wait 400 s/);
  });

  it('5xx: tries again, not for ever', async () => {
    server.fault(/revision/, answer(503), 2);
    server.fault(/tree/, hangUp);
    server.fault(/object/, answer(502));
    await download({ allowPatterns: WEIGHTS });
    expect(warnings).toHaveLength(4);
    expect(warnings[0]).toMatch(/org\/model: the Hub answered 503 Service Unavailable \(503\); next attempt in/);
    server.fault(/revision/, answer(500), 99);
    const error = await failure(download({ maxAttempts: 3, cacheDir: join(cacheDir, 'other') }));
    expect(error.message).toMatch(/500 Internal Server Error \(500\); gave up after 3 attempts/);
  });

  it('a web page where data should be', async () => {
    const page = answer(200, '<html>Please sign in to the hotel network</html>', { 'content-type': 'text/html' });
    server.fault(/revision/, page);
    await expect(download()).rejects.toThrow(/a web page came where JSON was expected/);
    server.fault(/tree/, page);
    await expect(download()).rejects.toThrow(/a web page came where JSON was expected/);
    server.fault(/config\.json/, page);
    await expect(download()).rejects.toThrow(/text\/html came where a file was expected/);
    server.fault(/revision/, answer(200, { id: 'no sha' }));
    await expect(download()).rejects.toThrow(/does not name the commit/);
  });

  it('a list that leads out of the folder', async () => {
    for (const path of ['../evil.json', '/etc/evil.json', 'a\\..\\..\\evil.json', 'C:/evil.json', 'a//b']) {
      const entry = { type: 'file', path, size: 1, oid: 'a'.repeat(40) };
      server.fault(/tree/, answer(200, [entry]));
      await expect(download()).rejects.toThrow(/an entry that makes no sense/);
    }
  });

  onPosix.it('and one with a time of day in a name', async () => {
    const name = 'runs/events.12:30:00';
    server.commit(ID, { [name]: 'a log' });
    const folder = await download();
    expect(await readFile(join(folder, name), 'utf8')).toBe('a log');
    expect(await download({ localFilesOnly: true })).toBe(folder);
  });
});

describe('a transfer that goes wrong', () => {
  it('ends with the right bytes, cut at 20 offsets', async () => {
    const random = new MersenneTwister(11);
    const content = FILES['model-00001-of-00002.safetensors'];
    const cuts = Array.from({ length: 20 }, () => random.nextUint32() % content.length).sort((a, b) => a - b);
    let next = 0;
    server.misbehaviour = () => (next < cuts.length ? { cutAt: cuts[next++]! } : {});
    const folder = await download({ allowPatterns: ['model-00001*'], maxAttempts: 30 });
    expect((await readFile(join(folder, 'model-00001-of-00002.safetensors'))).equals(content)).toBe(true);
    const starts = server.storage.requests.map(rangeStart);
    expect(starts).toHaveLength(21);
    // Bytes that arrived together with the news that the connection broke may be lost.
    for (const [i, start] of starts.entries()) {
      if (i > 0) expect(start).toBeLessThanOrEqual(cuts[i - 1]!);
      expect(start).toBeGreaterThanOrEqual(starts[i - 1] ?? 0);
    }
    expect(starts.at(-1)).toBeGreaterThan(0);
  });

  it('goes on in a later call, after each of 20 cuts', async () => {
    const random = new MersenneTwister(12);
    const content = FILES['model-00002-of-00002.safetensors'];
    let resumed = 0;
    for (let i = 0; i < 20; i++) {
      const cutAt = 1 + (random.nextUint32() % (content.length - 1));
      const options = { allowPatterns: ['model-00002*'], maxAttempts: 1, cacheDir: join(cacheDir, String(i)) };
      server.misbehaviour = () => ({ cutAt });
      await failure(download(options));
      server.misbehaviour = () => ({});
      server.storage.requests.length = 0;
      const folder = await download(options);
      expect((await readFile(join(folder, 'model-00002-of-00002.safetensors'))).equals(content)).toBe(true);
      resumed += rangeStart(server.storage.requests[0]!);
      expect(rangeStart(server.storage.requests[0]!)).toBeLessThanOrEqual(cutAt);
    }
    expect(resumed).toBeGreaterThan(0);
  });

  it('takes no damaged content', async () => {
    let damaged = 1;
    server.misbehaviour = () => ({ damage: damaged-- > 0 });
    const folder = await download({ allowPatterns: ['model-00001*'] });
    const content = FILES['model-00001-of-00002.safetensors'];
    expect((await readFile(join(folder, 'model-00001-of-00002.safetensors'))).equals(content)).toBe(true);
    server.misbehaviour = () => ({ damage: true });
    await expect(download({ allowPatterns: ['model-00002*'], maxAttempts: 2 })).rejects.toThrow(
      /arrived damaged: sha256/,
    );
    expect(await stat(join(folder, 'model-00002-of-00002.safetensors')).catch(() => undefined)).toBeUndefined();
    // Small files are checked by the name that git gives them.
    server.fault(
      /resolve\/\w+\/config\.json/,
      answer(200, '{"model_type":"mistral4"}', { 'content-type': 'text/plain' }),
      2,
    );
    await expect(download({ allowPatterns: ['config.json'], maxAttempts: 2 })).rejects.toThrow(
      /arrived damaged: gitSha1/,
    );
  });

  it('asks for a fresh address when the signed one has expired', async () => {
    let cut = false;
    server.misbehaviour = () => {
      if (cut) return {};
      cut = true;
      server.expireAddresses();
      return { cutAt: 1000 };
    };
    // The first answer leads to an address that the storage refuses.
    server.fault(/resolve/, (request, response) => {
      const location = `${server.storage.url}/object/${sha256(FILES['model-00001-of-00002.safetensors'])}?signature=-1`;
      answer(302, '', { location })(request, response);
    });
    const folder = await download({ allowPatterns: ['model-00001*'] });
    const content = FILES['model-00001-of-00002.safetensors'];
    expect((await readFile(join(folder, 'model-00001-of-00002.safetensors'))).equals(content)).toBe(true);
    expect(server.storage.requests).toHaveLength(3);
  });

  it('stops when it is told to, and keeps what has arrived', async () => {
    server.misbehaviour = () => ({ stallAt: 100_000 });
    const controller = new AbortController();
    const reason = new Error('enough');
    const work = download({ allowPatterns: ['model-00001*'], signal: controller.signal });
    const partial = join(folderOf(), 'blobs', `.${sha256(FILES['model-00001-of-00002.safetensors'])}.partial`);
    const arrived = async (): Promise<boolean> => (await stat(partial).catch(() => ({ size: 0 }))).size === 100_000;
    await vi.waitFor(async () => expect(await arrived()).toBe(true), 5000);
    controller.abort(reason);
    await expect(work).rejects.toBe(reason);
    server.misbehaviour = () => ({});
    server.storage.requests.length = 0;
    await download({ allowPatterns: ['model-00001*'] });
    expect(server.storage.requests[0]!.headers.range).toBe('bytes=100000-');
  });
});

describe('without a network', () => {
  it('answers from the cache, and names what is missing', async () => {
    const nothing = await failure(download({ localFilesOnly: true }));
    expect(nothing.message).toMatch(/has no revision "main" of it, and the Hub is not asked: localFilesOnly is set/);
    const folder = await download({ allowPatterns: WEIGHTS });
    const { oid } = server.head(ID);
    server.api.requests.length = 0;
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await download({ allowPatterns: WEIGHTS })).toBe(folder);
    expect(await download({ allowPatterns: WEIGHTS, revision: oid })).toBe(folder);
    await rm(join(folder, 'model-00002-of-00002.safetensors'));
    const error = await failure(download({ allowPatterns: WEIGHTS }));
    expect(error.message).toContain(
      `the cached files of commit ${oid} lack model-00002-of-00002.safetensors, and the Hub is not asked: HF_HUB_OFFLINE is set`,
    );
    const other = await failure(download({ revision: 'v2' }));
    expect(other.message).toContain(`has no revision "v2" of it; it has ${oid}`);
    expect(server.asked()).toEqual([]);
  });

  it('falls back on the cache when the Hub is out of reach, and says so', async () => {
    const folder = await download({ allowPatterns: WEIGHTS });
    server.fault(/revision/, hangUp, 99);
    server.api.requests.length = 0;
    expect(await download({ allowPatterns: WEIGHTS })).toBe(folder);
    expect(server.asked()).toHaveLength(2);
    expect(warnings.at(-1)).toContain(`the cached commit ${server.head(ID).oid} is used`);
    // What was never fetched cannot be had.
    await failure(download({ maxAttempts: 2 }));
  });

  it('does not hide behind the cache what the Hub refuses, and tells of it', async () => {
    await download({ allowPatterns: WEIGHTS });
    server.fault(/revision/, answer(401, { error: 'expired' }));
    const error = await failure(download({ allowPatterns: WEIGHTS, token: 'hf_old' }));
    expect(error.hint).toMatch(/The cache has these files: `localFilesOnly: true`/);
  });
});
