/** The two calls of Kaggle's public API that a download needs, and its errors in plain words. */
import { z } from 'zod';
import { ConfigError, KaggleError } from '../errors.js';
import { isLoopback } from '../transfer/address.js';
import { type SuspectAnswer, statusFields, statusLine } from '../transfer/answer-error.js';
import { googleDigests } from '../transfer/digests.js';
import { type DownloadProgress, type DownloadResult, downloadFile } from '../transfer/download-file.js';
import { requestJson } from '../transfer/request-json.js';
import type { RetryOptions } from '../transfer/retry.js';
import { CREDENTIALS_HINT, type KaggleCredentials } from './credentials.js';
import { formatKaggleHandle, KAGGLE, type KaggleDataset, type KaggleSource, kagglePage } from './handle.js';

interface KaggleApiOptions {
  /** See `kaggleEndpoint`. */
  readonly endpoint: string;
  readonly credentials: KaggleCredentials | undefined;
  /** For an answer to begin, and between two pieces of it. Milliseconds. */
  readonly timeoutMs: number;
  readonly retry: RetryOptions;
  readonly signal: AbortSignal | undefined;
}

/**
 * The base address of the service, e.g. of a mirror, without a slash at the end.
 * @param value address with or without `/api/v1`; undefined or empty: Kaggle itself
 * @throws ConfigError unless it is https, or http on this machine
 */
export function kaggleEndpoint(value: string | undefined): string {
  if (!value) return KAGGLE;
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const encrypted = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname));
  if (!url || !encrypted || url.username || url.password || url.search || url.hash) {
    throw new ConfigError('the endpoint is no address that data sets can be fetched from', {
      hint: 'Expected https://HOST, or http://localhost:PORT on this machine, without user, password or query.',
      details: url ? { protocol: url.protocol, host: url.host } : {},
    });
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '').replace(/\/api\/v1$/, '');
}

const viewSchema = z.looseObject({ currentVersionNumber: z.number().int().positive() });

export class KaggleApi {
  readonly #options: KaggleApiOptions;

  constructor(options: KaggleApiOptions) {
    this.#options = options;
  }

  /** Number of the current version. */
  async currentVersion(dataset: KaggleDataset): Promise<number> {
    const url = this.#url(`datasets/view/${dataset.owner}/${dataset.dataset}`);
    const { value } = await requestJson({ ...this.#settings({ ...dataset, version: undefined }), url });
    const view = viewSchema.safeParse(value);
    if (view.success) return view.data.currentVersionNumber;
    throw new KaggleError(`${url}: the answer does not name the current version of the data set`, {
      hint: `Name one: ${dataset.owner}/${dataset.dataset}/versions/N.`,
      url,
      cause: view.error,
    });
  }

  /** Fetches the archive of a version of a data set, or of a competition. */
  downloadArchive(
    source: KaggleSource,
    path: string,
    onProgress: ((progress: DownloadProgress) => void) | undefined,
  ): Promise<DownloadResult> {
    const [url, query, version] =
      'competition' in source
        ? [this.#url(`competitions/data/download-all/${source.competition}`), '', '']
        : [
            this.#url(`datasets/download/${source.owner}/${source.dataset}`),
            `?dataset_version_number=${source.version}`,
            `/versions/${source.version}`,
          ];
    return downloadFile({
      ...this.#settings(source),
      url: `${url}${query}`,
      path,
      source: `${url}${version}`,
      readDigests: googleDigests,
      suspectTypes: ['application/json', 'text/html'],
      onProgress,
    });
  }

  #url(path: string): string {
    return `${this.#options.endpoint}/api/v1/${path}`;
  }

  /** What every request for a source has in common. */
  #settings(source: KaggleSource) {
    const { credentials, timeoutMs, retry, signal } = this.#options;
    const privateHeaders: Record<string, string> = credentials ? { authorization: credentials.authorization } : {};
    const explain = (answer: SuspectAnswer): KaggleError | undefined => this.#explain(answer, source);
    return { privateHeaders, explain, answerTimeoutMs: timeoutMs, silenceTimeoutMs: timeoutMs, retry, signal };
  }

  #explain(answer: SuspectAnswer, source: KaggleSource): KaggleError | undefined {
    const body = readErrorBody(answer.text);
    // An error may come with status 200: its code is in the body, or a redirect has led to the page for signing in.
    const hidden = new URL(answer.url).pathname.startsWith('/account/login') ? 401 : (body?.code ?? 0);
    const status = answer.status >= 400 ? answer.status : hidden;
    if (status < 400) return undefined;
    const { credentials } = this.#options;
    const name = formatKaggleHandle(source);
    const page = kagglePage(source);
    const isCompetition = 'competition' in source;
    let said = body?.message ?? '';
    for (const secret of credentials?.secrets ?? []) said = said.replaceAll(secret, '***');
    const who = credentials ? `the credentials from ${credentials.source}` : 'no credentials';
    const [what, hint] = ((): [string, string | undefined] => {
      switch (status) {
        case 401:
          return credentials
            ? [`Kaggle does not accept ${who}`, `They may have expired or been revoked. ${CREDENTIALS_HINT}`]
            : [
                'Kaggle wants to know who asks, and no credentials were found',
                isCompetition ? `Accept the rules on ${page}/rules. ${CREDENTIALS_HINT}` : CREDENTIALS_HINT,
              ];
        case 403:
          return [
            `Kaggle does not allow this download with ${who}`,
            (isCompetition
              ? `The rules of the competition must be accepted first: open ${page}/rules signed in. `
              : `The data set may be private, or its terms want to be accepted first: open ${page} signed in. `) +
              (credentials ? 'The account may also lack a verified phone number.' : CREDENTIALS_HINT),
          ];
        case 404:
          return [
            isCompetition
              ? 'Kaggle has no such competition, or one without files'
              : source.version === undefined
                ? 'Kaggle has no such data set'
                : 'Kaggle has no such data set, or no such version of it',
            `Does ${page} exist?${credentials ? '' : ` A private one needs credentials. ${CREDENTIALS_HINT}`}`,
          ];
        case 429:
          return ['Kaggle was asked too often', 'Wait some minutes. With credentials more requests are allowed.'];
        default:
          return [`Kaggle answered ${statusLine(status)}`, undefined];
      }
    })();
    return new KaggleError(`${name}: ${what} (${status})${said ? `. It says: ${said}` : ''}`, {
      ...statusFields(status, answer.headers, answer.url),
      hint,
      details: { handle: name },
    });
  }
}

/** `{"code": 403, "message": "..."}`, where the code may be text; undefined for anything else. */
function readErrorBody(text: string): { code: number | undefined; message: string } | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof body !== 'object' || body === null) return undefined;
  const { code, message } = body as Record<string, unknown>;
  const number = typeof code === 'number' || typeof code === 'string' ? Number(code) : Number.NaN;
  return {
    code: Number.isInteger(number) && number >= 400 && number < 600 ? number : undefined,
    message: typeof message === 'string' ? message.replace(/\s+/g, ' ').trim().slice(0, 300) : '',
  };
}
