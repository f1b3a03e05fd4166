/** Fetches one file over HTTP, whatever happens on the way, or says why not. */
import { TransferError } from '../errors.js';
import { requireSpace } from '../files/disk-errors.js';
import { redact } from '../messages/secrets.js';
import { type ExplainAnswer, errorOf, PAGE_HINT } from './answer-error.js';
import { checkDigest, type FileDigests } from './digests.js';
import type { HttpAnswer } from './http-answer.js';
import { type FileFacts, PartialFile } from './partial-file.js';
import { DEFAULT_SPEED, type SpeedLimit } from './peer-watch.js';
import { requestError, shownUrl } from './request-failure.js';
import { RetryBudget, type RetryOptions } from './retry.js';
import { type HttpRequest, sendRequest } from './send-request.js';

export interface DownloadProgress {
  /** Bytes on the disk, those of earlier runs included. */
  readonly received: number;
  /** Bytes of the whole file; undefined if the server does not say. */
  readonly total: number | undefined;
  /** Bytes that were on the disk when this download began. */
  readonly resumedFrom: number;
}

export interface DownloadRequest
  extends Pick<HttpRequest, 'headers' | 'privateHeaders' | 'allowInsecureHttp' | 'signal'> {
  /**
   * Where from. A function is called for every attempt and gives a fresh address, e.g. a signed one; an address that
   * redirects is asked again for every attempt, with the same effect.
   */
  readonly url: string | URL | (() => Promise<string | URL>);
  /** The finished file. It appears, or replaces another, when it is whole and checked. */
  readonly path: string;
  /**
   * Names what is fetched, without secrets; an interrupted file of another source is not continued. Default: the URL
   * without its query. Needed if `url` is a function.
   */
  readonly source?: string | undefined;
  /** Bytes. */
  readonly expectedSize?: number | undefined;
  /** The strongest is checked. */
  readonly digests?: FileDigests | undefined;
  /** Further digests, from the header of the answer. */
  readonly readDigests?: ((headers: Headers) => FileDigests) | undefined;
  /** Error texts of the service; see there. */
  readonly explain?: ExplainAnswer | undefined;
  /** Media types that an answer of status 200 cannot have; such an answer is shown to `explain`. */
  readonly suspectTypes?: readonly string[] | undefined;
  readonly answerTimeoutMs?: number | undefined;
  readonly silenceTimeoutMs?: number | undefined;
  /** A server that sends less is given up, after three attempts. Default: 1024 bytes a second, on average over 60 s. */
  readonly speed?: SpeedLimit | undefined;
  /**
   * Bytes of a file whose size neither `expectedSize` nor the server gives. Default 64 GiB; the last 1 GiB of the disk
   * is not filled either.
   */
  readonly maxUnknownBytes?: number | undefined;
  readonly retry?: RetryOptions | undefined;
  /** At most ten times a second, and once at the end. */
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

export interface DownloadResult {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** The digest that was checked; undefined if none was known. */
  readonly digest: { readonly name: string; readonly value: string } | undefined;
  /** Bytes that an earlier, interrupted run had left. */
  readonly resumedFrom: number;
  /** The successful one included. */
  readonly attempts: number;
}

/** New bytes that count as progress: the retries start again. */
const PROGRESS_BYTES = 64 * 1024;
/** Windows of the speed limit after whose bytes a server counts as not slow. */
const STEADY_WINDOWS = 8;

const MAX_UNKNOWN_BYTES = 64 * 2 ** 30;
/** What a file of unknown size leaves free on the disk. */
const KEPT_FREE = 2 ** 30;
/** Bytes between two looks at the disk. */
const LOOK_BYTES = 64 * 2 ** 20;

/**
 * Downloads a file in flat memory. An interrupted transfer goes on where it stopped, also in a later process, provided
 * that the server still offers the same file (ETag, Last-Modified, size, digests) and really sends the range asked
 * for; else it starts again. Size and digest are checked before the file gets its name. One path must not be the
 * target of two downloads at a time: see `withLock`.
 * @throws TransferError for an error that trying again does not cure, or after too many attempts; the signal's reason
 */
export async function downloadFile(request: DownloadRequest): Promise<DownloadResult> {
  const { path, signal } = request;
  signal?.throwIfAborted();
  const partial = await PartialFile.open(path, sourceOf(request));
  const { expectedSize } = request;
  if (expectedSize !== undefined && (partial.facts?.size ?? expectedSize) !== expectedSize) await partial.discard();
  const resumedFrom = partial.resumable(request.digests ?? {}) ? partial.size : 0;
  const budget = new RetryBudget(request.retry);
  const report = progressReporter(request, resumedFrom);
  let attempts = 0;
  let furthest = partial.size;
  try {
    for (;;) {
      try {
        attempts++;
        await attempt(request, partial, report);
        const digest = await verify(request, partial);
        await partial.finish();
        const { size } = partial;
        report(size, size, true);
        return { path, size, digest, resumedFrom, attempts };
      } catch (error) {
        if (partial.size >= furthest + PROGRESS_BYTES) {
          budget.renew(partial.size - furthest >= steadyBytes(request.speed));
          furthest = partial.size;
        }
        await budget.wait(error, signal);
      }
    }
  } finally {
    await partial.close();
  }
}

/** One request, its body appended to the partial file. */
async function attempt(request: DownloadRequest, partial: PartialFile, report: Reporter): Promise<void> {
  const expected = request.digests ?? {};
  if (partial.size > 0 && partial.size === partial.facts?.size && partial.resumable(expected)) return;
  const from = partial.resumable(expected) ? partial.size : 0;
  const url = typeof request.url === 'function' ? await request.url() : request.url;
  const etag = partial.facts?.etag;
  const answer = await sendRequest({
    url,
    headers: {
      ...request.headers,
      // Sizes, ranges and digests are those of the file as it is stored.
      'accept-encoding': 'identity',
      ...(from > 0 ? { range: `bytes=${from}-` } : {}),
      ...(from > 0 && etag && !etag.startsWith('W/') ? { 'if-range': etag } : {}),
    },
    privateHeaders: request.privateHeaders,
    allowInsecureHttp: request.allowInsecureHttp,
    answerTimeoutMs: request.answerTimeoutMs,
    silenceTimeoutMs: request.silenceTimeoutMs,
    signal: request.signal,
  });
  try {
    await refuseOtherThanFile(answer, request, partial);
    const facts = factsOf(answer, request);
    if (answer.status === 206) await requireContinuation(answer, facts, partial, from);
    else await partial.restart(facts);
    await receive(answer, request, partial, report);
  } finally {
    await answer.cancel();
  }
}

async function refuseOtherThanFile(answer: HttpAnswer, request: DownloadRequest, partial: PartialFile): Promise<void> {
  const { status, url } = answer;
  if (status === 416) {
    await partial.discard();
    throw requestError(url, 'the server has no more bytes of this file', { status: 416, isTransient: true });
  }
  const suspect = request.suspectTypes?.includes(answer.contentType) ?? false;
  if (status >= 400 || suspect) {
    // The storage refuses a signed address, most often because it has expired: the next attempt brings a fresh one.
    const signed = answer.foreign || typeof request.url === 'function';
    const error = await errorOf(answer, signed ? undefined : request.explain);
    if (error && signed && status < 500) {
      throw error.with({
        hint: 'The address that the service gave is refused by its storage: expired, or the clock is wrong?',
        isTransient: true,
      });
    }
    if (error) throw error;
    if (suspect) {
      const from = answer.foreign ? `, after a redirect to ${url.host}` : '';
      throw requestError(url, `${answer.contentType} came where a file was expected${from}`, {
        hint: PAGE_HINT,
        status,
        details: { contentType: answer.contentType },
      });
    }
  }
  const encoding = answer.headers.get('content-encoding') ?? 'identity';
  if ((status !== 200 && status !== 206) || encoding !== 'identity') {
    const what = encoding === 'identity' ? `status ${status}` : `content encoding ${encoding}`;
    throw requestError(url, `${what} where a file was expected`, { status });
  }
}

/** Of the whole file, also where only a part of it comes. */
function factsOf(answer: HttpAnswer, request: DownloadRequest): FileFacts {
  const { headers, status } = answer;
  const text = status === 206 ? contentRange(headers)?.total : headers.get('content-length');
  const size = text && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  const { expectedSize } = request;
  if (size !== undefined && expectedSize !== undefined && size !== expectedSize) {
    throw requestError(answer.url, `the server offers ${size} bytes, ${expectedSize} were expected`, {
      isTransient: true,
      details: { path: request.path, size, expectedSize },
    });
  }
  return {
    etag: note(headers, 'etag'),
    lastModified: note(headers, 'last-modified'),
    size: size ?? expectedSize,
    digests: request.readDigests?.(headers) ?? {},
  };
}

/** A header that may be written down beside the file: short, and without a secret that the server echoes. */
function note(headers: Headers, name: string): string | undefined {
  const value = headers.get(name);
  return value !== null && value.length <= 1024 && redact(value) === value ? value : undefined;
}

function steadyBytes(speed: SpeedLimit = DEFAULT_SPEED): number {
  return (STEADY_WINDOWS * speed.minBytesPerSecond * speed.windowMs) / 1000;
}

function contentRange(headers: Headers): { start: number; total: string } | undefined {
  const [, start, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers.get('content-range') ?? '') ?? [];
  return start === undefined ? undefined : { start: Number(start), total: total! };
}

/** A part of a file is taken only if it is the part asked for, of the file that was begun. */
async function requireContinuation(
  answer: HttpAnswer,
  facts: FileFacts,
  partial: PartialFile,
  from: number,
): Promise<void> {
  const range = contentRange(answer.headers);
  const wrong = from === 0 || range?.start !== from;
  if (!wrong && !partial.differsFrom(facts)) return;
  await partial.discard();
  const what = wrong
    ? `bytes from ${from} were asked for, \`${answer.headers.get('content-range') ?? ''}\` came`
    : 'the file changed between two attempts';
  throw requestError(answer.url, what, { status: 206, isTransient: true });
}

async function receive(
  answer: HttpAnswer,
  request: DownloadRequest,
  partial: PartialFile,
  report: Reporter,
): Promise<void> {
  const total = partial.facts?.size;
  const { url } = answer;
  if (total !== undefined) await requireSpace(request.path, total - partial.size);
  report(partial.size, total);
  let look = LOOK_BYTES;
  for await (const chunk of answer.chunks(request.speed ?? DEFAULT_SPEED)) {
    if (total !== undefined && partial.size + chunk.length > total) {
      await partial.discard();
      throw requestError(url, `more than the ${total} bytes announced`, { isTransient: true });
    }
    if (total === undefined) {
      const isLook = partial.size + chunk.length > look;
      if (isLook) look = partial.size + LOOK_BYTES;
      await requireEnd(request, partial, url, chunk.length, isLook);
    }
    await partial.append(chunk);
    report(partial.size, total);
  }
  if (total !== undefined && partial.size < total) {
    throw requestError(url, `the transfer broke off after ${partial.size} of ${total} bytes`, {
      isTransient: true,
      details: { received: partial.size, total },
    });
  }
}

/** Checked before each piece of a file of unknown size. Received bytes of an endless one are worth nothing. */
async function requireEnd(
  request: DownloadRequest,
  partial: PartialFile,
  url: URL,
  next: number,
  isLook: boolean,
): Promise<void> {
  const most = request.maxUnknownBytes ?? MAX_UNKNOWN_BYTES;
  try {
    if (partial.size + next > most) {
      throw requestError(url, `more than ${most} bytes came, and the server does not say how many there are`, {
        hint: 'Is the address right? A server that is in order gives the length of a file of this size.',
        details: { path: request.path, maxBytes: most },
      });
    }
    if (isLook) await requireSpace(request.path, next + KEPT_FREE);
  } catch (error) {
    await partial.discard();
    throw error;
  }
}

/** @throws TransferError, transient, for a wrong digest; the bytes are gone then */
async function verify(request: DownloadRequest, partial: PartialFile): Promise<DownloadResult['digest']> {
  const digests = { ...partial.facts?.digests, ...request.digests };
  const check = await checkDigest(partial.temporaryPath, digests, request.signal);
  if (!check) return undefined;
  if (check.received === check.expected) return { name: check.name, value: check.received };
  await partial.discard();
  throw new TransferError(
    `${request.path}: the file arrived damaged: ${check.name} ${check.received} for ${check.expected}`,
    {
      hint: 'If it happens again the copy on the server, or a proxy in between, is at fault.',
      isTransient: true,
      details: { path: request.path, ...check },
    },
  );
}

type Reporter = (received: number, total: number | undefined, last?: boolean) => void;

function progressReporter({ onProgress }: DownloadRequest, resumedFrom: number): Reporter {
  let next = Number.NEGATIVE_INFINITY;
  return (received, total, last = false) => {
    const now = performance.now();
    if (!onProgress || (now < next && !last)) return;
    next = now + 100;
    onProgress({ received, total, resumedFrom });
  };
}

function sourceOf({ source, url }: DownloadRequest): string {
  if (source !== undefined) return source;
  if (typeof url === 'function') throw new TransferError('a download from changing addresses needs a `source`');
  return shownUrl(new URL(url));
}
