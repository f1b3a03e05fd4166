/**
 * Row-major matrix products through cuBLASLt. A product's shape decides its plan: layouts and an algorithm. Packed
 * batches have another number of rows at every step, so algorithms are chosen for a bucket of sizes in which the tiles
 * come out alike: the library's first choice for the bucket's largest size or, where timings decide, the winner among
 * its candidates, which take turns in the products themselves (product-trial.ts) and are kept on disk.
 */
import { EngineError } from '../../errors.js';
import type { AlgorithmStore } from './algorithm-store.js';
import type { Algorithm, CublasLt, ProductHandles, ProductType } from './cublas-lt.js';
import type { CudaDriver } from './driver.js';
import type { DeviceAllocator } from './memory.js';
import { ProductTrial, type TrialDriver, TrialGround } from './product-trial.js';

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
  algorithm: Algorithm;
  /** Under way for the plan's bucket; `algorithm` is only the library's first choice until it has a winner. */
  trial: ProductTrial | undefined;
}

const WORKSPACE_BYTES = 64 << 20;
const CANDIDATES = 4;
/** Buckets whose winners join the candidates. */
const NEIGHBOURS = [1, -1];
const MAX_PLANS = 4096;
/** Multiplications below which the first candidate is as good as any. */
const WORTH_TRYING = 2 ** 32;
/** Rows of the tiles that the library's fast kernels cut a result into. */
const TILE_ROWS = 128;

/** Sizes up to this have buckets of an eighth of an octave: the last of them is number 80. */
const LARGEST_SMALL = 8 * TILE_ROWS;
const SMALL_BUCKETS = 8 * Math.log2(LARGEST_SMALL);

/** Large sizes by the number of 128-row tiles, smaller ones eight buckets an octave. */
export function sizeBucket(size: number): number {
  if (size > LARGEST_SMALL) return SMALL_BUCKETS + Math.ceil((size - LARGEST_SMALL) / TILE_ROWS);
  return Math.ceil(8 * Math.log2(Math.max(1, size)));
}

/** The largest size of a bucket. */
export function largestOf(bucket: number): number {
  if (bucket > SMALL_BUCKETS) return LARGEST_SMALL + (bucket - SMALL_BUCKETS) * TILE_ROWS;
  return Math.floor(2 ** (bucket / 8));
}

export type ProductDriver = TrialDriver & Pick<CudaDriver, 'stream' | 'launches' | 'destroyEvent'>;
/** What products need of the library; a test gives a recorder. */
export type ProductLibrary = Pick<
  CublasLt,
  'descriptor' | 'createLayout' | 'destroyLayout' | 'candidates' | 'check' | 'matmul' | 'dispose'
>;

interface ProductOptions {
  /**
   * Let the library's candidates take turns and keep the fastest of each bucket, also on disk. Default false: the
   * library's first choice, which depends on sizes alone, so that runs round alike.
   */
  readonly isTimed?: boolean;
}

export class MatrixProducts {
  readonly #driver: ProductDriver;
  readonly #library: ProductLibrary;
  readonly #store: AlgorithmStore;
  readonly #workspace: number;
  readonly #ground: TrialGround;
  readonly #isTimed: boolean;
  /** The library's choices by bucket. */
  readonly #firsts = new Map<string, Algorithm>();
  /** Least recently used first. */
  readonly #plans = new Map<string, Plan>();
  /** By bucket. */
  readonly #trials = new Map<string, ProductTrial>();
  #saveTimer: NodeJS.Timeout | undefined;

  constructor(
    driver: ProductDriver,
    library: ProductLibrary,
    allocator: DeviceAllocator,
    store: AlgorithmStore,
    options: ProductOptions = {},
  ) {
    this.#driver = driver;
    this.#library = library;
    this.#store = store;
    this.#workspace = allocator.allocate(WORKSPACE_BYTES, 'matrix product workspace', 'weights').address;
    this.#ground = new TrialGround(driver);
    this.#isTimed = options.isTimed ?? false;
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
    if (plan.trial && this.#try(plan, plan.trial, product)) return;
    const status = this.#launch(plan.handles, plan.algorithm, product);
    if (status !== 0) throw productError(product, `status ${status}`);
  }

  /** Our row-major D = A·B is the library's column-major Dᵀ = Bᵀ·Aᵀ: the operands change places. */
  #launch(handles: ProductHandles, algorithm: Algorithm, product: Product): number {
    const { a, b, d, alpha = 1, beta = 0 } = product;
    const [workspace, stream] = [this.#workspace, this.#driver.stream];
    this.#driver.launches++;
    return this.#library.matmul(handles, algorithm, alpha, b, a, beta, d, workspace, WORKSPACE_BYTES, stream);
  }

  /** A candidate's turn, or the end of the trial. @returns whether the product was queued */
  #try(plan: Plan, trial: ProductTrial, product: Product): boolean {
    const { handles } = plan;
    const { winner } = trial;
    if (winner) {
      plan.trial = undefined;
      if (this.#runs(handles, winner)) plan.algorithm = winner;
      return false;
    }
    return trial.run(
      product.m * product.n * product.k,
      (algorithm) => this.#runs(handles, algorithm),
      (algorithm) => this.#launch(handles, algorithm, product),
    );
  }

  #runs(handles: ProductHandles, algorithm: Algorithm): boolean {
    const needed = this.#library.check(handles, algorithm);
    return needed !== undefined && needed <= WORKSPACE_BYTES;
  }

  #plan(product: Product, alignment: number, flags: number): Plan {
    if (this.#plans.size >= MAX_PLANS) this.#forgetOldest();
    const handles = this.#handles(product);
    return { handles, ...this.#choose(product, handles, alignment, flags) };
  }

  #handles(product: Product): ProductHandles {
    const { m, n, k, lda, ldb, ldd, transA = false, transB = false, type = 'bf16' } = product;
    return {
      descriptor: this.#library.descriptor(transB, transA),
      a: transB ? this.#library.createLayout('bf16', k, n, ldb) : this.#library.createLayout('bf16', n, k, ldb),
      b: transA ? this.#library.createLayout('bf16', m, k, lda) : this.#library.createLayout('bf16', k, m, lda),
      d: this.#library.createLayout(type, n, m, ldd),
    };
  }

  #choose(
    product: Product,
    handles: ProductHandles,
    alignment: number,
    flags: number,
  ): { algorithm: Algorithm; trial: ProductTrial | undefined } {
    const { m, n, k, lda, ldb, ldd, transA = false } = product;
    const strides = [lda, ldb, ldd].map(alignmentOf);
    // The number of tokens is m, or k where A is transposed (a sum over tokens); the other sizes are the model's.
    const size = sizeBucket(transA ? k : m);
    const keyOf = (bucket: number): string =>
      [...(transA ? [m, n, `~${bucket}`] : [`~${bucket}`, n, k]), ...strides, flags, alignment].join(',');
    if (this.#isTimed && m * n * k >= WORTH_TRYING) return this.#chooseByTime(product, handles, alignment, size, keyOf);
    const key = `${keyOf(size)},${lda},${ldb},${ldd}`;
    const known = this.#firsts.get(key);
    if (known && this.#runs(handles, known)) return { algorithm: known, trial: undefined };
    // Not this size but the bucket's: the order in which sizes come must not decide.
    const largest = largestOf(size);
    const whole = this.#handles({ ...product, ...(transA ? { k: largest } : { m: largest }) });
    const [first] = known ? [] : this.#candidates(whole, alignment, 1);
    this.#releaseLayouts(whole);
    if (first) this.#firsts.set(key, first);
    if (first && this.#runs(handles, first)) return { algorithm: first, trial: undefined };
    const [own] = this.#candidates(handles, alignment, 1);
    if (!own) throw productError(product, 'no algorithm');
    return { algorithm: own, trial: undefined };
  }

  /** The bucket's winner, or the library's first choice and the trial that will find one. */
  #chooseByTime(
    product: Product,
    handles: ProductHandles,
    alignment: number,
    size: number,
    keyOf: (bucket: number) => string,
  ): { algorithm: Algorithm; trial: ProductTrial | undefined } {
    this.#settle();
    const key = keyOf(size);
    const usable = (bucket: number): Algorithm[] => {
      const found = this.#store.get(keyOf(bucket));
      return found && this.#runs(handles, found) ? [found] : [];
    };
    const [own] = usable(size);
    if (own) return { algorithm: own, trial: undefined };
    const [first, ...others] = this.#candidates(handles, alignment, CANDIDATES);
    if (!first) throw productError(product, 'no algorithm');
    // A bucket's winner that does not run this very size is no reason to try all of them again.
    if (this.#store.get(key)) return { algorithm: first, trial: undefined };
    let trial = this.#trials.get(key);
    if (!trial) {
      const near = NEIGHBOURS.flatMap((step) => usable(size + step));
      trial = new ProductTrial(this.#ground, distinct([first, ...near, ...others]));
      this.#trials.set(key, trial);
    }
    return { algorithm: first, trial };
  }

  #candidates(handles: ProductHandles, alignment: number, count: number): Algorithm[] {
    const alignments = [alignment >> 8, alignment >> 16, alignment].map((value) => value & 255);
    const bytes = alignments.map((value) => Math.max(1, value)) as [number, number, number];
    return this.#library.candidates(handles, WORKSPACE_BYTES, bytes, count).map(({ algorithm }) => algorithm);
  }

  /** Stores the winners of trials that have ended. */
  #settle(): void {
    for (const [key, { winner }] of this.#trials) {
      if (!winner) continue;
      this.#store.set(key, winner);
      this.#trials.delete(key);
      this.#saveSoon();
    }
  }

  #forgetOldest(): void {
    const [key, plan] = this.#plans.entries().next().value!;
    this.#plans.delete(key);
    this.#releaseLayouts(plan.handles);
  }

  #releaseLayouts(handles: ProductHandles): void {
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
    this.#settle();
    this.#store.save();
    for (const event of this.#ground.takeAll()) this.#driver.destroyEvent(event);
    for (const { handles } of this.#plans.values()) this.#releaseLayouts(handles);
    this.#plans.clear();
    this.#library.dispose();
  }
}

/** Without repetitions. */
function distinct(algorithms: readonly Algorithm[]): Algorithm[] {
  return [...new Map(algorithms.map((algorithm) => [algorithm.join(), algorithm])).values()];
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
