import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError, TransferError } from '../../src/errors.js';
import { hubFetch } from '../../src/hub/hub-fetch.js';
import { connectHub, hubConnectionSchema } from '../../src/hub/hub-options.js';
import { proxyFor } from '../../src/transfer/proxy.js';
import { requestJson } from '../../src/transfer/request-json.js';
import { type HttpRequest, sendRequest } from '../../src/transfer/send-request.js';
import { ProxyServer } from '../servers/proxy-server.js';
import { answer, ScriptedServer } from '../servers/scripted-server.js';

describe('the way to an address', () => {
  const way = (url: string, env: Record<string, string>): string | undefined => proxyFor(new URL(url), env)?.href;

  it('is that of the variable for its scheme, in small letters first', () => {
    const env = { HTTPS_PROXY: 'http://a:1', HTTP_PROXY: 'http://b:2', ALL_PROXY: 'http://c:3' };
    expect(way('https://host.example/', env)).toBe('http://a:1/');
    expect(way('http://host.example/', env)).toBe('http://b:2/');
    expect(way('https://host.example/', { ALL_PROXY: 'http://c:3' })).toBe('http://c:3/');
    expect(way('https://host.example/', { ...env, https_proxy: 'https://d:4' })).toBe('https://d:4/');
    expect(way('https://host.example/', { all_proxy: 'proxy.example:3128' })).toBe('http://proxy.example:3128/');
    expect(way('https://host.example/', { HTTPS_PROXY: ' ' })).toBeUndefined();
    expect(way('https://host.example/', {})).toBeUndefined();
    // A web server's program gets the header `Proxy` of a request in this name.
    expect(way('http://host.example/', { HTTP_PROXY: 'http://b:2', REQUEST_METHOD: 'GET' })).toBeUndefined();
  });

  it('is direct to this machine', () => {
    for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '[::1]']) {
      expect(way(`http://${host}:80/`, { HTTP_PROXY: 'http://b:2', ALL_PROXY: 'http://c:3' })).toBeUndefined();
    }
  });

  it.each([
    ['*', 'https://any.example/', true],
    ['host.example', 'https://host.example/', true],
    ['HOST.Example', 'https://host.example/', true],
    ['host.example', 'https://sub.host.example/', true],
    ['.host.example', 'https://sub.host.example/', true],
    ['.host.example', 'https://host.example/', true],
    ['*.host.example', 'https://sub.host.example/', true],
    ['host.example', 'https://otherhost.example/', false],
    ['host.example.', 'https://host.example/', true],
    ['a.example, b.example', 'https://b.example/', true],
    ['a.example b.example', 'https://b.example/', true],
    ['host.example:8443', 'https://host.example:8443/', true],
    ['host.example:8443', 'https://host.example/', false],
    ['host.example:443', 'https://host.example/', true],
    ['host.example:80', 'http://host.example/', true],
    ['10.1.2.3', 'https://10.1.2.3/', true],
    ['10.0.0.0/8', 'https://10.1.2.3/', true],
    ['10.0.0.0/8', 'https://11.1.2.3/', false],
    ['192.168.4.0/22', 'https://192.168.7.255/', true],
    ['fd00::1', 'https://[fd00::1]/', true],
    ['[fd00::1]', 'https://[fd00::1]/', true],
    ['[fd00::1]:8443', 'https://[fd00::1]:8443/', true],
    ['[fd00::1]:8443', 'https://[fd00::1]/', false],
    ['fd00:0:0::1', 'https://[fd00::1]/', true],
    ['example', 'https://host.example/', true],
    ['https://host.example/', 'https://host.example/', true],
    ['a.example;host.example', 'https://host.example/', true],
    ['a.example|host.example', 'https://host.example/', true],
    ['"a.example,host.example"', 'https://host.example/', true],
    ['10.1.*.*', 'https://10.1.2.3/', true],
    ['10.1.*.*', 'https://10.2.2.3/', false],
    ['hub-*.example', 'https://hub-1.example/', true],
    ['hub-*.example', 'https://hub.example/', false],
    ['fd00::/8', 'https://[fd12::1]/', true],
    ['fd00::/8', 'https://[fe80::1]/', false],
    ['fd00::/129', 'https://[fd12::1]/', false],
    ['münchen.example', 'https://münchen.example/', true],
    ['', 'https://host.example/', false],
    [',, ,', 'https://host.example/', false],
  ])('NO_PROXY=%s exempts %s: %s', (list, url, exempt) => {
    for (const name of ['NO_PROXY', 'no_proxy']) {
      expect(way(url, { ALL_PROXY: 'http://p:1', [name]: list }) === undefined).toBe(exempt);
    }
  });

  it('may stand in quotation marks, as files of settings leave them', () => {
    expect(way('https://host.example/', { HTTPS_PROXY: '"http://p:1"' })).toBe(
      way('https://host.example/', { HTTPS_PROXY: 'http://p:1' }),
    );
  });

  it('that is none is refused without the password in it', () => {
    for (const value of ['socks5://me:hidden1@host:1080', 'socks5h://host:1', 'SOCKS4://host']) {
      expect(() => way('https://host.example/', { ALL_PROXY: value })).toThrow(
        /ALL_PROXY: a SOCKS proxy, which is not supported/,
      );
    }
    for (const value of ['ftp://me:hidden1@host', 'http://', 'http://me:hidden1@:80', 'http://a b', ':::']) {
      expect(() => way('https://host.example/', { https_proxy: value })).toThrow(ConfigError);
      expect(() => way('https://host.example/', { https_proxy: value })).not.toThrow(/hidden1/);
    }
  });
});

describe('through a proxy', () => {
  let proxy: ProxyServer;
  let plain: ScriptedServer;
  let secure: Server;
  beforeAll(async () => {
    const pem = (name: string): Promise<Buffer> => readFile(new URL(`../fixtures/tls/${name}.pem`, import.meta.url));
    secure = createServer({ key: await pem('key'), cert: await pem('certificate') }, (request, response) => {
      const { url, headers } = request;
      const [authorization, login] = [headers.authorization, headers['proxy-authorization']];
      let received = 0;
      request.on('data', (piece: Buffer) => {
        received += piece.length;
      });
      request.on('end', () =>
        response.end(JSON.stringify({ url, authorization, login, ...(received > 0 ? { received } : {}) })),
      );
    });
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
    plain = await ScriptedServer.start(answer(200, { plain: true }));
  });
  afterAll(async () => {
    secure.closeAllConnections();
    secure.close();
    await plain.close();
  });
  beforeEach(async () => {
    proxy = await ProxyServer.start();
    proxy.hosts.set('mirror.example:443', (secure.address() as AddressInfo).port);
    proxy.hosts.set('plain.example:80', Number(new URL(plain.url).port));
    plain.requests.length = 0;
    for (const name of ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy', 'ALL_PROXY', 'NO_PROXY'])
      vi.stubEnv(name, '');
    vi.stubEnv('HTTPS_PROXY', proxy.url);
    vi.stubEnv('HTTP_PROXY', proxy.url);
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await proxy.close();
  });

  const failure = async (request: HttpRequest): Promise<TransferError> => {
    const error = await sendRequest({ allowInsecureHttp: true, ...request }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TransferError);
    return error as TransferError;
  };
  const withLogin = (login: string): string => proxy.url.replace('//', `//${login}@`);

  it('https goes in a tunnel, and the proxy sees no credentials of the host, nor the host those of the proxy', async () => {
    proxy.login = 'me:pa ss:word';
    vi.stubEnv('HTTPS_PROXY', withLogin('me:pa%20ss%3Aword'));
    const { value } = await requestJson({
      url: 'https://mirror.example/a?b=c',
      privateHeaders: { authorization: 'Bearer hf_for_the_host' },
    });
    expect(value).toEqual({ url: '/a?b=c', authorization: 'Bearer hf_for_the_host' });
    expect(proxy.asked).toEqual(['CONNECT mirror.example:443']);
  });

  it('an upload is counted on its way', async () => {
    const settings = hubConnectionSchema().parse({ endpoint: 'https://mirror.example', token: 'hf_writer' });
    const send = hubFetch(await connectHub(settings), { repoId: 'a/b', revision: 'main', action: 'write' });
    const seen: number[] = [];
    const progressHint = { progressCallback: (progress: number) => seen.push(progress) };
    const init = { method: 'PUT', body: new Blob(['x'.repeat(300_000)]), progressHint } as RequestInit;
    const result = (await (await send('https://mirror.example/put', init)).json()) as object;
    expect(result).toEqual({ url: '/put', received: 300_000 });
    expect(seen.at(-1)).toBe(1);
  });

  it('http is asked of it in full', async () => {
    const { value } = await requestJson({ url: 'http://plain.example/x', allowInsecureHttp: true });
    expect(value).toEqual({ plain: true });
    expect(proxy.asked).toEqual(['GET http://plain.example/x']);
  });

  it('a body is sent, and a redirect chooses its way anew', async () => {
    plain.script.push(answer(307, '', { location: 'https://mirror.example/next' }));
    const result = await sendRequest({
      url: 'http://plain.example/',
      method: 'POST',
      body: new Blob(['hello']),
      allowInsecureHttp: true,
      privateHeaders: { authorization: 'Bearer secret-of-plain' },
    });
    expect(JSON.parse(await result.text(1000))).toEqual({ url: '/next', received: 5 });
    expect(proxy.asked).toEqual(['POST http://plain.example/', 'CONNECT mirror.example:443']);
  });

  it('only where NO_PROXY does not name the host, and this machine never', async () => {
    vi.stubEnv('NO_PROXY', 'example');
    vi.stubGlobal('fetch', async () => new Response('direct'));
    const direct = await sendRequest({ url: 'https://mirror.example/' });
    vi.unstubAllGlobals();
    expect(await direct.text(10)).toBe('direct');
    await (await sendRequest({ url: plain.url })).cancel();
    expect(proxy.asked).toEqual([]);
  });

  it.each([407, 403, 502, 503])('a tunnel that it refuses with %i is its fault, and said so', async (status) => {
    proxy.refusal = status;
    vi.stubEnv('HTTPS_PROXY', withLogin('me:hidden-word'));
    const error = await failure({ url: 'https://mirror.example/x' });
    expect(error.message).toContain(
      `https://mirror.example/x: the proxy ${proxy.url} answered ${status}, not the host`,
    );
    expect(error).toMatchObject({ isTransient: status >= 500, details: { proxyStatus: status } });
    expect(JSON.stringify([error, String(error.cause), error.stack])).not.toContain('hidden-word');
  });

  it('so is a plain request, or it may be', async () => {
    proxy.login = 'me:right-word';
    vi.stubEnv('HTTP_PROXY', withLogin('me:wrong-word'));
    const error = await failure({ url: 'http://plain.example/x' });
    expect(error.message).toContain(`the proxy ${proxy.url} answered 407`);
    expect(error.hint).toContain('HTTPS_PROXY');
    proxy.login = undefined;
    proxy.refusal = 403;
    const retry = { maxAttempts: 1 };
    const work = requestJson({ url: 'http://plain.example/x', allowInsecureHttp: true, retry });
    await expect(work).rejects.toThrow(`403 Forbidden; it may be the proxy ${proxy.url} that answers`);
  });

  it('one that is not there is named', async () => {
    const { url } = proxy;
    await proxy.close();
    const error = await failure({ url: 'https://mirror.example/x' });
    expect(error.message).toContain(`the connection failed (through the proxy ${url})`);
    expect(error.isTransient).toBe(true);
    proxy = await ProxyServer.start();
  });

  it('certificates are checked as always', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '1');
    const error = await failure({ url: 'https://mirror.example/x' });
    expect(error.message).toMatch(/the connection failed \(through the proxy .*\): self-signed certificate/);
    expect(error.hint).toContain('NODE_EXTRA_CA_CERTS');
    expect(error.isTransient).toBe(false);
  });
});
