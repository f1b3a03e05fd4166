import { o as int, p as strictObject } from "./zod-CVDjCv3S.js";
import { n as orAborted } from "./or-aborted-C0Ixy3mg.js";
import { a as parseOptions, d as requireKind, f as requireList, m as requireSignal, n as checkNames } from "./config-BAD1VLMT.js";
import { r as DataError } from "./errors-D4G-NQir.js";
import { i as nameSample, p as requireSample } from "./image-processor-DWu-OBnR.js";
import { setMaxListeners } from "node:events";
// src/data/data-loader.ts
const dataLoaderOptionsSchema = strictObject({ prefetch: int().nonnegative().default(2) });
const LOADER_OPTIONS = {
	dataset: true,
	collator: true,
	prefetch: false
};
var DataLoader = class {
	options;
	#dataset;
	#collator;
	#waitSeconds = 0;
	constructor(options) {
		checkNames(options, LOADER_OPTIONS, "DataLoader");
		const { dataset, collator, ...plain } = options;
		requireKind("dataset", dataset, "DataLoader: `dataset`");
		requireKind("collator", collator, "DataLoader: `collator`");
		this.options = parseOptions(dataLoaderOptionsSchema, plain, "DataLoader options");
		this.#dataset = dataset;
		this.#collator = collator;
	}
	get waitSeconds() {
		return this.#waitSeconds;
	}
	batches(order, options = {}) {
		const what = "DataLoader.batches";
		if (!isLazy(order)) {
			requireList(order, `${what}: \`order\``, "batches", "Write [[0, 1], [2, 3]]: the indices of each batch.");
			for (const [i, indices] of order.entries()) requireIndices(indices, i);
		}
		checkNames(options, { signal: false }, what);
		requireSignal(options.signal, what);
		return this.#batches(order, options.signal);
	}
	async *#batches(order, signal) {
		signal?.throwIfAborted();
		const stop = new AbortController();
		setMaxListeners(0, stop.signal);
		const pending = [];
		const lists = order[Symbol.iterator]();
		let started = 0;
		let isLast = false;
		try {
			for (;;) {
				while (!isLast && pending.length <= this.options.prefetch) {
					const next = lists.next();
					isLast = next.done === true;
					if (isLast) break;
					requireIndices(next.value, started++);
					const batch = this.#prepare(next.value, stop.signal);
					batch.catch(() => {});
					pending.push(batch);
				}
				if (pending.length === 0) return;
				const asked = performance.now();
				let batch;
				try {
					batch = await orAborted(pending.shift(), signal);
				} finally {
					this.#waitSeconds += (performance.now() - asked) / 1e3;
				}
				signal?.throwIfAborted();
				yield batch;
				signal?.throwIfAborted();
			}
		} finally {
			stop.abort();
			lists.return?.();
		}
	}
	async #prepare(indices, signal) {
		const examples = await Promise.all(indices.map(async (index) => {
			try {
				if (!Number.isInteger(index) || index < 0 || index >= this.#dataset.length) throw new DataError(`there is no such index in a data set of ${this.#dataset.length} samples`);
				const example = await this.#dataset.get(index);
				requireSample(example);
				return example.id === void 0 ? {
					...example,
					id: `${index}`
				} : example;
			} catch (error) {
				throw nameSample(error, `${index}`);
			}
		}));
		signal.throwIfAborted();
		return this.#collator.collate(examples, { signal });
	}
};
function isLazy(order) {
	if (typeof order !== "object" || order === null || Array.isArray(order) || ArrayBuffer.isView(order)) return false;
	return typeof order[Symbol.iterator] === "function";
}
function requireIndices(indices, i) {
	if (Array.isArray(indices)) return;
	requireList(indices, `DataLoader.batches: \`order[${i}]\``, "indices", "Write [[0, 1], [2, 3]].");
}
export { DataLoader as t };
