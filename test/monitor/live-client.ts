/** A client of the live page with every header under control, as a browser's are not. */
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { EventStreamParser, type StreamMessage } from '../../src/monitor/event-stream-parser.js';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

function send(address: string, { method = 'GET', path = '/', headers = {}, body }: Asked): Promise<IncomingMessage> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    const host = hostname.replace(/^\[|\]$/g, '');
    httpRequest({ host, port, method, path, headers, agent: false }, resolve).on('error', reject).end(body);
  });
}

export async function ask(address: string, asked: Asked = {}): Promise<Answer> {
  const response = await send(address, asked);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode!, headers: response.headers, text };
}

/** `POST /control` as the page does it. */
export function act(address: string, action: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const body = JSON.stringify({ action });
  return ask(address, {
    method: 'POST',
    path: '/control',
    headers: { 'Content-Type': 'application/json', ...headers },
    body,
  });
}

/** Messages of a stream, as far as they have come. */
export class Follower {
  readonly response: IncomingMessage;
  readonly messages: StreamMessage[] = [];
  isEnded = false;
  #wake: (() => void) | undefined;

  private constructor(response: IncomingMessage) {
    this.response = response;
    const parser = new EventStreamParser();
    response.setEncoding('utf8').on('data', (text: string) => {
      this.messages.push(...parser.feed(text));
      this.#wake?.();
    });
    response.on('error', () => {});
    response.on('close', () => {
      this.isEnded = true;
      this.#wake?.();
    });
  }

  static async open(address: string, headers: Readonly<Record<string, string>> = {}): Promise<Follower> {
    const response = await send(address, { path: '/events', headers });
    if (response.statusCode !== 200) throw new Error(`the stream is refused: ${response.statusCode}`);
    return new Follower(response);
  }

  /** Waits for what the condition wants; the test's own limit ends a wait in vain. */
  async until(condition: (follower: this) => boolean): Promise<void> {
    while (!condition(this)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The data of the newest message. */
  get last(): Record<string, unknown> & { readonly status: Record<string, unknown> } {
    return JSON.parse(this.messages.at(-1)!.data);
  }

  close(): void {
    this.response.destroy();
  }
}
