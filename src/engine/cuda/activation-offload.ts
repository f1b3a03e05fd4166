/**
 * Tensors that lie in page-locked host memory while nobody computes with them: what recomputed layers keep from forward
 * to backward. Copies run on the copy stream beside the layers; events order the streams, so the host never waits.
 *
 * The block of a tensor that leaves is free for others when the next one leaves: its copy, which had a layer's time, has
 * passed by then as a rule, and the compute stream waits for it in any case. The last one comes back without a copy.
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
  /** Events that no copy needs. */
  readonly #events: number[] = [];
  /** Orders the streams; made with the first copy. */
  #order: number | undefined;
  /** The last tensor that left, whose block is not free yet. */
  #leaving: HostCopy | undefined;

  /** @param slabBytes a test makes it small */
  constructor(driver: OffloadDriver, allocator: Pick<DeviceAllocator, 'allocate' | 'free'>, slabBytes?: number) {
    this.#driver = driver;
    this.#allocator = allocator;
    this.#host = new PinnedArena(driver, slabBytes);
  }

  /** Page-locked bytes that hold values. */
  get hostBytes(): number {
    return this.#host.bytesInUse;
  }

  /** Queues the copy out. What lies in a block with others, or finds no room on the host, stays. */
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

  /** Queues the copy back, if the tensor has left. @throws OutOfMemoryError */
  prefetch({ hostCopy }: CudaTensor): void {
    if (!hostCopy || hostCopy.storage) return;
    const { copyStream } = this.#driver;
    const storage = new Storage(this.#allocator.allocate(hostCopy.piece.block.bytes));
    storage.users = 1;
    hostCopy.storage = storage;
    // What had the block before is ahead on the compute stream.
    this.#copyAfterCompute();
    this.#driver.upload(storage.block.address, hostCopy.piece.bytes, copyStream);
    this.#driver.recordEvent(hostCopy.event, copyStream);
  }

  /** The tensor is on the device again, for work that is queued from now on. @throws OutOfMemoryError */
  bringBack(tensor: CudaTensor): void {
    this.prefetch(tensor);
    const hostCopy = tensor.hostCopy!;
    this.#driver.waitEvent(hostCopy.event);
    tensor.storage = hostCopy.storage;
    tensor.address = hostCopy.storage!.block.address;
    this.#forget(tensor, hostCopy);
  }

  /** Nobody asks for the values any more. */
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

  /** Frees the block; whatever gets it is queued behind the copy. */
  #leave(hostCopy: HostCopy): void {
    this.#driver.waitEvent(hostCopy.event);
    this.#allocator.free(hostCopy.storage!.block);
    hostCopy.storage = undefined;
    if (this.#leaving === hostCopy) this.#leaving = undefined;
  }

  /** The host's piece is used again by copies on the same stream, so after those that are queued. */
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
