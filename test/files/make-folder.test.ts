import { existsSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeOutputFolder } from '../../src/files/disk-errors.js';
import { makeFolder, makeFolderSync } from '../../src/files/make-folder.js';
import { onLinux, onPosix } from '../where.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'make-folder-'));
});
afterEach(() => rm(folder, { recursive: true }));

const sync = async (path: string): Promise<void> => makeFolderSync(path);

describe.each([
  ['makeFolder', makeFolder],
  ['makeFolderSync', sync],
])('%s', (_, make) => {
  it('makes what is missing, and nothing where it is there', async () => {
    const path = join(folder, 'a/b/c');
    await make(path);
    expect(existsSync(path)).toBe(true);
    await make(path);
    await make(join(path, 'd/'));
    expect(existsSync(join(path, 'd'))).toBe(true);
  });

  it('refuses a file in the way', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(make(join(folder, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(make(join(folder, 'file/a/b'))).rejects.toThrow(/ENOTDIR|EEXIST|ENOENT/);
  });

  onLinux.it('gives up where the system makes no folders', async () => {
    await expect(make('/proc/ministral-tune')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(make('/proc/ministral-tune/a/b')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  onPosix.it('follows a link to a folder, and refuses one to nothing', async () => {
    await symlink(folder, join(folder, 'link'));
    await make(join(folder, 'link/new'));
    expect(existsSync(join(folder, 'new'))).toBe(true);
    await symlink(join(folder, 'nothing'), join(folder, 'dangling'));
    await expect(make(join(folder, 'dangling'))).rejects.toMatchObject({ code: 'EEXIST' });
  });
});

describe('makeFolder', () => {
  it('names the topmost folder that it made', async () => {
    expect(await makeFolder(join(folder, 'a/b'))).toBe(join(folder, 'a'));
    expect(await makeFolder(join(folder, 'a/b'))).toBeUndefined();
    expect(await makeFolder(join(folder, 'a/c'))).toBe(join(folder, 'a/c'));
  });

  it('may be called by several at once', async () => {
    const path = join(folder, 'a/b/c/d');
    await Promise.all(Array.from({ length: 8 }, () => makeFolder(path)));
    expect(existsSync(path)).toBe(true);
  });
});

onLinux.it('a folder for results that the system does not make is an error that says so', async () => {
  await expect(makeOutputFolder('/proc/ministral-tune', 'test')).rejects.toMatchObject({
    code: 'DISK',
    summary: '/proc/ministral-tune: cannot be written: its folder is not there and cannot be made',
  });
});
