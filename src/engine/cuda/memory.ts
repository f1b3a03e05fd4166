/**
 * Device memory. Kernels run in the order of one stream, so a freed block may be handed out at once: whatever uses it
 * next is queued behind what used it before.
 *
 * A pool is one long range of addresses that is backed with physical memory piece by piece (the driver's virtual
 * memory API), so that ragged sizes meet in one arena and merge. When a request does not fit although enough is free,
 * pieces that lie wholly in holes are moved behind the end of the range. Without that API a pool takes slabs.
 */
import { OutOfMemoryError } from '../../errors.js';
import { formatBytes } from '../../messages/format-bytes.js';
import { Arena, type Block, roundUp } from '../arena.js';
import type { EngineMemory } from '../engine.js';
import { HeldDeviceError } from '../held-device.js';
import type { DevicePointer } from './launch.js';
import { Overhead } from './process-memory.js';

/** What a pool needs of the driver; `VirtualMemory` and `SlabMemory` are the real ones. */
export interface PhysicalMemory {
  /** Whether a range can grow and its pieces can move. */
  readonly isVirtual: boolean;
  /** Sizes of pieces are multiples of this. */
  readonly granularity: number;
  /** A range of addresses without memory behind it; 0 if `isVirtual` is false. */
  reserve(bytes: number): number;
  /** Memory at `address` of a range (anywhere if not virtual). @throws OutOfMemoryError */
  map(address: number, bytes: number): { readonly address: number; readonly handle: number };
  /** Moves a mapped piece to another address of the range. The device must not be using it. */
  move(handle: number, from: number, to: number, bytes: number): void;
  release(piece: { readonly address: number; readonly handle: number; readonly bytes: number }): void;
  /** Gives the addresses back, after every piece is released. */
  dispose(): void;
  /** Waits until nothing queued uses memory. */
  synchronize(): void;
  memoryInfo(): { free: number; total: number };
}

type PoolName = 'weights' | 'tensors';

/** Physical memory comes in pieces of this size at most: small enough to be found free and moved. */
const PIECE_BYTES = 32 << 20;
/** In a small budget smaller pieces, of which more lie wholly in holes: so many fill it. */
const BUDGET_PIECES = 512;
const SMALLEST_PIECE_BYTES = 4 << 20;
/** A pool grows by multiples of this. Weights stay, so they get no more than they need. */
const GROWTH_BYTES: Readonly<Record<PoolName, number>> = { weights: 2 << 20, tensors: 32 << 20 };
/** A pool reserves this many times the card's memory in addresses, as moved pieces leave theirs unused. */
const RESERVED_TIMES = 16;

/** Share of the card left to code, the libraries' own buffers and what other programs take later. */
const MARGIN_SHARE = 0.02;

interface Piece {
  address: number;
  readonly bytes: number;
  readonly handle: number;
}

class Pool {
  readonly arena = new Arena();
  readonly #memory: PhysicalMemory;
  readonly #growthBytes: number;
  readonly #pieceBytes: number;
  readonly #pieces: Piece[] = [];
  readonly #isHeld: () => boolean;
  #end = 0;

  constructor(memory: PhysicalMemory, isHeld: () => boolean, growthBytes: number, pieceBytes = PIECE_BYTES) {
    this.#memory = memory;
    this.#isHeld = isHeld;
    this.#growthBytes = roundUp(growthBytes, memory.granularity);
    // Slabs do not move: small ones would only lie in more pieces.
    this.#pieceBytes = roundUp(memory.isVirtual ? pieceBytes : PIECE_BYTES, memory.granularity);
    if (memory.isVirtual) this.#end = memory.reserve(RESERVED_TIMES * memory.memoryInfo().total);
  }

  /** @returns undefined if the card or the budget has no more */
  allocate(bytes: number, room: () => number): Block | undefined {
    return this.arena.allocate(bytes) ?? (this.#grow(bytes, room()) ? this.arena.allocate(bytes) : undefined);
  }

  /** Makes a free block of `bytes` at the end, with up to `room` bytes more memory than now. */
  #grow(bytes: number, room: number): boolean {
    if (!this.#memory.isVirtual) return this.#growBySlab(bytes, room);
    const missing = (): number => roundUp(bytes - this.arena.freeAtEnd, this.#memory.granularity);
    const wanted = roundUp(missing(), this.#growthBytes);
    let available = room;
    if (missing() > available) this.#moveHoles(missing() - available);
    let left = wanted <= available ? wanted : missing();
    while (left > 0) {
      if (left > available) return false;
      const size = Math.min(left, this.#pieceBytes);
      try {
        this.#add(this.#memory.map(this.#end, size).handle, size);
        available -= size;
        left -= size;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        // The card has less than the budget allows: what is needed may still lie in holes.
        this.#moveHoles(missing());
        return this.arena.freeAtEnd >= bytes;
      }
    }
    return true;
  }

  #growBySlab(bytes: number, room: number): boolean {
    for (const size of [roundUp(bytes, this.#pieceBytes), roundUp(bytes, this.#memory.granularity)]) {
      if (size > room) continue;
      try {
        const { address, handle } = this.#memory.map(0, size);
        this.#pieces.push({ address, bytes: size, handle });
        this.arena.grow(address, size, true);
        return true;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
      }
    }
    return false;
  }

  /**
   * Moves pieces that are wholly free behind the end until `bytes` have come together; gives how many did.
   * @throws HeldDeviceError
   */
  #moveHoles(bytes: number): number {
    if (this.#isHeld()) throw new HeldDeviceError();
    let moved = 0;
    let isIdle = false;
    // The free bytes at the end are counted already: they stay.
    const tail = this.#end - this.arena.freeAtEnd;
    for (const piece of [...this.#pieces].sort((a, b) => a.address - b.address)) {
      if (moved >= bytes) break;
      if (piece.address + piece.bytes > tail || !this.arena.takeOut(piece.address, piece.bytes)) continue;
      if (!isIdle) this.#memory.synchronize();
      isIdle = true;
      this.#memory.move(piece.handle, piece.address, this.#end, piece.bytes);
      this.arena.grow(this.#end, piece.bytes);
      piece.address = this.#end;
      this.#end += piece.bytes;
      moved += piece.bytes;
    }
    return moved;
  }

  #add(handle: number, bytes: number): void {
    this.#pieces.push({ address: this.#end, bytes, handle });
    this.arena.grow(this.#end, bytes);
    this.#end += bytes;
  }

  dispose(): void {
    for (const piece of this.#pieces.splice(0)) this.#memory.release(piece);
  }
}

/** Holder of small index lists that later calls use again; not counted as in use. */
export const CACHE = 'cached index lists';

/** Holder of the scratch of products. Plans count it separately, so `bytesInUse` excludes it and `peakBytes` has it. */
export const SCRATCH = 'widened weights';

/** A block and the pool that it goes back to. */
export interface DeviceBlock extends Block {
  readonly address: DevicePointer;
  readonly pool: PoolName;
  /** For messages about what fills the card. */
  readonly holder: string;
  readonly inner: Block;
}

function pieceBytesOf(budget: number): number {
  return Math.max(SMALLEST_PIECE_BYTES, Math.min(PIECE_BYTES, Math.floor(budget / BUDGET_PIECES)));
}

export class DeviceAllocator {
  readonly #memory: PhysicalMemory;
  readonly #pools: Readonly<Record<PoolName, Pool>>;
  readonly #budget: number;
  readonly #overhead: Overhead;
  /** Free memory of the card at the start, less a margin and what libraries took later. */
  #cardBytes: number;
  readonly #byHolder = new Map<string, number>();
  #peak = 0;
  /** Whether queued work waits for other ranks: then nobody may wait for the device. */
  isHeld: () => boolean = () => false;

  /**
   * @param budget most bytes of device memory for the process. Default: all the card has
   * @param overhead device memory of the process outside the pools
   */
  constructor(memory: PhysicalMemory, budget = Number.POSITIVE_INFINITY, overhead = new Overhead()) {
    this.#memory = memory;
    this.#budget = budget;
    this.#overhead = overhead;
    const { free, total } = memory.memoryInfo();
    this.#cardBytes = Math.floor(free - MARGIN_SHARE * total);
    this.#pools = {
      weights: new Pool(memory, () => this.isHeld(), GROWTH_BYTES.weights),
      tensors: new Pool(memory, () => this.isHeld(), GROWTH_BYTES.tensors, pieceBytesOf(budget)),
    };
  }

  /**
   * @param holder what the block is for, in a word or two
   * @throws OutOfMemoryError if neither the budget nor the card has that much; HeldDeviceError if pieces would have to move
   */
  allocate(bytes: number, holder = 'tensors', pool: PoolName = 'tensors'): DeviceBlock {
    // An empty block has an address as well.
    const inner = this.#pools[pool].allocate(Math.max(1, bytes), () => this.#room());
    if (!inner) throw this.#outOfMemory(bytes, holder);
    this.#byHolder.set(holder, (this.#byHolder.get(holder) ?? 0) + inner.bytes);
    this.#peak = Math.max(this.#peak, this.#bytesInUse);
    return { address: inner.address as DevicePointer, bytes: inner.bytes, pool, holder, inner };
  }

  free(block: DeviceBlock): void {
    this.#byHolder.set(block.holder, this.#byHolder.get(block.holder)! - block.inner.bytes);
    this.#pools[block.pool].arena.free(block.inner);
  }

  memory(): EngineMemory {
    this.#overhead.measure(this.#capacity);
    const cached = this.#byHolder.get(CACHE) ?? 0;
    return {
      bytesInUse: this.#bytesInUse - cached - (this.#byHolder.get(SCRATCH) ?? 0),
      peakBytes: this.#peak - cached,
      limitBytes: this.#limit,
      overheadBytes: this.#overhead.counted,
      deviceBytes: this.#capacity + this.#overhead.bytes,
    };
  }

  /** A library has taken so much of the card, or given it back (negative): the pools can have the rest. */
  noteTaken(bytes: number): void {
    this.#cardBytes -= bytes;
  }

  resetPeak(): void {
    this.#peak = this.#bytesInUse;
  }

  dispose(): void {
    for (const pool of Object.values(this.#pools)) pool.dispose();
    this.#memory.dispose();
  }

  /** Most bytes of all pools. */
  get #limit(): number {
    return Math.max(0, Math.min(this.#budget - this.#overhead.counted, this.#cardBytes));
  }

  /** Bytes that the pools may still grow by. */
  #room(): number {
    if (!Number.isFinite(this.#budget)) return this.#budget;
    this.#overhead.measure(this.#capacity);
    return Math.max(0, this.#budget - this.#overhead.counted - this.#capacity);
  }

  get #bytesInUse(): number {
    return this.#pools.weights.arena.bytesInUse + this.#pools.tensors.arena.bytesInUse;
  }

  get #capacity(): number {
    return this.#pools.weights.arena.capacity + this.#pools.tensors.arena.capacity;
  }

  #outOfMemory(bytes: number, holder: string): OutOfMemoryError {
    const card = this.#memory.memoryInfo();
    const holders = [...this.#byHolder].filter(([, held]) => held > 0).sort(([, a], [, b]) => b - a);
    const held = holders.map(([name, size]) => `${name} ${formatBytes(size)}`).join(', ') || 'nothing';
    const isBudget = Number.isFinite(this.#budget);
    const { counted } = this.#overhead;
    const beside = counted > 0 ? `, of which code and context take ${formatBytes(counted)}` : '';
    const limit = isBudget ? `the budget is ${formatBytes(this.#budget)}${beside}, ` : '';
    const free = this.#capacity - this.#bytesInUse;
    return new OutOfMemoryError(
      `out of device memory: ${formatBytes(bytes)} needed for ${holder}; ${limit}${formatBytes(free)} of the engine's memory is free ` +
        `(largest hole ${formatBytes(this.#pools.tensors.arena.largestFree)}), ${formatBytes(card.free)} of ${formatBytes(card.total)} on the ` +
        `card; held: ${held}`,
      {
        hint:
          'Fewer tokens and images at a time take less; other programs on the card count too (nvidia-smi)' +
          `${isBudget ? ', and `memoryBudget` of the engine may be raised' : ''}.`,
        neededBytes: bytes,
        freeBytes: free,
        limitBytes: this.#limit,
        details: { cardFreeBytes: card.free, heldBytes: Object.fromEntries(holders) },
      },
    );
  }
}
