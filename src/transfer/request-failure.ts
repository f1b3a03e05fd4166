/** From what makes a request fail to errors that say where, why, and what to do. */
import { TransferError, type TransferErrorOptions } from '../errors.js';

/** A URL fit for messages: without user, password, query and fragment, which may hold signatures and tokens. */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** The error for a request to `url`, with which its message begins. */
export function requestError(url: URL, what: string, options: TransferErrorOptions = {}): TransferError {
  return new TransferError(`${shownUrl(url)}: ${what}`, { ...options, url: shownUrl(url) });
}

/** For a server that sends, but not enough: it is asked again less often. */
export function tooSlowError(url: URL, what: string, hint: string): TransferError {
  return requestError(url, what, { hint, isTransient: true, isTooSlow: true });
}

export function redirectError(url: URL, what: string): TransferError {
  const hint = 'Is a proxy, a captive portal or a page for signing in between?';
  return requestError(url, `a redirect ${what} is not followed`, { hint });
}

const CERTIFICATE_HINT =
  "If a company's own certificate authority signs for this host, or a proxy inspects the traffic, start Node with " +
  'NODE_EXTRA_CA_CERTS=/path/of/its/certificates.pem (it is read at the start of the process only).';

/** What a failed look-up of a name ends with. */
const UNKNOWN_HOST = new Set(['ENOTFOUND', 'EAI_AGAIN']);

/**
 * What made a request or the reading of a body fail.
 * @param hasAnswered whether the host, or the proxy, has done so before
 */
export function failureOf(
  cause: unknown,
  url: URL,
  controller: AbortController,
  signal: AbortSignal | undefined,
  proxy?: string,
  hasAnswered = true,
): unknown {
  if (signal?.aborted) return signal.reason;
  if (controller.signal.aborted) return controller.signal.reason;
  if (cause instanceof TransferError) return cause;
  const codes: string[] = [];
  let reason = '';
  for (let error = cause; error instanceof Error; error = error.cause) {
    const { code } = error as NodeJS.ErrnoException;
    if (code) codes.push(code);
    if (error.message) reason = error.message;
  }
  const details = proxy === undefined ? {} : { proxy };
  const refused = proxy === undefined ? undefined : proxyStatus(reason);
  if (refused !== undefined) return proxyError(refused, url, proxy!, cause);
  const code = codes.at(-1);
  if (code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'HPE_HEADER_OVERFLOW') {
    const hint = 'A mirror or a proxy on the way may add to it: ask without it, or try again later.';
    return requestError(url, 'the header of the answer is too long to be read', { hint, details, cause });
  }
  const certificate = codes.some((name) => /CERT|SIGNATURE|ERR_TLS|SELF_SIGNED/.test(name));
  const plain = codes.includes('EPROTO') || codes.includes('ERR_SSL_WRONG_VERSION_NUMBER');
  const through = proxy === undefined ? '' : ` (through the proxy ${proxy})`;
  const isUnknown = code !== undefined && UNKNOWN_HOST.has(code);
  const why = isUnknown ? 'the host was not found' : reason || String(cause);
  return requestError(url, `the connection failed${through}: ${why}`, {
    hint: certificate
      ? CERTIFICATE_HINT
      : plain
        ? 'Does this host speak https at this port, or plain http?'
        : `Is this machine online, and the ${proxy === undefined ? 'host' : 'proxy'} reachable from it? ${
            proxy === undefined
              ? 'Where only a proxy leads out, name it in HTTPS_PROXY.'
              : 'NO_PROXY names hosts that need none.'
          }`,
    isTransient: !certificate,
    isUnknownHost: isUnknown && !hasAnswered,
    details: { ...details, ...(code ? { cause: code } : {}) },
    cause,
  });
}

/** The status with which a proxy has refused. */
function proxyStatus(reason: string): number | undefined {
  const [, status] = /Proxy (?:response|Authentication Required) \((\d{3})\)/.exec(reason) ?? [];
  return status === undefined ? undefined : Number(status);
}

/** The error for a proxy that does not let a request through. */
export function proxyError(status: number, url: URL, proxy: string, cause?: unknown): TransferError {
  const hints: Readonly<Record<number, string>> = {
    407: 'It wants a user and password: http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY, special characters as %XX.',
    403: `Its rules do not allow ${url.host}: ask whoever runs it, or name a mirror that it allows as \`endpoint\`.`,
  };
  return requestError(url, `the proxy ${proxy} answered ${status}, not the host itself`, {
    hint: hints[status] ?? `It may be out of order, or cannot reach ${url.host}. NO_PROXY names hosts that need none.`,
    isTransient: status >= 500,
    details: { proxy, proxyStatus: status },
    cause,
  });
}
