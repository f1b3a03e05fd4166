import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { extractZip } from '../../src/archive/extract-zip.js';
import { DiskError } from '../../src/errors.js';
import { downloadFile } from '../../src/transfer/download-file.js';
import { withLock } from '../../src/transfer/lock.js';
import { makeZip } from '../archive/zip-writer.js';
import { serveFile } from '../servers/file-storage.js';
import { ScriptedServer } from '../servers/scripted-server.js';

/** The disk of the test: what it takes before it is full, and what it says is free. */
const disk = vi.hoisted(() => ({ room: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const { onDisk } = await import('../full-disk.js');
  const real = await importOriginal<typeof import('node:fs/promises')>();
  return { ...real, ...onDisk(disk, real) };
});

const content = Buffer.alloc(500_000, 'content ');
let dir: string;
let server: ScriptedServer;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'disk-full-'));
  server = await ScriptedServer.start(serveFile({ content, etag: '"one"' }));
});
afterAll(async () => {
  await server.close();
  await rm(dir, { recursive: true });
});
beforeEach(() => {
  server.requests.length = 0;
});
afterEach(() => {
  disk.room = Number.POSITIVE_INFINITY;
  disk.free = Number.POSITIVE_INFINITY;
});

async function failure(work: Promise<unknown>): Promise<DiskError> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(DiskError);
  return error as DiskError;
}

it('stops a download before it begins if the file cannot fit', async () => {
  disk.free = 499_999;
  const error = await failure(downloadFile({ url: server.url, path: join(dir, 'a', 'file') }));
  expect(error.message).toContain('no space left on the disk: 500000 bytes are needed, 499999 are free');
  expect(error.details).toMatchObject({ cause: 'ENOSPC', needed: 500_000, free: 499_999 });
  expect(server.requests).toHaveLength(1);
  expect(await readdir(join(dir, 'a'))).toEqual([]);
});

it('keeps what has arrived when the disk fills up, and goes on when there is room', async () => {
  disk.room = 123_456;
  const path = join(dir, 'b', 'file');
  const error = await failure(downloadFile({ url: server.url, path }));
  expect(error.message).toContain('no space left on the disk');
  expect(error.hint).toContain('go on from the bytes received so far');
  expect(server.requests).toHaveLength(1);
  disk.room = Number.POSITIVE_INFINITY;
  expect((await downloadFile({ url: server.url, path })).resumedFrom).toBe(123_456);
  expect((await readFile(path)).equals(content)).toBe(true);
});

it('stops the unpacking, before or on the way', async () => {
  const archive = join(dir, 'archive.zip');
  const { writeFile } = await import('node:fs/promises');
  await writeFile(archive, makeZip([{ name: 'a', content }]));
  disk.free = 1000;
  expect((await failure(extractZip(archive, join(dir, 'c')))).message).toContain('500000 bytes are needed');
  await expect(readdir(join(dir, 'c'))).rejects.toThrow('ENOENT');
  disk.free = Number.POSITIVE_INFINITY;
  disk.room = 1000;
  const error = await failure(extractZip(archive, join(dir, 'c')));
  expect(error.message).toBe(
    `${join(dir, 'c', 'a')}: no space left on the disk\n  hint: ${error.hint}\n  see ${error.helpUrl}`,
  );
});

it('leaves no lock behind that nobody holds', async () => {
  disk.room = 0;
  const path = join(dir, 'd', '.lock');
  await failure(withLock(path, async () => 'in'));
  expect(await readdir(join(dir, 'd'))).toEqual([]);
});
