import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readTable } from '../../src/data/csv.js';
import { ImageFolder } from '../../src/data/image-folder.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { loadFolder, loadTable, plant } from './image-tree.js';

let base: string;
let dir: string;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'image-table-'));
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(() => {
  dir = join(base, String(count++));
});

const IMAGES = ['img/1.png', 'img/2.png', 'img/3.png'];

async function read(table: string, options?: Parameters<typeof loadTable>[2], name = 'labels.csv') {
  await plant(dir, [...IMAGES, `${name}=${table}`]);
  return loadTable(dir, name, options);
}

describe('readTable', () => {
  const rows = async (text: string, name = 't.csv', options = {}) => {
    await plant(dir, [`${name}=${text}`]);
    const { columns, rows: found } = await readTable(join(dir, name), options);
    return [columns, found.map((row) => columns.map((column) => row[column]))];
  };

  it.each([
    ['line ends of Windows and a byte order mark', '\ufeffa,b\r\n1,2\r\n', [['a', 'b'], [['1', '2']]]],
    ['old line ends', 'a,b\r1,2\r', [['a', 'b'], [['1', '2']]]],
    [
      'quotes, doubled ones, commas and line ends in them',
      'a,b\n"x, ""y""","1\n2"\n',
      [['a', 'b'], [['x, "y"', '1\n2']]],
    ],
    ['semicolons', 'a;b\n1,5;2\n', [['a', 'b'], [['1,5', '2']]]],
    ['tabs', 'a\tb\n1 2\t3\n', [['a', 'b'], [['1 2', '3']]]],
    ['empty lines and short rows', 'a,b,c\n\n1,2\n', [['a', 'b', 'c'], [['1', '2', '']]]],
    ['an index without a name', ',a\n0,x\n', [['0', 'a'], [['0', 'x']]]],
    ['an empty quoted field', 'a,b\n"",x\n', [['a', 'b'], [['', 'x']]]],
  ])('%s', async (_what, text, right) => {
    expect(await rows(text)).toEqual(right);
  });

  it('JSON Lines, a JSON list, spaces, no line of names', async () => {
    expect(await rows('{"a":1,"b":"x"}\n\n{"a":null,"c":[1]}', 't.jsonl')).toEqual([
      ['a', 'b', 'c'],
      [
        ['1', 'x', ''],
        ['', '', '[1]'],
      ],
    ]);
    expect(await rows('[{"a":"1"}]', 't.json')).toEqual([['a'], [['1']]]);
    expect(await rows('x.png  cat\ny.png dog\n', 't.txt', { header: false, separator: ' ' })).toEqual([
      ['0', '1'],
      [
        ['x.png', 'cat'],
        ['y.png', 'dog'],
      ],
    ]);
  });

  it.each([
    ['a,b\n1,2,3\n', 't.csv', /line 2: 3 fields where 2 were expected/],
    ['a,b\n"1,2\n', 't.csv', /line 2: a quote that is never closed/],
    ['a,a\n1,2\n', 't.csv', /two columns are called "a"/],
    ['', 't.csv', /the table is empty/],
    ['{"a":1}\n{', 't.jsonl', /line 2: no JSON/],
    ['[1]', 't.json', /line 1: expected an object/],
    ['{}', 't.json', /expected a list of objects/],
    ['PAR1xxxx', 't.csv', /a Parquet file/],
  ])('refuses %j', async (text, name, message) => {
    const error = await rows(text, name).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(message);
  });
});

describe('files of a table', () => {
  it.each([
    ['paths below the table', 'f,label\nimg/1.png,a\nimg\\2.png,b\n./img/3.png,a\n'],
    ['names', 'f,label\n1.png,a\n2.png,b\n3.png,a\n'],
    ['ids', 'f,label\n1,a\n2,b\n3,a\n'],
    [
      'paths of another machine',
      'f,label\n/kaggle/input/x/img/1.png,a\n/kaggle/input/x/img/2.png,b\n/kaggle/input/x/img/3.png,a\n',
    ],
    ['another ending and another case', 'f,label\nIMG/1.jpg,a\n2.JPG,b\n3.PNG,a\n'],
  ])('are found by %s', async (_what, table) => {
    expect(await read(table)).toEqual({ counts: { train: { a: 2, b: 1 } }, warnings: '', message: '' });
  });

  it('that are missing, repeated, unlabelled, unreadable or without a row are counted and named', async () => {
    await plant(dir, ['img/7.dcm=x', 'img/8.png', 'other/9.png']);
    const { counts, warnings } = await read('f,label\n1.png,a\n1.png,a\n2.png,\n3.png,b\n4.png,b\n5.png,a\n7.dcm,a\n');
    expect(counts).toEqual({ train: { a: 1, b: 1 } });
    expect(warnings).toMatch(/2 of 7 rows name files that are not there; they are left out, e\.g\. `4\.png`, `5\.png`/);
    expect(warnings).toMatch(/1 of 7 rows name files that are no readable images.*`7\.dcm`/);
    expect(warnings).toMatch(/1 of 7 rows have no label; they are left out, e\.g\. `2\.png`/);
    expect(warnings).toMatch(/1 rows repeat an earlier one/);
    expect(warnings).toMatch(/3 images are named by no row and left out \(img: 2, other: 1\)/);
  });

  it('contradicting rows, cells that fit several files, and tables of other images are refused', async () => {
    expect((await read('f,label\n1.png,a\n1.png,b\n')).message).toMatch(
      /1\.png: row 1 of labels\.csv says "a" \(train\), row 2 of labels\.csv says "b"/,
    );
    await plant(dir, ['more/1.png', 'labels.csv=f,label\n1.png,a\n']);
    expect((await loadTable(dir, 'labels.csv')).message).toMatch(
      /"1\.png" may be img\/1\.png or more\/1\.png\n.*imageDir/,
    );
    expect((await loadTable(dir, 'labels.csv', { imageDir: join(dir, 'img') })).counts).toEqual({ train: { a: 1 } });
    await plant(dir, ['labels.csv=f,label\nx.png,a\n']);
    expect((await loadTable(dir, 'labels.csv')).message).toMatch(
      /no column names images of this folder; columns: `f`, `label`/,
    );
    expect((await loadTable(dir, 'labels.csv', { fileColumn: 'f' })).message).toMatch(
      /none of 1 files of column `f` is there/,
    );
  });
});

describe('labels of a table', () => {
  it.each([
    ['by usual names', 'id,width,label\n1,5,a\n2,5,b\n3,6,a\n', {}],
    ['by the only other column', 'id,species name\n1,a\n2,b\n3,a\n', {}],
    ['by name', 'id,x,y z\n1,p,a\n2,p,b\n3,q,a\n', { labelColumn: 'y z' }],
    ['by position', 'id,x,z\n1,p,a\n2,p,b\n3,q,a\n', { labelColumn: 2 }],
    ['by one column a class', 'id,a,b,c\n1,1,0,0\n2,0.0,1.0,0.0\n3,1,0,0\n', {}],
    ['by some of such columns', 'id,old,a,b\n1,1,1,0\n2,0,0,1\n3,1,1,0\n', { labelColumn: ['a', 'b'] }],
    [
      'by a function',
      'id,x\n1,a-1\n2,b-1\n3,a-2\n',
      { labelOf: (row: Readonly<Record<string, string>>) => row['x']!.slice(0, 1) },
    ],
    ['as text where numbers say the same', 'id,class id,class name\n1,0,a\n2,1,b\n3,0,a\n', {}],
  ])('are found %s', async (_what, table, options) => {
    expect(await read(table, options)).toEqual({ counts: { train: { a: 2, b: 1 } }, warnings: '', message: '' });
  });

  it.each([
    [
      'id,label\n1,a|b\n2,a\n3,b\n',
      /1 of 3 rows have several labels in column `label`, e\.g\. "a\|b".*\n.*labelOf: \(row\) => row\["label"\]\.includes\("\|"\)/,
    ],
    ['id,label\n1,a b\n2,a\n3,b\n', /1 of 3 rows have several labels/],
    [
      'id,a,b,c\n1,1,1,0\n2,0,1,0\n3,0,0,1\n',
      /1 of 3 rows have several labels in columns `a`, `b`, `c`, e\.g\. "a, b"/,
    ],
    ['id,label\n1,0.52\n2,0.7\n3,0.1\n', /column `label` holds measures such as 0\.52, not classes/],
    ['id,class,label\n1,a,x\n2,a,y\n3,b,x\n', /the classes may be in `class` or in `label`\n.*labelColumn: "class"/],
    ['id,height,width\n1,5,7\n2,5,8\n3,6,9\n', /which column holds the class\? Columns: `id`, `height`, `width`/],
    ['id,label\n1,\n2,\n3,\n', /which column holds the class/],
  ])('are refused in %j', async (table, message) => {
    expect((await read(table)).message).toMatch(message);
  });

  it('of JSON may be no lists', async () => {
    const table = '{"file_name":"img/1.png","label":["a","b"]}\n{"file_name":"img/2.png","label":["a"]}\n';
    expect((await read(table, {}, 'x.jsonl')).message).toMatch(/several labels in column `label`/);
  });

  it('that are numbers are sorted as such, and named by a JSON file beside, by `classes`, or not at all', async () => {
    const table = 'id,label\n1,10\n2,9\n3,10\n';
    const plain = await read(table);
    expect(plain.counts).toEqual({ train: { 9: 1, 10: 2 } });
    expect(plain.warnings).toMatch(/the classes are numbers \(`9`, `10`\)/);
    await plant(dir, ['names.json={"nine":9,"ten":10,"eleven":11}']);
    const named = await ImageFolder.fromTable(join(dir, 'labels.csv'), { onWarning: () => {} });
    expect([named.classNames, named.train.labels]).toEqual([
      ['nine', 'ten'],
      [0, 1, 1],
    ]);
    await plant(dir, ['other.json={"9":"IX","10":"X"}']);
    expect((await loadTable(dir, 'labels.csv')).warnings).toMatch(/all give names to the numbers; none is used/);
    expect((await read('id,label\n1,1.0\n2,0.0\n3,1.0\n', { classes: { 0: 'no', 1: 'yes' } })).counts).toEqual({
      train: { no: 1, yes: 2 },
    });
  });
});

describe('splits of a table', () => {
  it('come from a column, from folders, from the table’s name, or from a function', async () => {
    const byColumn = await read('id,label,split\n1,a,train\n2,a,TEST\n3,b,dev\n');
    expect(byColumn.counts).toEqual({ train: { a: 1, b: 0 }, test: { a: 1, b: 0 }, validation: { a: 0, b: 1 } });
    const named = { splitColumn: 'fold', splits: { 0: 'train', 1: 'test' } } as const;
    expect((await read('id,label,fold\n1,a,0\n2,a,1\n3,b,0\n', named)).counts).toEqual({
      train: { a: 1, b: 1 },
      test: { a: 1, b: 0 },
    });
    expect((await read('id,label,fold\n1,a,0\n2,a,2\n3,b,0\n', named)).message).toMatch(
      /row 2: "2" in column `fold` is no split/,
    );
    expect((await read('id,label\n1,a\n2,a\n3,b\n', {}, 'test.csv')).counts).toEqual({ test: { a: 2, b: 1 } });
    const splitOf = (row: Readonly<Record<string, string>>) => (row['id'] === '2' ? 'test' : undefined);
    expect((await read('id,label\n1,a\n2,a\n3,b\n', { splitOf })).counts).toEqual({
      train: { a: 1, b: 1 },
      test: { a: 1, b: 0 },
    });
    await plant(dir, ['train/x1.png', 'test/x2.png', 'all.csv=id,label\nx1,a\nx2,a\n']);
    expect((await loadTable(dir, 'all.csv')).counts).toEqual({ train: { a: 1 }, test: { a: 1 } });
  });

  it('of several tables are those of their names, whatever folder the images are in', async () => {
    await plant(dir, [...IMAGES, 'train.csv=id,label\n1,a\n2,b\n', 'val.csv=id,label\n3,a\n']);
    const right = { train: { a: 1, b: 1 }, validation: { a: 1, b: 0 } };
    expect((await loadTable(dir, ['train.csv', 'val.csv'])).counts).toEqual(right);
    expect((await loadTable(dir, '.')).counts).toEqual(right);
  });
});

describe("Hugging Face's metadata", () => {
  it('goes before folders, at the root and in each split', async () => {
    const jsonl = '{"file_name":"images/1.png","label":"cat"}\n{"file_name":"images/2.png","label":"dog"}\n';
    await plant(dir, ['images/1.png', 'images/2.png', `metadata.jsonl=${jsonl}`]);
    expect(await loadFolder(dir)).toEqual({ counts: { train: { cat: 1, dog: 1 } }, warnings: '', message: '' });
  });

  it('without classes leaves them to the folders, and says so', async () => {
    await plant(dir, [
      'a/1.png',
      'b/2.png',
      'metadata.csv=file_name,text one,text two\na/1.png,x y,z\nb/2.png,u v,w\n',
    ]);
    const loaded = await loadFolder(dir);
    expect(loaded.counts).toEqual({ train: { a: 1, b: 1 } });
    expect(loaded.warnings).toMatch(/metadata\.csv has no column of classes \(`file_name`, `text one`, `text two`\)/);
    expect((await loadTable(dir, '.', { labelColumn: 'text two' })).counts).toEqual({ train: { w: 1, z: 1 } });
  });
});

it('checks its options and paths', async () => {
  await plant(dir, IMAGES);
  await expect(ImageFolder.fromTable(join(dir, 'no.csv'))).rejects.toThrow(
    /no\.csv: cannot read the table: no such file/,
  );
  await expect(ImageFolder.fromTable([])).rejects.toThrow(ConfigError);
  await expect(ImageFolder.fromTable(7 as never)).rejects.toThrow(ConfigError);
  await expect(ImageFolder.fromTable(dir, { labels: 'x' } as never)).rejects.toThrow(/unknown option `labels`/);
  await expect(ImageFolder.fromTable(dir)).rejects.toThrow(/no table that names the images of this folder/);
  await plant(dir, ['t.csv=id,label\n1,a\n']);
  await expect(ImageFolder.fromTable(join(dir, 't.csv'), { labelColumn: 'lable' })).rejects.toThrow(
    /`labelColumn`: there is no column "lable"\n.*Columns: `id`, `label`/,
  );
});
