/** Batches in a given order, prepared a few ahead while the model works. */
import { setMaxListeners } from 'node:events';
import { z } from 'zod';
import { orAborted } from '../async/or-aborted.js';
import { checkNames, lazySchema, type Mismatch, type NoMismatch, parseOptions, type WithDefaults } from '../config.js';
import { DataError } from '../errors.js';
import { requireKind, requireList, requireOneObject, requireSignal } from '../require-given.js';
import { requireSample } from './check-message.js';
import { nameSample } from './sample-error.js';
import type { SampleInspection } from './sample-inspection.js';
import type { Dataset, SftExample, TrainingExample, VlmBatch } from './types.js';
/** Options of a {@link DataLoader} that are values. */
export interface DataLoaderSettings {
  /** Batches prepared ahead of the one in use. 0 prepares each when it is asked for. Default: 2. */
  prefetch?: number | undefined;
}

/** Checks {@link DataLoaderSettings}. */
const dataLoaderOptionsSchema = lazySchema(() =>
  z.strictObject({
    prefetch: z.int().nonnegative().default(2),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof dataLoaderOptionsSchema>>, DataLoaderSettings>>;

/** What the loader needs of a collator; `VlmCollator` is one. */
export interface Collator {
  /**
   * The batch of these samples, in their order. Called for later batches before earlier ones are done. They are those of
   * the data set: a collator for other rows than conversations declares `readonly TrainingExample[]`.
   */
  collate(examples: readonly SftExample[], options?: { readonly signal?: AbortSignal }): Promise<VlmBatch>;
  /** Whether anything of a sample would be labelled. A trainer asks before it starts, so it must be quick. */
  hasLabels?(example: SftExample): boolean;
  /** More than `hasLabels`, which is then not asked: what a run should report before its first step. As quick. */
  inspect?(example: SftExample): SampleInspection;
  /** What decides its batches, as JSON: a resume refuses other values. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  /** What its tokenizer makes of texts, as a digest: a resume refuses another, where both are known. */
  readonly tokenizerDigest?: string | undefined;
}

/** The options of a loader and what it works with. */
export interface DataLoaderOptions extends DataLoaderSettings {
  /** Where samples come from; one without an `id` gets its index as such. Required. */
  readonly dataset: Dataset<TrainingExample>;
  /** Makes each batch of its samples. Required. */
  readonly collator: Collator;
}

const LOADER_OPTIONS = { dataset: true, collator: true, prefetch: false } as const;

/**
 * Yields one batch for each list of indices. Nothing is read before the first batch is asked for, and at most
 * `prefetch` batches are held or in preparation beyond the one in use.
 */
export class DataLoader {
  /** With the defaults filled in; without data set and collator. */
  readonly options: WithDefaults<DataLoaderSettings>;
  readonly #dataset: Dataset<TrainingExample>;
  readonly #collator: Collator;
  #waitSeconds = 0;

  /** @throws ConfigError listing every wrong option */
  constructor(options: DataLoaderOptions) {
    // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
    requireOneObject(arguments.length, 'DataLoader', 'new DataLoader({ dataset, collator })');
    checkNames(options, LOADER_OPTIONS, 'DataLoader');
    const { dataset, collator, ...plain } = options;
    requireKind('dataset', dataset, 'DataLoader: `dataset`');
    requireKind('collator', collator, 'DataLoader: `collator`');
    this.options = parseOptions(dataLoaderOptionsSchema, plain, 'DataLoader options');
    this.#dataset = dataset;
    this.#collator = collator;
  }

  /** Seconds that consumers have spent waiting for data so far, over all epochs. */
  get waitSeconds(): number {
    return this.#waitSeconds;
  }

  /**
   * The batches of one epoch, in order. An error is thrown where its batch would have come, after all earlier ones.
   * Leaving the loop early, or aborting, stops the preparation of the others.
   * @param order indices into the data set, one list for each (micro-)batch: an array, or lists that are made as they are
   *   asked for
   * @throws DataError, TextError or ImageError naming the sample; `signal.reason` when aborted
   */
  batches(
    order: Iterable<readonly number[]>,
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<VlmBatch, void, undefined> {
    const what = 'DataLoader.batches';
    if (!isLazy(order)) {
      requireList(order, `${what}: \`order\``, 'batches', 'Write [[0, 1], [2, 3]]: the indices of each batch.');
      for (const [i, indices] of (order as unknown[]).entries()) requireIndices(indices, i);
    }
    checkNames(options, { signal: false }, what);
    requireSignal(options.signal, what);
    return this.#batches(order, options.signal);
  }

  async *#batches(
    order: Iterable<readonly number[]>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<VlmBatch, void, undefined> {
    signal?.throwIfAborted();
    const stop = new AbortController();
    // Every image on its way listens to it: many listeners are no leak here.
    setMaxListeners(0, stop.signal);
    const pending: Promise<VlmBatch>[] = [];
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
          // It is awaited later, perhaps never: a failure must not count as unhandled meanwhile.
          batch.catch(() => {});
          pending.push(batch);
        }
        if (pending.length === 0) return;
        const asked = performance.now();
        let batch: VlmBatch;
        try {
          batch = await orAborted(pending.shift()!, signal);
        } finally {
          this.#waitSeconds += (performance.now() - asked) / 1000;
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

  async #prepare(indices: readonly number[], signal: AbortSignal): Promise<VlmBatch> {
    const examples = await Promise.all(
      indices.map(async (index) => {
        try {
          if (!Number.isInteger(index) || index < 0 || index >= this.#dataset.length) {
            throw new DataError(`there is no such index in a data set of ${this.#dataset.length} samples`);
          }
          const example = await this.#dataset.get(index);
          requireSample(example);
          return example.id === undefined ? { ...example, id: `${index}` } : example;
        } catch (error) {
          throw nameSample(error, `${index}`);
        }
      }),
    );
    signal.throwIfAborted();
    return this.#collator.collate(examples as SftExample[], { signal });
  }
}

/** Lists that are made as they are asked for. A string or a typed array is none, though it can be iterated. */
function isLazy(order: unknown): boolean {
  if (typeof order !== 'object' || order === null || Array.isArray(order) || ArrayBuffer.isView(order)) return false;
  return typeof (order as Partial<Iterable<unknown>>)[Symbol.iterator] === 'function';
}

/** @throws ConfigError for what is no list of indices */
function requireIndices(indices: unknown, i: number): void {
  if (Array.isArray(indices)) return;
  requireList(indices, `DataLoader.batches: \`order[${i}]\``, 'indices', 'Write [[0, 1], [2, 3]].');
}
