import {
  styled,
  usesColor
} from "./chunk-HDH4MICY.js";
import {
  splitText
} from "./chunk-HQ42KN2I.js";
import {
  displayWidth
} from "./chunk-AQMU4HCF.js";

// src/messages/fit-pieces.ts
var GAP = "  ";
var BAR_MOST = 24;
var BAR_LEAST = 8;
function fitPieces(pieces, { columns, share, usesColor: usesColor2 }) {
  const widthOf = (kept2) => kept2.reduce((sum, { text }) => sum + displayWidth(text) + GAP.length, -GAP.length);
  const room = share === void 0 ? columns : Math.max(columns - BAR_LEAST - 1, 0);
  const byRank = [...pieces].sort((a, b) => a.rank - b.rank);
  let count = pieces.length;
  const essential = byRank.filter(({ rank }) => rank <= 1).length || 1;
  while (count > essential && widthOf(byRank.slice(0, count)) > room) count--;
  while (count > 1 && widthOf(byRank.slice(0, count)) > columns) count--;
  const kept = new Set(byRank.slice(0, count));
  const shown = pieces.filter((piece) => kept.has(piece));
  const left = columns - widthOf(shown);
  const texts = shown.map(({ text, style }) => {
    const cut = left < 0 ? splitText(text, Math.max(1, columns))[0] : text;
    return styled(style, cut, usesColor2);
  });
  const line = texts.join(GAP);
  if (share === void 0 || left < BAR_LEAST + 1) return line;
  return `${bar(share, Math.min(BAR_MOST, left - 1), usesColor2)} ${line}`;
}
function bar(share, width, usesColor2) {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
  return styled("cyan", "\u2588".repeat(filled), usesColor2) + styled("dim", "\u2591".repeat(width - filled), usesColor2);
}

// src/messages/format-duration.ts
function formatDuration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${two(Math.floor(whole % 3600 / 60))}m`;
}

// src/train/guarded-output.ts
import { closeSync, fstatSync, statSync } from "node:fs";
import { isatty } from "node:tty";
var GONE = /* @__PURE__ */ new Set([
  ...["EPIPE", "EIO", "EOF", "EBADF", "ENXIO", "ECONNRESET", "ECONNABORTED", "ENOTCONN", "ESHUTDOWN"],
  ...["ERR_STREAM_DESTROYED", "ERR_STREAM_WRITE_AFTER_END", "ERR_STREAM_PREMATURE_CLOSE"]
]);
var PASSING = /* @__PURE__ */ new Set(["EAGAIN", "EWOULDBLOCK", "EINTR", "ENOBUFS", "ENOMEM", "ENOSPC", "EDQUOT", "EFBIG"]);
var MAX_UNREAD = 1048576;
var LAST_WRITE_MS = 100;
var guarded = /* @__PURE__ */ new WeakMap();
function guardedOutput(stream) {
  const guard = guarded.get(stream) ?? new GuardedOutput(stream);
  guarded.set(stream, guard);
  return guard;
}
function guardStandardOutput() {
  return [process.stdout, process.stderr].map((stream) => {
    const guard = guardedOutput(stream);
    guard.hold();
    return guard;
  });
}
var GuardedOutput = class {
  #stream;
  /** The reader is gone: nothing is written any more. */
  isGone = false;
  #holders = 0;
  #isListening = false;
  #unanswered = 0;
  #whenAnswered = [];
  /** Errors of our own writes, which the stream emits after their callbacks. */
  #own = /* @__PURE__ */ new WeakSet();
  constructor(stream) {
    this.#stream = stream;
  }
  /** Errors of the stream are taken until {@link release}: without a listener they end the process. */
  hold() {
    this.#holders++;
    if (this.#isListening || typeof this.#stream.on !== "function") return;
    this.#isListening = true;
    this.#stream.on("error", this.#onError);
  }
  /** Stops listening when the last writes are answered. A stream that has lost its reader is listened to for good. */
  async release() {
    if (this.#unanswered > 0) {
      const answered = new Promise((resolve) => this.#whenAnswered.push(resolve));
      let timer;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, LAST_WRITE_MS);
      });
      await Promise.race([answered, late]);
      clearTimeout(timer);
    }
    this.#holders--;
    this.#leave();
  }
  /** Never throws. */
  write(text) {
    const stream = this.#stream;
    if (this.isGone) return;
    try {
      if (stream.destroyed || stream.writableEnded) {
        this.isGone = true;
        return;
      }
      if ((stream.writableLength ?? 0) > MAX_UNREAD) return;
      if (stream.writableLength === void 0) {
        const answer = stream.write(text);
        if (answer instanceof Promise) answer.catch((error) => this.#fail(error));
        return;
      }
      this.#unanswered++;
      stream.write(text, (error) => {
        this.#unanswered--;
        if (error) {
          if (typeof error === "object") this.#own.add(error);
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
  #fail(error) {
    const code = codeOf(error);
    if (code === "EIO") closeDeadTerminalsAtExit();
    if (!PASSING.has(code)) this.isGone = true;
  }
  #onError = (error) => {
    const code = codeOf(error);
    const isOwn = typeof error === "object" && error !== null && this.#own.has(error) || !this.#isShared;
    if (isOwn || GONE.has(code) || PASSING.has(code)) this.#fail(error);
    else if (this.#stream.listenerCount?.("error") === 1) throw error;
  };
  get #isShared() {
    const stream = this.#stream;
    return stream === process.stdout || stream === process.stderr;
  }
  #leave() {
    const answers = this.#stream.writableLength !== void 0;
    if (this.#holders > 0 || this.#unanswered > 0 || this.isGone || !answers || !this.#isListening) return;
    this.#isListening = false;
    this.#stream.off?.("error", this.#onError);
  }
};
function codeOf(error) {
  const code = error?.code;
  return typeof code === "string" ? code : "";
}
var closesTerminals = false;
function closeDeadTerminalsAtExit() {
  if (closesTerminals || process.platform === "win32") return;
  closesTerminals = true;
  process.on("exit", () => {
    for (const descriptor of [0, 1, 2]) {
      try {
        const stat = fstatSync(descriptor);
        const isNull = stat.rdev === statSync("/dev/null").rdev;
        if (stat.isCharacterDevice() && !isNull && !isatty(descriptor)) closeSync(descriptor);
      } catch {
      }
    }
  });
}

// src/train/terminal-line.ts
import { stripVTControlCharacters } from "node:util";
var CLEAR = "\r\x1B[2K";
var REDRAW_MS = 100;
var STALE_MS = 1e4;
var USUAL_COLUMNS = 80;
var lines = /* @__PURE__ */ new WeakMap();
function terminalLine(stream = process.stderr) {
  const line = lines.get(stream) ?? new TerminalLine(stream);
  lines.set(stream, line);
  return line;
}
var TerminalLine = class {
  /** Whether a line can be drawn again: not in a file or a pipe, nor on a terminal that knows no commands. */
  isLive;
  usesColor;
  #stream;
  #output;
  #beside;
  #guards = [];
  #holders = 0;
  #unwatch;
  /** What is to be seen; drawn again after others have printed. */
  #text;
  #isDrawn = false;
  /** Others have printed the beginning of a line. */
  #isBroken = false;
  #isOwn = false;
  #redraw;
  #lastDraw = Number.NEGATIVE_INFINITY;
  #drawnAt = 0;
  /** @param beside what prints on the same terminal. Default: the standard streams, if it is one of them */
  constructor(stream, beside) {
    this.#stream = stream;
    const standard = [process.stdout, process.stderr];
    this.#beside = (beside ?? (standard.some((one) => one === stream) ? standard : [])).filter(({ isTTY }) => isTTY);
    this.#output = guardedOutput(stream);
    this.isLive = stream.isTTY === true && process.env.TERM !== "dumb";
    this.usesColor = usesColor(stream);
  }
  /** Columns that a text may take: the last one stays empty, as some terminals go on to the next line there. */
  get columns() {
    if (!this.#stream.isTTY) return Number.POSITIVE_INFINITY;
    return (this.#stream.columns || USUAL_COLUMNS) - 1;
  }
  /** To be called before the first line; from then on the process may lose its terminal and live on. */
  hold() {
    if (this.#holders++ > 0) return;
    this.#output.hold();
    this.#guards = [this.#output, ...guardStandardOutput()];
    process.once("exit", this.#onExit);
  }
  /** Whatever ended the process in the middle: the shell's prompt begins a line of its own. */
  #onExit = () => {
    if (this.#isDrawn) this.#write("\n");
  };
  /** Leaves the terminal with a fresh line, when the last one lets go. */
  async release() {
    if (--this.#holders > 0) return;
    if (this.#isDrawn) this.#write("\n");
    this.#text = void 0;
    this.#isDrawn = false;
    this.#unwatch?.();
    this.#unwatch = void 0;
    process.off("exit", this.#onExit);
    await Promise.all(this.#guards.splice(0).map((guard) => guard.release()));
  }
  /**
   * Draws the line, which must fit into `columns`. A text that comes soon after another is not drawn.
   * @param now milliseconds of a clock
   * @param isDue whether it is drawn whatever the clock says
   */
  draw(text, now, isDue = false) {
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
  print(text) {
    const start = this.#isDrawn ? CLEAR : this.#isBroken ? "\n" : "";
    this.#isDrawn = false;
    this.#isBroken = false;
    this.#text = void 0;
    this.#write(`${start}${text}
`);
  }
  /** Nothing is to be seen any more. */
  clear() {
    if (this.#isDrawn) this.#write(CLEAR);
    this.#isDrawn = false;
    this.#text = void 0;
  }
  #write(text) {
    this.#isOwn = true;
    this.#output.write(text);
    this.#isOwn = false;
  }
  /** Listens to what others print on the same terminal. @returns what ends that */
  #watch() {
    const ends = this.#beside.map((stream) => this.#watchStream(stream));
    const onWarning = () => this.#beforeOthers();
    const onError = () => this.clear();
    process.prependListener("warning", onWarning);
    process.prependListener("uncaughtExceptionMonitor", onError);
    return () => {
      process.off("warning", onWarning);
      process.off("uncaughtExceptionMonitor", onError);
      for (const end of ends) end();
    };
  }
  #watchStream(stream) {
    const isOwnProperty = Object.hasOwn(stream, "write");
    const original = stream.write;
    const line = this;
    let isWatching = true;
    const watched = function(...given) {
      const isOthers = isWatching && !line.#isOwn;
      if (isOthers) line.#beforeOthers();
      const answer = original.apply(this, given);
      if (isOthers) line.#afterOthers(given[0]);
      return answer;
    };
    stream.write = watched;
    return () => {
      isWatching = false;
      if (stream.write !== watched) return;
      if (isOwnProperty) stream.write = original;
      else delete stream.write;
    };
  }
  #beforeOthers() {
    if (this.#isDrawn) this.#write(CLEAR);
    this.#isDrawn = false;
    this.#redraw ??= setImmediate(() => {
      this.#redraw = void 0;
      if (performance.now() - this.#drawnAt > STALE_MS) this.#text = void 0;
      if (this.#text === void 0 || this.#isBroken || this.#isDrawn) return;
      this.#write(`${CLEAR}${this.#text}`);
      this.#isDrawn = true;
    });
    this.#redraw.unref();
  }
  #afterOthers(chunk) {
    const text = typeof chunk === "string" ? chunk : chunk instanceof Uint8Array ? Buffer.from(chunk).toString() : "";
    const seen = stripVTControlCharacters(text);
    if (seen !== "") this.#isBroken = !/[\r\n]$/.test(seen);
  }
};

export {
  fitPieces,
  formatDuration,
  guardedOutput,
  guardStandardOutput,
  closeDeadTerminalsAtExit,
  terminalLine
};
