import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ImageFolder } from '../../src/data/image-folder.js';
import { KaggleImageFolder } from '../../src/data/kaggle-image-folder.js';
import type { TuneError } from '../../src/errors.js';
import { makeZip } from '../archive/zip-writer.js';
import { serveFile } from '../servers/file-storage.js';
import { KaggleServer } from '../servers/kaggle-server.js';

let home: string;
let cacheDir: string;
let server: KaggleServer;
let zip: Buffer;
let png: Buffer;
let warnings: string[];

beforeAll(async () => {
  png = await sharp({ create: { width: 30, height: 30, channels: 3, background: '#a35' } })
    .png()
    .toBuffer();
  const names = ['cat', 'dog'].flatMap((name) => [`train/${name}/1.png`, `test/${name}/2.png`]);
  zip = makeZip(names.map((name) => ({ name, content: png })));
  server = await KaggleServer.start({ 1: zip });
});
afterAll(() => server.close());
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'kaggle-competition-'));
  cacheDir = join(home, 'cache');
  warnings = [];
  server.competitions.set('dogs-vs-cats', { content: zip });
  server.rulesAccepted = true;
  for (const one of [server.api, server.storage]) one.requests.length = 0;
  for (const name of Object.keys(process.env)) if (name.startsWith('KAGGLE')) vi.stubEnv(name, undefined);
  vi.stubEnv('HOME', home);
  vi.stubEnv('USERPROFILE', home);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(home, { recursive: true });
});

type Options = Parameters<typeof KaggleImageFolder.download>[1];

const download = (name = 'competitions/dogs-vs-cats', options: Options = {}): Promise<KaggleImageFolder> =>
  KaggleImageFolder.download(name, {
    cacheDir,
    endpoint: server.endpoint,
    retryDelayMs: 1,
    login: { username: 'me', key: 's3cret' },
    onWarning: (line) => warnings.push(line),
    ...options,
  });

const failure = (name?: string, options?: Options): Promise<TuneError> =>
  download(name, options).then(
    () => expect.fail('expected an error'),
    (error: TuneError) => error,
  );

describe('the files of a competition', () => {
  it('lie where kagglehub has them, and are asked for once', async () => {
    const data = await download('https://www.kaggle.com/competitions/dogs-vs-cats/data');
    expect([data.classNames, data.train.length, data.test.length]).toEqual([['cat', 'dog'], 2, 2]);
    expect(data.dir).toBe(join(cacheDir, 'competitions/dogs-vs-cats'));
    expect((await readdir(join(cacheDir, 'competitions'))).sort()).toEqual(['dogs-vs-cats', 'dogs-vs-cats.complete']);
    expect(server.api.requests.map(({ path }) => path)).toEqual([
      '/api/v1/competitions/data/download-all/dogs-vs-cats',
    ]);
    expect(JSON.stringify(server.storage.requests)).not.toMatch(/authorization/i);
    await download('c/dogs-vs-cats', { login: undefined });
    await download('competitions/Dogs-vs-Cats');
    expect(server.api.requests).toHaveLength(1);
    await download(undefined, { forceDownload: true });
    expect(server.api.requests).toHaveLength(2);
    expect(warnings).toEqual([]);
  });

  it('need accepted rules, and the error says where', async () => {
    server.rulesAccepted = false;
    const error = await failure();
    expect(error.message).toContain('competitions/dogs-vs-cats: Kaggle does not allow this download');
    expect(error.message).toContain("It says: You must accept this competition's rules");
    expect(error.hint).toContain('open https://www.kaggle.com/competitions/dogs-vs-cats/rules signed in');
    expect(error).toMatchObject({ status: 403, details: { handle: 'competitions/dogs-vs-cats' } });
  });

  it('need credentials, and the error says how', async () => {
    const error = await failure(undefined, { login: undefined });
    expect(error.message).toContain('no credentials were found (401)');
    expect(error.hint).toContain('https://www.kaggle.com/competitions/dogs-vs-cats/rules');
    expect(error.hint).toContain('KAGGLE_API_TOKEN');
  });

  it('may not exist', async () => {
    const error = await failure('competitions/cats-vs-cats');
    expect(error.message).toContain('competitions/cats-vs-cats: Kaggle has no such competition, or one without files');
  });

  it('arrive although the connection breaks, and are unpacked from what an interruption left', async () => {
    server.storage.script.push(serveFile({ content: zip, etag: '"c"' }, { cutAt: 200 }));
    server.competitions.set('dogs-vs-cats', { content: zip, etag: '"c"' });
    const controller = new AbortController();
    const onProgress = ({ phase }: { phase: string }): void => {
      if (phase === 'extract') controller.abort();
    };
    await failure(undefined, { onProgress, signal: controller.signal });
    const names = await readdir(join(cacheDir, 'competitions'));
    expect(names.filter((name) => !name.endsWith('.lock'))).toEqual(['.dogs-vs-cats.zip']);
    expect((await download()).classNames).toEqual(['cat', 'dog']);
    expect(server.storage.requests).toHaveLength(2);
    expect((await readdir(join(cacheDir, 'competitions'))).sort()).toEqual(['dogs-vs-cats', 'dogs-vs-cats.complete']);
  });

  it('often have their classes in a table, and the error says how to read it', async () => {
    const table = 'id,label\n1,cat\n2,dog\n3,cat\n';
    const files = ['1', '2', '3'].map((id) => ({ name: `train/${id}.png`, content: png }));
    server.competitions.set('tables', { content: makeZip([{ name: 'train.csv', content: table }, ...files]) });
    const error = await failure('competitions/tables');
    expect(error.message).toMatch(/ImageFolder\.fromTable\(".*train\.csv"/);
    const data = await ImageFolder.fromTable(join(cacheDir, 'competitions/tables/train.csv'));
    expect(data.classNames).toEqual(['cat', 'dog']);
  });

  it('are kept as an archive that cannot be unpacked', async () => {
    server.competitions.set('odd', { content: makeZip([{ name: '../x' }]) });
    for (let i = 0; i < 2; i++) expect((await failure('competitions/odd')).hint).toContain('competitions/.odd.zip');
    expect(server.storage.requests).toHaveLength(1);
  });
});
