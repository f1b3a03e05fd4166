/** Where the packed bytes of a quantised matrix lie: on the device, or in host memory from where they are streamed. */
import { pinnedForLayer, type StreamParts } from './host-layers.js';
import type { DevicePointer } from './launch.js';
import type { HostMatrix } from './layer-stream.js';
import type { DeviceAllocator, DeviceBlock } from './memory.js';

export interface PackedMemory {
  readonly bytes: number;
  /** Device address, valid for work queued next. */
  readonly address: DevicePointer;
  /** Calls `body`, which queues the work that fills rows. */
  fill(body: () => Promise<void>): Promise<void>;
  free(): void;
}

type Allocator = Pick<DeviceAllocator, 'allocate' | 'free'>;

export class ResidentMemory implements PackedMemory {
  readonly #allocator: Allocator;
  readonly #block: DeviceBlock;
  readonly address: DevicePointer;

  /** @throws OutOfMemoryError */
  constructor(allocator: Allocator, bytes: number) {
    this.#allocator = allocator;
    this.#block = allocator.allocate(bytes, 'weights', 'weights');
    this.address = this.#block.address;
  }

  get bytes(): number {
    return this.#block.bytes;
  }

  fill(body: () => Promise<void>): Promise<void> {
    return body();
  }

  free(): void {
    this.#allocator.free(this.#block);
  }
}

/** Copied as it is to a slot on the device while its layer is used. */
export class StreamedMemory implements PackedMemory, HostMatrix<ResidentMemory> {
  readonly layer: number;
  readonly form: string;
  readonly bytes: number;
  readonly #parts: StreamParts;
  readonly #host: ReturnType<typeof pinnedForLayer>;
  /** On the device while rows are filled. */
  #filling: DeviceBlock | undefined;
  #isFilled = false;

  /** @throws OutOfMemoryError if host or device memory is exhausted */
  constructor(parts: StreamParts, layer: number, bytes: number) {
    this.#parts = parts;
    this.layer = layer;
    this.bytes = bytes;
    this.form = `${bytes} bytes`;
    this.#host = pinnedForLayer(parts.driver, bytes);
    try {
      parts.stream.add(this);
    } catch (error) {
      this.#host.free();
      throw error;
    }
  }

  get address(): DevicePointer {
    return this.#filling?.address ?? this.#parts.stream.use<ResidentMemory>(this).address;
  }

  makeSlot(): ResidentMemory {
    return new ResidentMemory(this.#parts.store.allocator, this.bytes);
  }

  copyTo(slot: ResidentMemory, stream: number): void {
    this.#parts.driver.upload(slot.address, this.#host.bytes, stream);
  }

  fill(body: () => Promise<void>): Promise<void> {
    return this.#parts.weights.inTurn(async () => {
      const { store, driver, weights } = this.#parts;
      const block = store.allocator.allocate(this.bytes, 'weight conversion');
      this.#filling = block;
      try {
        if (this.#isFilled) driver.upload(block.address, this.#host.bytes);
        await body();
        await weights.download(this.#host.bytes, block.address);
        this.#isFilled = true;
      } finally {
        this.#filling = undefined;
        store.allocator.free(block);
      }
    });
  }

  free(): void {
    this.#parts.stream.remove(this);
    this.#host.free();
  }
}
