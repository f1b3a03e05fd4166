/** Images processed off the main thread: decoded on libuv's threads, resized and normalised in worker threads. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { onAbort } from '../async/on-abort.js';
import { WorkerThreads } from '../async/worker-threads.js';
import { checkNames, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { DataError, ImageError, reasonOf } from '../errors.js';
import program from '../generated/image-worker.js';
import { oneLine } from '../messages/one-line.js';
import { requireKind, requireSignal } from '../require-given.js';
import { decodeWithin } from './decode-budget.js';
import { imageName, requireImage } from './decode-image.js';
import type { ImageProcessor } from './image-processor.js';
import type { ProcessedImage } from './process-pixels.js';
import type { ImageInput, RgbImage } from './types.js';
/** Options of {@link ImagePool}. */
export interface ImagePoolOptions {
  /** Worker threads, 1 to 64. Default: one for each core, at most 4. */
  workers?: number | undefined;
}

/** Checks {@link ImagePoolOptions}. */
const imagePoolSchema = lazySchema(() =>
  z.strictObject({
    workers: z.number().int().min(1).max(64).optional(),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof imagePoolSchema>>, ImagePoolOptions>>;

interface Job {
  readonly input: ImageInput;
  readonly name: string;
  image?: RgbImage;
  release?: () => void;
  readonly stop: AbortController;
  settled: boolean;
  readonly resolve: (result: ProcessedImage) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * An `ImageProcessor` on several threads, with the same results. Workers start with the first images, an idle pool
 * does not keep the process alive, and at most two images a worker are held decoded, and of large ones fewer: what
 * all pools of the process hold decoded is bounded. The others wait as they were given, in order.
 * @example
 * ```ts
 * await using pool = new ImagePool(imageProcessor);
 * const { image } = await test.get(0);
 * const { pixelValues } = await pool.process(image);
 * ```
 */
export class ImagePool {
  /** Whose settings the workers compute with. */
  readonly processor: ImageProcessor;
  /** Worker threads at most. */
  readonly workers: number;
  #waiting: Job[] = [];
  #decoded: Job[] = [];
  /** Begun and not yet out of the pool: their pixels may be in memory. */
  readonly #begun = new Set<Job>();
  readonly #threads: WorkerThreads<RgbImage, ProcessedImage>;
  #closed = false;

  /** @throws ConfigError */
  constructor(processor: ImageProcessor, options: ImagePoolOptions = {}) {
    requireKind('imageProcessor', processor, 'ImagePool');
    this.processor = processor;
    this.workers =
      parseOptions(imagePoolSchema, options, 'ImagePool').workers ?? Math.min(4, Math.max(1, availableParallelism()));
    this.#threads = new WorkerThreads(program, this.workers, processor.settings);
  }

  /**
   * As `ImageProcessor.process`. Aborting rejects at once with the signal's reason; an image that is already with a
   * worker is finished there and dropped.
   * @throws ImageError naming the image, DataError if the pool is closed
   */
  process(input: ImageInput, options: { readonly signal?: AbortSignal } = {}): Promise<ProcessedImage> {
    try {
      checkNames(options, { signal: false }, 'ImagePool.process');
      requireSignal(options.signal, 'ImagePool.process');
      requireImage(input, 'ImagePool.process');
    } catch (error) {
      return Promise.reject(error);
    }
    const { signal } = options;
    if (this.#closed) return Promise.reject(closedError());
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const abort = () => {
        job.reject(signal?.reason);
        job.stop.abort();
        this.#waiting = this.#waiting.filter((other) => other !== job);
        if (this.#decoded.includes(job)) {
          this.#decoded = this.#decoded.filter((other) => other !== job);
          this.#leave(job);
        }
      };
      const settle = <T>(answer: (value: T) => void) => {
        return (value: T) => {
          if (job.settled) return;
          job.settled = true;
          forget();
          answer(value);
        };
      };
      const job: Job = {
        input,
        name: imageName(input),
        settled: false,
        stop: new AbortController(),
        resolve: settle(resolve),
        reject: settle(reject),
      };
      const forget = onAbort(signal, abort);
      this.#waiting.push(job);
      this.#begin();
    });
  }

  /** Ends the workers. What has not been answered is rejected with a DataError. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const job of [...this.#waiting, ...this.#begun]) {
      job.reject(closedError());
      job.stop.abort();
    }
    this.#waiting = [];
    for (const job of this.#decoded) job.release?.();
    this.#decoded = [];
    this.#begun.clear();
    await this.#threads.close(closedError());
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #begin(): void {
    while (this.#begun.size < 2 * this.workers && this.#waiting.length > 0) {
      const job = this.#waiting.shift()!;
      this.#begun.add(job);
      void this.#decode(job);
    }
  }

  async #decode(job: Job): Promise<void> {
    try {
      const { image, release } = await decodeWithin(job.input, job.stop.signal);
      job.release = release;
      this.processor.resizedSize(image.width, image.height, job.name);
      // Moved to the worker, so a copy: the pixels may be the caller's own, and sharp's memory cannot be moved.
      if (!job.settled) job.image = { width: image.width, height: image.height, data: image.data.slice() };
    } catch (error) {
      job.reject(error);
    }
    if (job.settled) return this.#leave(job);
    this.#decoded.push(job);
    this.#dispatch();
  }

  #dispatch(): void {
    while (this.#decoded.length > 0 && !this.#closed && this.#threads.hasIdle) {
      const job = this.#decoded.shift()!;
      const image = job.image!;
      delete job.image;
      void this.#threads
        // Its memory is taken until the worker has answered; a process does not wait for one that hangs.
        .run(image, [image.data.buffer as ArrayBuffer], job.stop.signal, 'wait')
        .then(job.resolve, (error: unknown) => job.reject(workerError(job, error)))
        .then(() => {
          this.#leave(job);
          this.#dispatch();
        });
    }
  }

  #leave(job: Job): void {
    delete job.image;
    job.release?.();
    this.#begun.delete(job);
    if (!this.#closed) this.#begin();
  }
}

function closedError(): DataError {
  return new DataError('the image pool is closed', { hint: 'Await the images before the pool is closed.' });
}

function workerError(job: Job, cause: unknown): ImageError {
  return new ImageError(`${oneLine(job.name)}: processing the image failed: ${reasonOf(cause)}`, {
    details: { path: job.name },
    cause,
  });
}
