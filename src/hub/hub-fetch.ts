/**
 * The `fetch` that `@huggingface/hub` is given. It knows the protocol; what it lacks is here: attempts after a failure,
 * time limits, errors that explain, a token for one origin only, progress of uploads.
 */
import { HubError, TransferError } from '../errors.js';
import { mayBeLoopback } from '../transfer/address.js';
import { errorOf } from '../transfer/answer-error.js';
import { SilenceWatch } from '../transfer/peer-watch.js';
import { requestJson } from '../transfer/request-json.js';
import { withRetries } from '../transfer/retry.js';
import { type HttpRequest, sendRequest } from '../transfer/send-request.js';
import { explainAnswer, type HubSubject } from './explain-answer.js';
import { authorization, type HubConnection, requestSettings } from './hub-options.js';

/** The library takes only tokens that start so. It puts this one where the real one belongs; see {@link hubFetch}. */
const PLACEHOLDER = 'hf_placeholder';

/** The longest standstill of an upload in milliseconds, the storage's own work at its end included. */
const UPLOAD_SILENCE_MS = 120_000;

/** No upload as a whole is too slow, as long as it moves. */
const NO_LIMIT_MS = 2 ** 31 - 1;

/** For the parameter `accessToken` of the library. */
export function placeholderToken({ token }: HubConnection): { accessToken?: string } {
  return token ? { accessToken: PLACEHOLDER } : {};
}

/** What the library hands to a `fetch` that reports progress, between 0 and 1. */
type LibraryRequest = RequestInit & { progressHint?: { progressCallback?: (progress: number) => void } };

/**
 * Requests that may be sent twice are repeated here. A commit is not; its failure, and that of a storage to take what
 * it was asked to take, is a HubError with `startOver`: another attempt begins with a look at what is there.
 */
export function hubFetch(connection: HubConnection, subject: HubSubject): typeof fetch {
  const { origin, hostname } = new URL(connection.endpoint);
  return async (input, init: LibraryRequest = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (mayBeLoopback(url.hostname) && !mayBeLoopback(hostname)) {
      throw new HubError(`${subject.repoId}: the Hub wants an upload to go to this machine, ${url.host}`, {
        hint: 'Nothing was sent. Ask whoever runs the Hub, or a mirror of it, why its storage has such an address.',
        details: { repoId: subject.repoId, host: url.host },
      });
    }
    const { authorization: forHub, ...headers } = Object.fromEntries(new Headers(init.headers));
    // The library gives up the other parts of an upload when one has failed.
    const signals = [connection.signal, init.signal].filter((signal) => signal instanceof AbortSignal);
    const signal = signals.length > 0 ? AbortSignal.any(signals) : undefined;
    const privateHeaders = forHub && url.origin === origin ? authorization(connection) : {};
    const request = { ...requestSettings(connection), url, method: init.method, headers, privateHeaders, signal };
    const { body } = init;
    if (body instanceof Blob) return upload(request, body, connection, init.progressHint?.progressCallback);
    const withBody = typeof body === 'string' ? { ...request, body } : request;
    // What ends an upload in parts goes to a signed address, and may be answered with nothing.
    if (init.method === 'POST' && !forHub) {
      return withRetries(() => send(withBody), connection.retry, signal);
    }
    const isCommit = /\/commit\/[^/]+$/.test(url.pathname);
    try {
      const answer = await requestJson({
        ...withBody,
        explain: explainAnswer(connection, subject),
        retry: isCommit ? { maxAttempts: 1 } : connection.retry,
      });
      return new Response(JSON.stringify(answer.value), { status: answer.status, headers: answer.headers });
    } catch (error) {
      throw isCommit && mayBeStartedOver(error) ? startOver(error) : error;
    }
  };
}

/** Sends a file, or a part of one, to the address that the Hub gave. */
function upload(
  request: HttpRequest,
  body: Blob,
  connection: HubConnection,
  onProgress: ((progress: number) => void) | undefined,
): Promise<Response> {
  const attempt = async (): Promise<Response> => {
    const stalled = new AbortController();
    const limit = Math.max(connection.timeoutMs, UPLOAD_SILENCE_MS);
    const watch = new SilenceWatch(limit, () => {
      const { host } = new URL(request.url);
      const message = `${host}: the upload has not moved for ${limit / 1000} s`;
      stalled.abort(new TransferError(message, { isTransient: true }));
    });
    let isOver = false;
    const counted = countedBlob(body, (sent) => {
      if (isOver) return;
      watch.heard();
      onProgress?.(sent / Math.max(1, body.size));
    });
    const signal = AbortSignal.any([stalled.signal, ...(request.signal ? [request.signal] : [])]);
    try {
      return await send({ ...request, body: counted, answerTimeoutMs: NO_LIMIT_MS, signal });
    } catch (error) {
      // A signed address that is refused has most often expired: asked again, the Hub gives a fresh one.
      throw error instanceof TransferError && !error.isTransient ? startOver(error) : error;
    } finally {
      isOver = true;
      watch.stop();
    }
  };
  return withRetries(attempt, connection.retry, request.signal);
}

async function send(request: HttpRequest): Promise<Response> {
  const answer = await sendRequest(request);
  const error = answer.status >= 400 ? await errorOf(answer, undefined) : undefined;
  if (error) throw error;
  const text = await answer.text(1 << 20);
  return new Response(answer.status === 204 ? null : text, { status: answer.status, headers: answer.headers });
}

/** Whether a commit may succeed later: the Hub was busy or out of reach, or another commit came in between. */
function mayBeStartedOver(error: unknown): error is TransferError {
  return error instanceof TransferError && (error.isTransient || error.status === 409 || error.status === 412);
}

function startOver(error: TransferError): HubError {
  return new HubError(error.summary, { ...error, cause: error, startOver: true });
}

/** A blob that reports how many bytes of it have been read. */
function countedBlob(blob: Blob, onRead: (bytes: number) => void): Blob {
  const stream = (): ReturnType<Blob['stream']> => {
    let sent = 0;
    const counter = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform: (chunk, controller) => {
        sent += chunk.length;
        onRead(sent);
        controller.enqueue(chunk);
      },
    });
    return blob.stream().pipeThrough(counter);
  };
  // Fetch takes only real blobs, and asks them for these three.
  return Object.defineProperties(new Blob([]), {
    size: { value: blob.size },
    type: { value: blob.type },
    stream: { value: stream },
  });
}
