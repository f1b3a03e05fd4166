import { dirname, join } from "node:path";
import { closeSync, constants, fstatSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { createHash, randomBytes } from "node:crypto";
// src/engine/cuda/cache-file.ts
const MAX_BYTES = 67108864;
const DIGEST_BYTES = 32;
function kernelCacheFolder(environment = process.env) {
	const base = environment.MINISTRAL_TUNE_CACHE ?? join(environment.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "ministral-tune");
	return join(base, "kernels");
}
function readCacheFile(path) {
	let file;
	try {
		file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
		const entry = fstatSync(file);
		const user = process.getuid?.();
		const isForeign = user !== void 0 && entry.uid !== user && entry.uid !== 0;
		if (!entry.isFile() || entry.size > MAX_BYTES || isForeign) return void 0;
		return readFileSync(file);
	} catch {
		return;
	} finally {
		if (file !== void 0) closeSync(file);
	}
}
function readCacheJson(path) {
	try {
		return JSON.parse((readCacheFile(path) ?? "").toString());
	} catch {
		return;
	}
}
function writeCacheFile(path, contents) {
	try {
		mkdirSync(dirname(path), { recursive: true });
		const temporary = `${path}.${randomBytes(4).toString("hex")}`;
		writeFileSync(temporary, contents);
		renameSync(temporary, path);
	} catch {}
}
function writeCheckedFile(path, code) {
	writeCacheFile(path, Buffer.concat([digestOf(code), code]));
}
function readCheckedFile(path) {
	const bytes = readCacheFile(path);
	if (!bytes || bytes.length <= DIGEST_BYTES) return void 0;
	const code = Uint8Array.from(bytes.subarray(DIGEST_BYTES));
	return digestOf(code).equals(bytes.subarray(0, DIGEST_BYTES)) ? code : void 0;
}
function digestOf(code) {
	return createHash("sha256").update(code).digest();
}
export { writeCheckedFile as a, writeCacheFile as i, readCacheJson as n, readCheckedFile as r, kernelCacheFolder as t };
