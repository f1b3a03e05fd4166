// src/messages/one-line.ts
function oneLine(name) {
	return oneLineOf(shortened(name));
}
function printable(text) {
	return HARMLESS.test(text) ? text : text.replace(UNPRINTABLE, escaped$1);
}
function warningLine(text) {
	return oneLineOf(text.length > MAX_WARNING ? `${text.slice(0, MAX_WARNING)}…` : text);
}
function oneLineOf(text) {
	return printable(text).replace(/[\t\n]/g, escaped$1);
}
function distinctNames(names) {
	const plain = names.map((name) => tableCell(shortened(name, MAX_CELL)));
	const alike = repeated(plain);
	const written = plain.map((name, i) => alike.has(look(name)) ? explicit(shortened(names[i], MAX_CELL)) : name);
	const still = repeated(written);
	return written.map((name, i) => still.has(look(name)) ? `${name} (class ${i})` : name);
}
function tableCell(text) {
	return printable(text.replace(/\p{Cc}+/gu, " "));
}
function explicit(text) {
	return text.replace(/^ | $|(?<= ) |[^\x21-\x7e\p{L}\p{N}\p{P}\p{S} ]|[\p{Default_Ignorable_Code_Point}]/gu, escaped$1);
}
function look(name) {
	return name.replace(/\p{Default_Ignorable_Code_Point}/gu, "").normalize("NFC").replace(/\p{Z}+/gu, " ").trim();
}
function repeated(names) {
	const seen = new Set();
	return new Set(names.map(look).filter((one) => seen.has(one) || !seen.add(one)));
}
function escaped$1(character) {
	const short = {
		"\n": "\\n",
		"\r": "\\r",
		"	": "\\t"
	}[character];
	if (short !== void 0) return short;
	const code = character.codePointAt(0).toString(16);
	return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
}
const MAX_NAME = 400;
const MAX_CELL = 120;
const MAX_WARNING = 4e3;
function shortened(name, most = MAX_NAME) {
	if (name.length <= most) return name;
	const end = Math.floor(most / 3);
	return `${name.slice(0, most - end).replace(/[\ud800-\udbff]$/, "")}…${name.slice(-end).replace(/^[\udc00-\udfff]/, "")}`;
}
const HARMLESS = /^[\t\n\x20-\x7e]*$/;
const UNPRINTABLE = new RegExp([
	"[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e]",
	"[\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb]",
	"[\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}]",
	"\\p{Surrogate}",
	"(?<![\\p{M}\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\p{Script=Arabic}\\p{Script=Syriac}])[\\u200c\\u200d]",
	"[\\u200c\\u200d](?![\\p{M}\\p{L}\\p{Extended_Pictographic}])",
	"(?<![\\p{Emoji}\\p{Extended_Pictographic}\\p{Script=Han}\\p{Script=Myanmar}])[\\ufe00-\\ufe0f]",
	"(?<!\\p{Script=Han})[\\u{e0100}-\\u{e01ef}]"
].join("|"), "gu");
// src/messages/redact-values.ts
const MAX_FOREIGN = 2e3;
function redactDeep(value, clean) {
	try {
		return isClean(value, clean) ? value : cleanCopy(value, clean);
	} catch {
		return value instanceof Error ? bareError(value, clean) : "(not readable)";
	}
}
function bareError(error, clean) {
	try {
		return new Error(clean(String(error.message)));
	} catch {
		return new Error("(not readable)");
	}
}
function isClean(root, clean) {
	const seen = new Set();
	const open = [{
		value: root,
		inError: false
	}];
	let foreign = 0;
	while (open.length > 0) {
		const { value, inError } = open.pop();
		if (typeof value === "string" && clean(value) !== value) return false;
		if (typeof value !== "object" || value === null || seen.has(value)) continue;
		seen.add(value);
		if (value instanceof URL && clean(value.href) !== value.href) return false;
		const isError = value instanceof Error;
		const isOther = !isError && !isContainer(value);
		if (isOther && (!inError || value instanceof Uint8Array)) continue;
		if (isOther && ++foreign > MAX_FOREIGN) return false;
		for (const part of isError ? [...partsOfError(value), ...fieldsOf(value).flat()] : partsOf(value)) open.push({
			value: part,
			inError: inError || isError
		});
	}
	return true;
}
function isContainer(value) {
	if (Array.isArray(value) || value instanceof Map || value instanceof Set) return true;
	const prototype = Object.getPrototypeOf(value);
	return prototype === Object.prototype || prototype === null;
}
function partsOf(value) {
	if (Array.isArray(value) || value instanceof Set) return [...value];
	return value instanceof Map ? [...value].flat() : fieldsOf(value).flat();
}
function partsOfError(error) {
	return [
		error.name,
		error.message,
		error.stack,
		error.cause,
		error instanceof AggregateError ? error.errors : void 0
	];
}
function fieldsOf(value) {
	return Object.entries(Object.getOwnPropertyDescriptors(value)).flatMap(([name, { enumerable, get, value: field }]) => enumerable && !get ? [[name, field]] : []);
}
function cleanCopy(root, clean) {
	const copies = new Map();
	const fills = [];
	const begin = (of, copy, fill) => {
		copies.set(of, copy);
		fills.push(() => fill(copy));
		return copy;
	};
	const set = (target, name, value, enumerable = true) => {
		Object.defineProperty(target, name, {
			value,
			enumerable,
			configurable: true,
			writable: true
		});
	};
	const copyOf = (value) => {
		if (typeof value === "string") return clean(value);
		if (typeof value !== "object" || value === null) return value;
		if (copies.has(value)) return copies.get(value);
		if (value instanceof Error) return begin(value, copyOfError(value), (copy) => fillError(copy, value));
		if (value instanceof URL) return clean(value.href) === value.href ? value : clean(value.href);
		if (!isContainer(value)) return value;
		if (Array.isArray(value)) return begin(value, [], (copy) => {
			for (const item of value) copy.push(copyOf(item));
		});
		if (value instanceof Set) return begin(value, new Set(), (copy) => {
			for (const item of value) copy.add(copyOf(item));
		});
		if (value instanceof Map) return begin(value, new Map(), (copy) => {
			for (const [key, item] of value) copy.set(copyOf(key), copyOf(item));
		});
		return begin(value, Object.create(Object.getPrototypeOf(value)), (copy) => {
			for (const [name, item] of fieldsOf(value)) set(copy, clean(name), copyOf(item));
		});
	};
	const copyOfError = (error) => {
		const message = clean(error.message);
		const copy = error instanceof AggregateError ? new AggregateError([], message) : new Error(message);
		return Object.setPrototypeOf(copy, Object.getPrototypeOf(error));
	};
	const fillError = (copy, error) => {
		for (const [name, value] of fieldsOf(error)) if (!(typeof value === "object" && value !== null && !(value instanceof Error) && !isContainer(value)) && typeof value !== "function") set(copy, clean(name), copyOf(value));
		set(copy, "name", clean(error.name), false);
		set(copy, "message", clean(error.message), false);
		set(copy, "stack", clean(error.stack ?? ""), false);
		const { code } = error;
		if (code !== void 0 && !Object.hasOwn(copy, "code")) set(copy, "code", copyOf(code));
		if (error.cause !== void 0) set(copy, "cause", copyOf(error.cause), false);
		if (error instanceof AggregateError) set(copy, "errors", copyOf(error.errors), false);
	};
	const copy = copyOf(root);
	for (let fill = fills.pop(); fill; fill = fills.pop()) fill();
	return copy;
}
// src/messages/secrets.ts
const MAX_SECRETS = 32;
const MIN_LENGTH = 4;
const WORD_LENGTH = 8;
const HEAD = 16;
const MAX_NESTED = 64;
const COMMON = new Set("main master true false null none undefined test tests user users admin root guest public private default token tokens pass password passwd secret login data train valid validation file files folder image images model models dataset datasets space spaces hugging huggingface kaggle http https localhost server proxy mirror anonymous error errors name names case links limits method damaged encrypted example changeme".split(" "));
const LETTERS_LENGTH = 16;
const BETWEEN = "(?:\\s|\\\\{1,32}[nrt]|%0[ad]){0,8}";
const known = new Map();
function keepSecret(value) {
	if (value.length < MIN_LENGTH || COMMON.has(value.toLowerCase())) return;
	const pattern = known.get(value) ?? secretPattern(value);
	known.delete(value);
	known.set(value, pattern);
	if (known.size > MAX_SECRETS) known.delete(known.keys().next().value);
}
function keepCredentials(header) {
	const [, scheme = "", value = ""] = /^\s*(?:(\S+)\s+)?(\S+)\s*$/.exec(header) ?? [];
	keepSecret(value);
	if (scheme.toLowerCase() !== "basic") return;
	const pair = Buffer.from(value, "base64").toString("utf8");
	const [, user = pair, password = ""] = /^([^:]*):(.*)$/s.exec(pair) ?? [];
	for (const secret of password === "" ? [user] : [pair, password]) keepSecret(secret);
}
function redact(text) {
	if (known.size === 0) return text;
	return [...known].sort(([a], [b]) => b.length - a.length).reduce((rest, [, pattern]) => rest.replace(pattern, "***"), text);
}
function redactAddresses(text) {
	return redact(text).replace(/\b([a-z][a-z0-9+.-]{1,20}:(?:\\?\/){2})((?:[^\s/@"'<>]{1,500}@)?)([^\s?"'<>]*)((?:\?[^\s"'<>]*)?)/gi, (_all, scheme, user, rest, query) => `${scheme}${user && "***@"}${rest}${query && "?***"}`);
}
function secretPattern(value) {
	const bytes = Buffer.from(value, "utf8");
	const written = [anyWriting(value)];
	if (value.length >= WORD_LENGTH) written.push(...[
		0,
		1,
		2
	].map((shift) => base64Core(bytes, shift)), hexOf(bytes));
	return new RegExp(written.join("|"), "gi");
}
function anyWriting(value) {
	const parts = [...value].map((character) => {
		const code = character.codePointAt(0);
		const hex = code.toString(16).padStart(2, "0");
		return `(?:${/[A-Za-z0-9]/.test(character) ? character : `\\\\{0,32}${escaped(character)}`}|%(?:25)*${hex}|\\\\{1,32}u0*${hex}|\\\\{1,32}x${hex}|&#x0*${hex};|&#0*${code};)`;
	});
	if (isWord(value)) return `(?<![A-Za-z0-9])${parts.join(BETWEEN)}(?![A-Za-z0-9])`;
	return cuttable(parts);
}
function isWord(value) {
	return value.length < WORD_LENGTH || value.length < LETTERS_LENGTH && /^([a-z]+|[A-Z]+)$/.test(value);
}
function base64Core(bytes, shift) {
	const core = Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64").slice(Math.ceil(shift * 8 / 6), Math.floor((shift + bytes.length) * 8 / 6));
	const forms = {
		"+": "(?:[+-]|%2b)",
		"/": "(?:\\\\{0,32}[/_]|%2f)"
	};
	return cuttable([...core].map((character) => forms[character] ?? character));
}
function hexOf(bytes) {
	return cuttable([...bytes.toString("hex")]);
}
function cuttable(parts) {
	const tail = parts.length > MAX_NESTED ? "[\\w.~+/=%-]*" : "";
	const optional = parts.slice(HEAD, MAX_NESTED).reduceRight((inner, part) => `(?:${BETWEEN}${part}${inner})?`, tail);
	return parts.slice(0, HEAD).join(BETWEEN) + optional;
}
function escaped(character) {
	return character.replace(/[\\^$.*+?()[\]{}|/-]/, "\\$&");
}
// src/errors.ts
var TuneError = class extends Error {
	name = "TuneError";
	summary;
	hint;
	details;
	constructor(message, options = {}) {
		const clean = (text) => new.target.prototype.clean(text);
		const { details = {} } = options;
		const summary = shown(clean(message), details);
		const hint = options.hint === void 0 ? void 0 : shown(redact(options.hint), details);
		const cause = options.cause === void 0 ? {} : { cause: shownCause(redactDeep(options.cause, clean)) };
		super(summary + (hint ? `\n  hint: ${hint}` : ""), cause);
		this.summary = summary;
		this.hint = hint;
		this.details = redactDeep(details, clean);
	}
	with(changes) {
		const Class = this.constructor;
		const fields = {
			...this,
			cause: this,
			...changes
		};
		return new Class(fields.summary, fields);
	}
	clean(text) {
		return redact(text);
	}
	safe(text) {
		return text === void 0 ? text : shown(this.clean(text));
	}
	toJSON() {
		return {
			message: this.message,
			...this
		};
	}
};
function reasonOf(error) {
	return (error instanceof TuneError ? error.summary : error instanceof Error ? error.message : String(error)).trim().split("\n", 1)[0];
}
function shown(text, details = {}) {
	let safe = text;
	for (const [key, value] of Object.entries(details)) for (const name of [value].flat().slice(0, MAX_DETAILS)) {
		if (typeof name !== "string" || !/[\r\n]/.test(name) || name.trim() === "") continue;
		if (NAMES.test(key) || !OWN_LINES.test(name)) safe = safe.replaceAll(name, () => warningLine(name));
	}
	return printable(safe.split("\n").map((line) => line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}…` : line).join("\n"));
}
const NAMES = /path|name|sample|file|dir|entry|class|column|folder|key|label/i;
const OWN_LINES = /\n {2}(- |hint: |and )/;
const MAX_LINE = 2e3;
const MAX_DETAILS = 100;
function shownCause(cause, depth = 0) {
	if (!(cause instanceof Error && !(cause instanceof TuneError || cause instanceof DOMException)) || depth === MAX_CAUSES) return cause;
	const inner = shownCause(cause.cause, depth + 1);
	const message = printable(String(cause.message));
	if (message === cause.message && inner === cause.cause) return cause;
	const stack = printable(String(cause.stack ?? message));
	const hidden = (value) => ({
		value,
		configurable: true,
		writable: true
	});
	return Object.create(cause, {
		message: hidden(message),
		stack: hidden(stack),
		cause: hidden(inner)
	});
}
const MAX_CAUSES = 5;
var ConfigError = class extends TuneError {
	name = "ConfigError";
	code = "CONFIG";
};
var DataError = class extends TuneError {
	name = "DataError";
	code = "DATA";
};
var ImageError = class extends TuneError {
	name = "ImageError";
	code = "IMAGE";
	reason;
	constructor(message, options = {}) {
		super(message, options);
		this.reason = this.safe(options.reason) ?? this.summary;
	}
};
var TextError = class extends TuneError {
	name = "TextError";
	code = "TEXT";
};
var CheckpointError = class extends TuneError {
	name = "CheckpointError";
	code = "CHECKPOINT";
};
var EngineError = class extends TuneError {
	name = "EngineError";
	code = "ENGINE";
	status;
	constructor(message, options = {}) {
		super(message, options);
		this.status = options.status;
	}
};
var OutOfMemoryError = class extends EngineError {
	name = "OutOfMemoryError";
	neededBytes;
	freeBytes;
	limitBytes;
	constructor(message, options = {}) {
		super(message, options);
		this.neededBytes = options.neededBytes;
		this.freeBytes = options.freeBytes;
		this.limitBytes = options.limitBytes;
	}
};
var TrainingError = class extends TuneError {
	name = "TrainingError";
	code = "TRAINING";
};
var DiskError = class extends TuneError {
	name = "DiskError";
	code = "DISK";
};
var TransferError = class extends TuneError {
	name = "TransferError";
	code = "TRANSFER";
	url;
	status;
	isTransient;
	isTooSlow;
	retryAfterMs;
	constructor(message, options = {}) {
		super(message, options);
		this.url = this.safe(options.url);
		this.status = options.status;
		this.isTransient = options.isTransient ?? false;
		this.isTooSlow = options.isTooSlow ?? false;
		this.retryAfterMs = options.retryAfterMs;
	}
	clean(text) {
		return redactAddresses(text);
	}
};
var HubError = class extends TransferError {
	name = "HubError";
	code = "HUB";
	errorCode;
	startOver;
	constructor(message, options = {}) {
		super(message, options);
		this.errorCode = this.safe(options.errorCode);
		this.startOver = options.startOver ?? false;
	}
};
var KaggleError = class extends TransferError {
	name = "KaggleError";
	code = "KAGGLE";
};
export { tableCell as C, printable as S, redact as _, EngineError as a, distinctNames as b, KaggleError as c, TrainingError as d, TransferError as f, keepSecret as g, keepCredentials as h, DiskError as i, OutOfMemoryError as l, reasonOf as m, ConfigError as n, HubError as o, TuneError as p, DataError as r, ImageError as s, CheckpointError as t, TextError as u, redactAddresses as v, warningLine as w, oneLine as x, redactDeep as y };
