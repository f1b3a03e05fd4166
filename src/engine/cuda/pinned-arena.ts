/** Arena of page-locked host memory: pieces of any size from slabs that are kept until `dispose`. */
import { Arena, type Block, roundUp } from '../arena.js';
import type { CudaDriver, PinnedBlock } from './driver.js';

/** Locking pages takes longer than copying them, so slabs are large and kept. */
const SLAB_BYTES = 128 << 20;
/** Distance of slabs in the arena's address space, so that an address gives its slab. */
const SLAB_STRIDE = 2 ** 40;

export interface PinnedPiece {
  readonly bytes: Uint8Array;
  readonly block: Block;
}

export class PinnedArena {
  readonly #driver: Pick<CudaDriver, 'allocatePinned'>;
  readonly #slabBytes: number;
  readonly #arena = new Arena();
  readonly #slabs: PinnedBlock[] = [];

  /** @param slabBytes a test makes it small */
  constructor(driver: Pick<CudaDriver, 'allocatePinned'>, slabBytes = SLAB_BYTES) {
    this.#driver = driver;
    this.#slabBytes = slabBytes;
  }

  get bytesInUse(): number {
    return this.#arena.bytesInUse;
  }

  /** @throws OutOfMemoryError if the host cannot page-lock more memory */
  take(bytes: number): PinnedPiece {
    const block = this.#arena.allocate(bytes) ?? this.#grow(bytes);
    const slab = this.#slabs[Math.floor(block.address / SLAB_STRIDE)]!;
    const at = block.address % SLAB_STRIDE;
    return { bytes: slab.bytes.subarray(at, at + bytes), block };
  }

  giveBack({ block }: PinnedPiece): void {
    this.#arena.free(block);
  }

  /** No copy may be under way. */
  dispose(): void {
    for (const slab of this.#slabs.splice(0)) slab.free();
  }

  #grow(bytes: number): Block {
    const size = roundUp(bytes, this.#slabBytes);
    const slab = this.#driver.allocatePinned(size);
    this.#arena.grow(this.#slabs.length * SLAB_STRIDE, size, true);
    this.#slabs.push(slab);
    return this.#arena.allocate(bytes)!;
  }
}
