/**
 * Moves the inputs that recomputed layers save for backward to page-locked host memory in between. Copies run on the
 * copy stream while layers are computed; events order the streams, so the host never waits.
 *
 * A tensor's device block is freed when the next tensor is moved out. By then its copy has usually completed during a
 * layer; the compute stream waits for it either way. The last tensor returns without a copy, as its block is still
 * there.
 */
import { OutOfMemoryError } from '../../errors.js';
import type { CudaDriver } from './driver.js';
import type { DeviceAllocator } from './memory.js';
import { PinnedArena, type PinnedPiece } from './pinned-arena.js';
import { type CudaTensor, ELEMENT_BYTES, type HostCopy, Storage } from './tensors.js';

type OffloadDriver = Pick<
  CudaDriver,
  | 'stream'
  | 'copyStream'
  | 'allocatePinned'
  | 'upload'
  | 'downloadAsync'
  | 'createEvent'
  | 'recordEvent'
  | 'waitEvent'
  | 'destroyEvent'
>;

export class ActivationOffload {
  readonly #driver: OffloadDriver;
  readonly #allocator: Pick<DeviceAllocator, 'allocate' | 'free'>;
  readonly #host: PinnedArena;
  /** Events for reuse. */
  readonly #events: number[] = [];
  /** Event that orders the streams; created with the first copy. */
  #order: number | undefined;
  /** The last tensor that was moved out; its block is not freed yet. */
  #leaving: HostCopy | undefined;

  /** @param slabBytes a test makes it small */
  constructor(driver: OffloadDriver, allocator: Pick<DeviceAllocator, 'allocate' | 'free'>, slabBytes?: number) {
    this.#driver = driver;
    this.#allocator = allocator;
    this.#host = new PinnedArena(driver, slabBytes);
  }

  /** Page-locked bytes in use. */
  get hostBytes(): number {
    return this.#host.bytesInUse;
  }

  /** Queues the copy to the host. A tensor that shares its block, or that the host has no memory for, stays. */
  moveToHost(tensor: CudaTensor): void {
    const { storage } = tensor;
    if (tensor.hostCopy || !storage || storage.users > 1 || tensor.address !== storage.block.address) return;
    const bytes = ELEMENT_BYTES[tensor.type] * tensor.rows * tensor.ld;
    if (bytes === 0) return;
    let piece: PinnedPiece;
    try {
      piece = this.#host.take(bytes);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return;
      throw error;
    }
    const { copyStream } = this.#driver;
    if (this.#leaving) this.#leave(this.#leaving);
    const event = this.#events.pop() ?? this.#driver.createEvent();
    this.#copyAfterCompute();
    this.#driver.downloadAsync(piece.bytes, tensor.address, copyStream);
    this.#driver.recordEvent(event, copyStream);
    this.#leaving = { piece, event, storage };
    tensor.hostCopy = this.#leaving;
    tensor.storage = undefined;
  }

  /** Queues the copy back if the tensor was moved out. @throws OutOfMemoryError */
  prefetch({ hostCopy }: CudaTensor): void {
    if (!hostCopy || hostCopy.storage) return;
    const { copyStream } = this.#driver;
    const storage = new Storage(this.#allocator.allocate(hostCopy.piece.block.bytes));
    storage.users = 1;
    hostCopy.storage = storage;
    // Earlier users of the block are ahead on the compute stream.
    this.#copyAfterCompute();
    this.#driver.upload(storage.block.address, hostCopy.piece.bytes, copyStream);
    this.#driver.recordEvent(hostCopy.event, copyStream);
  }

  /** Makes the tensor available on the device to work queued from now on. @throws OutOfMemoryError */
  bringBack(tensor: CudaTensor): void {
    this.prefetch(tensor);
    const hostCopy = tensor.hostCopy!;
    this.#driver.waitEvent(hostCopy.event);
    tensor.storage = hostCopy.storage;
    tensor.address = hostCopy.storage!.block.address;
    this.#forget(tensor, hostCopy);
  }

  /** Frees the host copy of a tensor that is released. */
  drop(tensor: CudaTensor): void {
    const { hostCopy } = tensor;
    if (!hostCopy) return;
    if (hostCopy.storage) this.#leave(hostCopy);
    this.#forget(tensor, hostCopy);
  }

  /** No copy may be under way. */
  dispose(): void {
    this.#host.dispose();
    if (this.#order !== undefined) this.#events.push(this.#order);
    this.#order = undefined;
    for (const event of this.#events.splice(0)) this.#driver.destroyEvent(event);
  }

  /** Frees the device block; work of its next owner is queued after the copy. */
  #leave(hostCopy: HostCopy): void {
    this.#driver.waitEvent(hostCopy.event);
    this.#allocator.free(hostCopy.storage!.block);
    hostCopy.storage = undefined;
    if (this.#leaving === hostCopy) this.#leaving = undefined;
  }

  /** The host piece may be reused at once: later copies run on the same stream, after those queued. */
  #forget(tensor: CudaTensor, hostCopy: HostCopy): void {
    if (this.#leaving === hostCopy) this.#leaving = undefined;
    tensor.hostCopy = undefined;
    this.#host.giveBack(hostCopy.piece);
    this.#events.push(hostCopy.event);
  }

  #copyAfterCompute(): void {
    const { stream, copyStream } = this.#driver;
    this.#order ??= this.#driver.createEvent();
    this.#driver.recordEvent(this.#order, stream);
    this.#driver.waitEvent(this.#order, copyStream);
  }
}
