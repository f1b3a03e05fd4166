/** One HTTP request: redirects followed by hand, time limits, proxies, and no secrets for others. */
import { keepCredentials } from '../messages/secrets.js';
import { isLoopback, mayBeLoopback } from './address.js';
import { type BodyLimits, HttpAnswer } from './http-answer.js';
import { SilenceWatch } from './peer-watch.js';
import { type ProxyRoute, proxyRoute } from './proxy.js';
import { failureOf, proxyError, redirectError, requestError } from './request-failure.js';

export interface HttpRequest extends BodyLimits {
  readonly url: string | URL;
  /** Default GET. */
  readonly method?: string | undefined;
  readonly body?: string | Uint8Array<ArrayBuffer> | Blob | undefined;
  /** Sent to every host on the way. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * Sent only as long as the request stays at the first URL's origin (scheme, host and port), e.g. `authorization`.
   * After a redirect to another origin they are not sent any more, not even back to the first. No error shows them.
   */
  readonly privateHeaders?: Readonly<Record<string, string>> | undefined;
  /** Until the header of the final answer has come, redirects included, in milliseconds. Default 30,000. */
  readonly answerTimeoutMs?: number | undefined;
  /**
   * Speak plain http also with other machines, if the first URL is one. Default false: only https, and http with this
   * machine itself.
   */
  readonly allowInsecureHttp?: boolean | undefined;
  /** Give a redirect to another origin as the answer, in place of following it. Default false. */
  readonly stopAtOrigin?: boolean | undefined;
}

const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Sends a request and follows its redirects. Plain http is spoken only with this machine itself, unless the request
 * allows more; a redirect never leads from https to http, nor from elsewhere to this machine. Proxies are those of
 * HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.
 * @throws TransferError with `isTransient` when the server cannot be reached or does not answer in time; TransferError for
 *   redirects that lead nowhere; the signal's reason
 */
export async function sendRequest(request: HttpRequest): Promise<HttpAnswer> {
  const first = new URL(request.url);
  for (const value of Object.values(request.privateHeaders ?? {})) keepCredentials(value);
  refuseUnsafe(first, first, request);
  const controller = new AbortController();
  const limit = request.answerTimeoutMs ?? 30_000;
  let url = first;
  const watch = new SilenceWatch(limit, () =>
    controller.abort(requestError(url, `no answer within ${limit / 1000} s`, { isTransient: true })),
  );
  let foreign = false;
  let method = request.method ?? 'GET';
  let body = request.body;
  try {
    for (let redirects = 0; ; redirects++) {
      const proxy = await proxyRoute(url);
      const response = await fetchOnce(url, proxy, controller, request, {
        method,
        headers: { 'user-agent': 'ministral-tune', ...request.headers, ...(foreign ? {} : request.privateHeaders) },
        ...(body === undefined ? {} : { body }),
      });
      if (proxy && response.status === 407) {
        await response.body?.cancel().catch(() => undefined);
        throw proxyError(407, url, proxy.shown);
      }
      const answer = (): HttpAnswer =>
        new HttpAnswer(response, { url, foreign, proxy: proxy?.shown }, controller, request);
      const location = response.headers.get('location');
      if (!REDIRECTS.has(response.status) || location === null) return answer();
      const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
      if (next && next.origin !== first.origin && request.stopAtOrigin) return answer();
      await response.body?.cancel().catch(() => undefined);
      if (redirects === MAX_REDIRECTS) {
        throw requestError(first, `more than ${MAX_REDIRECTS} redirects`, { status: response.status });
      }
      if (!next) throw redirectError(url, 'to no valid address');
      refuseUnsafe(next, first, request);
      foreign ||= next.origin !== first.origin;
      if (response.status === 303 || (response.status < 303 && method === 'POST')) {
        if (method !== 'HEAD') method = 'GET';
        body = undefined;
      }
      url = next;
    }
  } finally {
    watch.stop();
  }
}

async function fetchOnce(
  url: URL,
  proxy: ProxyRoute | undefined,
  controller: AbortController,
  request: HttpRequest,
  init: RequestInit,
): Promise<Response> {
  request.signal?.throwIfAborted();
  const signal = request.signal ? AbortSignal.any([controller.signal, request.signal]) : controller.signal;
  const host = proxy?.shown ?? url.host;
  try {
    const response = await (proxy?.fetch ?? fetch)(url, { ...init, redirect: 'manual', signal });
    if (answered.size >= MAX_HOSTS) answered.clear();
    answered.add(host);
    return response;
  } catch (cause) {
    throw failureOf(cause, url, controller, request.signal, proxy?.shown, answered.has(host));
  }
}

/** Hosts and proxies that have answered: one whose name is lost later is down for a while, not unknown. */
const answered = new Set<string>();
const MAX_HOSTS = 1000;

function refuseUnsafe(url: URL, first: URL, { allowInsecureHttp = false }: HttpRequest): void {
  const redirected = url !== first;
  if (url.username !== '' || url.password !== '') {
    if (redirected) throw redirectError(url, 'to an address with a password in it');
    throw requestError(url, 'an address with a user or password in it', { hint: 'Give credentials separately.' });
  }
  const local = isLoopback(url.hostname);
  if (redirected && mayBeLoopback(url.hostname) && !mayBeLoopback(first.hostname))
    throw redirectError(url, 'to this machine');
  const mayBePlain = first.protocol === 'http:' && (local || allowInsecureHttp);
  if (url.protocol === 'https:' || (url.protocol === 'http:' && mayBePlain)) return;
  if (redirected) throw redirectError(url, `to ${url.protocol.slice(0, -1)}, which is not encrypted`);
  throw requestError(url, 'only https is spoken, and http with this machine itself', {
    hint: 'Plain http shows and lets change what is sent, on every machine in between. `allowInsecureHttp` allows it, where there is such an option.',
  });
}
