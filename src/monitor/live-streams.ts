/** Browsers that follow a run by server-sent events; none of them is waited for. */
import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Message } from './live-history.js';
import type { LiveSnapshot } from './live-protocol.js';

/** Browsers at a time. */
export const MAX_STREAMS = 16;
/** Bytes that wait for one browser; beyond, it misses messages and then gets the thinned history. */
const MAX_UNSENT = 1_048_576;
/** Messages, and their characters, that a browser may miss and get one by one when it comes back. */
const MAX_MISSED = 512;
const MAX_MISSED_LENGTH = 1_048_576;
/** A browser that has read nothing for so long is given up, in milliseconds. */
const MAX_SILENT_MS = 60_000;

interface Stream {
  readonly response: ServerResponse;
  /** Since when it misses messages, by `now`. */
  behindSince: number | undefined;
}

interface Sent {
  readonly index: number;
  readonly text: string;
}

/** What is streamed. */
interface StreamSource {
  /** Publishes what has not been yet, so that it does not come once more after a snapshot. */
  flush(): void;
  snapshot(): LiveSnapshot;
}

export class LiveStreams {
  readonly #source: StreamSource;
  readonly #now: () => number;
  /** Tells messages of this server from those of an earlier one at the same address. */
  readonly #name = randomBytes(6).toString('hex');
  readonly #streams = new Set<Stream>();
  readonly #missable: Sent[] = [];
  #missableLength = 0;
  /** Of the last message. */
  #index = 0;
  #snapshotText: Sent | undefined;

  constructor(source: StreamSource, now: () => number = () => performance.now()) {
    this.#source = source;
    this.#now = now;
  }

  get size(): number {
    return this.#streams.size;
  }

  /**
   * Begins a stream: with what was missed since a message, or with everything.
   * @param lastId the `Last-Event-ID` header
   */
  add(response: ServerResponse, lastId: string | undefined): void {
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' });
    response.flushHeaders();
    this.#source.flush();
    const stream: Stream = { response, behindSince: undefined };
    this.#streams.add(stream);
    response.on('close', () => this.#streams.delete(stream));
    response.on('drain', () => {
      if (stream.behindSince === undefined) return;
      this.#source.flush();
      stream.behindSince = undefined;
      response.write(this.#everything());
    });
    response.write(this.#missed(lastId)?.join('') ?? this.#everything());
  }

  publish({ name, data }: Message): void {
    this.#index++;
    this.#send(this.#remember(this.#text(name, data)));
  }

  /** Keeps connections from looking dead, and gives up those that are. */
  beat(): void {
    for (const stream of this.#streams) {
      const { response, behindSince } = stream;
      if (behindSince === undefined) response.write(': alive\n\n');
      else if (this.#now() - behindSince > MAX_SILENT_MS) response.destroy();
    }
  }

  /** The last message; settles when all have it, or after so many milliseconds. */
  async end(patienceMs: number): Promise<void> {
    this.#index++;
    const text = this.#text('closed', {});
    const finished = [...this.#streams].map(({ response, behindSince }) => {
      const written = new Promise<void>((resolve) => response.once('close', resolve).once('finish', resolve));
      response.end(behindSince === undefined ? text : `${this.#everything()}${text}`);
      return written;
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, patienceMs);
    });
    await Promise.race([Promise.all(finished), late]);
    clearTimeout(timer);
  }

  #send(text: string): void {
    for (const stream of this.#streams) {
      if (stream.behindSince !== undefined) continue;
      if (stream.response.writableLength > MAX_UNSENT) stream.behindSince = this.#now();
      else stream.response.write(text);
    }
  }

  #remember(text: string): string {
    this.#missable.push({ index: this.#index, text });
    this.#missableLength += text.length;
    while (this.#missable.length > MAX_MISSED || this.#missableLength > MAX_MISSED_LENGTH) {
      this.#missableLength -= this.#missable.shift()!.text.length;
    }
    return text;
  }

  /** Messages after the one with that id; undefined if they are not all known. */
  #missed(lastId: string | undefined): string[] | undefined {
    const [, name, index] = /^([0-9a-f]+)\.(\d{1,15})$/.exec(lastId ?? '') ?? [];
    if (name !== this.#name) return undefined;
    const last = Number(index);
    const oldest = this.#missable[0]?.index ?? this.#index + 1;
    if (last > this.#index || last + 1 < oldest) return undefined;
    return this.#missable.filter((message) => message.index > last).map(({ text }) => text);
  }

  /** Made once for all who ask between two messages. */
  #everything(): string {
    if (this.#snapshotText?.index !== this.#index) {
      this.#snapshotText = { index: this.#index, text: this.#text('snapshot', this.#source.snapshot()) };
    }
    return this.#snapshotText.text;
  }

  #text(name: string, data: unknown): string {
    // JSON has no line ends, which would end the field.
    return `id: ${this.#name}.${this.#index}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
  }
}
