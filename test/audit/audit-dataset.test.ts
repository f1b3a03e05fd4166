import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditDataset } from '../../src/audit/audit-dataset.js';
import type { AuditReport, DuplicateGroup } from '../../src/audit/audit-report.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import { ImageFolder } from '../../src/data/image-folder.js';
import type { TrainingExample } from '../../src/data/types.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { changed, drawn, flat } from './drawn-images.js';

interface Sample {
  readonly image: Uint8Array;
  readonly className: string;
}

const set = (samples: readonly (readonly [image: Uint8Array, className: string])[]): IndexedDataset<Sample> =>
  IndexedDataset.from(samples.map(([image, className]) => ({ image, className })));

const places = ({ images }: DuplicateGroup): string[] => images.map(({ split, index }) => `${split} ${index}`);
const issuesOf = (report: AuditReport): string[] => report.issues.map(({ kind, image }) => `${kind} ${image.index}`);

describe('copies', () => {
  it('are found however they were made, and other images are none', async () => {
    const original = await drawn(1);
    const [width, height] = [160, 120];
    const copies: readonly (readonly [transform: string, image: Buffer])[] = [
      ['none', await changed(original, (image) => image.jpeg({ quality: 60 }))],
      ['none', await changed(original, (image) => image.resize(100, 90, { fit: 'fill' }))],
      ['none', await changed(original, (image) => image.linear(0.7, 5))],
      [
        'none',
        await changed(original, (image) => image.extract({ left: 8, top: 3, width: width - 12, height: height - 6 })),
      ],
      ['none', await changed(original, (image) => image.extend({ left: 20, right: 20, background: '#000' }))],
      ['mirrored', await changed(original, (image) => image.flop())],
      ['mirrored, rotated by 180°', await changed(original, (image) => image.flip())],
      ['rotated by 180°', await changed(original, (image) => image.rotate(180))],
      // What turns the copy back.
      ['rotated by 270°', await changed(original, (image) => image.rotate(90))],
      ['rotated by 90°', await changed(original, (image) => image.rotate(270))],
    ];
    const others = await Promise.all(Array.from({ length: 8 }, (_, i) => drawn(i + 2)));
    const report = await auditDataset({
      train: set([[original, 'a'], ...others.map((image) => [image, 'a'] as const)]),
      test: set(copies.map(([, copy]) => [copy, 'a'])),
    });
    expect(report.duplicates.map(places)).toEqual([['train 0', ...copies.map((_, i) => `test ${i}`)]]);
    const ofOriginal = report.duplicates[0]!.pairs.filter(({ a }) => a === 0);
    expect(ofOriginal.map(({ b, kind, transform }) => [b - 1, kind, transform])).toEqual(
      copies.map(([transform], i) => [i, 'near', transform]),
    );
    expect(report.leaks).toEqual([
      { split: 'train', other: 'test', samples: [0], groups: [0] },
      { split: 'test', other: 'train', samples: [...copies.keys()], groups: copies.map(() => 0) },
    ]);
  });

  it('are not looked for where options say so', async () => {
    const original = await drawn(1);
    const data = set([
      [original, 'a'],
      [await changed(original, (image) => image.flop().png({ compressionLevel: 1 })), 'a'],
      [await changed(original, (image) => image.jpeg()), 'a'],
      [original, 'a'],
    ]);
    const found = async (options: object) => (await auditDataset(data, options)).duplicates.map(places);
    expect(await found({})).toEqual([['train 0', 'train 1', 'train 2', 'train 3']]);
    expect(await found({ transforms: false })).toEqual([['train 0', 'train 2', 'train 3']]);
    expect(await found({ nearDuplicates: false })).toEqual([['train 0', 'train 3']]);
  });

  it('with other labels are conflicts, and come first; exact ones have a pair with the first', async () => {
    const [a, b, c] = await Promise.all([drawn(1), drawn(2), drawn(3)]);
    const report = await auditDataset(
      set([
        [a, 'x'],
        [a, 'x'],
        [b, 'x'],
        [b, 'y'],
        [b, 'y'],
        [c, 'y'],
      ]),
    );
    expect(report.duplicates.map(places)).toEqual([
      ['train 2', 'train 3', 'train 4'],
      ['train 0', 'train 1'],
    ]);
    expect(report.duplicates[0]).toMatchObject({ isConflict: true, isExact: true, labels: ['x', 'y'] });
    expect(report.duplicates[0]!.pairs.map((pair) => [pair.a, pair.b])).toEqual([
      [0, 1],
      [0, 2],
    ]);
    expect(report.duplicates[1]!.isConflict).toBe(false);
  });

  it('are not what looks alike for want of details, or for a form that all share', async () => {
    const draw = (shapes: string): Promise<Buffer> => {
      const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="240" height="160"><rect width="100%" height="100%" fill="#fff"/>${shapes}</svg>`;
      return changed(Buffer.from(svg), (image) => image.png());
    };
    const form = (seed: number) => {
      const lines = Array.from(
        { length: 9 },
        (_, i) => `<rect x="8" y="${10 + i * 16}" width="${70 + (i % 3) * 8}" height="7"/>`,
      );
      const words = Array.from({ length: 9 }, (_, i) =>
        Array.from({ length: 6 }, (_, j) => {
          const shift = (seed * 7 + i * 5 + j * 3) % 9;
          return `<rect x="${110 + j * 20 + shift}" y="${10 + i * 16}" width="${4 + ((seed + i * j) % 7)}" height="7"/>`;
        }).join(''),
      );
      return draw(`<rect width="240" height="5" fill="#247"/>${lines.join('')}${words.join('')}`);
    };
    const slope = (end: string) =>
      draw(`<defs><linearGradient id="s"><stop stop-color="#111"/><stop offset="1" stop-color="${end}"/></linearGradient></defs>
<rect width="240" height="160" fill="url(#s)"/>`);
    const images = [await form(1), await form(2), await form(3), await slope('#ddd'), await slope('#bbb')];
    expect((await auditDataset(IndexedDataset.from(images))).duplicates).toEqual([]);
    const again = await Promise.all(images.slice(0, 3).map((image) => changed(image, (one) => one.jpeg())));
    const report = await auditDataset({ train: IndexedDataset.from(images), test: IndexedDataset.from(again) });
    expect(report.duplicates.map(places)).toEqual([0, 1, 2].map((i) => [`train ${i}`, `test ${i}`]));
  });

  it('of blank images count only when they are exact', async () => {
    const report = await auditDataset(
      set([
        [await flat(40), 'a'],
        [await flat(90), 'a'],
        [await flat(40), 'a'],
      ]),
    );
    expect(report.duplicates.map(places)).toEqual([['train 0', 'train 2']]);
    expect(issuesOf(report)).toEqual(['blank 0', 'blank 1', 'blank 2']);
  });
});

describe('conversations', () => {
  const ask = (question: string, answer: string, images: readonly Uint8Array[]): TrainingExample => ({
    messages: [
      {
        role: 'user',
        content: [...images.map((image) => ({ type: 'image', image }) as const), { type: 'text', text: question }],
      },
      { role: 'assistant', content: answer },
    ],
  });

  it('are copies with the same images in the same order and the same question', async () => {
    const [a, b] = await Promise.all([drawn(1), drawn(2)]);
    const data = IndexedDataset.from([
      ask('Which is older?', 'The first.', [a, b]),
      ask('Which is older?', 'The first.', [b, a]),
      ask('Which  is older?', 'The second.', [a, b]),
      ask('Which is larger?', 'The first.', [a, b]),
      { text: 'no image' },
      { text: 'no image' },
      { text: 'another text' },
    ]);
    const { duplicateSamples, splits, classNames } = await auditDataset(data);
    expect(duplicateSamples.map(({ samples, isConflict }) => [samples.map(({ index }) => index), isConflict])).toEqual([
      [[0, 2], true],
      [[4, 5], false],
    ]);
    expect(splits).toMatchObject([{ name: 'train', samples: 7, images: 8 }]);
    expect(classNames).toEqual([]);
  });

  it('that answer with few words have classes', async () => {
    const images = await Promise.all(Array.from({ length: 8 }, (_, i) => drawn(i)));
    const data = IndexedDataset.from(images.map((image, i) => ask('What is it?', i < 6 ? 'cat' : 'dog', [image])));
    const report = await auditDataset(data);
    expect(report.classNames).toEqual(['cat', 'dog']);
    expect(report.splits[0]!.classCounts).toEqual([6, 2]);
  });
});

describe('a folder with all that can be wrong', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'audit-'));
    const good = await drawn(1);
    const jpeg = await changed(await drawn(7, 300, 200), (image) => image.jpeg());
    const files: readonly (readonly [name: string, bytes: Uint8Array])[] = [
      ['train/a/0.png', good],
      ['train/a/1.jpg', jpeg.subarray(0, jpeg.length / 2)],
      ['train/a/2.png', await changed(await drawn(2), (image) => image.linear(0.15, 0))],
      ['train/a/3.png', await changed(await drawn(3), (image) => image.linear(0.15, 210))],
      ['train/a/4.png', await changed(await drawn(4, 400, 400), (image) => image.blur(12))],
      ['train/a/5.png', await changed(await drawn(5), (image) => image.resize(40, 30))],
      ['train/a/6.png', await drawn(6, 900, 100)],
      ['train/b/7.png', await drawn(8)],
      ['test/a/0.png', good],
    ];
    for (const [name, bytes] of files) {
      await mkdir(join(dir, name, '..'), { recursive: true });
      await writeFile(join(dir, name), bytes);
    }
  });
  afterAll(() => rm(dir, { recursive: true }));

  it('ends with a report that names each of them', async () => {
    const data = await ImageFolder.load(dir, { verify: false });
    const phases = new Set<string>();
    const report = await auditDataset(data, {
      darkLevel: 50,
      maxBlur: 0.65,
      onProgress: ({ phase }) => phases.add(phase),
    });
    expect(issuesOf(report)).toEqual(['damaged 1', 'dark 2', 'bright 3', 'blurred 4', 'tiny 5', 'odd-aspect 6']);
    expect(report.issues[0]!.image).toMatchObject({ name: 'train/a/1.jpg', width: 300, height: 200 });
    expect(report.issues[0]!.reason).toMatch(/does not decode/);
    expect(report.duplicates.map(places)).toEqual([['train 0', 'test 0']]);
    expect(report.duplicates[0]!.isExact).toBe(true);
    expect(report.classNames).toEqual(['a', 'b']);
    expect(report.splits).toEqual([
      { name: 'train', samples: 8, images: 8, classCounts: [7, 1] },
      { name: 'test', samples: 1, images: 1, classCounts: [1, 0] },
    ]);
    expect(report.notes).toEqual(['test has no sample of b']);
    expect(report.sizes!.width).toMatchObject({ min: 40, max: 900 });
    expect(phases.has('images')).toBe(true);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it('whose files are gone by now is reported, too', async () => {
    const data = await ImageFolder.load(dir);
    const gone = data.train.map((sample) => ({ ...sample, image: `${sample.path}.gone` }));
    const report = await auditDataset(gone);
    expect(report.issues.map(({ kind, reason }) => [kind, reason])).toEqual(
      Array(8).fill(['damaged', 'cannot read the image: no such file']),
    );
    expect(report.sizes).toBeNull();
  });
});

describe('what is given', () => {
  it('is checked', async () => {
    const one = set([[await flat(10), 'a']]);
    await expect(auditDataset(one, { minCorelation: 0.9 } as object)).rejects.toThrow(/did you mean `minCorrelation`/);
    await expect(auditDataset(one, { minCorrelation: 2 })).rejects.toThrow(ConfigError);
    await expect(auditDataset([] as never)).rejects.toThrow(/IndexedDataset.from/);
    await expect(auditDataset({ train: 5 } as never)).rejects.toThrow(
      'auditDataset: `train`: expected a data set, got 5',
    );
    await expect(auditDataset({} as never)).rejects.toThrow(/no data set is given/);
    await expect(auditDataset(IndexedDataset.from([{ photo: 1 }]))).rejects.toThrow(DataError);
  });

  it('may be samples of a kind of their own', async () => {
    const image = await drawn(1);
    const data = IndexedDataset.from([
      { photo: image, kind: 1 },
      { photo: image, kind: 2 },
    ]);
    const report = await auditDataset(data, { images: ({ photo }) => photo, label: ({ kind }) => `kind ${kind}` });
    expect(report.duplicates).toMatchObject([{ labels: ['kind 1', 'kind 2'], isConflict: true }]);
  });

  it('stops when its signal says so', async () => {
    const stop = new AbortController();
    const images = await Promise.all(Array.from({ length: 40 }, (_, i) => drawn(i)));
    const audit = auditDataset(IndexedDataset.from(images), {
      signal: stop.signal,
      onProgress: ({ done }) => done === 3 && stop.abort(new Error('enough')),
    });
    await expect(audit).rejects.toThrow('enough');
  });

  it('may be empty', async () => {
    const report = await auditDataset({ train: IndexedDataset.from<Sample>([]) });
    expect(report).toMatchObject({ duplicates: [], issues: [], sizes: null, notes: [], classNames: [] });
  });
});
