/** One HTTP request: redirects followed by hand, time limits, and no secrets for strangers. */
import type { ReadableStreamReadResult } from 'node:stream/web';
import { HubError } from '../errors.js';
import { SilenceWatch } from './silence-watch.js';

export interface HttpRequest {
  readonly url: string | URL;
  /** Default GET. */
  readonly method?: string | undefined;
  readonly body?: string | Uint8Array<ArrayBuffer> | Blob | undefined;
  /** Sent to every host on the way. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * Sent only as long as the request stays at the first URL's origin (scheme, host and port), e.g. `authorization`.
   * After a redirect to another origin they are not sent any more, not even back to the first.
   */
  readonly privateHeaders?: Readonly<Record<string, string>> | undefined;
  /** Until the header of the answer is there, in milliseconds. Default 30,000. */
  readonly answerTimeoutMs?: number | undefined;
  /** Between two pieces of the body, in milliseconds. Default 30,000. */
  readonly silenceTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** The final answer, whatever its status. Its body must be read or cancelled. */
export class HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Where it came from, after redirects. */
  readonly url: URL;
  /** Whether it came from another origin than the one asked. */
  readonly foreign: boolean;
  readonly #response: Response;
  readonly #controller: AbortController;
  readonly #request: HttpRequest;

  constructor(response: Response, url: URL, foreign: boolean, controller: AbortController, request: HttpRequest) {
    this.status = response.status;
    this.headers = response.headers;
    this.url = url;
    this.foreign = foreign;
    this.#response = response;
    this.#controller = controller;
    this.#request = request;
  }

  /** Media type without parameters, in lower case; empty if there is none. */
  get contentType(): string {
    return (this.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase();
  }

  /**
   * The body as it arrives.
   * @throws HubError, transient, when the connection breaks or stays silent for too long; the signal's reason
   */
  async *chunks(): AsyncGenerator<Uint8Array> {
    const reader = this.#response.body?.getReader();
    if (!reader) return;
    const { signal, silenceTimeoutMs: limit = 30_000 } = this.#request;
    // The body of an aborted request does not always fail by itself: whoever waits for it is told here.
    let fail: (reason: unknown) => void = () => undefined;
    const onAbort = (): void => fail(signal?.reason);
    signal?.addEventListener('abort', onAbort);
    try {
      for (;;) {
        const watch = new SilenceWatch(limit, () => {
          this.#controller.abort(timeoutError(this.url, `nothing arrived for ${limit / 1000} s`));
          fail(this.#controller.signal.reason);
        });
        try {
          signal?.throwIfAborted();
          const { done, value } = await new Promise<ReadableStreamReadResult<Uint8Array>>((resolve, reject) => {
            fail = reject;
            reader.read().then(resolve, reject);
          });
          if (done) return;
          yield value;
        } catch (cause) {
          throw failureOf(cause, this.url, this.#controller, signal);
        } finally {
          watch.stop();
        }
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
      reader.cancel().catch(() => undefined);
    }
  }

  /** The body as text, cut after `limit` bytes. */
  async text(limit: number): Promise<string> {
    const pieces: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.chunks()) {
      pieces.push(chunk);
      length += chunk.length;
      if (length > limit) break;
    }
    return Buffer.concat(pieces).subarray(0, limit).toString('utf8');
  }

  /** Gives the body up. */
  async cancel(): Promise<void> {
    await this.#response.body?.cancel().catch(() => undefined);
  }
}

/**
 * Sends a request and follows its redirects. Plain http is spoken only with this machine itself, and a redirect never
 * leads from https to http, nor from elsewhere to this machine.
 * @throws HubError with `details.transient` when the server cannot be reached or does not answer in time; HubError for
 *   redirects that lead nowhere; the signal's reason
 */
export async function sendRequest(request: HttpRequest): Promise<HttpAnswer> {
  const first = new URL(request.url);
  refuseUnsafe(first, first);
  let url = first;
  let foreign = false;
  let method = request.method ?? 'GET';
  let body = request.body;
  for (let redirects = 0; ; redirects++) {
    const controller = new AbortController();
    const response = await fetchOnce(url, controller, request, {
      method,
      headers: { 'user-agent': 'ministral-tune', ...request.headers, ...(foreign ? {} : request.privateHeaders) },
      ...(body === undefined ? {} : { body }),
    });
    const location = response.headers.get('location');
    if (!REDIRECTS.has(response.status) || location === null) {
      return new HttpAnswer(response, url, foreign, controller, request);
    }
    await response.body?.cancel().catch(() => undefined);
    if (redirects === MAX_REDIRECTS) {
      throw new HubError(`${shownUrl(first)}: more than ${MAX_REDIRECTS} redirects`, {
        details: { url: shownUrl(first), status: response.status },
      });
    }
    const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    if (!next) throw redirectError(url, 'to no valid address');
    refuseUnsafe(next, first);
    foreign ||= next.origin !== first.origin;
    if (response.status === 303 || (response.status < 303 && method === 'POST')) {
      method = 'GET';
      body = undefined;
    }
    url = next;
  }
}

/** A URL fit for messages: without user, password, query and fragment, where signatures and tokens stand. */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** Whether a host name means this machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

async function fetchOnce(
  url: URL,
  controller: AbortController,
  request: HttpRequest,
  init: RequestInit,
): Promise<Response> {
  request.signal?.throwIfAborted();
  const limit = request.answerTimeoutMs ?? 30_000;
  const watch = new SilenceWatch(limit, () =>
    controller.abort(timeoutError(url, `no answer within ${limit / 1000} s`)),
  );
  const signal = request.signal ? AbortSignal.any([controller.signal, request.signal]) : controller.signal;
  try {
    return await fetch(url, { ...init, redirect: 'manual', signal });
  } catch (cause) {
    throw failureOf(cause, url, controller, request.signal);
  } finally {
    watch.stop();
  }
}

function refuseUnsafe(url: URL, first: URL): void {
  const redirected = url !== first;
  if (url.username !== '' || url.password !== '') {
    if (redirected) throw redirectError(url, 'to an address with a password in it');
    throw new HubError(`${shownUrl(url)}: an address with a user or password in it`, {
      hint: 'Give credentials separately.',
      details: { url: shownUrl(url) },
    });
  }
  const local = isLoopback(url.hostname);
  if (redirected && local && !isLoopback(first.hostname)) throw redirectError(url, 'to this machine');
  if (url.protocol === 'https:' || (url.protocol === 'http:' && local && first.protocol === 'http:')) return;
  if (redirected) throw redirectError(url, `to ${url.protocol.slice(0, -1)}, which is not encrypted`);
  throw new HubError(`${shownUrl(url)}: only https is spoken, and http with this machine itself`, {
    details: { url: shownUrl(url) },
  });
}

function redirectError(url: URL, what: string): HubError {
  return new HubError(`${shownUrl(url)}: a redirect ${what} is not followed`, {
    hint: 'Is a proxy or a captive portal in between?',
    details: { url: shownUrl(url) },
  });
}

function timeoutError(url: URL, what: string): HubError {
  return new HubError(`${shownUrl(url)}: ${what}`, { details: { url: shownUrl(url), transient: true } });
}

/** What made a request or the reading of a body fail. */
function failureOf(cause: unknown, url: URL, controller: AbortController, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (controller.signal.aborted) return controller.signal.reason;
  const codes: string[] = [];
  let reason = '';
  for (let error = cause; error instanceof Error; error = error.cause) {
    const { code } = error as NodeJS.ErrnoException;
    if (code) codes.push(code);
    if (error.message) reason = error.message;
  }
  const code = codes.at(-1);
  const certificate = codes.some((name) => /CERT|SIGNATURE|ERR_TLS/.test(name));
  const why = code === 'ENOTFOUND' ? 'the host was not found' : reason || String(cause);
  return new HubError(`${shownUrl(url)}: the connection failed: ${why}`, {
    hint: certificate
      ? 'Behind a proxy that inspects traffic, name its certificate in NODE_EXTRA_CA_CERTS.'
      : 'Is this machine online, and the host reachable from it?',
    details: { url: shownUrl(url), transient: !certificate, ...(code ? { cause: code } : {}) },
    cause,
  });
}
