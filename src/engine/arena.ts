/**
 * Best-fit allocation inside address ranges that grow: pure bookkeeping, no device calls, so that it is tested without
 * one. Blocks of a range tile it without gaps; free neighbours are merged at once, so two free blocks never touch.
 */

/** Every block starts at a multiple of this, as kernels and cuBLASLt like it. */
export const BLOCK_ALIGNMENT = 512;

export interface Block {
  readonly address: number;
  readonly bytes: number;
}

/** A stretch of a range, in use or free. */
class Span implements Block {
  address: number;
  bytes: number;
  isFree: boolean;
  previous: Span | undefined;
  next: Span | undefined;

  constructor(address: number, bytes: number, isFree: boolean) {
    this.address = address;
    this.bytes = bytes;
    this.isFree = isFree;
  }
}

export class Arena {
  /** Free spans by size, then address; found by bisection. */
  readonly #free: Span[] = [];
  /** The last span of the range that grows. */
  #last: Span | undefined;
  #bytesInUse = 0;
  #capacity = 0;

  /** Bytes of blocks, rounded up to the alignment. */
  get bytesInUse(): number {
    return this.#bytesInUse;
  }

  /** Bytes of memory behind the addresses. */
  get capacity(): number {
    return this.#capacity;
  }

  get largestFree(): number {
    return this.#free.at(-1)?.bytes ?? 0;
  }

  /** Free bytes at the end of the growing range: growth needs only the rest. */
  get freeAtEnd(): number {
    return this.#last?.isFree ? this.#last.bytes : 0;
  }

  /** The smallest free span that is large enough, cut to size; undefined if there is none. */
  allocate(bytes: number): Block | undefined {
    const size = roundUp(Math.max(1, bytes), BLOCK_ALIGNMENT);
    const span = this.#free[this.#firstNotBelow(size, 0)];
    if (!span) return undefined;
    this.#forget(span);
    span.isFree = false;
    if (span.bytes > size) {
      const rest = new Span(span.address + size, span.bytes - size, true);
      span.bytes = size;
      this.#insertAfter(span, rest);
      this.#remember(rest);
    }
    this.#bytesInUse += size;
    return span;
  }

  free(block: Block): void {
    let span = block as Span;
    if (span.isFree) throw new Error('a block was freed twice');
    this.#bytesInUse -= span.bytes;
    span.isFree = true;
    const { previous, next } = span;
    if (next?.isFree) {
      this.#forget(next);
      this.#join(span, next);
    }
    if (previous?.isFree) {
      this.#forget(previous);
      this.#join(previous, span);
      span = previous;
    }
    this.#remember(span);
  }

  /**
   * Adds memory: behind the growing range where it follows on, else as a range of its own that then grows.
   * @param isApart a range of its own in any case
   */
  grow(address: number, bytes: number, isApart = false): void {
    this.#capacity += bytes;
    const last = this.#last;
    const span = new Span(address, bytes, true);
    const isContiguous = !isApart && last !== undefined && last.address + last.bytes === address;
    if (isContiguous && last.isFree) {
      this.#forget(last);
      last.bytes += bytes;
      this.#remember(last);
      return;
    }
    if (isContiguous) this.#insertAfter(last, span);
    this.#last = span;
    this.#remember(span);
  }

  /**
   * Takes [address, address + bytes) out if all of it is free: the memory behind it can go elsewhere. Its addresses
   * are never handed out again.
   */
  takeOut(address: number, bytes: number): boolean {
    const span = this.#free.find((free) => free.address <= address && free.address + free.bytes >= address + bytes);
    if (!span) return false;
    this.#forget(span);
    this.#capacity -= bytes;
    const before = address - span.address;
    const after = span.address + span.bytes - address - bytes;
    // What is taken out stays as a span that is never freed, so that its neighbours do not merge across it.
    const hole = new Span(address, bytes, false);
    if (before > 0) {
      span.bytes = before;
      this.#insertAfter(span, hole);
      this.#remember(span);
    } else {
      hole.previous = span.previous;
      hole.next = span.next;
      if (span.previous) span.previous.next = hole;
      if (span.next) span.next.previous = hole;
      if (this.#last === span) this.#last = hole;
    }
    if (after > 0) {
      const rest = new Span(address + bytes, after, true);
      this.#insertAfter(hole, rest);
      this.#remember(rest);
    }
    return true;
  }

  #insertAfter(span: Span, added: Span): void {
    added.previous = span;
    added.next = span.next;
    if (span.next) span.next.previous = added;
    span.next = added;
    if (this.#last === span) this.#last = added;
  }

  #join(first: Span, second: Span): void {
    first.bytes += second.bytes;
    first.next = second.next;
    if (second.next) second.next.previous = first;
    if (this.#last === second) this.#last = first;
  }

  // Twice for each of some thousand blocks a step: `splice` makes an array each time.
  #remember(span: Span): void {
    const at = this.#firstNotBelow(span.bytes, span.address);
    const free = this.#free;
    free.push(span);
    for (let i = free.length - 1; i > at; i--) free[i] = free[i - 1]!;
    free[at] = span;
  }

  #forget(span: Span): void {
    const free = this.#free;
    for (let i = this.#firstNotBelow(span.bytes, span.address) + 1; i < free.length; i++) free[i - 1] = free[i]!;
    free.pop();
  }

  /** Index of the first free span that does not come before (bytes, address). */
  #firstNotBelow(bytes: number, address: number): number {
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const span = this.#free[middle]!;
      if (span.bytes < bytes || (span.bytes === bytes && span.address < address)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
