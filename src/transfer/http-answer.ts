/** The answer to a request, its body read under limits of time, speed and length. */
import type { ReadableStreamReadResult } from 'node:stream/web';
import { SilenceWatch, type SpeedLimit, SpeedWatch } from './peer-watch.js';
import { failureOf, requestError, tooSlowError } from './request-failure.js';

/** Time for a body that is read as a whole, in multiples of the longest silence. */
const WHOLE_BODY = 3;
/** Enough that silence is seen first, however seldom this process runs. */
const WHOLE_LOOKS = 8 * WHOLE_BODY + 8;

/** How long a body may take. */
export interface BodyLimits {
  /** Between two pieces of the body, in milliseconds. Default 30,000. */
  readonly silenceTimeoutMs?: number | undefined;
  /** For a body that is read as a whole, in milliseconds. Default: three times `silenceTimeoutMs`. */
  readonly wholeTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The final answer, whatever its status. Its body must be read or cancelled. */
export class HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Where it came from, after redirects. */
  readonly url: URL;
  /** Whether it came from another origin than the one asked. */
  readonly foreign: boolean;
  /** The proxy that it came through, fit for messages. */
  readonly proxy: string | undefined;
  readonly #response: Response;
  readonly #controller: AbortController;
  readonly #limits: BodyLimits;

  constructor(
    response: Response,
    from: { readonly url: URL; readonly foreign: boolean; readonly proxy: string | undefined },
    controller: AbortController,
    limits: BodyLimits,
  ) {
    this.status = response.status;
    this.headers = response.headers;
    this.url = from.url;
    this.foreign = from.foreign;
    this.proxy = from.proxy;
    this.#response = response;
    this.#controller = controller;
    this.#limits = limits;
  }

  /** Media type without parameters, in lower case; empty if there is none. */
  get contentType(): string {
    return (this.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase();
  }

  /**
   * The body as it arrives.
   * @throws TransferError, transient, when the connection breaks, stays silent for too long or is too slow; the signal's
   *   reason
   */
  async *chunks(speed?: SpeedLimit): AsyncGenerator<Uint8Array> {
    const reader = this.#response.body?.getReader();
    if (!reader) return;
    const { signal, silenceTimeoutMs: limit = 30_000 } = this.#limits;
    // The stream of an aborted request does not always fail by itself: whoever waits for it is rejected here.
    let fail: (reason: unknown) => void = () => undefined;
    const onAbort = (): void => fail(signal?.reason);
    const own = this.#controller.signal;
    const onOwnAbort = (): void => fail(own.reason);
    signal?.addEventListener('abort', onAbort);
    own.addEventListener('abort', onOwnAbort);
    const speedWatch = speed && new SpeedWatch(speed, () => this.#controller.abort(slowError(this.url, speed)));
    try {
      for (;;) {
        const watch = new SilenceWatch(limit, () =>
          this.#controller.abort(
            requestError(this.url, `nothing arrived for ${limit / 1000} s`, { isTransient: true }),
          ),
        );
        try {
          signal?.throwIfAborted();
          own.throwIfAborted();
          speedWatch?.wait();
          const { done, value } = await new Promise<ReadableStreamReadResult<Uint8Array>>((resolve, reject) => {
            fail = reject;
            reader.read().then(resolve, reject);
          });
          if (done) return;
          speedWatch?.heard(value.length);
          watch.stop();
          yield value;
        } catch (cause) {
          throw failureOf(cause, this.url, this.#controller, signal, this.proxy);
        } finally {
          watch.stop();
        }
      }
    } finally {
      speedWatch?.stop();
      signal?.removeEventListener('abort', onAbort);
      own.removeEventListener('abort', onOwnAbort);
      reader.cancel().catch(() => undefined);
    }
  }

  /** The body, cut after `limit` bytes. @throws as `chunks`, also if all of it takes too long */
  async bytes(limit: number): Promise<Buffer> {
    const { silenceTimeoutMs = 30_000 } = this.#limits;
    const whole = this.#limits.wholeTimeoutMs ?? WHOLE_BODY * silenceTimeoutMs;
    const expire = (): void => {
      const what = `the answer was not complete after ${whole / 1000} s`;
      this.#controller.abort(
        tooSlowError(this.url, what, 'On a connection as slow as that a longer `timeoutMs` helps.'),
      );
    };
    const deadline = new SilenceWatch(whole, expire, WHOLE_LOOKS);
    let bytes = Buffer.alloc(0);
    let length = 0;
    try {
      for await (const chunk of this.chunks()) {
        if (length + chunk.length > bytes.length) {
          const larger = Buffer.alloc(Math.min(limit, Math.max(4096, 2 * bytes.length, length + chunk.length)));
          bytes.copy(larger, 0, 0, length);
          bytes = larger;
        }
        length += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).copy(bytes, length);
        if (length >= limit) break;
      }
    } finally {
      deadline.stop();
    }
    return bytes.subarray(0, length);
  }

  /** The body as text, cut after `limit` bytes. */
  async text(limit: number): Promise<string> {
    return (await this.bytes(limit)).toString('utf8');
  }

  /** Gives the body up. */
  async cancel(): Promise<void> {
    await this.#response.body?.cancel().catch(() => undefined);
  }
}

function slowError(url: URL, { minBytesPerSecond, windowMs }: SpeedLimit): unknown {
  return tooSlowError(
    url,
    `less than ${minBytesPerSecond} bytes a second arrived for ${windowMs / 1000} s: too slow to go on`,
    'Received bytes are kept, and the next call goes on there. `minBytesPerSecond` sets the limit, where there is such an option.',
  );
}
