/** From an answer that is not what was asked for to an error that says so. */
import { STATUS_CODES } from 'node:http';
import { HubError } from '../errors.js';
import { parseRetryAfter } from './retry.js';
import { type HttpAnswer, shownUrl } from './send-request.js';

/** An answer that is an error, or looks like one. */
export interface SuspectAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Fit for messages: without query. */
  readonly url: string;
  /** Whether it came from another origin than the one asked. */
  readonly foreign: boolean;
  /** The first 64 KiB of the body. */
  readonly text: string;
}

/**
 * The error for an answer in the words of the service that was asked; `details.transient` decides on another attempt.
 * Undefined: the general error for a status of 400 and above, and nothing wrong below that.
 */
export type ExplainAnswer = (answer: SuspectAnswer) => HubError | undefined;

const TEXT_LIMIT = 64 * 1024;

/** Reads an answer's body and finds the error for it, if it is one. */
export async function errorOf(answer: HttpAnswer, explain: ExplainAnswer | undefined): Promise<HubError | undefined> {
  // A body that breaks off says less; the status still says enough.
  const text = await answer.text(TEXT_LIMIT).catch((cause: unknown) => {
    if (cause instanceof HubError) return '';
    throw cause;
  });
  const { status, headers, foreign } = answer;
  const suspect: SuspectAnswer = { status, headers, foreign, url: shownUrl(answer.url), text };
  return explain?.(suspect) ?? (status >= 400 ? statusError(suspect) : undefined);
}

/** The general error for a status. */
export function statusError({ status, headers, url }: SuspectAnswer): HubError {
  return new HubError(`${url}: the server answered ${statusLine(status)}`, {
    details: statusDetails(status, headers, url),
  });
}

/** `503 Service Unavailable` */
export function statusLine(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? ''}`.trim();
}

/** What programs need to know of a status: `transient`, and `retryAfterMs` if the server says so. */
export function statusDetails(status: number, headers: Headers, url: string): Record<string, unknown> {
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'));
  const transient =
    status >= 500 ? status !== 501 && status !== 505 : status === 408 || status === 425 || status === 429;
  return { url, status, transient, ...(transient && retryAfterMs !== undefined ? { retryAfterMs } : {}) };
}
