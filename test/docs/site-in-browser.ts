/** The built site as a reader sees it: served from a sub path, in two widths and both colour schemes. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { type BrowserPage, Chromium } from '../chromium.js';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
};
/** As on GitHub Pages. */
const SUB_PATH = '/ministral-tune/';
const VIEWS = [
  { width: 1280, isDark: false },
  { width: 390, isDark: true },
];

/** Options that others are named like, and that are meant. */
const FIRST = new Set(['SftConfigOptions.learningRate', 'LoraConfigOptions.targetModules']);

export interface OptionName {
  /** The type whose page has it. */
  readonly owner: string;
  readonly name: string;
}

export class SiteBrowser {
  readonly #chromium: Chromium;
  readonly #home: string;
  readonly #close: () => void;

  private constructor(chromium: Chromium, home: string, close: () => void) {
    this.#chromium = chromium;
    this.#home = home;
    this.#close = close;
  }

  static async start(site: string, chromiumPath: string): Promise<SiteBrowser> {
    const server = createServer((request, response) => {
      const { pathname } = new URL(request.url!, 'http://localhost');
      const path = pathname.startsWith(SUB_PATH) ? decodeURI(pathname.slice(SUB_PATH.length)) || 'index.html' : '';
      readFile(join(site, path)).then(
        (content) => response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/plain' }).end(content),
        () => response.writeHead(404).end(),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const home = `http://127.0.0.1:${(server.address() as AddressInfo).port}${SUB_PATH}`;
    return new SiteBrowser(new Chromium(chromiumPath), home, () => server.close());
  }

  async close(): Promise<void> {
    await this.#chromium.close();
    this.#close();
  }

  /** Complaints about some pages: the console, requests that fail or leave the site, what sticks out of the window. */
  async look(paths: readonly string[]): Promise<string[]> {
    const complaints: string[] = [];
    for (const { width, isDark } of VIEWS) {
      for (const path of paths) {
        const page = await this.#open(path, width, isDark);
        const where = `${path} at ${width} pixels${isDark ? ', dark' : ''}`;
        for (const fault of page.faults) complaints.push(`${where}: ${fault}`);
        for (const url of page.requests) if (!url.startsWith(this.#home)) complaints.push(`${where}: asks for ${url}`);
        const seen = await page.evaluate<{ wide: number; broken: string[]; background: string }>(`({
          wide: document.documentElement.scrollWidth,
          broken: [...document.images].filter((image) => image.complete && !image.naturalWidth).map(({ src }) => src),
          background: getComputedStyle(document.body).backgroundColor,
        })`);
        if (seen.wide > width) complaints.push(`${where}: is ${seen.wide} pixels wide`);
        for (const src of seen.broken) complaints.push(`${where}: the image ${src} is not shown`);
        const [red = 0] = seen.background.match(/\d+/g)!.map(Number);
        if (red < 128 !== isDark) complaints.push(`${where}: the background is ${seen.background}`);
        await page.close();
      }
    }
    return complaints;
  }

  /** Complaints about options that the search does not find, or that stand without a text where it leads to. */
  async search(options: readonly OptionName[]): Promise<string[]> {
    const complaints: string[] = [];
    const page = await this.#open('index.html', 1280, false);
    await page.evaluate(`document.getElementById('tsd-search-trigger').click()`);
    for (const { owner, name } of options) {
      const results = await this.#results(page, name);
      // It shows ten: a name that more types have leads to some of them.
      const isCommon = results.length >= 10 && results.every(({ text }) => text.endsWith(`.${name}`));
      const own = results.find(({ text }) => text.endsWith(`${owner}.${name}`)) ?? (isCommon ? results[0] : undefined);
      if (!own) {
        complaints.push(
          `${owner}.${name}: the search gives ${results.map(({ text }) => text).join(', ') || 'nothing'}`,
        );
        continue;
      }
      if (FIRST.has(`${owner}.${name}`) && own !== results[0]) {
        complaints.push(`${owner}.${name}: the search puts ${results[0]!.text} before it`);
      }
      const said = await page.evaluate<string>(`fetch(${JSON.stringify(own.href)}).then((answer) => answer.text()).then(
        (html) => {
          const page = new DOMParser().parseFromString(html, 'text/html');
          const anchor = page.getElementById(${JSON.stringify(new URL(own.href).hash.slice(1))});
          return anchor?.closest('section, li')?.querySelector('.tsd-comment')?.textContent?.trim() ?? '';
        })`);
      if (said === '') complaints.push(`${owner}.${name}: ${own.href} says nothing about it`);
    }
    complaints.push(...page.faults);
    await page.close();
    return complaints;
  }

  async #results(page: BrowserPage, query: string): Promise<{ text: string; href: string }[]> {
    return page.evaluate(`(async () => {
      const field = document.getElementById('tsd-search-input');
      const list = document.getElementById('tsd-search-results');
      list.replaceChildren();
      field.value = ${JSON.stringify(query)};
      field.dispatchEvent(new Event('input'));
      for (let i = 0; i < 100 && list.childElementCount === 0; i++) await new Promise((go) => setTimeout(go, 20));
      return [...list.querySelectorAll('a')].map((a) => ({ text: a.textContent.replace(/\\s+/g, ''), href: a.href }));
    })()`);
  }

  async #open(path: string, width: number, isDark: boolean): Promise<BrowserPage> {
    const page = await this.#chromium.open(this.#home + path, { width, isDark });
    // The navigation and the search come by programs of their own.
    await page.evaluate(`(async () => {
      const isReady = () => document.querySelector('#tsd-nav-container a') && window.searchData;
      for (let i = 0; i < 250 && !isReady(); i++) await new Promise((go) => setTimeout(go, 20));
    })()`);
    return page;
  }
}
