import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TransferError } from '../../src/errors.js';
import { googleDigests } from '../../src/transfer/digests.js';
import {
  type DownloadProgress,
  type DownloadRequest,
  type DownloadResult,
  downloadFile,
} from '../../src/transfer/download-file.js';
import { collectGarbage } from '../collect-garbage.js';
import { type Misbehaviour, type StoredFile, serveFile } from '../servers/file-storage.js';
import { answer, hangUp, ScriptedServer } from '../servers/scripted-server.js';

const content = randomBytes(1_000_000);
const other = randomBytes(1_000_000);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const ETAG = { etag: '"one"' };

let base: string;
let dir: string;
let count = 0;
let server: ScriptedServer;
let file: StoredFile;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'download-file-'));
});
afterAll(() => rm(base, { recursive: true }));
beforeEach(async () => {
  dir = join(base, String(count++));
  file = { content, ...ETAG };
  server = await ScriptedServer.start((request, response) => serveFile(file)(request, response));
});
afterEach(() => server.close());

function download(options: Partial<DownloadRequest> = {}): Promise<DownloadResult> {
  return downloadFile({
    url: `${server.url}/file?signature=secret`,
    path: join(dir, 'file.bin'),
    readDigests: googleDigests,
    silenceTimeoutMs: 200,
    ...options,
    retry: { baseDelayMs: 1, ...options.retry },
  });
}

async function failure(options: Partial<DownloadRequest> = {}): Promise<TransferError> {
  const error = await download(options).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(TransferError);
  expect((error as TransferError).message).not.toContain('secret');
  return error as TransferError;
}

const next = (wrong: Misbehaviour, stored: StoredFile = file): unknown => server.script.push(serveFile(stored, wrong));
const arrived = (): Promise<Buffer> => readFile(join(dir, 'file.bin'));
const ranges = (): (string | undefined)[] => server.requests.map(({ headers }) => headers.range);
/** Where a cut leaves off is not certain: fetch may drop what it had not yet handed over. */
const asked = (): string[] => ranges().map((range) => (range === undefined ? 'all' : 'rest'));

/** The right bytes under the final name, and nothing else in the folder. */
async function expectWhole(expected: Buffer = content): Promise<void> {
  expect((await arrived()).equals(expected)).toBe(true);
  expect(await readdir(dir)).toEqual(['file.bin']);
}

describe('an undisturbed download', () => {
  it('checks size and digest, reports progress and replaces what was there', async () => {
    await rm(dir, { recursive: true, force: true });
    const seen: DownloadProgress[] = [];
    const result = await download({ onProgress: (progress) => seen.push(progress) });
    expect(result).toEqual({
      path: join(dir, 'file.bin'),
      size: 1_000_000,
      digest: { name: 'md5', value: createHash('md5').update(content).digest('hex') },
      resumedFrom: 0,
      attempts: 1,
    });
    expect(seen[0]).toEqual({ received: 0, total: 1_000_000, resumedFrom: 0 });
    expect(seen.at(-1)).toEqual({ received: 1_000_000, total: 1_000_000, resumedFrom: 0 });
    expect(server.requests[0]!.headers['accept-encoding']).toBe('identity');
    await expectWhole();
    file = { content: other };
    expect((await download({ digests: { sha256: sha256(other) } })).digest?.name).toBe('sha256');
    await expectWhole(other);
  });

  it('takes a body of unknown length, and an empty one', async () => {
    next({ chunked: true });
    await download();
    await expectWhole();
    file = { content: Buffer.alloc(0) };
    expect((await download()).size).toBe(0);
    await expectWhole(Buffer.alloc(0));
  });
});

describe('a transfer that is cut', () => {
  it('ends with the right bytes, wherever it is cut', { timeout: 30_000 }, async () => {
    let [cuts, continued] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: content.length - 1 }), fc.boolean(), async (cutAt, chunked) => {
        dir = join(base, String(count++));
        server.requests.length = 0;
        next({ cutAt, chunked });
        const result = await download();
        expect(result.attempts).toBe(2);
        await expectWhole();
        cuts++;
        if (ranges()[1]) continued++;
      }),
      { numRuns: 20 },
    );
    expect(cuts).toBe(20);
    expect(continued).toBeGreaterThan(10);
  });

  it('goes on after twenty cuts in a row', async () => {
    const offsets = Array.from({ length: 20 }, (_, i) => Math.floor((i + Math.random()) * 50_000));
    for (const cutAt of offsets) next({ cutAt });
    const result = await download();
    expect(result.attempts).toBe(21);
    const starts = ranges().map((range) => Number(/\d+/.exec(range ?? '0')![0]));
    for (const [i, offset] of offsets.entries()) {
      expect(starts[i + 1]).toBeLessThanOrEqual(offset);
      expect(starts[i + 1]).toBeGreaterThanOrEqual(starts[i]!);
    }
    expect(starts.at(-1)).toBeGreaterThan(800_000);
    await expectWhole();
  });

  it('gives up when attempts bring nothing', async () => {
    for (let i = 0; i < 4; i++) next({ cutAt: 5000 });
    const error = await failure({ retry: { maxAttempts: 3 } });
    expect(error.message).toMatch(/gave up after 3 attempts/);
    expect(server.requests).toHaveLength(3);
  });

  it('goes on after an answer that ends too early, as if it were whole', async () => {
    file = { content, ...ETAG, hash: false };
    next({ endAt: 200_000 });
    next({ endAt: 500_000 });
    // The size is the caller's to know at first; a part of the file tells it.
    expect((await download({ expectedSize: content.length })).attempts).toBe(3);
    expect(ranges()).toEqual([undefined, 'bytes=200000-', 'bytes=500000-']);
    await expectWhole();
  });

  it('goes on after silence', async () => {
    next({ stallAt: 300_000 });
    await download();
    expect(ranges()).toEqual([undefined, 'bytes=300000-']);
    await expectWhole();
  });

  it('is continued by a later call, and by none for another source', async () => {
    next({ cutAt: 400_000 });
    await failure({ retry: { maxAttempts: 1 } });
    expect((await readdir(dir)).sort()).toEqual(['.file.bin.partial', '.file.bin.partial.json']);
    expect(await readFile(join(dir, '.file.bin.partial.json'), 'utf8')).not.toContain('secret');
    const { resumedFrom } = await download();
    expect(resumedFrom).toBeGreaterThan(0);
    expect(ranges()).toEqual([undefined, `bytes=${resumedFrom}-`]);
    await expectWhole();

    next({ cutAt: 400_000 });
    await failure({ retry: { maxAttempts: 1 } });
    expect((await download({ source: 'something else' })).resumedFrom).toBe(0);
    expect(ranges().at(-1)).toBeUndefined();
  });

  it('is not continued from bytes whose note is lost or broken', async () => {
    for (const note of ['', '{"source": 1}', undefined]) {
      next({ cutAt: 400_000 });
      await failure({ retry: { maxAttempts: 1 } });
      const path = join(dir, '.file.bin.partial.json');
      if (note === undefined) await rm(path);
      else await writeFile(path, note);
      expect((await download()).resumedFrom).toBe(0);
      await expectWhole();
    }
  });

  it('keeps what has arrived when the signal stops it', async () => {
    next({ stallAt: 200_000 });
    const controller = new AbortController();
    const reason = new Error('enough');
    const watch = setInterval(async () => {
      const arrived = await stat(join(dir, '.file.bin.partial')).catch(() => undefined);
      if (arrived && arrived.size > 100_000) controller.abort(reason);
    }, 5);
    await expect(download({ signal: controller.signal, silenceTimeoutMs: 60_000 })).rejects.toBe(reason);
    clearInterval(watch);
    expect((await download()).resumedFrom).toBeGreaterThan(100_000);
    await expectWhole();
  });
});

describe('a server that does not do as it is asked', () => {
  /** Cuts once, then answers the request for the rest as given. */
  async function afterCut(wrong: Misbehaviour, stored: StoredFile = file): Promise<DownloadResult> {
    next({ cutAt: 300_000 });
    next(wrong, stored);
    file = stored;
    return download();
  }

  it('sends everything instead of the rest', async () => {
    expect((await afterCut({ ignoreRange: true })).attempts).toBe(2);
    await expectWhole();
  });

  it('sends another part', async () => {
    await afterCut({ shiftRange: 10 });
    expect(asked()).toEqual(['all', 'rest', 'all']);
    await expectWhole();
  });

  it('claims another length', async () => {
    await afterCut({ wrongTotal: 5 });
    expect(asked()).toEqual(['all', 'rest', 'all']);
    await expectWhole();
  });

  it('sends a part that nobody asked for', async () => {
    server.script.push(answer(206, 'part', { 'content-range': 'bytes 0-3/1000000' }));
    await download();
    await expectWhole();
  });

  it('has another file now', async () => {
    // It honours If-Range: everything comes.
    await afterCut({}, { content: other, etag: '"two"' });
    expect(server.requests[1]!.headers['if-range']).toBe('"one"');
    await expectWhole(other);
  });

  it.each([
    [
      'Last-Modified',
      { lastModified: 'Tue, 03 Feb 2026 10:00:00 GMT' },
      { lastModified: 'Wed, 04 Feb 2026 10:00:00 GMT' },
    ],
    ['a weak ETag', { etag: 'W/"one"' }, { etag: 'W/"two"' }],
    ['the digest alone', {}, {}],
  ])('has another file now, told by %s', async (_what, before, after) => {
    file = { content, ...before };
    await afterCut({}, { content: other, ...after });
    expect(asked()).toEqual(['all', 'rest', 'all']);
    await expectWhole(other);
  });

  it('says nothing by which the file could be recognised', async () => {
    file = { content, hash: false };
    next({ cutAt: 300_000 });
    expect((await download()).digest).toBeUndefined();
    expect(ranges()).toEqual([undefined, undefined]);
    await expectWhole();
  });

  it('has fewer bytes than are here already', async () => {
    const short = { content: content.subarray(0, 1000), etag: '"one"' };
    await afterCut({}, short);
    expect(asked()).toEqual(['all', 'rest', 'all']);
    await expectWhole(short.content);
  });

  it('damages the bytes', async () => {
    next({ damage: true });
    expect((await download()).attempts).toBe(2);
    await expectWhole();
    for (let i = 0; i < 3; i++) next({ damage: true });
    const error = await failure({ retry: { maxAttempts: 3 } });
    expect(error.message).toContain('the file arrived damaged: md5');
    // What was there before is still there.
    await expectWhole();
  });

  it('sends another file than expected', async () => {
    expect((await failure({ expectedSize: 10, retry: { maxAttempts: 2 } })).message).toContain(
      'the server offers 1000000 bytes, 10 were expected',
    );
    expect((await failure({ digests: { sha256: sha256(other) }, retry: { maxAttempts: 2 } })).details).toMatchObject({
      name: 'sha256',
      expected: sha256(other),
      received: sha256(content),
    });
    await expect(readdir(dir)).resolves.toEqual([]);
  });

  it('sends a compressed body, or no file at all', async () => {
    server.script.push(answer(200, 'x', { 'content-encoding': 'br' }), answer(204));
    expect((await failure()).message).toContain('content encoding br where a file was expected');
    expect((await failure()).message).toContain('status 204 where a file was expected');
    const page = answer(200, '<html>', { 'content-type': 'text/html; charset=utf-8' });
    server.script.push(page);
    expect((await failure({ suspectTypes: ['text/html'] })).message).toContain(
      'text/html came where a file was expected',
    );
  });
});

describe('addresses that expire', () => {
  it('are asked for again', async () => {
    let given = 0;
    const url = async (): Promise<string> => `${server.url}/file?n=${++given}`;
    server.script.push(answer(403, 'expired'), answer(400, 'expired'), hangUp);
    expect((await download({ url, source: 'x' })).attempts).toBe(4);
    expect(server.requests.map(({ query }) => query.get('n'))).toEqual(['1', '2', '3', '4']);
    await expectWhole();
  });

  it('are asked for a bounded number of times', async () => {
    const url = async (): Promise<string> => `${server.url}/file`;
    server.script.push(...Array.from({ length: 9 }, () => answer(403)));
    const error = await failure({ url, source: 'x', retry: { maxAttempts: 4 } });
    expect(error.message).toMatch(/the server answered 403 Forbidden; gave up after 4 attempts/);
    expect(server.requests).toHaveLength(4);
  });

  it('need a name for what is behind them', async () => {
    await expect(downloadFile({ url: async () => server.url, path: join(dir, 'x') })).rejects.toThrow(
      'needs a `source`',
    );
  });
});

it('needs no more memory for a big file', { timeout: 60_000 }, async () => {
  const size = 64 * 1024 * 1024;
  const piece = randomBytes(1024 * 1024);
  const held = (): number => {
    collectGarbage();
    return process.memoryUsage().arrayBuffers;
  };
  const before = held();
  let most = 0;
  let looks = 0;
  server.script.push((_request, response) => {
    response.writeHead(200, { 'content-length': String(size) });
    let sent = 0;
    const go = (): void => {
      while (sent < size) {
        sent += piece.length;
        if (sent % (8 * piece.length) === 0) {
          looks++;
          most = Math.max(most, held() - before);
        }
        if (!response.write(piece)) {
          response.once('drain', go);
          return;
        }
      }
      response.end();
    };
    go();
  });
  expect((await download()).size).toBe(size);
  expect(looks).toBe(8);
  expect(most).toBeLessThan(32 * 1024 * 1024);
  await rm(join(dir, 'file.bin'));
});
