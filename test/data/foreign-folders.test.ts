/** Folders as users have them: what systems leave in them, doubtful names, data sets inside others. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageFolderOptions } from '../../src/data/image-folder.js';
import { loadFolder, type Outcome, plant } from './image-tree.js';

let base: string;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'foreign-folders-'));
});
afterAll(() => rm(base, { recursive: true }));

async function load(files: readonly string[], options: ImageFolderOptions = {}): Promise<Outcome> {
  const dir = join(base, String(count++));
  await plant(dir, files);
  return loadFolder(dir, options);
}

const two = (...dirs: string[]) => dirs.flatMap((dir) => [`${dir}/1.jpg`, `${dir}/2.jpg`]);
const each = (outer: readonly string[], inner: readonly string[]) =>
  two(...outer.flatMap((one) => inner.map((other) => `${one}/${other}`)));

describe('what systems leave beside images', () => {
  it('is neither an image nor a class', async () => {
    const { counts, warnings } = await load([
      ...two('cat', 'dog'),
      ...['cat/@eaDir/1.jpg/SYNOFILE_THUMB_M.jpg', '@eaDir/cat/SYNO.jpg', '$RECYCLE.BIN/a.jpg', '#recycle/cat/9.jpg'],
      ...['dog/.ipynb_checkpoints/1-checkpoint.jpg', '__pycache__/x.pyc=1', 'System Volume Information/x=1'],
      ...['lost+found/x=1', 'cat/Thumbs.db=x', 'dog/desktop.ini=x', '__MACOSX/cat/._1.jpg'],
    ]);
    expect(counts).toEqual({ train: { cat: 2, dog: 2 } });
    expect(warnings).toBe('');
  });
});

describe('names that look alike', () => {
  it.each([
    ['marks of direction', '\u200fقط', 'قط'],
    ['spaces of no width', 'cat\u200b', 'cat'],
    ['a byte order mark', '\ufeffcat', 'cat'],
    ['hard spaces', 'big\u00a0cat', 'big cat'],
    ['two spaces', 'big  cat', 'big cat'],
    ['letters of full width', 'cat', 'ｃａｔ'],
  ])('are one class: %s', async (_, one, other) => {
    const { counts, warnings } = await load(two(`train/${one}`, 'train/dog', `test/${other}`, 'test/dog'));
    expect(Object.values(counts!['train']!)).toEqual([2, 2]);
    expect(Object.values(counts!['test']!)).toEqual([2, 2]);
    expect(warnings).toMatch(/are taken as one class/);
  });

  it('stay apart where a mark makes another sign or word', async () => {
    const { counts, warnings } = await load(two('👩‍🚀', '👩🚀', 'می‌خواهم', 'میخواهم'));
    expect(Object.keys(counts!['train']!)).toHaveLength(4);
    expect(warnings).toBe('');
  });
});

describe('valid and invalid', () => {
  it('are two classes, in splits too', async () => {
    expect((await load(two('valid', 'invalid'))).counts).toEqual({ train: { invalid: 2, valid: 2 } });
    const classes = { invalid: 2, valid: 2 };
    expect((await load(each(['train', 'test'], ['valid', 'invalid']))).counts).toEqual({
      train: classes,
      test: classes,
    });
  });
});

describe('splits', () => {
  it('of loose test images may lie in a folder of their own name', async () => {
    const { counts, warnings } = await load([...two('train/train/cat', 'train/train/dog'), ...two('test/test')]);
    expect(counts).toEqual({ train: { cat: 2, dog: 2 } });
    expect(warnings).toMatch(/`test`: 2 images without class folders, left out/);
  });

  it('inside one folder beside loose test images are the data set', async () => {
    const set = 'Plants(Augmented)/Plants(Augmented)';
    const { counts, warnings } = await load([
      ...each([`${set}/train`, `${set}/valid`], ['apple', 'corn']),
      ...two('test/test'),
    ]);
    expect(counts).toEqual({ train: { apple: 2, corn: 2 }, validation: { apple: 2, corn: 2 } });
    expect(warnings).toMatch(/`test`: 2 images without class folders/);
  });

  it('that are two of one kind are taken together with a warning', async () => {
    const { counts, warnings } = await load([
      ...each(['trainingSet/trainingSet'], ['0', '1']),
      ...['trainingSample/trainingSample/0/9.jpg', 'trainingSample/trainingSample/1/8.jpg'],
      ...two('testSample/testSample', 'testSet/testSet'),
    ]);
    expect(counts).toEqual({ train: { 0: 3, 1: 3 } });
    expect(warnings).toMatch(
      /`trainingSample`, `trainingSet` are taken together as train.*ignore: \["trainingSample"\]/,
    );
    expect(warnings).not.toMatch(/together as test/);
  });

  it('of one name are no class', async () => {
    const { message } = await load(two('cars_train/cars_train', 'cars_test/cars_test'));
    expect(message).toMatch(/no class folders: 2 images lie directly in `cars_train`/);
  });

  it('inside folds are said to be other divisions, and read by what the message says', async () => {
    const files = each(
      ['folds/fold_0/train', 'folds/fold_0/val', 'folds/fold_1/train', 'folds/fold_1/val'],
      ['a', 'b'],
    );
    expect((await load(files)).message).toMatch(/`fold_0`, `fold_1` hold splits each.*\n.*layout: '\*\/split\/class'/);
    expect((await load(files, { layout: '*/split/class' })).counts).toEqual({
      train: { a: 4, b: 4 },
      validation: { a: 4, b: 4 },
    });
  });

  it('in some classes alone: the message names one without and one with them', async () => {
    const files = two('cat/train', 'cat/test', 'dog/train', 'dog/test', 'bird');
    const { message } = await load(files);
    expect(message).toMatch(
      /bird: images without a split, beside `cat`, which has `test`, `train`\n.*ignore: \["bird"\]/,
    );
    expect((await load(files, { ignore: ['bird'] })).counts).toEqual({
      train: { cat: 2, dog: 2 },
      test: { cat: 2, dog: 2 },
    });
  });

  it('deeper than class folders: the message names the folder to load', async () => {
    const { message } = await load([
      ...each(['casting/casting/train', 'casting/casting/test'], ['def', 'ok']),
      ...each(['casting_512/casting_512'], ['def', 'ok']),
    ]);
    expect(message).toMatch(/lies deeper.*\n.*Load ".*casting\/casting" alone.*ignore: \["casting"\]/);
  });
});

describe('folders of other names below few classes', () => {
  const files = two('colon_sets/colon_aca', 'colon_sets/colon_n', 'lung_sets/lung_aca', 'lung_sets/lung_scc');

  it('are a doubt, and classes if said', async () => {
    const { counts, warnings } = await load(files);
    expect(counts).toEqual({ train: { colon_sets: 4, lung_sets: 4 } });
    expect(warnings).toMatch(/hold folders \(`colon_aca`, .*layout: '\*\/class'/);
    expect(Object.keys((await load(files, { layout: '*/class' })).counts!['train']!)).toHaveLength(4);
  });

  it('are none where they count patients or days', async () => {
    expect((await load(two('normal/p001', 'normal/p002', 'sick/p003', 'sick/p004'))).warnings).toBe('');
  });
});

describe('metadata beside class folders', () => {
  const files = [
    ...two('cat', 'dog'),
    'metadata.csv=file_name,label\ncat/1.jpg,x\ncat/2.jpg,x\ndog/1.jpg,y\ndog/2.jpg,x\n',
  ];

  it('that says otherwise goes before them with a warning', async () => {
    const { counts, warnings } = await load(files);
    expect(counts).toEqual({ train: { x: 3, y: 1 } });
    expect(warnings).toMatch(/classes are taken from metadata, not from the folders `cat`, `dog`; those: `layout`/);
    expect((await load(files, { layout: 'class' })).counts).toEqual({ train: { cat: 2, dog: 2 } });
  });

  it('of captions gives no classes', async () => {
    const captions = `metadata.jsonl=${JSON.stringify({ file_name: 'a/1.jpg', text: 'A cat.' })}\n${JSON.stringify({ file_name: 'b/1.jpg', text: 'A dog.' })}\n`;
    const { counts, warnings } = await load([...two('a', 'b'), captions]);
    expect(counts).toEqual({ train: { a: 2, b: 2 } });
    expect(warnings).toMatch(/metadata\.jsonl has no column of classes \(`file_name`, `text`\)/);
  });
});

describe('DICOM files without an ending', () => {
  const dicom = (name: string) => `${name}=${'\0'.repeat(128)}DICM${'x'.repeat(99)}`;

  it('are called so, alone and as a class beside others', async () => {
    const { message } = await load([dicom('cat/IM1'), dicom('dog/IM2')]);
    expect(message).toMatch(/no images in this folder or below, but 2 DICOM files\n.*Convert them to PNG/);
    expect((await load([dicom('cat/IM1'), ...two('dog', 'fox')])).warnings).toMatch(
      /class `cat` has 1 files and none that can be read \(\.dcm, DICOM\)/,
    );
  });
});

describe('a folder beside splits that is none', () => {
  it('is asked about by the split of its name', async () => {
    const { message } = await load(each(['train', 'train_aug', 'test'], ['a', 'b']));
    expect(message).toMatch(/splits: { "train_aug": 'train' }/);
  });
});
