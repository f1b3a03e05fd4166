/** An http server on this machine that records what it is asked and misbehaves as told. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export interface RecordedRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
}

export class ScriptedServer {
  readonly requests: RecordedRequest[] = [];
  /** Each answers one request, in order; then the usual handler does. */
  readonly script: Handler[] = [];
  url = '';
  readonly #server: Server;
  readonly #usual: Handler;

  private constructor(usual: Handler) {
    this.#usual = usual;
    this.#server = createServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url!, 'http://host');
      this.requests.push({ path: pathname, query: searchParams, headers: request.headers });
      response.on('error', () => undefined);
      (this.script.shift() ?? this.#usual)(request, response);
    });
  }

  static async start(usual: Handler): Promise<ScriptedServer> {
    const server = new ScriptedServer(usual);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    server.url = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}`;
    return server;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Answers with a status, a body (objects as JSON) and headers. */
export function answer(status: number, body: string | object = '', headers: Record<string, string> = {}): Handler {
  const json = typeof body === 'object';
  return (_request, response) => {
    response.writeHead(status, { 'content-type': json ? 'application/json' : 'text/plain', ...headers });
    response.end(json ? JSON.stringify(body) : body);
  };
}

/** Takes the request and says nothing. */
export const silence: Handler = () => undefined;

/** Breaks the connection without an answer. */
export const hangUp: Handler = (_request, response) => response.destroy();
