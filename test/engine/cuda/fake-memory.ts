import { expect } from 'vitest';
import type { Block } from '../../../src/engine/arena.js';
import type { PhysicalMemory } from '../../../src/engine/cuda/memory.js';
import { OutOfMemoryError } from '../../../src/errors.js';

/** A card of `total` bytes; knows which addresses have memory behind them. */
export class FakeMemory implements PhysicalMemory {
  readonly isVirtual: boolean;
  readonly granularity = 2 * 2 ** 20;
  readonly total: number;
  readonly mapped = new Map<number, number>();
  synchronized = 0;
  moved = 0;
  #used = 0;
  #next = 2 ** 40;

  constructor(total: number, isVirtual = true) {
    this.total = total;
    this.isVirtual = isVirtual;
  }

  reserve(bytes: number): number {
    const address = this.#next;
    this.#next += bytes;
    return address;
  }

  map(address: number, bytes: number): { address: number; handle: number } {
    if (this.#used + bytes > this.total) throw new OutOfMemoryError('full');
    this.#used += bytes;
    const place = this.isVirtual ? address : this.reserve(bytes + 4096);
    expect(this.mapped.has(place)).toBe(false);
    this.mapped.set(place, bytes);
    return { address: place, handle: place };
  }

  move(_handle: number, from: number, to: number, bytes: number): void {
    expect(this.mapped.get(from)).toBe(bytes);
    expect(this.synchronized).toBeGreaterThan(0);
    this.mapped.delete(from);
    this.mapped.set(to, bytes);
    this.moved++;
  }

  release({ address, bytes }: { address: number; bytes: number }): void {
    this.#used -= bytes;
    this.mapped.delete(address);
  }

  dispose(): void {
    expect(this.mapped.size).toBe(0);
  }

  synchronize(): void {
    this.synchronized++;
  }

  memoryInfo(): { free: number; total: number } {
    return { free: this.total - this.#used, total: this.total };
  }

  /** Whether memory lies behind every byte. */
  covers({ address, bytes }: Block): boolean {
    let at = address;
    for (;;) {
      const piece = [...this.mapped].find(([start, size]) => start <= at && at < start + size);
      if (!piece) return false;
      at = piece[0] + piece[1];
      if (at >= address + bytes) return true;
    }
  }
}
