/** A card of two streams for tests of loading, and memory for its pools. */
import { expect } from 'vitest';
import type { PhysicalMemory } from '../../../src/engine/cuda/memory.js';
import { e4m3ToNumber } from '../../../src/formats/float8.js';
import { float16ToFloat32, float32ToBfloat16 } from '../../../src/formats/half-precision.js';
import type { E4m3ToBf16 } from '../../../src/generated/kernel-launchers.js';

const BASE = 2 ** 20;
const DEVICE_BYTES = 64 << 20;
/** Queued work with the events that it waits for and that it fires. */
type Work = { readonly run: () => void } | { readonly fires: number; readonly count: number } | Wait;
type Wait = { readonly waits: number; readonly count: number };

/**
 * A card whose memory is an array. Each stream runs its work in order, a piece of it whenever the host asks how far an
 * event is; one of them lags behind. So work that lacks an ordering happens too early or too late.
 */
export class FakeCard {
  readonly stream = 1;
  readonly copyStream = 2;
  readonly memory = new Uint8Array(DEVICE_BYTES);
  readonly queues = new Map<number, Work[]>([
    [1, []],
    [2, []],
  ]);
  /** How often each event was recorded, and how often it has fired. */
  readonly recorded = new Map<number, number>();
  readonly fired = new Map<number, number>();
  pinnedBytes = 0;
  mostPinnedBytes = 0;
  copiesOn = new Map<number, number>();
  /** The stream that moves only when it must. */
  lazy = this.stream;
  #events = 0;
  /** The stream on which each event was recorded last. */
  readonly #home = new Map<number, number>();

  at(address: number, bytes: number): Uint8Array {
    return this.memory.subarray(address - BASE, address - BASE + bytes);
  }

  allocatePinned(bytes: number): { bytes: Uint8Array; free(): void } {
    this.pinnedBytes += bytes;
    this.mostPinnedBytes = Math.max(this.mostPinnedBytes, this.pinnedBytes);
    return {
      bytes: new Uint8Array(bytes),
      free: () => {
        this.pinnedBytes -= bytes;
      },
    };
  }

  createEvent = (): number => ++this.#events;
  destroyEvent(): void {}

  recordEvent(event: number, stream = this.stream): void {
    const count = (this.recorded.get(event) ?? 0) + 1;
    this.recorded.set(event, count);
    this.#home.set(event, stream);
    this.queues.get(stream)!.push({ fires: event, count });
  }

  waitEvent(event: number, stream = this.stream): void {
    this.queues.get(stream)!.push({ waits: event, count: this.recorded.get(event) ?? 0 });
  }

  eventDone(event: number): boolean {
    const eager = this.lazy === this.stream ? this.copyStream : this.stream;
    const isBlocked = !this.#step(eager) && this.queues.get(eager)!.length > 0;
    if (isBlocked || this.#home.get(event) === this.lazy) this.#step(this.lazy);
    return this.#isPast(event);
  }

  synchronizeEvent(event: number): void {
    while (!this.#isPast(event)) if (!this.#step(this.stream) && !this.#step(this.copyStream)) throw new Error('stuck');
  }

  synchronize(): void {
    while (this.#step(this.stream) || this.#step(this.copyStream));
    expect([...this.queues.values()].map((queue) => queue.length)).toEqual([0, 0]);
  }

  /** Queues a copy; the source is read only when the copy runs. */
  upload(target: number, source: ArrayBufferView, stream = this.stream): void {
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    this.copiesOn.set(stream, (this.copiesOn.get(stream) ?? 0) + 1);
    this.#queue(stream, () => this.at(target, bytes.length).set(bytes));
  }

  uploadRows(target: number, pitch: number, source: Uint8Array, rowBytes: number, rows: number, stream = 1): void {
    this.copiesOn.set(stream, (this.copiesOn.get(stream) ?? 0) + 1);
    this.#queue(stream, () => {
      for (let row = 0; row < rows; row++) {
        this.at(target + row * pitch, rowBytes).set(source.subarray(row * rowBytes, (row + 1) * rowBytes));
      }
    });
  }

  downloadAsync(target: ArrayBufferView, source: number): void {
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    this.#queue(this.stream, () => bytes.set(this.at(source, bytes.length)));
  }

  fillBytes(target: number, value: number, bytes: number): void {
    this.#queue(this.stream, () => this.at(target, bytes).fill(value));
  }

  clearRows(target: number, pitch: number, rowBytes: number, rows: number): void {
    this.#queue(this.stream, () => {
      for (let row = 0; row < rows; row++) this.at(target + row * pitch, rowBytes).fill(0);
    });
  }

  copy(): void {}
  copyFromPeer(): void {}
  copyRows(): void {}

  /** Further kernels by name; others convert to bf16. */
  readonly kernels = new Map<string, (parameters: never, blocks: number) => void>();

  /** A kernel on the compute stream, of so many blocks. */
  run(name: string, parameters: E4m3ToBf16, blocks = 1): void {
    const kernel = this.kernels.get(name);
    if (kernel) {
      this.#queue(this.stream, () => kernel(parameters as never, blocks));
      return;
    }
    const { out, x, rows, columns, ldo, ldx } = parameters;
    const size = name === 'f32_to_bf16' ? 4 : name === 'f16_to_bf16' ? 2 : 1;
    this.#queue(this.stream, () => {
      for (let row = 0; row < rows; row++) {
        const stored = this.at(x + size * row * ldx, size * columns).slice().buffer;
        let numbers: Float32Array;
        if (size === 4) numbers = new Float32Array(stored);
        else if (size === 2) numbers = float16ToFloat32(new Uint16Array(stored));
        else {
          const { factors, first, blockRows, blockColumns, across, flag } = parameters;
          numbers = Float32Array.from(new Uint8Array(stored), (code, column) => {
            if ((code & 0x7f) === 0x7f) this.at(flag, 4).set([1, 0, 0, 0]);
            const block = Math.floor((first + row) / blockRows) * across + Math.floor(column / blockColumns);
            const factor = new Float32Array(this.at(factors + 4 * block, 4).slice().buffer)[0]!;
            return e4m3ToNumber(code) * factor;
          });
        }
        this.at(out + 2 * row * ldo, 2 * columns).set(new Uint8Array(float32ToBfloat16(numbers).buffer));
      }
    });
  }

  #queue(stream: number, run: () => void): void {
    this.queues.get(stream)!.push({ run });
  }

  #isPast(event: number): boolean {
    return (this.fired.get(event) ?? 0) >= (this.recorded.get(event) ?? 0);
  }

  /** Runs the next piece of a stream; false if there is none or it has to wait. */
  #step(stream: number): boolean {
    const queue = this.queues.get(stream)!;
    const work = queue[0];
    if (!work) return false;
    if ('waits' in work && (this.fired.get(work.waits) ?? 0) < work.count) return false;
    queue.shift();
    if ('run' in work) work.run();
    else if ('fires' in work) {
      this.fired.set(work.fires, Math.max(work.count, this.fired.get(work.fires) ?? 0));
    }
    return true;
  }
}

/** Slabs of the card's array. */
export function physical(card: FakeCard): PhysicalMemory {
  let next = BASE;
  return {
    isVirtual: false,
    granularity: 4096,
    reserve: () => 0,
    map: (_, bytes) => {
      const address = next;
      next += bytes;
      if (next > BASE + DEVICE_BYTES) throw new Error('the test needs a larger card');
      return { address, handle: address };
    },
    move: () => {},
    release: () => {},
    dispose: () => {},
    synchronize: () => card.synchronize(),
    memoryInfo: () => ({ free: DEVICE_BYTES, total: DEVICE_BYTES }),
  };
}
