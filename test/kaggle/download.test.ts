import { randomBytes } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { KaggleImageFolder } from '../../src/data/kaggle-image-folder.js';
import { ConfigError, DataError, KaggleError, type TuneError } from '../../src/errors.js';
import type { KaggleDownloadOptions, KaggleProgress } from '../../src/kaggle/download-dataset.js';
import { makeZip } from '../archive/zip-writer.js';
import { serveFile } from '../servers/file-storage.js';
import { KaggleServer } from '../servers/kaggle-server.js';
import { answer, type Handler, hangUp, silence } from '../servers/scripted-server.js';

const TOKEN = 'KGAT_s3cret';

let base: string;
let home: string;
let cacheDir: string;
let server: KaggleServer;
let warnings: string[];
let archives: { 1: Buffer; 2: Buffer };
let count = 0;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'kaggle-'));
  const png = await sharp(randomBytes(300 * 300 * 3), { raw: { width: 300, height: 300, channels: 3 } })
    .png()
    .toBuffer();
  const pictures = (classes: readonly string[]): Buffer =>
    makeZip([
      { name: 'Set/README.dataset.txt', content: 'about' },
      ...classes.flatMap((name) =>
        ['Train/1.png', 'Test/2.png'].map((file) => ({ name: `Set/Set/${name}/${file}`, content: png })),
      ),
    ]);
  archives = { 1: pictures(['Break', 'Chip']), 2: pictures(['Break', 'Hairline Fracture']) };
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(async () => {
  home = join(base, String(count++));
  cacheDir = join(home, 'cache');
  warnings = [];
  server = await KaggleServer.start(archives);
  for (const name of Object.keys(process.env)) if (name.startsWith('KAGGLE')) vi.stubEnv(name, undefined);
  vi.stubEnv('HOME', home);
  vi.stubEnv('USERPROFILE', home);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.close();
});

type Options = Parameters<typeof KaggleImageFolder.download>[1];

function download(handle = 'owner/set', options: Options = {}): Promise<KaggleImageFolder> {
  return KaggleImageFolder.download(handle, {
    cacheDir,
    endpoint: server.endpoint,
    retryDelayMs: 1,
    timeoutMs: 1000,
    onWarning: (line) => warnings.push(line),
    ...options,
  });
}

async function failure(handle?: string, options: Options = {}): Promise<TuneError> {
  const error = await download(handle, options).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(Error);
  for (const text of [(error as Error).message, JSON.stringify(error), warnings.join()]) {
    expect(text).not.toContain(TOKEN);
    expect(text).not.toContain('signature=');
  }
  return error as TuneError;
}

const times = (number: number, handler: Handler): Handler[] => Array.from({ length: number }, () => handler);
const inCache = async (): Promise<string[]> => (await readdir(join(cacheDir, 'datasets/owner/set'))).sort();
const calls = (): string[] => server.api.requests.map(({ path }) => path.split('/')[4]!);

describe('a download', () => {
  it('gives the folder of the current version, in the layout of kagglehub', async () => {
    const seen: KaggleProgress[] = [];
    const data = await download('owner/set', { onProgress: (progress) => seen.push(progress) });
    expect(data).toBeInstanceOf(KaggleImageFolder);
    expect(data.classNames).toEqual(['Break', 'Hairline Fracture']);
    expect([data.train.length, data.test.length]).toEqual([2, 2]);
    expect(data.dir).toBe(join(cacheDir, 'datasets/owner/set/versions/2'));
    expect(await inCache()).toEqual(['2.complete', 'versions']);
    expect(await readdir(join(cacheDir, 'datasets/owner/set/versions'))).toEqual(['2']);
    expect(await readFile(join(cacheDir, 'datasets/owner/set/2.complete'), 'utf8')).toBe('');
    const total = archives[2].length;
    expect(seen[0]).toEqual({ phase: 'download', received: 0, total });
    expect(seen).toContainEqual({ phase: 'download', received: total, total });
    expect(seen.at(-1)).toEqual({ phase: 'extract', files: 5, totalFiles: 5 });
    expect(warnings).toEqual([]);
    expect(server.api.requests[1]!.query.get('dataset_version_number')).toBe('2');
  });

  it('reads a folder with the options of fromFolder', async () => {
    const png = Buffer.from('no picture');
    server.archives.set(2, { content: makeZip([{ name: 'A/1.png', content: png }, { name: 'A/2.png' }]) });
    expect(await failure()).toMatchObject({ name: 'ImageError' });
    server.archives.set(2, { content: archives[1] });
    expect((await download('owner/set', { forceDownload: true, onBadImage: 'skip', verify: false })).skipped).toEqual(
      [],
    );
  });

  it('sends credentials to the service and never to its storage', async () => {
    await download('owner/set', { login: { token: TOKEN } });
    expect(server.api.requests.map(({ headers }) => headers.authorization)).toEqual(
      times(2, `Bearer ${TOKEN}` as never),
    );
    expect(server.storage.requests).toHaveLength(1);
    expect(JSON.stringify(server.storage.requests)).not.toMatch(/s3cret|authorization/i);
    vi.stubEnv('KAGGLE_USERNAME', 'me');
    vi.stubEnv('KAGGLE_KEY', 's3cret');
    await download('owner/set/versions/1');
    expect(server.api.requests.at(-1)!.headers.authorization).toBe(`Basic ${btoa('me:s3cret')}`);
    expect(JSON.stringify(server.storage.requests)).not.toMatch(/authorization/i);
  });

  it('needs no credentials for a public data set', async () => {
    await download();
    expect(server.api.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  it('finds the service and the cache in the environment', async () => {
    vi.stubEnv('KAGGLE_API_ENDPOINT', `${server.endpoint}/api/v1`);
    vi.stubEnv('KAGGLEHUB_CACHE', join(home, 'hub'));
    const data = await KaggleImageFolder.download('owner/set');
    expect(data.dir).toBe(join(home, 'hub/datasets/owner/set/versions/2'));
  });

  it('checks all options before it asks anybody', async () => {
    const error = await failure('owner/set', { timeoutMs: -1, loginn: 1, maxPixels: 0 } as Options);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toMatch(/3 faults[\s\S]*did you mean `login`/);
    expect(await failure('set')).toBeInstanceOf(ConfigError);
    expect(await failure('owner/set', { endpoint: 'http://example.com' })).toBeInstanceOf(ConfigError);
    expect(server.api.requests).toEqual([]);
  });
});

describe('the cache', () => {
  it('is asked first for a certain version, and needs no network then', async () => {
    const { dir } = await download('owner/set/versions/1');
    expect(calls()).toEqual(['download']);
    await server.close();
    expect((await download('owner/set/1')).dir).toBe(dir);
    expect(warnings).toEqual([]);
    server = await KaggleServer.start(archives);
  });

  it('is used when the version is the current one, and added to when it is not', async () => {
    server.currentVersion = 1;
    await download();
    await download();
    expect(calls()).toEqual(['view', 'download', 'view']);
    server.currentVersion = 2;
    expect((await download()).classNames).toHaveLength(2);
    expect(await inCache()).toEqual(['1.complete', '2.complete', 'versions']);
  });

  it('stands in, with a warning, when the service cannot be reached', async () => {
    await download('owner/set/1');
    for (const trouble of [hangUp, answer(503), answer(429)]) {
      server.api.script.push(...times(2, trouble));
      warnings.length = 0;
      expect((await download()).dir).toBe(join(cacheDir, 'datasets/owner/set/versions/1'));
      expect(warnings.at(-1)).toMatch(/^owner\/set: using version 1 from the cache, perhaps not the current one: /);
    }
    // Not when the service answers that this may not be had.
    server.api.script.push(answer(403));
    expect(await failure()).toMatchObject({ code: 'KAGGLE', status: 403 });
  });

  it('does not count without its marker, nor a marker without its folder', async () => {
    const folder = join(cacheDir, 'datasets/owner/set/versions/1');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'half'), '');
    await mkdir(join(cacheDir, 'datasets/owner/set/versions/.1.left-behind'), { recursive: true });
    await download('owner/set/1');
    expect(calls()).toEqual(['download']);
    expect(await readdir(folder)).toEqual(['Set']);
    expect(await readdir(join(folder, '..'))).toEqual(['1']);
    await rm(folder, { recursive: true });
    await download('owner/set/1');
    expect(calls()).toEqual(['download', 'download']);
  });

  it('is filled anew when asked, and keeps what it has until then', async () => {
    const { dir } = await download('owner/set/1');
    await writeFile(join(dir, 'mine'), '');
    server.storage.script.push(...times(7, hangUp));
    await failure('owner/set/1', { forceDownload: true });
    await access(join(dir, 'mine'));
    await download('owner/set/1', { forceDownload: true });
    expect(await readdir(dir)).toEqual(['Set']);
  });

  it('is found under a name of other letters, as Kaggle finds it', async () => {
    const { dir } = await download('owner/set/1');
    expect((await download('Owner/SET/1')).dir).toBe(dir);
    expect((await download('https://www.kaggle.com/datasets/OWNER/set/versions/1')).dir).toBe(dir);
    expect(calls()).toEqual(['download']);
  });

  it('is filled once by several calls at a time', async () => {
    const all = await Promise.all([download(), download(), download()]);
    expect(new Set(all.map(({ dir }) => dir)).size).toBe(1);
    expect(calls().filter((call) => call === 'download')).toHaveLength(1);
    expect(warnings).toEqual(times(2, 'owner/set/versions/2: another process downloads it; waiting' as never));
  });
});

describe('an interrupted download', () => {
  it('is continued, by the same call and by the next', async () => {
    const file = server.archives.get(2)!;
    server.storage.script.push(serveFile(file, { cutAt: 200_000 }), serveFile(file, { stallAt: 300_000 }), hangUp);
    await failure('owner/set', { maxAttempts: 2, timeoutMs: 300 });
    expect(await inCache()).toEqual(['..2.zip.partial', '..2.zip.partial.json']);
    await download();
    const starts = server.storage.requests.map(({ headers }) => Number(headers.range?.match(/\d+/)?.[0] ?? 0));
    expect(starts[0]).toBe(0);
    expect(starts[1]).toBeGreaterThan(100_000);
    expect(starts[2]).toBeGreaterThan(250_000);
    expect(starts[3]).toBe(starts[2]);
    expect(await inCache()).toEqual(['2.complete', 'versions']);
    // Each time the service is asked for an address of its own.
    expect(calls()).toEqual(['view', 'download', 'download', 'download', 'view', 'download']);
  });

  it('stops for a signal', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    server.storage.script.push(serveFile(server.archives.get(2)!, { stallAt: 100_000 }));
    const partial = join(cacheDir, 'datasets/owner/set/..2.zip.partial');
    const watch = setInterval(async () => {
      const arrived = await stat(partial).catch(() => undefined);
      if (arrived && arrived.size > 50_000) controller.abort(reason);
    }, 5);
    expect(await failure('owner/set', { signal: controller.signal, timeoutMs: 60_000 })).toBe(reason);
    clearInterval(watch);
    expect(await failure('owner/set', { signal: controller.signal })).toBe(reason);
    await download();
    expect(server.storage.requests.at(-1)!.headers.range).toBeDefined();
  });

  it('gets a new address when the old one has expired', async () => {
    server.storage.script.push((request, response) => {
      server.expireAddresses();
      serveFile(server.archives.get(2)!, { cutAt: 200_000 })(request, response);
    });
    // The address that this redirect gives is old already.
    server.api.script.push(
      answer(200, { currentVersionNumber: 2 }),
      answer(302, '', { location: `${server.storage.url}/bucket/2.zip?signature=0` }),
      answer(302, '', { location: `${server.storage.url}/bucket/2.zip?signature=0` }),
    );
    await download();
    expect(calls()).toEqual(['view', 'download', 'download', 'download']);
    expect(warnings.join()).toContain('the server answered 400 Bad Request');
  });

  it('gives up on a storage that always refuses', async () => {
    server.storage.script.push(...times(3, answer(403, '<Error>AccessDenied</Error>')));
    const error = await failure('owner/set', { maxAttempts: 3, login: { token: TOKEN } });
    expect(error.message).toMatch(/bucket\/2\.zip: the server answered 403 Forbidden; gave up after 3 attempts/);
    expect(error.hint).toContain('refused by its storage');
  });
});

describe('what the service answers', () => {
  it.each([
    [401, 'Kaggle wants to know who asks, and no credentials were found (401)', 'KAGGLE_API_TOKEN'],
    [403, 'Kaggle does not allow this download with no credentials (403)', 'https://www.kaggle.com/datasets/owner/set'],
    [404, 'Kaggle has no such data set (404)', 'A private one needs credentials'],
  ])('%i without credentials', async (status, message, hint) => {
    server.api.script.push(answer(status, { code: status, message: 'as it is' }));
    const error = await failure();
    expect(error).toBeInstanceOf(KaggleError);
    expect(error.message).toContain(`owner/set: ${message}. It says: as it is`);
    expect(error.hint).toContain(hint);
    expect(error.hint).toContain('~/.kaggle/access_token');
    expect(error).toMatchObject({ status, isTransient: false, details: { handle: 'owner/set' } });
    expect(server.api.requests).toHaveLength(1);
  });

  it.each([
    [401, 'Kaggle does not accept the credentials from the option `login` (401)', 'expired or been revoked'],
    [403, 'Kaggle does not allow this download with the credentials from the option', 'its terms want to be accepted'],
    [404, 'Kaggle has no such data set, or no such version of it (404)', 'Does https://www.kaggle.com/datasets'],
  ])('%i with credentials, at the download itself', async (status, message, hint) => {
    // A service that repeats what it was sent does not make the error repeat it.
    server.api.script.push(answer(status, { code: status, message: `bad token ${TOKEN}` }));
    const error = await failure('owner/set/versions/1', { login: { token: TOKEN } });
    expect(error.message).toContain(message);
    expect(error.message).toContain('It says: bad token ***');
    expect(error.hint).toContain(hint);
    expect(server.api.requests).toHaveLength(1);
  });

  it('404 for a version that there is not', async () => {
    expect((await failure('owner/set/versions/9')).message).toContain(
      'owner/set/versions/9: Kaggle has no such data set',
    );
  });

  it('an error with status 200', async () => {
    server.api.script.push(answer(200, { code: 403, message: 'accept the terms' }));
    expect(await failure()).toMatchObject({ code: 'KAGGLE', status: 403 });
    server.api.script.push(answer(200, { code: '404', message: 'gone' }));
    expect(await failure('owner/set/1')).toMatchObject({ status: 404 });
  });

  it('a redirect to the page for signing in', async () => {
    server.api.script.push(
      answer(302, '', { location: '/account/login?returnUrl=x' }),
      answer(200, '<html>', { 'content-type': 'text/html' }),
    );
    const error = await failure('owner/set/1');
    expect(error.message).toContain('Kaggle wants to know who asks, and no credentials were found (401)');
  });

  it('429, and it is left alone as long as it asks', async () => {
    server.api.script.push(answer(429, { code: 429, message: 'slow down' }, { 'retry-after': '1' }));
    const start = performance.now();
    await download();
    expect(performance.now() - start).toBeGreaterThan(990);
    expect(warnings[0]).toMatch(
      /^owner\/set: Kaggle was asked too often \(429\). It says: slow down; next attempt in 1\.0 s$/,
    );
  });

  it('429 with a wait too long to wait', async () => {
    server.api.script.push(answer(429, '', { 'retry-after': '7200' }));
    const error = await failure();
    expect(error.message).toContain('the server asks to wait 7200 s');
    expect(error).toMatchObject({ status: 429, retryAfterMs: 7_200_000 });
  });

  it('429 again and again', async () => {
    server.api.script.push(...times(4, answer(429)));
    const error = await failure('owner/set', { maxAttempts: 4 });
    expect(error.message).toContain('Kaggle was asked too often (429); gave up after 4 attempts');
    expect(error.hint).toContain('With credentials more requests are allowed');
  });

  it('5xx, for a while and for ever', async () => {
    server.api.script.push(
      answer(500),
      answer(503),
      answer(200, { currentVersionNumber: 2 }),
      answer(502),
      answer(504),
    );
    server.storage.script.push(answer(503));
    await download();
    expect(warnings).toHaveLength(5);
    server.api.script.push(...times(7, answer(503, '<html>', { 'content-type': 'text/html' })));
    const error = await failure('owner/set/1');
    expect(error.message).toContain('Kaggle answered 503 Service Unavailable (503); gave up after 7 attempts');
    expect(error).toMatchObject({ status: 503, details: { attempts: 7 } });
  });

  it('a web page instead of JSON, whatever its type', async () => {
    for (const type of ['text/html', 'application/json']) {
      server.api.script.push(answer(200, '<!doctype html><title>Kaggle</title>', { 'content-type': type }));
      const error = await failure();
      expect(error.message).toContain('a web page came where JSON was expected');
      expect(error.hint).toContain('captive portal');
    }
    server.api.script.push(answer(200, { title: 'A set' }));
    expect((await failure()).message).toContain('does not name the current version');
  });

  it('a web page instead of the archive', async () => {
    server.api.script.push(answer(200, '<html>', { 'content-type': 'text/html' }));
    expect((await failure('owner/set/1')).message).toContain('text/html came where a file was expected');
    server.storage.script.push(answer(200, '<html>', { 'content-type': 'text/html' }));
    expect((await failure('owner/set/1')).message).toContain('text/html came where a file was expected');
  });

  it('nothing', async () => {
    server.api.script.push(silence);
    await download('owner/set', { timeoutMs: 100 });
    expect(warnings[0]).toContain('no answer within 0.1 s');
    await server.close();
    const error = await failure('owner/set', { cacheDir: join(home, 'other'), maxAttempts: 2 });
    expect(error.message).toMatch(/the connection failed: .*; gave up after 2 attempts/);
    server = await KaggleServer.start(archives);
  });
});

describe('an archive that is no good', () => {
  it('is refused, kept, and fetched again only when asked', async () => {
    const evil = makeZip([{ name: 'A/1.png' }, { name: '../../../../evil', content: 'x' }]);
    server.archives.set(1, { content: evil });
    for (let i = 0; i < 2; i++) {
      const error = await failure('owner/set/1');
      expect(error).toBeInstanceOf(DataError);
      expect(error.message).toContain('entry "../../../../evil": ".." in the name');
      expect(error.hint).toContain(join(cacheDir, 'datasets/owner/set/.1.zip'));
      expect(await inCache()).toEqual(['.1.zip', 'versions']);
      expect(await readdir(join(cacheDir, 'datasets/owner/set/versions'))).toEqual([]);
    }
    expect(calls()).toEqual(['download']);
    server.archives.set(1, { content: archives[1] });
    await download('owner/set/1', { forceDownload: true });
    expect(calls()).toEqual(['download', 'download']);
    expect(await inCache()).toEqual(['1.complete', 'versions']);
  });

  it('is kept when it is not to blame', async () => {
    const controller = new AbortController();
    const onProgress: KaggleDownloadOptions['onProgress'] = ({ phase }) => phase === 'extract' && controller.abort();
    await failure('owner/set/1', { onProgress, signal: controller.signal });
    expect(await inCache()).toEqual(['.1.zip', 'versions']);
    await download('owner/set/1');
    expect(calls()).toEqual(['download']);
  });
});
