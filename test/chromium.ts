/** Headless Chromium for pages, through its DevTools protocol over a pipe; for tests that are skipped without one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

type Fields = Readonly<Record<string, unknown>>;

interface Answer {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Fields;
  readonly result?: Fields;
  readonly error?: { readonly message: string };
}

/** Path of the browser, if there is one: that of CHROMIUM, or one on the PATH. */
export function findChromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const places = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));
  return [...(process.env.CHROMIUM ? [process.env.CHROMIUM] : []), ...places].find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export interface PageOptions {
  /** CSS pixels. */
  readonly width: number;
  readonly height?: number;
  readonly isDark?: boolean;
}

export class Chromium {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, { resolve(result: Fields): void; reject(error: Error): void }>();
  readonly #pages = new Map<string, BrowserPage>();
  #last = 0;

  constructor(path: string) {
    this.#profile = mkdtempSync(join(tmpdir(), 'chromium-'));
    const quiet = ['--disable-background-networking', '--disable-component-update', '--no-first-run', '--disable-sync'];
    this.#process = spawn(
      path,
      // As root, as in containers, it runs without its sandbox only.
      [
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--remote-debugging-pipe',
        ...quiet,
        '--force-color-profile=srgb',
        `--user-data-dir=${this.#profile}`,
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    let text = '';
    const output = this.#process.stdio[4] as Readable;
    output.setEncoding('utf8');
    output.on('data', (piece: string) => {
      const parts = (text + piece).split('\0');
      text = parts.pop()!;
      for (const part of parts) this.#receive(JSON.parse(part) as Answer);
    });
    this.#process.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Chromium has ended'));
    });
  }

  send(method: string, params: Fields = {}, sessionId?: string): Promise<Fields> {
    const id = ++this.#last;
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #receive({ id, sessionId, method, params, result, error }: Answer): void {
    if (id === undefined) {
      this.#pages.get(sessionId ?? '')?.receive(method!, params!);
      return;
    }
    const question = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) question?.reject(new Error(error.message));
    else question?.resolve(result!);
  }

  /** Opens an address and waits until it is loaded. */
  async open(url: string, { width, height = 900, isDark = false }: PageOptions): Promise<BrowserPage> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new BrowserPage((method, params) => this.send(method, params, sessionId as string));
    this.#pages.set(sessionId as string, page);
    for (const part of ['Page', 'Network', 'Runtime', 'Log']) await page.send(`${part}.enable`);
    await page.resize(width, height);
    await page.prefer(isDark);
    const loaded = page.next('Page.loadEventFired');
    await page.send('Page.navigate', { url });
    await loaded;
    return page;
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    await this.send('Browser.close').catch(() => undefined);
    await ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class BrowserPage {
  readonly send: (method: string, params?: Fields) => Promise<Fields>;
  /** Addresses that the page asked for, its own and data URIs left out. */
  readonly requests: string[] = [];
  /** What its console says of faults, errors that nothing caught included. */
  readonly faults: string[] = [];
  readonly #events = new Map<string, (() => void)[]>();
  #url: string | undefined;

  constructor(send: (method: string, params?: Fields) => Promise<Fields>) {
    this.send = send;
  }

  receive(method: string, params: Fields): void {
    for (const resolve of this.#events.get(method) ?? []) resolve();
    this.#events.delete(method);
    if (method === 'Network.requestWillBeSent') {
      const { url } = params['request'] as { url: string };
      this.#url ??= url;
      if (url !== this.#url && !url.startsWith('data:')) this.requests.push(url);
    } else if (method === 'Runtime.exceptionThrown') {
      const { text, exception } = params['exceptionDetails'] as { text: string; exception?: { description?: string } };
      this.faults.push(exception?.description ?? text);
    } else if (method === 'Log.entryAdded') {
      const { level, text } = params['entry'] as { level: string; text: string };
      if (level === 'error' || level === 'warning') this.faults.push(text);
    } else if (
      method === 'Runtime.consoleAPICalled' &&
      ['error', 'warning', 'assert'].includes(String(params['type']))
    ) {
      this.faults.push(JSON.stringify(params['args']));
    }
  }

  next(method: string): Promise<void> {
    return new Promise((resolve) => this.#events.set(method, [...(this.#events.get(method) ?? []), resolve]));
  }

  resize(width: number, height: number): Promise<unknown> {
    return this.send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
  }

  prefer(isDark: boolean): Promise<unknown> {
    const features = [{ name: 'prefers-color-scheme', value: isDark ? 'dark' : 'light' }];
    return this.send('Emulation.setEmulatedMedia', { features });
  }

  /** The value of an expression, which may be a promise. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    const details = answer['exceptionDetails'] as { exception?: { description?: string } } | undefined;
    if (details) throw new Error(details.exception?.description ?? 'the expression failed');
    return (answer['result'] as { value: T }).value;
  }

  async press(key: string): Promise<void> {
    const codes: Readonly<Record<string, number>> = {
      Tab: 9,
      Enter: 13,
      ' ': 32,
      ArrowLeft: 37,
      ArrowRight: 39,
      ArrowUp: 38,
      ArrowDown: 40,
    };
    const text = key === 'Enter' ? '\r' : key === ' ' ? ' ' : undefined;
    const common = { key, code: key === ' ' ? 'Space' : key, windowsVirtualKeyCode: codes[key] };
    await this.send('Input.dispatchKeyEvent', {
      type: text ? 'keyDown' : 'rawKeyDown',
      ...common,
      ...(text && { text }),
    });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...common });
  }

  /** PNG of the window, or of a part of the page in CSS pixels. */
  async screenshot(clip?: { x: number; y: number; width: number; height: number }): Promise<Buffer> {
    const params = clip ? { clip: { ...clip, scale: 1 }, captureBeyondViewport: true } : {};
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', ...params });
    return Buffer.from(data as string, 'base64');
  }

  async pdf(): Promise<Buffer> {
    const { data } = await this.send('Page.printToPDF', { printBackground: false });
    return Buffer.from(data as string, 'base64');
  }

  async close(): Promise<void> {
    await this.send('Page.close');
  }
}
