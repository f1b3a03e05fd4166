/**
 * Row-major matrix products through cuBLASLt. A product's shape decides its plan: layouts and an algorithm. Packed
 * batches have another number of rows at every step, so algorithms are chosen for a bucket of sizes in which the tiles
 * come out alike: the library's first choice for the bucket's largest size. It depends on sizes alone, so that runs
 * round alike.
 */
import { EngineError } from '../../errors.js';
import type { Algorithm, CublasLt, E4m3Scales, ProductHandles, ProductType } from './cublas-lt.js';
import type { CudaDriver } from './driver.js';
import type { DevicePointer } from './launch.js';
import type { DeviceAllocator } from './memory.js';

/** Scales of e4m3 operands: float32 per row of A and of B as stored, or one for each operand. */
interface E4m3Factors {
  readonly scales: E4m3Scales;
  readonly a: DevicePointer;
  readonly b: DevicePointer;
  /** Accumulates in the tensor cores, with fewer bits than float32. */
  readonly isFast: boolean;
}

/** D[m, n] = alpha · A·B + beta · D. Strides (ld*) are of rows, in elements. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: DevicePointer;
  readonly lda: number;
  /** A is stored [k, m]. */
  readonly transA?: boolean;
  readonly b: DevicePointer;
  readonly ldb: number;
  /** B is stored [n, k]. */
  readonly transB?: boolean;
  readonly d: DevicePointer;
  readonly ldd: number;
  /** Default bf16. */
  readonly type?: ProductType;
  /** A and B are e4m3, B stored [n, k]. Default: both bf16. */
  readonly e4m3?: E4m3Factors;
  /** Default 1. */
  readonly alpha?: number;
  /** Default 0. */
  readonly beta?: number;
}

/** A product without its operands. */
export interface UsedProduct {
  /** m, n, k, lda, ldb, ldd, flags */
  readonly sizes: readonly [number, number, number, number, number, number, number];
  readonly algorithm: Algorithm;
}

/** What makes a product another one beside its sizes; a beta other than 0 is one flag. */
const FLAGS = { transA: 1, transB: 2, f32: 4, beta: 8, e4m3: 16, isFast: 32, rows: 64 } as const;

interface Plan {
  readonly handles: ProductHandles;
  readonly algorithm: Algorithm;
}

export const WORKSPACE_BYTES = 64 << 20;
const MAX_PLANS = 4096;
/** The alignments of three operands at addresses that are multiples of 128. */
const ALIGNED = 128 * (65536 + 256 + 1);
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

export function largestOf(bucket: number): number {
  if (bucket > SMALL_BUCKETS) return LARGEST_SMALL + (bucket - SMALL_BUCKETS) * TILE_ROWS;
  return Math.floor(2 ** (bucket / 8));
}

export type ProductDriver = Pick<CudaDriver, 'stream' | 'launches'>;
/** What products need of the library; a test gives a recorder. */
export type ProductLibrary = Pick<
  CublasLt,
  | 'descriptor'
  | 'e4m3Descriptor'
  | 'setScales'
  | 'createLayout'
  | 'destroyLayout'
  | 'firstChoice'
  | 'check'
  | 'matmul'
  | 'dispose'
>;

export class MatrixProducts {
  readonly #driver: ProductDriver;
  readonly #library: ProductLibrary;
  readonly #workspace: number;
  readonly #firsts = new Map<string, Algorithm>();
  #isAsked = false;
  /** By flags and algorithm: one product for each kernel that was run. */
  readonly used = new Map<string, UsedProduct>();
  /** Least recently used first. */
  readonly #plans = new Map<string, Plan>();

  constructor(driver: ProductDriver, library: ProductLibrary, allocator: DeviceAllocator) {
    this.#driver = driver;
    this.#library = library;
    this.#workspace = allocator.allocate(WORKSPACE_BYTES, 'matrix product workspace', 'weights').address;
  }

  run(product: Product): void {
    const { m, n, k, a, lda, b, ldb, d, ldd, transA = false, transB = false, type = 'bf16', beta = 0 } = product;
    const { e4m3 } = product;
    if (m === 0 || n === 0 || k === 0) return;
    // The three alignments in one number; 16 bytes and less make another plan.
    const alignment = alignmentOf(a) * 65536 + alignmentOf(b) * 256 + alignmentOf(d);
    const scales = e4m3?.scales === 'rows' ? FLAGS.rows : 0;
    const kind = e4m3 ? FLAGS.e4m3 + (e4m3.isFast ? FLAGS.isFast : 0) + scales : 0;
    const order = (transA ? FLAGS.transA : 0) + (transB ? FLAGS.transB : 0);
    const flags = order + (type === 'f32' ? FLAGS.f32 : 0) + (beta !== 0 ? FLAGS.beta : 0) + kind;
    // Also before planning: the algorithm is chosen for a complete descriptor.
    if (e4m3) this.#library.setScales(this.#descriptor(product), e4m3.b, e4m3.a);
    const key = `${m},${n},${k},${lda},${ldb},${ldd},${flags},${alignment}`;
    let plan = this.#plans.get(key);
    if (plan) this.#plans.delete(key);
    else plan = this.#plan(product, alignment, flags);
    this.#plans.set(key, plan);
    const { alpha = 1 } = product;
    const [workspace, stream] = [this.#workspace, this.#driver.stream];
    this.#driver.launches++;
    const { handles, algorithm } = plan;
    // Our row-major D = A·B is the library's column-major Dᵀ = Bᵀ·Aᵀ: the operands change places.
    const status = this.#library.matmul(handles, algorithm, alpha, b, a, beta, d, workspace, WORKSPACE_BYTES, stream);
    if (status !== 0) throw productError(product, `status ${status}`);
  }

  #runs(handles: ProductHandles, algorithm: Algorithm): boolean {
    const needed = this.#library.check(handles, algorithm);
    return needed !== undefined && needed <= WORKSPACE_BYTES;
  }

  #plan(product: Product, alignment: number, flags: number): Plan {
    if (this.#plans.size >= MAX_PLANS) this.#forgetOldest();
    const handles = this.#handles(product);
    const algorithm = this.#choose(product, handles, alignment, flags);
    const key = `${flags},${algorithm.join()}`;
    const { m, n, k, lda, ldb, ldd } = product;
    if (!this.used.has(key)) this.used.set(key, { sizes: [m, n, k, lda, ldb, ldd, flags], algorithm });
    return { handles, algorithm };
  }

  /**
   * Loads the kernel of a product, if the library has it.
   * @param load receives what queues the product on a stream; it must not run, as it has no operands
   */
  load({ sizes, algorithm }: UsedProduct, load: (queue: (stream: number) => void) => void): void {
    const [m, n, k, lda, ldb, ldd, flags] = sizes;
    const has = (flag: number): boolean => (flags & flag) !== 0;
    const operand = this.#workspace as DevicePointer;
    const product: Product = {
      ...{ m, n, k, lda, ldb, ldd, a: operand, b: operand, d: operand },
      ...{ transA: has(FLAGS.transA), transB: has(FLAGS.transB), type: has(FLAGS.f32) ? 'f32' : 'bf16' },
      ...(has(FLAGS.e4m3) && {
        e4m3: { scales: has(FLAGS.rows) ? 'rows' : 'tensor', a: operand, b: operand, isFast: has(FLAGS.isFast) },
      }),
    };
    const handles = this.#handles(product);
    if (product.e4m3) this.#library.setScales(handles.descriptor, operand, operand);
    // The first question takes the library some 80 ms.
    if (!this.#isAsked) this.#first(handles, ALIGNED);
    this.#isAsked = true;
    if (this.#runs(handles, algorithm)) {
      const beta = has(FLAGS.beta) ? 1 : 0;
      load((stream) => {
        const at = this.#workspace;
        this.#library.matmul(handles, algorithm, 1, at, at, beta, at, at, WORKSPACE_BYTES, stream);
      });
    }
    this.#releaseLayouts(handles);
  }

  #handles(product: Product): ProductHandles {
    const { m, n, k, lda, ldb, ldd, transA = false, transB = false, type = 'bf16', e4m3 } = product;
    const operand = e4m3 ? 'e4m3' : 'bf16';
    return {
      descriptor: this.#descriptor(product),
      a: transB ? this.#library.createLayout(operand, k, n, ldb) : this.#library.createLayout(operand, n, k, ldb),
      b: transA ? this.#library.createLayout(operand, m, k, lda) : this.#library.createLayout(operand, k, m, lda),
      d: this.#library.createLayout(type, n, m, ldd),
    };
  }

  #descriptor({ transA = false, transB = false, e4m3 }: Product): number {
    if (!e4m3) return this.#library.descriptor(transB, transA);
    return this.#library.e4m3Descriptor(e4m3.scales, e4m3.isFast);
  }

  #choose(product: Product, handles: ProductHandles, alignment: number, flags: number): Algorithm {
    const { m, n, k, lda, ldb, ldd, transA = false } = product;
    // The number of tokens is m, or k where A is transposed (a sum over tokens); the other sizes are the model's.
    const bucket = sizeBucket(transA ? k : m);
    const key = [...(transA ? [m, n] : [n, k]), bucket, flags, alignment, lda, ldb, ldd].join();
    const known = this.#firsts.get(key);
    if (known && this.#runs(handles, known)) return known;
    // Not this size but the bucket's: the order in which sizes come must not decide.
    const largest = largestOf(bucket);
    const whole = this.#handles({ ...product, ...(transA ? { k: largest } : { m: largest }) });
    const first = known ? undefined : this.#first(whole, alignment);
    this.#releaseLayouts(whole);
    if (first) this.#firsts.set(key, first);
    if (first && this.#runs(handles, first)) return first;
    const own = this.#first(handles, alignment);
    if (!own) throw productError(product, 'no algorithm');
    return own;
  }

  #first(handles: ProductHandles, alignment: number): Algorithm | undefined {
    const alignments = [alignment >> 8, alignment >> 16, alignment].map((value) => value & 255);
    const bytes = alignments.map((value) => Math.max(1, value)) as [number, number, number];
    return this.#library.firstChoice(handles, WORKSPACE_BYTES, bytes);
  }

  #forgetOldest(): void {
    const [key, plan] = this.#plans.entries().next().value!;
    this.#plans.delete(key);
    this.#releaseLayouts(plan.handles);
  }

  #releaseLayouts(handles: ProductHandles): void {
    for (const layout of [handles.a, handles.b, handles.d]) this.#library.destroyLayout(layout);
  }

  dispose(): void {
    for (const { handles } of this.#plans.values()) this.#releaseLayouts(handles);
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
