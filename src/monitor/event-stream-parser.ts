/** Server-sent events out of the text of a stream. Runs in Node and in the browser. */

export interface StreamMessage {
  readonly id: string;
  readonly name: string;
  readonly data: string;
}

/** Reads what `LiveStreams` writes: one `id`, `event` and `data` a message, and comments. */
export class EventStreamParser {
  #rest = '';

  /** Messages that the text completes. */
  feed(text: string): StreamMessage[] {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop()!;
    return blocks.flatMap((block) => {
      const fields = new Map(
        block.split('\n').map((line) => {
          const colon = line.indexOf(':');
          return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')] as const;
        }),
      );
      const data = fields.get('data');
      if (data === undefined) return [];
      return [{ id: fields.get('id') ?? '', name: fields.get('event') ?? 'message', data }];
    });
  }
}
