/**
 * Row-major matrix products through cuBLASLt. A product's shape decides its plan: layouts and an algorithm. Packed
 * batches have another number of rows at every step, so algorithms are chosen for a bucket of sizes: the first product
 * of a bucket times the library's candidates, the winner serves every size of the bucket and is kept on disk.
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
const CANDIDATES = 8;
const TIMED_RUNS = 3;
const MAX_PLANS = 4096;
/** Multiplications below which the first candidate is taken untimed. */
const WORTH_TIMING = 2 ** 28;

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
  readonly #allocator: DeviceAllocator;
  readonly #store: AlgorithmStore;
  readonly #workspace: number;
  /** Least recently used first. */
  readonly #plans = new Map<string, Plan>();
  #saveTimer: NodeJS.Timeout | undefined;

  constructor(driver: ProductDriver, library: ProductLibrary, allocator: DeviceAllocator, store: AlgorithmStore) {
    this.#driver = driver;
    this.#library = library;
    this.#allocator = allocator;
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
    // The number of tokens is m, or k where A is transposed (a sum over tokens); the other sizes are the model's.
    const sizes = transA ? [m, n, `~${sizeBucket(k)}`] : [`~${sizeBucket(m)}`, n, k];
    const strides = [lda, ldb, ldd].map(alignmentOf);
    const bucket = [...sizes, ...strides, flags, alignment].join(',');
    const known = this.#store.get(bucket);
    const needed = known && this.#library.check(handles, known);
    if (known && needed !== undefined && needed <= WORKSPACE_BYTES) return { handles, algorithm: known };
    const alignments = [alignment >> 8, alignment >> 16, alignment].map((value) => value & 255);
    const bytes = alignments.map((value) => Math.max(1, value)) as [number, number, number];
    const candidates = this.#library.candidates(handles, WORKSPACE_BYTES, bytes, CANDIDATES);
    const first = candidates[0]?.algorithm;
    if (!first) throw productError(product, 'no algorithm');
    if (m * n * k < WORTH_TIMING || candidates.length === 1) return { handles, algorithm: first };
    const fastest = this.#fastest(
      handles,
      candidates.map(({ algorithm }) => algorithm),
      product,
    );
    if (!known) {
      this.#store.set(bucket, fastest);
      this.#saveSoon();
    }
    return { handles, algorithm: fastest };
  }

  /** Times the algorithms with a result that nobody needs: the one call that waits for the device. */
  #fastest(handles: ProductHandles, algorithms: readonly Algorithm[], product: Product): Algorithm {
    const { m, ldd, type = 'bf16' } = product;
    const scratch = this.#allocator.allocate(m * ldd * (type === 'f32' ? 4 : 2), 'timing of matrix products');
    const [start, end] = [this.#driver.createEvent(true), this.#driver.createEvent(true)];
    let best = algorithms[0]!;
    let least = Number.POSITIVE_INFINITY;
    try {
      for (const algorithm of algorithms) {
        if (this.#launch(handles, algorithm, product, scratch.address) !== 0) continue;
        this.#driver.recordEvent(start);
        for (let i = 0; i < TIMED_RUNS; i++) this.#launch(handles, algorithm, product, scratch.address);
        this.#driver.recordEvent(end);
        this.#driver.synchronizeEvent(end);
        const time = this.#driver.elapsedMilliseconds(start, end);
        if (time < least) [least, best] = [time, algorithm];
      }
    } finally {
      this.#driver.destroyEvent(start);
      this.#driver.destroyEvent(end);
      this.#allocator.free(scratch);
    }
    return best;
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

/** The largest power of two up to 128 that divides a number (of bytes, or of elements). */
function alignmentOf(value: number): number {
  if (value % 128 === 0) return 128;
  const low = value % 128;
  return low & -low;
}

function productError({ m, n, k }: Product, what: string): EngineError {
  return new EngineError(`cuBLASLt: product of [${m}, ${k}] and [${k}, ${n}]: ${what}`);
}
