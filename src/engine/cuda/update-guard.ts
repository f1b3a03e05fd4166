/**
 * Keeps an update from using gradients that other ranks had a part in and that may be broken: kernels of NCCL that are
 * aborted end and leave whatever they have computed, while the update may be queued behind them already.
 *
 * A double in page-locked memory is copied behind the sums as one more partial sum of the squared norm: 0, or NaN once the
 * communication is given up. With a norm of NaN the kernels of the update leave values and moments as they are.
 */
import type { CudaDriver } from './driver.js';
import type { DevicePointer } from './launch.js';
import type { Staging } from './staging.js';

export class UpdateGuard {
  readonly #driver: Pick<CudaDriver, 'upload'>;
  readonly #staging: Pick<Staging, 'giveBack'>;
  readonly #block: ReturnType<Staging['take']>;
  readonly #bytes: Uint8Array;
  readonly #value: Float64Array;

  constructor(driver: Pick<CudaDriver, 'upload'>, staging: Pick<Staging, 'take' | 'giveBack'>) {
    this.#driver = driver;
    this.#staging = staging;
    this.#block = staging.take(Float64Array.BYTES_PER_ELEMENT);
    this.#bytes = this.#block.pinned.bytes.subarray(0, Float64Array.BYTES_PER_ELEMENT);
    this.#value = new Float64Array(this.#bytes.buffer, this.#bytes.byteOffset, 1);
    this.#value[0] = 0;
  }

  /** To be called before kernels of NCCL are made to end: voids every update that the device has not begun, for good. */
  trip(): void {
    this.#value[0] = Number.NaN;
  }

  /** Queues a copy of the value as it is when the compute stream, which waits for the sums before it, comes to it. */
  copyTo(partialSum: DevicePointer): void {
    this.#driver.upload(partialSum, this.#bytes);
  }

  /** Queued copies may still be to run. */
  dispose(): void {
    this.#staging.giveBack(this.#block);
  }
}
