import { t as onAbort } from "./on-abort-CCSG5d53.js";
import { n as openRegularFile } from "./regular-file-BhWpSxEj.js";
import { o as ImageFile, s as decodeImage, t as EmbeddedImage, u as openImage } from "./image-cells-BdLZPrXr.js";
// src/data/decode-budget.ts
const LIMIT_BYTES = 1073741824;
const UNKNOWN_BYTES = 67108864;
var DecodeBudget = class {
	limit;
	#used = 0;
	#waiting = [];
	constructor(limit = LIMIT_BYTES) {
		this.limit = limit;
	}
	get used() {
		return this.#used;
	}
	acquire(bytes, signal) {
		if (signal?.aborted) return Promise.reject(signal.reason);
		if (this.#waiting.length === 0 && this.#fits(bytes)) return Promise.resolve(this.#lease(bytes));
		return new Promise((resolve, reject) => {
			const forget = onAbort(signal, () => {
				this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
				reject(signal.reason);
				this.#next();
			});
			const waiter = {
				bytes,
				grant: () => {
					forget();
					resolve(this.#lease(bytes));
				}
			};
			this.#waiting.push(waiter);
		});
	}
	#fits(bytes, others = this.#used) {
		return others === 0 || others + bytes <= this.limit;
	}
	#lease(bytes) {
		let held = bytes;
		this.#used += bytes;
		const resize = (to) => {
			this.#used += to - held;
			const isLess = to < held;
			held = to;
			if (isLess) this.#next();
		};
		return {
			tryResize: (to) => {
				if (to > held && !this.#fits(to, this.#used - held)) return false;
				resize(to);
				return true;
			},
			resize,
			release: () => resize(0)
		};
	}
	#next() {
		while (this.#waiting.length > 0 && this.#fits(this.#waiting[0].bytes)) this.#waiting.shift().grant();
	}
};
const processBudget = new DecodeBudget();
async function decodeWithin(input, signal, budget = processBudget) {
	const isFile = typeof input === "string" || input instanceof ImageFile;
	const fileBytes = isFile ? await sizeOfFile(typeof input === "string" ? input : input.path) : 0;
	const hasHeader = isFile || input instanceof Uint8Array || input instanceof EmbeddedImage;
	let lease = await budget.acquire(hasHeader ? fileBytes : bytesOf(input), signal);
	try {
		let opened = await opener(input);
		if (opened) {
			const bytes = fileBytes + opened.bytes;
			if (!lease.tryResize(bytes)) {
				opened = void 0;
				lease.release();
				lease = await budget.acquire(bytes, signal);
				opened = await opener(input);
			}
			signal?.throwIfAborted();
		}
		const image = opened ? await opened.decode() : await decodeImage(input);
		if (!opened) lease.resize(bytesOf(image));
		const { release } = lease;
		return {
			image,
			release
		};
	} catch (error) {
		lease.release();
		throw error;
	}
}
async function opener(input) {
	if (input instanceof ImageFile || input instanceof EmbeddedImage) return input.open();
	return typeof input === "string" || input instanceof Uint8Array ? openImage(input) : void 0;
}
function bytesOf(image) {
	return typeof image === "object" && "data" in image && image.data instanceof Uint8Array ? 2 * image.data.length : UNKNOWN_BYTES;
}
async function sizeOfFile(path) {
	try {
		const { file, size } = await openRegularFile(path);
		await file.close();
		return size;
	} catch {
		return 0;
	}
}
export { decodeWithin as t };
