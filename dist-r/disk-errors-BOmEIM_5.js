import { i as DiskError } from "./errors-D4G-NQir.js";
import { dirname } from "node:path";
import { statfs } from "node:fs/promises";
// src/files/disk-errors.ts
async function requireSpace(path, bytes) {
	const free = await freeBytes(path);
	if (free !== void 0 && free < bytes) throw noSpaceError(path, {
		needed: bytes,
		free
	});
}
const REASONS = {
	EISDIR: "a folder is in its place",
	ENOTDIR: "a file is in the place of its folder",
	EEXIST: "another file is in its place",
	EACCES: "this user may not write there",
	EPERM: "this user may not write there",
	EROFS: "the disk is read-only",
	ENAMETOOLONG: "its name is too long"
};
function writeError(cause, path) {
	const { code, syscall, message } = cause;
	if (code === void 0 || syscall === void 0) return cause;
	if (code === "ENOSPC" || code === "EDQUOT") return noSpaceError(path, {}, cause);
	return new DiskError(`${path}: cannot be written: ${REASONS[code] ?? message}`, {
		hint: "The folder must exist or be possible to make, and be writable.",
		details: {
			path,
			cause: code
		},
		cause
	});
}
async function writing(path, work) {
	try {
		return await work();
	} catch (cause) {
		throw writeError(cause, path);
	}
}
function noSpaceError(path, sizes, cause) {
	const counts = sizes.needed === void 0 ? "" : `: ${sizes.needed} bytes are needed, ${sizes.free} are free`;
	return new DiskError(`${path}: no space left on the disk${counts}`, {
		hint: "Make room, or choose a folder on another disk. Downloads go on from the bytes received so far.",
		details: {
			path,
			cause: "ENOSPC",
			...sizes
		},
		cause
	});
}
async function freeBytes(path) {
	try {
		const { bavail, bsize } = await statfs(dirname(path));
		return bavail * bsize;
	} catch {
		return;
	}
}
export { writeError as n, writing as r, requireSpace as t };
