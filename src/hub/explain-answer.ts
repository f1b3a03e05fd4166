/** From the Hub's error statuses to errors that say what is wrong and what to do. */
import { HubError, TransferError } from '../errors.js';
import {
  type ExplainAnswer,
  PAGE_HINT,
  pageTitle,
  type SuspectAnswer,
  statusFields,
  statusLine,
} from '../transfer/answer-error.js';
import { requestJson } from '../transfer/request-json.js';
import { type HubConnection, requestSettings } from './hub-options.js';
import { TOKEN_HINT } from './token.js';

/** What was asked for. */
export interface HubSubject {
  readonly repoId: string;
  readonly revision: string;
  readonly action: 'read' | 'write';
}

/** Explains the answers that the Hub itself gives; those of a storage that it leads to are not its own. */
export function explainAnswer(connection: HubConnection, subject: HubSubject): ExplainAnswer {
  return (answer) => (answer.status >= 400 ? hubError(answer, connection, subject) : undefined);
}

/** Asks the Hub for JSON. @throws HubError, explained; TransferError for a Hub out of reach; the signal's reason */
export function askHub(
  connection: HubConnection,
  subject: HubSubject,
  url: string | URL,
): ReturnType<typeof requestJson> {
  return requestJson({ ...requestSettings(connection), url, explain: explainAnswer(connection, subject) });
}

/** What failed on the way to the Hub, before it could say anything itself. Other errors stay as they are. */
export function asHubError(error: unknown): unknown {
  if (!(error instanceof TransferError) || error instanceof HubError) return error;
  return new HubError(error.summary, { ...error, cause: error });
}

function hubError(answer: SuspectAnswer, connection: HubConnection, subject: HubSubject): HubError {
  const { status, headers, url } = answer;
  const code = headers.get('x-error-code') ?? '';
  const said = saidBy(answer);
  const [what, usual] = explanation(status, code, said, connection, subject);
  // The Hub and its mirrors speak JSON: something else has answered.
  const hint = pageTitle(answer.text) === undefined ? usual : [usual, PAGE_HINT].filter(Boolean).join(' ');
  const fields = statusFields(status, headers, url);
  const retryAfterMs = fields.retryAfterMs ?? (status === 429 ? rateLimitReset(headers) : undefined);
  return new HubError(`${subject.repoId}: ${what} (${status})${said ? `. It says: ${said}` : ''}`, {
    ...fields,
    retryAfterMs,
    hint,
    errorCode: code || undefined,
    details: { repoId: subject.repoId },
  });
}

function explanation(
  status: number,
  code: string,
  said: string,
  { endpoint, token }: HubConnection,
  { repoId, revision, action }: HubSubject,
): [string, string | undefined] {
  const page = `${endpoint}/${repoId}`;
  const who = token ? `the token from ${token.source}` : 'no token';
  if (code === 'GatedRepo') {
    return token
      ? [
          `the repository is gated, and the account of ${who} has not been let in`,
          `Open ${page} signed in, accept the terms, and wait if its authors approve by hand. A fine-grained token ` +
            'also needs the right to read gated repositories.',
        ]
      : ['the repository is gated, and no token was found', `Accept the terms on ${page}. ${TOKEN_HINT}`];
  }
  if (code === 'RevisionNotFound') {
    return [`the repository has no revision "${revision}"`, `Its branches and tags: ${page}/tree/main.`];
  }
  if (code === 'EntryNotFound') return ['the repository has no such file', `Its files: ${page}/tree/${revision}.`];
  if (/access to this resource is disabled/i.test(said)) return ['the Hub has disabled this repository', undefined];
  switch (status) {
    case 401:
      if (token) return [`the Hub does not accept ${who}`, `It may have expired or been revoked. ${TOKEN_HINT}`];
      // The Hub does not show others which private names exist.
      return ['the Hub has no public repository of this name, and no token was found', `Is it right? ${TOKEN_HINT}`];
    case 403:
      return action === 'write'
        ? [
            `the Hub does not allow this with ${who}`,
            `Is "${repoId.split('/')[0]}" your account or organisation, and may the token write?`,
          ]
        : [`the Hub does not allow this with ${who}`, `Can you open ${page} signed in? May the token read it?`];
    case 404:
      return [
        `the Hub has no such repository, or ${token ? `hides it from ${who}` : 'it is private and no token was found'}`,
        `Does ${page} exist?${token ? '' : ` ${TOKEN_HINT}`}`,
      ];
    case 429:
      return ['the Hub was asked too often', token ? 'Wait some minutes.' : `A token allows more. ${TOKEN_HINT}`];
    default:
      return [`the Hub answered ${statusLine(status)}`, undefined];
  }
}

/** The server's own words, in one line; the token is not among them any more. */
function saidBy({ headers, text }: SuspectAnswer): string {
  let said = headers.get('x-error-message') ?? '';
  if (!said) {
    try {
      const body = JSON.parse(text) as Record<string, unknown> | null;
      const found = [body?.error, body?.message].find((value) => typeof value === 'string');
      said = [found, body?.error_description].filter((value) => typeof value === 'string').join(': ');
    } catch {
      // Plain text: the status says more.
      said = pageTitle(text) ?? '';
    }
  }
  return said.replace(/\s+/g, ' ').trim().slice(0, 300);
}

/** Milliseconds until more is allowed, of `ratelimit: "api";r=0;t=55`. */
function rateLimitReset(headers: Headers): number | undefined {
  const [, left, seconds] = /"\w+"\s*;\s*r\s*=\s*(\d+)\s*;\s*t\s*=\s*(\d+)/.exec(headers.get('ratelimit') ?? '') ?? [];
  return left === '0' && seconds !== undefined ? Number(seconds) * 1000 : undefined;
}
