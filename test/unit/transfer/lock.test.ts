import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { withLock } from '../../../src/transfer/lock.js';

let base: string;
let path: string;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'lock-'));
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(() => {
  path = join(base, String(count++), '.lock');
});

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
  for (const owner of [pid, process.pid]) {
    await withLock(path, async () => undefined);
    await writeFile(path, JSON.stringify({ token: 'old', pid: owner, host: hostname() }));
    expect(await withLock(path, async () => 'in', { pollMs: 2 })).toBe('in');
  }
});

it('is taken over by one of many', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  for (let round = 0; round < 20; round++) {
    await withLock(path, async () => undefined);
    await writeFile(path, JSON.stringify({ token: 'old', pid, host: hostname() }));
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

it('waits for an owner on another machine as long as it gives signs of life', async () => {
  await withLock(path, async () => undefined);
  await writeFile(path, JSON.stringify({ token: 'far', pid: 1, host: 'elsewhere' }));
  const controller = new AbortController();
  const reason = new Error('enough');
  const wait = withLock(path, async () => 'in', { pollMs: 2, signal: controller.signal });
  setTimeout(() => controller.abort(reason), 50);
  await expect(wait).rejects.toBe(reason);
  const longAgo = new Date(Date.now() - 400_000);
  await utimes(path, longAgo, longAgo);
  expect(await withLock(path, async () => 'in', { pollMs: 2 })).toBe('in');
});
