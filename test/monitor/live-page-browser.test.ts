import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { LivePage, LivePageOptions } from '../../src/monitor/live-options.js';
import { livePage } from '../../src/monitor/live-page.js';
import type { TrainingRun } from '../../src/train/training-run.js';
import { type BrowserPage, Chromium, findChromium, type PageOptions } from '../chromium.js';
import { linearDataset, linearModel, linearTrainer } from '../train/linear-model.js';
import { where } from '../where.js';

const program = findChromium();
const text = (id: string) => `document.getElementById('${id}').textContent`;

where(program !== undefined, 'needs Chromium').describe('the live page in Chromium', () => {
  let chromium: Chromium;
  let tab: BrowserPage;
  let folder: string;
  let page: LivePage;
  let run: TrainingRun;
  /** Steps that the run may take; more are given by tests. */
  let allowed: number;
  /** What Chromium itself logs of answers and connections that a test is about. */
  let expected: RegExp | undefined;

  beforeAll(async () => {
    chromium = new Chromium(program!);
  });
  afterAll(() => chromium?.close());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'live-'));
    expected = undefined;
  });
  afterEach(async () => {
    allowed = Number.POSITIVE_INFINITY;
    await Promise.allSettled([run]);
    await page.close();
    await rm(folder, { recursive: true });
    expect(tab.faults.filter((fault) => !expected?.test(fault))).toEqual([]);
    await tab.close();
  });

  /** Trains the model of three parameters. It waits before each step until that is allowed. */
  async function start(options: LivePageOptions = {}, steps = 40): Promise<string> {
    allowed = 12;
    const model = linearModel();
    model.onWindow = async (window) => {
      while (window >= allowed) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    page = livePage({ port: 0, onOpen: () => {}, ...options });
    const config = {
      ...{ outputDir: join(folder, 'run <b>'), maxSteps: steps, loggingSteps: 2, saveStrategy: 'steps' as const },
      ...{ saveSteps: 1000, evalStrategy: 'steps' as const, evalSteps: 5, learningRate: 1e-3 },
    };
    const metrics = { accuracy: 0.5, '<img src=x onerror="document.title=1">': 0.25 };
    run = linearTrainer(model, config, {
      callbacks: [page],
      evalDataset: linearDataset(3),
      computeMetrics: () => metrics,
    }).train();
    run.result.catch(() => {});
    const address = await page.open();
    return address;
  }

  async function open(url: string, options: PageOptions = { width: 1280 }): Promise<void> {
    tab = await chromium.open(url, options);
    await tab.send('Accessibility.enable');
  }

  async function reload(): Promise<void> {
    const loaded = tab.next('Page.loadEventFired');
    await tab.send('Page.reload');
    await loaded;
  }

  async function until(expression: string): Promise<void> {
    const end = performance.now() + 20_000;
    while (!(await tab.evaluate<boolean>(`Boolean(${expression})`))) {
      if (performance.now() > end) throw new Error(`never true: ${expression}; faults: ${tab.faults.join('; ')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async function pressEscape(): Promise<void> {
    for (const type of ['rawKeyDown', 'keyUp']) {
      await tab.send('Input.dispatchKeyEvent', { type, key: 'Escape', code: 'Escape', windowsVirtualKeyCode: 27 });
    }
  }

  it('draws the curves of a run, and stays when the run is finished', async () => {
    await open(await start(), { width: 1280 });
    await until(`${text('value-step')} >= '10 of 40' && document.querySelectorAll('.chart canvas').length >= 5`);
    expect(await tab.evaluate(text('state'))).toBe('Training.');
    expect(await tab.evaluate(text('title'))).toBe('run <b>');
    // Something other than an empty canvas was drawn.
    const painted = `[...document.querySelectorAll('.chart canvas')].map((canvas) => new Set(
      canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size > 20)`;
    await until(`${painted}.every(Boolean)`);
    expect(await tab.evaluate(`[...document.querySelectorAll('#evaluations th')].map((th) => th.textContent)`)).toEqual(
      expect.arrayContaining(['accuracy', '<img src=x onerror="document.title=1">']),
    );
    expect(await tab.evaluate(`document.querySelectorAll('main img').length`)).toBe(0);
    allowed = 1000;
    await until(`${text('state')}.startsWith('The run is finished')`);
    await until(`${text('connection')}.startsWith('This page receives nothing more; what is shown stays.')`);
    await until(`${text('value-step')} === '40 of 40'`);
    await expect(fetch(tab.requests[0]!)).rejects.toThrow();
    const origin = new URL(tab.requests[0]!).origin;
    expect(tab.requests.filter((url) => !url.startsWith(origin))).toEqual([]);
  });

  it('pauses, resumes, and stops after asking, by the keyboard alone', async () => {
    await open(await start(), { width: 390 });
    await until(`${text('value-step')} === '12 of 40'`);
    await tab.evaluate(`document.getElementById('hold').focus()`);
    await tab.press('Enter');
    await until(`${text('state')}.startsWith('Paused')`);
    expect(await tab.evaluate(text('hold'))).toBe('Resume');
    allowed = 20;
    // Its gradients are computed, the step is not taken.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await tab.evaluate(text('value-step'))).toBe('12 of 40');
    await tab.press(' ');
    await until(`${text('value-step')} === '20 of 40'`);
    await tab.press('Tab');
    await tab.press('Enter');
    await until(`document.getElementById('confirm').open`);
    expect(await tab.evaluate('document.activeElement.id')).toBe('confirm-cancel');
    await pressEscape();
    await until(`!document.getElementById('confirm').open`);
    expect(await tab.evaluate('document.activeElement.id')).toBe('stop');
    await tab.press('Enter');
    await tab.press('Tab');
    expect(await tab.evaluate('document.activeElement.id')).toBe('confirm-stop');
    await tab.press('Enter');
    await until(`${text('state')}.startsWith('The run was stopped')`);
    expect(await tab.evaluate(text('state'))).toContain('checkpoint-20');
    await expect(run.result).rejects.toThrow('stopped by the callback "livePage"');
    expect(await readdir(join(folder, 'run <b>'))).toContain('checkpoint-20');
  });

  it('says that the connection is lost, and goes on where it was when it is back', async () => {
    expected = /net::ERR_/;
    const target = Number(new URL(await start()).port);
    const asked: string[] = [];
    const sockets = new Set<Socket>();
    const proxy = createServer((socket) => {
      const onward = connect(target, '127.0.0.1');
      for (const one of [socket, onward]) sockets.add(one.on('error', () => {}));
      socket.on('data', (bytes) => asked.push(bytes.toString()));
      socket.pipe(onward).pipe(socket);
    });
    const listen = (port: number) => new Promise<void>((resolve) => proxy.listen(port, '127.0.0.1', resolve));
    await listen(0);
    const { port } = proxy.address() as AddressInfo;
    await open(`http://localhost:${port}/`);
    await until(`${text('value-step')} === '12 of 40'`);
    proxy.close();
    for (const socket of sockets) socket.destroy();
    await until(`${text('connection')}.startsWith('No connection since')`);
    expect(await tab.evaluate(text('value-step'))).toBe('12 of 40');
    expect(await tab.evaluate(`document.getElementById('hold').getAttribute('aria-disabled')`)).toBe('true');
    allowed = 30;
    await listen(port);
    await until(`${text('value-step')} === '30 of 40' && ${text('connection')} === ''`);
    expect(asked.at(-1)).toMatch(/^last-event-id: [0-9a-f]+\.\d+/im);
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });

  it('takes the token out of its address, asks for it where it has none, and forgets a wrong one', async () => {
    expected = /status of 401/;
    const address = await start({ token: true });
    const { origin } = new URL(address);
    await open(address);
    await until(`${text('value-step')} === '12 of 40'`);
    expect(await tab.evaluate('location.href')).toBe(`${origin}/`);
    await reload();
    await until(`${text('value-step')} === '12 of 40'`);
    const token = new URL(address).hash.slice('#token='.length);
    expect(tab.requests.filter((url) => url.includes(token))).toEqual([]);
    await tab.evaluate('sessionStorage.clear()');
    await reload();
    await until(`!document.getElementById('token-form').hidden`);
    await tab.evaluate(`document.getElementById('token').value = 'not the right token'`);
    await tab.evaluate(`document.querySelector('#token-form button').click()`);
    await until(`${text('token-message')} === 'That token is not the right one.'`);
    await tab.evaluate(`document.getElementById('token').value = ${JSON.stringify(token)}`);
    await tab.evaluate(`document.querySelector('#token-form button').click()`);
    await until(`${text('value-step')} === '12 of 40'`);
    expect(await tab.evaluate(`document.getElementById('token-form').hidden`)).toBe(true);
  });

  it.each(SIZES)('can be read and used at $width pixels, dark: $isDark', async (size) => {
    await open(await start(), size);
    await until(`${text('value-step')} === '12 of 40'`);
    const image = { width: 40, height: 30, data: new Uint8Array(3600).fill(90) };
    page.showSamples([
      { id: '粉碎性骨折'.repeat(9), answer: '<b>a</b>'.repeat(30), expected: 'b', correct: false, image },
      { id: 'right', answer: 'a', expected: 'a', correct: true, prompt: 'Which?' },
    ]);
    page.onEvent?.({ type: 'warning', step: 12, message: `an image of a long name ${'x'.repeat(300)} is missing` });
    await until(`document.querySelector('#samples img')?.complete && document.querySelector('#notes li')`);
    expect(await tab.evaluate(`document.querySelector('#samples').textContent`)).toContain('<b>a</b>');
    await tab.evaluate(`document.querySelector('details').open = true`);
    expect(await tab.evaluate(FAINT_TEXTS)).toEqual([]);
    expect(await tab.evaluate(`document.documentElement.scrollWidth - document.documentElement.clientWidth`)).toBe(0);
    const { nodes } = await tab.send('Accessibility.getFullAXTree');
    const nameless = (nodes as readonly AxNode[]).filter(({ name, properties, ignored, role }) => {
      const focusable = properties?.some((property) => property.name === 'focusable' && property.value.value === true);
      // The target of the link that skips to the content has none.
      return !ignored && focusable && !name?.value && role?.value !== 'main';
    });
    expect(nameless.map(({ role }) => role?.value)).toEqual([]);
    // Round by the keyboard: everything that can be used is reached, and is seen to have the focus.
    await tab.evaluate('document.activeElement.blur()');
    const reached = new Set<string>();
    for (let i = 0; i < 24; i++) {
      await tab.press('Tab');
      const [name, isOutlined] = await tab.evaluate<[string, boolean]>(FOCUSED);
      if (name === 'body') continue;
      expect([name, isOutlined]).toEqual([name, true]);
      reached.add(name);
    }
    for (const id of ['skip', 'hold', 'stop', 'plot', 'smoothing', 'log-scale', 'share', 'notes'])
      expect(reached).toContain(id);
  });
});

const SIZES = [
  { width: 1280, isDark: false },
  { width: 390, isDark: false },
  { width: 1280, isDark: true },
  { width: 390, isDark: true },
] as const;

interface AxNode {
  readonly ignored: boolean;
  readonly role?: { readonly value: string };
  readonly name?: { readonly value: string };
  readonly properties?: readonly { readonly name: string; readonly value: { readonly value: unknown } }[];
}

/** What has the focus, and whether that is seen. */
const FOCUSED = `(() => {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const name = element === document.body ? 'body' : element.id || element.className || element.tagName;
  return [name, outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2];
})()`;

/** Texts with less contrast than WCAG AA asks of small ones, with what they have. */
const FAINT_TEXTS = `(() => {
  const rgb = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [r, g, b] = rgb(color).map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if ((rgb(color)[3] ?? 1) > 0) return color;
    }
  };
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  const faint = [];
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    seen++;
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faint.push(contrast.toFixed(2) + ' ' + walker.currentNode.data.trim());
  }
  return seen > 60 ? faint : ['only ' + seen + ' texts were seen'];
})()`;
