import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { KaggleImageFolder } from '../../src/data/kaggle-image-folder.js';
import { TuneError } from '../../src/errors.js';
import { makeZip, type ZipItem } from '../archive/zip-writer.js';
import type { StoredFile } from '../servers/file-storage.js';
import { KaggleServer } from '../servers/kaggle-server.js';
import { onPosix } from '../where.js';

let base: string;
let cacheDir: string;
let server: KaggleServer;
let warnings: string[];
let png: Buffer;
let count = 0;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'kaggle-kept-'));
  png = await sharp({ create: { width: 30, height: 30, channels: 3, background: '#a35' } })
    .png()
    .toBuffer();
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(async () => {
  cacheDir = join(base, String(count++));
  warnings = [];
  server = await KaggleServer.start({ 1: makeZip(images('A', 'B')) });
  for (const name of Object.keys(process.env)) if (name.startsWith('KAGGLE')) vi.stubEnv(name, undefined);
  vi.stubEnv('HOME', base);
  vi.stubEnv('USERPROFILE', base);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await server.close();
});

const images = (...classes: string[]): ZipItem[] =>
  classes.flatMap((name) => ['train/1.png', 'test/2.png'].map((file) => ({ name: `${name}/${file}`, content: png })));

type Options = Parameters<typeof KaggleImageFolder.download>[1];

const download = (handle = 'owner/set/1', options: Options = {}): Promise<KaggleImageFolder> =>
  KaggleImageFolder.download(handle, {
    cacheDir,
    endpoint: server.endpoint,
    retryDelayMs: 1,
    onWarning: (line) => warnings.push(line),
    ...options,
  });

async function failure(handle?: string, options?: Options): Promise<TuneError> {
  const error = await download(handle, options).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(TuneError);
  return error as TuneError;
}

const serve = (content: Buffer, file: Omit<StoredFile, 'content'> = {}): unknown =>
  server.archives.set(1, { content, ...file });
const downloads = (): number => server.storage.requests.length;
const archive = (): string => join(cacheDir, 'datasets/owner/set/.1.zip');
const inCache = async (): Promise<string[]> => (await readdir(join(cacheDir, 'datasets/owner/set'))).sort();

describe('an archive that is whole and not unpacked', () => {
  const bomb = (): Buffer => makeZip([{ name: 'a', content: Buffer.alloc(80 * 1024 * 1024) }]);
  const cases: [string, () => Buffer, message: string | RegExp, hint: string][] = [
    [
      'case',
      () => makeZip([...images('A'), { name: 'a/TRAIN/1.PNG', content: png }]),
      'the same file as "A/train/1.png"',
      'allowCaseConflicts',
    ],
    ['a path upwards', () => makeZip([...images('A'), { name: '../x' }]), '".." in the name', 'Look at the archive'],
    [
      'a control character',
      () => makeZip([...images('A'), { name: 'a\n.png' }]),
      'a control character',
      'Look at the archive',
    ],
    ['a repeated name', () => makeZip([...images('A'), ...images('A')]), 'the same file as', 'Look at the archive'],
    ['a link', () => makeZip([{ name: 'a', content: '/etc', mode: 0o120777 }]), 'a symbolic link', 'Look at it'],
    ['encryption', () => makeZip([{ name: 'a.png', content: png, flags: 0x801 }]), 'an encrypted file', 'its password'],
    ['strong encryption', () => makeZip([{ name: 'a.png', content: png, flags: 0x841 }]), /encrypt/, 'its password'],
    ['LZMA', () => makeZip([{ name: 'a.png', content: png, method: 14 }]), 'compression method 14', '7-Zip'],
    ['Deflate64', () => makeZip([{ name: 'a.png', content: png, method: 9 }]), 'compression method 9', '7-Zip'],
    ['a bomb', bomb, 'unpack to 83886080; at most', 'more room'],
    ['tar.gz', () => gzipSync(png), 'a gzip file, where a zip archive was expected', 'tar -xzf'],
    ['7z', () => Buffer.from('7z\xbc\xaf\x27\x1c and so on', 'latin1'), 'a 7z archive', '7z x'],
    ['rar', () => Buffer.from('Rar!\x1a\x07\x01\0', 'latin1'), 'a RAR archive', 'unrar'],
    ['csv', () => Buffer.from('file,label\na.png,cat\nb.png,dog\n'), 'a table of text (CSV)', 'fromTable'],
    ['one image', () => png, 'a PNG image', 'no data set'],
    ['parquet', () => Buffer.from('PAR1....PAR1'), 'a Parquet file', 'as files'],
  ];

  it.each(cases)('is kept: %s', async (_kind, make, message, hint) => {
    // Without a digest of the server, too: what was packed is refused, not how it arrived.
    const content = make();
    serve(content, { hash: false });
    for (let call = 0; call < 3; call++) {
      const error = await failure();
      expect(error.message).toMatch(message);
      expect(error.hint).toContain(hint);
      expect(error.hint).toContain(`It lies at ${archive()}`);
      expect(error.hint).toContain('KaggleImageFolder.fromFolder');
      expect(error.details['archive']).toBe(archive());
    }
    expect(downloads()).toBe(1);
    expect((await readFile(archive())).equals(content)).toBe(true);
    expect(await readdir(join(cacheDir, 'datasets/owner/set/versions'))).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it('is unpacked from what is kept when names equal but for case are allowed, where the disk tells them apart', async () => {
    serve(
      makeZip([
        ...images('A', 'B'),
        { name: 'A/train/1.PNG', content: png },
        { name: 'A/train/\u00e9.png', content: png },
        { name: 'A/train/e\u0301.png', content: png },
      ]),
    );
    await failure();
    await writeFile(join(cacheDir, 'probe'), '');
    const isBlind = await stat(join(cacheDir, 'PROBE')).then(
      () => true,
      () => false,
    );
    if (isBlind) {
      expect((await failure(undefined, { allowCaseConflicts: true })).message).toContain('takes it for another file');
    } else {
      const data = await download(undefined, { allowCaseConflicts: true });
      expect(data.train.length).toBe(5);
      expect(await inCache()).toEqual(['1.complete', 'versions']);
    }
    expect(downloads()).toBe(1);
  });

  it('may have a file and a folder whose names differ in case alone, where both are allowed', async () => {
    serve(makeZip([...images('A', 'B'), { name: 'LABELS', content: 'x' }, { name: 'labels/x.txt', content: 'x' }]));
    const error = await failure();
    expect(error.message).toContain('a file below another file on some systems');
    expect(error.hint).toContain('allowCaseConflicts');
    await writeFile(join(cacheDir, 'probe'), '');
    const isBlind = await stat(join(cacheDir, 'PROBE')).then(
      () => true,
      () => false,
    );
    if (!isBlind) expect((await download(undefined, { allowCaseConflicts: true })).train.length).toBe(2);
    expect(downloads()).toBe(1);
  });

  it('does not stand in the way of folders that differ in case alone', async () => {
    serve(
      makeZip([{ name: 'Cat/Train/1.png', content: png }, { name: 'Cat/train/2.png', content: png }, ...images('Dog')]),
    );
    const data = await download();
    expect([data.classNames, data.train.length]).toEqual([['Cat', 'Dog'], 3]);
  });

  it('does not stand in the way of a newer version', async () => {
    serve(makeZip([{ name: '../x' }]));
    await failure('owner/set');
    server.archives.set(2, { content: makeZip(images('A', 'B')) });
    server.currentVersion = 2;
    expect((await download('owner/set')).classNames).toEqual(['A', 'B']);
    expect(downloads()).toBe(2);
    await failure('owner/set/1');
    expect(downloads()).toBe(2);
  });

  it('may be unpacked by hand into its place', async () => {
    serve(makeZip([{ name: 'a', flags: 0x801, content: 'x' }]));
    await failure();
    const folder = join(cacheDir, 'datasets/owner/set/versions/1');
    for (const name of ['A', 'B']) {
      await mkdir(join(folder, name), { recursive: true });
      await writeFile(join(folder, name, '1.png'), png);
    }
    expect((await KaggleImageFolder.fromFolder(folder)).classNames).toEqual(['A', 'B']);
  });

  it('goes on with unpacking alone after an interruption', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const onProgress = ({ phase }: { phase: string }): void => {
      if (phase === 'extract') controller.abort(reason);
    };
    await expect(download(undefined, { onProgress, signal: controller.signal })).rejects.toBe(reason);
    // A process that was killed leaves half of the files, too.
    await mkdir(join(cacheDir, 'datasets/owner/set/versions/.1.half/A'), { recursive: true });
    expect((await download()).train.length).toBe(2);
    expect(downloads()).toBe(1);
    expect(await readdir(join(cacheDir, 'datasets/owner/set/versions'))).toEqual(['1']);
  });
});

describe('an archive that is damaged', () => {
  const sound = (): Buffer => makeZip(images('A', 'B'));
  /** A stored file whose bytes are not those of its checksum. */
  const wrongBytes = (): Buffer => makeZip([...images('A', 'B'), { name: 'x', content: 'text', crc: 1 }]);
  const cut = (): Buffer => sound().subarray(0, -30);

  it.each([
    ['a wrong checksum', wrongBytes, 'the checksum does not match'],
    ['a lost end', cut, /signature not found/],
    ['nothing', () => Buffer.alloc(0), 'an empty file'],
    ['a page', () => Buffer.from('<html>sign in</html>'), 'a web page'],
    ['noise', () => Buffer.from([0, ...randomBytes(5000)]), 'no zip archive'],
  ])('is fetched once more where no digest vouches for it, and not for ever: %s', async (_kind, make, message) => {
    serve(make(), { hash: false });
    const first = await failure();
    expect(first.message).toMatch(message);
    expect(downloads()).toBe(2);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^owner\/set\/versions\/1: the archive is damaged, it is downloaded once more: /);
    for (let call = 0; call < 3; call++) {
      const error = await failure();
      expect(error.message).toBe(first.message);
      expect(error.hint).toContain('`forceDownload: true` does');
    }
    expect(downloads()).toBe(2);
    serve(sound());
    expect((await download(undefined, { forceDownload: true })).train.length).toBe(2);
    expect(await inCache()).toEqual(['1.complete', 'versions']);
  });

  it('is healed by the second download', async () => {
    serve(sound(), { hash: false });
    server.storage.script.push((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/zip' });
      response.end(wrongBytes());
    });
    expect((await download()).train.length).toBe(2);
    expect(downloads()).toBe(2);
    expect(await inCache()).toEqual(['1.complete', 'versions']);
  });

  it('is not fetched again where a digest vouches for it', async () => {
    serve(wrongBytes());
    for (let call = 0; call < 2; call++) {
      const error = await failure();
      expect(error.hint).toContain('It is as the server has it, by its digest');
      expect(error.details['verified']).toBe(true);
    }
    expect(downloads()).toBe(1);
    expect(warnings).toEqual([]);
  });

  it('may be repaired or replaced', async () => {
    serve(wrongBytes());
    await failure();
    await writeFile(archive(), sound());
    expect((await download()).train.length).toBe(2);
    expect(downloads()).toBe(1);
  });

  it('is not replaced once the user has put it there', async () => {
    serve(wrongBytes(), { hash: false });
    await failure();
    await writeFile(archive(), cut());
    expect((await failure()).message).toMatch(/signature not found/);
    expect(downloads()).toBe(2);
  });
});

onPosix.describe('a pipe in the cache is not waited for', () => {
  it('in the place of the archive', async () => {
    await mkdir(join(cacheDir, 'datasets/owner/set'), { recursive: true });
    execFileSync('mkfifo', [archive()]);
    expect((await failure()).message).toContain('a folder, a pipe or a device lies where the archive is kept');
  });

  it.each(['.1.zip.json', '..1.zip.partial.json'])('in the place of the note %s', async (name) => {
    await mkdir(join(cacheDir, 'datasets/owner/set'), { recursive: true });
    execFileSync('mkfifo', [join(cacheDir, 'datasets/owner/set', name)]);
    if (name.includes('partial')) await writeFile(join(cacheDir, 'datasets/owner/set/..1.zip.partial'), 'begun');
    else await writeFile(archive(), makeZip(images('A', 'B')));
    await download();
    expect(await inCache()).toContain('1.complete');
  });

  it('in the place of the file on its way', async () => {
    await mkdir(join(cacheDir, 'datasets/owner/set'), { recursive: true });
    execFileSync('mkfifo', [join(cacheDir, 'datasets/owner/set/..1.zip.partial')]);
    const error = await download().catch((caught: unknown) => caught);
    expect((error as TuneError).message).toContain('a pipe or a device lies where the file would arrive');
  });
});
