/**
 * Page-locked host memory between the program and the device: uploads leave at once and read-backs arrive late, and
 * neither waits for the compute stream inside a step. Blocks come in powers of two and are used again when the event
 * behind their last copy has passed.
 */
import { EngineError } from '../../errors.js';
import type { CudaDriver, PinnedBlock } from './driver.js';
import { type DevicePointer, offset } from './launch.js';

export type StagingDriver = Pick<
  CudaDriver,
  | 'allocatePinned'
  | 'upload'
  | 'downloadAsync'
  | 'createEvent'
  | 'recordEvent'
  | 'eventDone'
  | 'synchronizeEvent'
  | 'destroyEvent'
>;

const SMALLEST_BYTES = 4096;
/** Above this, blocks of one size wait for the oldest copy instead of growing in number, unless that waits for others. */
const MAX_BYTES_IN_FLIGHT = 256 << 20;
/**
 * How long an event is polled as often as the event loop comes round, before it is left to itself for a millisecond at a
 * time: a generated token takes less, and a timer would add up to a millisecond to each.
 */
const QUICK_MILLISECONDS = 25;

/** Uploads are cut into pieces of this size, so that a large array needs no page-locked block of its own size. */
const UPLOAD_PIECE = 16 << 20;
/** Larger blocks are given back to the system after use. */
const LARGEST_KEPT = 64 << 20;

/** Values on their way to the host. */
export interface Download {
  /** Fresh bytes, once the device has come that far; always the same ones. */
  arrive(): Promise<ArrayBuffer>;
  /** Nobody will ask. */
  discard(): void;
}

interface StagingBlock {
  readonly pinned: PinnedBlock;
  readonly event: number;
}

export class Staging {
  readonly #driver: StagingDriver;
  /** Blocks behind a queued copy by size, oldest first. */
  readonly #queued = new Map<number, StagingBlock[]>();
  readonly #idle = new Map<number, StagingBlock[]>();
  readonly #all = new Set<StagingBlock>();
  #isDisposed = false;
  /** Whether queued work waits for other ranks: then no copy behind it is waited for. */
  isHeld: () => boolean = () => false;

  constructor(driver: StagingDriver) {
    this.#driver = driver;
  }

  /** Queues a copy of the values as they are now. */
  upload(target: DevicePointer, source: ArrayBufferView): void {
    this.uploadJoined(target, source.byteLength, [source]);
  }

  /** Queues a copy of several arrays, one after the other. @param bytes of all of them */
  uploadJoined(target: DevicePointer, bytes: number, sources: Iterable<ArrayBufferView>): void {
    let block: StagingBlock | undefined;
    /** Where the block goes, and what of it is filled. */
    let [at, filled] = [0, 0];
    for (const source of sources) {
      const values = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
      for (let from = 0; from < values.length; ) {
        const most = Math.min(UPLOAD_PIECE, bytes - at);
        block ??= this.take(most);
        const part = values.subarray(from, from + most - filled);
        block.pinned.bytes.set(part, filled);
        from += part.length;
        filled += part.length;
        if (filled < most) continue;
        this.#driver.upload(offset(target, at), block.pinned.bytes.subarray(0, filled));
        this.giveBack(block);
        block = undefined;
        [at, filled] = [at + filled, 0];
      }
    }
  }

  /** Queues a read-back of the values as the stream then has them. */
  download(source: DevicePointer, bytes: number): Download {
    if (bytes === 0) return { arrive: async () => new ArrayBuffer(0), discard: () => {} };
    const block = this.take(bytes);
    this.#driver.downloadAsync(block.pinned.bytes.subarray(0, bytes), source);
    this.#driver.recordEvent(block.event);
    let result: Promise<ArrayBuffer> | undefined;
    let isDone = false;
    const fetch = async (): Promise<ArrayBuffer> => {
      await this.passed(block.event);
      this.#requireLive();
      const copy = block.pinned.bytes.slice(0, bytes).buffer;
      if (block.pinned.bytes.length <= LARGEST_KEPT) this.#idleOf(block.pinned.bytes.length).push(block);
      else this.#free(block);
      return copy;
    };
    return {
      arrive: () => {
        isDone = true;
        result ??= fetch();
        return result;
      },
      discard: () => {
        if (!isDone) this.giveBack(block);
        isDone = true;
      },
    };
  }

  /**
   * Resolves when the work before the event is done, without blocking the thread.
   * @throws EngineError if the engine is disposed meanwhile
   */
  async passed(event: number): Promise<void> {
    const start = performance.now();
    this.#requireLive();
    while (!this.#driver.eventDone(event)) {
      if (performance.now() - start < QUICK_MILLISECONDS) await new Promise((resolve) => setImmediate(resolve));
      else await new Promise((resolve) => setTimeout(resolve, 1));
      this.#requireLive();
    }
  }

  /** A block of at least `bytes` that nothing is using. */
  take(bytes: number): StagingBlock {
    const size = Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(bytes)));
    const idle = this.#idleOf(size).pop();
    if (idle) return idle;
    const queued = this.#queued.get(size) ?? [];
    const oldest = queued[0];
    if (oldest && this.#driver.eventDone(oldest.event)) return queued.shift()!;
    if (oldest && queued.length * size >= MAX_BYTES_IN_FLIGHT && !this.isHeld()) {
      this.#driver.synchronizeEvent(oldest.event);
      return queued.shift()!;
    }
    const block = { pinned: this.#driver.allocatePinned(size), event: this.#driver.createEvent() };
    this.#all.add(block);
    return block;
  }

  /** To be used again once the copies queued until now have passed. */
  giveBack(block: StagingBlock): void {
    this.#driver.recordEvent(block.event);
    const size = block.pinned.bytes.length;
    const queued = this.#queued.get(size);
    if (queued) queued.push(block);
    else this.#queued.set(size, [block]);
  }

  dispose(): void {
    this.#isDisposed = true;
    for (const block of [...this.#all]) this.#free(block);
    this.#queued.clear();
    this.#idle.clear();
  }

  /** Events and page-locked memory are gone with the engine: touching them would take the process down. */
  #requireLive(): void {
    if (this.#isDisposed) throw new EngineError('the engine was disposed while something waited for the device');
  }

  #free(block: StagingBlock): void {
    this.#all.delete(block);
    block.pinned.free();
    this.#driver.destroyEvent(block.event);
  }

  #idleOf(size: number): StagingBlock[] {
    let blocks = this.#idle.get(size);
    if (!blocks) {
      blocks = [];
      this.#idle.set(size, blocks);
    }
    return blocks;
  }
}
