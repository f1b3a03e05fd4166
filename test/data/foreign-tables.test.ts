/** Tables as users have them: written by Excel, pandas and R, with web addresses, lists, captions, and holes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageTableOptions } from '../../src/data/image-folder.js';
import { loadFolder, loadTable, type Outcome, plant } from './image-tree.js';

let base: string;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'foreign-tables-'));
});
afterAll(() => rm(base, { recursive: true }));

/** Three images, unless others are named, and a table. */
async function table(
  text: string,
  { name = 'l.csv', images = ['i/1.jpg', 'i/2.jpg', 'i/3.jpg'], ...options }: TableCase = {},
): Promise<Outcome> {
  const dir = join(base, String(count++));
  await plant(dir, [...images, `${name}=${text}`]);
  return loadTable(dir, name, options);
}

interface TableCase extends ImageTableOptions {
  readonly name?: string;
  readonly images?: readonly string[];
}

const lines = (...rows: object[]) => rows.map((row) => JSON.stringify(row)).join('\n');

describe('a table without a line of names', () => {
  it('keeps its first row, with a word on it', async () => {
    const { counts, warnings } = await table('1.jpg,cat\n2.jpg,dog\n3.jpg,cat\n');
    expect(counts).toEqual({ train: { cat: 2, dog: 1 } });
    expect(warnings).toMatch(/the first line names an image and no columns.*`header: false`/);
  });

  it('of words with spaces between is read under .txt', async () => {
    const { counts } = await table('i/1.jpg 0\ni/2.jpg 1\ni/3.jpg 1\n', { name: 'l.txt' });
    expect(counts).toEqual({ train: { 0: 1, 1: 2 } });
  });

  it('is offered with columns by position', async () => {
    const dir = join(base, String(count++));
    await plant(dir, ['1.jpg', '2.jpg', 'l.csv=1.jpg,cat\n2.jpg,dog\n']);
    expect((await loadFolder(dir)).message).toMatch(/header: false, fileColumn: 0, labelColumn: 1 /);
  });

  it('as CelebA has it: a count, names without one for files, columns of spaces', async () => {
    const text = '3\nBald Male\n1.jpg -1  1\n2.jpg -1 -1\n3.jpg  1  1\n';
    const { counts } = await table(text, {
      name: 'attr.txt',
      labelColumn: 'Male',
      classes: { '-1': 'female', 1: 'male' },
    });
    expect(counts).toEqual({ train: { female: 1, male: 2 } });
  });
});

describe('files', () => {
  it.each([
    ['addresses with queries', 'url,label\nhttps://x.org/a/1.jpg?w=1&h=2,a\nhttps://x.org/a/2.jpg#x,b\n', undefined],
    ['addresses with escapes', 'url,label\nhttps://x.org/a%20b.jpg,a\ns3://b/c%20d.jpg,b\n', ['a b.jpg', 'c d.jpg']],
    ['ids that lost their zeros', 'id,label\n1,a\n12,b\n', ['i/0001.jpg', 'i/0012.jpg']],
    ['paths of Windows', 'path,label\nC:\\data\\i\\1.jpg,a\ni\\2.jpg,b\n', undefined],
  ])('are found by %s', async (_, text, images) => {
    expect((await table(text, images ? { images } : {})).counts).toEqual({ train: { a: 1, b: 1 } });
  });

  it('of an id are those of its own zeros where both are there', async () => {
    const { counts, message } = await table('id,label\n1,a\n2,b\n', { images: ['01.jpg', '001.jpg', '2.jpg'] });
    expect(counts).toBeUndefined();
    expect(message).toMatch(/"1" may be 0+1\.jpg or 0+1\.jpg/);
  });
});

describe('what programs write', () => {
  it("Excel's line of the separator is none of the rows", async () => {
    const { counts, warnings } = await table('sep=;\nf;label;note\n1.jpg;a;x, y\n2.jpg;b;\n3.jpg;a;\n');
    expect(counts).toEqual({ train: { a: 2, b: 1 } });
    expect(warnings).toBe('');
  });

  it('an Excel file is called one', async () => {
    const { message } = await table('PK\u0003\u0004...', { name: 'l.xlsx' });
    expect(message).toMatch(/l\.xlsx: an Excel file or an archive.*\n.*Save the table as CSV/);
  });

  it('missing values are no class', async () => {
    const { counts, warnings } = await table('f,label\n1.jpg,a\n2.jpg,NaN\n3.jpg,<NA>\n');
    expect(counts).toEqual({ train: { a: 1 } });
    expect(warnings).toMatch(/2 of 3 rows have no label; they are left out, e\.g\. `2\.jpg`, `3\.jpg`/);
  });

  it('a comma without quotes: line, count and what to do', async () => {
    const text = 'id,label,name\n1,a,x, y\n2,b,z\n3,b,z\n';
    expect((await table(text)).message).toMatch(/line 2: 4 fields where 3 were expected\n.*must stand in quotes/);
    const dir = join(base, String(count++));
    await plant(dir, ['i/1.jpg', 'i/2.jpg', 'i/3.jpg', `l.csv=${text}`]);
    expect((await loadFolder(dir)).message).toMatch(/l\.csv \(columns `id`, `label`, `name`\) names images/);
  });

  it('1 and 1.0 are one number, told once', async () => {
    const { counts, warnings } = await table('f,label\n1.jpg,1.0\n2.jpg,1\n3.jpg,2\n');
    expect(counts).toEqual({ train: { 1: 2, 2: 1 } });
    expect(warnings).toMatch(/the classes are numbers \(`1`, `2`\)/);
  });

  it('JSON of names and classes, and JSON Lines under .json', async () => {
    const wanted = { train: { a: 1, b: 1 } };
    expect((await table('{"1.jpg":"a","2.jpg":"b"}', { name: 'l.json' })).counts).toEqual(wanted);
    const rows = lines({ file: '1.jpg', label: 'a' }, { file: '2.jpg', label: 'b' });
    expect((await table(rows, { name: 'l.json' })).counts).toEqual(wanted);
    expect((await table('{"data":[]}', { name: 'l.json' })).message).toMatch(/expected a list of objects.*\n.*As in/);
  });
});

describe('labels', () => {
  it('of columns named in other languages', async () => {
    const { counts } = await table('编号,文件名,类别\n1,1.jpg,猫\n2,2.jpg,狗\n');
    expect(counts).toEqual({ train: { 狗: 1, 猫: 1 } });
  });

  it('in lists of one are read, of several refused with their count', async () => {
    const name = 'metadata.jsonl';
    const one = lines({ file_name: 'i/1.jpg', labels: ['a'] }, { file_name: 'i/2.jpg', labels: ['b'] });
    expect((await table(one, { name })).counts).toEqual({ train: { a: 1, b: 1 } });
    const two = lines({ file_name: 'i/1.jpg', labels: ['a', 'b'] }, { file_name: 'i/2.jpg', labels: ['b'] });
    const { message } = await table(two, { name });
    expect(message).toMatch(
      /1 of 2 rows have several labels in column `labels`.*\n.*JSON\.parse\(row\["labels"\]\)\[0\]/,
    );
    expect((await table(two, { name, labelOf: (row) => JSON.parse(row['labels']!)[0] })).counts).toEqual({
      train: { a: 1, b: 1 },
    });
  });

  it('in objects: the message says how to take the name', async () => {
    const rows = lines(
      { file_name: 'i/1.jpg', label: { id: 0, name: 'a' } },
      { file_name: 'i/2.jpg', label: { name: 'b' } },
    );
    const { message } = await table(rows, { name: 'metadata.jsonl' });
    expect(message).toMatch(/holds JSON objects, not classes.*\n.*JSON\.parse\(row\["label"\]\)\["name"\]/);
  });

  it.each([
    ['captions', { text: 'A cat.' }, { text: 'A dog.' }],
    ['boxes', { objects: { bbox: [[1, 2, 3, 4]] } }, { objects: { bbox: [] } }],
  ])('are not %s', async (_, first, second) => {
    const rows = lines({ file_name: 'i/1.jpg', ...first }, { file_name: 'i/2.jpg', ...second });
    expect((await table(rows, { name: 'metadata.jsonl' })).message).toMatch(/which column holds the class\?/);
  });

  it('of a text column that repeats are classes', async () => {
    const text = 'file,text\n1.jpg,cat\n2.jpg,cat\n3.jpg,cat\n4.jpg,dog\n';
    const images = ['1.jpg', '2.jpg', '3.jpg', '4.jpg'];
    expect((await table(text, { images })).counts).toEqual({ train: { cat: 3, dog: 1 } });
  });

  it('of a new value in nearly each row are a doubt', async () => {
    const images = Array.from({ length: 24 }, (_, i) => `i/${i}.jpg`);
    const text = `f,label\n${images.map((_, i) => `${i}.jpg,age ${i}`).join('\n')}`;
    expect((await table(text, { images })).warnings).toMatch(/24 classes for 24 images/);
  });

  it('of several words that are labels too may be kept whole, as the message says', async () => {
    const text = 'f,labels\n1.jpg,red fox\n2.jpg,red\n3.jpg,fox\n';
    expect((await table(text)).message).toMatch(/Where each is one name: `labelOf: \(row\) => row\["labels"\]`/);
    expect((await table(text, { labelOf: (row) => row['labels'] })).counts!['train']).toHaveProperty('red fox', 1);
  });
});

describe('columns of splits', () => {
  it('with a value that is none are asked about, not ignored', async () => {
    const text = 'f,label,split\n1.jpg,a,train\n2.jpg,a,extra\n3.jpg,a,test\n';
    expect((await table(text)).message).toMatch(
      /row 2: "extra" in column `split` is no split\n.*splits: { "extra": 'test' }/,
    );
    expect((await table(text, { splits: { extra: 'test' } })).counts).toEqual({ train: { a: 1 }, test: { a: 2 } });
  });

  it.each(['fold', 'partition', 'is_test'])('called %s and counted are told, and used if said', async (column) => {
    const text = `f,label,${column}\n1.jpg,a,0\n2.jpg,b,0\n3.jpg,a,1\n`;
    const { counts, warnings } = await table(text);
    expect(counts).toEqual({ train: { a: 2, b: 1 } });
    expect(warnings).toContain(`column \`${column}\` (\`0\`, \`1\`) may divide the images and is not used`);
    const said = { splitColumn: column, splits: { 0: 'train', 1: 'test' } } as const;
    expect((await table(text, said)).counts).toEqual({ train: { a: 1, b: 1 }, test: { a: 1, b: 0 } });
  });

  it('are no classes', async () => {
    expect((await table('image_id,partition\n1.jpg,0\n2.jpg,1\n')).message).toMatch(/which column holds the class/);
  });
});
