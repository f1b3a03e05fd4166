/** Device memory: an arena over a few large buffers for everything that comes and goes, and a budget over all. */
import { OutOfMemoryError } from '../../errors.js';
import { formatBytes } from '../../messages/format-bytes.js';
import { Arena, type Block, roundUp } from '../arena.js';
import { BUFFER_USAGE, type BufferRange, type GpuBuffer, type GpuDevice } from './gpu-types.js';

/** Distance of slabs in the arena's address space, so that an address gives its slab. */
const SLAB_STRIDE = 2 ** 40;
const SMALLEST_SLAB = 32 << 20;
/** A slab is this share of the budget: few large ones lie in fewer pieces. */
const SLAB_SHARE = 1 / 16;

const USAGE = BUFFER_USAGE.storage | BUFFER_USAGE.copySource | BUFFER_USAGE.copyTarget;

/** A range of a slab. */
export interface Span extends BufferRange {
  readonly block: Block;
}

export class WebgpuMemory {
  readonly #device: GpuDevice;
  readonly #arena = new Arena();
  readonly #slabs: GpuBuffer[] = [];
  readonly #slabBytes: number;
  /** Bytes of buffers outside of the arena: weights. */
  #fixedBytes = 0;
  peakBytes = 0;
  readonly budget: number;
  /** Hears that the device had less than the budget; the memory is not there then. */
  onFailure: ((error: OutOfMemoryError) => void) | undefined;

  /** @param budget bytes */
  constructor(device: GpuDevice, budget: number) {
    this.#device = device;
    this.budget = budget;
    const wanted = Math.max(SMALLEST_SLAB, roundUp(budget * SLAB_SHARE, SMALLEST_SLAB));
    this.#slabBytes = Math.min(this.bindingBytes, wanted);
  }

  /** Most bytes of one binding. */
  get bindingBytes(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    return Math.min(maxBufferSize, maxStorageBufferBindingSize);
  }

  /** Bytes that a workgroup may share. */
  get workgroupBytes(): number {
    return this.#device.limits.maxComputeWorkgroupStorageSize;
  }

  get bytesInUse(): number {
    return this.#fixedBytes + this.#arena.bytesInUse;
  }

  /** @param bytes of a binding: a multiple of 4. @throws OutOfMemoryError */
  allocate(bytes: number): Span {
    const size = Math.max(4, bytes);
    const block = this.#arena.allocate(size) ?? this.#grow(size);
    this.#notePeak();
    const slab = this.#slabs[Math.floor(block.address / SLAB_STRIDE)]!;
    return { buffer: slab, offset: block.address % SLAB_STRIDE, size, block };
  }

  free({ block }: Span): void {
    this.#arena.free(block);
  }

  /** A buffer of its own, for what stays. @throws OutOfMemoryError */
  createFixed(bytes: number): BufferRange {
    const size = roundUp(Math.max(4, bytes), 4);
    this.#requireRoom(size);
    const buffer = this.#create(size);
    this.#fixedBytes += size;
    this.#notePeak();
    return { buffer, offset: 0, size };
  }

  freeFixed({ buffer, size }: BufferRange): void {
    buffer.destroy();
    this.#fixedBytes -= size;
  }

  dispose(): void {
    for (const slab of this.#slabs.splice(0)) slab.destroy();
  }

  #grow(bytes: number): Block {
    const limit = this.bindingBytes;
    if (bytes > limit) {
      throw new OutOfMemoryError(
        `an array of ${formatBytes(bytes)} is larger than the ${formatBytes(limit)} that the device binds`,
      );
    }
    const room = this.budget - this.#fixedBytes - this.#arena.capacity;
    const size = [Math.max(roundUp(bytes, SMALLEST_SLAB), this.#slabBytes), roundUp(bytes, 512)].find(
      (wanted) => wanted <= Math.min(room, limit),
    );
    if (size === undefined) throw this.#outOfMemory(bytes);
    this.#arena.grow(this.#slabs.length * SLAB_STRIDE, size, true);
    this.#slabs.push(this.#create(size));
    return this.#arena.allocate(bytes)!;
  }

  #create(size: number): GpuBuffer {
    this.#device.pushErrorScope('out-of-memory');
    const buffer = this.#device.createBuffer({ size, usage: USAGE });
    void this.#device.popErrorScope().then((error) => {
      if (!error) return;
      this.onFailure?.(
        new OutOfMemoryError(
          `the GPU has no ${formatBytes(size)} left, within a budget of ${formatBytes(this.budget)}`,
          {
            hint: 'Give a smaller memoryBudget, so that passes are planned for what is there.',
          },
        ),
      );
    });
    return buffer;
  }

  #requireRoom(bytes: number): void {
    if (this.#fixedBytes + this.#arena.capacity + bytes > this.budget) throw this.#outOfMemory(bytes);
  }

  #outOfMemory(bytes: number): OutOfMemoryError {
    const { budget } = this;
    const held = `${formatBytes(this.#fixedBytes)} of weights and ${formatBytes(this.#arena.bytesInUse)} of tensors`;
    return new OutOfMemoryError(
      `no ${formatBytes(bytes)} left in the budget of ${formatBytes(budget)}: ${held} are in use`,
    );
  }

  #notePeak(): void {
    this.peakBytes = Math.max(this.peakBytes, this.bytesInUse);
  }
}
