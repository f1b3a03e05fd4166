/**
 * How messages lie on a connection. A frame: u32 bytes of the header, u48 bytes of the body (big-endian), the header as
 * JSON, the body. Lengths are bounded before anything is kept for them.
 */

/** A message of any kind: at most one field has bytes. */
export interface Framed {
  readonly type: string;
  readonly body?: Uint8Array | undefined;
}

const PREFIX_BYTES = 10;
const MAX_HEADER_BYTES = 2 ** 20;
/** What one array holds in every Node. */
const MAX_BODY_BYTES = 2 ** 32 - 1;

/** The pieces of a frame, in order. */
export function frameOf({ body, ...header }: Framed): Uint8Array[] {
  const json = Buffer.from(JSON.stringify(header));
  const bytes = body?.length ?? 0;
  if (json.length > MAX_HEADER_BYTES || bytes > MAX_BODY_BYTES) throw new FrameError('is too large to be sent');
  const head = Buffer.allocUnsafe(PREFIX_BYTES + json.length);
  head.writeUInt32BE(json.length, 0);
  head.writeUIntBE(bytes, 4, 6);
  json.copy(head, PREFIX_BYTES);
  return body && bytes > 0 ? [head, body] : [head];
}

/** What came is no frame. */
class FrameError extends Error {}

/** Puts frames together from what a connection brings. */
export class FrameReader {
  readonly #receive: (message: Framed) => void;
  readonly #prefix = Buffer.alloc(PREFIX_BYTES);
  #have = 0;
  #header: Uint8Array | undefined;
  #body: Uint8Array | undefined;

  constructor(receive: (message: Framed) => void) {
    this.#receive = receive;
  }

  /** @throws FrameError */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      const inHeader = this.#header ? this.#have - PREFIX_BYTES - this.#header.length : -1;
      const [target, offset] =
        inHeader >= 0
          ? ([this.#body!, inHeader] as const)
          : this.#header
            ? ([this.#header, this.#have - PREFIX_BYTES] as const)
            : ([this.#prefix, this.#have] as const);
      const count = Math.min(chunk.length - at, target.length - offset);
      target.set(chunk.subarray(at, at + count), offset);
      this.#have += count;
      at += count;
      this.#advance();
    }
  }

  #advance(): void {
    if (!this.#header) {
      if (this.#have < PREFIX_BYTES) return;
      const header = this.#prefix.readUInt32BE(0);
      const body = this.#prefix.readUIntBE(4, 6);
      if (header < 2 || header > MAX_HEADER_BYTES || body > MAX_BODY_BYTES) {
        throw new FrameError(`sent a message of ${header} and ${body} bytes`);
      }
      this.#header = new Uint8Array(header);
      this.#body = new Uint8Array(body);
    }
    if (this.#have < PREFIX_BYTES + this.#header.length + this.#body!.length) return;
    const message = parseHeader(this.#header);
    const body = this.#body!;
    this.#have = 0;
    this.#header = undefined;
    this.#body = undefined;
    this.#receive({ ...message, body });
  }
}

function parseHeader(bytes: Uint8Array): Framed {
  let header: unknown;
  try {
    header = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  } catch {
    throw new FrameError('sent a message that is no JSON');
  }
  const { type } = (header ?? {}) as { readonly type?: unknown };
  if (typeof type !== 'string') throw new FrameError('sent a message without a type');
  return header as Framed;
}
