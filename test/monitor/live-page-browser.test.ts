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
    await browser.until(`${text('connection')} === 'This page receives nothing more. What is shown stays.'`);
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
    await browser.until(`${text('connection')}.startsWith('The connection is lost')`);
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
});
