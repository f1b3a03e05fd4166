import { describe, expect, it, vi } from 'vitest';
import { TransferError, type TransferErrorOptions } from '../../src/errors.js';
import { parseRetryAfter, RetryBudget, withRetries } from '../../src/transfer/retry.js';

const failure = (options: TransferErrorOptions = {}): TransferError =>
  new TransferError('no luck', { hint: 'wait', isTransient: true, ...options });

/** Fails with each error in turn, then succeeds. */
function failing(...errors: unknown[]): { work: () => Promise<number>; calls: () => number } {
  let calls = 0;
  const work = async (): Promise<number> => {
    const error = errors[calls++];
    if (error !== undefined) throw error;
    return calls;
  };
  return { work, calls: () => calls };
}

describe('withRetries', () => {
  it('tries again after passing errors, with doubling waits', async () => {
    const lines: string[] = [];
    const options = { baseDelayMs: 20, onRetry: (line: string) => lines.push(line) };
    const start = performance.now();
    expect(await withRetries(failing(failure(), failure(), failure()).work, options)).toBe(4);
    // 20 + 40 + 80, each at least half.
    expect(performance.now() - start).toBeGreaterThan(65);
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^no luck; next attempt in 0\.0 s$/);
  });

  it('gives up after the attempts allowed and says how many', async () => {
    const { work, calls } = failing(...Array.from({ length: 9 }, () => failure({ status: 503 })));
    const error = await withRetries(work, { maxAttempts: 3, baseDelayMs: 1 }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TransferError);
    expect((error as TransferError).message).toMatch(
      /^no luck; gave up after 3 attempts\n {2}hint: wait\n {2}see \S+#transfer$/,
    );
    expect(error).toMatchObject({ isTransient: true, status: 503, details: { attempts: 3 } });
    expect(calls()).toBe(3);
  });

  it('soon gives up a host whose name is unknown', async () => {
    const { work, calls } = failing(...Array.from({ length: 9 }, () => failure({ isUnknownHost: true })));
    await expect(withRetries(work, { baseDelayMs: 1 })).rejects.toThrow('gave up after 3 attempts');
    expect(calls()).toBe(3);
    // Each look-up may take its time.
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      const budget = new RetryBudget({ baseDelayMs: 1 });
      await budget.wait(failure({ isUnknownHost: true }));
      vi.advanceTimersByTime(10_000);
      await expect(budget.wait(failure({ isUnknownHost: true }))).rejects.toThrow('gave up after 2 attempts');
    } finally {
      vi.useRealTimers();
    }
  });

  it('does not try again what cannot be cured', async () => {
    for (const error of [new TransferError('gone', { isTransient: false }), new TypeError('bug')]) {
      const { work, calls } = failing(error);
      await expect(withRetries(work, { baseDelayMs: 1 })).rejects.toBe(error);
      expect(calls()).toBe(1);
    }
  });

  it('waits as long as the server asks, but not for ever', async () => {
    const start = performance.now();
    await withRetries(failing(failure({ retryAfterMs: 150 })).work, { baseDelayMs: 1 });
    expect(performance.now() - start).toBeGreaterThanOrEqual(149);
    await expect(withRetries(failing(failure({ retryAfterMs: 3_600_000 })).work)).rejects.toThrow(
      /the server asks to wait 3600 s\n {2}hint: wait Try again then\./,
    );
  });

  it('stops waiting on a signal', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const options = { baseDelayMs: 60_000, maxDelayMs: 60_000, onRetry: () => controller.abort(reason) };
    await expect(withRetries(failing(failure()).work, options, controller.signal)).rejects.toBe(reason);
  });
});

describe('Retry-After', () => {
  it('is seconds or a date', () => {
    const now = Date.parse('Wed, 21 Oct 2026 07:28:00 GMT');
    expect(parseRetryAfter('120')).toBe(120_000);
    expect(parseRetryAfter('0')).toBe(0);
    expect(parseRetryAfter('Wed, 21 Oct 2026 07:28:30 GMT', now)).toBe(30_000);
    expect(parseRetryAfter('Wed, 21 Oct 2026 07:00:00 GMT', now)).toBe(0);
    for (const value of [null, '', 'soon', '-5', '1.5']) expect(parseRetryAfter(value)).toBeUndefined();
  });
});
