/**
 * The stream of a run. Read by `fetch` rather than by an EventSource, which could not send the token: in a header it is in
 * no address, no log and no cookie, which other ports of the machine would get.
 */
import { EventStreamParser, type StreamMessage } from '../event-stream-parser.js';
import type { Action } from '../live-protocol.js';

/** `full`: the server has as many pages as it serves. `closed`: it has said that it ends. */
export type ConnectionState = 'connecting' | 'open' | 'lost' | 'full' | 'unauthorized' | 'closed';

/** The server gives a sign of life every 10 seconds. */
const SILENCE_MS = 25_000;
const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 8000;

interface ConnectionListener {
  onMessage(message: StreamMessage): void;
  onState(state: ConnectionState): void;
}

export class Connection {
  readonly #listener: ConnectionListener;
  token: string | null = null;
  #lastId = '';
  #wake: (() => void) | undefined;

  constructor(listener: ConnectionListener) {
    this.#listener = listener;
  }

  /** Follows the run until the server closes, or wants another token. */
  async follow(): Promise<void> {
    let delay = FIRST_DELAY_MS;
    for (;;) {
      const state = await this.#read(() => {
        delay = FIRST_DELAY_MS;
      });
      this.#listener.onState(state);
      if (state === 'closed' || state === 'unauthorized') return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, delay * (0.75 + Math.random() / 2));
      });
      delay = Math.min(2 * delay, LAST_DELAY_MS);
    }
  }

  /** Tries again now rather than later. */
  hurry(): void {
    this.#wake?.();
  }

  /** @returns what went wrong, as text */
  async act(action: Action): Promise<string | undefined> {
    try {
      const headers = { ...this.#headers(), 'Content-Type': 'application/json' };
      const response = await fetch('control', { method: 'POST', headers, body: JSON.stringify({ action }) });
      if (response.ok) return undefined;
      const { message } = (await response.json()) as { readonly message?: unknown };
      return typeof message === 'string' ? message : `The run answered ${response.status}.`;
    } catch {
      return 'The run cannot be reached.';
    }
  }

  /** The image of a sample as a data URI; undefined if it cannot be had. */
  async image(index: number): Promise<string | undefined> {
    try {
      const response = await fetch(`images/${index}`, { headers: this.#headers() });
      const uri = response.ok ? await response.text() : '';
      return uri.startsWith('data:image/') ? uri : undefined;
    } catch {
      return undefined;
    }
  }

  #headers(): Record<string, string> {
    return this.token === null ? {} : { Authorization: `Bearer ${this.token}` };
  }

  /** One stream to its end. */
  async #read(opened: () => void): Promise<ConnectionState> {
    const aborter = new AbortController();
    let timer = setTimeout(() => aborter.abort(), SILENCE_MS);
    try {
      const headers = { ...this.#headers(), ...(this.#lastId ? { 'Last-Event-ID': this.#lastId } : {}) };
      const response = await fetch('events', { headers, cache: 'no-store', signal: aborter.signal });
      if (response.status === 401) return 'unauthorized';
      if (response.status === 503) return 'full';
      if (!response.ok || !response.body) return 'lost';
      opened();
      this.#listener.onState('open');
      const parser = new EventStreamParser();
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return 'lost';
        clearTimeout(timer);
        timer = setTimeout(() => aborter.abort(), SILENCE_MS);
        for (const message of parser.feed(decoder.decode(value, { stream: true }))) {
          this.#lastId = message.id;
          this.#listener.onMessage(message);
          if (message.name === 'closed') return 'closed';
        }
      }
    } catch {
      return 'lost';
    } finally {
      clearTimeout(timer);
      aborter.abort();
    }
  }
}
