import { t as onAbort } from "./on-abort-CCSG5d53.js";
import { t as CheckpointError } from "./errors-D4G-NQir.js";
import { b as showValue } from "./config-BAD1VLMT.js";
import { d as writeFileAtomically, i as isTemporary } from "./atomic-file-D2Hfhe-X.js";
import { r as readRegularFile } from "./regular-file-BhWpSxEj.js";
import { join } from "node:path";
import { readFile, readdir, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";
// src/async/worker-threads.ts
var WorkerThreads = class {
	count;
	#program;
	#workerData;
	#waiting = [];
	#threads = new Map();
	#isClosed = false;
	constructor(program, count, workerData) {
		this.#program = program;
		this.count = count;
		this.#workerData = workerData;
	}
	get hasIdle() {
		return this.#threads.size < this.count || [...this.#threads.values()].includes(void 0);
	}
	run(message, transfer = [], signal, whenBegun = "reject") {
		if (signal?.aborted) return Promise.reject(signal.reason);
		return new Promise((resolve, reject) => {
			const abort = () => {
				job.isAbandoned = true;
				const at = this.#waiting.indexOf(job);
				if (at >= 0) this.#waiting.splice(at, 1);
				if (at >= 0 || whenBegun === "reject") job.reject(signal.reason);
				this.#updateRefs();
			};
			const settle = (answer) => {
				return (value) => {
					forget();
					answer(value);
				};
			};
			const job = {
				message,
				transfer,
				resolve: settle(resolve),
				reject: settle(reject),
				isAbandoned: false
			};
			const forget = onAbort(signal, abort);
			this.#waiting.push(job);
			this.#dispatch();
		});
	}
	async close(reason) {
		this.#isClosed = true;
		for (const job of [...this.#waiting.splice(0), ...this.#threads.values()]) job?.reject(reason);
		const threads = [...this.#threads.keys()];
		this.#threads.clear();
		const alive = setInterval(() => void 0, 6e4);
		try {
			await Promise.all(threads.map((worker) => worker.terminate()));
		} finally {
			clearInterval(alive);
		}
	}
	#dispatch() {
		while (this.#waiting.length > 0 && !this.#isClosed) {
			let worker;
			try {
				worker = this.#idleWorker();
			} catch (cause) {
				if (this.#threads.size > 0) return;
				for (const job of this.#waiting.splice(0)) job.reject(new Error("no worker thread can be started", { cause }));
				return;
			}
			if (!worker) break;
			const job = this.#waiting.shift();
			this.#threads.set(worker, job);
			try {
				worker.postMessage(job.message, job.transfer);
			} catch (error) {
				this.#answer(worker, (its) => its.reject(error));
			}
		}
		this.#updateRefs();
	}
	#updateRefs() {
		for (const [worker, job] of this.#threads) if (job && (!job.isAbandoned || this.#waiting.length > 0)) worker.ref();
		else worker.unref();
	}
	#answer(worker, settle) {
		const job = this.#threads.get(worker);
		if (!job) return;
		this.#threads.set(worker, void 0);
		worker.unref();
		settle(job);
	}
	#idleWorker() {
		for (const [worker, job] of this.#threads) if (job === void 0) return worker;
		if (this.#threads.size >= this.count) return void 0;
		const worker = new Worker(this.#program, {
			eval: true,
			workerData: this.#workerData,
			execArgv: []
		});
		this.#threads.set(worker, void 0);
		worker.on("message", (reply) => {
			this.#answer(worker, (job) => {
				if ("result" in reply) job.resolve(reply.result);
				else job.reject(reply.error);
			});
			this.#dispatch();
		});
		worker.on("messageerror", (error) => {
			this.#answer(worker, (job) => job.reject(error));
			this.#dispatch();
		});
		let failure;
		worker.on("error", (error) => {
			failure = error;
		});
		worker.on("exit", (code) => {
			const job = this.#threads.get(worker);
			this.#threads.delete(worker);
			job?.reject(failure ?? new Error(`the worker thread ended with code ${code}`));
			this.#dispatch();
		});
		return worker;
	}
};
// src/generated/digest-worker.ts
var digest_worker_default = "\"use strict\";\n\n// src/files/digest-worker.ts\nvar import_node_crypto = require(\"node:crypto\");\nvar import_node_fs = require(\"node:fs\");\nvar import_node_worker_threads = require(\"node:worker_threads\");\nvar PIECE = 4194304;\nvar port = import_node_worker_threads.parentPort;\nport?.on(\"message\", (path) => {\n  try {\n    port.postMessage({ result: digest(path) });\n  } catch (error) {\n    port.postMessage({ error });\n  }\n});\nfunction digest(path) {\n  const hash = (0, import_node_crypto.createHash)(\"sha256\");\n  const piece = Buffer.allocUnsafeSlow(PIECE);\n  const file = (0, import_node_fs.openSync)(path, \"r\");\n  try {\n    for (; ; ) {\n      const count = (0, import_node_fs.readSync)(file, piece, 0, PIECE, null);\n      if (count === 0) return hash.digest(\"hex\");\n      hash.update(piece.subarray(0, count));\n    }\n  } finally {\n    (0, import_node_fs.closeSync)(file);\n  }\n}\n";
// src/files/file-digests.ts
const MANIFEST_FILE = "checkpoint.sha256";
const MAX_MANIFEST_BYTES = 4194304;
const MAX_BYTES_HERE = 8388608;
const MOST_WORKERS = 2;
const SHOWN_DIGITS = 16;
const LOCK = /^\.ministral-tune[\w-]*\.lock/;
const LINE = /^(\\?)([0-9a-f]{64}) {2}(.+)$/s;
var FileDigests = class {
	#threads;
	async digest(path) {
		const entry = await stat(path);
		if (!entry.isFile()) throw new Error("not a regular file");
		if (entry.size <= MAX_BYTES_HERE) return createHash("sha256").update(await readRegularFile(path, MAX_BYTES_HERE)).digest("hex");
		this.#threads ??= new WorkerThreads(digest_worker_default, Math.min(MOST_WORKERS, availableParallelism()));
		return this.#threads.run(path);
	}
	async close(reason = new Error("no digest is asked for any more")) {
		const threads = this.#threads;
		this.#threads = void 0;
		await threads?.close(reason);
	}
};
async function listFiles(folder, below = "") {
	const names = [];
	for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
		const name = below + entry.name;
		if (entry.isDirectory()) names.push(...await listFiles(folder, `${name}/`));
		else if (entry.isFile() && name !== "checkpoint.sha256" && !isTemporary(entry.name) && !LOCK.test(entry.name)) names.push(name);
	}
	return names.sort();
}
async function writeManifest(folder, digests) {
	const path = join(folder, MANIFEST_FILE);
	const text = [...digests].map(([name, digest]) => `${lineOf(name, digest)}\n`).join("");
	await writeFileAtomically(path, text);
	if (await readFile(path, "utf8") !== text) throw new CheckpointError(`${path} does not hold what was written to it`, { hint: FAILING_DISK });
}
const FAILING_DISK = "The disk or its connection is failing: save elsewhere.";
async function readManifest(folder) {
	const path = join(folder, MANIFEST_FILE);
	let text;
	try {
		const bytes = await readRegularFile(path, MAX_MANIFEST_BYTES);
		text = new TextDecoder("utf-8", {
			fatal: true,
			ignoreBOM: true
		}).decode(bytes);
	} catch (cause) {
		if (["ENOENT", "ENOTDIR"].includes(cause.code ?? "")) return void 0;
		throw damagedList(path, cause.message, cause);
	}
	if (text === "") throw damagedList(path, "it is empty");
	const digests = new Map();
	const lines = text.split("\n");
	if (lines.pop() !== "") throw damagedList(path, "its last line is cut off");
	for (const [i, line] of lines.entries()) {
		const [, isEscaped, digest, written] = LINE.exec(line) ?? [];
		const name = written === void 0 ? void 0 : isEscaped ? unescaped(written) : written;
		if (!(name !== void 0 && lineOf(name, digest) === line && !leadsOut(name) && !digests.has(name))) throw damagedList(path, `line ${i + 1} is ${showValue(line)}, not a digest and the name of a file`);
		digests.set(name, digest);
	}
	return digests;
}
async function findFaults(folder, manifest, names) {
	const digests = new FileDigests();
	try {
		const looked = [...names].flatMap((name) => {
			const expected = manifest.get(name);
			return expected === void 0 ? [] : [{
				name,
				expected
			}];
		});
		const found = await Promise.all(looked.map(({ name }) => digests.digest(join(folder, name)).catch((error) => error)));
		return looked.flatMap(({ name, expected }, i) => {
			const digest = found[i];
			if (digest === expected) return [];
			if (typeof digest !== "string") {
				const why = digest.code === "ENOENT" ? "is missing" : `cannot be read: ${digest.message}`;
				return [{
					name,
					expected,
					found: void 0,
					text: `${showName(name)} ${why}`
				}];
			}
			const [was, is] = [expected, digest].map((hex) => `${hex.slice(0, SHOWN_DIGITS)}…`);
			return [{
				name,
				expected,
				found: digest,
				text: `${showName(name)} has the SHA-256 ${is}, it was written with ${was}`
			}];
		});
	} finally {
		await digests.close();
	}
}
async function requireUnchanged(folder, names) {
	const manifest = await readManifest(folder);
	const faults = manifest ? await findFaults(folder, manifest, names) : [];
	if (faults.length > 0) throw changedFiles(folder, faults, "Take another checkpoint.");
}
function changedFiles(folder, faults, advice, needed = []) {
	const listed = faults.map(({ text }) => text).join("; ");
	const own = ` Where the change is your own, remove the line of that file from ${MANIFEST_FILE}.`;
	const mayBeOwn = !faults.some(({ name }) => needed.includes(name));
	return new CheckpointError(`${folder} is damaged: ${listed}`, {
		hint: `The disk, a copy or somebody has changed it since. ${advice}${mayBeOwn ? own : ""}`,
		details: {
			path: folder,
			files: faults.map(({ name, expected, found }) => ({
				name,
				expected,
				found
			}))
		}
	});
}
async function forgetDigests(folder, names) {
	const manifest = await readManifest(folder);
	if (!manifest || !names.some((name) => manifest.has(name))) return;
	await writeManifest(folder, new Map([...manifest].filter(([name]) => !names.includes(name))));
}
function lineOf(name, digest) {
	const escaped = name.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r");
	return `${escaped === name ? "" : "\\"}${digest}  ${escaped}`;
}
function unescaped(name) {
	return name.replace(/\\(.)/gs, (_, letter) => ({
		n: "\n",
		r: "\r"
	})[letter] ?? letter);
}
function leadsOut(name) {
	return name.split("/").some((part) => part === "" || part === "." || part === "..") || name.includes("\0");
}
function showName(name) {
	return showValue(name).slice(1, -1);
}
function damagedList(path, why, cause) {
	return new CheckpointError(`${path} is damaged: ${why}`, {
		hint: "The digests of the checkpoint are in it; without them the rest cannot be checked. Take another one.",
		details: { path },
		cause
	});
}
export { findFaults as a, readManifest as c, WorkerThreads as d, changedFiles as i, requireUnchanged as l, FileDigests as n, forgetDigests as o, MANIFEST_FILE as r, listFiles as s, FAILING_DISK as t, writeManifest as u };
