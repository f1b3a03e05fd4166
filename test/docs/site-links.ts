/** Links of the built site: what each page, the navigation and the search lead to exists, to the anchor. */
import { readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { inflateSync } from 'node:zlib';
import { filesBelow } from './snippets.js';

interface Page {
  readonly ids: ReadonlySet<string>;
  readonly links: readonly string[];
}

export interface SiteLinks {
  readonly pages: number;
  readonly links: number;
  /** Each with the place that has it. */
  readonly dead: readonly string[];
}

/** Checks all links of a built site to itself; those to other sites are not asked for. */
export function checkLinks(site: string): SiteLinks {
  const files = filesBelow(site, '.');
  const known = new Set(files);
  const pages = new Map(
    files.filter((file) => file.endsWith('.html')).map((file) => [file, readPage(join(site, file))] as const),
  );
  const dead: string[] = [];
  let count = 0;
  const check = (from: string, link: string): void => {
    if (/^(https?|mailto|data|javascript):/.test(link)) return;
    count++;
    const [path = '', anchor = ''] = decodeURI(link).split('#');
    const target = path === '' ? from : posix.normalize(posix.join(dirname(from), path));
    // By icons.js: symbols of this page, drawn by the program.
    if (path === '' && anchor.startsWith('icon-')) return;
    if (!known.has(target)) dead.push(`${from}: ${link}: no such file`);
    else if (anchor && !pages.get(target)?.ids.has(anchor)) dead.push(`${from}: ${link}: no such anchor`);
  };
  for (const [file, { links }] of pages) for (const link of links) check(file, link);
  interface Entry {
    readonly path?: string;
    readonly children?: readonly Entry[];
  }
  const walk = ({ path, children }: Entry): void => {
    if (path) check('index.html', path);
    for (const child of children ?? []) walk(child);
  };
  for (const entry of readData<Entry[]>(join(site, 'assets/navigation.js'))) walk(entry);
  const { rows } = readData<{ rows: { url: string }[] }>(join(site, 'assets/search.js'));
  for (const { url } of rows) check('index.html', url);
  return { pages: pages.size, links: count, dead: [...new Set(dead)] };
}

function readPage(path: string): Page {
  const html = readFileSync(path, 'utf8').replaceAll('&amp;', '&');
  const all = (pattern: RegExp): string[] => [...html.matchAll(pattern)].map(([, value]) => value!);
  const sets = all(/\bsrcset="([^"]*)"/g).flatMap((set) => set.split(',').map((part) => part.trim().split(/\s/)[0]!));
  return {
    ids: new Set(all(/\bid="([^"]*)"/g)),
    links: [...all(/\b(?:href|src)="([^"]*)"/g).filter((link) => link !== '#' && link !== ''), ...sets],
  };
}

/** What typedoc's scripts hold: `window.NAME = "deflated JSON in base64"`. */
function readData<T>(path: string): T {
  const [, text] = /= "([^"]*)"/.exec(readFileSync(path, 'utf8'))!;
  return JSON.parse(inflateSync(Buffer.from(text!, 'base64')).toString('utf8'));
}
