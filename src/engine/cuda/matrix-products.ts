/**
 * Row-major matrix products through cuBLASLt. A product's shape decides its plan: layouts and an algorithm. Packed
 * batches have another number of rows at every step, so algorithms are chosen for a bucket of sizes: the first product
 * of a bucket times the library's candidates, the winner serves every size of the bucket and is kept on disk. A bucket
 * beside one that is known times only that winner against the library's first choices, or takes it over untimed where
 * the product is small.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../../errors.js';
import { kernelCacheFolder, writeCacheFile } from './compiler.js';
import type { Algorithm, CublasLt, ProductHandles, ProductType } from './cublas-lt.js';
import type { CudaDriver } from './driver.js';
import type { DeviceAllocator } from './memory.js';

/** D[m, n] = alpha · A·B + beta · D. Addresses are device pointers, strides (ld*) are of rows, in elements. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: number;
  readonly lda: number;
  /** A is stored [k, m]. */
  readonly transA?: boolean;
  readonly b: number;
  readonly ldb: number;
  /** B is stored [n, k]. */
  readonly transB?: boolean;
  readonly d: number;
  readonly ldd: number;
  /** Default bf16; A and B are bf16 always. */
  readonly type?: ProductType;
  /** Default 1. */
  readonly alpha?: number;
  /** Default 0. */
  readonly beta?: number;
}

interface Plan {
  readonly handles: ProductHandles;
  readonly algorithm: Algorithm;
}

export const WORKSPACE_BYTES = 64 << 20;
const CANDIDATES = 5;
/** Candidates that the winner of a neighbouring bucket is timed against. */
const CHALLENGERS = 2;
/** How many buckets away a neighbour may be: a quarter of an octave. */
const NEIGHBOURS = [1, -1, 2, -2];
/** Multiplications that a timing should cover, in 1 to 3 runs: about 0.3 ms on a large card. */
const TIMED_MULTIPLICATIONS = 2 ** 37;
const MAX_TIMED_RUNS = 3;
const MAX_PLANS = 4096;
/** Multiplications below which the first candidate is taken untimed, and those below which a neighbour's winner is. */
const WORTH_TIMING = 2 ** 30;
const WORTH_TIMING_AGAIN = 2 ** 35;

/** Eight buckets an octave: sizes of one bucket differ by at most 9 %. */
export function sizeBucket(size: number): number {
  return Math.ceil(8 * Math.log2(Math.max(1, size)));
}

/** Algorithms by bucket, kept beside the compiled kernels. */
export class AlgorithmStore {
  readonly #path: string;
  readonly #entries: Map<string, Algorithm>;
  #isChanged = false;

  constructor(device: string, version: number) {
    const name = `products-${device.replace(/[^A-Za-z0-9]+/g, '-')}-${version}.json`;
    this.#path = join(kernelCacheFolder(), name);
    let stored: Record<string, string[]> = {};
    try {
      stored = JSON.parse(readFileSync(this.#path, 'utf8')) as Record<string, string[]>;
    } catch {
      // None yet, or unreadable: it is made anew.
    }
    const read = ([key, words]: [string, string[]]): [string, Algorithm][] => {
      try {
        return words.length === 8 ? [[key, BigUint64Array.from(words, (word) => BigInt(word))]] : [];
      } catch {
        return [];
      }
    };
    this.#entries = new Map(Object.entries(stored).flatMap(read));
  }

  get(key: string): Algorithm | undefined {
    return this.#entries.get(key);
  }

  set(key: string, algorithm: Algorithm): void {
    this.#entries.set(key, algorithm);
    this.#isChanged = true;
  }

  save(): void {
    if (!this.#isChanged) return;
    this.#isChanged = false;
    const words = [...this.#entries].map(([key, value]) => [
      key,
      Array.from(value, (word) => `0x${word.toString(16)}`),
    ]);
    writeCacheFile(this.#path, JSON.stringify(Object.fromEntries(words), undefined, 1));
  }
}

export type ProductDriver = Pick<
  CudaDriver,
  'stream' | 'createEvent' | 'recordEvent' | 'synchronizeEvent' | 'elapsedMilliseconds' | 'destroyEvent'
>;
/** What products need of the library; a test gives a recorder. */
export type ProductLibrary = Pick<
  CublasLt,
  'descriptor' | 'createLayout' | 'destroyLayout' | 'candidates' | 'check' | 'matmul' | 'dispose'
>;

export class MatrixProducts {
  readonly #driver: ProductDriver;
  readonly #library: ProductLibrary;
  readonly #store: AlgorithmStore;
  readonly #workspace: number;
  /** Least recently used first. */
  readonly #plans = new Map<string, Plan>();
  #saveTimer: NodeJS.Timeout | undefined;

  constructor(driver: ProductDriver, library: ProductLibrary, allocator: DeviceAllocator, store: AlgorithmStore) {
    this.#driver = driver;
    this.#library = library;
    this.#store = store;
    this.#workspace = allocator.allocate(WORKSPACE_BYTES, 'matrix product workspace', 'weights').address;
  }

  run(product: Product): void {
    const { m, n, k, a, lda, b, ldb, d, ldd, transA = false, transB = false, type = 'bf16', beta = 0 } = product;
    if (m === 0 || n === 0 || k === 0) return;
    // The three alignments in one number; 16 bytes and less make another plan.
    const alignment = alignmentOf(a) * 65536 + alignmentOf(b) * 256 + alignmentOf(d);
    const flags = (transA ? 1 : 0) + (transB ? 2 : 0) + (type === 'f32' ? 4 : 0) + (beta !== 0 ? 8 : 0);
    const key = `${m},${n},${k},${lda},${ldb},${ldd},${flags},${alignment}`;
    let plan = this.#plans.get(key);
    if (plan) this.#plans.delete(key);
    else plan = this.#plan(product, alignment, flags);
    this.#plans.set(key, plan);
    const status = this.#launch(plan.handles, plan.algorithm, product, d);
    if (status !== 0) throw productError(product, `status ${status}`);
  }

  /** Our row-major D = A·B is the library's column-major Dᵀ = Bᵀ·Aᵀ: the operands change places. */
  #launch(handles: ProductHandles, algorithm: Algorithm, product: Product, d: number): number {
    const { a, b, alpha = 1, beta = 0 } = product;
    const [workspace, stream] = [this.#workspace, this.#driver.stream];
    return this.#library.matmul(handles, algorithm, alpha, b, a, beta, d, workspace, WORKSPACE_BYTES, stream);
  }

  #plan(product: Product, alignment: number, flags: number): Plan {
    if (this.#plans.size >= MAX_PLANS) this.#forgetOldest();
    const { m, n, k, lda, ldb, ldd, transA = false, transB = false, type = 'bf16' } = product;
    const handles = {
      descriptor: this.#library.descriptor(transB, transA),
      a: transB ? this.#library.createLayout('bf16', k, n, ldb) : this.#library.createLayout('bf16', n, k, ldb),
      b: transA ? this.#library.createLayout('bf16', m, k, lda) : this.#library.createLayout('bf16', k, m, lda),
      d: this.#library.createLayout(type, n, m, ldd),
    };
    const algorithm = this.#choose(product, handles, alignment, flags);
    return { handles, algorithm };
  }

  #choose(product: Product, handles: ProductHandles, alignment: number, flags: number): Algorithm {
    const { m, n, k, lda, ldb, ldd, transA = false, beta = 0 } = product;
    const strides = [lda, ldb, ldd].map(alignmentOf);
    // The number of tokens is m, or k where A is transposed (a sum over tokens); the other sizes are the model's.
    const size = sizeBucket(transA ? k : m);
    const keyOf = (bucket: number): string =>
      [...(transA ? [m, n, `~${bucket}`] : [`~${bucket}`, n, k]), ...strides, flags, alignment].join(',');
    const usable = (bucket: number): Algorithm | undefined => {
      const found = this.#store.get(keyOf(bucket));
      const needed = found && this.#library.check(handles, found);
      return needed !== undefined && needed <= WORKSPACE_BYTES ? found : undefined;
    };
    const own = usable(size);
    if (own) return own;
    // Where the bucket's winner does not run this very size, nothing is timed again for every such size. And timing
    // writes to the result, so it needs one that is about to be overwritten.
    const mayTime = this.#store.get(keyOf(size)) === undefined && beta === 0 && m * n * k >= WORTH_TIMING;
    const near = firstOf(NEIGHBOURS, (step) => usable(size + step));
    if (near && (!mayTime || m * n * k < WORTH_TIMING_AGAIN)) return near;
    const alignments = [alignment >> 8, alignment >> 16, alignment].map((value) => value & 255);
    const bytes = alignments.map((value) => Math.max(1, value)) as [number, number, number];
    const candidates = this.#library.candidates(handles, WORKSPACE_BYTES, bytes, CANDIDATES);
    const first = candidates[0]?.algorithm;
    if (!first) throw productError(product, 'no algorithm');
    if (!mayTime || candidates.length === 1) return first;
    const found = candidates.map(({ algorithm }) => algorithm);
    const fastest = this.#fastest(handles, near ? [near, ...found.slice(0, CHALLENGERS)] : found, product);
    this.#store.set(keyOf(size), fastest);
    this.#saveSoon();
    return fastest;
  }

  /** Times the algorithms on the product itself, before it counts: the one call that waits for the device. */
  #fastest(handles: ProductHandles, algorithms: readonly Algorithm[], product: Product): Algorithm {
    const { m, n, k, d } = product;
    const runs = Math.min(MAX_TIMED_RUNS, Math.ceil(TIMED_MULTIPLICATIONS / (m * n * k)));
    const timings = algorithms.map((algorithm) => ({
      algorithm,
      start: this.#driver.createEvent(true),
      end: this.#driver.createEvent(true),
    }));
    try {
      // The first launch of an algorithm may load code, so it is not timed.
      const usable = timings.filter(({ algorithm }) => this.#launch(handles, algorithm, product, d) === 0);
      for (const { algorithm, start, end } of usable) {
        this.#driver.recordEvent(start);
        for (let i = 0; i < runs; i++) this.#launch(handles, algorithm, product, d);
        this.#driver.recordEvent(end);
      }
      const last = usable.at(-1);
      if (!last) return algorithms[0]!;
      this.#driver.synchronizeEvent(last.end);
      const times = usable.map(({ start, end }) => this.#driver.elapsedMilliseconds(start, end));
      return usable[times.indexOf(Math.min(...times))]!.algorithm;
    } finally {
      for (const { start, end } of timings) {
        this.#driver.destroyEvent(start);
        this.#driver.destroyEvent(end);
      }
    }
  }

  #forgetOldest(): void {
    const [key, plan] = this.#plans.entries().next().value!;
    this.#plans.delete(key);
    this.#release(plan);
  }

  #release({ handles }: Plan): void {
    for (const layout of [handles.a, handles.b, handles.d]) this.#library.destroyLayout(layout);
  }

  #saveSoon(): void {
    this.#saveTimer ??= setTimeout(() => {
      this.#saveTimer = undefined;
      this.#store.save();
    }, 2000).unref();
  }

  dispose(): void {
    clearTimeout(this.#saveTimer);
    this.#store.save();
    for (const plan of this.#plans.values()) this.#release(plan);
    this.#plans.clear();
    this.#library.dispose();
  }
}

/** What `find` gives for the first value that it gives something for. */
function firstOf<T, R>(values: readonly T[], find: (value: T) => R | undefined): R | undefined {
  for (const value of values) {
    const found = find(value);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The largest power of two up to 128 that divides a number (of bytes, or of elements). */
function alignmentOf(value: number): number {
  if (value % 128 === 0) return 128;
  const low = value % 128;
  return low & -low;
}

function productError({ m, n, k }: Product, what: string): EngineError {
  return new EngineError(`cuBLASLt: product of [${m}, ${k}] and [${k}, ${n}]: ${what}`);
}
