import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TransferError } from '../../src/errors.js';
import { type DownloadRequest, downloadFile } from '../../src/transfer/download-file.js';
import { SpeedWatch } from '../../src/transfer/peer-watch.js';
import { requestJson } from '../../src/transfer/request-json.js';
import { RetryBudget } from '../../src/transfer/retry.js';
import { endless, trickle } from '../servers/hostile-handlers.js';
import { answer, type Handler, ScriptedServer } from '../servers/scripted-server.js';

let dir: string;
let server: ScriptedServer;
let usual: Handler;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bounded-'));
  server = await ScriptedServer.start((request, response) => usual(request, response));
});
afterEach(async () => {
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

async function failure(work: Promise<unknown>): Promise<TransferError> {
  const error = await work.catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(TransferError);
  return error as TransferError;
}

const retry = { baseDelayMs: 1 };
const download = (request: Partial<DownloadRequest>): Promise<unknown> =>
  downloadFile({ url: server.url, path: join(dir, 'file'), retry, ...request });

describe('a file of unknown length', () => {
  it('that does not end is given up at the limit, and nothing of it stays', async () => {
    usual = endless();
    const error = await failure(download({ maxUnknownBytes: 3_000_000 }));
    expect(error.message).toContain('more than 3000000 bytes came, and the server does not say how many there are');
    expect(await readdir(dir)).toEqual([]);
    expect(server.requests).toHaveLength(1);
  });

  it('that ends is whole', async () => {
    usual = (_request, response) => {
      response.writeHead(200);
      response.write(Buffer.alloc(100_000, 1));
      response.end(Buffer.alloc(100_000, 2));
    };
    expect(await download({ maxUnknownBytes: 200_000 })).toMatchObject({ size: 200_000 });
    await failure(download({ maxUnknownBytes: 199_999, path: join(dir, 'other') }));
  });
});

describe('a file that trickles', () => {
  const speed = { minBytesPerSecond: 5000, windowMs: 80 };

  it('is asked for three times, not for ever', async () => {
    usual = trickle(5, { 'content-length': '1000000', etag: '"one"' });
    const error = await failure(download({ speed, retry: { ...retry, maxAttempts: 100 } }));
    expect(error.message).toContain(
      'less than 5000 bytes a second arrived for 0.08 s: too slow to go on; gave up after 3',
    );
    expect(server.requests).toHaveLength(3);
  });

  it('is left alone without a limit, until it is silent', async () => {
    usual = trickle(5, { 'content-length': '30', etag: '"one"' });
    expect(await download({ speed: { ...speed, minBytesPerSecond: 0 } })).toMatchObject({ size: 30, attempts: 1 });
  });
});

it('time that is spent writing does not count as slow', async () => {
  vi.useFakeTimers();
  try {
    let expired = 0;
    const watch = new SpeedWatch({ minBytesPerSecond: 1000, windowMs: 800 }, () => expired++);
    watch.wait();
    watch.heard(900);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(expired).toBe(0);
    watch.wait();
    await vi.advanceTimersByTimeAsync(900);
    // The 900 bytes were within the limit of this window.
    expect(expired).toBe(0);
    await vi.advanceTimersByTimeAsync(900);
    expect(expired).toBe(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(expired).toBe(1);
  } finally {
    vi.useRealTimers();
  }
});

describe('attempts', () => {
  const slow = new TransferError('slow', { isTransient: true, isTooSlow: true });

  it('after too slow ones are few, unless much arrived in between', async () => {
    const budget = new RetryBudget({ baseDelayMs: 0, maxAttempts: 100 });
    for (let i = 0; i < 2; i++) await budget.wait(slow);
    budget.renew(false);
    await expect(budget.wait(slow)).rejects.toThrow('slow; gave up after 3 attempts');
    const steady = new RetryBudget({ baseDelayMs: 0, maxAttempts: 100 });
    for (let i = 0; i < 10; i++) {
      await steady.wait(slow);
      steady.renew();
    }
    await steady.wait(slow);
  });

  it('wait no longer than a limit in all', async () => {
    const budget = new RetryBudget({ baseDelayMs: 0, maxAttempts: 100, maxTotalRetryAfterMs: 25 });
    const asked = new TransferError('busy', { isTransient: true, retryAfterMs: 10 });
    for (let i = 0; i < 2; i++) {
      await budget.wait(asked);
      budget.renew();
    }
    await expect(budget.wait(asked)).rejects.toThrow('asked again and again to wait, more than 0.025 s in all');
  });
});

it('redirects that each take their time take it together', async () => {
  usual = (_request, response) =>
    void setTimeout(() => answer(302, '', { location: '/again' })(_request, response), 25);
  const error = await failure(requestJson({ url: server.url, answerTimeoutMs: 100, retry: { maxAttempts: 1 } }));
  expect(error.message).toContain('/again: no answer within 0.1 s');
});

it('JSON in several pieces, with letters across them, is read whole', async () => {
  const text = JSON.stringify({ a: 'ä'.repeat(50_000) });
  usual = (_request, response) => {
    const bytes = Buffer.from(text);
    response.writeHead(200);
    response.write(bytes.subarray(0, 30_001));
    setTimeout(() => response.end(bytes.subarray(30_001)), 10);
  };
  expect((await requestJson({ url: server.url })).value).toEqual(JSON.parse(text));
  // The limit counts bytes, not letters.
  await expect(requestJson({ url: server.url, maxBytes: 100_000 })).rejects.toThrow('more than 100000 bytes');
});
