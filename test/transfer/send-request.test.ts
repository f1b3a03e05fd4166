import { afterEach, describe, expect, it, vi } from 'vitest';
import { TransferError } from '../../src/errors.js';
import { isLoopback, mayBeLoopback } from '../../src/transfer/address.js';
import { requestJson } from '../../src/transfer/request-json.js';
import { type HttpRequest, sendRequest } from '../../src/transfer/send-request.js';
import { answer, type Handler, hangUp, ScriptedServer, silence } from '../servers/scripted-server.js';

const servers: ScriptedServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function start(handler: Handler): Promise<ScriptedServer> {
  const server = await ScriptedServer.start(handler);
  servers.push(server);
  return server;
}

const redirect = (location: string, status = 302): Handler => answer(status, '', { location });

async function failure(request: HttpRequest): Promise<TransferError> {
  const error = await sendRequest(request).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(TransferError);
  return error as TransferError;
}

describe('a body that neither comes nor fails', () => {
  const stuck = (): void => {
    vi.stubGlobal('fetch', async () => new Response(new ReadableStream()));
  };
  afterEach(() => vi.unstubAllGlobals());

  it('is given up when the signal says so', async () => {
    stuck();
    const controller = new AbortController();
    const result = await sendRequest({ url: 'https://host.example/', signal: controller.signal });
    const reason = new Error('enough');
    setTimeout(() => controller.abort(reason), 10);
    await expect(result.text(10)).rejects.toBe(reason);
    const late = await sendRequest({ url: 'https://host.example/' });
    expect(late.status).toBe(200);
  });

  it('is given up when the time is over', async () => {
    stuck();
    const result = await sendRequest({ url: 'https://host.example/', silenceTimeoutMs: 10 });
    await expect(result.text(10)).rejects.toThrow('nothing arrived for 0.01 s');
  });
});

describe('redirects', () => {
  it('keep private headers within the origin', async () => {
    const server = await start(answer(200, 'here'));
    server.script.push(redirect('/second'), redirect(`${server.url}/third`));
    const result = await sendRequest({
      url: `${server.url}/first`,
      headers: { 'x-all': 'a' },
      privateHeaders: { authorization: 'Bearer secret' },
    });
    expect(await result.text(100)).toBe('here');
    expect(result.foreign).toBe(false);
    expect(server.requests.map(({ path, headers }) => [path, headers.authorization, headers['x-all']])).toEqual([
      ['/first', 'Bearer secret', 'a'],
      ['/second', 'Bearer secret', 'a'],
      ['/third', 'Bearer secret', 'a'],
    ]);
  });

  it('take private headers to no other port or name, nor back again', async () => {
    const [first, other] = [await start(answer(200)), await start(answer(200))];
    const named = first.url.replace('127.0.0.1', 'localhost');
    first.script.push(redirect(`${other.url}/x`), answer(200, 'back'));
    other.script.push(redirect(`${first.url}/again`));
    const result = await sendRequest({ url: first.url, privateHeaders: { authorization: 'Basic secret' } });
    expect(await result.text(100)).toBe('back');
    expect(result.foreign).toBe(true);
    expect([...first.requests, ...other.requests].map(({ headers }) => headers.authorization)).toEqual([
      'Basic secret',
      undefined,
      undefined,
    ]);
    first.requests.length = 0;
    first.script.push(redirect(`${named}/x`));
    await (await sendRequest({ url: first.url, privateHeaders: { authorization: 'Basic secret' } })).cancel();
    expect(first.requests.map(({ headers }) => headers.authorization)).toEqual(['Basic secret', undefined]);
  });

  it('take private headers to no other scheme', async () => {
    const sent: [string, string | null][] = [];
    vi.stubGlobal('fetch', async (url: URL, init: RequestInit) => {
      sent.push([url.href, new Headers(init.headers).get('authorization')]);
      const location = 'https://localhost/b';
      return sent.length === 1 ? new Response(null, { status: 302, headers: { location } }) : new Response('x');
    });
    try {
      await sendRequest({ url: 'http://localhost/a', privateHeaders: { authorization: 'Bearer secret' } });
    } finally {
      vi.unstubAllGlobals();
    }
    expect(sent).toEqual([
      ['http://localhost/a', 'Bearer secret'],
      ['https://localhost/b', null],
    ]);
  });

  it('turn POST into GET, except 307 and 308', async () => {
    const server = await start((request, response) => response.end(request.method));
    for (const [status, method] of [
      [302, 'GET'],
      [303, 'GET'],
      [307, 'POST'],
      [308, 'POST'],
    ] as const) {
      server.script.push(redirect('/next', status));
      const result = await sendRequest({ url: server.url, method: 'POST', body: '{}' });
      expect(await result.text(10)).toBe(method);
    }
  });

  it('are refused where they lead astray', async () => {
    const server = await start(answer(200));
    const cases: [string, string][] = [
      ['http://storage.example/x', 'http, which is not encrypted'],
      ['ftp://127.0.0.1/x', 'ftp, which is not encrypted'],
      ['https://user:word@storage.example/x', 'a password in it'],
      ['http://[', 'to no valid address'],
    ];
    for (const [location, why] of cases) {
      server.script.push(redirect(location));
      const { message } = await failure({ url: server.url });
      expect(message).toContain(why);
      expect(message).not.toContain('word@');
    }
    vi.stubGlobal(
      'fetch',
      async () => new Response(null, { status: 302, headers: { location: 'https://[::ffff:127.0.0.1]/' } }),
    );
    try {
      expect((await failure({ url: 'https://host.example/' })).message).toContain('to this machine');
    } finally {
      vi.unstubAllGlobals();
    }
    expect(['a.localhost', 'localhost.', '0.0.0.0', '[::]', '[::ffff:7f00:1]'].every(mayBeLoopback)).toBe(true);
    expect(['localhost.example', '10.0.0.0', '[::ffff:a00:1]'].some(mayBeLoopback)).toBe(false);
    server.script.push(...Array.from({ length: 11 }, () => redirect('/round')));
    expect((await failure({ url: server.url })).message).toContain('more than 10 redirects');
  });
});

describe('addresses', () => {
  it('are https, or this machine', async () => {
    expect((await failure({ url: 'http://example.com/a?token=secret' })).message).toMatch(
      /^http:\/\/example\.com\/a: only https/,
    );
    expect((await failure({ url: 'https://me:secret@example.com/' })).message).not.toContain('secret');
    expect(['localhost', '127.0.0.1', '127.1.2.3', '[::1]'].every(isLoopback)).toBe(true);
    expect(['localhost.example', '128.0.0.1', '127.0.0.1.example', '10.0.0.1'].some(isLoopback)).toBe(false);
  });
});

describe('failures', () => {
  it('of the connection are passing, and say where', async () => {
    const server = await start(hangUp);
    const error = await failure({ url: `${server.url}/path?signature=secret` });
    expect(error).toMatchObject({ code: 'TRANSFER', isTransient: true, url: `${server.url}/path` });
    expect(error.message).toContain('the connection failed');
    expect(error.message).not.toContain('secret');
    await server.close();
    servers.pop();
    expect(await failure({ url: server.url })).toMatchObject({
      isTransient: true,
      details: { cause: 'ECONNREFUSED' },
    });
  });

  it.each([
    ['ENOTFOUND', true, 'the host was not found', 'online'],
    ['EAI_AGAIN', true, 'the host was not found', 'online'],
    ['CERT_HAS_EXPIRED', false, 'certificate has expired', 'NODE_EXTRA_CA_CERTS'],
    ['SELF_SIGNED_CERT_IN_CHAIN', false, 'certificate has expired', 'NODE_EXTRA_CA_CERTS'],
  ])('%s', async (code, transient, why, hint) => {
    const cause = Object.assign(new Error('certificate has expired'), { code });
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('fetch failed', { cause })));
    try {
      const error = await failure({ url: 'https://example.com/' });
      expect(error).toMatchObject({ isTransient: transient, details: { cause: code } });
      expect(error.message).toContain(why);
      expect(error.hint).toContain(hint);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('to find the host are known from a host that has answered before', async () => {
    const lost = () =>
      Promise.reject(
        new TypeError('fetch failed', { cause: Object.assign(new Error('getaddrinfo'), { code: 'EAI_AGAIN' }) }),
      );
    try {
      vi.stubGlobal('fetch', lost);
      expect(await failure({ url: 'https://offline.example/' })).toMatchObject({ isUnknownHost: true });
      vi.stubGlobal('fetch', async () => new Response(null, { status: 204 }));
      await sendRequest({ url: 'https://offline.example/' });
      vi.stubGlobal('fetch', lost);
      expect(await failure({ url: 'https://offline.example/' })).toMatchObject({ isUnknownHost: false });
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('to answer in time, or to go on, are passing', async () => {
    const server = await start(silence);
    const error = await failure({ url: server.url, answerTimeoutMs: 50 });
    expect(error.message).toContain('no answer within 0.05 s');
    expect(error.isTransient).toBe(true);
    const stalled = await start((_request, response) => response.writeHead(200).write('some'));
    const result = await sendRequest({ url: stalled.url, silenceTimeoutMs: 50 });
    await expect(result.text(100)).rejects.toThrow('nothing arrived for 0.05 s');
  });

  it('by a signal have its reason', async () => {
    const server = await start(silence);
    const controller = new AbortController();
    const reason = new Error('enough');
    setTimeout(() => controller.abort(reason), 20);
    await expect(sendRequest({ url: server.url, signal: controller.signal })).rejects.toBe(reason);
    await expect(sendRequest({ url: server.url, signal: controller.signal })).rejects.toBe(reason);
  });
});

describe('requestJson', () => {
  const retry = { baseDelayMs: 1 };

  it('gives the value after errors that pass', async () => {
    const server = await start(answer(200, { a: 1 }));
    server.script.push(answer(502), hangUp, answer(429, '', { 'retry-after': '0' }));
    expect((await requestJson({ url: server.url, retry })).value).toEqual({ a: 1 });
    expect(server.requests).toHaveLength(4);
    expect(server.requests[0]!.headers).toMatchObject({ accept: 'application/json', 'user-agent': 'ministral-tune' });
  });

  it('does not repeat what cannot be cured', async () => {
    const server = await start(answer(404, 'no'));
    await expect(requestJson({ url: server.url, retry })).rejects.toThrow(
      `${server.url}/: the server answered 404 Not Found`,
    );
    expect(server.requests).toHaveLength(1);
  });

  it('tells what came instead of JSON', async () => {
    const server = await start(answer(200, ' <html>Sign in</html>', { 'content-type': 'application/json' }));
    await expect(requestJson({ url: server.url, retry })).rejects.toThrow('a web page came where JSON was expected');
    server.script.push(answer(200, ''));
    await expect(requestJson({ url: server.url, retry })).rejects.toThrow('nothing came where JSON was expected');
    server.script.push(answer(200, '1'.repeat(2000)));
    await expect(requestJson({ url: server.url, retry, maxBytes: 1000 })).rejects.toThrow('more than 1000 bytes');
    server.script.push(answer(304));
    await expect(requestJson({ url: server.url, retry })).rejects.toThrow('an answer of status 304');
  });

  it('takes the words of the service', async () => {
    const server = await start(answer(200, { error: 'closed today' }));
    const explain = ({ text }: { text: string }) => new TransferError(`it says ${JSON.parse(text).error}`);
    await expect(requestJson({ url: server.url, retry, explain })).rejects.toThrow('it says closed today');
  });
});
