import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ownIdentity } from '../../src/files/process-identity.js';
import { lockTimes } from '../../src/ownership/owner-lock.js';
import { withLock } from '../../src/transfer/lock.js';

let base: string;
let path: string;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'lock-'));
});
afterAll(() => rm(base, { recursive: true }));
const newPath = (): string => join(base, String(count++), '.lock');
beforeEach(() => {
  path = newPath();
});

/** As a process of this host and container leaves it that was started earlier. */
const lockOf = (pid: number): string => JSON.stringify({ ...ownIdentity(), token: 'old', pid, started: 1 });

it('lets one in at a time and leaves nothing behind', async () => {
  let inside = 0;
  let most = 0;
  let waiting = 0;
  const enter = (i: number): Promise<number> =>
    withLock(
      path,
      async () => {
        most = Math.max(most, ++inside);
        await delay(i % 3);
        inside--;
        return i;
      },
      { pollMs: 2, onWait: () => waiting++ },
    );
  const numbers = Array.from({ length: 30 }, (_, i) => i);
  expect(await Promise.all(numbers.map(enter))).toEqual(numbers);
  expect(most).toBe(1);
  expect(waiting).toBeGreaterThan(20);
  expect(await readdir(join(path, '..'))).toEqual([]);
});

it('opens again after an error', async () => {
  await expect(withLock(path, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  expect(await withLock(path, async () => 'in')).toBe('in');
});

it('takes over from an owner that died', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  // Its number may have been given to another process since, such as this one.
  for (const owner of [pid, process.pid]) {
    await withLock(path, async () => undefined);
    await writeFile(path, lockOf(owner));
    expect(await withLock(path, async () => 'in', { pollMs: 2 })).toBe('in');
  }
});

it('is taken over by one of many', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  for (let round = 0; round < 10; round++) {
    await withLock(path, async () => undefined);
    await writeFile(path, lockOf(pid));
    let [inside, most] = [0, 0];
    const enter = (): Promise<void> =>
      withLock(
        path,
        async () => {
          most = Math.max(most, ++inside);
          await delay(1);
          inside--;
        },
        { pollMs: 1 },
      );
    await Promise.all(Array.from({ length: 8 }, enter));
    expect(most).toBe(1);
  }
  expect(await readdir(join(path, '..'))).toEqual([]);
});

describe('an owner in another container or on another host', () => {
  const times = { ...lockTimes };
  beforeAll(() => void Object.assign(lockTimes, { beatMs: 20, staleMs: 300, pollMs: 5 }));
  afterAll(() => void Object.assign(lockTimes, times));
  const here = ownIdentity();
  const [boot, pids, clock] = (here.space ?? 'a/b/c').split('/');
  const others: Record<string, object> = {
    'of another host': { host: 'elsewhere', pid: 1, space: `0-0-0/${pids}/${clock}`, started: 5 },
    'of another container with the same host name': { ...here, pid: 1, space: `${boot}/pid:[1]/${clock}`, started: 5 },
    'that has the pid and start of this process': { ...here, space: `${boot}/pid:[1]/${clock}` },
    'before a reboot': { ...here, space: `0-0-0/${pids}/${clock}` },
    'whose pid is nobody’s here': { ...here, pid: 4_000_000, space: `${boot}/pid:[1]/${clock}` },
    'that does not say more than host and pid': { host: here.host, pid: 4_000_000 },
  };

  it.concurrent.each(Object.entries(others))(
    '%s: waits as long as it gives signs of life, and then takes over',
    async (_, who) => {
      const path = newPath();
      await withLock(path, async () => undefined);
      const line = JSON.stringify({ token: 'far', ...who });
      let beats = 0;
      await writeFile(path, `${line}\n0\n`);
      // A beat is a changed file; its times may be of any clock.
      const beating = setInterval(() => writeFileSync(path, `${line}\n${++beats}\n`), 20);
      const controller = new AbortController();
      const reason = new Error('enough');
      const wait = withLock(path, async () => 'in', { signal: controller.signal });
      setTimeout(() => controller.abort(reason), 700);
      await expect(wait).rejects.toBe(reason);
      clearInterval(beating);
      expect(await readdir(join(path, '..'))).toEqual(['.lock']);
      const longAgo = new Date(0);
      await utimes(path, longAgo, longAgo);
      expect(await withLock(path, async () => 'in')).toBe('in');
      expect(await readdir(join(path, '..'))).toEqual([]);
    },
  );

  it('that took over from a suspended process: that one is told to stop, and leaves the lock alone', async () => {
    const theirs = JSON.stringify({ token: 'theirs', host: 'elsewhere', pid: 7 });
    const run = withLock(path, async (held) => {
      await writeFile(path, theirs);
      await new Promise((_, reject) => held.addEventListener('abort', () => reject(held.reason)));
    });
    await expect(run).rejects.toThrow(
      'is another process\'s by now: it was taken over by process 7 on host "elsewhere"',
    );
    expect(await readFile(path, 'utf8')).toBe(theirs);
  });

  it('replaces a file that names nobody, such as one that was cut off', async () => {
    const replaced = ['', '{"token":"x"', 'null', '{"token":"x","host":"h","pid":-1}'].map(async (text) => {
      const path = newPath();
      await withLock(path, async () => undefined);
      await writeFile(path, text);
      return withLock(path, async () => 'in');
    });
    expect(await Promise.all(replaced)).toEqual(['in', 'in', 'in', 'in']);
  });
});
