/**
 * A few large page-locked blocks through which weights stream: the disk fills some while others are being copied, across
 * the borders of tensors. Blocks are made when they are first needed and are all given back at the end.
 */
import type { CudaDriver, PinnedBlock } from './driver.js';
import type { DevicePointer } from './launch.js';
import type { DeviceAllocator, DeviceBlock } from './memory.js';
import type { Staging } from './staging.js';

export type RingDriver = Pick<
  CudaDriver,
  | 'stream'
  | 'copyStream'
  | 'allocatePinned'
  | 'createEvent'
  | 'recordEvent'
  | 'waitEvent'
  | 'eventDone'
  | 'synchronizeEvent'
  | 'destroyEvent'
>;

/** Twice the reads that Node has threads for (UV_THREADPOOL_SIZE, 4 where not set). */
export const RING_BLOCKS = 8;

interface RingBlock {
  readonly pinned: PinnedBlock;
  /** Free for a user's own ordering between streams while the block is taken. */
  readonly event: number;
  /** Room of the same size on the device, for values that a kernel converts; see `scratch`. */
  device: DeviceBlock | undefined;
}

export class UploadRing {
  readonly #driver: RingDriver;
  readonly #staging: Pick<Staging, 'passed'>;
  readonly #allocator: DeviceAllocator;
  readonly blockBytes: number;
  readonly #blocks = new Set<RingBlock>();
  /** Behind queued work, oldest first. */
  readonly #queued: RingBlock[] = [];
  /** Takers get their blocks in the order in which they asked: that of the files. */
  #turn: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;

  constructor(driver: RingDriver, staging: Pick<Staging, 'passed'>, allocator: DeviceAllocator, blockBytes: number) {
    this.blockBytes = blockBytes;
    this.#driver = driver;
    this.#staging = staging;
    this.#allocator = allocator;
  }

  /** A block that nothing is using; must be given back, whatever happens. */
  take(): Promise<RingBlock> {
    const taken = this.#turn.then(() => this.#next());
    this.#turn = taken.then(
      () => undefined,
      () => undefined,
    );
    return taken;
  }

  /** To be used again once the work queued on `stream` until now has passed. */
  giveBack(block: RingBlock, stream: number): void {
    this.#driver.recordEvent(block.event, stream);
    this.#queued.push(block);
    this.#wake?.();
  }

  /** Device memory beside a taken block. The copy stream may write there until the block is given back. */
  scratch(block: RingBlock): DevicePointer {
    if (!block.device) {
      block.device = this.#allocator.allocate(this.blockBytes, 'weight conversion');
      // Whoever had this memory before is ahead on the compute stream.
      this.#driver.recordEvent(block.event, this.#driver.stream);
      this.#driver.waitEvent(block.event, this.#driver.copyStream);
    }
    return block.device.address;
  }

  /** Frees all blocks once their last copies are over. None may be taken. */
  clear(): void {
    this.#queued.length = 0;
    for (const block of this.#blocks) {
      this.#driver.synchronizeEvent(block.event);
      if (block.device) this.#allocator.free(block.device);
      block.pinned.free();
      this.#driver.destroyEvent(block.event);
    }
    this.#blocks.clear();
  }

  async #next(): Promise<RingBlock> {
    for (;;) {
      const oldest = this.#queued[0];
      if (oldest && this.#driver.eventDone(oldest.event)) return this.#queued.shift()!;
      if (this.#blocks.size < RING_BLOCKS) return this.#make();
      if (oldest) await this.#staging.passed(oldest.event);
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }

  #make(): RingBlock {
    const pinned = this.#driver.allocatePinned(this.blockBytes);
    const block = { pinned, event: this.#driver.createEvent(), device: undefined };
    this.#blocks.add(block);
    return block;
  }
}
