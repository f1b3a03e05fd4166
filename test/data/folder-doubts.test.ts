import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ImageFolder } from '../../src/data/image-folder.js';
import { ConfigError } from '../../src/errors.js';
import { countsOf, loadFolder, loadTable, plant } from './image-tree.js';

let base: string;
let dir: string;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'folder-doubts-'));
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(() => {
  dir = join(base, String(count++));
});

async function load(files: readonly string[], options?: Parameters<typeof loadFolder>[1]) {
  await plant(dir, files);
  return loadFolder(dir, options);
}

describe('splits in longer names', () => {
  it.each([
    ['training_set', 'test_set'],
    ['Train_Data', 'TEST DATA'],
    ['train-images', 'test-images'],
    ['trainImages', 'testImages'],
    ['trainset', 'testset'],
    ['1_train', '2_test'],
    ['skin_train', 'skin_test'],
    ['train_val', 'test'],
    ['trainval', 'test'],
    [' Train ', 'test'],
  ])('%s and %s', async (train, test) => {
    const loaded = await load([`${train}/a/1.png`, `${train}/b/2.png`, `${test}/a/3.png`, `${test}/b/4.png`]);
    expect(loaded).toEqual({ counts: { train: { a: 1, b: 1 }, test: { a: 1, b: 1 } }, warnings: '', message: '' });
  });

  it('are classes where the other words differ, or splits are said to be none', async () => {
    expect((await load(['train station/1.png', 'test tube/2.png', 'house/3.png'])).counts).toEqual({
      train: { house: 1, 'test tube': 1, 'train station': 1 },
    });
    const files = ['train/1.png', 'bus/2.png'];
    dir = join(base, String(count++));
    expect((await load(files)).message).toMatch(
      /train: a split, or a class beside `bus`\?\n.*splits: \{ train: false \}/,
    );
    expect((await loadFolder(dir, { splits: { train: false } })).counts).toEqual({ train: { bus: 1, train: 1 } });
    expect((await loadFolder(dir, { layout: 'class' })).counts).toEqual({ train: { bus: 1, train: 1 } });
  });

  it('are doubtful where several splits lie flat beside other folders', async () => {
    const { message } = await load(['train/1.png', 'test/2.png', 'bus/3.png', 'car/4.png']);
    expect(message).toMatch(/`test`, `train`: splits, or classes beside `bus`, `car`\?\n.*layout: 'class'/);
    expect((await loadFolder(dir, { layout: 'class' })).counts).toEqual({
      train: { bus: 1, car: 1, test: 1, train: 1 },
    });
  });

  it('are what the user says', async () => {
    const files = ['cohort A/x/1.png', 'cohort A/y/2.png', 'cohort B/x/3.png', 'cohort B/y/4.png'];
    expect((await load(files)).message).toMatch(/hold folders of equal names.*\n.*splits: \{ "cohort A": 'train'/);
    const { counts } = await loadFolder(dir, { splits: { 'cohort A': 'train', 'cohort B': 'validation' } });
    expect(counts).toEqual({ train: { x: 1, y: 1 }, validation: { x: 1, y: 1 } });
    expect((await loadFolder(dir, { splits: { 'cohort A': 'train' } })).message).toMatch(
      /cohort B: this folder stands beside train or test folders/,
    );
  });
});

describe('names that are nearly equal', () => {
  it('are one class across splits, with a warning', async () => {
    const loaded = await load(['train/Cat/1.png', 'train/Dog/2.png', 'test/cat/3.png', 'test/dog/4.png']);
    expect(loaded.counts).toEqual({ train: { Cat: 1, Dog: 1 }, test: { Cat: 1, Dog: 1 } });
    expect(loaded.warnings).toMatch(
      /class names "cat" and "Cat" differ in letter case, Unicode form or outer spaces alone/,
    );
  });

  it('stay apart where one folder has both, with a warning that says how they become one', async () => {
    const loaded = await load(['Cat/1.png', 'cat/2.png', 'dog/3.png']);
    expect(loaded.counts).toEqual({ train: { Cat: 1, cat: 1, dog: 1 } });
    expect(loaded.warnings).toMatch(/are kept apart; as one: `classes: \{/);
    expect((await loadFolder(dir, { classes: { Cat: 'cat', cat: 'cat', dog: 'dog' } })).counts).toEqual({
      train: { cat: 2, dog: 1 },
    });
  });

  it('are one class where Unicode form or outer spaces differ', async () => {
    const loaded = await load(['caf\u00e9/1.png', 'cafe\u0301/2.png', 'tea/3.png', 'tea /4.png']);
    expect(loaded.counts).toEqual({ train: { caf\u00e9: 2, tea: 2 } });
    expect(loaded.warnings.match(/taken as one class/g)).toHaveLength(2);
  });
});

describe('what vanishes is named and counted', () => {
  it('classes of another format, empty class folders, files of unknown endings', async () => {
    const { counts, warnings } = await load([
      ...['a/1.png', 'a/2.jp2=x', 'a/3.jp2=x', 'a/notes.txt=x', 'b/1.jp2=x', 'b/2.jp2=x', 'c/1.png', 'c/1.dcm=x'],
    ]);
    expect(counts).toEqual({ train: { a: 1, c: 1 } });
    expect(warnings).toMatch(/class `b` has 2 files and none that can be read \(\.jp2\)/);
    expect(warnings).toMatch(/no readable images, left out: 2 \.jp2 \(a\/2\.jp2, …\), 1 \.dcm, DICOM \(c\/1\.dcm\)/);
    expect(warnings).not.toMatch(/txt/);
  });

  it('pointers of Git LFS, as bad images', async () => {
    const { message } = await load([
      'a/1.png',
      'b/1.png=version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n',
    ]);
    expect(message).toMatch(/b\/1\.png: .*a Git LFS pointer/);
  });

  it('test classes without a training image, one class only', async () => {
    const first = await load(['train/a/1.png', 'train/b/2.png', 'test/a/3.png', 'test/c/4.png']);
    expect(first.warnings).toMatch(/class without a training image: `c` \(1 in test\)/);
    dir = join(base, String(count++));
    expect((await load(['cat/1.png', 'cat/2.png'])).warnings).toMatch(/one class only, `cat`/);
  });

  it('keeps the warnings on the object', async () => {
    await plant(dir, ['cat/1.png', 'cat/2.png']);
    const told: string[] = [];
    const folder = await ImageFolder.load(dir, { onWarning: (line) => told.push(line) });
    expect(folder.warnings).toHaveLength(1);
    expect(told).toEqual([`${dir}: ${folder.warnings[0]}`]);
  });
});

describe('masks and annotations', () => {
  it('of class folders are left out, and may be named', async () => {
    const files = ['ill/images/1.png', 'ill/masks/1.png', 'well/images/2.png', 'well/masks/2.png'];
    const loaded = await load(files);
    expect(loaded.counts).toEqual({ train: { ill: 1, well: 1 } });
    expect(loaded.warnings).toMatch(/`masks` in 2 class folders: 2 images left out as masks/);
    expect(await loadFolder(dir, { ignore: ['masks'] })).toEqual({ counts: loaded.counts, warnings: '', message: '' });
  });

  it('inside the splits of classes', async () => {
    const loaded = await load(
      ['a', 'b'].flatMap((name) => [`${name}/train/images/1.png`, `${name}/train/masks/1.png`]),
    );
    expect(loaded.counts).toEqual({ train: { a: 1, b: 1 } });
    expect(loaded.warnings).toMatch(/`masks` in 2 class folders/);
  });

  it('beside class folders of the same names', async () => {
    const loaded = await load(['images/a/1.png', 'images/b/1.png', 'masks/a/1.png', 'masks/b/1.png']);
    expect(loaded.counts).toEqual({ train: { a: 1, b: 1 } });
    expect(loaded.warnings).toMatch(/`masks` beside `images`: 2 images left out/);
  });

  it('are classes where that is what there is', async () => {
    expect((await load(['mask/1.png', 'no_mask/2.png'])).counts).toEqual({ train: { mask: 1, no_mask: 1 } });
  });
});

describe('options', () => {
  const files = ['x/a/1.png', 'x/b/2.png', 'y/a/3.png', 'y/c/4.png'];

  it('`layout` says what the folders are', async () => {
    expect((await load(files, { layout: '*/class' })).counts).toEqual({ train: { a: 2, b: 1, c: 1 } });
    expect((await loadFolder(dir, { layout: 'class' })).counts).toEqual({ train: { x: 2, y: 2 } });
    expect((await loadFolder(dir, { layout: 'split/class', splits: { x: 'train', y: 'test' } })).counts).toEqual({
      train: { a: 1, b: 1, c: 0 },
      test: { a: 1, b: 0, c: 1 },
    });
    expect(
      (await loadFolder(dir, { layout: 'class/split', splits: { a: 'train', b: 'test', c: 'test' } })).counts,
    ).toEqual({
      train: { x: 1, y: 1 },
      test: { x: 1, y: 1 },
    });
    expect((await loadFolder(dir, { layout: 'split/class' })).message).toMatch(
      /x: a split folder was expected here by `layout`/,
    );
  });

  it('`classes` takes, orders and renames', async () => {
    await plant(dir, ['a/1.png', 'b/2.png', 'c/3.png', 'c/4.png']);
    const ordered = await ImageFolder.load(dir, { classes: ['c', 'a'] });
    expect(ordered.classNames).toEqual(['c', 'a']);
    expect(ordered.train.labels).toEqual([0, 0, 1]);
    expect((await loadFolder(dir, { classes: { c: 'sea', a: 'land', b: 'land' } })).counts).toEqual({
      train: { sea: 2, land: 2 },
    });
    expect((await loadFolder(dir, { classes: { d: 'x' } })).message).toMatch(
      /there is no class `d`\n.*Classes: `a`, `b`, `c`/,
    );
    // The classes of another data set, one of which does not occur here.
    const foreign = await loadFolder(dir, { classes: ['a', 'b', 'c', 'never seen'] });
    expect(foreign.counts).toEqual({ train: { a: 1, b: 1, c: 2, 'never seen': 0 } });
    expect(foreign.warnings).toMatch(/classes without an image: `never seen`/);
  });

  it('`classOf` gives a class to each path, and splits stay those of folders', async () => {
    const paths: string[] = [];
    const loaded = await load(['train/dog_1.png', 'train/cat_2.png', 'test/cat_3.png', 'test/readme_4.png'], {
      classOf: (path) => {
        paths.push(path);
        return /(cat|dog)_/.exec(path)?.[1];
      },
    });
    expect(loaded.counts).toEqual({ train: { cat: 1, dog: 1 }, test: { cat: 1, dog: 0 } });
    expect(loaded.warnings).toMatch(/`classOf` gave no class for 1 images/);
    expect(paths.sort()).toEqual(['test/cat_3.png', 'test/readme_4.png', 'train/cat_2.png', 'train/dog_1.png']);
    expect((await loadFolder(dir, { classOf: () => undefined })).message).toMatch(/no class for any of 4 images/);
    expect((await loadFolder(dir, { classOf: () => 7 as never })).message).toMatch(/`classOf` gave 7, no class name/);
  });

  it('`ignore` passes over folders and files, and says where it fits nothing', async () => {
    const loaded = await load([...files, 'z/1.png', 'x/a/1_mask.png'], { ignore: ['z', '*_mask.png', 'y', 'nothing'] });
    expect(loaded.counts).toEqual({ train: { a: 1, b: 1 } });
    expect(loaded.warnings).toMatch(/`ignore`: nothing is called "nothing"/);
  });

  it('are checked', async () => {
    await plant(dir, files);
    for (const options of [
      { layout: 'classes' },
      { layout: 'split' },
      { layout: 'class/class' },
      { splits: { a: 'training' } },
      { classes: [] },
      { layout: 'class', classOf: () => 'a' },
      { classNames: ['a'] },
    ]) {
      await expect(ImageFolder.load(dir, options as never)).rejects.toThrow(ConfigError);
    }
    await expect(ImageFolder.load(undefined as never)).rejects.toThrow(ConfigError);
  });
});

describe('doubtful folders', () => {
  it('warns where images lie deep below the classes', async () => {
    const loaded = await load(['a/p1/s1/1.png', 'b/p2/s1/1.png']);
    expect(loaded.counts).toEqual({ train: { a: 1, b: 1 } });
    expect(loaded.warnings).toMatch(/two and more folders below the classes `a`, `b`, e\.g\. in a\/p1\/s1/);
  });

  it('does not take a folder of other images for a copy', async () => {
    const { message } = await load(['one/a/1.png', 'one/b/2.png', 'x/one/a/1.png', 'x/one/b/2.png', 'x/one/c/3.png']);
    expect(message).toMatch(/equal names|Layouts/);
  });

  it('refuses a table that says otherwise than the folders, and takes either on request', async () => {
    const { message } = await load([
      's1/1.png',
      's1/2.png',
      's2/3.png',
      'labels.csv=file,label\n1.png,cat\n2.png,dog\n3.png,cat\n',
    ]);
    expect(message).toMatch(
      /folders are `s1`, `s2`, but labels\.csv \(columns `file`, `label`\) names images as `cat`, `dog`/,
    );
    expect(message).toMatch(/ImageFolder\.fromTable\("\.\/labels\.csv".*ignore: \["labels\.csv"\]/);
    expect((await loadFolder(dir, { ignore: ['labels.csv'] })).counts).toEqual({ train: { s1: 2, s2: 1 } });
    expect((await loadFolder(dir, { layout: 'class' })).counts).toEqual({ train: { s1: 2, s2: 1 } });
    expect((await loadTable(dir, 'labels.csv')).counts).toEqual({ train: { cat: 2, dog: 1 } });
  });

  it('does not take a column of folders for one that agrees', async () => {
    const { message } = await load(['p1/x.png', 'p2/y.png', 'meta.csv=id,folder,diagnosis\nx,p1,nv\ny,p2,mel\n']);
    expect(message).toMatch(/the folders are `p1`, `p2`, but meta\.csv .* names images as `nv`, `mel`/);
  });

  it('names a table without a column of classes where there are no folders either', async () => {
    const { message } = await load(['a.png', 'b.png', 'metadata.csv=file_name,width,height\na.png,x y,1\nb.png,z,1\n']);
    expect(message).toMatch(
      /no class folders.*metadata\.csv \(columns `file_name`, `width`, `height`\).*\n.*labelColumn: '…'/,
    );
  });

  it('is not disturbed by tables that agree, or say nothing of classes', async () => {
    const loaded = await load([
      ...['cat/1.png', 'dog/2.png', 'labels.csv=file,label\ncat/1.png,Cat\ndog/2.png,Dog\n'],
      'sizes.csv=file,width,height\n1.png,1,1\n2.png,1,1\n',
    ]);
    expect(loaded).toEqual({ counts: { train: { cat: 1, dog: 1 } }, warnings: '', message: '' });
  });
});

describe('a hold-out split', () => {
  it('gives the same parts for the same seed, each class its share', async () => {
    await plant(dir, ['a/1.png', 'a/2.png', 'b/3.png', 'b/4.png']);
    const folder = await ImageFolder.load(dir);
    const halves = await folder.split({ test: 0.5, seed: 7 });
    expect(countsOf(halves)).toEqual({ train: { a: 1, b: 1 }, test: { a: 1, b: 1 } });
    expect(halves.classNames).toEqual(['a', 'b']);
    const paths = async (data: ImageFolder) => Promise.all([0, 1].map(async (i) => (await data.test.get(i)).path));
    expect(await paths(await folder.split({ test: 0.5, seed: 7 }))).toEqual(await paths(halves));
    expect(countsOf(folder)).toEqual({ train: { a: 2, b: 2 } });
    expect(() => folder.test).toThrow(/await data\.split\(\{ test: 0\.2 \}\)/);
  });

  it('is refused where there is one already', async () => {
    await plant(dir, ['train/a/1.png', 'train/a/2.png', 'train/b/2.png', 'test/a/3.png']);
    const folder = await ImageFolder.load(dir);
    await expect(folder.split({ test: 0.5 })).rejects.toThrow(/there is a test split already, of 1 images/);
    const parts = await folder.split({ validation: 0.5 });
    expect([...parts.splits.keys()]).toEqual(['train', 'test', 'validation']);
  });

  it('names classes of which the test has no image', async () => {
    await plant(dir, ['a/1.png', 'a/2.png', 'a/3.png', 'a/4.png', 'b/5.png']);
    const folder = await ImageFolder.load(dir);
    expect((await folder.split({ test: 0.4 })).warnings).toEqual(['the split left no image of `b` in test']);
    expect(folder.warnings).toEqual([]);
  });
});
