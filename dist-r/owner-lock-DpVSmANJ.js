import { m as ownIdentity, p as lifeOf, u as temporaryName } from "./atomic-file-D2Hfhe-X.js";
import { r as readRegularFile, t as exists } from "./regular-file-BhWpSxEj.js";
import { x as oneLine } from "./errors-D4G-NQir.js";
import { basename, dirname, join } from "node:path";
import { link, lstat, mkdir, open, readlink, rename, rm } from "node:fs/promises";
import { closeSync, existsSync, futimesSync, linkSync, openSync, readFileSync, readSync, unlinkSync, writeSync } from "node:fs";
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as setTimeout$1 } from "node:timers/promises";
import { Worker, threadId } from "node:worker_threads";
// src/generated/heartbeat-worker.ts
var heartbeat_worker_default = "\"use strict\";\n\n// src/ownership/heartbeat-worker.ts\nvar import_node_worker_threads = require(\"node:worker_threads\");\n\n// src/ownership/heartbeat-round.ts\nvar import_node_fs2 = require(\"node:fs\");\n\n// src/ownership/lock-file.ts\nvar import_node_fs = require(\"node:fs\");\nvar MAX_LOCK_BYTES = 4096;\nvar COUNTER_DIGITS = 12;\nfunction parseLock(text) {\n  let json;\n  try {\n    json = JSON.parse(text.split(\"\\n\", 1)[0]);\n  } catch {\n    return void 0;\n  }\n  if (typeof json !== \"object\" || json === null) return void 0;\n  const { token, host, pid } = json;\n  if (typeof token !== \"string\" || typeof host !== \"string\" || !Number.isInteger(pid) || pid < 1) {\n    return void 0;\n  }\n  const string = (value) => typeof value === \"string\" ? value : void 0;\n  const number = (value) => typeof value === \"number\" ? value : void 0;\n  return {\n    token,\n    host,\n    pid,\n    space: string(json.space),\n    bootTime: number(json.bootTime),\n    started: number(json.started),\n    thread: number(json.thread),\n    what: string(json.what),\n    since: string(json.since),\n    program: string(json.program)\n  };\n}\nfunction beat(path, token, count2) {\n  const file = (0, import_node_fs.openSync)(path, \"r+\");\n  try {\n    const bytes = Buffer.alloc(MAX_LOCK_BYTES);\n    const held = bytes.subarray(0, (0, import_node_fs.readSync)(file, bytes, 0, bytes.length, 0));\n    const line = held.indexOf(10);\n    const holder = parseLock(held.toString())?.token;\n    if (holder !== token || line < 0) return holder;\n    try {\n      (0, import_node_fs.writeSync)(file, counter(count2), line + 1);\n    } catch {\n      const now = /* @__PURE__ */ new Date();\n      (0, import_node_fs.futimesSync)(file, now, now);\n    }\n    return holder;\n  } finally {\n    (0, import_node_fs.closeSync)(file);\n  }\n}\nfunction writeAgain(path, text, temporary) {\n  for (const at of [temporary, path]) {\n    let isMade = false;\n    try {\n      const file = (0, import_node_fs.openSync)(at, \"wx\");\n      isMade = true;\n      try {\n        (0, import_node_fs.writeSync)(file, text);\n      } finally {\n        (0, import_node_fs.closeSync)(file);\n      }\n      if (at === path) return true;\n      (0, import_node_fs.linkSync)(temporary, path);\n      return true;\n    } catch (error) {\n      if (error.code === \"EEXIST\") return false;\n      if (isMade && at === path) (0, import_node_fs.unlinkSync)(path);\n    } finally {\n      if (isMade && at === temporary) (0, import_node_fs.unlinkSync)(temporary);\n    }\n  }\n  return true;\n}\nfunction unlinkOwn(path, token) {\n  try {\n    if (parseLock((0, import_node_fs.readFileSync)(path, \"utf8\"))?.token === token) (0, import_node_fs.unlinkSync)(path);\n  } catch {\n  }\n}\nfunction counter(count2) {\n  return String(count2).padStart(COUNTER_DIGITS, \"0\");\n}\n\n// src/ownership/heartbeat-round.ts\nvar HELD = 0;\nvar LOST = 1;\nvar RELEASED = 2;\nvar count = 0;\nfunction beatAll(locks2) {\n  count++;\n  for (const lock of locks2) {\n    const { path, token, seen, state } = lock;\n    if (Atomics.load(state, 0) !== HELD) continue;\n    try {\n      const holder = beat(path, token, count);\n      if (holder === token) seen[0] = Date.now();\n      else if (holder !== void 0) Atomics.compareExchange(state, 0, HELD, LOST);\n    } catch (error) {\n      const { code } = error;\n      if (code === \"ENOENT\" || code === \"ENOTDIR\") makeAgain(lock);\n    }\n  }\n}\nfunction makeAgain({ path, token, text, temporary, trace, staleMs, seen, state }) {\n  if (Date.now() - seen[0] > staleMs || Atomics.load(state, 0) !== HELD || (0, import_node_fs2.existsSync)(trace)) return;\n  if (writeAgain(path, text, temporary)) seen[0] = Date.now();\n  if (Atomics.load(state, 0) === RELEASED) unlinkOwn(path, token);\n}\n\n// src/ownership/heartbeat-worker.ts\nvar locks = /* @__PURE__ */ new Map();\nimport_node_worker_threads.parentPort?.on(\"message\", (message) => {\n  if (\"add\" in message) locks.set(message.add.token, message.add);\n  else locks.delete(message.remove);\n});\nsetInterval(() => beatAll(locks.values()), import_node_worker_threads.workerData);\n";
// src/ownership/lock-file.ts
const MAX_LOCK_BYTES = 4096;
const COUNTER_DIGITS = 12;
function formatLock(owner) {
	return `${JSON.stringify(owner)}\n${counter(0)}\n`;
}
function parseLock(text) {
	let json;
	try {
		json = JSON.parse(text.split("\n", 1)[0]);
	} catch {
		return;
	}
	if (typeof json !== "object" || json === null) return void 0;
	const { token, host, pid } = json;
	if (typeof token !== "string" || typeof host !== "string" || !Number.isInteger(pid) || pid < 1) return;
	const string = (value) => typeof value === "string" ? value : void 0;
	const number = (value) => typeof value === "number" ? value : void 0;
	return {
		token,
		host,
		pid,
		space: string(json.space),
		bootTime: number(json.bootTime),
		started: number(json.started),
		thread: number(json.thread),
		what: string(json.what),
		since: string(json.since),
		program: string(json.program)
	};
}
function beat(path, token, count) {
	const file = openSync(path, "r+");
	try {
		const bytes = Buffer.alloc(MAX_LOCK_BYTES);
		const held = bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0));
		const line = held.indexOf(10);
		const holder = parseLock(held.toString())?.token;
		if (holder !== token || line < 0) return holder;
		try {
			writeSync(file, counter(count), line + 1);
		} catch {
			const now = new Date();
			futimesSync(file, now, now);
		}
		return holder;
	} finally {
		closeSync(file);
	}
}
function writeAgain(path, text, temporary) {
	for (const at of [temporary, path]) {
		let isMade = false;
		try {
			const file = openSync(at, "wx");
			isMade = true;
			try {
				writeSync(file, text);
			} finally {
				closeSync(file);
			}
			if (at === path) return true;
			linkSync(temporary, path);
			return true;
		} catch (error) {
			if (error.code === "EEXIST") return false;
			if (isMade && at === path) unlinkSync(path);
		} finally {
			if (isMade && at === temporary) unlinkSync(temporary);
		}
	}
	return true;
}
function unlinkOwn(path, token) {
	try {
		if (parseLock(readFileSync(path, "utf8"))?.token === token) unlinkSync(path);
	} catch {}
}
function counter(count) {
	return String(count).padStart(COUNTER_DIGITS, "0");
}
let count = 0;
function beatAll(locks) {
	count++;
	for (const lock of locks) {
		const { path, token, seen, state } = lock;
		if (Atomics.load(state, 0) !== 0) continue;
		try {
			const holder = beat(path, token, count);
			if (holder === token) seen[0] = Date.now();
			else if (holder !== void 0) Atomics.compareExchange(state, 0, 0, 1);
		} catch (error) {
			const { code } = error;
			if (code === "ENOENT" || code === "ENOTDIR") makeAgain(lock);
		}
	}
}
function makeAgain({ path, token, text, temporary, trace, staleMs, seen, state }) {
	if (Date.now() - seen[0] > staleMs || Atomics.load(state, 0) !== 0 || existsSync(trace)) return;
	if (writeAgain(path, text, temporary)) seen[0] = Date.now();
	if (Atomics.load(state, 0) === 2) unlinkOwn(path, token);
}
// src/ownership/heartbeat.ts
const beating = new Map();
let worker;
let timer;
function startBeating(lock, beatMs) {
	beating.set(lock.token, lock);
	worker?.postMessage({ add: lock });
	if (worker || timer) return;
	const without = () => {
		worker = void 0;
		if (beating.size > 0) timer ??= setInterval(() => beatAll(beating.values()), beatMs).unref();
	};
	try {
		const started = new Worker(heartbeat_worker_default, {
			eval: true,
			workerData: beatMs,
			execArgv: []
		});
		worker = started;
		started.unref();
		started.on("error", () => started === worker && without());
		started.postMessage({ add: lock });
	} catch {
		without();
	}
}
function silence() {
	for (const { state } of beating.values()) Atomics.store(state, 0, 2);
}
function stopBeating(token) {
	if (!beating.delete(token)) return;
	worker?.postMessage({ remove: token });
	if (beating.size > 0) return;
	worker?.terminate();
	worker = void 0;
	clearInterval(timer);
	timer = void 0;
}
// src/ownership/lock-storage.ts
async function createLock(path, owner) {
	const text = formatLock(owner);
	await mkdir(dirname(path), { recursive: true });
	const temporary = temporaryName(path);
	try {
		await writeNew(temporary, text);
		try {
			await link(temporary, path);
			return true;
		} catch (error) {
			const { code } = error;
			if (code === "EEXIST") return (await lookAtLock(path))?.owner?.token === owner.token;
			if (code === "ENOENT") throw error;
		}
	} finally {
		await rm(temporary, { force: true }).catch(() => void 0);
	}
	try {
		await writeNew(path, text);
		return true;
	} catch (error) {
		if (error.code === "EEXIST") return false;
		throw error;
	}
}
async function writeNew(path, text) {
	const file = await open(path, "wx");
	try {
		await file.writeFile(text);
	} catch (error) {
		await rm(path, { force: true }).catch(() => void 0);
		throw error;
	} finally {
		await file.close();
	}
}
async function lookAtLock(path) {
	try {
		const text = await readRegularFile(path, MAX_LOCK_BYTES).then(String, (error) => {
			if (error.code === "EACCES" || error.code === "EPERM") return "";
			throw error;
		});
		const { mtimeMs, ino } = await lstat(path);
		return {
			owner: parseLock(text),
			state: `${ino} ${mtimeMs} ${text}`
		};
	} catch (error) {
		const { code } = error;
		if (code !== "ENOENT") throw error;
		const target = await readlink(path).catch(() => void 0);
		if (target === void 0) return void 0;
		const link = await lstat(path).catch(() => void 0);
		return link && {
			owner: void 0,
			state: `${link.ino} ${link.mtimeMs} ${target}`
		};
	}
}
async function removeLock(path, token, leaveTrace = false) {
	const aside = leaveTrace && token ? takenName(path, token) : `${path}.${randomBytes(4).toString("hex")}.gone`;
	try {
		await rename(path, aside);
	} catch (error) {
		if (error.code === "ENOENT") return;
		throw error;
	}
	if ((await lookAtLock(aside))?.owner?.token !== token) await link(aside, path).catch(() => void 0);
	else if (leaveTrace && token) return;
	await rm(aside, { force: true });
}
function takenName(path, token) {
	return join(dirname(path), `${basename(path)}.taken-${token.slice(0, 36).replace(/[^\w-]/g, "")}`);
}
// src/ownership/owner-lock.ts
const HELD_LOCKS = Symbol.for("ministral-tune.heldLocks");
const lockTimes = {
	beatMs: 5e3,
	staleMs: 6e4,
	pollMs: 250
};
var HeldError = class extends Error {
	owner;
	constructor(path, owner) {
		super(`${path} is held by ${describeOwner(owner)}`);
		this.owner = owner;
	}
};
function describeOwner(owner) {
	if (!owner) return "a process that its lock file does not name";
	const here = ownIdentity();
	const isOwn = held.has(owner.token) || owner.pid === here.pid && lifeOf(owner) === "alive";
	const apart = owner.space !== here.space && owner.host === here.host ? " (in another container)" : "";
	return [
		`${owner.what ? `a ${oneLine(owner.what)}: ` : ""}${isOwn ? "this process" : `process ${owner.pid}`} on host "${oneLine(owner.host)}"${apart}`,
		...owner.since ? [`since ${oneLine(owner.since)}`] : [],
		...owner.program ? [`program ${oneLine(owner.program)}`] : []
	].join(", ");
}
const place = globalThis;
place[HELD_LOCKS] ??= new Map();
const held = place[HELD_LOCKS];
var OwnerLock = class OwnerLock {
	path;
	#owner;
	#seen = new Float64Array(new SharedArrayBuffer(8));
	#state = new Int32Array(new SharedArrayBuffer(4));
	#begins;
	#checking;
	#isReleased = false;
	constructor(path, owner, isBrief) {
		this.path = path;
		this.#owner = owner;
		this.#seen[0] = Date.now();
		remember(owner.token, path);
		const { beatMs, staleMs } = lockTimes;
		const beating = {
			path,
			token: owner.token,
			text: formatLock(owner),
			temporary: temporaryName(path),
			trace: takenName(path, owner.token),
			staleMs,
			seen: this.#seen,
			state: this.#state
		};
		const begin = () => startBeating(beating, beatMs);
		if (isBrief) this.#begins = setTimeout(begin, beatMs / 5).unref();
		else begin();
	}
	static async take(path, options) {
		const { what, whenHeld, onWait, leaveTrace, signal, pollMs = lockTimes.pollMs } = options;
		const watch = new Watch(pollMs);
		for (let waited = false;;) {
			signal?.throwIfAborted();
			const before = await lookAtLock(path);
			const made = before ? void 0 : await attempt(path, what);
			if (made) return new OwnerLock(path, made, whenHeld === "wait");
			const seen = before ?? await lookAtLock(path);
			if (seen) {
				const life = watch.judge(seen);
				if (life === "dead") {
					await takeAway(path, seen, leaveTrace === true && watch.wasWatched);
					continue;
				}
				if (life === "alive" && whenHeld === "refuse") throw new HeldError(path, seen.owner);
			}
			if (seen || whenHeld === "wait") {
				if (!waited) onWait?.(seen?.owner);
				waited = true;
			}
			await setTimeout$1(pollMs, void 0, signal && { signal }).catch(() => void 0);
		}
	}
	static async ownerOf(path) {
		const owner = (await lookAtLock(path).catch(() => void 0))?.owner;
		return owner && (held.has(owner.token) || lifeOf(owner) !== "dead") ? owner : void 0;
	}
	static async isDead(path) {
		const owner = (await lookAtLock(path).catch(() => void 0))?.owner;
		return owner !== void 0 && !held.has(owner.token) && lifeOf(owner) === "dead";
	}
	check() {
		this.#checking = this.#check();
		return this.#checking;
	}
	async #check() {
		const { token } = this.#owner;
		let seen = await lookAtLock(this.path);
		for (let look = 0; look < 3 && seen && !seen.owner; look++) {
			await setTimeout$1(lockTimes.pollMs);
			seen = await lookAtLock(this.path);
		}
		if (seen?.owner?.token === token) {
			this.#seen[0] = Date.now();
			return;
		}
		if (this.#isReleased) return void 0;
		if (seen?.owner) Atomics.compareExchange(this.#state, 0, 0, 1);
		if (seen) return `it was taken over by ${describeOwner(seen.owner)}`;
		if (Date.now() - this.#seen[0] > lockTimes.staleMs || Atomics.load(this.#state, 0) === 1 || await exists(takenName(this.path, token))) return "another process took it over, and has ended since";
		return await createLock(this.path, this.#owner) ? void 0 : this.#check();
	}
	async release() {
		const { token } = this.#owner;
		this.#isReleased = true;
		Atomics.store(this.#state, 0, 2);
		await this.#checking?.catch(() => void 0);
		clearTimeout(this.#begins);
		stopBeating(token);
		try {
			if ((await lookAtLock(this.path))?.owner?.token === token) await removeLock(this.path, token);
			else await rm(takenName(this.path, token), { force: true });
		} catch {}
		forget(token);
	}
};
var Watch = class {
	wasWatched = false;
	#state;
	#token;
	#last = 0;
	#unchangedMs = 0;
	#pollMs;
	constructor(pollMs) {
		this.#pollMs = pollMs;
	}
	judge({ owner, state }) {
		this.wasWatched = false;
		if (owner && held.has(owner.token)) return "alive";
		const life = owner ? lifeOf(owner) : "unknown";
		const isUnsure = life === "alive" && (owner?.pid === ownIdentity().pid || owner?.thread !== void 0);
		if (life !== "unknown" && !isUnsure) return life;
		const now = performance.now();
		const isSame = state === this.#state;
		const isSign = !isSame && this.#state !== void 0 && owner?.token === this.#token;
		this.#unchangedMs = isSame ? this.#unchangedMs + Math.min(now - this.#last, 4 * this.#pollMs) : 0;
		this.#last = now;
		this.#state = state;
		this.#token = owner?.token;
		if (isSign) return "alive";
		if (this.#unchangedMs < lockTimes.staleMs) return "unknown";
		this.wasWatched = true;
		return "dead";
	}
};
function newOwner(what) {
	const program = process.argv[1];
	return {
		token: randomUUID(),
		...ownIdentity(),
		...threadId !== 0 && { thread: threadId },
		what,
		since: new Date().toISOString(),
		...program ? { program: basename(program) } : {}
	};
}
async function attempt(path, what) {
	const owner = newOwner(what);
	remember(owner.token, path);
	let isMade = false;
	try {
		isMade = await createLock(path, owner);
	} finally {
		if (!isMade) forget(owner.token);
	}
	return isMade ? owner : void 0;
}
async function takeAway(path, seen, leaveTrace) {
	const breaking = `${path}.breaking`;
	const owner = newOwner("removal of a lock");
	remember(owner.token, breaking);
	try {
		if (!await createLock(breaking, owner)) return await removeOldBreaking(breaking);
		try {
			if ((await lookAtLock(path))?.state === seen.state) await removeLock(path, seen.owner?.token, leaveTrace);
		} finally {
			await removeLock(breaking, owner.token).catch(() => void 0);
		}
	} finally {
		forget(owner.token);
	}
}
async function removeOldBreaking(breaking) {
	const watch = new Watch(lockTimes.pollMs);
	for (let seen = await lookAtLock(breaking); seen; seen = await lookAtLock(breaking)) {
		const life = watch.judge(seen);
		if (life === "alive") return void await setTimeout$1(lockTimes.pollMs / 5);
		if (life === "dead") return removeLock(breaking, seen.owner?.token);
		await setTimeout$1(lockTimes.pollMs);
	}
}
function remember(token, path) {
	if (held.size === 0) process.on("exit", releaseAll);
	held.set(token, path);
}
function forget(token) {
	held.delete(token);
	if (held.size === 0) process.off("exit", releaseAll);
}
function releaseAll() {
	silence();
	for (const [token, path] of held) unlinkOwn(path, token);
}
export { lockTimes as i, OwnerLock as n, describeOwner as r, HeldError as t };
