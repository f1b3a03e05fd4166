/** A page in headless Chromium, by the DevTools protocol over a pipe: no port is opened. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/** Chromium's program, or undefined where there is none. */
export function findChromium(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

type Fields = Readonly<Record<string, unknown>>;

export interface PageSize {
  readonly width: number;
  readonly height?: number;
  readonly scheme?: 'light' | 'dark';
  readonly reducedMotion?: boolean;
}

export class ChromiumPage {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #answers = new Map<number, (message: { readonly result?: Fields; readonly error?: Fields }) => void>();
  #session: string | undefined;
  #calls = 0;
  #rest = '';
  #onLoad: (() => void) | undefined;
  /** Errors of scripts, and what the console was given as one: violations of the policy among them. */
  readonly errors: string[] = [];
  /** Addresses of all requests. */
  readonly requests: string[] = [];

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child;
    this.#profile = profile;
    (child.stdio[4] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const messages = (this.#rest + text).split('\0');
      this.#rest = messages.pop()!;
      for (const message of messages) this.#receive(JSON.parse(message));
    });
  }

  static async launch(program: string): Promise<ChromiumPage> {
    const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', '--no-first-run'];
    const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-extensions'];
    const child = spawn(program, [...flags, ...quiet, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    const page = new ChromiumPage(child, profile);
    const { targetId } = await page.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await page.call('Target.attachToTarget', { targetId, flatten: true });
    page.#session = sessionId as string;
    for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'DOM', 'Accessibility'])
      await page.call(`${domain}.enable`);
    return page;
  }

  /** A command of the protocol. */
  call(method: string, params: Fields = {}): Promise<Fields> {
    const id = ++this.#calls;
    const session = this.#session === undefined ? {} : { sessionId: this.#session };
    (this.#child.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return new Promise((resolve, reject) => {
      this.#answers.set(id, ({ result, error }) => {
        if (error) reject(new Error(`${method}: ${String(error['message'])}`));
        else resolve(result ?? {});
      });
    });
  }

  async resize({ width, height = 900, scheme = 'light', reducedMotion = false }: PageSize): Promise<void> {
    const mobile = width < 600;
    await this.call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile });
    const features = [
      { name: 'prefers-color-scheme', value: scheme },
      { name: 'prefers-reduced-motion', value: reducedMotion ? 'reduce' : 'no-preference' },
    ];
    await this.call('Emulation.setEmulatedMedia', { features });
  }

  /** Settles when the page and its programs are loaded. */
  async open(url: string): Promise<void> {
    await this.#loaded(() => this.call('Page.navigate', { url }));
  }

  async reload(): Promise<void> {
    await this.#loaded(() => this.call('Page.reload'));
  }

  async #loaded(start: () => Promise<unknown>): Promise<void> {
    const loaded = new Promise<void>((resolve) => {
      this.#onLoad = resolve;
    });
    await start();
    await loaded;
  }

  /** The value of an expression, which may be a promise. */
  async evaluate<T>(expression: string): Promise<T> {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', params);
    if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return (result as { readonly value: T }).value;
  }

  /** Waits until an expression is true. */
  async until(expression: string, patienceMs = 20_000): Promise<void> {
    const end = performance.now() + patienceMs;
    while (!(await this.evaluate<boolean>(`Boolean(${expression})`))) {
      if (performance.now() > end) {
        throw new Error(`never true: ${expression}; errors: ${this.errors.join('; ')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Presses a key, as `Tab`, `Enter`, `Escape`, `ArrowLeft`. */
  async press(key: string): Promise<void> {
    const codes: Record<string, number> = {
      Tab: 9,
      Enter: 13,
      Escape: 27,
      ' ': 32,
      ArrowLeft: 37,
      ArrowRight: 39,
      Home: 36,
    };
    const text = key === 'Enter' ? '\r' : key === ' ' ? ' ' : undefined;
    const event = {
      key,
      code: key === ' ' ? 'Space' : key,
      windowsVirtualKeyCode: codes[key] ?? 0,
      ...(text ? { text } : {}),
    };
    await this.call('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...event });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  /** A PNG of the whole page. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.call('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
    return Buffer.from(data as string, 'base64');
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#session = undefined;
    // Its own end takes its other processes along, which write into the profile.
    this.call('Browser.close').catch(() => {});
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(timer);
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }

  #receive(message: { id?: number; method?: string; params?: Fields; result?: Fields; error?: Fields }): void {
    if (message.id !== undefined) {
      this.#answers.get(message.id)?.(message);
      this.#answers.delete(message.id);
      return;
    }
    const { params = {} } = message;
    if (message.method === 'Page.loadEventFired') this.#onLoad?.();
    if (message.method === 'Runtime.exceptionThrown') this.errors.push(JSON.stringify(params['exceptionDetails']));
    if (message.method === 'Runtime.consoleAPICalled' && params['type'] === 'error') {
      this.errors.push(JSON.stringify(params['args']));
    }
    if (message.method === 'Log.entryAdded') {
      const { level, text } = params['entry'] as { readonly level: string; readonly text: string };
      if (level === 'error') this.errors.push(text);
    }
    if (message.method === 'Network.requestWillBeSent') {
      this.requests.push((params['request'] as { readonly url: string }).url);
    }
  }
}
