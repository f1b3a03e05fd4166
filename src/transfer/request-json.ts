/** JSON over HTTP, with bounded retries. */
import { HubError } from '../errors.js';
import { type ExplainAnswer, errorOf } from './answer-error.js';
import { type RetryOptions, withRetries } from './retry.js';
import { type HttpRequest, sendRequest, shownUrl } from './send-request.js';

export interface JsonRequest extends HttpRequest {
  /** Error texts of the service; see there. */
  readonly explain?: ExplainAnswer | undefined;
  readonly retry?: RetryOptions | undefined;
  /** Longest body taken, in bytes. Default 16 MiB. */
  readonly maxBytes?: number | undefined;
}

export interface JsonAnswer {
  readonly value: unknown;
  readonly headers: Headers;
  readonly status: number;
}

/**
 * Sends a request until it is answered with JSON. Only requests that may be sent twice should be.
 * @throws HubError for an error status, a body that is no JSON or too long, or a server out of reach; the signal's
 *   reason
 */
export function requestJson(request: JsonRequest): Promise<JsonAnswer> {
  return withRetries(() => requestOnce(request), request.retry, request.signal);
}

async function requestOnce(request: JsonRequest): Promise<JsonAnswer> {
  const answer = await sendRequest({ ...request, headers: { accept: 'application/json', ...request.headers } });
  const url = shownUrl(answer.url);
  if (answer.status < 200 || answer.status >= 300) {
    throw (
      (await errorOf(answer, request.explain)) ??
      new HubError(`${url}: an answer of status ${answer.status}`, { details: { url, status: answer.status } })
    );
  }
  const limit = request.maxBytes ?? 16 * 1024 * 1024;
  const text = await answer.text(limit + 1);
  if (text.length > limit) {
    throw new HubError(`${url}: an answer of more than ${limit} bytes, where a short one was expected`, {
      details: { url, status: answer.status },
    });
  }
  const { status, headers, foreign } = answer;
  const error = request.explain?.({ status, headers, foreign, url, text });
  if (error) throw error;
  try {
    return { value: JSON.parse(text), headers, status };
  } catch (cause) {
    const what = /^\s*</.test(text) ? 'a web page' : text.trim() === '' ? 'nothing' : 'something else';
    throw new HubError(`${url}: ${what} came where JSON was expected`, {
      hint: 'Is the endpoint right? A proxy, a captive portal or maintenance may answer in its place.',
      details: { url, status, contentType: answer.contentType },
      cause,
    });
  }
}
