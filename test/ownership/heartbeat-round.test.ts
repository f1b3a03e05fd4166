import fs from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Beating, beatAll, HELD, LOST, RELEASED } from '../../src/ownership/heartbeat-round.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heartbeat-round-'));
  path = join(folder, '.lock');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const textOf = (token: string): string => `${JSON.stringify({ token, host: 'h', pid: 7 })}\n000000000000\n`;
/** @param ago when it was last looked at, in milliseconds */
function lockSeen(ago: number): Beating {
  const seen = Float64Array.of(Date.now() - ago);
  const base = {
    path,
    token: 'own',
    text: textOf('own'),
    temporary: `${path}.tmp`,
    trace: `${path}.taken-own`,
    staleMs: 60_000,
  };
  return { ...base, seen, state: new Int32Array(new SharedArrayBuffer(4)) };
}
const isSeenNow = ({ seen }: Beating): boolean => Date.now() - seen[0]! < 30_000;
const look = (): Promise<string> => readFile(path, 'utf8');

describe('a sign of life', () => {
  it('is given to the lock of its owner alone, which remembers whose it saw there', async () => {
    const lock = lockSeen(40_000);
    await writeFile(path, textOf('own'));
    beatAll([lock]);
    expect(await look()).not.toBe(textOf('own'));
    expect(isSeenNow(lock)).toBe(true);
    const silent = lockSeen(40_000);
    await writeFile(path, textOf('other'));
    beatAll([silent]);
    expect(await look()).toBe(textOf('other'));
    expect(isSeenNow(silent)).toBe(false);
    expect(silent.state[0]).toBe(LOST);
    // The other one is gone again, and so is the right to what it left.
    await rm(path);
    beatAll([silent]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('makes the lock again where it was removed by hand, as long as nobody can have taken it over', async () => {
    const lock = lockSeen(40_000);
    beatAll([lock]);
    expect(await look()).toBe(textOf('own'));
    expect(isSeenNow(lock)).toBe(true);
    expect(await readdir(folder)).toEqual(['.lock']);
    await rm(path);
    beatAll([lockSeen(61_000)]);
    expect(await readdir(folder)).toEqual([]);
    await writeFile(`${path}.taken-own`, '');
    beatAll([lockSeen(40_000)]);
    expect(await readdir(folder)).toEqual(['.lock.taken-own']);
  });

  it('knows that nobody has a folder that is gone', async () => {
    await rm(folder, { recursive: true });
    const lock = lockSeen(40_000);
    beatAll([lock]);
    expect(isSeenNow(lock)).toBe(true);
    expect(lock.state[0]).toBe(HELD);
    await writeFile(folder, 'a file');
    const second = lockSeen(40_000);
    beatAll([second]);
    expect(isSeenNow(second)).toBe(true);
    await rm(folder);
    await mkdir(folder);
  });

  it('leaves nothing empty on a disk where nothing can be written, and knows that nobody has the lock', () => {
    for (const fault of ['write', 'write and link', 'link']) {
      const lock = lockSeen(40_000);
      const full = (): never => {
        throw Object.assign(new Error('full'), { code: 'ENOSPC' });
      };
      if (fault !== 'link') vi.spyOn(fs, 'writeSync').mockImplementation(full);
      if (fault !== 'write') vi.spyOn(fs, 'linkSync').mockImplementation(full);
      syncBuiltinESMExports();
      try {
        beatAll([lock]);
      } finally {
        vi.restoreAllMocks();
        syncBuiltinESMExports();
      }
      expect(isSeenNow(lock)).toBe(true);
      // Without hard links it is made under its name.
      expect(fs.readdirSync(folder)).toEqual(fault === 'link' ? ['.lock'] : []);
    }
  });

  it('is not given for a lock that was given back, nor to a file that is none', async () => {
    const lock = lockSeen(40_000);
    lock.state[0] = RELEASED;
    beatAll([lock]);
    expect(await readdir(folder)).toEqual([]);
    await writeFile(path, 'garbage');
    const second = lockSeen(40_000);
    beatAll([second]);
    expect(await look()).toBe('garbage');
    expect(second.state[0]).toBe(HELD);
  });
});
