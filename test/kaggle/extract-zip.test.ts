import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix, win32 } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ExtractOptions, extractZip } from '../../src/archive/extract-zip.js';
import { nameFault, nameKey } from '../../src/archive/zip-entry-name.js';
import { DataError, DiskError } from '../../src/errors.js';
import { makeZip, type ZipItem, type ZipShape } from '../archive/zip-writer.js';
import { onPosix } from '../where.js';

let base: string;
let dir: string;
let count = 0;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'extract-zip-'));
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(() => {
  dir = join(base, String(count++), 'out');
});

async function extract(zip: Buffer, options?: ExtractOptions): Promise<string[]> {
  await mkdir(join(dir, '..'), { recursive: true });
  const archive = join(dir, '..', 'archive.zip');
  await writeFile(archive, zip);
  await extractZip(archive, dir, options);
  return (await readdir(dir, { recursive: true })).map((name) => name.replaceAll('\\', '/')).sort();
}

async function refusal(
  items: readonly ZipItem[] | Buffer,
  shape?: ZipShape,
  options?: ExtractOptions,
): Promise<string> {
  const zip = Buffer.isBuffer(items) ? items : makeZip(items, shape);
  const error = await extract(zip, options).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(DataError);
  // Nothing was written beside the target, whatever the names.
  expect((await readdir(join(dir, '..'))).filter((name) => name !== 'out')).toEqual(['archive.zip']);
  return (error as DataError).message;
}

describe('honest archives', () => {
  it('unpacks stored and deflated files, empty ones, and folders', async () => {
    const big = randomBytes(300_000);
    const names = await extract(
      makeZip([
        { name: 'Set/', mode: 0o040755 },
        { name: 'Set/empty.txt', content: '' },
        { name: 'Set/Zähler/a b.bin', content: big },
        { name: 'Set/stored.bin', content: big, method: 0 },
        { name: 'nothing in it/' },
      ]),
    );
    expect(names).toEqual(
      ['Set', 'Set/Zähler', 'Set/Zähler/a b.bin', 'Set/empty.txt', 'Set/stored.bin', 'nothing in it'].sort(),
    );
    expect((await readFile(join(dir, 'Set/Zähler/a b.bin'))).equals(big)).toBe(true);
    expect((await readFile(join(dir, 'Set/stored.bin'))).equals(big)).toBe(true);
    expect((await stat(join(dir, 'nothing in it'))).isDirectory()).toBe(true);
  });

  it('reads the records for archives above 4 GiB', async () => {
    expect(
      await extract(makeZip([{ name: 'a', content: 'text', zip64: true }, { name: 'b' }], { zip64: true })),
    ).toEqual(['a', 'b']);
    expect(await readFile(join(dir, 'a'), 'utf8')).toBe('text');
  });

  it('reads an archive without files', async () => {
    expect(await extract(makeZip([]))).toEqual([]);
  });

  onPosix.it('gives files no permission that the archive asks for', async () => {
    await extract(makeZip([{ name: 'a', content: 'x', mode: 0o104777 }]));
    expect((await stat(join(dir, 'a'))).mode & 0o7111).toBe(0);
  });

  it('tells its progress and stops on a signal', async () => {
    const items = Array.from({ length: 5 }, (_, i) => ({ name: `${i}`, content: 'abc' }));
    const seen: number[] = [];
    await extract(makeZip(items), { onProgress: ({ files }) => seen.push(files) });
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    dir = join(base, 'stopped', 'out');
    const controller = new AbortController();
    const reason = new Error('enough');
    const stop = ({ files }: { files: number }): void => {
      if (files === 2) controller.abort(reason);
    };
    await expect(extract(makeZip(items), { signal: controller.signal, onProgress: stop })).rejects.toBe(reason);
    expect(await readdir(dir)).toHaveLength(2);
  });

  it('leaves a folder alone that is there already', async () => {
    await mkdir(dir, { recursive: true });
    await expect(extract(makeZip([{ name: 'a' }]))).rejects.toThrow(DiskError);
  });
});

describe('names that are refused', () => {
  const cases: [string | Buffer, string][] = [
    ['../evil', '".." in the name'],
    ['a/../../evil', '".." in the name'],
    ['a/..', '".." in the name'],
    ['./a', '"." in the name'],
    ['/etc/evil', 'an absolute name'],
    ['//host/share', 'an absolute name'],
    ['C:/evil', 'a drive letter'],
    ['c:evil', 'a drive letter'],
    ['..\\evil', 'a backslash'],
    ['a\\b', 'a backslash'],
    ['a//b', 'an empty part'],
    ['', 'an empty name'],
    ['a\0.jpg', 'a control character'],
    ['a\nb', 'a control character'],
    [Buffer.from([0x61, 0xff, 0xfe]), 'no valid UTF-8'],
    ['x'.repeat(256), 'more than 255 bytes'],
    ['ä'.repeat(128), 'more than 255 bytes'],
    [`${'d/'.repeat(600)}x`, 'more than 1024 bytes'],
  ];
  it.each(cases)('%j', async (name, why) => {
    expect(await refusal([{ name, content: 'x' }])).toContain(why);
  });

  it('lets no name through that leads out of the folder, on any system', () => {
    const part = fc.oneof(
      fc.constantFrom('..', '.', '', '/', '\\', 'C:', '\\\\host', '~', 'a', 'b.jpg', ' ', '\0', '%2e%2e'),
      fc.string({ maxLength: 4, unit: 'grapheme' }),
    );
    const names = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'));
    let taken = 0;
    fc.assert(
      fc.property(names, (name) => {
        for (const [system, { resolve, sep }] of [
          ['linux', posix],
          ['win32', win32],
        ] as const) {
          if (nameFault(name, system) !== undefined) continue;
          taken++;
          const root = resolve('/target');
          expect(resolve(root, name).startsWith(root + sep)).toBe(true);
        }
      }),
      { numRuns: 3000 },
    );
    expect(taken).toBeGreaterThan(300);
  });

  it('refuses what Windows does not allow there', () => {
    for (const name of ['a/con', 'NUL.txt', 'com1', 'ab:c', 'what?', 'a.', 'a /b', 'x|y']) {
      expect([name, nameFault(name, 'win32')]).toEqual([name, 'a name that Windows does not allow']);
      expect([name, nameFault(name, 'linux')]).toEqual([name, undefined]);
    }
    for (const name of ['console', 'a.b/c d', '.hidden']) expect(nameFault(name, 'win32')).toBeUndefined();
  });

  it('refuses two names for one file', async () => {
    const same = 'the same file as';
    expect(await refusal([{ name: 'a' }, { name: 'a' }])).toContain(same);
    expect(await refusal([{ name: 'D/A.jpg' }, { name: 'd/a.JPG' }])).toContain(same);
    expect(await refusal([{ name: '\u00e4' }, { name: 'a\u0308' }])).toContain(same);
    expect(nameKey('\u00c4/')).toBe(nameKey('a\u0308'));
    expect(await refusal([{ name: 'a', content: 'x', localName: 'b' }])).toContain('two names');
  });

  it('refuses a file where a folder is', async () => {
    expect(await refusal([{ name: 'a' }, { name: 'a/b' }])).toContain('a file below another file');
    expect(await refusal([{ name: 'a/b' }, { name: 'A' }])).toContain('a file below another file');
    expect(await refusal([{ name: 'a' }, { name: 'a/' }])).toContain('a folder and a file');
    expect(await refusal([{ name: 'a/', content: 'x', method: 0 }])).toContain('a folder and a file');
    expect(await refusal([{ name: 'a', mode: 0o040755 }])).toContain('a folder and a file');
  });

  it('shows names of any kind in messages without harm', async () => {
    const message = await refusal([{ name: `\u001b[2J${'x'.repeat(5000)}` }]);
    expect(message).not.toContain('\u001b');
    expect(message.length).toBeLessThan(600);
  });
});

describe('contents that are refused', () => {
  const content = 'some content '.repeat(50);
  const cases: [string, ZipItem, string][] = [
    ['a symbolic link', { name: 'a', content: '/etc/passwd', mode: 0o120777 }, 'a symbolic link'],
    ['a device', { name: 'a', mode: 0o020666 }, 'a device'],
    ['a pipe', { name: 'a', mode: 0o010666 }, 'a device, pipe'],
    ['an encrypted file', { name: 'a', content, flags: 0x801 }, 'an encrypted file'],
    ['a strongly encrypted file', { name: 'a', content, flags: 0x841 }, 'encryption'],
    ['another method', { name: 'a', content, method: 12 }, 'compression method 12'],
    ['a wrong checksum', { name: 'a', content, crc: 1 }, 'the checksum does not match'],
    ['more bytes than declared', { name: 'a', content, size: 100 }, 'more than the 100 bytes declared'],
    ['fewer bytes than declared', { name: 'a', content, size: 10_000 }, '650 of 10000 bytes'],
    ['no deflated data', { name: 'a', content, data: Buffer.from('not deflated') }, 'entry "a": '],
    ['sizes that disagree', { name: 'a', content, method: 0, size: 5 }, 'size mismatch'],
    ['data beyond the end', { name: 'a', content, compressedSize: 100_000 }, 'overflows'],
    ['an offset beyond the end', { name: 'a', content, offset: 0x7fffffff }, 'outside'],
    ['an offset into the data', { name: 'a', content, offset: 7 }, 'signature'],
  ];
  it.each(cases)('%s', async (_what, item, why) => {
    expect(await refusal([item])).toContain(why);
  });

  it('refuses files that share bytes', async () => {
    const inner = makeZip([{ name: 'b', content }]).subarray(0, 400);
    const twice: ZipItem[] = [
      { name: 'a', content },
      { name: 'a', content, offset: 0, localName: 'a' },
    ];
    expect(await refusal(twice.map((item, i) => ({ ...item, name: i ? 'b' : 'a' })))).toMatch(/overlap|two names/);
    // The second header lies inside the data of the first.
    const quoted = makeZip([
      { name: 'a', content: inner, method: 0 },
      { name: 'b', content, offset: 31 },
    ]);
    expect(await refusal(quoted)).toContain('overlap');
  });

  it('refuses data that reach into the directory', async () => {
    const zip = makeZip([{ name: 'a', content: 'x'.repeat(50), method: 0 }], { directoryOffset: 60 });
    expect(await refusal(zip)).toMatch(/signature|overlap/);
    expect(await refusal([{ name: 'a', content, compressedSize: 70, method: 8 }])).toMatch(/overlap|entry "a"/);
  });
});

describe('bombs', () => {
  it('refuses archives that declare too much, before anything is written', async () => {
    const bomb = makeZip([{ name: 'a', content: Buffer.alloc(80 * 1024 * 1024) }]);
    expect(bomb.length).toBeLessThan(100_000);
    expect(await refusal(bomb)).toMatch(/bytes that unpack to 83886080; at most 67108864/);
    await expect(readdir(dir)).rejects.toThrow('ENOENT');
    expect(await refusal([{ name: 'a', content: 'xxxx' }], {}, { maxTotalBytes: 3 })).toContain('unpack to 4');
  });

  it('stops at the declared size when the truth is bigger', async () => {
    const data = makeZip([{ name: 'a', content: Buffer.alloc(80 * 1024 * 1024) }]).subarray(31, -70);
    expect(await refusal([{ name: 'a', size: 1000, data }])).toContain('more than the 1000 bytes declared');
    expect((await stat(join(dir, 'a'))).size).toBeLessThanOrEqual(1000);
  });

  it('refuses more entries than allowed, declared or real', async () => {
    const three = [{ name: 'a' }, { name: 'b' }, { name: 'c' }];
    expect(await refusal(three, {}, { maxEntries: 2 })).toContain('3 entries; at most 2');
    expect(await refusal(three, { entryCount: 2 ** 40, zip64: true })).toContain('1099511627776 entries');
    expect(await refusal(three, { entryCount: 900_000, zip64: true })).toMatch(/signature|outside|longer/);
  });

  it('survives numbers beyond all measure', async () => {
    expect(await refusal([{ name: 'a' }], { zip64: true, zip64Offset: 2n ** 63n })).toContain('outside');
    expect(await refusal([{ name: 'a', zip64: true, size: 2 ** 60 }])).toMatch(/measure|mismatch|unpack/);
    expect(await refusal([{ name: 'a', zip64: true, offset: 2 ** 60, content: 'x' }])).toMatch(/measure|outside/);
  });
});

describe('files that are no zip archive', () => {
  const cases: [string, Buffer, string][] = [
    ['empty', Buffer.alloc(0), 'an empty file'],
    ['one byte', Buffer.from('P'), 'no zip archive'],
    ['a web page', Buffer.from('<!doctype html><title>Sign in</title>'), 'a web page'],
    ['JSON', Buffer.from('{"code": 403}'), 'JSON'],
    ['gzip', gzipSync('x'), 'a gzip file'],
    ['tar', Buffer.concat([Buffer.alloc(257, 97), Buffer.from('ustar'), Buffer.alloc(250)]), 'a tar archive'],
    ['cut off', makeZip([{ name: 'a', content: 'abc' }]).subarray(0, -5), 'truncated'],
    ['junk behind', Buffer.concat([makeZip([{ name: 'a' }]), Buffer.from('junk')]), 'comment'],
  ];
  it.each(cases)('%s', async (_what, content, why) => {
    expect(await refusal(content)).toContain(why);
  });
});
