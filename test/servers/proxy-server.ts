/** A proxy on this machine: tunnels, and plain requests in absolute form; it alone knows where the hosts are. */
import { createServer, type IncomingMessage, type Server, type ServerResponse, request as send } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

export class ProxyServer {
  /** What was asked for: `CONNECT host:443`, `GET http://host/path`. */
  readonly asked: string[] = [];
  /** Ports of this machine by `host:port`. */
  readonly hosts = new Map<string, number>();
  /** `user:password` that it wants. */
  login: string | undefined;
  /** Refuses everything with this status. */
  refusal: number | undefined;
  url = '';
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer((request, response) => this.#relay(request, response));
    this.#server.on('connect', (request: IncomingMessage, socket: Socket) => this.#tunnel(request, socket));
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
    });
  }

  static async start(): Promise<ProxyServer> {
    const proxy = new ProxyServer();
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    proxy.url = `http://127.0.0.1:${(proxy.#server.address() as AddressInfo).port}`;
    return proxy;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The status to refuse with, if it does. */
  #refusal(request: IncomingMessage): number | undefined {
    this.asked.push(`${request.method} ${request.url}`);
    const wanted = this.login && `Basic ${Buffer.from(this.login).toString('base64')}`;
    if (wanted && request.headers['proxy-authorization'] !== wanted) return 407;
    return this.refusal;
  }

  #tunnel(request: IncomingMessage, socket: Socket): void {
    const port = this.hosts.get(request.url!);
    const refusal = this.#refusal(request) ?? (port === undefined ? 502 : undefined);
    if (refusal !== undefined) {
      socket.end(`HTTP/1.1 ${refusal} no\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    const host = connect(port!, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      host.pipe(socket).pipe(host);
    });
    this.#sockets.add(host);
    host.on('error', () => socket.destroy());
  }

  #relay(request: IncomingMessage, response: ServerResponse): void {
    const refusal = this.#refusal(request);
    const { hostname, port, pathname, search } = new URL(request.url!, 'http://none');
    const target = this.hosts.get(`${hostname}:${port || 80}`);
    if (refusal !== undefined || target === undefined) {
      response.writeHead(refusal ?? 502).end('refused');
      return;
    }
    const { 'proxy-authorization': _login, ...headers } = request.headers;
    const options = { port: target, path: pathname + search, method: request.method, headers };
    const onward = send(options, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  }
}
