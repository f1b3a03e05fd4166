/** JSON over HTTP, with bounded retries. */
import type { TransferError } from '../errors.js';
import { JsonFault, parseJson } from '../files/read-json.js';
import { type ExplainAnswer, errorOf, PAGE_HINT, pageTitle, suspectAnswer } from './answer-error.js';
import type { HttpAnswer } from './http-answer.js';
import { requestError } from './request-failure.js';
import { type RetryOptions, withRetries } from './retry.js';
import { type HttpRequest, sendRequest } from './send-request.js';

interface JsonRequest extends HttpRequest {
  /** Error texts of the service; see there. */
  readonly explain?: ExplainAnswer | undefined;
  readonly retry?: RetryOptions | undefined;
  /** Longest body taken, in bytes, decompressed. Default 8 MiB. */
  readonly maxBytes?: number | undefined;
}

/** More lists and objects than an answer needs, though it lists 100,000 files; they take many times their text. */
const MAX_CONTAINERS = 250_000;
const TEXT_LIMIT = 64 * 1024;

interface JsonAnswer {
  readonly value: unknown;
  readonly headers: Headers;
  readonly status: number;
}

/**
 * Sends a request until it is answered with JSON. Only requests that may be sent twice should be.
 * @throws TransferError for an error status, a body that is no JSON or too long, or a server out of reach; the signal's
 *   reason
 */
export function requestJson(request: JsonRequest): Promise<JsonAnswer> {
  return withRetries(() => requestOnce(request), request.retry, request.signal);
}

async function requestOnce(request: JsonRequest): Promise<JsonAnswer> {
  const answer = await sendRequest({ ...request, headers: { accept: 'application/json', ...request.headers } });
  const { status, headers, url } = answer;
  if (status < 200 || status >= 300) {
    throw (await errorOf(answer, request.explain)) ?? requestError(url, `an answer of status ${status}`, { status });
  }
  const limit = request.maxBytes ?? 8 * 1024 * 1024;
  const bytes = await answer.bytes(limit + 1);
  if (bytes.length > limit) {
    throw requestError(url, `an answer of more than ${limit} bytes, where a short one was expected`, { status });
  }
  const error = request.explain?.(suspectAnswer(answer, bytes.toString('utf8', 0, TEXT_LIMIT)));
  if (error) throw error;
  try {
    return { value: parseJson(bytes, { maxContainers: MAX_CONTAINERS }), headers, status };
  } catch (cause) {
    throw notJson(answer, bytes, cause);
  }
}

function notJson(answer: HttpAnswer, bytes: Buffer, cause: unknown): TransferError {
  const text = bytes.toString('utf8', 0, TEXT_LIMIT);
  const { url, status, contentType } = answer;
  const facts = { status, details: { contentType }, cause };
  if (cause instanceof JsonFault) {
    const hint = 'No answer of the service is like that: check the address, and mirrors and proxies on the way to it.';
    return requestError(url, `the answer is not read: ${cause.message}`, { hint, ...facts });
  }
  const what = text.trim() === '' ? 'nothing' : /^\s*</.test(text) ? 'a web page' : 'something else';
  const page = pageTitle(suspectAnswer(answer, text).text)?.replace(/^a web page/, '');
  const title = page ? `:${page.replace(/^,/, '')}` : '';
  const from = answer.foreign ? `, after a redirect to ${url.host}` : '';
  return requestError(url, `${what} came where JSON was expected${title}${from}`, { hint: PAGE_HINT, ...facts });
}
