import { n as openRegularFile } from "./regular-file-BhWpSxEj.js";
import { o as ImageFile, t as EmbeddedImage } from "./image-cells-BdLZPrXr.js";
import { createHash } from "node:crypto";
// src/data/image-digest.ts
const WHOLE_BYTES = 1073741824;
const PIECES = 3;
const PIECE_BYTES = 16384;
const READ_BYTES = 262144;
function imageSource(input) {
	if (typeof input === "string") return {
		kind: "file",
		path: input
	};
	if (input instanceof Uint8Array) return {
		kind: "bytes",
		bytes: input
	};
	if (input instanceof ImageFile) return {
		kind: "file",
		path: input.path,
		bitDepth: input.content.bitDepth
	};
	if (input instanceof EmbeddedImage) return {
		kind: "bytes",
		bytes: input.content.bytes
	};
	if (typeof input !== "object" || input === null) return { kind: "none" };
	const { decode, path, data } = input;
	if (typeof decode === "function") {
		const handle = input;
		return {
			kind: "handle",
			path: String(path),
			decode: () => handle.decode()
		};
	}
	return data instanceof Uint8Array ? {
		kind: "pixels",
		image: input
	} : { kind: "none" };
}
var ImageDigester = class {
	#left;
	constructor(wholeBytes = WHOLE_BYTES) {
		this.#left = wholeBytes;
	}
	ofBytes(bytes, name = "") {
		const hash = createHash("sha256").update(`${name} ${bytes.length}`);
		for (const [from, to] of this.ranges(bytes.length)) hash.update(bytes.subarray(from, to));
		return hash.digest("base64");
	}
	ofPixels({ width, height, data }) {
		return this.ofBytes(data, `${width} ${height}`);
	}
	ranges(size) {
		if (size <= this.#left) {
			this.#left -= size;
			return size === 0 ? [] : [[0, size]];
		}
		if (size <= PIECES * PIECE_BYTES) return [[0, size]];
		return Array.from({ length: PIECES }, (_, i) => {
			const from = Math.floor(i * (size - PIECE_BYTES) / 2);
			return [from, from + PIECE_BYTES];
		});
	}
};
async function openToDigest(path) {
	try {
		return await openRegularFile(path);
	} catch (error) {
		return `unreadable ${error.code ?? ""}`;
	}
}
async function digestFile({ file, size }, ranges, bitDepth) {
	const hash = createHash("sha256").update(` ${size}`);
	try {
		for (const [from, to] of ranges) await hashRange(hash, file, from, to);
	} catch (error) {
		return `unreadable ${error.code ?? ""}`;
	} finally {
		await file.close();
	}
	if (bitDepth !== void 0 && bitDepth !== 16) hash.update(` bitDepth ${bitDepth}`);
	return hash.digest("base64");
}
async function hashRange(hash, file, from, to) {
	const scratch = Buffer.allocUnsafe(Math.min(READ_BYTES, to - from));
	for (let at = from; at < to;) {
		const { bytesRead } = await file.read(scratch, 0, Math.min(scratch.length, to - at), at);
		if (bytesRead === 0) return;
		hash.update(scratch.subarray(0, bytesRead));
		at += bytesRead;
	}
}
export { openToDigest as i, digestFile as n, imageSource as r, ImageDigester as t };
