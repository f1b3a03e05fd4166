/** Whether a page on the Hub is one that this package made and nobody touched since. */
import { createHash } from 'node:crypto';

const MARK = /\n<!-- made by ministral-tune, sha256 ([0-9a-f]{64}); an edited page is kept -->\s*$/;
/** In the metadata, before what the page had before this package made it. */
const CARRIED = '# from the page before:';

/**
 * A page with a mark that any edit makes void.
 * @param there the page that it may replace: metadata of one without text are carried over
 */
export function markedCard(card: string, there = ''): string {
  // As it is read again, so that line ends of the caller's texts are no edit either.
  const text = withCarried(plain(card), carriedFrom(plain(there)));
  return `${text}\n<!-- made by ministral-tune, sha256 ${digest(text)}; an edited page is kept -->\n`;
}

/** Whether nobody has written this page: it is ours as it was made, or has no text, as a new repository's. */
export function isReplaceable(there: string): boolean {
  const page = plain(there);
  const [, made] = MARK.exec(page) ?? [];
  if (made !== undefined) return digest(page.replace(MARK, '')) === made;
  return metadataAlone(page) !== undefined;
}

function carriedFrom(page: string): string[] {
  if (MARK.test(page)) {
    const lines = frontMatter(page)?.lines ?? [];
    const at = lines.indexOf(CARRIED);
    return at < 0 ? [] : lines.slice(at + 1);
  }
  return metadataAlone(page) ?? [];
}

function withCarried(card: string, lines: readonly string[]): string {
  const own = frontMatter(card);
  if (!own) return card;
  const keys = new Set(own.lines.flatMap((line) => keyOf(line) ?? []));
  const carried: string[] = [];
  let isNew = false;
  for (const line of lines) {
    const key = keyOf(line);
    // What follows a key and begins with a space or a dash is its value.
    if (key !== undefined) isNew = !keys.has(key);
    if (isNew) carried.push(line);
  }
  if (carried.length === 0) return card;
  return ['---', ...own.lines, CARRIED, ...carried, '---', own.text].join('\n');
}

/** The lines of a page that has metadata and no text; of an empty page none. */
function metadataAlone(page: string): string[] | undefined {
  if (page.trim() === '') return [];
  const found = frontMatter(page);
  return found && found.text.trim() === '' ? found.lines : undefined;
}

function frontMatter(page: string): { lines: string[]; text: string } | undefined {
  const lines = page.split('\n');
  const end = lines.indexOf('---', 1);
  if (lines[0] !== '---' || end < 0) return undefined;
  return { lines: lines.slice(1, end), text: lines.slice(end + 1).join('\n') };
}

function keyOf(line: string): string | undefined {
  return /^["']?([\w-]+)["']?\s*:/.exec(line)?.[1];
}

/** Line ends of other systems are no edit. */
function plain(page: string): string {
  return page.replace(/^\ufeff/, '').replaceAll('\r\n', '\n');
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
