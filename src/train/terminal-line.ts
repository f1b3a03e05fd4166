/**
 * The last line of a terminal, which is drawn again and again, and what is printed above it. Whatever else the process
 * prints meanwhile goes above it too: it is taken away before, and drawn again after.
 */
import { stripVTControlCharacters } from 'node:util';
import { usesColor } from '../messages/terminal-color.js';
import { type GuardedOutput, guardedOutput, guardStandardOutput, type ProgressStream } from './guarded-output.js';

const CLEAR = '\r\x1b[2K';
/** The line is drawn at most this often, in milliseconds. */
const REDRAW_MS = 100;
/** What was not drawn anew for so long is not brought back after other output: its work may have failed. */
const STALE_MS = 10_000;
/** Where the terminal does not say. */
const USUAL_COLUMNS = 80;

/** A stream on whose terminal the line is drawn. */
interface WatchedStream {
  readonly isTTY?: boolean;
  write(chunk: unknown, ...more: never[]): unknown;
}

const lines = new WeakMap<object, TerminalLine>();

/** One for each stream: those that show progress at the same time take turns on it. */
export function terminalLine(stream: ProgressStream = process.stderr): TerminalLine {
  const line = lines.get(stream) ?? new TerminalLine(stream);
  lines.set(stream, line);
  return line;
}

export class TerminalLine {
  /** Whether a line can be drawn again: not in a file or a pipe, nor on a terminal that knows no commands. */
  readonly isLive: boolean;
  readonly usesColor: boolean;
  readonly #stream: ProgressStream;
  readonly #output: GuardedOutput;
  readonly #beside: readonly WatchedStream[];
  #guards: GuardedOutput[] = [];
  #holders = 0;
  #unwatch: (() => void) | undefined;
  /** What is to be seen; drawn again after others have printed. */
  #text: string | undefined;
  #isDrawn = false;
  /** Others have printed the beginning of a line. */
  #isBroken = false;
  #isOwn = false;
  #redraw: NodeJS.Immediate | undefined;
  #lastDraw = Number.NEGATIVE_INFINITY;
  #drawnAt = 0;

  /** @param beside what prints on the same terminal. Default: the standard streams, if it is one of them */
  constructor(stream: ProgressStream, beside?: readonly WatchedStream[]) {
    this.#stream = stream;
    const standard: readonly WatchedStream[] = [process.stdout, process.stderr];
    this.#beside = (beside ?? (standard.some((one) => one === stream) ? standard : [])).filter(({ isTTY }) => isTTY);
    this.#output = guardedOutput(stream);
    this.isLive = stream.isTTY === true && process.env.TERM !== 'dumb';
    this.usesColor = usesColor(stream);
  }

  /** Columns that a text may take: the last one stays empty, as some terminals go on to the next line there. */
  get columns(): number {
    if (!this.#stream.isTTY) return Number.POSITIVE_INFINITY;
    return (this.#stream.columns || USUAL_COLUMNS) - 1;
  }

  /** To be called before the first line; from then on the process may lose its terminal and live on. */
  hold(): void {
    if (this.#holders++ > 0) return;
    this.#output.hold();
    this.#guards = [this.#output, ...guardStandardOutput()];
    process.once('exit', this.#onExit);
  }

  /** Whatever ended the process in the middle: the shell's prompt begins a line of its own. */
  readonly #onExit = (): void => {
    if (this.#isDrawn) this.#write('\n');
  };

  /** Leaves the terminal with a fresh line, when the last one lets go. */
  async release(): Promise<void> {
    if (--this.#holders > 0) return;
    if (this.#isDrawn) this.#write('\n');
    this.#text = undefined;
    this.#isDrawn = false;
    this.#unwatch?.();
    this.#unwatch = undefined;
    process.off('exit', this.#onExit);
    await Promise.all(this.#guards.splice(0).map((guard) => guard.release()));
  }

  /**
   * Draws the line, which must fit into `columns`. A text that comes soon after another is not drawn.
   * @param now milliseconds of a clock
   * @param isDue whether it is drawn whatever the clock says
   */
  draw(text: string, now: number, isDue = false): void {
    if (now - this.#lastDraw < REDRAW_MS && !isDue) return;
    this.#lastDraw = now;
    this.#text = text;
    this.#drawnAt = performance.now();
    if (this.#holders > 0) this.#unwatch ??= this.#watch();
    if (this.#isBroken) return;
    this.#write(`${CLEAR}${text}`);
    this.#isDrawn = true;
  }

  /** Prints lines; the drawn one is gone until it is drawn again. @param text may hold colours of {@link usesColor} alone */
  print(text: string): void {
    const start = this.#isDrawn ? CLEAR : this.#isBroken ? '\n' : '';
    this.#isDrawn = false;
    this.#isBroken = false;
    this.#text = undefined;
    this.#write(`${start}${text}\n`);
  }

  /** Nothing is to be seen any more. */
  clear(): void {
    if (this.#isDrawn) this.#write(CLEAR);
    this.#isDrawn = false;
    this.#text = undefined;
  }

  #write(text: string): void {
    this.#isOwn = true;
    this.#output.write(text);
    this.#isOwn = false;
  }

  /** Listens to what others print on the same terminal. @returns what ends that */
  #watch(): () => void {
    const ends = this.#beside.map((stream) => this.#watchStream(stream));
    // Node prints warnings and what nobody catches past its streams.
    const onWarning = (): void => this.#beforeOthers();
    const onError = (): void => this.clear();
    process.prependListener('warning', onWarning);
    process.prependListener('uncaughtExceptionMonitor', onError);
    return () => {
      process.off('warning', onWarning);
      process.off('uncaughtExceptionMonitor', onError);
      for (const end of ends) end();
    };
  }

  #watchStream(stream: WatchedStream): () => void {
    const isOwnProperty = Object.hasOwn(stream, 'write');
    const original = stream.write;
    const line = this;
    let isWatching = true;
    const watched = function (this: unknown, ...given: unknown[]): unknown {
      const isOthers = isWatching && !line.#isOwn;
      if (isOthers) line.#beforeOthers();
      const answer = (original as (...given: unknown[]) => unknown).apply(this, given);
      if (isOthers) line.#afterOthers(given[0]);
      return answer;
    };
    stream.write = watched;
    return () => {
      isWatching = false;
      // Whoever came later keeps what they have put over it.
      if (stream.write !== watched) return;
      if (isOwnProperty) stream.write = original;
      else delete (stream as { write?: unknown }).write;
    };
  }

  #beforeOthers(): void {
    if (this.#isDrawn) this.#write(CLEAR);
    this.#isDrawn = false;
    this.#redraw ??= setImmediate(() => {
      this.#redraw = undefined;
      if (performance.now() - this.#drawnAt > STALE_MS) this.#text = undefined;
      if (this.#text === undefined || this.#isBroken || this.#isDrawn) return;
      this.#write(`${CLEAR}${this.#text}`);
      this.#isDrawn = true;
    });
    this.#redraw.unref();
  }

  #afterOthers(chunk: unknown): void {
    const text = typeof chunk === 'string' ? chunk : chunk instanceof Uint8Array ? Buffer.from(chunk).toString() : '';
    const seen = stripVTControlCharacters(text);
    if (seen !== '') this.#isBroken = !/[\r\n]$/.test(seen);
  }
}
