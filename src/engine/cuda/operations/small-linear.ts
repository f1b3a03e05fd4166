/** Products with a few rows of x, bound by reading the weight once; a low-rank addition comes in the same launch. */
import type { AdapterGroup } from '../adapters.js';
import { CACHE, type DeviceBlock } from '../memory.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

/** Rows up to which a product is bound by reading the weight once. */
export const SMALL_ROWS = 16;
/** LOW_SPLITS of generation.cu, and the columns of a block. */
const LOW_SPLITS = 4;
const BLOCK_COLUMNS = 8;
/** Columns of the output below which a block needs all its warps to keep the card busy. */
const FEW_COLUMNS = 1024;

export interface SmallProduct {
  readonly y: CudaTensor;
  readonly x: CudaTensor;
  /** Address and row stride of the weight [n, x.columns]. */
  readonly weight: { readonly address: number; readonly ld: number };
  readonly n: number;
  /** Its B stands in the spare columns of the weight. */
  readonly group?: AdapterGroup | undefined;
}

export class SmallLinear {
  readonly #store: TensorStore;
  /** Blocks of all launches so far that made a part of u, counted on the device; and what it will be, modulo 2^32. */
  #ready: DeviceBlock | undefined;
  #count = 0;

  constructor(store: TensorStore) {
    this.#store = store;
  }

  /** y = x·Wᵀ (+ bf16(x·Aᵀ)·Bᵀ), for at most SMALL_ROWS rows. */
  run({ y, x, weight, n, group }: SmallProduct): void {
    const store = this.#store;
    const { rows, columns } = x;
    if (rows === 0) return;
    const width = group?.columns ?? 0;
    const lowBlocks = (width / BLOCK_COLUMNS) * LOW_SPLITS;
    const low = group && store.createF32([LOW_SPLITS, rows, width]);
    const target = (this.#count + lowBlocks) % 2 ** 32;
    const block = n < FEW_COLUMNS ? 1024 : 128;
    store.kernels.run(
      rows <= 8 ? 'small_linear' : 'small_linear_16',
      [lowBlocks + Math.ceil(n / BLOCK_COLUMNS)],
      block,
      [
        ...[y.address, x.address, weight.address, group?.a ?? 0, low?.address ?? 0, group ? this.#counter() : 0],
        ...[rows, n, columns, width, y.ld, x.ld, weight.ld, group?.lda ?? 0, 0, target],
      ],
    );
    // Only now: blocks of a launch that failed are never counted on the device.
    this.#count = target;
    if (low) store.release(low);
  }

  #counter(): number {
    if (!this.#ready) {
      this.#ready = this.#store.allocator.allocate(4, CACHE);
      this.#store.driver.fillBytes(this.#ready.address, 0, 4);
    }
    return this.#ready.address;
  }
}
