/** The text of an answer while its tokens come: what can be shown, and where a stop string ends it. */

import type { MinistralTokenizer, StreamingDecoder } from '../data/tokenizer.js';

export class AnswerText {
  readonly #decoder: StreamingDecoder;
  readonly #stops: readonly string[];
  /** What may become a stop string. */
  #held = '';
  #isStopped = false;

  constructor(tokenizer: MinistralTokenizer, stopStrings: readonly string[] = []) {
    this.#decoder = tokenizer.streamingDecoder({ skipSpecialTokens: true });
    this.#stops = stopStrings;
  }

  /** Whether a stop string has come: there is no more text. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** The text that a token makes certain. */
  push(id: number): string {
    return this.#isStopped ? '' : this.#release(this.#decoder.push(id));
  }

  /** What is left when no token follows. */
  end(): string {
    if (this.#isStopped) return '';
    const text = this.#release(this.#decoder.end());
    if (this.#isStopped) return text;
    const rest = this.#held;
    this.#held = '';
    return text + rest;
  }

  #release(added: string): string {
    if (this.#stops.length === 0) return added;
    const text = this.#held + added;
    const stop = firstStop(text, this.#stops);
    if (stop !== undefined) {
      this.#isStopped = true;
      this.#held = '';
      return text.slice(0, stop);
    }
    const held = heldLength(text, this.#stops);
    this.#held = text.slice(text.length - held);
    return text.slice(0, text.length - held);
  }
}

/**
 * Where the stop string begins that is complete first; of several that end there, the longest. So the text does not depend
 * on how it came in pieces.
 */
function firstStop(text: string, stops: readonly string[]): number | undefined {
  let [start, end] = [Infinity, Infinity];
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at < 0 || at + stop.length > end) continue;
    start = at + stop.length < end ? at : Math.min(start, at);
    end = at + stop.length;
  }
  return start === Infinity ? undefined : start;
}

/** Length of the longest end of a text that a stop string begins with. */
function heldLength(text: string, stops: readonly string[]): number {
  let most = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > most; length--) {
      if (text.endsWith(stop.slice(0, length))) most = length;
    }
  }
  return most;
}
