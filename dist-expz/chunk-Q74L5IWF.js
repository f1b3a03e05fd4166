import {
  nameSample,
  requireSample
} from "./chunk-QIYEZVUS.js";
import {
  orAborted
} from "./chunk-IKDNPGDK.js";
import {
  checkNames,
  int,
  parseOptions,
  requireKind,
  requireList,
  requireSignal,
  strictObject
} from "./chunk-NY3EPE2R.js";
import {
  DataError
} from "./chunk-VP2QJLUM.js";

// src/data/data-loader.ts
import { setMaxListeners } from "node:events";
var dataLoaderOptionsSchema = strictObject({
  /** Batches prepared ahead of the one in use. 0 prepares each when it is asked for. Default 2. */
  prefetch: int().nonnegative().default(2)
});
var LOADER_OPTIONS = { dataset: true, collator: true, prefetch: false };
var DataLoader = class {
  /** With the defaults filled in; without data set and collator. */
  options;
  #dataset;
  #collator;
  #waitSeconds = 0;
  /** @throws ConfigError listing every wrong option */
  constructor(options) {
    checkNames(options, LOADER_OPTIONS, "DataLoader");
    const { dataset, collator, ...plain } = options;
    requireKind("dataset", dataset, "DataLoader: `dataset`");
    requireKind("collator", collator, "DataLoader: `collator`");
    this.options = parseOptions(dataLoaderOptionsSchema, plain, "DataLoader options");
    this.#dataset = dataset;
    this.#collator = collator;
  }
  /** Seconds that consumers have spent waiting for data so far, over all epochs. */
  get waitSeconds() {
    return this.#waitSeconds;
  }
  /**
   * The batches of one epoch, in order. An error is thrown where its batch would have come, after all earlier ones.
   * Leaving the loop early, or aborting, stops the preparation of the others.
   * @param order indices into the data set, one list for each (micro-)batch: an array, or lists that are made as they are
   *   asked for
   * @throws DataError, TextError or ImageError naming the sample; `signal.reason` when aborted
   */
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
      for (; ; ) {
        while (!isLast && pending.length <= this.options.prefetch) {
          const next = lists.next();
          isLast = next.done === true;
          if (isLast) break;
          requireIndices(next.value, started++);
          const batch2 = this.#prepare(next.value, stop.signal);
          batch2.catch(() => {
          });
          pending.push(batch2);
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
    const examples = await Promise.all(
      indices.map(async (index) => {
        try {
          if (!Number.isInteger(index) || index < 0 || index >= this.#dataset.length) {
            throw new DataError(`there is no such index in a data set of ${this.#dataset.length} samples`);
          }
          const example = await this.#dataset.get(index);
          requireSample(example);
          return example.id === void 0 ? { ...example, id: `${index}` } : example;
        } catch (error) {
          throw nameSample(error, `${index}`);
        }
      })
    );
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

export {
  DataLoader
};
