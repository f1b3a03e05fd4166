/** Output that may lose its reader: a closed terminal or pipe silences it, and is no reason to lose a run. */
import { closeSync, fstatSync, statSync } from 'node:fs';
import { isatty } from 'node:tty';

/** What progress is written to; `process.stderr` is one. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** What a stream of Node has besides; another may lack all of it. */
interface NodeStream extends ProgressStream {
  readonly destroyed?: boolean;
  readonly writableEnded?: boolean;
  readonly writableLength?: number;
  write(text: string, written?: (error?: unknown) => void): unknown;
  on?(event: 'error', listener: (error: unknown) => void): unknown;
  off?(event: 'error', listener: (error: unknown) => void): unknown;
  listenerCount?(event: 'error'): number;
}

/** The reader is gone: what the system, or the stream itself, says to a write. */
const GONE = new Set([
  ...['EPIPE', 'EIO', 'EOF', 'EBADF', 'ENXIO', 'ECONNRESET', 'ECONNABORTED', 'ENOTCONN', 'ESHUTDOWN'],
  ...['ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END', 'ERR_STREAM_PREMATURE_CLOSE'],
]);
/** A full pipe or a full disk loses this text; the next may pass. */
const PASSING = new Set(['EAGAIN', 'EWOULDBLOCK', 'EINTR', 'ENOBUFS', 'ENOMEM', 'ENOSPC', 'EDQUOT', 'EFBIG']);

/** Beyond so many bytes that nobody has read, new text is dropped: a stopped reader must not fill the memory. */
const MAX_UNREAD = 1_048_576;
/** How long the end of a run waits to learn whether its last lines were written, in milliseconds. */
const LAST_WRITE_MS = 100;

const guarded = new WeakMap<object, GuardedOutput>();

/** One for each stream, so that any number of runs add one listener at most. */
export function guardedOutput(stream: ProgressStream): GuardedOutput {
  const guard = guarded.get(stream) ?? new GuardedOutput(stream);
  guarded.set(stream, guard);
  return guard;
}

/** Standard output and standard error: what a program prints beside a run breaks in the same way as its progress. */
export function guardStandardOutput(): GuardedOutput[] {
  return [process.stdout, process.stderr].map((stream) => {
    const guard = guardedOutput(stream);
    guard.hold();
    return guard;
  });
}

export class GuardedOutput {
  readonly #stream: NodeStream;
  /** The reader is gone: nothing is written any more. */
  isGone = false;
  #holders = 0;
  #isListening = false;
  #unanswered = 0;
  #whenAnswered: (() => void)[] = [];
  /** Errors of our own writes, which the stream emits after their callbacks. */
  readonly #own = new WeakSet<object>();

  constructor(stream: ProgressStream) {
    this.#stream = stream;
  }

  /** Errors of the stream are taken until {@link release}: without a listener they end the process. */
  hold(): void {
    this.#holders++;
    if (this.#isListening || typeof this.#stream.on !== 'function') return;
    this.#isListening = true;
    this.#stream.on('error', this.#onError);
  }

  /** Stops listening when the last writes are answered. A stream that has lost its reader is listened to for good. */
  async release(): Promise<void> {
    if (this.#unanswered > 0) {
      const answered = new Promise<void>((resolve) => this.#whenAnswered.push(resolve));
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, LAST_WRITE_MS);
      });
      await Promise.race([answered, late]);
      clearTimeout(timer);
    }
    this.#holders--;
    this.#leave();
  }

  /** Never throws. */
  write(text: string): void {
    const stream = this.#stream;
    if (this.isGone) return;
    try {
      if (stream.destroyed || stream.writableEnded) {
        this.isGone = true;
        return;
      }
      if ((stream.writableLength ?? 0) > MAX_UNREAD) return;
      if (stream.writableLength === undefined) {
        const answer = stream.write(text);
        if (answer instanceof Promise) answer.catch((error) => this.#fail(error));
        return;
      }
      this.#unanswered++;
      stream.write(text, (error) => {
        this.#unanswered--;
        if (error) {
          if (typeof error === 'object') this.#own.add(error);
          this.#fail(error);
        }
        if (this.#unanswered > 0) return;
        for (const resolve of this.#whenAnswered.splice(0)) resolve();
        setImmediate(() => this.#leave()).unref();
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    const code = codeOf(error);
    if (code === 'EIO') closeDeadTerminalsAtExit();
    if (!PASSING.has(code)) this.isGone = true;
  }

  readonly #onError = (error: unknown): void => {
    const code = codeOf(error);
    const isOwn = (typeof error === 'object' && error !== null && this.#own.has(error)) || !this.#isShared;
    if (isOwn || GONE.has(code) || PASSING.has(code)) this.#fail(error);
    // Of other code, and nobody else listens: as if this one did not either.
    else if (this.#stream.listenerCount?.('error') === 1) throw error;
  };

  get #isShared(): boolean {
    const stream: unknown = this.#stream;
    return stream === process.stdout || stream === process.stderr;
  }

  #leave(): void {
    // A stream without callbacks may fail at any time.
    const answers = this.#stream.writableLength !== undefined;
    if (this.#holders > 0 || this.#unanswered > 0 || this.isGone || !answers || !this.#isListening) return;
    this.#isListening = false;
    this.#stream.off?.('error', this.#onError);
  }
}

function codeOf(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

let closesTerminals = false;

/**
 * Node restores the modes of its terminals at the end, and aborts the process, with an image of its memory on the disk,
 * where one of them is gone. It passes over those that are closed.
 */
export function closeDeadTerminalsAtExit(): void {
  if (closesTerminals || process.platform === 'win32') return;
  closesTerminals = true;
  process.on('exit', () => {
    for (const descriptor of [0, 1, 2]) {
      try {
        const stat = fstatSync(descriptor);
        const isNull = stat.rdev === statSync('/dev/null').rdev;
        if (stat.isCharacterDevice() && !isNull && !isatty(descriptor)) closeSync(descriptor);
      } catch {
        // Closed already.
      }
    }
  });
}
