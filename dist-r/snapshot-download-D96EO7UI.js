import { d as partialRecord, f as record, h as union, i as boolean, l as number, m as string, n as _instanceof, o as int, p as strictObject, r as array, s as literal, t as _enum, u as object } from "./zod-CVDjCv3S.js";
import { a as parseOptions, b as showValue, g as describeGiven, t as callback, v as isObject, y as isPromise } from "./config-BAD1VLMT.js";
import { _ as redact, f as TransferError, h as keepCredentials, i as DiskError, m as reasonOf, n as ConfigError, o as HubError, v as redactAddresses, w as warningLine, x as oneLine } from "./errors-D4G-NQir.js";
import { n as writeError, r as writing, t as requireSpace } from "./disk-errors-BOmEIM_5.js";
import { n as shortList } from "./short-list-DyTENnB8.js";
import { t as Crc } from "./crc-TiVq6-Qt.js";
import { d as writeFileAtomically, s as sweepOnce, u as temporaryName } from "./atomic-file-D2Hfhe-X.js";
import { i as readJson, r as parseJson, t as JsonFault } from "./read-json-BUQErRHs.js";
import { i as lockTimes, n as OwnerLock } from "./owner-lock-DpVSmANJ.js";
import { a as hubCacheFolder, i as expandHome, n as endpointLogin, o as hubEndpoint, r as findHubToken, s as offlineReason, t as TOKEN_HINT } from "./token-0RQ7dBdg.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { r as readRegularFile } from "./regular-file-BhWpSxEj.js";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { copyFile, mkdir, open, readdir, realpath, rename, rm, stat, symlink } from "node:fs/promises";
import { constants as constants$1, createReadStream } from "node:fs";
import { domainToASCII } from "node:url";
import { createHash } from "node:crypto";
import { STATUS_CODES } from "node:http";
import { setTimeout as setTimeout$1 } from "node:timers/promises";
import { BlockList, isIP } from "node:net";
// src/hub/file-patterns.ts
const pattern = string().min(1);
const patternsSchema = union([pattern, array(pattern)], { error: "expected a pattern, such as \"*.json\", or a list of patterns" });
function selectPaths(paths, allow, ignore = []) {
	const allowed = allow === void 0 ? void 0 : [allow].flat().map(toRegExp);
	const ignored = [ignore].flat().map(toRegExp);
	const matches = (patterns, path) => patterns.some((pattern) => pattern.test(path));
	return [...paths].filter((path) => (!allowed || matches(allowed, path)) && !matches(ignored, path));
}
function toRegExp(pattern) {
	const path = pattern.replaceAll("\\", "/").replace(/^(\.\/)+/, "");
	const source = (path.endsWith("/") ? `${path}*` : path).replace(/\[(!?)([^\]]+)\]|[\s\S]/g, (part, not, set) => {
		if (set !== void 0) return `[${not ? "^" : ""}${set.replace(/[\\\]^]/g, "\\$&")}]`;
		if (part === "*") return "[\\s\\S]*";
		if (part === "?") return "[\\s\\S]";
		return part.replace(/[.+^${}()|[\]\\]/, "\\$&");
	});
	return new RegExp(`^${source}$`);
}
// src/transfer/address.ts
function isLoopback(hostname) {
	return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}
function mayBeLoopback(hostname) {
	const host = hostname.replace(/\.$/, "").toLowerCase();
	return isLoopback(host) || /(^|\.)localhost$|^0\.0\.0\.0$|^\[::\]$|^\[::ffff:(7f|0:0\])/.test(host);
}
function decoded(text) {
	try {
		return decodeURIComponent(text);
	} catch {
		return text;
	}
}
// src/transfer/peer-watch.ts
const LOOKS = 8;
var SilenceWatch = class {
	#timer;
	#looks = 0;
	constructor(limit, expire, looks = LOOKS) {
		this.#timer = setInterval(() => {
			if (++this.#looks < looks) return;
			this.stop();
			expire();
		}, limit / looks);
	}
	heard() {
		this.#looks = 0;
	}
	stop() {
		clearInterval(this.#timer);
	}
};
const DEFAULT_SPEED = {
	minBytesPerSecond: 1024,
	windowMs: 6e4
};
var SpeedWatch = class {
	#timer;
	#waiting = false;
	#looks = 0;
	#bytes = 0;
	constructor({ minBytesPerSecond, windowMs }, expire) {
		if (minBytesPerSecond <= 0) return;
		const least = minBytesPerSecond * windowMs / 1e3;
		this.#timer = setInterval(() => {
			if (!this.#waiting || ++this.#looks < LOOKS) return;
			if (this.#bytes < least) {
				this.stop();
				expire();
			}
			this.#looks = 0;
			this.#bytes = 0;
		}, windowMs / LOOKS);
	}
	wait() {
		this.#waiting = true;
	}
	heard(bytes) {
		this.#waiting = false;
		this.#bytes += bytes;
	}
	stop() {
		clearInterval(this.#timer);
	}
};
// src/hub/hub-options.ts
const hubConnectionSchema = strictObject({
	token: union([string().min(1), literal(false)]).optional(),
	endpoint: string().min(1).optional(),
	allowInsecureHttp: union([boolean(), literal("withToken")]).default(false),
	maxAttempts: int().min(1).max(100).default(7),
	retryDelayMs: number().min(0).default(500),
	timeoutMs: number().positive().default(3e4),
	onWarning: callback().optional(),
	signal: _instanceof(AbortSignal).optional()
});
function formatHubProgress(progress) {
	if (!isObject(progress) || ![
		"received",
		"total",
		"filesDone",
		"filesTotal"
	].every((name) => typeof progress[name] === "number")) throw new ConfigError(`formatHubProgress: expected what onProgress receives, got ${describeGiven(progress)}`, { hint: "Write onProgress: (progress) => console.log(formatHubProgress(progress))." });
	const { received, total, filesDone, filesTotal } = progress;
	const percent = total === 0 ? 100 : Math.floor(100 * received / total);
	return `${formatBytes(received)} of ${formatBytes(total)} (${percent} %), ${filesDone} of ${filesTotal} files`;
}
const hubDownloadSchema = hubConnectionSchema.extend({
	revision: string().min(1).default("main"),
	cacheDir: string().min(1).optional(),
	localFilesOnly: boolean().default(false),
	minBytesPerSecond: number().min(0).default(DEFAULT_SPEED.minBytesPerSecond),
	speedWindowMs: number().positive().default(DEFAULT_SPEED.windowMs),
	onProgress: callback().optional()
});
async function connectHub(options) {
	const emit = options.onWarning ?? ((line) => process.emitWarning(line, "HubWarning"));
	const warn = (line) => emit(warningLine(redact(line)));
	const endpoint = hubEndpoint(options.endpoint);
	const { protocol, hostname, host } = new URL(endpoint);
	const isPlain = protocol === "http:" && !isLoopback(hostname);
	const allowed = options.allowInsecureHttp;
	if (isPlain && !allowed) {
		const source = options.endpoint ? "`endpoint`" : "HF_ENDPOINT";
		throw new ConfigError(`${source}: ${host} would be asked over plain http`, {
			hint: "Give its https address. If there is none and the network in between is trusted, `allowInsecureHttp: true` asks it without a token, 'withToken' with one.",
			details: { endpoint }
		});
	}
	const login = await findLogin(options);
	const isHeldBack = login !== void 0 && isPlain && allowed !== "withToken";
	if (isHeldBack) warn(`${host} is asked over plain http, without the token from ${login.source}: allowInsecureHttp: 'withToken' sends it`);
	return {
		endpoint,
		allowInsecureHttp: isPlain,
		token: isHeldBack ? void 0 : login,
		retry: {
			maxAttempts: options.maxAttempts,
			baseDelayMs: options.retryDelayMs,
			onRetry: warn
		},
		timeoutMs: options.timeoutMs,
		signal: options.signal,
		warn
	};
}
async function findLogin({ endpoint, token }) {
	const login = endpointLogin(endpoint);
	if (!login) return findHubToken(token);
	if (typeof token === "string") throw new ConfigError(`two credentials: the option \`token\`, and a user and password in ${login.source}`, { hint: "A request bears one: leave the other out." });
	return login;
}
function authorization({ token }) {
	return token ? { authorization: `${token.scheme ?? "Bearer"} ${token.value}` } : {};
}
function requestSettings(connection) {
	const { allowInsecureHttp, timeoutMs, retry, signal } = connection;
	const timeouts = {
		answerTimeoutMs: timeoutMs,
		silenceTimeoutMs: timeoutMs
	};
	return {
		privateHeaders: authorization(connection),
		allowInsecureHttp,
		...timeouts,
		retry,
		signal
	};
}
// src/hub/repo-kind.ts
const DATASET = "datasets/";
function apiPath(repoId) {
	return repoId.startsWith(DATASET) ? repoId : `models/${repoId}`;
}
function cacheName(repoId) {
	return apiPath(repoId).split("/").join("--");
}
const OTHER_PAGES = {
	spaces: "a Space, an application",
	buckets: "a storage bucket",
	kernels: "a kernel",
	collections: "a collection of repositories",
	papers: "a paper",
	docs: "a page of documentation",
	blog: "an article",
	organizations: "an organisation's page",
	settings: "a page of your account"
};
const HUB_ADDRESS = /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)(?:\/|$)|^hf:\/\//i;
const KAGGLE_ADDRESS = /^(?:https?:\/\/)?(?:\w+\.)?kaggle\.com(?:\/|$)|^kagglehub\.|^[!$%]?\s*kaggle /i;
function refuseOtherThanModel(text) {
	const given = text.trim();
	if (KAGGLE_ADDRESS.test(given)) throw wrongKind(text, "is on Kaggle, not on the Hugging Face Hub", "Image data sets from there are read by KaggleImageFolder.download.");
	const isAddress = HUB_ADDRESS.test(given);
	const [kind = "", owner, name] = given.replace(HUB_ADDRESS, "").split(/[/?#@]/);
	if (kind === "datasets") {
		const id = [owner, name].filter(Boolean).join("/") || "owner/name";
		throw wrongKind(text, "is a data set, not a model", `Image data sets are read by HubImageFolder.download('${id}'), files of any kind fetched by snapshotDownload('datasets/${id}').`);
	}
	if (Object.hasOwn(OTHER_PAGES, kind) && (isAddress || kind === "spaces")) throw wrongKind(text, `is ${OTHER_PAGES[kind]}, not a model`, "Expected \"owner/name\" of a model.");
}
const EXPECTED$1 = "Expected \"owner/name\" of a data set on the Hub, e.g. \"AI-Lab-Makerere/beans\".";
const NAME = /^\w(?:[\w.-]{0,94}\w)?$/;
const OWNER = /^[A-Za-z0-9](?:[\w.-]*\w)?$/;
function parseDatasetName(text) {
	const wrong = (what, hint = EXPECTED$1) => wrongKind(text, what, hint);
	const given = unwrapped(text.length > 2e3 ? "" : text.trim());
	if (KAGGLE_ADDRESS.test(given)) throw wrong("is on Kaggle, not on the Hugging Face Hub", "Use KaggleImageFolder.download for it.");
	if (/^([./~\\]|[A-Za-z]:[\\/])/.test(given)) throw wrong("is a path, not a data set on the Hub", "A folder on this machine is read by ImageFolder.load.");
	const isAddress = HUB_ADDRESS.test(given);
	if (!isAddress && /^[a-z][a-z0-9+.-]*:/i.test(given)) throw wrong("is no address of the Hugging Face Hub");
	const parts = given.replace(HUB_ADDRESS, "").replace(/[?#].*$/s, "").replace(/^\/+|\/+$/g, "").split("/");
	if (isAddress && parts[0] === "api") parts.shift();
	const kind = parts[0];
	if (kind === "datasets") parts.shift();
	else if (isAddress && Object.hasOwn(OTHER_PAGES, kind)) throw wrong(`is ${OTHER_PAGES[kind]}, not a data set`);
	else if (kind === "spaces") throw wrong(`is ${OTHER_PAGES.spaces}, not a data set`);
	else if (isAddress) {
		const name = parts.slice(0, 2).join("/");
		throw parts.length > 1 ? wrong("is a model, not a data set", `Models are loaded by fromPretrained('${name}'); a data set's address has /datasets/ in it.`) : wrong("names no data set");
	}
	if (parts.length === 0) throw wrong("names no data set");
	const bare = parts.length === 1 || [
		"tree",
		"blob",
		"resolve",
		"viewer"
	].includes(parts[1]);
	const id = parts.splice(0, bare ? 1 : 2);
	let revision;
	const [name = "", at] = id.at(-1).split("@");
	id[id.length - 1] = name;
	let folder = [];
	const takeRevision = (first, more) => {
		revision = first && wholeRevision(first, more);
		folder = more.slice((revision?.split("/").length ?? 1) - (first?.split(/\/|%2f/i).length ?? 1));
	};
	if (at !== void 0 || /^hf:/i.test(given)) takeRevision(at, parts);
	else if (parts[0] === "tree") takeRevision(parts[1], parts.slice(2));
	else if (parts[0] === "commit") revision = parts[1];
	else if (parts[0] === "blob" || parts[0] === "resolve") throw wrong("is a single file of a data set", `Use HubImageFolder.download('${id.join("/")}'), with \`dataDir\` for a folder in it.`);
	else if (parts.length > 0 && !(kind === "datasets" && /^(viewer|discussions|settings|commits?|sql|embed)$/.test(parts[0]))) throw wrong("names no data set");
	if (!(NAME.test(name) && (bare || OWNER.test(id[0])) && !/--|\.\.|\.git$/.test(id.join("/")))) throw wrong("names no data set on the Hub");
	return {
		repoId: id.join("/"),
		revision,
		folder: folder.length > 0 ? folder.map(decoded).join("/") : void 0
	};
}
function wholeRevision(first, more) {
	return decoded(first === "refs" && /^(pr|convert|heads|tags)$/.test(more[0] ?? "") && more.length > 1 ? [first, ...more.slice(0, 2)].join("/") : first);
}
function unwrapped(text) {
	const [, argument] = /\b(?:load_dataset|snapshot_download)\(\s*(?:\w+\s*=\s*)?["']([^"']+)["']/.exec(text) ?? [];
	if (argument !== void 0) return argument;
	const words = text.split(/[\s<>"'()[\]]+/).filter(Boolean);
	if (words.length < 2) return words[0] ?? "";
	const address = words.find((word) => HUB_ADDRESS.test(word) || KAGGLE_ADDRESS.test(word));
	if (address !== void 0) return address.replace(/\.git$/, "");
	const at = words.findIndex((word, i) => word === "download" && /^[!$%]?(hf|huggingface-cli)$/.test(words[i - 1] ?? ""));
	return at < 0 ? text : words.slice(at + 1).find((word) => word.includes("/") && !word.startsWith("-")) ?? text;
}
function wrongKind(text, what, hint) {
	return new ConfigError(`${showValue(text)} ${what}`, {
		hint,
		details: { given: text.slice(0, 200) }
	});
}
// src/archive/zip-entry-name.ts
const MAX_NAME = 1024;
const MAX_PART = 255;
const RESERVED = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?$/i;
function nameFault(name, system = process.platform) {
	if (name === "") return "an empty name";
	if (Buffer.byteLength(name) > MAX_NAME) return `a name of more than ${MAX_NAME} bytes`;
	if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return "a control character in the name";
	if (name.includes("�")) return "a name in no valid UTF-8";
	if (name.includes("\\")) return "a backslash in the name";
	if (name.startsWith("/")) return "an absolute name";
	if (/^[A-Za-z]:/.test(name)) return "a drive letter in the name";
	for (const part of name.replace(/\/$/, "").split("/")) {
		if (part === "") return "an empty part in the name";
		if (part === "." || part === "..") return `"${part}" in the name`;
		if (Buffer.byteLength(part) > MAX_PART) return `a part of more than ${MAX_PART} bytes in the name`;
		if (system === "win32" && (/[<>:"|?*]|[. ]$/.test(part) || RESERVED.test(part))) return "a name that Windows does not allow";
	}
}
function nameKey(name) {
	return name.replace(/\/$/, "").normalize("NFC").toLowerCase();
}
// src/transfer/request-failure.ts
function shownUrl(url) {
	return `${url.origin}${url.pathname}`;
}
function requestError(url, what, options = {}) {
	return new TransferError(`${shownUrl(url)}: ${what}`, {
		...options,
		url: shownUrl(url)
	});
}
function tooSlowError(url, what, hint) {
	return requestError(url, what, {
		hint,
		isTransient: true,
		isTooSlow: true
	});
}
function redirectError(url, what) {
	return requestError(url, `a redirect ${what} is not followed`, { hint: "Is a proxy, a captive portal or a page for signing in between?" });
}
const CERTIFICATE_HINT = "If a company's own certificate authority signs for this host, or a proxy inspects the traffic, start Node with NODE_EXTRA_CA_CERTS=/path/of/its/certificates.pem (it is read at the start of the process only).";
function failureOf(cause, url, controller, signal, proxy) {
	if (signal?.aborted) return signal.reason;
	if (controller.signal.aborted) return controller.signal.reason;
	if (cause instanceof TransferError) return cause;
	const codes = [];
	let reason = "";
	for (let error = cause; error instanceof Error; error = error.cause) {
		const { code } = error;
		if (code) codes.push(code);
		if (error.message) reason = error.message;
	}
	const details = proxy === void 0 ? {} : { proxy };
	const refused = proxy === void 0 ? void 0 : proxyStatus(reason);
	if (refused !== void 0) return proxyError(refused, url, proxy, cause);
	const code = codes.at(-1);
	if (code === "UND_ERR_HEADERS_OVERFLOW" || code === "HPE_HEADER_OVERFLOW") return requestError(url, "the header of the answer is too long to be read", {
		hint: "A mirror or a proxy on the way may add to it: ask without it, or try again later.",
		details,
		cause
	});
	const certificate = codes.some((name) => /CERT|SIGNATURE|ERR_TLS|SELF_SIGNED/.test(name));
	const plain = codes.includes("EPROTO") || codes.includes("ERR_SSL_WRONG_VERSION_NUMBER");
	return requestError(url, `the connection failed${proxy === void 0 ? "" : ` (through the proxy ${proxy})`}: ${code === "ENOTFOUND" ? "the host was not found" : reason || String(cause)}`, {
		hint: certificate ? CERTIFICATE_HINT : plain ? "Does this host speak https at this port, or plain http?" : `Is this machine online, and the ${proxy === void 0 ? "host" : "proxy"} reachable from it? ${proxy === void 0 ? "Where only a proxy leads out, name it in HTTPS_PROXY." : "NO_PROXY names hosts that need none."}`,
		isTransient: !certificate,
		details: {
			...details,
			...code ? { cause: code } : {}
		},
		cause
	});
}
function proxyStatus(reason) {
	const [, status] = /Proxy (?:response|Authentication Required) \((\d{3})\)/.exec(reason) ?? [];
	return status === void 0 ? void 0 : Number(status);
}
function proxyError(status, url, proxy, cause) {
	const hints = {
		407: "It wants a user and password: http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY, special characters as %XX.",
		403: `Its rules do not allow ${url.host}: ask whoever runs it, or name a mirror that it allows as \`endpoint\`.`
	};
	return requestError(url, `the proxy ${proxy} answered ${status}, not the host itself`, {
		hint: hints[status] ?? `It may be out of order, or cannot reach ${url.host}. NO_PROXY names hosts that need none.`,
		isTransient: status >= 500,
		details: {
			proxy,
			proxyStatus: status
		},
		cause
	});
}
// src/transfer/retry.ts
const MAX_SLOW = 3;
var RetryBudget = class {
	#options;
	#maxAttempts;
	#failures = 0;
	#slow = 0;
	#waited = 0;
	constructor(options = {}) {
		this.#options = options;
		this.#maxAttempts = options.maxAttempts ?? 7;
	}
	renew(steady = true) {
		this.#failures = 0;
		if (steady) this.#slow = 0;
	}
	async wait(error, signal) {
		signal?.throwIfAborted();
		if (!(error instanceof TransferError && error.isTransient)) throw error;
		this.#failures++;
		if (error.isTooSlow) this.#slow++;
		const { summary, details } = error;
		if (this.#failures >= this.#maxAttempts || this.#slow >= MAX_SLOW) {
			const attempts = Math.max(this.#failures, this.#slow);
			throw error.with({
				summary: attempts === 1 ? summary : `${summary}; gave up after ${attempts} attempts`,
				details: {
					...details,
					attempts
				}
			});
		}
		const ms = this.#delay(error);
		this.#options.onRetry?.(`${summary}; next attempt in ${(ms / 1e3).toFixed(1)} s`);
		try {
			await setTimeout$1(ms, void 0, signal && { signal });
		} catch (cause) {
			signal?.throwIfAborted();
			throw cause;
		}
	}
	#delay(error) {
		const base = this.#options.baseDelayMs ?? 500;
		const { summary, hint = "", retryAfterMs: asked } = error;
		if (asked === void 0) return Math.min(this.#options.maxDelayMs ?? 3e4, base * 2 ** (this.#failures - 1)) * (.5 + Math.random() / 2);
		const limit = this.#options.maxRetryAfterMs ?? 31e4;
		if (asked > limit) throw error.with({
			summary: `${summary}; the server asks to wait ${Math.ceil(asked / 1e3)} s`,
			hint: `${hint} Try again then. Waits above ${limit / 1e3} s are left to you; received bytes are kept.`.trim()
		});
		this.#waited += asked;
		const most = this.#options.maxTotalRetryAfterMs ?? 9e5;
		if (this.#waited > most) throw error.with({
			summary: `${summary}; the server has asked again and again to wait, more than ${most / 1e3} s in all`,
			hint: `${hint} Try again later; received bytes are kept.`.trim()
		});
		return asked + base * Math.random();
	}
};
async function withRetries(work, options = {}, signal) {
	const budget = new RetryBudget(options);
	for (;;) try {
		return await work();
	} catch (error) {
		await budget.wait(error, signal);
	}
}
function parseRetryAfter(value, now = Date.now()) {
	if (value === null) return void 0;
	if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1e3;
	const date = Date.parse(value);
	return Number.isNaN(date) || !/[a-z]/i.test(value) ? void 0 : Math.max(0, date - now);
}
// src/transfer/answer-error.ts
const TEXT_LIMIT$1 = 65536;
async function errorOf(answer, explain) {
	const suspect = suspectAnswer(answer, await answer.text(TEXT_LIMIT$1).catch((cause) => {
		if (cause instanceof TransferError) return "";
		throw cause;
	}));
	const error = explain?.(suspect) ?? (answer.status >= 400 ? statusError(suspect) : void 0);
	if (!error || answer.proxy === void 0 || answer.url.protocol === "https:") return error;
	return error.with({
		summary: `${error.summary}; it may be the proxy ${answer.proxy} that answers`,
		hint: [error.hint, "NO_PROXY names hosts that need no proxy."].filter(Boolean).join(" "),
		details: {
			...error.details,
			proxy: answer.proxy
		}
	});
}
function suspectAnswer(answer, text) {
	const own = ownSecrets(answer.url);
	const clean = (part) => redactAddresses(own.reduce((rest, secret) => rest.replaceAll(secret, "***"), part));
	const headers = new Headers();
	for (const [name, value] of answer.headers) headers.append(name, asHeader(clean(value)));
	const { status, foreign } = answer;
	return {
		status,
		headers,
		foreign,
		url: shownUrl(answer.url),
		text: clean(text.slice(0, TEXT_LIMIT$1))
	};
}
function ownSecrets(url) {
	return [...url.searchParams.values()].filter((value) => value.length >= 16).flatMap((value) => [value, encodeURIComponent(value)]);
}
function asHeader(value) {
	return value.replace(/[^\t\x20-\x7e\x80-\xff]/g, "?");
}
function statusError({ status, headers, url, text }) {
	const page = pageTitle(text);
	const what = `${url}: the server answered ${statusLine(status)}${page === void 0 ? "" : `, with ${page}`}`;
	return new TransferError(what, {
		hint: page && "Is the endpoint right? A page for signing in (a captive portal, the single sign-on of a company), a proxy or maintenance may answer in its place: open the address in a browser.",
		...statusFields(status, headers, url)
	});
}
const PAGE_HINT = "Is the endpoint right? A page for signing in (a captive portal, the single sign-on of a company), a proxy or maintenance may answer in its place: open the address in a browser.";
function pageTitle(text) {
	if (!/^\s*<(!doctype html|html|head|body|!--)/i.test(text)) return void 0;
	const [, title] = /<title[^>]{0,200}>([^<]{1,200})/i.exec(text) ?? [];
	const what = /type\s*=\s*["']?password/i.test(text) ? "a web page for signing in" : "a web page";
	const name = title?.replace(/\s+/g, " ").trim().slice(0, 80);
	return name ? `${what}, "${name}"` : what;
}
function statusLine(status) {
	return `${status} ${STATUS_CODES[status] ?? ""}`.trim();
}
function statusFields(status, headers, url) {
	const retryAfterMs = parseRetryAfter(headers.get("retry-after"));
	const isTransient = status >= 500 ? status !== 501 && status !== 505 : status === 408 || status === 425 || status === 429;
	return {
		url,
		status,
		isTransient,
		retryAfterMs: isTransient ? retryAfterMs : void 0
	};
}
// src/transfer/digests.ts
const DIGEST_NAMES = [
	"sha256",
	"sha1",
	"gitSha1",
	"md5",
	"crc32c"
];
async function checkDigest(path, digests, signal) {
	const name = DIGEST_NAMES.find((candidate) => digests[candidate] !== void 0);
	if (!name) return void 0;
	const hash = name === "crc32c" ? new Crc(name) : createHash(name === "gitSha1" ? "sha1" : name);
	if (name === "gitSha1") hash.update(Buffer.from(`blob ${(await stat(path)).size}\0`));
	for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
		signal?.throwIfAborted();
		hash.update(chunk);
	}
	const received = hash instanceof Crc ? hash.digest() : hash.digest("hex");
	return {
		name,
		expected: digests[name],
		received
	};
}
function digestsDiffer(a, b) {
	return DIGEST_NAMES.some((name) => a[name] !== void 0 && b[name] !== void 0 && a[name] !== b[name]);
}
function googleDigests(headers) {
	const digests = {};
	for (const part of (headers.get("x-goog-hash") ?? "").split(",")) {
		const [, name, value] = /^\s*(crc32c|md5)\s*=\s*([A-Za-z0-9+/]+={0,2})\s*$/.exec(part) ?? [];
		if (name !== "crc32c" && name !== "md5") continue;
		const bytes = Buffer.from(value, "base64");
		if (bytes.length === (name === "md5" ? 16 : 4)) digests[name] = bytes.toString("hex");
	}
	return digests;
}
// src/transfer/partial-file.ts
const noteSchema = strictObject({
	source: string(),
	etag: string().optional(),
	lastModified: string().optional(),
	size: number().int().nonnegative().optional(),
	digests: partialRecord(_enum(DIGEST_NAMES), string())
});
var PartialFile = class PartialFile {
	size = 0;
	facts;
	#path;
	#source;
	#temporary;
	#handle;
	constructor(path, source) {
		this.#path = path;
		this.#source = source;
		this.#temporary = partialPath(path);
	}
	static async open(path, source) {
		const file = new PartialFile(path, source);
		try {
			await mkdir(dirname(path), { recursive: true });
			const flags = constants$1.O_RDWR | constants$1.O_CREAT | (constants$1.O_NOFOLLOW ?? 0);
			file.#handle = await open(file.#temporary, flags, 420);
			const entry = await file.#handle.stat();
			if (!entry.isFile()) throw new DiskError(`${file.#temporary}: a pipe or a device lies where the file would arrive`, {
				hint: "Remove it.",
				details: { path: file.#temporary }
			});
			const { size } = entry;
			const facts = size > 0 ? await file.#readNote() : void 0;
			if (facts && (facts.size === void 0 || size <= facts.size)) {
				file.facts = facts;
				file.size = size;
			} else if (size > 0) await file.#handle.truncate(0);
			return file;
		} catch (cause) {
			await file.close();
			throw writeError(cause, path);
		}
	}
	get temporaryPath() {
		return this.#temporary;
	}
	resumable(expected) {
		if (this.size === 0 || !this.facts) return false;
		const { etag, lastModified, digests } = this.facts;
		return etag !== void 0 && !etag.startsWith("W/") || lastModified !== void 0 || Object.values({
			...digests,
			...expected
		}).some((digest) => digest !== void 0);
	}
	differsFrom(facts) {
		const own = this.facts;
		if (!own) return true;
		const differ = (a, b) => a !== void 0 && b !== void 0 && a !== b;
		return differ(own.etag, facts.etag) || differ(own.lastModified, facts.lastModified) || differ(own.size, facts.size) || digestsDiffer(own.digests, facts.digests);
	}
	async restart(facts) {
		await writing(this.#path, async () => {
			await this.#handle.truncate(0);
			this.size = 0;
			this.facts = facts;
			const note = {
				source: this.#source,
				...facts
			};
			await writeFileAtomically(`${this.#temporary}.json`, `${JSON.stringify(note)}\n`);
		});
	}
	async append(chunk) {
		await writing(this.#path, async () => {
			for (let done = 0; done < chunk.length;) {
				const { bytesWritten } = await this.#handle.write(chunk, done, chunk.length - done, this.size);
				done += bytesWritten;
				this.size += bytesWritten;
			}
		});
	}
	async discard() {
		this.size = 0;
		this.facts = void 0;
		await this.#handle.truncate(0);
		await rm(`${this.#temporary}.json`, { force: true });
	}
	async finish() {
		const handle = this.#handle;
		this.#handle = void 0;
		await writing(this.#path, async () => {
			await handle.sync().finally(() => handle.close());
			await rename(this.#temporary, this.#path);
			await rm(`${this.#temporary}.json`, { force: true });
		});
	}
	async close() {
		const handle = this.#handle;
		this.#handle = void 0;
		await handle?.close();
		if (handle && this.size === 0) {
			await rm(this.#temporary, { force: true });
			await rm(`${this.#temporary}.json`, { force: true });
		}
	}
	async #readNote() {
		try {
			const note = noteSchema.parse(await readJson(`${this.#temporary}.json`));
			return note.source === this.#source ? note : void 0;
		} catch {
			return;
		}
	}
};
async function partialBytes(path) {
	return stat(partialPath(path)).then(({ size }) => size, () => 0);
}
function partialPath(path) {
	return join(dirname(path), `.${basename(path)}.partial`);
}
// src/transfer/http-answer.ts
const WHOLE_BODY = 3;
const WHOLE_LOOKS = 32;
var HttpAnswer = class {
	status;
	headers;
	url;
	foreign;
	proxy;
	#response;
	#controller;
	#limits;
	constructor(response, from, controller, limits) {
		this.status = response.status;
		this.headers = response.headers;
		this.url = from.url;
		this.foreign = from.foreign;
		this.proxy = from.proxy;
		this.#response = response;
		this.#controller = controller;
		this.#limits = limits;
	}
	get contentType() {
		return (this.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
	}
	async *chunks(speed) {
		const reader = this.#response.body?.getReader();
		if (!reader) return;
		const { signal, silenceTimeoutMs: limit = 3e4 } = this.#limits;
		let fail = () => void 0;
		const onAbort = () => fail(signal?.reason);
		const own = this.#controller.signal;
		const onOwnAbort = () => fail(own.reason);
		signal?.addEventListener("abort", onAbort);
		own.addEventListener("abort", onOwnAbort);
		const speedWatch = speed && new SpeedWatch(speed, () => this.#controller.abort(slowError(this.url, speed)));
		try {
			for (;;) {
				const watch = new SilenceWatch(limit, () => this.#controller.abort(requestError(this.url, `nothing arrived for ${limit / 1e3} s`, { isTransient: true })));
				try {
					signal?.throwIfAborted();
					own.throwIfAborted();
					speedWatch?.wait();
					const { done, value } = await new Promise((resolve, reject) => {
						fail = reject;
						reader.read().then(resolve, reject);
					});
					if (done) return;
					speedWatch?.heard(value.length);
					watch.stop();
					yield value;
				} catch (cause) {
					throw failureOf(cause, this.url, this.#controller, signal, this.proxy);
				} finally {
					watch.stop();
				}
			}
		} finally {
			speedWatch?.stop();
			signal?.removeEventListener("abort", onAbort);
			own.removeEventListener("abort", onOwnAbort);
			reader.cancel().catch(() => void 0);
		}
	}
	async bytes(limit) {
		const { silenceTimeoutMs = 3e4 } = this.#limits;
		const whole = this.#limits.wholeTimeoutMs ?? WHOLE_BODY * silenceTimeoutMs;
		const expire = () => {
			const what = `the answer was not complete after ${whole / 1e3} s`;
			this.#controller.abort(tooSlowError(this.url, what, "On a connection as slow as that a longer `timeoutMs` helps."));
		};
		const deadline = new SilenceWatch(whole, expire, WHOLE_LOOKS);
		let bytes = Buffer.alloc(0);
		let length = 0;
		try {
			for await (const chunk of this.chunks()) {
				if (length + chunk.length > bytes.length) {
					const larger = Buffer.alloc(Math.min(limit, Math.max(4096, 2 * bytes.length, length + chunk.length)));
					bytes.copy(larger, 0, 0, length);
					bytes = larger;
				}
				length += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).copy(bytes, length);
				if (length >= limit) break;
			}
		} finally {
			deadline.stop();
		}
		return bytes.subarray(0, length);
	}
	async text(limit) {
		return (await this.bytes(limit)).toString("utf8");
	}
	async cancel() {
		await this.#response.body?.cancel().catch(() => void 0);
	}
};
function slowError(url, { minBytesPerSecond, windowMs }) {
	return tooSlowError(url, `less than ${minBytesPerSecond} bytes a second arrived for ${windowMs / 1e3} s: too slow to go on`, "Received bytes are kept, and the next call goes on there. `minBytesPerSecond` sets the limit, where there is such an option.");
}
// src/transfer/proxy.ts
const routes = new Map();
async function proxyRoute(url, env = process.env) {
	const proxy = proxyFor(url, env);
	if (!proxy) return void 0;
	const opened = routes.get(proxy.href) ?? openRoute(proxy);
	routes.set(proxy.href, opened);
	return opened;
}
function proxyFor(url, env) {
	if (isLoopback(url.hostname) || exempt(url, setting("no_proxy", env)?.[1] ?? "")) return void 0;
	const scheme = url.protocol.slice(0, -1);
	const isCgi = scheme === "http" && env["REQUEST_METHOD"] !== void 0;
	const found = setting(`${scheme}_proxy`, isCgi ? { http_proxy: env["http_proxy"] } : env) ?? setting("all_proxy", env);
	return found && parseProxy(...found);
}
function setting(name, env) {
	for (const key of [name, name.toUpperCase()]) {
		const value = env[key]?.trim().replace(/^(["'])(.*)\1$/, "$2");
		if (value) return [key, value];
	}
}
function parseProxy(name, value) {
	const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
	const url = URL.canParse(text) ? new URL(text) : void 0;
	if (url && /^https?:$/.test(url.protocol) && url.hostname !== "") return url;
	const isSocks = /^socks/i.test(text);
	throw new ConfigError(`${name}: ${isSocks ? "a SOCKS proxy, which is not supported" : "not the address of a proxy"}`, {
		hint: isSocks ? "Name an http proxy, as http://HOST:PORT; many SOCKS programs offer one too. NO_PROXY names hosts that need none." : "Expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, special characters as %XX.",
		details: { variable: name }
	});
}
function exempt(url, list) {
	const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "").toLowerCase();
	const port = url.port || (url.protocol === "https:" ? "443" : "80");
	return list.split(/[\s,;|]+/).some((written) => {
		const entry = written.toLowerCase().replace(/^["']|["']$/g, "").replace(/^https?:\/\//, "").replace(/\/$/, "");
		if (entry === "") return false;
		if (entry === "*") return true;
		const [, bracketed, named, wanted] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
		if (wanted !== void 0 && wanted !== port) return false;
		const name = bracketed ?? named ?? entry;
		if (name.includes("/")) return inRange(host, name);
		if (name.includes(":")) return sameIpv6(name, host);
		const suffix = name.replace(/^\*?\.?/, "").replace(/\.$/, "");
		if (suffix.includes("*")) return matches(host, suffix);
		const plain = domainToASCII(suffix);
		return plain !== "" && (host === plain || host.endsWith(`.${plain}`));
	});
}
function sameIpv6(name, host) {
	return URL.canParse(`http://[${name}]`) && new URL(`http://[${name}]`).hostname === `[${host}]`;
}
function matches(host, pattern) {
	const source = pattern.split(/\*+/).map((part) => part.replace(/[^\w-]/g, "\\$&")).join(".*");
	return pattern.length <= 253 && pattern.split("*").length <= 8 && new RegExp(`(^|\\.)${source}$`).test(host);
}
function inRange(host, range) {
	const [, base = "", bits = ""] = /^(.+)\/(\d{1,3})$/.exec(range) ?? [];
	const family = isIP(base);
	if (family === 0 || family !== isIP(host) || Number(bits) > (family === 4 ? 32 : 128)) return false;
	const name = family === 4 ? "ipv4" : "ipv6";
	const list = new BlockList();
	list.addSubnet(base, Number(bits), name);
	return list.check(host, name);
}
async function openRoute(proxy) {
	new Headers();
	const { fetch: proxiedFetch, ProxyAgent } = await import("undici");
	const [user, password] = [decoded(proxy.username), decoded(proxy.password)];
	const token = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
	if (user || password) keepCredentials(token);
	const dispatcher = new ProxyAgent({
		uri: proxy.origin,
		proxyTunnel: false,
		...user || password ? { token } : {}
	});
	const through = (input, init) => proxiedFetch(input, {
		...init,
		dispatcher
	});
	return {
		shown: proxy.origin,
		fetch: through
	};
}
// src/transfer/send-request.ts
const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([
	301,
	302,
	303,
	307,
	308
]);
async function sendRequest(request) {
	const first = new URL(request.url);
	for (const value of Object.values(request.privateHeaders ?? {})) keepCredentials(value);
	refuseUnsafe(first, first, request);
	const controller = new AbortController();
	const limit = request.answerTimeoutMs ?? 3e4;
	let url = first;
	const watch = new SilenceWatch(limit, () => controller.abort(requestError(url, `no answer within ${limit / 1e3} s`, { isTransient: true })));
	let foreign = false;
	let method = request.method ?? "GET";
	let body = request.body;
	try {
		for (let redirects = 0;; redirects++) {
			const proxy = await proxyRoute(url);
			const response = await fetchOnce(url, proxy, controller, request, {
				method,
				headers: {
					"user-agent": "ministral-tune",
					...request.headers,
					...foreign ? {} : request.privateHeaders
				},
				...body === void 0 ? {} : { body }
			});
			if (proxy && response.status === 407) {
				await response.body?.cancel().catch(() => void 0);
				throw proxyError(407, url, proxy.shown);
			}
			const answer = () => new HttpAnswer(response, {
				url,
				foreign,
				proxy: proxy?.shown
			}, controller, request);
			const location = response.headers.get("location");
			if (!REDIRECTS.has(response.status) || location === null) return answer();
			const next = URL.canParse(location, url.href) ? new URL(location, url) : void 0;
			if (next && next.origin !== first.origin && request.stopAtOrigin) return answer();
			await response.body?.cancel().catch(() => void 0);
			if (redirects === MAX_REDIRECTS) throw requestError(first, `more than ${MAX_REDIRECTS} redirects`, { status: response.status });
			if (!next) throw redirectError(url, "to no valid address");
			refuseUnsafe(next, first, request);
			foreign ||= next.origin !== first.origin;
			if (response.status === 303 || response.status < 303 && method === "POST") {
				if (method !== "HEAD") method = "GET";
				body = void 0;
			}
			url = next;
		}
	} finally {
		watch.stop();
	}
}
async function fetchOnce(url, proxy, controller, request, init) {
	request.signal?.throwIfAborted();
	const signal = request.signal ? AbortSignal.any([controller.signal, request.signal]) : controller.signal;
	try {
		return await (proxy?.fetch ?? fetch)(url, {
			...init,
			redirect: "manual",
			signal
		});
	} catch (cause) {
		throw failureOf(cause, url, controller, request.signal, proxy?.shown);
	}
}
function refuseUnsafe(url, first, { allowInsecureHttp = false }) {
	const redirected = url !== first;
	if (url.username !== "" || url.password !== "") {
		if (redirected) throw redirectError(url, "to an address with a password in it");
		throw requestError(url, "an address with a user or password in it", { hint: "Give credentials separately." });
	}
	const local = isLoopback(url.hostname);
	if (redirected && mayBeLoopback(url.hostname) && !mayBeLoopback(first.hostname)) throw redirectError(url, "to this machine");
	const mayBePlain = first.protocol === "http:" && (local || allowInsecureHttp);
	if (url.protocol === "https:" || url.protocol === "http:" && mayBePlain) return;
	if (redirected) throw redirectError(url, `to ${url.protocol.slice(0, -1)}, which is not encrypted`);
	throw requestError(url, "only https is spoken, and http with this machine itself", { hint: "Plain http shows and lets change what is sent, on every machine in between. `allowInsecureHttp` allows it, where there is such an option." });
}
// src/transfer/download-file.ts
const PROGRESS_BYTES = 65536;
const STEADY_WINDOWS = 8;
const MAX_UNKNOWN_BYTES = 64 * 2 ** 30;
const KEPT_FREE = 2 ** 30;
const LOOK_BYTES = 64 * 2 ** 20;
async function downloadFile(request) {
	const { path, signal } = request;
	signal?.throwIfAborted();
	const partial = await PartialFile.open(path, sourceOf(request));
	const { expectedSize } = request;
	if (expectedSize !== void 0 && (partial.facts?.size ?? expectedSize) !== expectedSize) await partial.discard();
	const resumedFrom = partial.resumable(request.digests ?? {}) ? partial.size : 0;
	const budget = new RetryBudget(request.retry);
	const report = progressReporter(request, resumedFrom);
	let attempts = 0;
	let furthest = partial.size;
	try {
		for (;;) try {
			attempts++;
			await attempt(request, partial, report);
			const digest = await verify(request, partial);
			await partial.finish();
			const { size } = partial;
			report(size, size, true);
			return {
				path,
				size,
				digest,
				resumedFrom,
				attempts
			};
		} catch (error) {
			if (partial.size >= furthest + PROGRESS_BYTES) {
				budget.renew(partial.size - furthest >= steadyBytes(request.speed));
				furthest = partial.size;
			}
			await budget.wait(error, signal);
		}
	} finally {
		await partial.close();
	}
}
async function attempt(request, partial, report) {
	const expected = request.digests ?? {};
	if (partial.size > 0 && partial.size === partial.facts?.size && partial.resumable(expected)) return;
	const from = partial.resumable(expected) ? partial.size : 0;
	const url = typeof request.url === "function" ? await request.url() : request.url;
	const etag = partial.facts?.etag;
	const answer = await sendRequest({
		url,
		headers: {
			...request.headers,
			"accept-encoding": "identity",
			...from > 0 ? { range: `bytes=${from}-` } : {},
			...from > 0 && etag && !etag.startsWith("W/") ? { "if-range": etag } : {}
		},
		privateHeaders: request.privateHeaders,
		allowInsecureHttp: request.allowInsecureHttp,
		answerTimeoutMs: request.answerTimeoutMs,
		silenceTimeoutMs: request.silenceTimeoutMs,
		signal: request.signal
	});
	try {
		await refuseOtherThanFile(answer, request, partial);
		const facts = factsOf(answer, request);
		if (answer.status === 206) await requireContinuation(answer, facts, partial, from);
		else await partial.restart(facts);
		await receive(answer, request, partial, report);
	} finally {
		await answer.cancel();
	}
}
async function refuseOtherThanFile(answer, request, partial) {
	const { status, url } = answer;
	if (status === 416) {
		await partial.discard();
		throw requestError(url, "the server has no more bytes of this file", {
			status: 416,
			isTransient: true
		});
	}
	const suspect = request.suspectTypes?.includes(answer.contentType) ?? false;
	if (status >= 400 || suspect) {
		const signed = answer.foreign || typeof request.url === "function";
		const error = await errorOf(answer, signed ? void 0 : request.explain);
		if (error && signed && status < 500) throw error.with({
			hint: "The address that the service gave is refused by its storage: expired, or the clock is wrong?",
			isTransient: true
		});
		if (error) throw error;
		if (suspect) {
			const from = answer.foreign ? `, after a redirect to ${url.host}` : "";
			throw requestError(url, `${answer.contentType} came where a file was expected${from}`, {
				hint: PAGE_HINT,
				status,
				details: { contentType: answer.contentType }
			});
		}
	}
	const encoding = answer.headers.get("content-encoding") ?? "identity";
	if (status !== 200 && status !== 206 || encoding !== "identity") throw requestError(url, `${encoding === "identity" ? `status ${status}` : `content encoding ${encoding}`} where a file was expected`, { status });
}
function factsOf(answer, request) {
	const { headers, status } = answer;
	const text = status === 206 ? contentRange(headers)?.total : headers.get("content-length");
	const size = text && /^\d{1,15}$/.test(text) ? Number(text) : void 0;
	const { expectedSize } = request;
	if (size !== void 0 && expectedSize !== void 0 && size !== expectedSize) throw requestError(answer.url, `the server offers ${size} bytes, ${expectedSize} were expected`, {
		isTransient: true,
		details: {
			path: request.path,
			size,
			expectedSize
		}
	});
	return {
		etag: note(headers, "etag"),
		lastModified: note(headers, "last-modified"),
		size: size ?? expectedSize,
		digests: request.readDigests?.(headers) ?? {}
	};
}
function note(headers, name) {
	const value = headers.get(name);
	return value !== null && value.length <= 1024 && redact(value) === value ? value : void 0;
}
function steadyBytes(speed = DEFAULT_SPEED) {
	return STEADY_WINDOWS * speed.minBytesPerSecond * speed.windowMs / 1e3;
}
function contentRange(headers) {
	const [, start, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
	return start === void 0 ? void 0 : {
		start: Number(start),
		total
	};
}
async function requireContinuation(answer, facts, partial, from) {
	const range = contentRange(answer.headers);
	const wrong = from === 0 || range?.start !== from;
	if (!wrong && !partial.differsFrom(facts)) return;
	await partial.discard();
	const what = wrong ? `bytes from ${from} were asked for, \`${answer.headers.get("content-range") ?? ""}\` came` : "the file changed between two attempts";
	throw requestError(answer.url, what, {
		status: 206,
		isTransient: true
	});
}
async function receive(answer, request, partial, report) {
	const total = partial.facts?.size;
	const { url } = answer;
	if (total !== void 0) await requireSpace(request.path, total - partial.size);
	report(partial.size, total);
	let look = LOOK_BYTES;
	for await (const chunk of answer.chunks(request.speed ?? DEFAULT_SPEED)) {
		if (total !== void 0 && partial.size + chunk.length > total) {
			await partial.discard();
			throw requestError(url, `more than the ${total} bytes announced`, { isTransient: true });
		}
		if (total === void 0) {
			const isLook = partial.size + chunk.length > look;
			if (isLook) look = partial.size + LOOK_BYTES;
			await requireEnd(request, partial, url, chunk.length, isLook);
		}
		await partial.append(chunk);
		report(partial.size, total);
	}
	if (total !== void 0 && partial.size < total) throw requestError(url, `the transfer broke off after ${partial.size} of ${total} bytes`, {
		isTransient: true,
		details: {
			received: partial.size,
			total
		}
	});
}
async function requireEnd(request, partial, url, next, isLook) {
	const most = request.maxUnknownBytes ?? MAX_UNKNOWN_BYTES;
	try {
		if (partial.size + next > most) throw requestError(url, `more than ${most} bytes came, and the server does not say how many there are`, {
			hint: "Is the address right? A server that is in order gives the length of a file of this size.",
			details: {
				path: request.path,
				maxBytes: most
			}
		});
		if (isLook) await requireSpace(request.path, next + KEPT_FREE);
	} catch (error) {
		await partial.discard();
		throw error;
	}
}
async function verify(request, partial) {
	const digests = {
		...partial.facts?.digests,
		...request.digests
	};
	const check = await checkDigest(partial.temporaryPath, digests, request.signal);
	if (!check) return void 0;
	if (check.received === check.expected) return {
		name: check.name,
		value: check.received
	};
	await partial.discard();
	throw new TransferError(`${request.path}: the file arrived damaged: ${check.name} ${check.received} for ${check.expected}`, {
		hint: "If it happens again the copy on the server, or a proxy in between, is at fault.",
		isTransient: true,
		details: {
			path: request.path,
			...check
		}
	});
}
function progressReporter({ onProgress }, resumedFrom) {
	let next = Number.NEGATIVE_INFINITY;
	return (received, total, last = false) => {
		const now = performance.now();
		if (!onProgress || now < next && !last) return;
		next = now + 100;
		onProgress({
			received,
			total,
			resumedFrom
		});
	};
}
function sourceOf({ source, url }) {
	if (source !== void 0) return source;
	if (typeof url === "function") throw new TransferError("a download from changing addresses needs a `source`");
	return shownUrl(new URL(url));
}
// src/transfer/lock.ts
async function withLock(path, work, options = {}) {
	const lock = await writing(path, () => OwnerLock.take(path, {
		what: "download",
		whenHeld: "wait",
		...options
	}));
	const lost = new AbortController();
	const watch = setInterval(async () => {
		const reason = await lock.check().catch(() => void 0);
		if (reason === void 0) return;
		lost.abort(new TransferError(`${path}: this download is another process's by now: ${reason}`, { hint: "Start it again." }));
	}, lockTimes.beatMs).unref();
	try {
		return await work(options.signal ? AbortSignal.any([options.signal, lost.signal]) : lost.signal);
	} finally {
		clearInterval(watch);
		await lock.release();
	}
}
// src/transfer/request-json.ts
const MAX_CONTAINERS = 25e4;
const TEXT_LIMIT = 65536;
function requestJson(request) {
	return withRetries(() => requestOnce(request), request.retry, request.signal);
}
async function requestOnce(request) {
	const answer = await sendRequest({
		...request,
		headers: {
			accept: "application/json",
			...request.headers
		}
	});
	const { status, headers, url } = answer;
	if (status < 200 || status >= 300) throw await errorOf(answer, request.explain) ?? requestError(url, `an answer of status ${status}`, { status });
	const limit = request.maxBytes ?? 8388608;
	const bytes = await answer.bytes(limit + 1);
	if (bytes.length > limit) throw requestError(url, `an answer of more than ${limit} bytes, where a short one was expected`, { status });
	const error = request.explain?.(suspectAnswer(answer, bytes.toString("utf8", 0, TEXT_LIMIT)));
	if (error) throw error;
	try {
		return {
			value: parseJson(bytes, { maxContainers: MAX_CONTAINERS }),
			headers,
			status
		};
	} catch (cause) {
		throw notJson(answer, bytes, cause);
	}
}
function notJson(answer, bytes, cause) {
	const text = bytes.toString("utf8", 0, TEXT_LIMIT);
	const { url, status, contentType } = answer;
	const facts = {
		status,
		details: { contentType },
		cause
	};
	if (cause instanceof JsonFault) return requestError(url, `the answer is not read: ${cause.message}`, {
		hint: "No answer of the service is like that: check the address, and mirrors and proxies on the way to it.",
		...facts
	});
	const what = text.trim() === "" ? "nothing" : /^\s*</.test(text) ? "a web page" : "something else";
	const page = pageTitle(suspectAnswer(answer, text).text)?.replace(/^a web page/, "");
	return requestError(url, `${what} came where JSON was expected${page ? `:${page.replace(/^,/, "")}` : ""}${answer.foreign ? `, after a redirect to ${url.host}` : ""}`, {
		hint: PAGE_HINT,
		...facts
	});
}
// src/hub/explain-answer.ts
function explainAnswer(connection, subject) {
	return (answer) => answer.status >= 400 ? hubError(answer, connection, subject) : void 0;
}
function askHub(connection, subject, url) {
	return requestJson({
		...requestSettings(connection),
		url,
		explain: explainAnswer(connection, subject)
	});
}
function asHubError(error) {
	if (!(error instanceof TransferError) || error instanceof HubError) return error;
	return new HubError(error.summary, {
		...error,
		cause: error
	});
}
function hubError(answer, connection, subject) {
	const { status, headers, url } = answer;
	const code = headers.get("x-error-code") ?? "";
	const said = saidBy(answer);
	const [what, usual] = explanation(status, code, said, connection, subject);
	const hint = pageTitle(answer.text) === void 0 ? usual : [usual, PAGE_HINT].filter(Boolean).join(" ");
	const fields = statusFields(status, headers, url);
	const retryAfterMs = fields.retryAfterMs ?? (status === 429 ? rateLimitReset(headers) : void 0);
	return new HubError(`${subject.repoId}: ${what} (${status})${said ? `. It says: ${said}` : ""}`, {
		...fields,
		retryAfterMs,
		hint,
		errorCode: code || void 0,
		details: { repoId: subject.repoId }
	});
}
function explanation(status, code, said, { endpoint, token }, { repoId, revision, action }) {
	const page = `${endpoint}/${repoId}`;
	const who = token ? `the token from ${token.source}` : "no token";
	if (code === "GatedRepo") return token ? [`the repository is gated, and the account of ${who} has not been let in`, `Open ${page} signed in, accept the terms, and wait if its authors approve by hand. A fine-grained token also needs the right to read gated repositories.`] : ["the repository is gated, and no token was found", `Accept the terms on ${page}. ${TOKEN_HINT}`];
	if (code === "RevisionNotFound") return [`the repository has no revision "${revision}"`, `Its branches and tags: ${page}/tree/main.`];
	if (code === "EntryNotFound") return ["the repository has no such file", `Its files: ${page}/tree/${revision}.`];
	if (/access to this resource is disabled/i.test(said)) return ["the Hub has disabled this repository", void 0];
	switch (status) {
		case 401:
			if (token) return [`the Hub does not accept ${who}`, `It may have expired or been revoked. ${TOKEN_HINT}`];
			return ["the Hub has no public repository of this name, and no token was found", `Is it right? ${TOKEN_HINT}`];
		case 403: return action === "write" ? [`the Hub does not allow this with ${who}`, `Is "${repoId.split("/")[0]}" your account or organisation, and may the token write?`] : [`the Hub does not allow this with ${who}`, `Can you open ${page} signed in? May the token read it?`];
		case 404: return [`the Hub has no such repository, or ${token ? `hides it from ${who}` : "it is private and no token was found"}`, `Does ${page} exist?${token ? "" : ` ${TOKEN_HINT}`}`];
		case 429: return ["the Hub was asked too often", token ? "Wait some minutes." : `A token allows more. ${TOKEN_HINT}`];
		default: return [`the Hub answered ${statusLine(status)}`, void 0];
	}
}
function saidBy({ headers, text }) {
	let said = headers.get("x-error-message") ?? "";
	if (!said) try {
		const body = JSON.parse(text);
		said = [[body?.error, body?.message].find((value) => typeof value === "string"), body?.error_description].filter((value) => typeof value === "string").join(": ");
	} catch {
		said = pageTitle(text) ?? "";
	}
	return said.replace(/\s+/g, " ").trim().slice(0, 300);
}
function rateLimitReset(headers) {
	const [, left, seconds] = /"\w+"\s*;\s*r\s*=\s*(\d+)\s*;\s*t\s*=\s*(\d+)/.exec(headers.get("ratelimit") ?? "") ?? [];
	return left === "0" && seconds !== void 0 ? Number(seconds) * 1e3 : void 0;
}
// src/hub/list-pages.ts
var ListTooLongError = class extends HubError {};
const MAX_SEARCH = 4096;
const WHOLE_LIST = 20;
async function* listPages(url, connection, subject, limits = {}) {
	const { maxEntries = 15e4, maxPathBytes = 16 * 2 ** 20, maxPages = 3e3 } = limits;
	const isDataset = subject.repoId.startsWith("datasets/");
	const fail = (what, Class = HubError) => new Class(`${subject.repoId}: the list of its files ${what}`, {
		hint: Class === ListTooLongError && isDataset ? "HubImageFolder.download lists a single folder of it where `dataDir` names one." : "Is the endpoint right? A folder that holds the files can be given in place of the name.",
		url: shownUrl(url),
		details: { repoId: subject.repoId }
	});
	const deadline = new AbortController();
	const longest = WHOLE_LIST * connection.timeoutMs;
	const timer = setTimeout(() => deadline.abort(fail(`was not complete after ${longest / 1e3} s`)), longest);
	const signal = AbortSignal.any([deadline.signal, ...connection.signal ? [connection.signal] : []]);
	const asked = new Set();
	let [entries, pathBytes, last] = [
		0,
		0,
		""
	];
	let next = url;
	try {
		while (next) {
			if (asked.has(next.search)) throw fail("leads back to a page that has come before");
			asked.add(next.search);
			if (asked.size > maxPages) throw fail(`has more than ${maxPages} pages`, ListTooLongError);
			const answer = await askHub({
				...connection,
				signal
			}, subject, next);
			const page = answer.value;
			if (!Array.isArray(page)) throw fail("is no list");
			const paths = page.map((entry) => String(entry?.path));
			entries += page.length;
			pathBytes += paths.reduce((sum, path) => sum + path.length, 0);
			if (entries > maxEntries) throw fail(`has more than ${maxEntries} entries`, ListTooLongError);
			if (pathBytes > maxPathBytes) throw fail(`has more than ${maxPathBytes} bytes of names`, ListTooLongError);
			const again = paths.join("\n");
			next = nextPage(answer.headers, next, url, fail);
			if (page.length > 0 && again === last) throw fail("has the same page twice");
			if (page.length === 0 && next && last === "") throw fail("goes on after an empty page");
			last = again;
			yield page;
		}
	} finally {
		clearTimeout(timer);
	}
}
function nextPage(headers, page, first, fail) {
	const [, link] = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get("link") ?? "") ?? [];
	if (link === void 0) return void 0;
	const named = URL.canParse(link, page.href) ? new URL(link, page) : void 0;
	const route = /\/api\/.*$/.exec(first.pathname)?.[0] ?? first.pathname;
	if (!named || !sameEnd(named.pathname, route)) throw fail("goes on at another address");
	if (named.search.length > MAX_SEARCH) throw fail("cannot be followed: the address of its next page is too long");
	const next = new URL(first);
	next.search = named.search;
	return next;
}
function sameEnd(path, end) {
	try {
		return decodeURI(path).endsWith(decodeURI(end));
	} catch {
		return false;
	}
}
// src/hub/safe-names.ts
const NOT_IN_REF = /\.\.|\/\/|@\{|[\s~^:?*[\\]|\.$|\.lock(\/|$)|(^|\/)\.|^\/|\/$|^@$/;
const HALF_LETTER = /\p{Surrogate}/u;
function parseRevision(revision) {
	if (typeof revision === "string" && revision !== "" && !NOT_IN_REF.test(revision) && !pathFault(revision)) return revision;
	const given = typeof revision === "string" ? showValue(revision) : describeGiven(revision);
	throw new ConfigError(`${given} is not the name of a revision`, {
		hint: "Expected a branch or tag such as \"main\" or \"refs/pr/3\", or the 40 digits of a commit.",
		details: { revision: typeof revision === "string" ? revision.slice(0, 200) : revision }
	});
}
function pathFault(path) {
	if (HALF_LETTER.test(path)) return "half a letter in the name";
	return path.endsWith("/") ? "a folder in place of a file" : nameFault(path);
}
function clashOf(paths, ignoresCase) {
	const key = (path) => ignoresCase ? path.normalize("NFC").toLowerCase() : path;
	const byKey = new Map();
	for (const path of paths) {
		const other = byKey.get(key(path));
		if (other !== void 0) return `"${other}" and "${path}" differ by case alone, which this disk ignores`;
		byKey.set(key(path), path);
	}
	for (const path of paths) for (let end = path.indexOf("/"); end >= 0; end = path.indexOf("/", end + 1)) {
		const other = byKey.get(key(path.slice(0, end)));
		if (other !== void 0) return `"${other}" is a file and the folder of "${path}" at once`;
	}
}
// src/hub/repo-tree.ts
const size = int().min(0);
const sha256 = string().regex(/^[0-9a-f]{64}$/);
const repoFileSchema = object({
	size,
	blob_id: string().regex(/^[0-9a-f]{40}$|^[0-9a-f]{64}$/),
	lfs_sha256: sha256.optional(),
	lfs_size: size.optional(),
	xet_hash: sha256.optional()
});
const path = string().refine((text) => pathFault(text) === void 0);
const treeFileSchema = object({
	format_version: literal(1),
	files: record(path, repoFileSchema)
});
function blobName({ blob_id, lfs_sha256, xet_hash }) {
	return lfs_sha256 ?? xet_hash ?? blob_id;
}
function digestsOf({ blob_id, lfs_sha256, xet_hash }) {
	if (lfs_sha256) return { sha256: lfs_sha256 };
	return xet_hash || blob_id.length !== 40 ? {} : { gitSha1: blob_id };
}
function isCommit(revision) {
	return /^[0-9a-f]{40}$/.test(revision);
}
async function resolveRevision(connection, subject) {
	const url = `${connection.endpoint}/api/${apiPath(subject.repoId)}/revision/${encodeURIComponent(subject.revision)}`;
	const { value } = await askHub(connection, subject, url);
	const sha = value?.sha;
	if (typeof sha === "string" && isCommit(sha)) return sha;
	throw new HubError(`${url}: the answer does not name the commit`, { url });
}
const entrySchema = object({
	type: string(),
	path,
	size,
	oid: string(),
	lfs: object({
		oid: string(),
		size
	}).optional(),
	xetHash: string().optional()
});
async function listTree(connection, subject, commit, limits, within) {
	const tree = new Map();
	const folder = within === void 0 ? "" : `/${within.split("/").map(encodeURIComponent).join("/")}`;
	const url = new URL(`${connection.endpoint}/api/${apiPath(subject.repoId)}/tree/${commit}${folder}?recursive=true&expand=false`);
	for await (const page of listPages(url, connection, {
		...subject,
		revision: commit
	}, limits)) for (const item of page) {
		if (item?.type === "directory") continue;
		const [name, file] = readEntry(item, subject.repoId);
		if (tree.has(name)) throw badEntry(subject.repoId, item, "comes twice");
		tree.set(name, file);
	}
	return tree;
}
function readEntry(item, repoId) {
	const entry = entrySchema.safeParse(item);
	if (!entry.success) throw badEntry(repoId, item);
	const { lfs, xetHash, oid } = entry.data;
	const file = repoFileSchema.safeParse({
		size: lfs?.size ?? entry.data.size,
		blob_id: oid,
		...lfs ? {
			lfs_sha256: lfs.oid,
			lfs_size: lfs.size
		} : {},
		...xetHash ? { xet_hash: xetHash } : {}
	});
	if (!file.success) throw badEntry(repoId, item);
	if (lfs) delete file.data.xet_hash;
	return [entry.data.path, file.data];
}
function badEntry(repoId, item, what = "makes no sense") {
	const named = item?.path;
	const fault = typeof named === "string" ? pathFault(named) : void 0;
	const why = fault === void 0 ? "" : ` (${fault})`;
	return new HubError(`${repoId}: the list of its files has an entry that ${what}${why}: ${showValue(item)}`, {
		hint: "Nothing of this repository was written. Is the endpoint the one that is meant?",
		details: {
			repoId,
			entry: showValue(item)
		}
	});
}
function parseTree(bytes) {
	try {
		return new Map(Object.entries(treeFileSchema.parse(parseJson(bytes)).files));
	} catch {
		return;
	}
}
function formatTree(tree) {
	const files = Object.fromEntries([...tree].sort(([a], [b]) => a < b ? -1 : 1));
	return JSON.stringify({
		format_version: 1,
		files
	}, null, 1);
}
// src/hub/missing-routes.ts
const INDEX = "model.safetensors.index.json";
const USUAL = [
	"config.json",
	"generation_config.json",
	"model.safetensors",
	INDEX,
	"adapter_config.json",
	"adapter_model.safetensors",
	"tokenizer.json",
	"tokenizer_config.json",
	"special_tokens_map.json",
	"added_tokens.json",
	"processor_config.json",
	"preprocessor_config.json",
	"chat_template.jinja",
	"chat_template.json"
];
const COVERED = new Set([
	"model*.safetensors",
	"tokenizer*.json",
	"chat_template.*"
]);
const MAX_PARTS = 2e3;
function lacksRoute(error) {
	return error instanceof HubError && error.errorCode === void 0 && [
		404,
		405,
		501
	].includes(error.status);
}
async function probeCommit(connection, subject) {
	for (const path of [
		"config.json",
		"adapter_config.json",
		".gitattributes",
		"README.md"
	]) {
		const answer = await head(connection, subject, subject.revision, path);
		if (!answer) continue;
		const commit = answer.headers.get("x-repo-commit") ?? "";
		if (isCommit(commit)) return commit;
		throw new HubError(`${subject.repoId}: the server neither has the route /api/${apiPath(subject.repoId)}/revision/ nor names the commit of its files`, {
			hint: "Give the 40 digits of the commit as `revision`, or a folder that holds the files.",
			details: {
				repoId: subject.repoId,
				endpoint: connection.endpoint
			}
		});
	}
}
async function probeTree(connection, subject, commit, allow) {
	const patterns = allow === void 0 ? [] : [allow].flat();
	const unknown = patterns.filter((pattern) => /[*?[]|\/$/.test(pattern) && !COVERED.has(pattern));
	if (allow === void 0 || unknown.length > 0) throw new HubError(`${subject.repoId}: the server has no route /api/${apiPath(subject.repoId)}/tree/, so that ${allow === void 0 ? "which files exist" : `what "${unknown[0]}" stands for`} cannot be known`, {
		hint: "Give full names as `allowPatterns`, or a folder that holds the files in place of the name.",
		details: {
			repoId: subject.repoId,
			endpoint: connection.endpoint
		}
	});
	const tree = new Map();
	const add = async (paths) => {
		for (const path of selectPaths(paths, patterns)) {
			if (tree.has(path)) continue;
			const answer = await head(connection, subject, commit, path);
			if (answer) tree.set(path, fileOf(answer, path, commit, subject));
		}
	};
	await add([...USUAL, ...patterns.filter((pattern) => !/[*?[]/.test(pattern) && !pathFault(pattern))]);
	if (tree.has(INDEX)) await add(await partsOf(connection, subject, commit));
	return tree;
}
function head(connection, subject, revision, path) {
	const settings = requestSettings(connection);
	const once = async () => {
		const answer = await sendRequest({
			...settings,
			url: fileAddress(connection, subject.repoId, revision, path),
			method: "HEAD",
			headers: { "accept-encoding": "identity" },
			stopAtOrigin: true
		});
		const code = answer.headers.get("x-error-code");
		if (answer.status === 404 && (code === null || code === "EntryNotFound")) return void 0;
		const error = answer.status >= 400 ? await errorOf(answer, explainAnswer(connection, subject)) : void 0;
		await answer.cancel();
		if (error) throw error;
		return answer;
	};
	return withRetries(once, settings.retry, settings.signal);
}
function fileOf(answer, path, commit, { repoId }) {
	const { headers } = answer;
	const stated = headers.get("x-linked-size") ?? (answer.status < 300 ? headers.get("content-length") : null) ?? "";
	if (!/^\d{1,15}$/.test(stated)) throw new HubError(`${repoId}: the server does not say how long ${path} is`, {
		hint: "Give a folder that holds the files in place of the name.",
		details: {
			repoId,
			path
		}
	});
	const size = Number(stated);
	const etag = (headers.get("x-linked-etag") ?? headers.get("etag") ?? "").replace(/^W\/|"/g, "");
	const name = createHash("sha256").update(JSON.stringify([
		repoId,
		commit,
		path,
		etag
	])).digest("hex");
	if (/^[0-9a-f]{64}$/.test(etag)) return {
		size,
		blob_id: name,
		lfs_sha256: etag,
		lfs_size: size
	};
	return {
		size,
		blob_id: /^[0-9a-f]{40}$/.test(etag) ? etag : name
	};
}
async function partsOf(connection, subject, commit) {
	const url = fileAddress(connection, subject.repoId, commit, INDEX);
	const { value } = await askHub(connection, subject, url);
	const map = value?.weight_map;
	const parts = new Set(typeof map === "object" && map !== null ? Object.values(map) : []);
	for (const part of parts) if (parts.size > MAX_PARTS || typeof part !== "string" || pathFault(part)) {
		const fault = parts.size > MAX_PARTS ? `more than ${MAX_PARTS} files` : showValue(part);
		throw new HubError(`${subject.repoId}: expected the names of files in ${INDEX}, found ${fault}`, {
			hint: "The file is damaged, or the mirror gives another one: compare it with that on the Hub.",
			url
		});
	}
	return [...parts];
}
function fileAddress({ endpoint }, repoId, revision, path) {
	const name = path.split("/").map(encodeURIComponent).join("/");
	return `${endpoint}/${repoId}/resolve/${encodeURIComponent(revision)}/${name}`;
}
// src/hub/repo-cache.ts
const MAX_REF_BYTES = 256;
const MAX_TREE_BYTES = 64 * 2 ** 20;
var RepoCache = class {
	root;
	#folder;
	#locks;
	constructor(root, repoId) {
		this.root = root;
		const name = cacheName(repoId);
		this.#folder = join(root, name);
		this.#locks = join(root, ".locks", name);
	}
	snapshot(commit) {
		return join(this.#folder, "snapshots", commit);
	}
	blob(file) {
		return join(this.#folder, "blobs", blobName(file));
	}
	lock(file) {
		return join(this.#locks, `${blobName(file)}.download.lock`);
	}
	async commitOf(revision) {
		if (isCommit(revision)) return revision;
		const text = (await readRegularFile(this.#ref(revision), MAX_REF_BYTES).catch(() => void 0))?.toString("utf8").trim() ?? "";
		return isCommit(text) ? text : void 0;
	}
	async writeRef(revision, commit) {
		if (revision === commit || await this.commitOf(revision) === commit) return;
		await this.#writing(this.#ref(revision), () => writeFileAtomically(this.#ref(revision), commit));
	}
	async readTree(commit, within) {
		for (const path of [this.#tree(commit), ...within === void 0 ? [] : [this.#tree(commit, within)]]) {
			const bytes = await readRegularFile(path, MAX_TREE_BYTES).catch(() => void 0);
			const tree = bytes && parseTree(bytes);
			if (tree) return tree;
		}
	}
	async hasPartOfTree(commit) {
		return (await readdir(join(this.#folder, "trees")).catch(() => [])).some((name) => name.startsWith(`${commit}-`));
	}
	async writeTree(commit, tree, within) {
		const path = this.#tree(commit, within);
		await this.#writing(path, () => writeFileAtomically(path, formatTree(tree)));
	}
	async commits() {
		return (await readdir(join(this.#folder, "snapshots")).catch(() => [])).filter(isCommit);
	}
	async hasSnapshot(commit) {
		return (await stat(this.snapshot(commit)).catch(() => void 0))?.isDirectory() === true && await this.#holds(this.snapshot(commit));
	}
	async missing(commit, tree, paths) {
		const there = await Promise.all(paths.map((path) => this.#hasSize(join(this.snapshot(commit), path), tree.get(path).size)));
		return paths.filter((_, i) => !there[i]);
	}
	hasBlob(file) {
		return this.#hasSize(this.blob(file), file.size);
	}
	async requireInside(path) {
		const folder = path.startsWith(this.#locks) ? this.root : this.#folder;
		const [real, root] = await Promise.all([realParent(dirname(path)), realParent(folder)]);
		if (isBelow(real, root)) return;
		throw new HubError(`${path}: a link in the cache leads out of it, to ${real}; nothing is written there`, {
			hint: `Remove the link, or name another folder as \`cacheDir\`. The whole of ${this.#folder} may be a link.`,
			details: {
				path,
				leadsTo: real
			}
		});
	}
	async ignoresCase() {
		await mkdir(join(this.#folder, "blobs"), { recursive: true }).catch(() => void 0);
		const [one, other] = await Promise.all(["blobs", "BLOBS"].map((name) => stat(join(this.#folder, name)).catch(() => void 0)));
		return one !== void 0 && other !== void 0 && one.ino === other.ino && one.dev === other.dev;
	}
	async link(commit, path, file, fresh) {
		const target = join(this.snapshot(commit), path);
		const blob = this.blob(file);
		const temporary = temporaryName(target);
		await this.#writing(target, async () => {
			await mkdir(dirname(target), { recursive: true });
			await sweepOnce(dirname(target));
			try {
				try {
					await symlink(relative(dirname(target), blob), temporary);
				} catch {
					await (fresh ? rename(blob, temporary) : copyFile(blob, temporary));
				}
				await rename(temporary, target);
			} catch (error) {
				await rm(temporary, { force: true });
				throw error;
			}
		});
	}
	#ref(revision) {
		return join(this.#folder, "refs", ...revision.split("/"));
	}
	#tree(commit, within) {
		const part = within === void 0 ? "" : `-${createHash("sha256").update(within).digest("hex").slice(0, 16)}`;
		return join(this.#folder, "trees", `${commit}${part}.json`);
	}
	async #writing(path, work) {
		await this.requireInside(path);
		await writing(this.#folder, work);
	}
	async #hasSize(path, size) {
		const found = await stat(path).catch(() => void 0);
		return found?.isFile() === true && found.size === size && await this.#holds(path);
	}
	async #holds(path) {
		const [real, folder] = await Promise.all([path, this.#folder].map((one) => realpath(one).catch(() => void 0)));
		return real !== void 0 && folder !== void 0 && isBelow(real, folder);
	}
};
async function realParent(path) {
	for (let part = path;; part = dirname(part)) {
		const real = await realpath(part).catch(() => void 0);
		if (real !== void 0) return join(real, relative(part, path));
		if (part === dirname(part)) return path;
	}
}
function isBelow(path, folder) {
	return path === folder || path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}
// src/hub/repo-id.ts
const REPO_ID = /^(?:[A-Za-z0-9](?:[\w.-]{0,94}\w)?\/)?\w(?:[\w.-]{0,94}\w)?$/;
const EXPECTED = "Expected \"owner/name\", e.g. \"mistralai/Ministral-3-3B-Instruct-2512-BF16\".";
function parseRepoId(text) {
	if (typeof text !== "string") throw new ConfigError(`expected the name of a repository on the Hub, got ${describeGiven(text)}`, { hint: isPromise(text) ? "Await it." : EXPECTED });
	refuseOtherThanModel(text);
	if (isRepoId(text)) return text;
	const shown = redactAddresses(text);
	throw new ConfigError(`"${shown}" is not the name of a repository on the Hub`, {
		hint: adviceFor(text) ?? EXPECTED,
		details: { repoId: shown }
	});
}
const HUB_HOST = /^(?:www\.)?(?:huggingface\.co|hf\.co)$/i;
const ADDRESS = /^(?:https?:\/\/(?:[^/@\s]*@)?([^/\s]+)\/|((?:www\.)?(?:huggingface\.co|hf\.co))\/|git@(hf\.co):|hf:\/\/)/i;
function adviceFor(text) {
	const given = text.slice(0, 2e3).trim().replace(/^["'`<]+|["'`>]+$/g, "");
	const address = ADDRESS.exec(given);
	const host = address?.slice(1).find(Boolean);
	const parts = given.slice(address?.[0].length ?? 0).replace(/[?#].*$/s, "").split("/").filter(Boolean);
	if (parts[0] === "api") parts.shift();
	if (parts[0] === "models" && parts.length > 2) parts.shift();
	const isBare = parts.length === 1 || PAGES.test(parts[1]);
	const [name = "", at] = parts.splice(0, isBare ? 1 : 2).join("/").replace(/\.git$/, "").split("@");
	if (!isRepoId(name) || address === null && isBare) return void 0;
	const revision = at ?? (parts.length > 1 && /^(tree|blob|resolve|raw|commit)$/.test(parts[0]) ? parts[1] : void 0);
	const options = [...host === void 0 || HUB_HOST.test(host) ? [] : [`endpoint: 'https://${host}'`], ...revision === void 0 || revision === "main" ? [] : [`revision: '${wholeRevision(revision, parts.slice(2))}'`]];
	return `Give "${name}"${options.length > 0 ? `, with the option${options.length > 1 ? "s" : ""} ${options.join(" and ")}` : ""}.`;
}
const PAGES = /^(tree|blob|resolve|raw|commits?|discussions|settings)$/;
function isRepoId(text) {
	return REPO_ID.test(text) && !/--|\.\.|\.git$/.test(text);
}
function plainRepoName(text) {
	const [, repo] = /^(?:(?:https?:\/\/(?:huggingface\.co|hf\.co)|hf:\/)\/)?([\w.-]+\/[\w.-]+?)(?:\/tree\/[^/]+)?\/*$/.exec(text) ?? [];
	return repo !== void 0 && !/^[.~]/.test(text) ? repo : text;
}
async function localFolder(idOrFolder) {
	if (typeof idOrFolder !== "string") throw new ConfigError(`expected "owner/name" on the Hub or a folder, got ${describeGiven(idOrFolder)}`, { ...isPromise(idOrFolder) && { hint: "Await it." } });
	if (idOrFolder.trim() === "") throw new ConfigError("expected \"owner/name\" on the Hub or a folder, got an empty string");
	const path = expandHome(idOrFolder);
	const found = await stat(path).catch(() => void 0);
	if (found?.isDirectory()) return path;
	if (found) throw new ConfigError(`${idOrFolder} is a file, not a folder`, {
		hint: "Give the folder that it lies in.",
		details: { path }
	});
	refuseOtherThanModel(idOrFolder);
	if (/^([./\\~]|[A-Za-z]:[\\/])/.test(idOrFolder) || /\\|\/.*\//.test(idOrFolder)) {
		if (ADDRESS.test(idOrFolder.trim())) parseRepoId(idOrFolder);
		throw new ConfigError(`${idOrFolder}: there is no such folder`, {
			hint: adviceFor(idOrFolder) ?? "Check the path; a repository on the Hub is named \"owner/name\".",
			details: { path }
		});
	}
	parseRepoId(idOrFolder);
}
// src/hub/snapshot-download.ts
const MAX_BESIDE = 2e4;
const PARALLEL = 4;
const snapshotDownloadSchema = hubDownloadSchema.extend({
	allowPatterns: patternsSchema.optional(),
	ignorePatterns: patternsSchema.optional()
});
const MODEL_FILES = [
	"config.json",
	"generation_config.json",
	"model*.safetensors",
	"model.safetensors.index.json",
	"tokenizer*.json",
	"special_tokens_map.json",
	"processor_config.json",
	"preprocessor_config.json",
	"chat_template.*"
];
async function snapshotDownload(repoId, input = {}) {
	const { allowPatterns, ignorePatterns, ...options } = parseOptions(snapshotDownloadSchema, input, "snapshotDownload");
	const selection = {
		allowPatterns,
		ignorePatterns
	};
	return (typeof repoId === "string" && repoId.startsWith("datasets/") ? await datasetSnapshot(parseDatasetName(repoId).repoId, options, selection) : await fetchNamed(parseRepoId(repoId), options, selection)).folder;
}
async function folderOrSnapshot(idOrFolder, options, selection) {
	const folder = await localFolder(idOrFolder);
	if (folder !== void 0) return {
		folder,
		commit: void 0
	};
	try {
		return await fetchNamed(parseRepoId(idOrFolder), options, selection);
	} catch (error) {
		if (!(error instanceof HubError && [
			void 0,
			401,
			403,
			404
		].includes(error.status))) throw error;
		const { hint } = error;
		throw error.with({ hint: `${hint ? `${hint.replace(/\.?$/, ".")} ` : ""}If a folder was meant: there is none at ${resolve(idOrFolder)}.` });
	}
}
function datasetSnapshot(name, options, selection) {
	return fetchNamed(`datasets/${name}`, options, selection);
}
async function fetchNamed(repoId, options, selection) {
	const revision = parseRevision(options.revision);
	const cache = new RepoCache(hubCacheFolder(options.cacheDir), repoId);
	const offline = offlineReason(options.localFilesOnly);
	if (offline) {
		const found = await findCached(cache, revision, selection);
		if ("folder" in found) return found;
		throw new HubError(`${repoId}: ${found.fault}, and the Hub is not asked: ${offline}`, {
			hint: "Download it once with the network, or name the `cacheDir` that has it.",
			details: {
				repoId,
				revision,
				cacheDir: cache.root,
				...found.details
			}
		});
	}
	const download = {
		cache,
		connection: await connectHub(options),
		subject: {
			repoId,
			revision,
			action: "read"
		},
		speed: {
			minBytesPerSecond: options.minBytesPerSecond,
			windowMs: options.speedWindowMs
		},
		onProgress: options.onProgress
	};
	try {
		return await runDownload(download, selection, await findCached(cache, revision, selection));
	} catch (error) {
		options.signal?.throwIfAborted();
		throw asHubError(error);
	}
}
async function findCached(cache, revision, selection) {
	const commit = await cache.commitOf(revision);
	if (commit === void 0 || !await cache.hasSnapshot(commit)) {
		const commits = await cache.commits();
		const others = commits.length > 0 ? `; it has ${commits.join(", ")}` : "";
		return {
			fault: `the cache ${cache.root} has no revision "${revision}" of it${others}`,
			details: { commits }
		};
	}
	const folder = cache.snapshot(commit);
	const tree = await cache.readTree(commit, selection.within);
	if (!tree && await cache.hasPartOfTree(commit)) return {
		fault: `of commit ${commit} the cache ${cache.root} has the list of other folders alone`,
		details: { commit }
	};
	const missing = tree ? await cache.missing(commit, tree, selectPaths(tree.keys(), selection.allowPatterns, selection.ignorePatterns)) : await selection.missingFrom?.(folder) ?? [];
	if (missing.length === 0) return {
		folder,
		commit
	};
	return {
		fault: `the cached files of commit ${commit} lack ${shortList(missing, 10, oneLine)}`,
		details: {
			commit,
			missing
		}
	};
}
async function runDownload(download, selection, cached) {
	const { revision, repoId } = download.subject;
	const isThere = "folder" in cached;
	if (isThere && isCommit(revision) && await download.cache.readTree(revision, selection.within)) return cached;
	let commit;
	let tree;
	try {
		const connection = isThere ? {
			...download.connection,
			retry: {
				...download.connection.retry,
				maxAttempts: 2
			}
		} : download.connection;
		commit = isCommit(revision) ? revision : await currentCommit(download, connection);
		tree = await download.cache.readTree(commit, selection.within) ?? await listFiles(download, connection, commit, selection);
	} catch (error) {
		if (!isThere || !(error instanceof TransferError)) throw error;
		if (!error.isTransient) {
			const hint = "The cache has these files: `localFilesOnly: true` or HF_HUB_OFFLINE=1 uses them.";
			throw error.with({ hint: error.hint ? `${error.hint} ${hint}` : hint });
		}
		download.connection.warn(`${error.summary}; the cached commit ${cached.commit} is used`);
		return cached;
	}
	const paths = selectPaths(tree.keys(), selection.allowPatterns, selection.ignorePatterns);
	const refusal = selection.refuse?.([...tree.keys()], commit) ?? (paths.length === 0 ? "no file of it is wanted" : void 0);
	if (refusal !== void 0) throw new HubError(`${repoId}: ${refusal}`, { details: {
		repoId,
		revision,
		commit,
		files: [...tree.keys()]
	} });
	await requireDistinct(download, paths);
	await fetchAll(download, commit, tree, await download.cache.missing(commit, tree, paths));
	await tryToWrite(download, () => download.cache.writeRef(revision, commit));
	return {
		folder: download.cache.snapshot(commit),
		commit
	};
}
async function currentCommit(download, connection) {
	try {
		return await resolveRevision(connection, download.subject);
	} catch (error) {
		const commit = lacksRoute(error) ? await probeCommit(connection, download.subject) : void 0;
		if (commit === void 0) throw error;
		return commit;
	}
}
async function listFiles(download, connection, commit, selection) {
	let tree;
	let within;
	try {
		const limits = selection.within === void 0 ? void 0 : { maxEntries: MAX_BESIDE };
		tree = await listTree(connection, download.subject, commit, limits).catch((error) => {
			if (!(error instanceof ListTooLongError) || selection.within === void 0) throw error;
			within = selection.within;
			return listTree(connection, download.subject, commit, void 0, within);
		});
	} catch (error) {
		if (!lacksRoute(error)) throw error;
		const found = await probeTree(connection, download.subject, commit, selection.allowPatterns);
		if (found.size === 0) throw error;
		const { repoId } = download.subject;
		const { host } = new URL(connection.endpoint);
		connection.warn(`${repoId}: ${host} does not list files; those of the usual names are used: it has ${found.size}`);
		return found;
	}
	await tryToWrite(download, () => download.cache.writeTree(commit, tree, within));
	return tree;
}
async function requireDistinct(download, paths) {
	const clash = clashOf(paths, clashOf(paths, true) !== void 0 && await download.cache.ignoresCase());
	if (clash === void 0) return;
	const { repoId } = download.subject;
	throw new HubError(`${repoId}: two files cannot lie beside each other here: ${clash}`, {
		hint: "Leave one out with `ignorePatterns`, or name a `cacheDir` on a disk that distinguishes them.",
		details: { repoId }
	});
}
async function tryToWrite(download, work) {
	await work().catch((error) => download.connection.warn(reasonOf(error)));
}
async function fetchAll(download, commit, tree, paths) {
	if (paths.length === 0) return;
	const contents = new Map();
	for (const path of paths) {
		const name = blobName(tree.get(path));
		contents.set(name, [...contents.get(name) ?? [], path]);
	}
	const groups = [...contents.values()].sort((a, b) => tree.get(b[0]).size - tree.get(a[0]).size);
	await requireRoom(download, groups.map((group) => tree.get(group[0])));
	const failed = new AbortController();
	const { signal } = download.connection;
	const either = AbortSignal.any([failed.signal, ...signal ? [signal] : []]);
	const progress = new ProgressSum(groups, tree, download.onProgress);
	const queue = groups.values();
	const worker = async () => {
		for (const group of queue) try {
			await fetchContent(download, commit, group, tree.get(group[0]), either, progress);
		} catch (error) {
			failed.abort(error);
			throw error;
		}
	};
	if ((await Promise.allSettled(Array.from({ length: PARALLEL }, worker))).some(({ status }) => status === "rejected")) throw either.reason;
}
async function fetchContent(download, commit, paths, file, signal, progress) {
	signal.throwIfAborted();
	const { warn } = download.connection;
	const { repoId } = download.subject;
	const path = paths[0];
	const address = fileAddress(download.connection, repoId, commit, path);
	for (const written of [download.cache.lock(file), download.cache.blob(file)]) await download.cache.requireInside(written);
	const fetched = await withLock(download.cache.lock(file), async (held) => {
		if (await download.cache.hasBlob(file)) return false;
		await downloadFile({
			...requestSettings(download.connection),
			url: address,
			path: download.cache.blob(file),
			source: `${repoId} ${blobName(file)}`,
			expectedSize: file.size,
			digests: digestsOf(file),
			explain: explainAnswer(download.connection, download.subject),
			suspectTypes: path.endsWith(".html") ? [] : ["text/html"],
			speed: download.speed,
			signal: held,
			onProgress: ({ received }) => progress.report(path, received)
		});
		return true;
	}, {
		signal,
		onWait: () => warn(`${repoId}: ${oneLine(path)} is on its way in another process; waiting for it`)
	});
	for (const [i, name] of paths.entries()) await download.cache.link(commit, name, file, fetched && i === paths.length - 1);
	progress.finish(path);
}
async function requireRoom(download, files) {
	let bytes = 0;
	for (const file of files) {
		const blob = download.cache.blob(file);
		if (!await download.cache.hasBlob(file)) bytes += Math.max(0, file.size - await partialBytes(blob));
	}
	const blob = download.cache.blob(files[0]);
	await writing(blob, () => mkdir(dirname(blob), { recursive: true }));
	await requireSpace(blob, bytes);
}
var ProgressSum = class {
	#sizes;
	#received = new Map();
	#total;
	#onProgress;
	#done = 0;
	constructor(groups, tree, onProgress) {
		this.#sizes = new Map(groups.map(([path]) => [path, tree.get(path).size]));
		this.#total = [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
		this.#onProgress = onProgress;
	}
	report(file, fileReceived) {
		this.#received.set(file, fileReceived);
		this.#onProgress?.({
			file,
			fileReceived,
			fileTotal: this.#sizes.get(file),
			received: [...this.#received.values()].reduce((sum, bytes) => sum + bytes, 0),
			total: this.#total,
			filesDone: this.#done,
			filesTotal: this.#sizes.size
		});
	}
	finish(file) {
		this.#done++;
		this.report(file, this.#sizes.get(file));
	}
};
export { formatHubProgress as A, withRetries as C, parseDatasetName as D, cacheName as E, decoded as F, isLoopback as I, mayBeLoopback as L, hubDownloadSchema as M, requestSettings as N, authorization as O, SilenceWatch as P, patternsSchema as R, RetryBudget as S, nameKey as T, sendRequest as _, parseRepoId as a, statusFields as b, listTree as c, asHubError as d, askHub as f, downloadFile as g, withLock as h, snapshotDownload as i, hubConnectionSchema as j, connectHub as k, resolveRevision as l, requestJson as m, datasetSnapshot as n, plainRepoName as o, explainAnswer as p, folderOrSnapshot as r, fileAddress as s, MODEL_FILES as t, parseRevision as u, googleDigests as v, nameFault as w, statusLine as x, errorOf as y, selectPaths as z };
