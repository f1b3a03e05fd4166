import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { ConfigError, DiskError } from '../../src/errors.js';
import { pushFiles, pushFilesSchema } from '../../src/hub/push-files.js';
import { RepoCache } from '../../src/hub/repo-cache.js';
import { parseRepoId } from '../../src/hub/repo-id.js';
import { clashOf, parseRevision, pathFault } from '../../src/hub/safe-names.js';
import { gitSha1, sha256 } from '../servers/hub-server.js';
import { answer } from '../servers/scripted-server.js';
import { onLinux, onPosix } from '../where.js';
import { failure, filesBelow, hubTestBed, ID } from './hub-test-bed.js';

const bed = hubTestBed({ 'config.json': '{}', 'sub/notes.txt': 'notes' });
const repoFolder = (): string => join(bed.cacheDir, 'models--org--model');
const OID = 'a'.repeat(40);

/** What no path may be. */
const LEADING_OUT = [
  '..',
  '..',
  '.',
  'a/../../b',
  'a/..',
  './a',
  'a/./b',
  '/etc/passwd',
  '//host/share',
  '..\\..\\x',
  'C:\\x',
  'C:/x',
  'c:x',
  'a\0b',
  'a\nb',
  'a//b',
  '\ud800',
  'a/',
  '',
  `${'x'.repeat(256)}`,
  `${'x/'.repeat(600)}x`,
];

describe('a revision', () => {
  it('that is no name of one is refused before anything is asked or written', async () => {
    for (const revision of [
      ...LEADING_OUT.slice(0, -3),
      '..%2f..%2fx',
      'a/.hidden',
      'a.lock',
      'a b',
      'x'.repeat(300),
    ]) {
      const error = await failure(bed.download({ revision }));
      expect([revision, error]).toEqual([revision, expect.any(ConfigError)]);
      expect(error.message).toContain('is not the name of a revision');
    }
    expect(bed.server.asked()).toEqual([]);
    expect(await readdir(bed.outer)).toEqual([]);
  });

  it('is refused for an upload and offline too', async () => {
    const options = pushFilesSchema.parse({ revision: '..', token: 'hf_writer', endpoint: bed.server.endpoint });
    await expect(pushFiles(ID, [], options)).rejects.toThrow(/is not the name of a revision/);
    await expect(bed.download({ revision: '..', localFilesOnly: true })).rejects.toThrow(ConfigError);
    expect(bed.server.asked()).toEqual([]);
  });

  it('may have slashes, dots and any script', async () => {
    for (const name of ['main', 'v1.0', 'refs/pr/3', 'feature/x', 'refs/convert/parquet', 'größe', OID, 'a-b_c+d#e']) {
      expect(parseRevision(name)).toBe(name);
    }
    bed.server.commit(ID, { 'config.json': '{"a":1}' }, 'feature/x');
    const folder = await bed.download({ revision: 'feature/x' });
    expect(await readFile(join(folder, 'config.json'), 'utf8')).toBe('{"a":1}');
    expect(await bed.download({ revision: 'feature/x', localFilesOnly: true })).toBe(folder);
  });
});

describe('a path in a list', () => {
  const entry = (path: unknown): object => ({ type: 'file', path, size: 1, oid: OID });

  it('that leads out of the folder, or is none, is refused before anything is written', async () => {
    for (const path of [...LEADING_OUT, 5, null, ['a'], { a: 1 }]) {
      bed.server.fault(/tree/, answer(200, [{ type: 'file', path: 'good.txt', size: 1, oid: OID }, entry(path)]));
      const error = await failure(bed.download());
      expect([path, error.message]).toEqual([path, expect.stringContaining('an entry that makes no sense')]);
      expect(error.message.length).toBeLessThan(600);
    }
    expect(await filesBelow(bed.outer)).toEqual([]);
    expect(bed.server.asked().filter((path) => path.includes('/resolve/'))).toEqual([]);
  });

  it('is refused by the rules of Windows there', () => {
    for (const path of ['CON', 'a/nul.txt', 'com1', 'a.', 'a ', 'ab:c', 'a?', 'x/LPT9.json']) {
      expect(pathFault(path)).toBeUndefined();
    }
    vi.stubGlobal('process', { ...process, platform: 'win32' });
    try {
      for (const path of ['CON', 'a/nul.txt', 'com1', 'a.', 'a ', 'ab:c', 'a?', 'x/LPT9.json']) {
        expect([path, pathFault(path)]).toEqual([path, 'a name that Windows does not allow']);
      }
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('that is only odd is taken as it is', async () => {
    const odd = { '..%2fx': 'a', '...': 'b', 'a..b/c': 'c', '.hidden': 'd', 'größe 1.txt': 'e', __proto__: 'f' };
    bed.server.commit(ID, odd);
    const { __proto__: _, ...files } = odd;
    const folder = await bed.download({ ignorePatterns: '__proto__' });
    for (const [name, text] of Object.entries(files)) expect(await readFile(join(folder, name), 'utf8')).toBe(text);
  });

  it('has digests that are digests, and sizes that are sizes', async () => {
    const bad = [
      { oid: '../../evil' },
      { oid: `${'a'.repeat(39)}/` },
      { lfs: { oid: '../../../evil', size: 1 } },
      { lfs: { oid: sha256(Buffer.from('x')).toUpperCase(), size: 1 } },
      { xetHash: '..' },
      { size: -1 },
      { size: 1e300 },
      { size: '1' },
      { lfs: { oid: 'a'.repeat(64), size: -5 } },
    ];
    for (const part of bad) {
      bed.server.fault(/tree/, answer(200, [{ ...entry('x'), ...part }]));
      await expect(bed.download()).rejects.toThrow(/an entry that makes no sense/);
    }
    expect(await filesBelow(bed.outer)).toEqual([]);
  });

  it('comes once', async () => {
    bed.server.fault(/tree/, answer(200, [entry('x'), { ...entry('x'), size: 2 }]));
    await expect(bed.download()).rejects.toThrow(/an entry that comes twice/);
  });
});

describe('a commit', () => {
  it('has 40 digits, wherever it comes from', async () => {
    for (const sha of ['..', '', 5, null, `${'a'.repeat(40)}/..`, 'A'.repeat(40), 'a'.repeat(41)]) {
      bed.server.fault(/revision/, answer(200, { sha }));
      await expect(bed.download()).rejects.toThrow(/does not name the commit/);
    }
    await mkdir(join(repoFolder(), 'refs'), { recursive: true });
    for (const text of ['../../../..', '..', `${OID}/..`, 'x'.repeat(100_000)]) {
      await writeFile(join(repoFolder(), 'refs', 'main'), text);
      await expect(bed.download({ localFilesOnly: true })).rejects.toThrow(/has no revision "main" of it/);
    }
  });
});

describe('files that cannot lie beside each other', () => {
  it('are named, where one is the folder of another', async () => {
    const files = ['a', 'a/b'].map((path) => ({ type: 'file', path, size: 1, oid: OID }));
    bed.server.fault(/tree/, answer(200, files));
    await expect(bed.download()).rejects.toThrow(/"a" is a file and the folder of "a\/b" at once/);
    expect(clashOf(['a/b/c', 'A/b'], true)).toBe('"A/b" is a file and the folder of "a/b/c" at once');
    expect(clashOf(['a/b/c', 'A/b', 'ab', 'a/c'], false)).toBeUndefined();
    // One letter in two forms of Unicode.
    expect(clashOf(['\u00e9', 'E\u0301'], true)).toMatch(/differ by case alone/);
  });

  it('are named, where the disk ignores case', async () => {
    bed.server.commit(ID, { 'Readme.md': 'one', 'README.md': 'two' });
    const ignores = vi.spyOn(RepoCache.prototype, 'ignoresCase').mockResolvedValue(true);
    try {
      const error = await failure(bed.download());
      expect(error.message).toMatch(/"Readme\.md" and "README\.md" differ by case alone, which this disk ignores/);
      expect(error.hint).toContain('ignorePatterns');
      await bed.download({ allowPatterns: ['README.md', 'config.json'] });
    } finally {
      ignores.mockRestore();
    }
  });

  onLinux.it('are taken, where it does not', async () => {
    bed.server.commit(ID, { 'Readme.md': 'one', 'README.md': 'two' });
    const folder = await bed.download();
    expect(await readFile(join(folder, 'Readme.md'), 'utf8')).toBe('one');
    expect(await readFile(join(folder, 'README.md'), 'utf8')).toBe('two');
  });
});

onPosix.describe('links in the cache that lead out of it', () => {
  const outside = (): string => join(bed.outer, 'outside');

  it.each(['snapshots', 'blobs', 'refs', 'trees', 'snapshots/COMMIT', 'snapshots/COMMIT/sub', '../.locks'])(
    '%s: nothing is written through them',
    async (name) => {
      const { oid } = bed.server.head(ID);
      const path = join(repoFolder(), name.replace('COMMIT', oid));
      await mkdir(join(path, '..'), { recursive: true });
      await mkdir(outside());
      await symlink(outside(), path);
      const result = await bed.download().then(
        () => 'done',
        (error: Error) => error,
      );
      expect(await readdir(outside())).toEqual([]);
      const told = result === 'done' ? bed.warnings.join('\n') : String(result);
      expect(told).toContain('a link in the cache leads out of it');
    },
  );

  it('a file that one leads to is not taken for the repository’s, and is fetched', async () => {
    const folder = await bed.download();
    await writeFile(join(bed.outer, 'other'), '[]');
    await rm(join(folder, 'config.json'));
    await symlink(join(bed.outer, 'other'), join(folder, 'config.json'));
    await expect(bed.download({ localFilesOnly: true })).rejects.toThrow(/lack config\.json/);
    await bed.download();
    expect(await readFile(join(folder, 'config.json'), 'utf8')).toBe('{}');
    expect(await readFile(join(bed.outer, 'other'), 'utf8')).toBe('[]');
  });

  it('nor is what arrives written into a file that one leads to', async () => {
    const victim = join(bed.outer, 'victim');
    await writeFile(victim, 'mine');
    const blobs = join(repoFolder(), 'blobs');
    await mkdir(blobs, { recursive: true });
    await symlink(victim, join(blobs, `.${gitSha1(Buffer.from('{}'))}.partial`));
    await expect(bed.download()).rejects.toThrow(DiskError);
    expect(await readFile(victim, 'utf8')).toBe('mine');
  });

  it('but the folder of the repository, or of the cache, may be one', async () => {
    await mkdir(join(bed.outer, 'large-disk', 'model'), { recursive: true });
    await mkdir(bed.cacheDir);
    await symlink(join(bed.outer, 'large-disk', 'model'), repoFolder());
    const folder = await bed.download();
    expect(await readFile(join(folder, 'config.json'), 'utf8')).toBe('{}');
    expect(await bed.download({ localFilesOnly: true })).toBe(folder);
    const cacheDir = join(bed.outer, 'linked-cache');
    await symlink(bed.cacheDir, cacheDir);
    expect(await bed.download({ localFilesOnly: true, cacheDir })).toBe(folder.replace(bed.cacheDir, cacheDir));
  });
});

it('names of repositories lead nowhere', () => {
  for (const id of [
    '..',
    'a/..',
    '../a',
    'a/b/../c',
    '/a',
    'a\0/b',
    'a/b\n',
    'C:/a',
    'a\\b',
    'a%2fb',
    `${'o'.repeat(200)}/a`,
  ]) {
    expect(() => parseRepoId(id)).toThrow(ConfigError);
  }
});
