import { lstat, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { snapshotDownload } from '../../src/hub/snapshot-download.js';
import { HubServer, sha256 } from '../servers/hub-server.js';

/** The disk of the test: whether it has links, what it takes before it is full, and what it says is free. */
const disk = vi.hoisted(() => ({ links: true, room: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const { onDisk } = await import('../full-disk.js');
  const real = await importOriginal<typeof import('node:fs/promises')>();
  return {
    ...real,
    ...onDisk(disk, real),
    symlink: async (...given: Parameters<typeof real.symlink>) => {
      if (!disk.links) throw Object.assign(new Error('EPERM: not permitted'), { code: 'EPERM', syscall: 'symlink' });
      return real.symlink(...given);
    },
  };
});

const content = Buffer.alloc(300_000, 'content ');
let server: HubServer;
let cacheDir: string;
beforeAll(async () => {
  server = await HubServer.start();
});
afterAll(() => server.close());
beforeEach(async () => {
  server.reset();
  server.commit('org/model', { 'config.json': '{}', 'a/model.safetensors': content });
  cacheDir = await mkdtemp(join(tmpdir(), 'hub-disk-'));
});
afterEach(async () => {
  Object.assign(disk, { links: true, room: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY });
  await rm(cacheDir, { recursive: true, force: true });
});

const download = (): Promise<string> =>
  snapshotDownload('org/model', { endpoint: server.endpoint, cacheDir, token: false, retryDelayMs: 1 });

it('where links cannot be made, contents are moved, and copied for a second commit', async () => {
  disk.links = false;
  const first = await download();
  expect((await lstat(join(first, 'a/model.safetensors'))).isFile()).toBe(true);
  expect(await readdir(join(cacheDir, 'models--org--model', 'blobs'))).toEqual([]);
  server.api.requests.length = 0;
  await download();
  expect(server.asked()).toHaveLength(1);
  disk.links = true;
  server.commit('org/model', { 'b.txt': 'b' });
  const second = await download();
  disk.links = false;
  server.commit('org/model', { 'c.txt': 'c' });
  const third = await download();
  expect((await lstat(join(third, 'a/model.safetensors'))).isFile()).toBe(true);
  for (const folder of [first, second, third]) {
    expect((await readFile(join(folder, 'a/model.safetensors'))).equals(content)).toBe(true);
  }
});

it('a disk without room is found out before anything is fetched', async () => {
  disk.free = 299_999;
  await expect(download()).rejects.toThrow(/no space left on the disk: 300002 bytes are needed, 299999 are free/);
  expect(server.storage.requests).toHaveLength(0);
});

it('a disk that fills up keeps what has arrived, which then needs no room again', async () => {
  disk.room = 100_000;
  await expect(download()).rejects.toThrow(/no space left on the disk/);
  disk.room = Number.POSITIVE_INFINITY;
  const partial = join(cacheDir, 'models--org--model', 'blobs', `.${sha256(content)}.partial`);
  const { size } = await lstat(partial);
  expect(size).toBeGreaterThan(50_000);
  disk.free = 300_002 - size;
  server.storage.requests.length = 0;
  const folder = await download();
  expect(server.storage.requests[0]!.headers.range).toBe(`bytes=${size}-`);
  expect((await readFile(join(folder, 'a/model.safetensors'))).equals(content)).toBe(true);
});
