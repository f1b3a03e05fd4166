/**
 * The memory of the `cpu` engine: one shared WebAssembly memory and an allocator over it.
 *
 * Layout: page 0 holds the control block of the thread pool and the kernels' constants; blocks follow. Free blocks lie
 * in bins of a quarter octave each, so that finding one and giving one back is a few steps at any size; neighbours
 * that are both free are joined (the scheme of TLSF, Masmano et al. 2004).
 */
import { EngineError, OutOfMemoryError } from '../../errors.js';
import { formatBytes } from '../../messages/format-bytes.js';

const PAGE = 65536;
const ALIGN = 64;
/** The last page stays unused, so that a pointer just past a block never wraps to 0. */
const MAX_HEAP_PAGES = 65535;

interface Block {
  ptr: number;
  size: number;
  free: boolean;
  before: Block | undefined;
  after: Block | undefined;
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  readonly #limit: number;
  readonly #used = new Map<number, Block>();
  /** Free blocks by bin; bin b holds sizes from `binFloor(b)` up to the next bin's floor. */
  readonly #bins: Set<Block>[] = Array.from({ length: 130 }, () => new Set());
  #last: Block | undefined;
  #end = PAGE;
  #bytesInUse = 0;
  #peakBytes = 0;
  #f32: Float32Array = new Float32Array(0);
  #i32: Int32Array = new Int32Array(0);
  #u8: Uint8Array = new Uint8Array(0);

  /** @param maxBytes most that the memory may grow to; default and upper bound just under 4 GiB */
  constructor(maxBytes = MAX_HEAP_PAGES * PAGE) {
    const maximum = Math.max(2, Math.min(MAX_HEAP_PAGES, Math.floor(maxBytes / PAGE)));
    this.#limit = maximum * PAGE;
    try {
      this.memory = new WebAssembly.Memory({ initial: Math.min(16, maximum), maximum, shared: true });
    } catch (cause) {
      throw new EngineError(`cannot reserve ${formatBytes(this.#limit)} of address space for the cpu engine`, {
        cause,
        hint: 'Raise the limit on virtual memory (ulimit -v), or give the engine a smaller maxBytes.',
      });
    }
    this.#refresh();
    this.#extend(this.memory.buffer.byteLength - PAGE);
  }

  get bytesInUse(): number {
    return this.#bytesInUse;
  }

  /** The most that `bytesInUse` has been since `resetPeak`. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** The most that `bytesInUse` can come to. */
  get limitBytes(): number {
    return this.#limit - PAGE;
  }

  resetPeak(): void {
    this.#peakBytes = this.#bytesInUse;
  }

  /** The whole memory. Views taken before it grew stay valid (the memory is shared) but end where it ended. */
  get f32(): Float32Array {
    return this.#f32;
  }

  get i32(): Int32Array {
    return this.#i32;
  }

  get u8(): Uint8Array {
    return this.#u8;
  }

  /**
   * A block of at least `bytes` bytes, 64-byte aligned, not cleared.
   * @throws OutOfMemoryError when the memory is exhausted
   */
  alloc(bytes: number): number {
    if (!Number.isInteger(bytes) || bytes < 0) throw new EngineError(`cannot allocate ${bytes} bytes`);
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    let block = this.#take(size);
    if (!block) {
      this.#grow(size, bytes);
      block = this.#take(size);
      if (!block) throw this.#exhausted(bytes);
    }
    if (block.size > size) {
      const rest: Block = {
        ptr: block.ptr + size,
        size: block.size - size,
        free: true,
        before: block,
        after: block.after,
      };
      if (block.after) block.after.before = rest;
      else this.#last = rest;
      block.after = rest;
      block.size = size;
      this.#bins[binOf(rest.size)]!.add(rest);
    }
    block.free = false;
    this.#used.set(block.ptr, block);
    this.#bytesInUse += size;
    if (this.#bytesInUse > this.#peakBytes) this.#peakBytes = this.#bytesInUse;
    return block.ptr;
  }

  /** Gives a block back. @throws EngineError if `ptr` is not a block in use (freed twice, or never allocated) */
  free(ptr: number): void {
    const block = this.#used.get(ptr);
    if (!block) throw new EngineError(`free(${ptr}): not a block in use`);
    this.#used.delete(ptr);
    this.#bytesInUse -= block.size;
    this.#release(block);
  }

  /** A free block that holds `size`, out of its bin. */
  #take(size: number): Block | undefined {
    const bin = binOf(size);
    // In the request's own bin a block may be too small; above it, any fits.
    let looked = 0;
    for (const block of this.#bins[bin]!) {
      if (block.size >= size) return this.#unbin(block, bin);
      if (++looked === 16) break;
    }
    for (let b = bin + 1; b < this.#bins.length; b++) {
      for (const block of this.#bins[b]!) return this.#unbin(block, b);
    }
    // Before the memory grows, the rest of the own bin is worth a look.
    for (const block of this.#bins[bin]!) if (block.size >= size) return this.#unbin(block, bin);
    return undefined;
  }

  #unbin(block: Block, bin: number): Block {
    this.#bins[bin]!.delete(block);
    return block;
  }

  #release(block: Block): void {
    let whole = block;
    const { before, after } = block;
    if (after?.free) {
      this.#bins[binOf(after.size)]!.delete(after);
      this.#join(whole, after);
    }
    if (before?.free) {
      this.#bins[binOf(before.size)]!.delete(before);
      this.#join(before, whole);
      whole = before;
    }
    whole.free = true;
    this.#bins[binOf(whole.size)]!.add(whole);
  }

  /** Makes `second`, which follows `first` in memory, part of it. */
  #join(first: Block, second: Block): void {
    first.size += second.size;
    first.after = second.after;
    if (second.after) second.after.before = first;
    else this.#last = first;
  }

  /** Makes room for a block of `size` at the end of the memory. */
  #grow(size: number, asked: number): void {
    const tail = this.#last?.free ? this.#last.size : 0;
    const needed = Math.ceil((size - tail) / PAGE) * PAGE;
    const room = this.#limit - this.#end;
    if (needed > room) throw this.#exhausted(asked);
    // By an eighth at least, so that many small steps do not each cost a call into the system.
    const bytes = Math.min(room, Math.max(needed, Math.ceil(this.#end / 8 / PAGE) * PAGE));
    try {
      this.memory.grow(bytes / PAGE);
    } catch (cause) {
      throw this.#exhausted(asked, cause);
    }
    this.#refresh();
    this.#extend(bytes);
  }

  #extend(bytes: number): void {
    const block: Block = { ptr: this.#end, size: bytes, free: false, before: this.#last, after: undefined };
    if (this.#last) this.#last.after = block;
    this.#last = block;
    this.#end += bytes;
    this.#release(block);
  }

  #refresh(): void {
    const { buffer } = this.memory;
    this.#f32 = new Float32Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#u8 = new Uint8Array(buffer);
  }

  #exhausted(asked: number, cause?: unknown): OutOfMemoryError {
    return new OutOfMemoryError(
      `the cpu engine is out of memory: ${formatBytes(asked)} asked, ${formatBytes(this.#bytesInUse)} in use of ${formatBytes(this.#limit)}`,
      {
        cause,
        neededBytes: asked,
        freeBytes: this.#limit - this.#bytesInUse,
        limitBytes: this.#limit,
        hint: 'Fewer tokens and images at a time take less.',
      },
    );
  }
}

/** Four bins an octave. */
function binOf(size: number): number {
  const octave = 31 - Math.clz32(size);
  return octave * 4 + ((size >>> (octave - 2)) & 3);
}
