import { connect, createServer } from 'node:net';
import { hostname } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { keepSecret } from '../../src/messages/secrets.js';
import type { LivePage, LivePageOptions } from '../../src/monitor/live-options.js';
import { livePage } from '../../src/monitor/live-page.js';
import { act, ask, Follower } from './live-client.js';
import { begin, evaluateEvent, logEvent, stepEvent } from './scripted-run.js';

const pages: LivePage[] = [];
const followers: Follower[] = [];
afterEach(async () => {
  for (const follower of followers.splice(0)) follower.close();
  await Promise.all(pages.splice(0).map((page) => page.close()));
});

function made(options: LivePageOptions = {}): LivePage {
  const page = livePage({ port: 0, onOpen: () => {}, ...options });
  pages.push(page);
  return page;
}

async function follow(address: string, headers: Readonly<Record<string, string>> = {}): Promise<Follower> {
  const follower = await Follower.open(address, headers);
  followers.push(follower);
  return follower;
}

/** Of the newest message. */
const samplesOf = ({ messages }: Follower) =>
  (JSON.parse(messages.at(-1)?.data ?? '{}').samples ?? []) as { index: number; id: string; answer: string }[];

const TOKEN = 'a-token-of-sixteen-or-more';

describe('what a live page is given', () => {
  it.each([
    [{ prot: 1 }, /unknown option `prot`; did you mean `port`/],
    [{ port: 70_000 }, /`port`: expected at most 65535, got 70000/],
    [{ token: 'short' }, /`token`: expected at least 16 characters of ASCII without spaces, got another text$/],
    [{ token: 'with a space in the middle' }, /`token`: .*got another text$/],
    [{ allowedHosts: ['http://name:80'] }, /`allowedHosts.0`: expected a name without scheme and port/],
    [{ host: '0.0.0.0', token: false }, /`token: false` with `host` "0.0.0.0"/],
    [{ host: '10.0.0.1', token: false }, /`token: false`/],
  ])('refuses %j', (options, message) => {
    expect(() => livePage(options as LivePageOptions)).toThrow(ConfigError);
    expect(() => livePage(options as LivePageOptions)).toThrow(message);
  });

  it('reports a port in use, and takes the next one if none was given', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const page = made({ port });
    const failed = page.open();
    await expect(failed).rejects.toThrow(ConfigError);
    await expect(failed).rejects.toThrow(`livePage: 127.0.0.1, port ${port} is in use\n  hint: Give another`);
    expect(page.address).toBeUndefined();
    taken.close();
    await new Promise((resolve) => taken.once('close', resolve));
    // It may be tried again.
    expect(await page.open()).toBe(`http://127.0.0.1:${port}/`);
    const [first, second] = [made({ port: undefined }), made({ port: undefined })];
    const ports = [await first.open(), await second.open()].map((address) => Number(new URL(address).port));
    expect(ports[0]).toBeGreaterThanOrEqual(7070);
    expect(ports[1]).toBeGreaterThan(ports[0]!);
    expect(ports[1]).toBeLessThanOrEqual(7089);
  });

  it('is closed again where its program cannot take the address', async () => {
    let address = '';
    const page = made({
      onOpen: (given) => {
        address = given;
        throw new Error('a mistake');
      },
    });
    await expect(page.open()).rejects.toThrow('a mistake');
    expect(page.address).toBeUndefined();
    await expect(ask(address)).rejects.toThrow('ECONNREFUSED');
  });

  it('reports an address that this machine has not', async () => {
    await expect(made({ host: '192.0.2.1', token: TOKEN }).open()).rejects.toThrow('is no address of this machine');
  });

  it('has a random token for other hosts, and says the address once', async () => {
    const said: string[] = [];
    const page = made({ host: '0.0.0.0', onOpen: (address) => said.push(address) });
    await begin(page);
    const { hash } = new URL(await page.open());
    expect(hash).toMatch(/^#token=[\w-]{43}$/);
    expect(said).toEqual([page.address]);
    expect(new URL(said[0]!).hostname).toBe(hostname().toLowerCase());
    const other = made({ token: true });
    expect(new URL(await other.open()).hash).not.toBe(hash);
  });
});

describe('who may talk to a live page', () => {
  it('everybody on this machine by default, by the names that lead there', async () => {
    const address = await made().open();
    const { port } = new URL(address);
    for (const name of ['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]', '10.1.2.3', hostname()]) {
      expect([name, (await ask(address, { headers: { Host: `${name}:${port}` } })).status]).toEqual([name, 200]);
    }
    // A tunnel may have another port at its other end.
    expect((await ask(address, { headers: { Host: 'localhost:9' } })).status).toBe(200);
  });

  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'localhost@evil.example',
    'a b',
    '[evil]',
  ])('nobody who thinks that it is %j, as after DNS rebinding', async (name) => {
    const page = made();
    const control = await begin(page);
    for (const asked of [{}, { path: '/events' }, { path: '/images/1' }]) {
      expect([400, 421]).toContain((await ask(page.address!, { ...asked, headers: { Host: name } })).status);
    }
    expect([400, 421]).toContain((await act(page.address!, 'stop', { Host: name })).status);
    expect(control.stops).toEqual([]);
  });

  it('those who use a name that was allowed', async () => {
    const address = await made({ allowedHosts: ['train.example'] }).open();
    expect((await ask(address, { headers: { Host: 'Train.example' } })).status).toBe(200);
    expect((await ask(address, { headers: { Host: 'other.example' } })).status).toBe(421);
  });

  it('no other site: neither for data nor for control', async () => {
    const page = made();
    const control = await begin(page);
    const foreign = [
      { Origin: 'http://evil.example' },
      { Origin: 'null' },
      // Another program on this machine.
      { Origin: 'http://127.0.0.1:1' },
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
      { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' },
    ];
    for (const headers of foreign) {
      expect((await act(page.address!, 'stop', headers)).status).toBe(403);
      expect((await ask(page.address!, { path: '/events', headers })).status).toBe(403);
    }
    // A form that is sent by a navigation.
    const form = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' };
    expect((await act(page.address!, 'stop', form)).status).toBe(403);
    expect(control.stops).toEqual([]);
    // A link from elsewhere opens the page.
    expect((await ask(page.address!, { headers: form })).status).toBe(200);
    const own = { Origin: new URL(page.address!).origin, 'Sec-Fetch-Site': 'same-origin' };
    expect((await act(page.address!, 'stop', own)).status).toBe(202);
  });

  it('with a token only those who know it, and the document tells nothing', async () => {
    const page = made({ token: TOKEN });
    const control = await begin(page, { trainableParameters: 987_654_321 });
    page.showSamples([{ id: 'a', answer: 'b', image: { width: 1, height: 1, data: new Uint8Array(3) } }]);
    const address = new URL(page.address!).origin;
    const wrong = ['', 'Bearer', 'Bearer ', `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, `Basic ${TOKEN}`, TOKEN];
    for (const authorization of wrong) {
      const headers = { Authorization: authorization };
      expect((await act(address, 'stop', headers)).status).toBe(401);
      for (const path of ['/events', '/images/1', `/events?token=${TOKEN}`]) {
        const answer = await ask(address, { path, headers });
        expect([answer.status, answer.headers['www-authenticate']]).toEqual([401, 'Bearer']);
      }
    }
    expect(control.stops).toEqual([]);
    const document = await ask(address);
    expect(document.status).toBe(200);
    expect(document.text).not.toMatch(/987.?654|fractures/);
    expect(document.text).not.toContain(TOKEN);
    expect(document.headers['set-cookie']).toBeUndefined();
    const headers = { Authorization: `Bearer ${TOKEN}` };
    // An image is made smaller in the background.
    const own = await follow(address, headers);
    await own.until((one) => samplesOf(one).length > 0);
    expect((await ask(address, { path: '/images/1', headers })).text).toMatch(/^data:image\/webp;base64,/);
    expect((await act(address, 'pause', headers)).status).toBe(202);
    expect(control.isPaused).toBe(true);
  });
});

describe('requests to a live page', () => {
  it('get headers that bind the browser', async () => {
    const { headers, text } = await ask(await made().open());
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    });
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'; script-src 'sha256-");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain('unsafe');
    expect(text).not.toMatch(/(src|href)="(?!#)/);
    expect(headers['access-control-allow-origin']).toBeUndefined();
  });

  it.each([
    ['GET', '/control', 405],
    ['DELETE', '/control', 405],
    ['OPTIONS', '/control', 405],
    ['POST', '/', 405],
    ['POST', '/events', 405],
    ['GET', '/nothing', 404],
    ['GET', '/images/1', 204],
    ['GET', '/images/../etc/passwd', 404],
    ['GET', '//evil.example/', 404],
    ['HEAD', '/', 200],
  ])('%s %s is answered %i', async (method, path, status) => {
    expect((await ask(await made().open(), { method, path })).status).toBe(status);
  });

  it('for control are small JSON with a known action, or refused', async () => {
    const page = made();
    const control = await begin(page);
    const post = (body: string, type?: string) => {
      const headers: Record<string, string> = type === undefined ? {} : { 'Content-Type': type };
      return ask(page.address!, { method: 'POST', path: '/control', headers, body });
    };
    const stop = '{"action":"stop"}';
    for (const type of [undefined, 'text/plain', 'application/x-www-form-urlencoded', 'application/jsonx']) {
      expect((await post(stop, type)).status).toBe(415);
    }
    for (const body of [
      '',
      '{',
      'null',
      '[]',
      '"stop"',
      '{"action":"__proto__"}',
      '{"action":["stop"]}',
      '{"act":"stop"}',
    ]) {
      expect([body, (await post(body, 'application/json')).status]).toEqual([body, 400]);
    }
    const long = `{"action":"stop","x":"${'x'.repeat(100_000)}"}`;
    expect((await post(long, 'application/json')).status).toBe(413);
    expect(control.stops).toEqual([]);
    expect((await post(stop, 'application/json; charset=utf-8')).status).toBe(202);
    expect(control.stops).toEqual(['its button']);
    const again = await post(stop, 'application/json');
    expect([again.status, JSON.parse(again.text)]).toEqual([409, { message: 'The run is being stopped.' }]);
    await page.onClose?.(new DOMException('stopped', 'AbortError'));
  });

  it('for control are refused before and after a run, and where the page may only watch', async () => {
    const page = made({ keepOpen: true });
    const address = await page.open();
    expect((await act(address, 'pause')).text).toContain('The run has not begun.');
    await begin(page);
    await page.onClose?.();
    const late = await act(address, 'pause');
    expect([late.status, JSON.parse(late.text)]).toEqual([409, { message: 'The run is over.' }]);
    const watching = made({ controls: false });
    const control = await begin(watching);
    expect((await act(watching.address!, 'stop')).status).toBe(409);
    expect(control.stops).toEqual([]);
  });

  it('that are not HTTP, or end half-way, cost the page nothing', async () => {
    const page = made();
    await begin(page);
    const { port } = new URL(page.address!);
    for (const text of ['\0\0\0\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`]) {
      const socket = connect(Number(port), '127.0.0.1').on('error', () => {});
      socket.end(text);
      let answer = '';
      for await (const chunk of socket.setEncoding('utf8')) answer += chunk;
      expect(answer).toMatch(/^HTTP\/1.1 4\d\d /);
    }
    const half = connect(Number(port), '127.0.0.1').on('error', () => {});
    half.write(
      'POST /control HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    );
    await new Promise((resolve) => half.once('connect', resolve));
    half.destroy();
    expect((await ask(page.address!)).status).toBe(200);
  });

  it('follow a run on sixteen pages at most', async () => {
    const page = made();
    await begin(page);
    for (let i = 0; i < 16; i++) await follow(page.address!);
    const more = await ask(page.address!, { path: '/events' });
    expect([more.status, more.headers['retry-after']]).toEqual([503, '10']);
    followers.pop()!.close();
    while ((await ask(page.address!, { path: '/control' })).status !== 405);
    // The place is free when the server has seen the end.
    for (;;) {
      const follower = await Follower.open(page.address!).catch(() => undefined);
      if (follower) {
        followers.push(follower);
        break;
      }
    }
  });
});

describe('the stream of a live page', () => {
  it('begins with everything and goes on with what comes', async () => {
    const page = made({ title: 'Fractures\u202e' });
    const control = await begin(page);
    page.onEvent?.(stepEvent(1));
    page.onEvent?.(evaluateEvent(1, { accuracy: 0.5, broken: Number.NaN }));
    const follower = await follow(page.address!);
    await follower.until(({ messages }) => messages.length >= 1);
    expect(follower.messages[0]!.name).toBe('snapshot');
    expect(follower.last).toMatchObject({
      facts: { title: 'Fractures\\u202e', totalSteps: 1000, controls: true, savesAtStop: true },
      status: { state: 'running', step: 1 },
      steps: { stride: 1, rows: [[1, 0.1, 1, 1, 1, 0.5, 1e-4]] },
      evaluations: [{ step: 1, evalLoss: 0.5, metrics: { accuracy: 0.5, broken: null } }],
    });
    page.onEvent?.(stepEvent(2));
    page.onEvent?.(logEvent(2));
    await follower.until(({ messages }) => messages.length >= 2);
    expect(follower.messages[1]!.name).toBe('update');
    expect(follower.last).toMatchObject({
      steps: [[2, 0.2, 0.5, 0.5, 0.5, 0.5, 1e-4]],
      logs: [[2, 1002, 1e9, 2e9, 0]],
    });
    await act(page.address!, 'pause');
    await follower.until(({ last }) => last.status?.['state'] === 'paused');
    expect(control.isPaused).toBe(true);
    await act(page.address!, 'resume');
    await follower.until(({ last }) => last.status?.['state'] === 'running');
    await page.onClose?.();
    await follower.until(({ isEnded }) => isEnded);
    expect(follower.messages.at(-1)!.name).toBe('closed');
    expect(JSON.parse(follower.messages.at(-2)!.data)).toMatchObject({ status: { state: 'finished', step: 2 } });
    expect(page.address).toBeUndefined();
  });

  it('goes on after the last message that was read, or begins anew where that is not known', async () => {
    const page = made();
    await begin(page);
    const first = await follow(page.address!);
    page.onEvent?.(stepEvent(1));
    await first.until(({ messages }) => messages.length >= 2);
    const { id } = first.messages.at(-1)!;
    first.close();
    page.onEvent?.(stepEvent(2));
    const second = await follow(page.address!, { 'Last-Event-ID': id });
    await second.until(({ messages }) => messages.length >= 1);
    expect(second.messages.map(({ name }) => name)).toEqual(['update']);
    expect(second.last).toMatchObject({ steps: [[2]].map(([step]) => expect.arrayContaining([step])) });
    const [name] = id.split('.');
    for (const unknown of [`${name}.99999`, '000000000000.1', 'nonsense', `${name}.-1`, `${name}.1e3`]) {
      const other = await follow(page.address!, { 'Last-Event-ID': unknown });
      await other.until(({ messages }) => messages.length >= 1);
      expect([unknown, other.messages[0]!.name]).toEqual([unknown, 'snapshot']);
    }
  });

  it('says what ended a run, without secrets, and shows the next run alone', async () => {
    const page = made({ keepOpen: true });
    await begin(page);
    keepSecret('hf_abcdefghijklmnop');
    page.onEvent?.({ type: 'warning', step: 6, message: 'no answer to hf_abcdefghijklmnop' });
    page.onEvent?.(stepEvent(7));
    await page.onClose?.(new Error('upload with hf_abcdefghijklmnop failed\nand more'));
    const follower = await follow(page.address!);
    await follower.until(({ messages }) => messages.length >= 1);
    expect(follower.last.status).toMatchObject({
      state: 'failed',
      step: 7,
      reason: expect.stringContaining('upload with'),
    });
    expect(follower.messages[0]!.data).not.toMatch(/abcdefghij|and more/);
    await begin(page);
    await follower.until(({ last }) => last.status?.['state'] === 'running');
    expect(follower.last).toMatchObject({ status: { step: 0 }, steps: { rows: [] } });
    await expect(begin(page)).rejects.toThrow('follows another run already');
    // The end of the run that was refused is not that of the other one.
    await page.onClose?.(new Error('refused'));
    page.onEvent?.(stepEvent(1));
    await follower.until(({ last }) => last.status?.['step'] === 1);
    expect(follower.last.status).toMatchObject({ state: 'running' });
  });

  it('has answers with their images, the newest 24, with hostile names made visible', async () => {
    const page = made();
    await begin(page);
    const image = { width: 640, height: 2, data: new Uint8Array(640 * 2 * 3) };
    const samples = Array.from({ length: 30 }, (_, i) => ({
      id: `骨折 ${i}\u202e\n`,
      answer: 'a'.repeat(9000),
      image,
    }));
    page.showSamples(samples);
    const follower = await follow(page.address!);
    await follower.until((one) => samplesOf(one).length > 0);
    const shown = samplesOf(follower);
    expect(shown.length).toBe(24);
    expect(shown.at(-1)).toMatchObject({ id: '骨折 29\\u202e\\n', image: { width: 320, height: 1 } });
    expect(shown.at(-1)!.answer.length).toBe(4001);
    expect((await ask(page.address!, { path: `/images/${shown.at(-1)!.index}` })).status).toBe(200);
    page.showSamples(samples);
    page.showSamples([{ id: 'x', answer: 'y' }]);
    await follower.until((one) => samplesOf(one).at(-1)?.id === 'x');
    expect((await ask(page.address!, { path: `/images/${shown[0]!.index}` })).status).toBe(204);
    const sample = { id: 'x', answer: 'y' };
    expect(() => page.showSamples([{ ...sample, image: { ...image, width: 7 } }])).toThrow('is no RGB image');
    expect(() => page.showSamples([{ ...sample, image: null } as never])).toThrow('is no RGB image');
    expect(() => page.showSamples([{ ...sample, answer: 7 } as never])).toThrow('`answer`: expected a string');
    expect(() => page.showSamples([{ id: 'x', answr: 'y' } as never])).toThrow('did you mean `answer`');
    expect(() => page.showSamples({} as never)).toThrow('expected a list of samples');
  });
});
