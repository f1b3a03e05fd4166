/**
 * What goes wrong on a device becomes known late: of a buffer that there was no memory for, commands are recorded and sent
 * before the device says so, and then the whole batch that one of them is in was left out.
 *
 * A shortage of memory is thrown once, by the next wait for the device, and what the batches since then computed is void;
 * everything else ends the engine.
 */
import { EngineError, type OutOfMemoryError } from '../../errors.js';
import type { GpuBuffer, GpuDevice } from './gpu-types.js';

/** A buffer that is not there. */
interface Shortage {
  readonly buffer: GpuBuffer;
  readonly error: OutOfMemoryError;
  /** Batches that its commands may have been in; the last is known when a wait has thrown it. */
  readonly firstBatch: number;
  lastBatch: number;
}

/** Why a device is lost that nobody destroyed. */
const LOSSES = 'Its driver was reset, or it took too long for one launch, or the machine slept';

export class DeviceFailures {
  readonly #device: GpuDevice;
  #failure: Error | undefined;
  #isDisposed = false;
  /** Buffers of which the device has not said whether they are there. */
  readonly #pending = new Set<Promise<void>>();
  readonly #shortages: Shortage[] = [];
  readonly #onError = ({ error }: { readonly error: { readonly message: string } }): void => {
    void this.#blame(new EngineError(`WebGPU: ${error.message}`));
  };

  constructor(device: GpuDevice) {
    this.#device = device;
    device.addEventListener('uncapturederror', this.#onError);
    void device.lost.then(({ reason, message }) => {
      this.fail(
        new EngineError(`the GPU was lost: ${message || 'its driver gave no reason'}`, {
          hint:
            `${reason === 'destroyed' ? 'Something called destroy() of its device' : LOSSES}. What is on a lost device ` +
            'cannot be read any more, so the last checkpoint that was saved is what there is: make a new engine and resume.',
        }),
      );
    });
  }

  /** Everything after it throws this. */
  fail(error: Error): void {
    if (!this.#isDisposed) this.#failure ??= error;
  }

  get isSound(): boolean {
    return this.#failure === undefined;
  }

  /** @throws what has gone wrong for good */
  requireSound(): void {
    if (this.#failure) throw this.#failure;
    if (this.#isDisposed) throw new EngineError('the engine was disposed');
  }

  /**
   * @param batch in which its first command may be
   * @param shortage made if there is no memory for it: called before anything is thrown
   */
  createBuffer(
    descriptor: { readonly size: number; readonly usage: number },
    batch: number,
    shortage: (message: string) => OutOfMemoryError,
  ): GpuBuffer {
    const device = this.#device;
    device.pushErrorScope('out-of-memory');
    const buffer = device.createBuffer(descriptor);
    const outcome = device.popErrorScope().then(
      (error) => {
        if (!error) return;
        this.#shortages.push({
          buffer,
          error: shortage(error.message),
          firstBatch: batch,
          lastBatch: Number.POSITIVE_INFINITY,
        });
      },
      // The device is lost, which is told elsewhere.
      () => {},
    );
    const pending: Promise<void> = outcome.finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
    return buffer;
  }

  /** Resolves when it is known of every buffer whether it is there. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending);
  }

  /**
   * Waits for what is not known yet.
   * @param lastBatch sends what has gathered, and gives the number of the last batch that has gone out
   * @throws OutOfMemoryError once, if a buffer is missing; what has gone wrong for good
   */
  async requireMemory(lastBatch: () => number): Promise<void> {
    await this.settled();
    const open = this.#shortages.filter((shortage) => shortage.lastBatch === Number.POSITIVE_INFINITY);
    this.requireSound();
    if (open.length === 0) return;
    const last = lastBatch();
    for (const shortage of open) shortage.lastBatch = last;
    throw open[0]!.error;
  }

  /**
   * @param batch that a value was read in
   * @throws OutOfMemoryError if it may be void, as often as it is asked for; what has gone wrong for good
   */
  async requireComputed(batch: number): Promise<void> {
    await this.settled();
    this.requireSound();
    const shortage = this.#shortages.find(({ firstBatch, lastBatch }) => firstBatch <= batch && batch <= lastBatch);
    if (shortage) throw shortage.error;
  }

  /**
   * For whoever waits for a buffer of its own before anybody uses it: no other wait throws its shortage after this.
   * @throws OutOfMemoryError if the buffer is missing; what has gone wrong for good
   */
  async requireBuffer(buffer: GpuBuffer, lastBatch: () => number): Promise<void> {
    await this.settled();
    this.requireSound();
    const shortage = this.#shortages.find((one) => one.buffer === buffer);
    if (!shortage) return;
    shortage.lastBatch = Math.min(shortage.lastBatch, lastBatch());
    throw shortage.error;
  }

  dispose(): void {
    this.#isDisposed = true;
    // The device may be the user's, and go on.
    this.#device.removeEventListener?.('uncapturederror', this.#onError);
  }

  /** Errors of commands that use a missing buffer are no failure of their own. */
  async #blame(error: EngineError): Promise<void> {
    const isConsequence = (): boolean =>
      this.#shortages.some(({ lastBatch }) => lastBatch === Number.POSITIVE_INFINITY);
    if (isConsequence()) return;
    if (this.#pending.size > 0) {
      await this.settled();
      if (isConsequence()) return;
    }
    this.fail(error);
  }
}
