/** How often to try again, and how long to wait before. */
import { setTimeout as delay } from 'node:timers/promises';
import { TransferError } from '../errors.js';

export interface RetryOptions {
  /** Attempts in a row without progress before giving up, the first included. Default 7. */
  readonly maxAttempts?: number | undefined;
  /** Before the second attempt, in milliseconds; it doubles each time. Default 500. */
  readonly baseDelayMs?: number | undefined;
  /** The longest wait of our own choice, in milliseconds. Default 30,000. */
  readonly maxDelayMs?: number | undefined;
  /**
   * A server that asks for a longer wait than this, in milliseconds, is not waited for. Default 310,000: the Hub counts
   * requests in windows of five minutes.
   */
  readonly maxRetryAfterMs?: number | undefined;
  /** The longest sum of the waits that servers ask for, in milliseconds. Default 900,000. */
  readonly maxTotalRetryAfterMs?: number | undefined;
  /** Called before each wait, with a line that gives the reason. */
  readonly onRetry?: ((line: string) => void) | undefined;
}

/** A server that sends too slowly is asked again less often than one that fails at once: each attempt takes its time. */
const MAX_SLOW = 3;

/** So often and so long the name of a host is looked up: a machine without network should say so soon. */
const MAX_LOOKUPS = 3;
const MAX_LOOKUP_MS = 3000;

/** Counts failed attempts and waits between them: doubling times with jitter, or what `Retry-After` asks for. */
export class RetryBudget {
  readonly #options: RetryOptions;
  readonly #maxAttempts: number;
  #failures = 0;
  #slow = 0;
  #waited = 0;
  /** When the name of the host was not found first, in milliseconds. */
  #unknownSince: number | undefined;

  constructor(options: RetryOptions = {}) {
    this.#options = options;
    this.#maxAttempts = options.maxAttempts ?? 7;
  }

  /**
   * Progress was made: the count starts again.
   * @param steady so much that a server that is slow now was not so before
   */
  renew(steady = true): void {
    this.#failures = 0;
    this.#unknownSince = undefined;
    if (steady) this.#slow = 0;
  }

  /**
   * Waits until it is time for the next attempt.
   * @throws the error itself if trying again is pointless; TransferError that says how often it was tried; the signal's
   *   reason
   */
  async wait(error: unknown, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (!(error instanceof TransferError && error.isTransient)) throw error;
    this.#failures++;
    if (error.isTooSlow) this.#slow++;
    const { summary, details } = error;
    if (this.#failures >= this.#maxAttempts || this.#slow >= MAX_SLOW || this.#isLost(error)) {
      const attempts = Math.max(this.#failures, this.#slow);
      throw error.with({
        summary: attempts === 1 ? summary : `${summary}; gave up after ${attempts} attempts`,
        details: { ...details, attempts },
      });
    }
    const ms = this.#delay(error);
    this.#options.onRetry?.(`${summary}; next attempt in ${(ms / 1000).toFixed(1)} s`);
    try {
      await delay(ms, undefined, signal && { signal });
    } catch (cause) {
      signal?.throwIfAborted();
      throw cause;
    }
  }

  /** Whether the name of the host was looked up often enough. */
  #isLost(error: TransferError): boolean {
    if (!error.isUnknownHost) return false;
    this.#unknownSince ??= performance.now();
    return this.#failures >= MAX_LOOKUPS || performance.now() - this.#unknownSince > MAX_LOOKUP_MS;
  }

  #delay(error: TransferError): number {
    const base = this.#options.baseDelayMs ?? 500;
    const { summary, hint = '', retryAfterMs: asked } = error;
    if (asked === undefined) {
      const longest = Math.min(this.#options.maxDelayMs ?? 30_000, base * 2 ** (this.#failures - 1));
      return longest * (0.5 + Math.random() / 2);
    }
    const limit = this.#options.maxRetryAfterMs ?? 310_000;
    if (asked > limit) {
      throw error.with({
        summary: `${summary}; the server asks to wait ${Math.ceil(asked / 1000)} s`,
        hint: `${hint} Try again then. Waits above ${limit / 1000} s are left to you; received bytes are kept.`.trim(),
      });
    }
    this.#waited += asked;
    const most = this.#options.maxTotalRetryAfterMs ?? 900_000;
    if (this.#waited > most) {
      throw error.with({
        summary: `${summary}; the server has asked again and again to wait, more than ${most / 1000} s in all`,
        hint: `${hint} Try again later; received bytes are kept.`.trim(),
      });
    }
    // Never earlier than asked, and not all clients at the same moment.
    return asked + base * Math.random();
  }
}

/** Runs `work` until it succeeds, fails for good, or has failed too often. */
export async function withRetries<T>(
  work: () => Promise<T>,
  options: RetryOptions = {},
  signal?: AbortSignal,
): Promise<T> {
  const budget = new RetryBudget(options);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await budget.wait(error, signal);
    }
  }
}

/** Milliseconds that a `Retry-After` header asks for, in seconds or as a date; undefined if absent or unreadable. */
export function parseRetryAfter(value: string | null, now: number = Date.now()): number | undefined {
  if (value === null) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) || !/[a-z]/i.test(value) ? undefined : Math.max(0, date - now);
}
