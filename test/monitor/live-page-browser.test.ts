import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { LivePage, LivePageOptions } from '../../src/monitor/live-options.js';
import { livePage } from '../../src/monitor/live-page.js';
import type { TrainingRun } from '../../src/train/training-run.js';
import { linearDataset, linearModel, linearTrainer } from '../train/linear-model.js';
import { ChromiumPage, findChromium } from './chromium-page.js';

const program = findChromium();
const text = (id: string) => `document.getElementById('${id}').textContent`;

describe.skipIf(program === undefined)('the live page in Chromium', () => {
  let browser: ChromiumPage;
  let folder: string;
  let page: LivePage;
  let run: TrainingRun;
  /** Steps that the run may take; more are given by tests. */
  let allowed: number;
  /** What Chromium itself logs of answers and connections that a test is about. */
  let expected: RegExp | undefined;

  beforeAll(async () => {
    browser = await ChromiumPage.launch(program!);
  });
  afterAll(() => browser?.close());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'live-'));
    expected = undefined;
    browser.errors.length = 0;
    browser.requests.length = 0;
  });
  afterEach(async () => {
    allowed = Number.POSITIVE_INFINITY;
    await Promise.allSettled([run]);
    await page.close();
    await rm(folder, { recursive: true });
    expect(browser.errors.filter((error) => !expected?.test(error))).toEqual([]);
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

  it('draws the curves of a run, and stays when the run is finished', async () => {
    await browser.resize({ width: 1280 });
    await browser.open(await start());
    await browser.until(
      `${text('value-step')} >= '10 of 40' && document.querySelectorAll('.chart canvas').length >= 5`,
    );
    expect(await browser.evaluate(text('state'))).toBe('Training.');
    expect(await browser.evaluate(text('title'))).toBe('run <b>');
    // Something other than an empty canvas was drawn.
    const painted = `[...document.querySelectorAll('.chart canvas')].map((canvas) => new Set(
      canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size > 20)`;
    await browser.until(`${painted}.every(Boolean)`);
    expect(
      await browser.evaluate(`[...document.querySelectorAll('#evaluations th')].map((th) => th.textContent)`),
    ).toEqual(expect.arrayContaining(['accuracy', '<img src=x onerror="document.title=1">']));
    expect(await browser.evaluate(`document.querySelectorAll('main img').length`)).toBe(0);
    allowed = 1000;
    await browser.until(`${text('state')}.startsWith('The run is finished')`);
    await browser.until(`${text('connection')}.startsWith('This page receives nothing more; what is shown stays.')`);
    await browser.until(`${text('value-step')} === '40 of 40'`);
    await expect(fetch(browser.requests[0]!)).rejects.toThrow();
    const origin = new URL(browser.requests[0]!).origin;
    expect(browser.requests.filter((url) => !url.startsWith(origin))).toEqual([]);
  });

  it('pauses, resumes, and stops after asking, by the keyboard alone', async () => {
    await browser.resize({ width: 390 });
    await browser.open(await start());
    await browser.until(`${text('value-step')} === '12 of 40'`);
    await browser.evaluate(`document.getElementById('hold').focus()`);
    await browser.press('Enter');
    await browser.until(`${text('state')}.startsWith('Paused')`);
    expect(await browser.evaluate(text('hold'))).toBe('Resume');
    allowed = 20;
    // Its gradients are computed, the step is not taken.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await browser.evaluate(text('value-step'))).toBe('12 of 40');
    await browser.press(' ');
    await browser.until(`${text('value-step')} === '20 of 40'`);
    await browser.press('Tab');
    await browser.press('Enter');
    await browser.until(`document.getElementById('confirm').open`);
    expect(await browser.evaluate('document.activeElement.id')).toBe('confirm-cancel');
    await browser.press('Escape');
    await browser.until(`!document.getElementById('confirm').open`);
    expect(await browser.evaluate('document.activeElement.id')).toBe('stop');
    await browser.press('Enter');
    await browser.press('Tab');
    expect(await browser.evaluate('document.activeElement.id')).toBe('confirm-stop');
    await browser.press('Enter');
    await browser.until(`${text('state')}.startsWith('The run was stopped')`);
    expect(await browser.evaluate(text('state'))).toContain('checkpoint-20');
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
    await browser.open(`http://localhost:${port}/`);
    await browser.until(`${text('value-step')} === '12 of 40'`);
    proxy.close();
    for (const socket of sockets) socket.destroy();
    await browser.until(`${text('connection')}.startsWith('No connection since')`);
    expect(await browser.evaluate(text('value-step'))).toBe('12 of 40');
    expect(await browser.evaluate(`document.getElementById('hold').getAttribute('aria-disabled')`)).toBe('true');
    allowed = 30;
    await listen(port);
    await browser.until(`${text('value-step')} === '30 of 40' && ${text('connection')} === ''`);
    expect(asked.at(-1)).toMatch(/^last-event-id: [0-9a-f]+\.\d+/im);
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });

  it('takes the token out of its address, asks for it where it has none, and forgets a wrong one', async () => {
    expected = /status of 401/;
    const address = await start({ token: true });
    const { origin } = new URL(address);
    await browser.open(address);
    await browser.until(`${text('value-step')} === '12 of 40'`);
    expect(await browser.evaluate('location.href')).toBe(`${origin}/`);
    await browser.reload();
    await browser.until(`${text('value-step')} === '12 of 40'`);
    const token = new URL(address).hash.slice('#token='.length);
    expect(browser.requests.filter((url) => url.includes(token))).toEqual([]);
    await browser.evaluate('sessionStorage.clear()');
    await browser.reload();
    await browser.until(`!document.getElementById('token-form').hidden`);
    await browser.evaluate(`document.getElementById('token').value = 'not the right token'`);
    await browser.evaluate(`document.querySelector('#token-form button').click()`);
    await browser.until(`${text('token-message')} === 'That token is not the right one.'`);
    await browser.evaluate(`document.getElementById('token').value = ${JSON.stringify(token)}`);
    await browser.evaluate(`document.querySelector('#token-form button').click()`);
    await browser.until(`${text('value-step')} === '12 of 40'`);
    expect(await browser.evaluate(`document.getElementById('token-form').hidden`)).toBe(true);
  });

  it.each(SIZES)('can be read and used at $width pixels, $scheme', async (size) => {
    await browser.resize(size);
    await browser.open(await start());
    await browser.until(`${text('value-step')} === '12 of 40'`);
    const image = { width: 40, height: 30, data: new Uint8Array(3600).fill(90) };
    page.showSamples([
      { id: '粉碎性骨折'.repeat(9), answer: '<b>a</b>'.repeat(30), expected: 'b', correct: false, image },
      { id: 'right', answer: 'a', expected: 'a', correct: true, prompt: 'Which?' },
    ]);
    page.onEvent?.({ type: 'warning', step: 12, message: `an image of a long name ${'x'.repeat(300)} is missing` });
    await browser.until(`document.querySelector('#samples img')?.complete && document.querySelector('#notes li')`);
    expect(await browser.evaluate(`document.querySelector('#samples').textContent`)).toContain('<b>a</b>');
    await browser.evaluate(`document.querySelector('details').open = true`);
    expect(await browser.evaluate(FAINT_TEXTS)).toEqual([]);
    expect(await browser.evaluate(`document.documentElement.scrollWidth - document.documentElement.clientWidth`)).toBe(
      0,
    );
    const { nodes } = await browser.call('Accessibility.getFullAXTree');
    const nameless = (nodes as readonly AxNode[]).filter(({ name, properties, ignored, role }) => {
      const focusable = properties?.some((property) => property.name === 'focusable' && property.value.value === true);
      // The target of the link that skips to the content has none.
      return !ignored && focusable && !name?.value && role?.value !== 'main';
    });
    expect(nameless.map(({ role }) => role?.value)).toEqual([]);
    // Round by the keyboard: everything that can be used is reached, and is seen to have the focus.
    await browser.evaluate('document.activeElement.blur()');
    const reached = new Set<string>();
    for (let i = 0; i < 24; i++) {
      await browser.press('Tab');
      const [name, isOutlined] = await browser.evaluate<[string, boolean]>(FOCUSED);
      if (name === 'body') continue;
      expect([name, isOutlined]).toEqual([name, true]);
      reached.add(name);
    }
    for (const id of ['skip', 'hold', 'stop', 'plot', 'smoothing', 'log-scale', 'share', 'notes'])
      expect(reached).toContain(id);
  });
});

const SIZES = [
  { width: 1280, scheme: 'light' },
  { width: 390, scheme: 'light' },
  { width: 1280, scheme: 'dark' },
  { width: 390, scheme: 'dark' },
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
