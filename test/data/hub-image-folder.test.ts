import { mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubImageFolder, type HubImageFolderOptions } from '../../src/data/hub-image-folder.js';
import { ConfigError, DataError, HubError, type TuneError } from '../../src/errors.js';
import { localFolder, parseRepoId } from '../../src/hub/repo-id.js';
import { parseDatasetName } from '../../src/hub/repo-kind.js';
import { snapshotDownload } from '../../src/hub/snapshot-download.js';
import { keepSecret } from '../../src/messages/secrets.js';
import { makeZip } from '../archive/zip-writer.js';
import { gitSha1, HubServer } from '../servers/hub-server.js';
import { answer } from '../servers/scripted-server.js';

const ID = 'org/bones';
let server: HubServer;
let cacheDir: string;
let warnings: string[];
let png: Buffer[];
beforeAll(async () => {
  server = await HubServer.start();
  png = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      sharp({ create: { width: 30 + i, height: 30, channels: 3, background: '#a35' } })
        .png()
        .toBuffer(),
    ),
  );
});
afterAll(() => server.close());
beforeEach(async () => {
  server.reset();
  cacheDir = await mkdtemp(join(tmpdir(), 'hub-images-'));
  warnings = [];
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'])
    vi.stubEnv(name, '');
  vi.stubEnv('HF_HOME', cacheDir);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cacheDir, { recursive: true, force: true });
});

const publish = (files: Record<string, Buffer | string>): string => server.commit(`datasets:${ID}`, files).oid;
const download = (options: HubImageFolderOptions = {}, name = ID): Promise<HubImageFolder> =>
  HubImageFolder.download(name, {
    endpoint: server.endpoint,
    cacheDir,
    retryDelayMs: 1,
    onWarning: (line) => warnings.push(line),
    ...options,
  });
const failure = (options?: HubImageFolderOptions, name?: string): Promise<TuneError> =>
  download(options, name).then(
    () => expect.fail('expected an error'),
    (error: TuneError) => error,
  );
const repoFolder = (): string => join(cacheDir, 'datasets--org--bones');

const FOLDERS = (): Record<string, Buffer | string> => ({
  'README.md': '---\nlicense: mit\n---\n# Bones',
  'train/break/1.png': png[0]!,
  'train/whole/2.png': png[1]!,
  'test/break/3.png': png[2]!,
  'test/whole/4.JPG': png[3]!,
  'model.safetensors': Buffer.alloc(5000),
});

describe('an image data set on the Hub', () => {
  it('is read from class folders, and lies where Python has it', async () => {
    const oid = publish(FOLDERS());
    const data = await download();
    expect(data).toBeInstanceOf(HubImageFolder);
    expect([data.classNames, data.train.length, data.test.length]).toEqual([['break', 'whole'], 2, 2]);
    expect(data.dir).toBe(join(repoFolder(), 'snapshots', oid));
    expect(await readFile(join(repoFolder(), 'refs/main'), 'utf8')).toBe(oid);
    expect((await data.train.get(0)).image.decode).toBeTypeOf('function');
    expect(server.asked().filter((path) => path.includes('safetensors') || path.includes('README'))).toEqual([]);
    expect(
      server
        .asked()
        .every(
          (path) => path.startsWith('/api/datasets/org/bones/') || path.startsWith('/datasets/org/bones/resolve/'),
        ),
    ).toBe(true);
    expect(warnings).toEqual([]);
  });

  it('needs no network once it is in the cache', async () => {
    publish(FOLDERS());
    const { dir } = await download();
    const asked = server.asked().length;
    expect((await download({ localFilesOnly: true })).dir).toBe(dir);
    expect(server.asked()).toHaveLength(asked);
  });

  it('may be private, gated or missing', async () => {
    publish(FOLDERS());
    server.repos.get(`datasets:${ID}`)!.private = true;
    const error = await failure();
    expect(error).toBeInstanceOf(HubError);
    expect(error.message).toContain('datasets/org/bones: the Hub has no public repository of this name, and no token');
    expect((await download({ token: 'hf_reader' })).train.length).toBe(2);
    server.repos.get(`datasets:${ID}`)!.admitted = ['hf_writer'];
    const gated = await failure({ token: 'hf_reader', cacheDir: join(cacheDir, 'other') });
    expect(gated.hint).toContain(`${server.endpoint}/datasets/org/bones signed in, accept the terms`);
  });

  it('is read from metadata.jsonl', async () => {
    const rows = [
      { file_name: 'a/1.png', label: 'break' },
      { file_name: 'a/2.png', label: 'whole' },
    ];
    publish({
      'train/metadata.jsonl': rows.map((row) => JSON.stringify(row)).join('\n'),
      'train/a/1.png': png[0]!,
      'train/a/2.png': png[1]!,
    });
    expect((await download()).classNames).toEqual(['break', 'whole']);
  });

  it('is read from one folder of it, and only that is fetched', async () => {
    publish({
      'raw [1]/x/1.png': png[0]!,
      'raw [1]/y/2.png': png[1]!,
      'other/z/3.png': png[2]!,
      'raw 1/w/4.png': png[3]!,
    });
    const data = await download({ dataDir: './raw [1]/' });
    expect(data.classNames).toEqual(['x', 'y']);
    expect(server.asked().filter((path) => path.includes('/other/') || path.includes('raw%201/'))).toEqual([]);
    const linked = await download({}, 'https://huggingface.co/datasets/org/bones/tree/main/raw%20%5B1%5D');
    expect(linked.classNames).toEqual(['x', 'y']);
    expect((await failure({ dataDir: 'nothing' })).message).toContain(
      'no folder "nothing", but "other", "raw 1", "raw [1]"',
    );
    expect(await failure({ dataDir: '..' })).toBeInstanceOf(ConfigError);
    const both = await failure({ dataDir: 'other' }, 'hf://datasets/org/bones@main/raw');
    expect(both.message).toContain('`dataDir` is "other", and the address says "raw"');
  });

  it('is read at a revision', async () => {
    const first = publish(FOLDERS());
    publish({ 'train/third/9.png': png[4]! });
    expect((await download()).classNames).toHaveLength(3);
    expect((await download({ revision: first })).classNames).toHaveLength(2);
    expect((await download({}, `hf://datasets/org/bones@${first}`)).classNames).toHaveLength(2);
  });

  it('may have files that are not fetched', async () => {
    publish(FOLDERS());
    const data = await download({ ignorePatterns: 'test/*' });
    expect([...data.splits.keys()]).toEqual(['train']);
  });
});

describe('zip archives of a data set', () => {
  const zipOf = (names: readonly string[], at = 0): Buffer =>
    makeZip(names.map((name, i) => ({ name, content: png[at + i]! })));

  it('are folders of their names, which tell the split', async () => {
    publish({
      'data/train.zip': zipOf(['break/1.png', 'whole/2.png']),
      'data/test.zip': zipOf(['break/3.png', 'whole/4.png'], 2),
    });
    const data = await download();
    expect([data.classNames, data.train.length, data.test.length]).toEqual([['break', 'whole'], 2, 2]);
    expect((await data.test.get(0)).path).toMatch(/unpacked\/all-\w+\/data\/test\/break\/3\.png$/);
    const folders = (await readdir(join(repoFolder(), 'unpacked'))).sort();
    await download();
    expect((await readdir(join(repoFolder(), 'unpacked'))).sort()).toEqual(folders);
    expect(server.asked().filter((path) => path.includes('resolve'))).toHaveLength(2);
    expect((await download({ localFilesOnly: true })).dir).toBe(data.dir);
  });

  it('may wrap a folder of the same name, come in parts, or lie beside folders and tables', async () => {
    publish({
      'train.zip': zipOf(['train/break/1.png', 'train/whole/2.png']),
      'test/break/3.png': png[3]!,
      'test/whole/4.png': png[4]!,
    });
    const wrapped = await download();
    expect([wrapped.classNames, wrapped.train.length, wrapped.test.length]).toEqual([['break', 'whole'], 2, 2]);
    server.reset();
    publish({
      'images.zip': zipOf(['1.png', '2.png', '3.png']),
      'metadata.csv': 'file_name,label\n1.png,a\n2.png,b\n3.png,b\n',
    });
    const table = await download({ cacheDir: join(cacheDir, 'b') });
    expect([table.classNames, table.train.length]).toEqual([['a', 'b'], 3]);
    server.reset();
    publish({
      'train-00000-of-00002.zip': zipOf(['break/1.png', 'whole/2.png']),
      'train-00001-of-00002.zip': zipOf(['break/3.png', 'whole/4.png'], 2),
      'train-00000-of-00002/odd/5.png': png[5]!,
    });
    const parts = await download({ cacheDir: join(cacheDir, 'c'), layout: '*/class' });
    expect([parts.classNames, parts.train.length]).toEqual([['break', 'odd', 'whole'], 5]);
  });

  it('are kept when they are not unpacked, and unpacked when that is allowed', async () => {
    publish({
      'images.zip': makeZip([
        { name: 'a/1.png', content: png[0]! },
        { name: 'a/1.PNG', content: png[1]! },
        { name: 'b/2.png', content: png[2]! },
      ]),
    });
    for (let i = 0; i < 2; i++) {
      const error = await failure();
      expect(error).toBeInstanceOf(DataError);
      expect(error.message).toContain('org/bones: images.zip: entry "a/1.PNG": the same file as "a/1.png"');
      const kept = String(error.details['archive']);
      expect(error.hint).toContain(`The archive is kept at ${kept}`);
      expect((await readFile(kept)).length).toBeGreaterThan(100);
    }
    expect(server.asked().filter((path) => path.includes('resolve'))).toHaveLength(1);
    expect((await readdir(join(repoFolder(), 'unpacked'))).filter((name) => !name.endsWith('.lock'))).toEqual([]);
    const isBlind = process.platform === 'darwin' || process.platform === 'win32';
    if (!isBlind) expect((await download({ allowCaseConflicts: true })).train.length).toBe(3);
    publish({ 'images.zip': makeZip([{ name: '../../../evil', content: 'x' }]) });
    expect((await failure()).message).toContain('".." in the name');
  });

  it('are unpacked once by several calls, and again after an interruption', async () => {
    publish({ 'train.zip': zipOf(['break/1.png', 'whole/2.png']) });
    const all = await Promise.all([download(), download(), download()]);
    expect(new Set(all.map(({ dir }) => dir)).size).toBe(1);
    const names = await readdir(join(repoFolder(), 'unpacked'));
    expect(names).toHaveLength(2);
    const unpacked = await realpath(join(all[0]!.dir, 'train'));
    await rm(unpacked, { recursive: true });
    expect((await download()).train.length).toBe(2);
  });
});

describe('a data set of another form is named, and nothing of it fetched', () => {
  it.each([
    [{ 'train/data-00000.arrow': 'x', 'train/state.json': '{}' }, /1 Arrow files/],
    [
      { 'train-000.tar': 'x', 'train-001.tar': 'x' },
      /2 tar archives \(WebDataset\), which are not read here; unpack them/,
    ],
    [{ 'images.tar.gz': 'x' }, /1 archives other than zip/],
    [{ 'images.7z': 'x' }, /1 archives other than zip/],
    [{ 'x.npz': 'x' }, /1 arrays/],
    [{ 'scan/1.dcm': 'x', 'scan/2.dcm': 'x' }, /2 medical volumes/],
    [{ 'beans.py': 'x', 'README.md': 'x' }, /a loading script in Python, which is never run/],
    [{ 'train.jsonl': '{}', 'README.md': 'x' }, /it has no images, but "train\.jsonl", "README\.md"/],
  ])('%j', async (files, message) => {
    publish(files as unknown as Record<string, string>);
    const error = await failure();
    expect(error).toBeInstanceOf(HubError);
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/^datasets\/org\/bones: /);
    expect(server.asked().filter((path) => path.includes('resolve'))).toEqual([]);
  });

  it('unless its images lie in a folder of their own', async () => {
    publish({ 'data/x.arrow': 'x', 'images/a/1.png': png[0]!, 'images/b/2.png': png[1]! });
    expect((await failure()).message).toContain('The 2 image files beside them are read with `dataDir`');
    expect((await download({ dataDir: 'images' })).classNames).toEqual(['a', 'b']);
  });
});

describe('Parquet files of a data set', () => {
  const parquet = (name: string): Promise<Buffer> =>
    readFile(new URL(`../fixtures/parquet/${name}.parquet`, import.meta.url));
  const hub = async (): Promise<Record<string, Buffer | string>> => ({
    'README.md': '# Bones',
    'data/train-00000-of-00002.parquet': await parquet('hub'),
    'data/train-00001-of-00002.parquet': await parquet('gzip'),
    'data/test-00000-of-00001.parquet': await parquet('hub-test'),
  });

  it('are read as images with classes, written once', async () => {
    publish(await hub());
    const data = await download();
    expect(data.classNames).toEqual(['break', 'odd', 'whole']);
    expect([data.train.length, data.test.length]).toEqual([8, 2]);
    const { image, className } = await data.test.get(0);
    expect(className).toBe('break');
    expect((await image.decode()).width).toBe(36);
    expect(server.asked().filter((path) => path.includes('resolve'))).toHaveLength(3);
    const asked = server.asked().length;
    const again = await download({ localFilesOnly: true });
    expect([again.dir, server.asked().length]).toEqual([data.dir, asked]);
    expect((await readdir(join(repoFolder(), 'unpacked'))).filter((name) => !name.endsWith('.lock'))).toHaveLength(1);
    expect(warnings).toEqual([]);
  });

  it('lie beside images of the page, which are not read', async () => {
    publish({ ...(await hub()), 'assets/preview.png': png[0]! });
    expect((await download()).train.length).toBe(8);
    expect(warnings).toEqual(['org/bones: its Parquet files are read, and 1 images and archives beside them are not']);
    server.reset();
    publish({ 'data/x.parquet': 'PAR1', 'images/a/1.png': png[0]!, 'images/b/2.png': png[1]! });
    expect((await download({ dataDir: 'images', cacheDir: join(cacheDir, 'b') })).classNames).toEqual(['a', 'b']);
  });

  it('without images are refused before all of them are fetched', async () => {
    publish({
      'data/train-0.parquet': await parquet('texts'),
      'data/train-1.parquet': await parquet('texts'),
      'data/train-2.parquet': 'x',
    });
    const error = await failure();
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(
      /data\/train-0\.parquet: no column of images by its name; its columns: `text`, `label`/,
    );
    expect(server.asked().filter((path) => path.includes('resolve'))).toHaveLength(1);
  });

  it('of several forms are chosen by their folder, and columns by their name', async () => {
    publish({ 'a/train-0.parquet': await parquet('two-labels'), 'b/train-0.parquet': await parquet('hub') });
    expect((await failure({ labelColumn: 'fine' })).message).toMatch(/several folders|no column "fine"/);
    const data = await download({ dataDir: 'a', labelColumn: 'fine' });
    expect(data.classNames).toEqual(['break', 'odd', 'whole']);
    expect((await download({ dataDir: 'a', labelColumn: 'coarse' })).classNames).toEqual(['break', 'whole']);
    expect((await download({}, 'https://huggingface.co/datasets/org/bones/tree/main/b')).train.length).toBe(5);
  });
});

describe('names of data sets', () => {
  it.each([
    ['org/bones', {}],
    ['datasets/org/bones', {}],
    [' https://huggingface.co/datasets/org/bones ', {}],
    ['http://www.huggingface.co/datasets/org/bones/', {}],
    ['huggingface.co/datasets/org/bones?row=3#x', {}],
    ['https://hf.co/datasets/org/bones', {}],
    ['https://huggingface.co/datasets/org/bones/viewer/default/train?p=1', {}],
    ['https://huggingface.co/datasets/org/bones/discussions/3', {}],
    ['https://huggingface.co/datasets/org/bones/tree/main', { revision: 'main' }],
    [
      'https://huggingface.co/datasets/org/bones/tree/refs%2Fconvert%2Fparquet/a%20b/c',
      { revision: 'refs/convert/parquet', folder: 'a b/c' },
    ],
    ['https://huggingface.co/datasets/org/bones/tree/refs/pr/3/a', { revision: 'refs/pr/3', folder: 'a' }],
    ['https://huggingface.co/datasets/org/bones/commit/0123abcd', { revision: '0123abcd' }],
    ['https://huggingface.co/api/datasets/org/bones', {}],
    ['hf://datasets/org/bones@refs/convert/parquet/x', { revision: 'refs/convert/parquet', folder: 'x' }],
    ['hf://datasets/org/bones', {}],
    ['hf://datasets/org/bones/data', { folder: 'data' }],
    ['hf://datasets/org/bones@v1/data', { revision: 'v1', folder: 'data' }],
    ['load_dataset("org/bones", split="train")', {}],
    ["from datasets import load_dataset\nds = load_dataset('org/bones')", {}],
    ['snapshot_download(repo_id="org/bones", repo_type="dataset")', {}],
    ['hf download org/bones --repo-type dataset', {}],
    ['huggingface-cli download --repo-type dataset org/bones', {}],
    ['git clone https://huggingface.co/datasets/org/bones.git', {}],
  ])('%s', (text, more) => {
    expect(parseDatasetName(text)).toEqual({ repoId: 'org/bones', revision: undefined, folder: undefined, ...more });
  });

  it('may be bare ones', () => {
    expect(parseDatasetName('beans').repoId).toBe('beans');
    expect(parseDatasetName('https://huggingface.co/datasets/beans').repoId).toBe('beans');
    expect(parseDatasetName('https://huggingface.co/datasets/beans/tree/main/data')).toMatchObject({
      revision: 'main',
      folder: 'data',
    });
  });

  it.each([
    ['https://huggingface.co/org/model', /is a model, not a data set[\s\S]*fromPretrained\('org\/model'\)/],
    ['https://huggingface.co/spaces/org/app', /is a Space/],
    ['spaces/org/app', /is a Space/],
    ['https://huggingface.co/collections/org/x-1', /is a collection/],
    ['https://huggingface.co/datasets/org/bones/blob/main/data/x.zip', /is a single file[\s\S]*`dataDir`/],
    ['https://huggingface.co/datasets', /names no data set/],
    ['https://huggingface.co', /names no data set/],
    ['https://www.kaggle.com/datasets/owner/set', /is on Kaggle[\s\S]*KaggleImageFolder\.download/],
    ['kaggle datasets download -d owner/set', /is on Kaggle/],
    ['https://github.com/org/bones', /no address of the Hugging Face Hub/],
    ['./data/bones', /is a path[\s\S]*ImageFolder\.load/],
    ['C:\\data', /is a path/],
    ['a/b/c', /names no data set/],
    ['org/..', /names no data set/],
    ['../../etc', /is a path/],
    ['', /names no data set/],
    ['x'.repeat(10_000), /names no data set/],
  ])('says what it is: %s', (text, message) => {
    expect(() => parseDatasetName(text)).toThrow(ConfigError);
    expect(() => parseDatasetName(text)).toThrow(message);
  });

  it.each([
    ['datasets/org/bones', /is a data set, not a model[\s\S]*HubImageFolder\.download\('org\/bones'\)/],
    ['datasets/beans', /HubImageFolder\.download\('beans'\)/],
    ['https://huggingface.co/datasets/org/bones/tree/main', /HubImageFolder\.download\('org\/bones'\)/],
    ['hf://datasets/org/bones@v1/x', /HubImageFolder\.download\('org\/bones'\)/],
    ['spaces/org/app', /is a Space/],
    ['https://huggingface.co/spaces/org/app', /is a Space/],
    ['https://huggingface.co/collections/org/x', /is a collection/],
    ['https://www.kaggle.com/datasets/owner/set', /is on Kaggle[\s\S]*KaggleImageFolder\.download/],
    ['https://www.kaggle.com/models/mistral-ai/x', /is on Kaggle/],
  ])('where a model is wanted: %s', async (text, message) => {
    expect(() => parseRepoId(text)).toThrow(message);
    await expect(localFolder(text)).rejects.toThrow(message);
    await expect(localFolder(text)).rejects.toThrow(ConfigError);
  });

  it('are taken by snapshotDownload with their kind', async () => {
    publish({ 'rows.jsonl': '{}', 'README.md': 'x' });
    const options = { endpoint: server.endpoint, cacheDir, allowPatterns: '*.jsonl' };
    const folder = await snapshotDownload('datasets/org/bones', options);
    expect(await readdir(folder)).toEqual(['rows.jsonl']);
    expect(folder).toContain('datasets--org--bones');
    await expect(snapshotDownload('spaces/org/app', options)).rejects.toThrow(/is a Space/);
  });
});

describe('a data set with more files than a list may have', () => {
  const ENTRIES = 20_000;
  /** Pages without end for the whole, and the folder `data` alone as it is. */
  const tooLong = (): void => {
    let page = 0;
    server.fault(
      /\/tree\/[0-9a-f]{40}\?/,
      (request, response) => {
        const entries = Array.from({ length: ENTRIES }, (_, i) => ({
          type: 'directory',
          path: `f${page * ENTRIES + i}`,
        }));
        const link = `<http://x${request.url!.split('?')[0]}?cursor=${++page}>; rel="next"`;
        answer(200, entries, { link })(request, response);
      },
      0,
    );
    const list = Object.entries(FOLDERS()).map(([name, content]) => ({
      type: 'file',
      path: `data/${name}`,
      size: content.length,
      oid: gitSha1(Buffer.from(content)),
    }));
    server.fault(/\/tree\/[0-9a-f]{40}\/data\?/, answer(200, list), 0);
  };
  const below = (files: Record<string, Buffer | string>): Record<string, Buffer | string> =>
    Object.fromEntries(Object.entries(files).map(([name, content]) => [`data/${name}`, content]));

  it('is read from the folder that `dataDir` names, also again and without the Hub', async () => {
    publish(below(FOLDERS()));
    tooLong();
    expect((await download({ dataDir: 'data' })).train.length).toBe(2);
    const asked = server.api.requests.length;
    expect((await download({ dataDir: 'data', localFilesOnly: true })).train.length).toBe(2);
    expect(server.api.requests.length).toBe(asked);
    expect((await failure({ localFilesOnly: true })).message).toContain('has the list of other folders alone');
    // The folder's list is not taken for that of all files.
    expect((await failure()).message).toContain('more than 150000 entries');
  });

  it('says so where none is named', async () => {
    publish(below(FOLDERS()));
    tooLong();
    const error = await failure();
    expect(error.message).toContain('datasets/org/bones: the list of its files has more than 150000 entries');
    expect(error.hint).toContain('`dataDir`');
  });
});

it('a file that is named as the password is of the mirror is found all the same', async () => {
  keepSecret('x-rays-1');
  publish({ 'x-rays-1/train.parquet': 'no parquet', 'x-rays-1/README.md': '' });
  expect((await failure({ dataDir: 'x-rays-1' })).message).not.toContain('is looked at first');
});
