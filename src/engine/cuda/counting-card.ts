/**
 * A card that only keeps the books: the engine accounts for all memory as on a real one, and nothing is computed. What a
 * model takes is so known without a card.
 */
import { OutOfMemoryError } from '../../errors.js';
import type { CudaParts, EngineDriver } from './cuda-engine.js';
import type { PhysicalMemory } from './memory.js';
import { Overhead } from './process-memory.js';

/** The card that is stood for. */
interface CountedCard {
  readonly name: string;
  /** Compute capability as one number: 90 is 9.0. */
  readonly capability: number;
  readonly multiprocessors: number;
}

/** Parts of host memory all lie in one, and the largest have none: nobody reads them. */
const SHARED_BYTES = 32 << 20;
const READ_BYTES = 1 << 16;
let shared: Uint8Array | undefined;
/** Of cuBLASLt: the first that any engine would find today. */
const LIBRARY_VERSION = 130_000;

function nothing(): void {}

/** @param overheadBytes of context and code; undefined: none is counted */
export function countingParts(card: CountedCard, memory: PhysicalMemory, overheadBytes?: number): CudaParts {
  const pinned = (bytes: number): Uint8Array => {
    shared ??= new Uint8Array(SHARED_BYTES);
    return shared.subarray(0, bytes > SHARED_BYTES ? 0 : bytes);
  };
  let next = 1;
  const driver: EngineDriver = {
    device: {
      ordinal: 0,
      ...card,
      totalBytes: memory.memoryInfo().total,
      driverVersion: 13000,
      hasVirtualMemory: true,
    },
    stream: 1,
    launches: 0,
    copyStream: 2,
    allocatePinned: (bytes) => ({ bytes: pinned(bytes), free: nothing }),
    upload: nothing,
    uploadRows: nothing,
    downloadAsync: ({ buffer, byteOffset, byteLength }) => {
      // What is read back to decide on is small: flags, a loss.
      if (byteLength <= READ_BYTES) new Uint8Array(buffer, byteOffset, byteLength).fill(0);
    },
    createEvent: () => next++,
    recordEvent: nothing,
    eventDone: () => true,
    synchronizeEvent: nothing,
    elapsedMilliseconds: () => 1,
    destroyEvent: nothing,
    waitEvent: nothing,
    copy: nothing,
    copyFromPeer: nothing,
    copyRows: nothing,
    fillBytes: nothing,
    clearRows: nothing,
    synchronize: nothing,
    dispose: nothing,
  };
  return {
    driver,
    memory,
    ...(overheadBytes === undefined ? {} : { overhead: new Overhead({ usedBytes: () => overheadBytes }) }),
    kernels: {
      multiprocessors: card.multiprocessors,
      hasWarpgroups: card.capability === 90,
      launch: nothing,
      dispose: nothing,
    },
    library: {
      version: LIBRARY_VERSION,
      descriptor: () => 1,
      e4m3Descriptor: () => 2,
      setScales: nothing,
      createLayout: () => next++,
      destroyLayout: nothing,
      firstChoice: () => new BigUint64Array(8),
      check: () => 0,
      matmul: () => 0,
      dispose: nothing,
    },
    compilerVersion: 'none',
  };
}

/** So many bytes of which nothing but the number is kept. */
export class CountedMemory implements PhysicalMemory {
  readonly isVirtual = true;
  readonly granularity = 2 << 20;
  readonly #total: number;
  #used: number;
  #next = 2 ** 40;

  /** @param used taken by others */
  constructor(total: number, used = 0) {
    this.#total = total;
    this.#used = used;
  }

  reserve(bytes: number): number {
    const address = this.#next;
    this.#next += bytes;
    return address;
  }

  /** @throws OutOfMemoryError */
  map(address: number, bytes: number): { address: number; handle: number } {
    if (this.#used + bytes > this.#total) throw new OutOfMemoryError('the card has no more memory');
    this.#used += bytes;
    return { address, handle: address };
  }

  move(): void {}

  release({ bytes }: { readonly bytes: number }): void {
    this.#used -= bytes;
  }

  dispose(): void {}
  synchronize(): void {}

  memoryInfo(): { free: number; total: number } {
    return { free: this.#total - this.#used, total: this.#total };
  }
}
