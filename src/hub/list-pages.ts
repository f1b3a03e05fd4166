/** The pages of a list of files, as long as they bring something new. */
import { HubError } from '../errors.js';
import { shownUrl } from '../transfer/request-failure.js';
import { askHub, type HubSubject } from './explain-answer.js';
import type { HubConnection } from './hub-options.js';

/** What a list may take in all. */
export interface ListLimits {
  /** Files and folders: far above what the Hub advises for a repository. Default 150,000. */
  readonly maxEntries?: number | undefined;
  /** Bytes of all paths. Default 16 MiB. */
  readonly maxPathBytes?: number | undefined;
  /** Default 3,000: the Hub puts 1,000 entries on one. */
  readonly maxPages?: number | undefined;
}

/** A list beyond its limits: that of a single folder may be within them. */
export class ListTooLongError extends HubError {}

/** Characters of the query of a page: all are kept, so that one that comes again is seen. */
const MAX_SEARCH = 4096;

/** Time for all pages, in multiples of the longest silence of the server. */
const WHOLE_LIST = 20;

/**
 * The entries of all pages.
 * @param url of the first page
 * @throws HubError, explained; also for pages that come again, lead elsewhere or do not end
 */
export async function* listPages(
  url: URL,
  connection: HubConnection,
  subject: HubSubject,
  limits: ListLimits = {},
): AsyncGenerator<readonly unknown[]> {
  const { maxEntries = 150_000, maxPathBytes = 16 * 2 ** 20, maxPages = 3000 } = limits;
  const isDataset = subject.repoId.startsWith('datasets/');
  const fail = (what: string, Class = HubError): HubError =>
    new Class(`${subject.repoId}: the list of its files ${what}`, {
      hint:
        Class === ListTooLongError && isDataset
          ? 'HubImageFolder.download lists a single folder of it where `dataDir` names one.'
          : 'Is the endpoint right? A folder that holds the files can be given in place of the name.',
      url: shownUrl(url),
      details: { repoId: subject.repoId },
    });
  const deadline = new AbortController();
  const longest = WHOLE_LIST * connection.timeoutMs;
  const timer = setTimeout(() => deadline.abort(fail(`was not complete after ${longest / 1000} s`)), longest);
  const signal = AbortSignal.any([deadline.signal, ...(connection.signal ? [connection.signal] : [])]);
  const asked = new Set<string>();
  let [entries, pathBytes, last] = [0, 0, ''];
  let next: URL | undefined = url;
  try {
    while (next) {
      if (asked.has(next.search)) throw fail('leads back to a page that has come before');
      asked.add(next.search);
      if (asked.size > maxPages) throw fail(`has more than ${maxPages} pages`, ListTooLongError);
      const answer = await askHub({ ...connection, signal }, subject, next);
      const page = answer.value;
      if (!Array.isArray(page)) throw fail('is no list');
      const paths = page.map((entry) => String((entry as { path?: unknown } | null)?.path));
      entries += page.length;
      pathBytes += paths.reduce((sum, path) => sum + path.length, 0);
      if (entries > maxEntries) throw fail(`has more than ${maxEntries} entries`, ListTooLongError);
      if (pathBytes > maxPathBytes) throw fail(`has more than ${maxPathBytes} bytes of names`, ListTooLongError);
      const again = paths.join('\n');
      next = nextPage(answer.headers, next, url, fail);
      if (page.length > 0 && again === last) throw fail('has the same page twice');
      if (page.length === 0 && next && last === '') throw fail('goes on after an empty page');
      last = again;
      yield page;
    }
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The page that the header `link` names. Mirrors hand on the Hub's own address in it, so only its query is taken: the
 * same server is asked, and the token goes nowhere else.
 */
function nextPage(headers: Headers, page: URL, first: URL, fail: (what: string) => HubError): URL | undefined {
  const [, link] = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get('link') ?? '') ?? [];
  if (link === undefined) return undefined;
  const named = URL.canParse(link, page.href) ? new URL(link, page) : undefined;
  const route = /\/api\/.*$/.exec(first.pathname)?.[0] ?? first.pathname;
  if (!named || !sameEnd(named.pathname, route)) throw fail('goes on at another address');
  if (named.search.length > MAX_SEARCH) throw fail('cannot be followed: the address of its next page is too long');
  const next = new URL(first);
  next.search = named.search;
  return next;
}

/** Whether a path ends with another, however the two are encoded. */
function sameEnd(path: string, end: string): boolean {
  try {
    return decodeURI(path).endsWith(decodeURI(end));
  } catch {
    return false;
  }
}
