import { t as displayWidth } from "./display-width-D3AspX99.js";
import { n as styled, t as usesColor } from "./terminal-color-B6tTStTQ.js";
import { t as splitText } from "./wrap-text-DMjKL7h-.js";
import { closeSync, fstatSync, statSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { isatty } from "node:tty";
// src/messages/fit-pieces.ts
const GAP = "  ";
const BAR_MOST = 24;
const BAR_LEAST = 8;
function fitPieces(pieces, { columns, share, usesColor }) {
	const widthOf = (kept) => kept.reduce((sum, { text }) => sum + displayWidth(text) + 2, -2);
	const room = share === void 0 ? columns : Math.max(columns - BAR_LEAST - 1, 0);
	const byRank = [...pieces].sort((a, b) => a.rank - b.rank);
	let count = pieces.length;
	const essential = byRank.filter(({ rank }) => rank <= 1).length || 1;
	while (count > essential && widthOf(byRank.slice(0, count)) > room) count--;
	while (count > 1 && widthOf(byRank.slice(0, count)) > columns) count--;
	const kept = new Set(byRank.slice(0, count));
	const shown = pieces.filter((piece) => kept.has(piece));
	const left = columns - widthOf(shown);
	const line = shown.map(({ text, style }) => {
		const cut = left < 0 ? splitText(text, Math.max(1, columns))[0] : text;
		return styled(style, cut, usesColor);
	}).join(GAP);
	if (share === void 0 || left < 9) return line;
	return `${bar(share, Math.min(BAR_MOST, left - 1), usesColor)} ${line}`;
}
function bar(share, width, usesColor) {
	const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
	return styled("cyan", "█".repeat(filled), usesColor) + styled("dim", "░".repeat(width - filled), usesColor);
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
const GONE = new Set([...[
	"EPIPE",
	"EIO",
	"EOF",
	"EBADF",
	"ENXIO",
	"ECONNRESET",
	"ECONNABORTED",
	"ENOTCONN",
	"ESHUTDOWN"
], ...[
	"ERR_STREAM_DESTROYED",
	"ERR_STREAM_WRITE_AFTER_END",
	"ERR_STREAM_PREMATURE_CLOSE"
]]);
const PASSING = new Set([
	"EAGAIN",
	"EWOULDBLOCK",
	"EINTR",
	"ENOBUFS",
	"ENOMEM",
	"ENOSPC",
	"EDQUOT",
	"EFBIG"
]);
const MAX_UNREAD = 1048576;
const LAST_WRITE_MS = 100;
const guarded = new WeakMap();
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
	isGone = false;
	#holders = 0;
	#isListening = false;
	#unanswered = 0;
	#whenAnswered = [];
	#own = new WeakSet();
	constructor(stream) {
		this.#stream = stream;
	}
	hold() {
		this.#holders++;
		if (this.#isListening || typeof this.#stream.on !== "function") return;
		this.#isListening = true;
		this.#stream.on("error", this.#onError);
	}
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
		if (typeof error === "object" && error !== null && this.#own.has(error) || !this.#isShared || GONE.has(code) || PASSING.has(code)) this.#fail(error);
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
let closesTerminals = false;
function closeDeadTerminalsAtExit() {
	if (closesTerminals || process.platform === "win32") return;
	closesTerminals = true;
	process.on("exit", () => {
		for (const descriptor of [
			0,
			1,
			2
		]) try {
			const stat = fstatSync(descriptor);
			const isNull = stat.rdev === statSync("/dev/null").rdev;
			if (stat.isCharacterDevice() && !isNull && !isatty(descriptor)) closeSync(descriptor);
		} catch {}
	});
}
// src/train/terminal-line.ts
const CLEAR = "\r\x1B[2K";
const REDRAW_MS = 100;
const STALE_MS = 1e4;
const USUAL_COLUMNS = 80;
const lines = new WeakMap();
function terminalLine(stream = process.stderr) {
	const line = lines.get(stream) ?? new TerminalLine(stream);
	lines.set(stream, line);
	return line;
}
var TerminalLine = class {
	isLive;
	usesColor;
	#stream;
	#output;
	#beside;
	#guards = [];
	#holders = 0;
	#unwatch;
	#text;
	#isDrawn = false;
	#isBroken = false;
	#isOwn = false;
	#redraw;
	#lastDraw = Number.NEGATIVE_INFINITY;
	#drawnAt = 0;
	constructor(stream, beside) {
		this.#stream = stream;
		const standard = [process.stdout, process.stderr];
		this.#beside = (beside ?? (standard.some((one) => one === stream) ? standard : [])).filter(({ isTTY }) => isTTY);
		this.#output = guardedOutput(stream);
		this.isLive = stream.isTTY === true && process.env.TERM !== "dumb";
		this.usesColor = usesColor(stream);
	}
	get columns() {
		if (!this.#stream.isTTY) return Number.POSITIVE_INFINITY;
		return (this.#stream.columns || USUAL_COLUMNS) - 1;
	}
	hold() {
		if (this.#holders++ > 0) return;
		this.#output.hold();
		this.#guards = [this.#output, ...guardStandardOutput()];
		process.once("exit", this.#onExit);
	}
	#onExit = () => {
		if (this.#isDrawn) this.#write("\n");
	};
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
	print(text) {
		const start = this.#isDrawn ? CLEAR : this.#isBroken ? "\n" : "";
		this.#isDrawn = false;
		this.#isBroken = false;
		this.#text = void 0;
		this.#write(`${start}${text}\n`);
	}
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
export { formatDuration as a, guardedOutput as i, closeDeadTerminalsAtExit as n, fitPieces as o, guardStandardOutput as r, terminalLine as t };
