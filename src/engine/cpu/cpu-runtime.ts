/** The core of the `cpu` engine: memory, threads, frozen weights and matrix products. Everything returns when done. */
import { availableParallelism } from 'node:os';
import { brotliDecompressSync } from 'node:zlib';
import { ConfigError } from '../../errors.js';
import { KERNELS, PLAIN_BYTES } from '../../generated/kernels.js';
import { Heap } from './heap.js';
import type { WeightBytes } from './kernel-instance.js';
import { type Matmul, matmul } from './matmul.js';
import { Pool } from './pool.js';

export interface CpuRuntimeOptions {
  /** Threads, with the calling one. Default: what the machine offers. */
  threads?: number | undefined;
  /** Most bytes of activations, parameters and scratch. Default and upper bound: just under 4 GiB. */
  maxBytes?: number | undefined;
  /** How often an idle thread looks for work before it sleeps. Default 40000. */
  spins?: number | undefined;
}

export class CpuRuntime {
  readonly heap: Heap;
  readonly threads: number;
  /** Whether the kernels use the fused multiply-add of relaxed SIMD (Node 22 and later). */
  readonly relaxedSimd: boolean;
  /** Resolves when every thread runs. Nothing needs to wait for it: work before that is done by fewer threads. */
  readonly ready: Promise<void>;
  readonly #pool: Pool;
  #weightBytes = 0;

  constructor(options: CpuRuntimeOptions = {}) {
    const threads = options.threads ?? availableParallelism();
    if (!Number.isInteger(threads) || threads < 1 || threads > 512) {
      throw new ConfigError(`threads must be an integer from 1 to 512, not ${threads}`);
    }
    const kernels = brotliDecompressSync(Buffer.from(KERNELS, 'base64'));
    const relaxed = kernels.subarray(PLAIN_BYTES);
    this.relaxedSimd = WebAssembly.validate(relaxed);
    const module = new WebAssembly.Module(this.relaxedSimd ? relaxed : kernels.subarray(0, PLAIN_BYTES));
    this.threads = threads;
    this.heap = new Heap(options.maxBytes);
    this.#pool = new Pool(module, this.heap, { threads, spins: options.spins ?? 40_000 });
    this.ready = this.#pool.ready;
  }

  /** Bytes of frozen weights, which lie outside the heap. */
  get weightBytes(): number {
    return this.#weightBytes;
  }

  alloc(bytes: number): number {
    return this.heap.alloc(bytes);
  }

  free(ptr: number): void {
    this.heap.free(ptr);
  }

  /** `length` floats from byte address `ptr`. Stays valid when the heap grows, until the block is freed. */
  f32(ptr: number, length: number): Float32Array {
    return this.heap.f32.subarray(ptr >>> 2, (ptr >>> 2) + length);
  }

  f64(ptr: number, length: number): Float64Array {
    return new Float64Array(this.heap.memory.buffer, ptr, length);
  }

  u8(ptr: number, length: number): Uint8Array {
    return this.heap.u8.subarray(ptr, ptr + length);
  }

  /** A new block with these integers, for kernels that take a table. The caller frees it. */
  allocI32(values: ArrayLike<number>): number {
    const ptr = this.alloc(4 * values.length);
    this.heap.i32.set(values, ptr >>> 2);
    return ptr;
  }

  /**
   * Runs a kernel over items 0..count-1 on all threads and returns when all are done. The kernel sees its arguments as
   * 32-bit slots: first `ints` (pointers too), then `floats`. A task of at most `grain` items runs on this thread.
   * What an item computes may not depend on which chunk it is in, so that results do not depend on the threads.
   * @throws EngineError when the kernel is unknown or traps
   */
  parallel(
    kernel: string,
    count: number,
    grain: number,
    ints: readonly number[],
    floats: readonly number[] = [],
  ): void {
    this.#pool.run(kernel, count, grain, ints, floats);
  }

  /** c = alpha · op(a) · op(b) + beta · c. */
  matmul(product: Matmul): void {
    matmul(this.#pool, this.heap, product);
  }

  addWeight({ id, buffer, rowBytes }: WeightBytes): void {
    this.#pool.addWeight({ id, buffer, rowBytes });
    this.#weightBytes += buffer.byteLength;
  }

  dropWeight({ id, buffer }: WeightBytes): void {
    this.#pool.dropWeight(id);
    this.#weightBytes -= buffer.byteLength;
  }

  async dispose(): Promise<void> {
    await this.#pool.dispose();
  }
}
