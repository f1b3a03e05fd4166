import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DiskError } from '../../src/errors.js';
import { downloadKaggleDataset } from '../../src/kaggle/download-dataset.js';
import { makeZip } from '../archive/zip-writer.js';
import { KaggleServer } from '../servers/kaggle-server.js';

const disk = vi.hoisted(() => ({ room: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const { onDisk } = await import('../full-disk.js');
  const real = await importOriginal<typeof import('node:fs/promises')>();
  return { ...real, ...onDisk(disk, real) };
});

const zip = makeZip([{ name: 'A/1.bin', content: Buffer.alloc(200_000, 'text') }]);
let server: KaggleServer;
let cacheDir: string;
beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'kaggle-full-'));
  server = await KaggleServer.start({ 1: zip });
});
afterEach(async () => {
  disk.room = Number.POSITIVE_INFINITY;
  disk.free = Number.POSITIVE_INFINITY;
  await server.close();
  await rm(cacheDir, { recursive: true });
});

it.each([
  ['as it turns out', { room: zip.length + 1000, free: Number.POSITIVE_INFINITY }],
  ['as it says before', { room: Number.POSITIVE_INFINITY, free: zip.length + 1000 }],
])('an archive is kept whose files find no room, %s, and they alone are made the next time', async (_how, full) => {
  const download = (): Promise<string> =>
    downloadKaggleDataset('owner/set/1', { cacheDir, endpoint: server.endpoint, login: { token: 'KGAT_x' } });
  Object.assign(disk, full);
  const error = await download().catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(DiskError);
  expect((error as DiskError).message).toContain('no space left on the disk');
  expect(await readdir(join(cacheDir, 'datasets/owner/set'))).toContain('.1.zip');
  Object.assign(disk, { room: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY });
  expect(await readdir(await download())).toEqual(['A']);
  expect(server.storage.requests).toHaveLength(1);
});
