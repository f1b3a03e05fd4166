import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { LabelledDataset } from '../../src/data/dataset.js';
import { ImageFolder, type ImageSample } from '../../src/data/image-folder.js';
import { KaggleImageFolder } from '../../src/data/kaggle-image-folder.js';
import { ConfigError, DataError, ImageError } from '../../src/errors.js';
import { onPosixWithoutRights, withoutRights } from '../where.js';

let base: string;
let dir: string;
let count = 0;
const encoded = {} as Record<'png' | 'jpeg' | 'webp' | 'gif', Buffer>;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'image-folder-'));
  const plain = sharp({ create: { width: 20, height: 10, channels: 3, background: '#358' } });
  for (const format of ['png', 'jpeg', 'webp', 'gif'] as const) {
    encoded[format] = await plain.clone().toFormat(format).toBuffer();
  }
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(() => {
  dir = join(base, String(count++));
});

/** Writes files below `dir`: images (PNG) unless given otherwise. */
async function put(...files: (string | [path: string, content: Buffer | string])[]): Promise<void> {
  for (const file of files) {
    const [path, content] = typeof file === 'string' ? [file, encoded.png] : file;
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
}

async function listed(split: LabelledDataset<ImageSample>): Promise<string[]> {
  const lines: string[] = [];
  for await (const { label, className, path } of split) {
    lines.push(`${label} ${className} ${path.slice(dir.length + 1).replaceAll('\\', '/')}`);
  }
  return lines;
}

async function failure(options?: Parameters<typeof ImageFolder.load>[1]): Promise<Error> {
  const error = await ImageFolder.load(dir, options).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(Error);
  return error as Error;
}

describe('layouts', () => {
  it('reads <class>/<split> below two folders of the same name', async () => {
    await put(
      ...['Set/Set/b cut/Train/2.png', 'Set/Set/b cut/Train/10.png', 'Set/Set/b cut/Test/1.png'],
      ...['Set/Set/A/TRAIN/x.png', 'Set/Set/A/test/y.png', 'Set/Set/A/test/deeper/z.png'],
      ['Set/readme.txt', 'not an image'],
    );
    const folder = await KaggleImageFolder.fromFolder(dir);
    expect(folder).toBeInstanceOf(ImageFolder);
    const plain = await ImageFolder.fromFolder(dir);
    expect([plain.constructor, plain.classNames]).toEqual([ImageFolder, folder.classNames]);
    expect(folder.classNames).toEqual(['A', 'b cut']);
    expect(await listed(folder.train)).toEqual([
      '0 A Set/Set/A/TRAIN/x.png',
      '1 b cut Set/Set/b cut/Train/10.png',
      '1 b cut Set/Set/b cut/Train/2.png',
    ]);
    expect(await listed(folder.test)).toEqual([
      '0 A Set/Set/A/test/deeper/z.png',
      '0 A Set/Set/A/test/y.png',
      '1 b cut Set/Set/b cut/Test/1.png',
    ]);
    expect([...folder.train.classCounts()]).toEqual([
      ['A', 1],
      ['b cut', 2],
    ]);
    expect([...folder.splits.keys()]).toEqual(['train', 'test']);
    expect(() => folder.validation).toThrow(/no validation split; found: train, test/);
  });

  it('reads <split>/<class>, with every name of a split', async () => {
    for (const [folderName, split] of [
      ['train', 'train'],
      ['Training', 'train'],
      ['TEST', 'test'],
      ['testing', 'test'],
      ['val', 'validation'],
      ['Valid', 'validation'],
      ['validation', 'validation'],
    ] as const) {
      dir = join(base, String(count++));
      await put(`w/${folderName}/cat/1.png`, `w/${folderName}/dog/a/2.png`);
      const folder = await ImageFolder.load(dir);
      expect([...folder.splits.keys()]).toEqual([split]);
      expect(folder.classNames).toEqual(['cat', 'dog']);
      expect(await listed(folder[split])).toEqual([
        `0 cat w/${folderName}/cat/1.png`,
        `1 dog w/${folderName}/dog/a/2.png`,
      ]);
    }
  });

  it('gives a class that a split lacks the same label in all splits', async () => {
    await put('train/a/1.png', 'train/c/1.png', 'test/b/1.png', 'test/c/1.png');
    const folder = await ImageFolder.load(dir);
    expect(folder.classNames).toEqual(['a', 'b', 'c']);
    expect(folder.train.labels).toEqual([0, 2]);
    expect(folder.test.labels).toEqual([1, 2]);
    expect([...folder.test.classCounts().values()]).toEqual([0, 1, 1]);
  });

  it('reads <class> alone as train, with folders inside a class', async () => {
    await put('wrap/cat/1.png', 'wrap/cat/more/2.png', 'wrap/dog/3.png');
    const folder = await ImageFolder.load(dir);
    expect(await listed(folder.train)).toEqual([
      '0 cat wrap/cat/1.png',
      '0 cat wrap/cat/more/2.png',
      '1 dog wrap/dog/3.png',
    ]);
    expect(() => folder.test).toThrow(DataError);
  });

  it('reads a single class', async () => {
    await put('cat/1.png', 'cat/2.png');
    expect((await ImageFolder.load(dir)).classNames).toEqual(['cat']);
    dir = join(base, String(count++));
    await put('wrap/cat/Train/1.png', 'wrap/cat/Test/2.png');
    const folder = await ImageFolder.load(dir);
    expect([folder.classNames, folder.train.length, folder.test.length]).toEqual([['cat'], 1, 1]);
  });

  it('orders by code unit, not by language', async () => {
    await put('b/1.png', 'B/1.png', 'ä/1.png', 'a/2.png', 'a/10.png');
    const folder = await ImageFolder.load(dir);
    expect(folder.classNames).toEqual(['B', 'a', 'b', 'ä']);
    expect((await listed(folder.train)).slice(1, 3)).toEqual(['1 a a/10.png', '1 a a/2.png']);
  });
});

describe('files', () => {
  it('tells images by content, whatever they are called', async () => {
    await put(
      ['c/1.jpg', encoded.png],
      ['c/2', encoded.jpeg],
      ['c/3.data', encoded.webp],
      ['c/4.gif', encoded.gif],
      ['c/notes.txt', 'text'],
      ['c/Thumbs.db', Buffer.alloc(50)],
      ['c/.DS_Store', Buffer.alloc(50)],
      ['c/._1.jpg', Buffer.alloc(50)],
      ['__MACOSX/c/1.jpg', Buffer.alloc(50)],
      ['.cache/x/1.png', encoded.png],
    );
    const folder = await ImageFolder.load(dir);
    expect((await listed(folder.train)).map((line) => line.slice(-6).trim())).toEqual([
      '/1.jpg',
      'c c/2',
      '3.data',
      '/4.gif',
    ]);
    expect(folder.skipped).toEqual([]);
    for await (const sample of folder.train) expect((await sample.image.decode()).width).toBe(20);
  });

  it('stops at files that are named like images and are none, and names them all', async () => {
    await put('c/ok.png', ['c/a.png', 'text'], ['c/b.JPEG', ''], ['c/d.bmp', 'BM'], ['c/text.txt', 'text']);
    const error = await failure();
    expect(error).toBeInstanceOf(ImageError);
    expect(error.message).toContain('3 files are no readable image');
    expect(error.message).toContain(
      `${join(dir, 'c/a.png')}: the content is no JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF image, but a text file`,
    );
    expect(error.message).toContain(`${join(dir, 'c/b.JPEG')}: the file is empty`);
    expect(error.message).toContain('d.bmp');
    expect(error.message).not.toContain('text.txt');
    expect(error.message).toContain("onBadImage: 'skip'");
  });

  it('leaves bad and damaged files out on request, with the reason', async () => {
    const cut = encoded.jpeg.subarray(0, encoded.jpeg.length - 40);
    await put('c/ok.png', ['c/a.png', 'text'], ['c/cut.jpg', cut], 'd/ok.png');
    const folder = await ImageFolder.load(dir, { onBadImage: 'skip' });
    expect(await listed(folder.train)).toEqual(['0 c c/ok.png', '1 d d/ok.png']);
    expect(folder.skipped.map(({ path }) => path)).toEqual([join(dir, 'c/a.png'), join(dir, 'c/cut.jpg')]);
    // libvips keeps one text of errors for all its threads, so its own words are not always there.
    expect(folder.skipped[1]!.reason).toMatch(/does not decode|cannot be read/);

    const unverified = await ImageFolder.load(dir, { onBadImage: 'skip', verify: false });
    expect(unverified.skipped.length).toBe(1);
    const sample = await unverified.train.get(0);
    await expect(sample.image.decode()).rejects.toThrow(join(dir, 'c/cut.jpg'));
  });

  it('finds damaged files before training when asked to', async () => {
    await put('c/ok.png', ['c/cut.png', encoded.png.subarray(0, 60)]);
    expect((await ImageFolder.load(dir)).train.length).toBe(2);
    expect((await failure({ verify: true })).message).toContain(join(dir, 'c/cut.png'));
  });

  it('counts too many pixels as bad', async () => {
    await put('c/1.png');
    expect((await failure({ verify: true, maxPixels: 199 })).message).toContain(
      '20 × 10 pixels are more than the limit',
    );
    const sample = await (await ImageFolder.load(dir, { maxPixels: 199 })).train.get(0);
    await expect(sample.image.decode()).rejects.toThrow(ImageError);
  });

  it('keeps the class of which every image was skipped, and refuses a split without any', async () => {
    await put('train/a/1.png', ['train/b/1.png', 'text'], 'test/b/1.png');
    const folder = await ImageFolder.load(dir, { onBadImage: 'skip' });
    expect([...folder.train.classCounts().values()]).toEqual([1, 0]);
    await put(['test/b/1.png', 'text']);
    expect((await failure({ onBadImage: 'skip' })).message).toMatch(
      /test split is empty: all 1 of its images were skipped, .* because /,
    );
  });
});

describe('what is refused', () => {
  it('a missing folder, a file, an empty folder, and unknown options', async () => {
    expect((await failure()).message).toContain(`${dir}: no such folder\n`);
    await put(['only/notes.txt', 'text']);
    expect((await failure()).message).toContain('no images in this folder or below');
    const file = join(dir, 'only/notes.txt');
    await expect(ImageFolder.load(file)).rejects.toThrow(`${file}: a file, where a folder of images was expected`);
    const typo = { onBadImages: 'skip' } as never;
    await expect(ImageFolder.load(dir, typo)).rejects.toThrow(ConfigError);
    await expect(ImageFolder.load(dir, typo)).rejects.toThrow('did you mean `onBadImage`');
  });

  it.each([
    ['images without a class', ['1.png', '2.png'], /no class folders/],
    ['splits without classes', ['Train/1.png', 'Test/2.png'], /no class folders/],
    ['an image beside class folders', ['a/1.png', 'b/1.png', 'loose.png'], /loose\.png: an image outside of any class/],
    ['an image beside split folders', ['a/Train/1.png', 'a/2.png', 'b/Train/1.png'], /2\.png: an image outside/],
    [
      'an image beside classes of a split',
      ['train/a/1.png', 'train/2.png', 'test/a/1.png'],
      /2\.png: an image outside/,
    ],
    [
      'a class without splits',
      ['a/Train/1.png', 'a/Test/1.png', 'b/x/1.png'],
      /b.x: this folder stands where the other/,
    ],
    [
      'a folder beside the splits',
      ['train/a/1.png', 'test/a/1.png', 'extra/a/1.png'],
      /extra: this folder stands beside/,
    ],
    ['splits at two depths', ['train/train/1.png', 'test/a/1.png'], /train.train: a split folder where a class/],
    ['two data sets in one', ['one/a/Train/1.png', 'two/b/Train/1.png'], /Train: this split folder lies deeper/],
  ])('%s', async (_what, files, message) => {
    await put(...files);
    const error = await failure();
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(message);
    expect(error.message).toContain('<class>/<split>/*');
  });

  it('an empty split, and a class folder without images', async () => {
    await put('a/Train/1.png', 'b/Train/1.png', ['a/Test/readme.txt', 'text']);
    expect((await failure()).message).toMatch(/the test split is empty: no image in .*Test/);
    await put('a/Test/1.png', ['c/Train/readme.txt', 'text']);
    expect((await failure()).message).toMatch(/c: this class folder holds no images/);
  });

  it('pipes, without waiting for them', async () => {
    await put('a/1.png', 'b/1.png');
    execFileSync('mkfifo', [join(dir, 'a', '2.png'), join(dir, 'a', 'pipe'), join(dir, 'pipe-behind-a-link')]);
    await symlink(join(dir, 'pipe-behind-a-link'), join(dir, 'b', '2.png'));
    const { message } = await failure();
    expect(message).toMatch(/2 files are no readable image/);
    expect(message).toContain(`${join(dir, 'a', '2.png')}: a pipe, a socket or a device, not a file`);
    expect(message).toContain(`${join(dir, 'b', '2.png')}: a pipe, a socket or a device, not a file`);
    expect(message).not.toContain(`${join('a', 'pipe')}:`);
  });

  it('symbolic links that fan out without a loop', async () => {
    // Thirty folders with two ways each from one to the next: a thousand million ways to the last.
    for (let i = 0; i < 30; i++) await mkdir(join(dir, 'rest', String(i)), { recursive: true });
    await mkdir(join(dir, 'set'));
    await symlink(join(dir, 'rest', '0'), join(dir, 'set', 'start'));
    for (let i = 0; i < 29; i++) {
      for (const name of ['x', 'y'])
        await symlink(join(dir, 'rest', String(i + 1)), join(dir, 'rest', String(i), name));
    }
    await writeFile(join(dir, 'rest', '29', '1.png'), encoded.png);
    const error = await ImageFolder.load(join(dir, 'set')).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(/symbolic links lead to this folder by more than 16 ways/);
  });

  it('links out of the folder are followed, as data sets are shared that way', async () => {
    await put('shared/1.png');
    await mkdir(join(dir, 'set', 'b'), { recursive: true });
    await symlink(join(dir, 'shared'), join(dir, 'set', 'a'));
    await symlink(join(dir, 'shared', '1.png'), join(dir, 'set', 'b', '1.png'));
    expect((await ImageFolder.load(join(dir, 'set'))).classNames).toEqual(['a', 'b']);
  });

  it('names that would change the message are written out', async () => {
    await put('a/1.png', ['b/x\n  hint: all is well \u001b[32m.png', 'no image']);
    const { message } = await failure();
    expect(message.split('\n')).toHaveLength(4);
    expect(message).toContain('x\\n  hint: all is well \\u001b[32m.png: the content is no JPEG');
  });

  it('loops of symbolic links', async () => {
    await put('a/1.png', 'b/1.png');
    await symlink(dir, join(dir, 'b', 'back'));
    expect((await failure()).message).toContain(`${join(dir, 'b', 'back')}: a symbolic link that leads back`);
    await rm(join(dir, 'b', 'back'));
    await symlink('self', join(dir, 'self'));
    expect((await failure()).message).toContain(`${join(dir, 'self')}: a symbolic link that leads back`);
  });

  onPosixWithoutRights.it('a folder that may not be read', async () => {
    await put('a/1.png', 'b/1.png');
    await chmod(join(dir, 'b'), 0);
    await chmod(base, 0o755);
    expect((await withoutRights(failure)).message).toBe(`${join(dir, 'b')}: no permission to read this folder`);
    await chmod(join(dir, 'b'), 0o755);
  });
});

it('follows symbolic links that lead elsewhere, and reports those that lead nowhere', async () => {
  await put('a/1.png', 'b/1.png');
  const elsewhere = join(base, 'elsewhere');
  await mkdir(elsewhere, { recursive: true });
  await writeFile(join(elsewhere, 'x.png'), encoded.png);
  await symlink(elsewhere, join(dir, 'c'));
  await symlink(join(elsewhere, 'x.png'), join(dir, 'a', '2.png'));
  expect(await listed((await ImageFolder.load(dir)).train)).toEqual([
    '0 a a/1.png',
    '0 a a/2.png',
    '1 b b/1.png',
    '2 c c/x.png',
  ]);
  await symlink(join(elsewhere, 'gone.png'), join(dir, 'a', '3.png'));
  expect((await failure()).message).toContain('a symbolic link that leads nowhere');
});
