import { o as requirePath } from "./config-BAD1VLMT.js";
import { r as writing } from "./disk-errors-BOmEIM_5.js";
import { basename, dirname, join, resolve } from "node:path";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname, uptime } from "node:os";
import { createHash, randomBytes } from "node:crypto";
// src/files/process-identity.ts
const BOOT_TOLERANCE_SECONDS = 60;
let own;
function ownIdentity() {
	own ??= {
		host: hostname(),
		pid: process.pid,
		...process.platform === "linux" ? linuxSpace() : otherSpace()
	};
	return own;
}
function spaceMark({ space }) {
	return createHash("sha256").update(space ?? "").digest("hex").slice(0, 8);
}
function lifeOf(process) {
	const here = ownIdentity();
	if (process.space === void 0 || process.space !== here.space) return "unknown";
	if (here.bootTime !== void 0) {
		if (!(Math.abs((process.bootTime ?? 0) - here.bootTime) < BOOT_TOLERANCE_SECONDS)) return "unknown";
	}
	return lifeOfPid(process.pid, process.started);
}
function lifeOfPid(pid, started) {
	const found = process.platform === "linux" ? linuxProcess(pid) : void 0;
	if (found) {
		if (found.state === "Z" || found.state === "X") return "dead";
		if (started === void 0) return "unknown";
		return found.started === started ? "alive" : "dead";
	}
	try {
		process.kill(pid, 0);
	} catch (error) {
		if (error.code === "ESRCH") return "dead";
	}
	return "unknown";
}
function linuxSpace() {
	try {
		const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
		const pids = readlinkSync("/proc/self/ns/pid");
		let times = "";
		try {
			times = readlinkSync("/proc/self/ns/time");
		} catch {}
		return {
			space: `${boot}/${pids}/${times}`,
			started: linuxProcess(process.pid)?.started
		};
	} catch {
		return {};
	}
}
function otherSpace() {
	return {
		space: `${process.platform}/${hostname()}`,
		bootTime: Math.round(Date.now() / 1e3 - uptime())
	};
}
function linuxProcess(pid) {
	try {
		if (Number.parseInt(readFileSync("/proc/self/stat", "utf8"), 10) !== process.pid) return void 0;
		const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
		const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
		const started = Number(fields[19]);
		return Number.isInteger(started) ? {
			state: fields[0],
			started
		} : void 0;
	} catch {
		return;
	}
}
// src/files/atomic-file.ts
async function writeFileAtomically(path, content, { flush = true } = {}) {
	const folder = dirname(path);
	await makeFolder(folder);
	await sweepOnce(folder);
	const temporary = temporaryName(path);
	try {
		const file = await open(temporary, "wx");
		try {
			if (typeof content === "function") await content(file);
			else await file.writeFile(content);
			if (flush) await file.sync();
		} finally {
			await file.close();
		}
		await rename(temporary, path);
		if (flush) await flushFolder(folder);
	} catch (error) {
		await rm(temporary, { force: true }).catch(() => void 0);
		throw error;
	}
}
const TEMPORARY = /^\..+\.(\d+)-([0-9a-z]+)-([0-9a-f]{8})-[0-9a-f]{8}\.tmp$/;
const DAY_MS = 864e5;
function isTemporary(name) {
	return TEMPORARY.test(name);
}
function temporaryName(path) {
	const own = ownIdentity();
	const mark = `${own.pid}-${own.started?.toString(36) ?? "x"}-${spaceMark(own)}-${randomBytes(4).toString("hex")}`;
	return join(dirname(path), `.${basename(path)}.${mark}.tmp`);
}
async function sweepTemporaries(folder) {
	const own = ownIdentity();
	for (const name of await readdir(folder).catch(() => [])) {
		const [, pid, start, space] = TEMPORARY.exec(name) ?? [];
		if (pid === void 0 || own.space === void 0 || space !== spaceMark(own)) continue;
		const started = start === "x" ? void 0 : Number.parseInt(start, 36);
		if (lifeOfPid(Number(pid), started) !== "dead") continue;
		const path = join(folder, name);
		if ((started === void 0 ? Date.now() - ((await stat(path).catch(() => void 0))?.mtimeMs ?? 0) : DAY_MS) >= DAY_MS) await rm(path, { force: true }).catch(() => void 0);
	}
}
async function sweepTemporariesOf(folder, names) {
	for (const found of await readdir(folder).catch(() => [])) if (TEMPORARY.test(found) && names.some((name) => found.replace(/^\.+/, "").startsWith(`${name}.`))) await rm(join(folder, found), { force: true }).catch(() => void 0);
}
async function replaceTogether(folder, files, mayReplace) {
	const staged = new Map([...files.keys()].map((name) => [name, temporaryName(join(folder, name))]));
	try {
		for (const [name, write] of files) await write(staged.get(name));
		const last = [...files.keys()].at(-1);
		await mayReplace?.();
		await rm(join(folder, last), { force: true });
		await flushFolder(folder);
		for (const [name, path] of staged) await rename(path, join(folder, name));
		await flushFolder(folder);
	} finally {
		for (const path of staged.values()) await rm(path, { force: true }).catch(() => void 0);
	}
}
const swept = new Set();
const MAX_SWEPT = 1e3;
async function sweepOnce(folder) {
	const path = resolve(folder);
	if (swept.has(path)) return;
	if (swept.size >= MAX_SWEPT) swept.clear();
	swept.add(path);
	await sweepTemporaries(path);
}
async function writeNamedFile(path, content, what) {
	requirePath(path, what);
	await writing(path, () => writeFileAtomically(path, content));
}
async function makeFolder(path) {
	const first = await mkdir(path, { recursive: true });
	if (first === void 0) return;
	for (let at = resolve(path);; at = dirname(at)) {
		await flushFolder(dirname(at));
		if (at === resolve(first) || at === dirname(at)) return;
	}
}
async function flushFile(path) {
	const file = await open(path, process.platform === "win32" ? "r+" : "r");
	try {
		await file.sync();
	} finally {
		await file.close();
	}
}
async function flushFolder(path) {
	let folder;
	try {
		folder = await open(path, "r");
	} catch (error) {
		if (process.platform === "win32") return;
		throw error;
	}
	try {
		await folder.sync();
	} catch (error) {
		if (![
			"EINVAL",
			"EPERM",
			"ENOTSUP",
			"EBADF"
		].includes(error.code ?? "")) throw error;
	} finally {
		await folder.close();
	}
}
async function flushTree(folder) {
	for (const entry of await readdir(folder, { withFileTypes: true })) {
		const path = join(folder, entry.name);
		if (entry.isDirectory()) await flushTree(path);
		else if (entry.isFile()) await flushFile(path);
	}
	await flushFolder(folder);
}
export { makeFolder as a, sweepTemporaries as c, writeFileAtomically as d, writeNamedFile as f, isTemporary as i, sweepTemporariesOf as l, ownIdentity as m, flushFolder as n, replaceTogether as o, lifeOf as p, flushTree as r, sweepOnce as s, flushFile as t, temporaryName as u };
