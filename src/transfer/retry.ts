/** How often to try again, and how long to wait before. */
import { setTimeout as delay } from 'node:timers/promises';
import { HubError } from '../errors.js';

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
  /** Told before each wait, in one line. */
  readonly onRetry?: ((line: string) => void) | undefined;
}

/**
 * Whether a later attempt may succeed: `details.transient` of the error says so, and `details.retryAfterMs` how long
 * the server wants to be left alone.
 */
export function isTransient(error: unknown): error is HubError {
  return error instanceof HubError && error.details['transient'] === true;
}

/** Counts failed attempts and waits between them: doubling times with jitter, or what `Retry-After` asks for. */
export class RetryBudget {
  readonly #options: RetryOptions;
  readonly #maxAttempts: number;
  #failures = 0;

  constructor(options: RetryOptions = {}) {
    this.#options = options;
    this.#maxAttempts = options.maxAttempts ?? 7;
  }

  /** Progress was made: the count starts again. */
  renew(): void {
    this.#failures = 0;
  }

  /**
   * Waits until it is time for the next attempt.
   * @throws the error itself if trying again is pointless; HubError that says how often it was tried; the signal's
   *   reason
   */
  async wait(error: unknown, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (!isTransient(error)) throw error;
    this.#failures++;
    const message = firstPart(error);
    if (this.#failures >= this.#maxAttempts) {
      throw new HubError(this.#failures === 1 ? message : `${message}; gave up after ${this.#failures} attempts`, {
        ...(error.hint === undefined ? {} : { hint: error.hint }),
        details: { ...error.details, attempts: this.#failures },
        cause: error,
      });
    }
    const ms = this.#delay(error, message);
    this.#options.onRetry?.(`${message}; next attempt in ${(ms / 1000).toFixed(1)} s`);
    try {
      await delay(ms, undefined, signal && { signal });
    } catch (cause) {
      signal?.throwIfAborted();
      throw cause;
    }
  }

  #delay(error: HubError, message: string): number {
    const base = this.#options.baseDelayMs ?? 500;
    const asked = error.details['retryAfterMs'];
    if (typeof asked !== 'number') {
      const longest = Math.min(this.#options.maxDelayMs ?? 30_000, base * 2 ** (this.#failures - 1));
      return longest * (0.5 + Math.random() / 2);
    }
    const limit = this.#options.maxRetryAfterMs ?? 310_000;
    if (asked > limit) {
      throw new HubError(`${message}; the server asks to wait ${Math.ceil(asked / 1000)} s`, {
        hint: `Try again then. Waits above ${limit / 1000} s are left to you; what has arrived so far is kept.`,
        details: error.details,
        cause: error,
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

/** An error's message without the hint. */
function firstPart(error: HubError): string {
  return error.message.split('\n  hint: ')[0]!;
}
