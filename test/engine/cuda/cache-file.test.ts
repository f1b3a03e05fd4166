import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  kernelCacheFolder,
  readCacheFile,
  readCheckedFile,
  writeCacheFile,
  writeCheckedFile,
} from '../../../src/engine/cuda/cache-file.js';
import { where } from '../../where.js';

let folder: string;
let before: string | undefined;
beforeEach(async () => {
  before = process.env.MINISTRAL_TUNE_CACHE;
  folder = await mkdtemp(join(tmpdir(), 'cache-'));
  process.env.MINISTRAL_TUNE_CACHE = folder;
});
afterEach(async () => {
  if (before === undefined) delete process.env.MINISTRAL_TUNE_CACHE;
  else process.env.MINISTRAL_TUNE_CACHE = before;
  await rm(folder, { recursive: true });
});

describe('files of the kernel cache', () => {
  it('come back as they were written', () => {
    const path = join(kernelCacheFolder(), 'x.kernel');
    expect(readCheckedFile(path)).toBeUndefined();
    writeCheckedFile(path, Uint8Array.of(1, 2, 3));
    expect(readCheckedFile(path)).toEqual(Uint8Array.of(1, 2, 3));
    writeCacheFile(path, 'text');
    expect(readCacheFile(path)?.toString()).toBe('text');
  });

  it('are as good as none when they are damaged: cut, changed, empty, or not written by us', async () => {
    const path = join(folder, 'x.kernel');
    writeCheckedFile(path, Buffer.alloc(1000, 7));
    const whole = await readFile(path);
    for (const damaged of [
      whole.subarray(0, 900),
      whole.subarray(0, 32),
      whole.subarray(1),
      Buffer.alloc(0),
      Buffer.concat([whole, Buffer.of(0)]),
      Buffer.from(whole.map((byte, i) => (i === 500 ? byte ^ 1 : byte))),
      Buffer.from('\x7fELF and so on, code from an older version of the package'),
    ]) {
      await writeFile(path, damaged);
      expect(readCheckedFile(path)).toBeUndefined();
    }
  });

  it('are not waited for, and not taken from folders, pipes and devices', async () => {
    const path = join(folder, 'x.kernel');
    execFileSync('mkfifo', [path]);
    expect(readCacheFile(path)).toBeUndefined();
    await rm(path);
    await mkdir(path);
    expect(readCacheFile(path)).toBeUndefined();
    await rm(path, { recursive: true });
    await symlink('/dev/zero', path);
    expect(readCacheFile(path)).toBeUndefined();
  });

  where(process.getuid?.() === 0, 'needs root, who alone may give a file to another user').it(
    'are not taken from other users',
    async () => {
      const path = join(folder, 'x.kernel');
      writeCheckedFile(path, Uint8Array.of(1));
      expect(readCheckedFile(path)).toBeDefined();
      execFileSync('chown', ['12345', path]);
      expect(readCheckedFile(path)).toBeUndefined();
    },
  );
});
