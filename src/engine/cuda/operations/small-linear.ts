/**
 * Products with a few rows of x, bound by reading the weight once. What lies around the product comes in the same
 * launch: a low-rank addition, the norm of a single row before it, the gated activation of a pair after it.
 */
import type { AdapterGroup } from '../adapters.js';
import type { DevicePointer } from '../launch.js';
import { CACHE, type DeviceBlock } from '../memory.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { DeviceWeight } from '../weights.js';
import type { Norm } from './rms-norm.js';

/** As in generation-helpers.cuh; LOW_COLUMNS of u per block. */
const LOW_SPLITS = 4;
const LOW_COLUMNS = 8;

interface SmallRun {
  /** [rows, n] */
  readonly y: CudaTensor;
  /** Also the x of `norm`. */
  readonly x: CudaTensor;
  /** The first of `n` rows; of 2·n, gate above up, with an activation. */
  readonly weight: DeviceWeight;
  readonly n: number;
  readonly group?: AdapterGroup | undefined;
  /** Of the one row of x, before the product. */
  readonly norm?: Norm | undefined;
  /** y = activation(gate) ⊙ up, by its number in common.cu. */
  readonly activation?: number | undefined;
}

export class SmallLinear {
  readonly #store: TensorStore;
  /** Blocks of all launches so far that made a part of u, counted on the device; and what it will be, modulo 2^32. */
  #ready: DeviceBlock | undefined;
  #count = 0;

  constructor(store: TensorStore) {
    this.#store = store;
  }

  /** Whether the norm of `x` can be done on the way to a product. */
  takesNorm(x: CudaTensor, { matrix }: DeviceWeight): boolean {
    return x.rows === 1 && x.columns <= matrix.smallNormColumns;
  }

  /** y = x·Wᵀ (+ bf16(x·Aᵀ)·Bᵀ), for at most the weight's `smallRows` rows. */
  run({ y, x, weight, n, group, norm, activation = -1 }: SmallRun): void {
    const store = this.#store;
    const { rows } = x;
    if (rows === 0) return;
    const width = group ? group.columns : 0;
    const lowBlocks = (width / LOW_COLUMNS) * LOW_SPLITS;
    const low = group && store.createF32([LOW_SPLITS, rows, width]);
    const target = (this.#count + lowBlocks) % 2 ** 32;
    const a = group?.a;
    const lda = group ? group.lda : 0;
    const lowAddress = low?.address;
    const ready = low && this.#counter();
    const normed = norm && {
      sum: norm.sum?.address,
      residual: norm.residual?.address,
      weight: norm.weight,
      eps: norm.eps,
    };
    // No object spreads here and in the formats: they would cost more than the launch.
    // biome-ignore format: parameters by operand
    weight.matrix.smallProduct(weight.row, {
      y, x, n, lowBlocks, a, lda, width, low: lowAddress, ready, target, activation, norm: normed,
    });
    // Only now: blocks of a launch that failed are never counted on the device.
    this.#count = target;
    if (low) store.release(low);
  }

  #counter(): DevicePointer {
    if (!this.#ready) {
      this.#ready = this.#store.allocator.allocate(4, CACHE);
      this.#store.driver.fillBytes(this.#ready.address, 0, 4);
    }
    return this.#ready.address;
  }
}
