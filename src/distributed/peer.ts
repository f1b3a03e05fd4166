/** A connection between the hub and a rank after both have proven themselves: messages, and signs of life. */
import type { Socket } from 'node:net';
import { type Framed, FrameReader, frameOf } from './frames.js';

export interface PeerTimes {
  /** Between two signs of life. */
  readonly beatMs: number;
  /** A peer that gives none for so many of them is lost. */
  readonly lostBeats: number;
}

export class Peer {
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  #lost: ((how: string) => void) | undefined;
  #silentBeats = 0;

  /**
   * @param receive its messages, signs of life left out
   * @param lost called once, with what happened, as `closed its connection`
   * @param rest what came behind the handshake
   */
  constructor(
    socket: Socket,
    { beatMs, lostBeats }: PeerTimes,
    receive: (message: Framed) => void,
    lost: (how: string) => void,
    rest: Uint8Array = new Uint8Array(),
  ) {
    this.#socket = socket;
    this.#lost = lost;
    const reader = new FrameReader((message) => {
      if (message.type !== 'beat') receive(message);
    });
    socket.setNoDelay(true);
    socket.setTimeout(0);
    const read = (chunk: Uint8Array): void => {
      this.#silentBeats = 0;
      try {
        reader.push(chunk);
      } catch (error) {
        this.#end(`broke the protocol: it ${(error as Error).message}`);
      }
    };
    socket.on('data', read);
    let code = '';
    socket.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ? ` (${error.code})` : '';
    });
    socket.on('close', () => this.#end(`closed its connection${code}`));
    // Its own beats are counted, and not the time: a machine that slept finds nobody lost when it wakes.
    this.#timer = setInterval(() => {
      this.#silentBeats++;
      if (this.#silentBeats > lostBeats) {
        this.#end(`gave no sign of life for ${Math.round((beatMs * lostBeats) / 1000)} s`);
      } else if (socket.writableLength < MAX_WAITING_BYTES) this.send({ type: 'beat' });
    }, beatMs);
    // Not before the caller has this peer.
    setImmediate(() => {
      read(rest);
      socket.resume();
    });
  }

  send(message: Framed): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    this.#socket.cork();
    for (const piece of frameOf(message)) this.#socket.write(piece);
    this.#socket.uncork();
  }

  /** What was sent has left this process, or nobody can have it any more. */
  flushed(): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableLength === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        socket.off('drain', end);
        socket.off('close', end);
        resolve();
      };
      socket.once('drain', end);
      socket.once('close', end);
      // Less than a buffer gives no `drain`.
      if (!socket.writableNeedDrain) socket.write('', end);
    });
  }

  /** In order: what was sent goes out first. */
  async close(): Promise<void> {
    this.#lost = undefined;
    clearInterval(this.#timer);
    const socket = this.#socket;
    if (socket.destroyed) return;
    await new Promise<void>((resolve) => {
      socket.once('close', resolve);
      socket.end(resolve);
    });
  }

  #end(how: string): void {
    clearInterval(this.#timer);
    const lost = this.#lost;
    this.#lost = undefined;
    lost?.(how);
    // What it should still read, as why it was given up, goes out if it reads at all.
    this.#socket.destroySoon();
    setTimeout(() => this.#socket.destroy(), LINGER_MS);
  }
}

const LINGER_MS = 2000;
const MAX_WAITING_BYTES = 2 ** 20;
