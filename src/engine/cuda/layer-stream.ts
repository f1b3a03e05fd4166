/**
 * Frozen layers that lie in page-locked host memory and are copied to the device as they are used. Two layers have room
 * there: one is used while the next one arrives on the copy stream. Events order the streams, so the host never waits.
 *
 * Which layer is the next one is learned from the last time: after the layers before and after it came in this order. A
 * layer that was not foreseen is copied when it is used: slower, and right.
 */
import type { Bf16Matrix } from './bf16-matrix.js';
import type { CudaDriver } from './driver.js';

type StreamDriver = Pick<
  CudaDriver,
  'stream' | 'copyStream' | 'createEvent' | 'recordEvent' | 'waitEvent' | 'synchronizeEvent' | 'destroyEvent'
>;

/** A matrix whose rows lie in host memory, as the stream sees it. */
export interface HostMatrix {
  readonly layer: number;
  /** Equal for matrices that can lie in each other's place on the device. */
  readonly form: string;
  readonly bytes: number;
  /** Queues a copy of all rows. */
  copyTo(slot: Bf16Matrix, stream: number): void;
  /** An empty matrix of this form on the device. */
  makeSlot(): Bf16Matrix;
}

/** Room on the device for one matrix. */
interface SlotPart {
  readonly matrix: Bf16Matrix;
  /** Passed when its copy is there. */
  readonly arrived: number;
  /** The compute stream does not wait for the copy yet. */
  isPending: boolean;
}

/** Room on the device for the matrices of one layer, by form. */
interface Slot {
  layer: number | undefined;
  readonly parts: Map<string, SlotPart>;
  /** Passed when the compute stream has left it. */
  readonly left: number;
}

export class LayerStream {
  readonly #driver: StreamDriver;
  readonly #slots: Slot[];
  /** By layer: its matrices by form; the second one of a form has a place of its own. */
  readonly #layers = new Map<number, Map<string, HostMatrix>>();
  readonly #places = new Map<HostMatrix, string>();
  /** The layers in order. */
  #order: number[] = [];
  #current: number | undefined;
  #previous: number | undefined;
  /** What came after a layer and the one before it. */
  readonly #next = new Map<string, number>();
  readonly #tail: number;

  constructor(driver: StreamDriver, slots: number) {
    this.#driver = driver;
    this.#tail = driver.createEvent();
    this.#slots = Array.from({ length: slots }, () => ({
      layer: undefined,
      parts: new Map(),
      left: driver.createEvent(),
    }));
  }

  get isEmpty(): boolean {
    return this.#layers.size === 0;
  }

  /** Bytes that are copied when all layers are used once. */
  get bytes(): number {
    let sum = 0;
    for (const { bytes } of this.#places.keys()) sum += bytes;
    return sum;
  }

  /** @throws OutOfMemoryError */
  add(matrix: HostMatrix): void {
    const layer = this.#layers.get(matrix.layer) ?? new Map<string, HostMatrix>();
    let place = matrix.form;
    while (layer.has(place)) place += "'";
    for (const slot of this.#slots) {
      if (slot.parts.has(place)) continue;
      slot.parts.set(place, {
        matrix: matrix.makeSlot(),
        arrived: this.#driver.createEvent(),
        isPending: false,
      });
      // What had this memory before is ahead on the compute stream.
      this.#driver.recordEvent(slot.left);
    }
    layer.set(place, matrix);
    this.#places.set(matrix, place);
    this.#layers.set(matrix.layer, layer);
    this.#order = [...this.#layers.keys()].sort((a, b) => a - b);
  }

  /** The matrix on the device, for work that is queued on the compute stream before the next call. */
  use(matrix: HostMatrix): Bf16Matrix {
    if (matrix.layer !== this.#current) this.#turnTo(matrix.layer);
    const part = this.#slotOf(matrix.layer)!.parts.get(this.#places.get(matrix)!)!;
    if (part.isPending) this.#driver.waitEvent(part.arrived, this.#driver.stream);
    part.isPending = false;
    return part.matrix;
  }

  /** Changes what stands in for this matrix on the device; what lies there is copied anew. */
  change(matrix: HostMatrix, change: (slot: Bf16Matrix) => void): void {
    const { stream, copyStream } = this.#driver;
    this.#driver.recordEvent(this.#tail, copyStream);
    this.#driver.waitEvent(this.#tail, stream);
    for (const slot of this.#slots) {
      change(slot.parts.get(this.#places.get(matrix)!)!.matrix);
      slot.layer = undefined;
      this.#driver.recordEvent(slot.left);
    }
    this.#current = undefined;
  }

  /** Waits for the copies, as the memory that they read is about to go. */
  remove(matrix: HostMatrix): void {
    this.#driver.recordEvent(this.#tail, this.#driver.copyStream);
    this.#driver.synchronizeEvent(this.#tail);
    const layer = this.#layers.get(matrix.layer);
    layer?.delete(this.#places.get(matrix)!);
    this.#places.delete(matrix);
    if (layer?.size === 0) this.#layers.delete(matrix.layer);
    for (const slot of this.#slots) slot.layer = undefined;
    this.#current = undefined;
    this.#order = this.#order.filter((index) => this.#layers.has(index));
    if (this.#layers.size > 0) return;
    for (const { parts } of this.#slots) {
      for (const part of parts.values()) {
        part.matrix.free();
        this.#driver.destroyEvent(part.arrived);
      }
      parts.clear();
    }
  }

  /** Frees the events. All matrices must be removed. */
  dispose(): void {
    for (const { left } of this.#slots.splice(0)) this.#driver.destroyEvent(left);
    this.#driver.destroyEvent(this.#tail);
  }

  #slotOf(layer: number): Slot | undefined {
    return this.#slots.find((slot) => slot.layer === layer);
  }

  #turnTo(layer: number): void {
    const [before, current] = [this.#previous, this.#current];
    if (current !== undefined) {
      const slot = this.#slotOf(current);
      if (slot) this.#driver.recordEvent(slot.left);
      this.#next.set(`${before},${current}`, layer);
    }
    this.#previous = current;
    this.#current = layer;
    if (!this.#slotOf(layer)) this.#fill(this.#free([layer])!, layer);
    const wanted = [layer];
    let [from, at] = [current, layer];
    while (wanted.length < this.#slots.length) {
      const next = this.#foresee(from, at);
      if (next === undefined || wanted.includes(next)) break;
      wanted.push(next);
      if (!this.#slotOf(next)) this.#fill(this.#free(wanted)!, next);
      [from, at] = [at, next];
    }
  }

  /** As the last time; the first time on in the same direction. */
  #foresee(from: number | undefined, at: number): number | undefined {
    const known = this.#next.get(`${from},${at}`);
    if (known !== undefined) return known;
    const step = from === undefined || from < at ? 1 : -1;
    return this.#order[this.#order.indexOf(at) + step];
  }

  #free(wanted: readonly number[]): Slot | undefined {
    return (
      this.#slots.find(({ layer }) => layer === undefined) ?? this.#slots.find(({ layer }) => !wanted.includes(layer!))
    );
  }

  #fill(slot: Slot, layer: number): void {
    const { copyStream } = this.#driver;
    this.#driver.waitEvent(slot.left, copyStream);
    slot.layer = layer;
    for (const [place, matrix] of this.#layers.get(layer)!) {
      const part = slot.parts.get(place)!;
      matrix.copyTo(part.matrix, copyStream);
      this.#driver.recordEvent(part.arrived, copyStream);
      part.isPending = true;
    }
  }
}
