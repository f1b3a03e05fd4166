/** From an answer that is not what was asked for to an error that says so. */
import { STATUS_CODES } from 'node:http';
import { TransferError, type TransferErrorOptions } from '../errors.js';
import { redactAddresses } from '../messages/secrets.js';
import type { HttpAnswer } from './http-answer.js';
import { shownUrl } from './request-failure.js';
import { parseRetryAfter } from './retry.js';

/** An answer that is an error, or looks like one. */
export interface SuspectAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Fit for messages: without query. */
  readonly url: string;
  /** Whether it came from another origin than the one asked. */
  readonly foreign: boolean;
  /** The first 64 KiB of the body, without secrets. */
  readonly text: string;
}

/**
 * The error for an answer in the words of the service that was asked.
 * Undefined: the general error for a status of 400 and above, and nothing wrong below that.
 */
export type ExplainAnswer = (answer: SuspectAnswer) => TransferError | undefined;

const TEXT_LIMIT = 64 * 1024;

/** Reads an answer's body and finds the error for it, if it is one. */
export async function errorOf(
  answer: HttpAnswer,
  explain: ExplainAnswer | undefined,
): Promise<TransferError | undefined> {
  // A body that breaks off says less; the status still says enough.
  const text = await answer.text(TEXT_LIMIT).catch((cause: unknown) => {
    if (cause instanceof TransferError) return '';
    throw cause;
  });
  const suspect = suspectAnswer(answer, text);
  const error = explain?.(suspect) ?? (answer.status >= 400 ? statusError(suspect) : undefined);
  // A proxy answers in the name of the host where the request is not encrypted.
  if (!error || answer.proxy === undefined || answer.url.protocol === 'https:') return error;
  return error.with({
    summary: `${error.summary}; it may be the proxy ${answer.proxy} that answers`,
    hint: [error.hint, 'NO_PROXY names hosts that need no proxy.'].filter(Boolean).join(' '),
    details: { ...error.details, proxy: answer.proxy },
  });
}

/** What an answer says, without what nobody may read: it is cut and quoted from here on. */
export function suspectAnswer(answer: HttpAnswer, text: string): SuspectAnswer {
  const own = ownSecrets(answer.url);
  const clean = (part: string): string =>
    redactAddresses(own.reduce((rest, secret) => rest.replaceAll(secret, '***'), part));
  const headers = new Headers();
  for (const [name, value] of answer.headers) headers.append(name, asHeader(clean(value)));
  const { status, foreign } = answer;
  return { status, headers, foreign, url: shownUrl(answer.url), text: clean(text.slice(0, TEXT_LIMIT)) };
}

/** Values in the query of a signed address, in both writings. */
function ownSecrets(url: URL): string[] {
  const values = [...url.searchParams.values()].filter((value) => value.length >= 16);
  return values.flatMap((value) => [value, encodeURIComponent(value)]);
}

/** Bytes beyond ASCII in a header are read as Latin-1, and only that can be put into one again. */
function asHeader(value: string): string {
  return value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?');
}

/** The general error for a status. */
function statusError({ status, headers, url, text }: SuspectAnswer): TransferError {
  const page = pageTitle(text);
  const what = `${url}: the server answered ${statusLine(status)}${page === undefined ? '' : `, with ${page}`}`;
  return new TransferError(what, { hint: page && PAGE_HINT, ...statusFields(status, headers, url) });
}

/** What to do about a page for people where a program expects data. */
export const PAGE_HINT =
  'Is the endpoint right? A page for signing in (a captive portal, the single sign-on of a company), a proxy or ' +
  'maintenance may answer in its place: open the address in a browser.';

/** `a web page, "Sign in"`, or undefined for what is no page. */
export function pageTitle(text: string): string | undefined {
  if (!/^\s*<(!doctype html|html|head|body|!--)/i.test(text)) return undefined;
  const [, title] = /<title[^>]{0,200}>([^<]{1,200})/i.exec(text) ?? [];
  const what = /type\s*=\s*["']?password/i.test(text) ? 'a web page for signing in' : 'a web page';
  const name = title?.replace(/\s+/g, ' ').trim().slice(0, 80);
  return name ? `${what}, "${name}"` : what;
}

/** `503 Service Unavailable` */
export function statusLine(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? ''}`.trim();
}

/** What programs need to know of an answer that is an error. */
export function statusFields(status: number, headers: Headers, url: string): TransferErrorOptions {
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'));
  const isTransient =
    status >= 500 ? status !== 501 && status !== 505 : status === 408 || status === 425 || status === 429;
  return { url, status, isTransient, retryAfterMs: isTransient ? retryAfterMs : undefined };
}
