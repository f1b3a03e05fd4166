import { mkdir, mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConversationDataset } from '../../src/data/conversations/conversation-dataset.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import { ImageFile } from '../../src/data/decode-image.js';
import { ImageDigester } from '../../src/data/image-digest.js';
import type { ImageInput, RgbImage, SftExample } from '../../src/data/types.js';
import { compareDatasets, fingerprintDataset } from '../../src/train/dataset-fingerprint.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'images-'));
});
afterEach(() => rm(folder, { recursive: true }));

const sample = (...images: unknown[]): SftExample => ({
  messages: [
    { role: 'user', content: images.map((image) => ({ type: 'image', image: image as ImageInput })) },
    { role: 'assistant', content: 'this' },
  ],
});
const pixels = (level: number): RgbImage => ({ width: 2, height: 1, data: new Uint8Array(6).fill(level) });
const bmp = (level: number): Buffer => Buffer.from([0x42, 0x4d, ...new Array<number>(60).fill(level)]);

/** Writes files 0.png to `count - 1`.png of these levels. */
async function write(levels: readonly number[], directory = folder): Promise<string[]> {
  await mkdir(directory, { recursive: true });
  return Promise.all(
    levels.map(async (level, i) => {
      const path = join(directory, `${i}.png`);
      await writeFile(path, bmp(level));
      return path;
    }),
  );
}
const mark = (list: readonly SftExample[]) => fingerprintDataset(IndexedDataset.from(list));

/** Every way in which an image of a file comes to a sample. */
const OF_FILES: readonly [string, (path: string) => unknown][] = [
  ['a path', (path) => path],
  ['a file of a folder', (path) => new ImageFile(path)],
  ['a handle of the caller’s own', (path) => ({ path, decode: () => Promise.reject(new Error('not now')) })],
];

describe('what image files hold', () => {
  it.each(OF_FILES)('is noticed when it changes, by %s, and nothing else is', async (_, image) => {
    const list = async () => (await write([1, 2, 3, 4])).map((path) => sample(image(path)));
    const before = await mark(await list());
    expect(compareDatasets(before, await mark(await list()))).toBeUndefined();
    // A copy elsewhere has other times and another folder.
    const moved = await write([1, 2, 3, 4], join(folder, 'moved'));
    await utimes(moved[0]!, 1000, 1000);
    expect(compareDatasets(before, await mark(moved.map((path) => sample(image(path)))))).toBeUndefined();
    const same = await list();
    await writeFile(join(folder, '2.png'), bmp(9));
    expect(compareDatasets(before, await mark(same))).toMatch(
      /^has image files with other contents than before.*, in sample 2$/,
    );
    await rename(join(folder, '2.png'), join(folder, 'away.png'));
    expect(compareDatasets(before, await mark(same))).toMatch(
      /^has image files with other contents than before.*, in sample 2$/,
    );
    const without = await mark(same);
    await rename(join(folder, 'away.png'), join(folder, '2.png'));
    expect(compareDatasets(without, await mark(same))).toMatch(
      /^has image files with other contents than before.*, in sample 2$/,
    );
  });

  it('is noticed in images beside the messages and in prompts', async () => {
    const [a, b] = (await write([1, 2])) as [string, string];
    const forms = [
      { messages: [], images: [a, b] },
      { prompt: [{ role: 'user', content: [{ type: 'image', image: b }] }], completion: [] },
      { prompt: [], completion: [], images: [b] },
    ] as unknown as SftExample[];
    const before = await mark(forms);
    await writeFile(b, bmp(7));
    expect(compareDatasets(before, await mark(forms))).toMatch(/in the samples 0, 1, 2$/);
  });

  it('is noticed when two files change places', async () => {
    const paths = await write([1, 2]);
    const before = await mark(paths.map((path) => sample(path)));
    await write([2, 1]);
    expect(compareDatasets(before, await mark(paths.map((path) => sample(path))))).toMatch(/in the samples 0, 1$/);
  });

  it('is another with another bitDepth, and the same with that of files that say nothing', async () => {
    const [path] = (await write([1])) as [string];
    const of = (options: object) => mark([sample(new ImageFile(path, options))]);
    const before = await of({});
    for (const same of [{ bitDepth: 16 }, { maxPixels: 100 }, { onBadImage: 'skip' }, { maxAspectRatio: 5 }]) {
      expect(compareDatasets(before, await of(same))).toBeUndefined();
    }
    expect(compareDatasets(before, await of({ bitDepth: 12 }))).toMatch(/bitDepth.*in sample 0$/);
    expect(compareDatasets(await of({ bitDepth: 10 }), await of({ bitDepth: 12 }))).toMatch(/bitDepth.*in sample 0$/);
  });

  it('is noticed in rows of conversations, as files and within the rows', async () => {
    await write([1]);
    const rows = (bytes: Buffer) => [
      { messages: [{ role: 'assistant', content: 'a' }], images: ['0.png'] },
      { messages: [{ role: 'assistant', content: 'b' }], images: [{ bytes, path: 'b.png' }] },
      {
        messages: [{ role: 'assistant', content: 'c' }],
        images: [`data:image/png;base64,${bytes.toString('base64')}`],
      },
    ];
    const of = async (bytes: Buffer) => {
      const options = { imageRoot: folder, onWarning: () => undefined };
      const withUser = rows(bytes).map(({ messages, images }) => ({
        messages: [{ role: 'user', content: '<image>' }, ...messages],
        images,
      }));
      return fingerprintDataset(await ConversationDataset.fromRows(withUser, options));
    };
    const png = (await import('sharp')).default({
      create: { width: 2, height: 2, channels: 3, background: '#123456' },
    });
    const image = await png.png().toBuffer();
    await writeFile(join(folder, '0.png'), image);
    const before = await of(image);
    expect(compareDatasets(before, await of(image))).toBeUndefined();
    const other = Buffer.concat([image, Buffer.of(0)]);
    expect(compareDatasets(before, await of(other))).toMatch(
      /other images in memory than before, in the samples 1, 2$/,
    );
    await writeFile(join(folder, '0.png'), other);
    expect(compareDatasets(before, await of(image))).toMatch(/image files with other contents.*in sample 0$/);
  });

  it('is read with few files open and heard to stop', async () => {
    const paths = await write(Array.from({ length: 200 }, (_, i) => i % 200));
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    const list = paths.map((path) => sample(path));
    await expect(fingerprintDataset(IndexedDataset.from(list), stop.signal)).rejects.toThrow('enough');
    await mark([sample(...paths), sample(...paths.toReversed())]);
  });
});

describe('what images in memory hold', () => {
  it.each<[string, (level: number) => unknown]>([
    ['a Buffer', (level) => bmp(level)],
    ['a Uint8Array', (level) => Uint8Array.of(1, 2, level)],
    ['pixels', (level) => pixels(level)],
    ['a handle without a file', (level) => ({ path: 'nowhere', decode: async () => pixels(level) })],
  ])('is noticed when it changes, as %s', async (_, image) => {
    const list = (levels: number[]) => levels.map((level) => sample(image(level)));
    const before = await mark(list([1, 2, 3]));
    expect(before).not.toHaveProperty('images');
    expect(compareDatasets(before, await mark(list([1, 2, 3])))).toBeUndefined();
    const words = 'has other images in memory than before, in sample 1';
    expect(compareDatasets(before, await mark(list([1, 7, 3])))).toBe(words);
  });

  it('is told by its shape as well', async () => {
    const { data } = pixels(1);
    const before = await mark([sample({ width: 2, height: 1, data })]);
    expect(compareDatasets(before, await mark([sample({ width: 1, height: 2, data })]))).toMatch(/in sample 0$/);
  });

  it('is noticed where a handle makes something else of the same file', async () => {
    const paths = await write([1, 2, 3]);
    const list = (level: number) => paths.map((path) => sample({ path, decode: async () => pixels(level) }));
    expect(compareDatasets(await mark(list(1)), await mark(list(1)))).toBeUndefined();
    expect(compareDatasets(await mark(list(1)), await mark(list(2)))).toMatch(/other images in memory than before/);
  });

  it('is not compared where it is drawn anew each time', async () => {
    let next = 0;
    const drawn = () => fingerprintDataset(new IndexedDataset(20, (i) => sample(pixels(i < 3 ? 0 : next++ % 256))));
    const before = await drawn();
    expect(before).not.toHaveProperty('pixels');
    expect(compareDatasets(before, await drawn())).toBeUndefined();
    const handles = () => mark([sample({ path: 'nowhere', decode: async () => pixels(next++ % 256) })]);
    expect(compareDatasets(await handles(), await handles())).toBeUndefined();
  });

  it('is decoded in so many samples at most, two of them at no time', async () => {
    let calls = 0;
    let open = 0;
    let most = 0;
    const image = {
      path: 'nowhere',
      decode: async () => {
        calls++;
        most = Math.max(most, ++open);
        await new Promise((resolve) => setImmediate(resolve));
        open--;
        return pixels(1);
      },
    };
    await mark(Array.from({ length: 1000 }, () => sample(image)));
    expect([most, calls]).toEqual([1, 128 + 2 * 8]);
  });
});

describe('ImageDigester', () => {
  it('looks at the first images whole, then at the beginning, the middle and the end, and the size', () => {
    const size = 200_000;
    const bytes = (changed?: number, length = size) => {
      const array = new Uint8Array(length);
      if (changed !== undefined) array[changed] = 1;
      return array;
    };
    const digest = (array: Uint8Array, left: number) => new ImageDigester(left).ofBytes(array);
    const isNoticed = (at: number, left: number) => digest(bytes(at), left) !== digest(bytes(), left);
    expect([0, 1, 60_000, 100_000, size - 1].map((at) => isNoticed(at, size))).toEqual(new Array(5).fill(true));
    const beyond = [0, 16_383, 60_000, 100_000, size - 1].map((at) => isNoticed(at, size - 1));
    expect(beyond).toEqual([true, true, false, true, true]);
    expect(digest(bytes(undefined, size + 1), 0)).not.toBe(digest(bytes(), 0));
    const both = new ImageDigester(size);
    expect(both.ranges(size)).toEqual([[0, size]]);
    expect(both.ranges(size)).toHaveLength(3);
    expect(both.ranges(40_000)).toEqual([[0, 40_000]]);
  });
});
