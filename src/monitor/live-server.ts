/** The HTTP server of a live page: its document, the stream of messages, images of samples, and control. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { ConfigError } from '../errors.js';
import { AccessRules, isLoopback } from './live-access.js';
import { liveDocument } from './live-document.js';
import { ACTIONS, type Action } from './live-protocol.js';
import { type LiveStreams, MAX_STREAMS } from './live-streams.js';

/** Ports that are tried if none is given. */
const FIRST_PORT = 7070;
const LAST_PORT = 7089;
/** Bytes of a request's body. */
const MAX_BODY = 1024;
const MAX_CONNECTIONS = 64;
/** How long the end waits for browsers to take the last message, in milliseconds. */
const LAST_MESSAGE_MS = 500;

const HEADERS: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
};

interface LiveServerOptions {
  readonly port: number | undefined;
  readonly host: string;
  readonly token: string | undefined;
  readonly allowedHosts: readonly string[];
  readonly streams: LiveStreams;
  /** The image of a sample as a data URI; undefined if there is none of that index. */
  readonly image: (index: number) => string | undefined;
  /** Does it, or returns why not. */
  readonly act: (action: Action) => string | undefined;
}

export class LiveServer {
  readonly #options: LiveServerOptions;
  readonly #rules: AccessRules;
  readonly #server: Server;
  readonly address: string;

  private constructor(options: LiveServerOptions, server: Server) {
    this.#options = options;
    this.#rules = new AccessRules([options.host, ...options.allowedHosts], options.token);
    this.#server = server;
    const { address, port } = server.address() as AddressInfo;
    const isAny = address === '0.0.0.0' || address === '::';
    const name = isAny ? hostname() : options.host;
    const fragment = options.token === undefined ? '' : `#token=${encodeURIComponent(options.token)}`;
    this.address = `http://${name.includes(':') ? `[${name}]` : name}:${port}/${fragment}`;
    server.on('request', (request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
    // The server keeps the process, or nothing does: a browser that follows it must not.
    server.on('connection', (socket) => socket.unref());
    // After it listens, what fails is a single connection.
    server.on('error', () => {});
  }

  /** @throws ConfigError if it cannot listen there */
  static async listen(options: LiveServerOptions): Promise<LiveServer> {
    const { port, host, token } = options;
    const ports = port === undefined ? range(FIRST_PORT, LAST_PORT) : [port];
    for (const [i, candidate] of ports.entries()) {
      const server = createServer({
        connectionsCheckingInterval: 2000,
        headersTimeout: 5000,
        requestTimeout: 10_000,
        keepAliveTimeout: 5000,
        maxHeaderSize: 8192,
      });
      server.maxConnections = MAX_CONNECTIONS;
      // Node's other limits begin with the first byte: whoever sends none would keep a connection for good.
      server.setTimeout(5000);
      try {
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject).listen(candidate, host, () => {
            server.off('error', reject);
            resolve();
          });
        });
      } catch (error) {
        const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
        if (isTaken && i < ports.length - 1) continue;
        throw cannotListen(error as NodeJS.ErrnoException, host, port);
      }
      const { address } = server.address() as AddressInfo;
      if (token === undefined && !isLoopback(address)) {
        server.close();
        throw new ConfigError(`livePage: \`host\` ${JSON.stringify(host)} is ${address}, which other machines reach`, {
          hint: 'Leave `token` at its default, or listen on 127.0.0.1.',
        });
      }
      return new LiveServer(options, server);
    }
    throw new Error('no port was tried');
  }

  /** Whether the server keeps the process. */
  hold(isHeld: boolean): void {
    if (isHeld) this.#server.ref();
    else this.#server.unref();
  }

  /** Settles when browsers have the last message, or after half a second. */
  async close(): Promise<void> {
    this.#server.close();
    await this.#options.streams.end(LAST_MESSAGE_MS);
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A connection that breaks is no error of the run.
    request.on('error', () => {});
    response.on('error', () => {});
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    response.setHeader('Content-Security-Policy', liveDocument().policy);
    const refusal = this.#rules.refuseOrigin(request);
    if (refusal) return refuse(response, refusal.status, refusal.message);
    // Nothing in an address is needed, so nothing in one is heeded.
    const path = (request.url ?? '').split('?', 1)[0]!;
    const route = ROUTES.find(({ pattern }) => pattern.test(path));
    if (!route) return refuse(response, 404, 'There is nothing here.');
    if (!route.methods.includes(request.method ?? '')) {
      response.setHeader('Allow', route.methods.join(', '));
      return refuse(response, 405, `This takes ${route.methods.join(' and ')} only.`);
    }
    if (route.name === 'document') {
      response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
      response.end(request.method === 'HEAD' ? undefined : liveDocument().text);
      return;
    }
    const unknown = this.#rules.refuseToken(request);
    if (unknown) {
      response.setHeader('WWW-Authenticate', 'Bearer');
      return refuse(response, unknown.status, unknown.message);
    }
    if (route.name === 'events') this.#stream(request, response);
    else if (route.name === 'image') this.#image(path, response);
    else await this.#control(request, response);
  }

  #stream(request: IncomingMessage, response: ServerResponse): void {
    const { streams } = this.#options;
    if (streams.size >= MAX_STREAMS) {
      response.setHeader('Retry-After', '10');
      refuse(response, 503, `${MAX_STREAMS} pages follow this run already. Close one of them.`);
      return;
    }
    // Many small messages, each of them now; `LiveStreams` says how long a silent browser is kept.
    request.socket.setNoDelay(true).setTimeout(0).setKeepAlive(true, 30_000);
    const lastId = request.headers['last-event-id'];
    streams.add(response, typeof lastId === 'string' ? lastId : undefined);
  }

  #image(path: string, response: ServerResponse): void {
    const uri = this.#options.image(Number(path.slice(path.lastIndexOf('/') + 1)));
    // As text: an image element could not send the token.
    if (uri !== undefined) response.writeHead(200, { 'Content-Type': 'text/plain' }).end(uri);
    // Newer ones have come since the page was sent: no fault, which browsers would log.
    else response.writeHead(204).end();
  }

  async #control(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // What a form of another site can send is not JSON; what a script can send, the browser asks about first.
    if (!/^application\/json *(;|$)/i.test(request.headers['content-type'] ?? '')) {
      return refuse(response, 415, 'Send JSON, with Content-Type: application/json.');
    }
    const body = await readBody(request);
    if (body === undefined) {
      response.setHeader('Connection', 'close');
      return refuse(response, 413, `A request has at most ${MAX_BODY} bytes.`);
    }
    const action = actionOf(body);
    if (!action) return refuse(response, 400, `Expected {"action": …}, one of ${ACTIONS.join(', ')}.`);
    const problem = this.#options.act(action);
    if (problem !== undefined) return refuse(response, 409, problem);
    response.writeHead(202, { 'Content-Type': 'application/json' });
    response.end('{}');
  }
}

interface Route {
  readonly name: 'document' | 'events' | 'image' | 'control';
  readonly pattern: RegExp;
  readonly methods: readonly string[];
}

const ROUTES: readonly Route[] = [
  { name: 'document', pattern: /^\/$/, methods: ['GET', 'HEAD'] },
  { name: 'events', pattern: /^\/events$/, methods: ['GET'] },
  { name: 'image', pattern: /^\/images\/\d{1,12}$/, methods: ['GET'] },
  { name: 'control', pattern: /^\/control$/, methods: ['POST'] },
];

function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ message }));
}

/** Undefined if it is too long. */
function readBody(request: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MAX_BODY) {
        // Left unread: the answer closes the connection.
        request.pause();
        resolve(undefined);
      } else chunks.push(chunk);
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString()));
    request.on('close', () => reject(new Error('the request was broken off')));
  });
}

function actionOf(body: string): Action | undefined {
  try {
    const { action } = JSON.parse(body) as { readonly action?: unknown };
    return ACTIONS.find((known) => known === action);
  } catch {
    return undefined;
  }
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number | undefined): ConfigError {
  const where = `${host}, port ${port ?? `${FIRST_PORT} to ${LAST_PORT}`}`;
  const [problem, hint] = {
    EADDRINUSE: ['is in use', 'Give another `port`, 0 for any free one, or none for a free one from 7070 on.'],
    EACCES: ['is not allowed to this user', 'Give a `port` from 1024 on.'],
    EADDRNOTAVAIL: ['is no address of this machine', 'Give `host` 127.0.0.1, or 0.0.0.0 for all of its addresses.'],
    ENOTFOUND: ['is not known by that name', 'Give `host` 127.0.0.1, or 0.0.0.0 for all addresses.'],
  }[error.code ?? ''] ?? [`cannot be listened on: ${error.message}`, undefined];
  return new ConfigError(`livePage: ${where} ${problem}`, { hint, cause: error, details: { host, port } });
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
