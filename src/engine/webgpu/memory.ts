/** Device memory: an arena over a few large buffers for everything that comes and goes, and a budget over all. */
import { OutOfMemoryError } from '../../errors.js';
import { formatBytes } from '../../messages/format-bytes.js';
import { Arena, type Block, roundUp } from '../arena.js';
import type { CommandQueue } from './command-queue.js';
import type { BufferRange, GpuBuffer, GpuDevice } from './gpu-types.js';

/** Distance of slabs in the arena's address space, so that an address gives its slab. */
const SLAB_STRIDE = 2 ** 38;
const SMALLEST_SLAB = 32 << 20;
/** A slab is this share of the budget: few large ones lie in fewer pieces. */
const SLAB_SHARE = 1 / 16;
const LARGEST_SLAB = 2 ** 31;

/** A range of a slab. */
export interface Span extends BufferRange {
  readonly block: Block;
}

interface Slab {
  readonly address: number;
  readonly size: number;
  readonly buffer: GpuBuffer;
  /** The device turned out to have no memory for it. */
  isMissing: boolean;
}

/** What buffers are made with. */
type BufferMaker = Pick<CommandQueue, 'createStorage' | 'destroyStorage' | 'flush'>;

export class WebgpuMemory {
  readonly #device: Pick<GpuDevice, 'limits'>;
  readonly #queue: BufferMaker;
  #arena = new Arena();
  /** By number; addresses are never handed out again, so one that is given back leaves a hole. */
  readonly #slabs = new Map<number, Slab>();
  readonly #slabBuffers = new Set<GpuBuffer>();
  #nextSlab = 0;
  #missing = 0;
  #slabBytes: number;
  /** Buffers outside of the arena: weights. */
  readonly #fixed = new Set<GpuBuffer>();
  #fixedBytes = 0;
  #budget: number;
  #isDisposed = false;
  peakBytes = 0;

  /** @param budget bytes */
  constructor(device: Pick<GpuDevice, 'limits'>, queue: BufferMaker, budget: number) {
    this.#device = device;
    this.#queue = queue;
    this.#budget = budget;
    const wanted = Math.max(SMALLEST_SLAB, roundUp(budget * SLAB_SHARE, SMALLEST_SLAB));
    this.#slabBytes = Math.min(this.bindingBytes, LARGEST_SLAB, wanted);
  }

  /** Bytes; what the device turned out to have, if that is less than was set. */
  get budget(): number {
    return this.#budget;
  }

  /** Most bytes of one binding. */
  get bindingBytes(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    // Some devices bind 2^31 - 4 bytes; buffers are read as whole vectors of four words.
    return 16 * Math.floor(Math.min(maxBufferSize, maxStorageBufferBindingSize) / 16);
  }

  get bytesInUse(): number {
    return this.#fixedBytes + this.#arena.bytesInUse;
  }

  /** Bytes of all buffers: what the device gave. */
  get heldBytes(): number {
    return this.#fixedBytes + this.#arena.capacity;
  }

  /** @param bytes of a binding: a multiple of 4. @throws OutOfMemoryError */
  allocate(bytes: number): Span {
    const size = Math.max(4, bytes);
    if (this.#missing > 0) this.#dropMissing();
    const block = this.#arena.allocate(size) ?? this.#grow(size);
    this.#notePeak();
    const { buffer, address } = this.#slabs.get(Math.floor(block.address / SLAB_STRIDE))!;
    return { buffer, offset: block.address - address, size, block };
  }

  free({ block }: Span): void {
    if (this.#slabs.size > 0) this.#arena.free(block);
  }

  /** Whether tensors of this memory lie in the buffer; of memory that is disposed of nothing is known. */
  holdsTensors(buffer: GpuBuffer): boolean {
    return this.#slabBuffers.has(buffer) || this.#isDisposed;
  }

  /** A buffer of its own, for what stays; whole vectors of four words may be read of it. @throws OutOfMemoryError */
  createFixed(bytes: number): BufferRange {
    const size = roundUp(Math.max(16, bytes), 16);
    if (this.heldBytes + size > this.#budget) this.#giveBack();
    if (this.heldBytes + size > this.#budget) throw this.#outOfMemory(size);
    const buffer = this.#queue.createStorage(size, (message) => {
      this.#shrink(size, size);
      return this.#shortage(size, message);
    });
    this.#fixed.add(buffer);
    this.#fixedBytes += size;
    this.#notePeak();
    return { buffer, offset: 0, size };
  }

  freeFixed({ buffer, size }: BufferRange): void {
    if (!this.#fixed.delete(buffer)) return;
    this.#queue.destroyStorage(buffer);
    this.#fixedBytes -= size;
  }

  dispose(): void {
    for (const { buffer } of this.#slabs.values()) this.#queue.destroyStorage(buffer);
    for (const buffer of this.#fixed) this.#queue.destroyStorage(buffer);
    this.#isDisposed = true;
    this.#slabs.clear();
    this.#slabBuffers.clear();
    this.#fixed.clear();
    this.#fixedBytes = 0;
    this.#arena = new Arena();
  }

  #grow(bytes: number): Block {
    const limit = this.bindingBytes;
    if (bytes > limit) {
      throw new OutOfMemoryError(
        `an array of ${formatBytes(bytes)} is larger than the ${formatBytes(limit)} that the device binds`,
        {
          hint:
            'A device of your own has what it was asked for: give requestDevice the maxBufferSize and ' +
            'maxStorageBufferBindingSize of adapter.limits as requiredLimits. Or take smaller passes or a lower rank.',
          neededBytes: bytes,
          limitBytes: limit,
        },
      );
    }
    const size = this.#slabFor(bytes, limit) ?? (this.#giveBack() ? this.#slabFor(bytes, limit) : undefined);
    if (size === undefined) throw this.#outOfMemory(bytes);
    const number = this.#nextSlab++;
    const address = number * SLAB_STRIDE;
    const buffer = this.#queue.createStorage(size, (message) => {
      slab.isMissing = true;
      this.#missing++;
      this.#shrink(size, 0);
      return this.#shortage(size, message);
    });
    const slab: Slab = { address, size, buffer, isMissing: false };
    this.#slabs.set(number, slab);
    this.#slabBuffers.add(buffer);
    this.#arena.grow(address, size, true);
    return this.#arena.allocate(bytes)!;
  }

  /** Bytes of the next slab, for an array of so many; undefined if none fits the budget. */
  #slabFor(bytes: number, limit: number): number | undefined {
    const room = Math.min(limit, this.#budget - this.heldBytes);
    const usual = Math.max(roundUp(bytes, SMALLEST_SLAB), this.#slabBytes);
    return [usual, roundUp(bytes, 512)].find((wanted) => wanted <= room);
  }

  /** Destroys slabs of which nothing is in use. @returns whether there was one */
  #giveBack(only: (slab: Slab) => boolean = () => true): boolean {
    let hasGiven = false;
    for (const [number, slab] of this.#slabs) {
      if (!only(slab) || !this.#arena.takeOut(slab.address, slab.size)) continue;
      // What has gathered may use it.
      if (!hasGiven) this.#queue.flush();
      this.#queue.destroyStorage(slab.buffer);
      this.#slabs.delete(number);
      this.#slabBuffers.delete(slab.buffer);
      hasGiven = true;
    }
    return hasGiven;
  }

  /** As soon as their tensors, which are void, are freed. */
  #dropMissing(): void {
    this.#giveBack(({ isMissing }) => isMissing);
    this.#missing = [...this.#slabs.values()].filter(({ isMissing }) => isMissing).length;
  }

  /**
   * After the device had no room for so many bytes, at most half of them are asked for again.
   * @param missingFixed those of them that count among the weights
   */
  #shrink(bytes: number, missingFixed: number): void {
    const missing = [...this.#slabs.values()].reduce((sum, slab) => sum + (slab.isMissing ? slab.size : 0), 0);
    const there = this.heldBytes - missing - missingFixed;
    this.#budget = Math.min(this.#budget, there + Math.ceil(bytes / 2));
    this.#slabBytes = Math.min(this.#slabBytes, Math.max(SMALLEST_SLAB, roundUp(bytes / 2, SMALLEST_SLAB)));
  }

  #shortage(size: number, message: string): OutOfMemoryError {
    const given = formatBytes(this.#budget);
    return new OutOfMemoryError(`the GPU has no ${formatBytes(size)} left: ${message.split('\n')[0]}`, {
      hint: `From now on it counts as having ${given}; webgpu: { memoryBudget } says beforehand what it has.`,
      neededBytes: size,
      limitBytes: this.#budget,
    });
  }

  #outOfMemory(bytes: number): OutOfMemoryError {
    const held = `${formatBytes(this.#fixedBytes)} of weights and ${formatBytes(this.#arena.bytesInUse)} of tensors`;
    return new OutOfMemoryError(
      `no ${formatBytes(bytes)} left in one piece in the budget of ${formatBytes(this.#budget)}: ${held} are in use`,
      { neededBytes: bytes, freeBytes: Math.max(0, this.#budget - this.heldBytes), limitBytes: this.#budget },
    );
  }

  #notePeak(): void {
    this.peakBytes = Math.max(this.peakBytes, this.bytesInUse);
  }
}
