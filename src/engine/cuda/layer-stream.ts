/**
 * Streams frozen layers from page-locked host memory. The device has slots for some layers: one is used while the next
 * ones are copied on the copy stream. Events order the streams, so the host never waits.
 *
 * The next layer is predicted from the previous traversal: what followed this layer after the same predecessor. A layer
 * that was not predicted is copied when it is used, which is slower but gives the same results.
 */
import type { CudaDriver } from './driver.js';

type StreamDriver = Pick<
  CudaDriver,
  'stream' | 'copyStream' | 'createEvent' | 'recordEvent' | 'waitEvent' | 'synchronizeEvent' | 'destroyEvent'
>;

/** Device memory that matrices of one form take turns in. */
interface Slotted {
  free(): void;
}

/** A matrix in host memory. */
export interface HostMatrix<S extends Slotted = Slotted> {
  readonly layer: number;
  /** Matrices of equal form can use the same slot memory. */
  readonly form: string;
  readonly bytes: number;
  /** Queues a copy of the whole matrix on `stream`. */
  copyTo(slot: S, stream: number): void;
  /** Allocates a slot of this form on the device. @throws OutOfMemoryError */
  makeSlot(): S;
}

/** Device memory for one matrix. */
interface SlotPart {
  readonly matrix: Slotted;
  /** Event: the copy is complete. */
  readonly arrived: number;
  /** The compute stream has not been made to wait for the copy yet. */
  isPending: boolean;
}

/** Device memory for the matrices of one layer, by form. */
interface Slot {
  layer: number | undefined;
  readonly parts: Map<string, SlotPart>;
  /** Event: the compute stream no longer reads the slot. */
  readonly left: number;
}

export class LayerStream {
  readonly #driver: StreamDriver;
  readonly #slots: Slot[];
  /** By layer: its matrices by place, which is the form, primed for further matrices of that form. */
  readonly #layers = new Map<number, Map<string, HostMatrix>>();
  readonly #places = new Map<HostMatrix, string>();
  /** Layer numbers, ascending. */
  #order: number[] = [];
  #current: number | undefined;
  #previous: number | undefined;
  /** By "previous,current": the layer that was used next. */
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

  /** Bytes copied when each layer is used once. */
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
      // Earlier users of this memory are ahead on the compute stream.
      this.#driver.recordEvent(slot.left);
    }
    layer.set(place, matrix);
    this.#places.set(matrix, place);
    this.#layers.set(matrix.layer, layer);
    this.#order = [...this.#layers.keys()].sort((a, b) => a - b);
  }

  /** The matrix on the device, valid for work queued on the compute stream before the next call. */
  use<S extends Slotted>(matrix: HostMatrix<S>): S {
    if (matrix.layer !== this.#current) this.#turnTo(matrix.layer);
    const part = this.#slotOf(matrix.layer)!.parts.get(this.#places.get(matrix)!)!;
    if (part.isPending) this.#driver.waitEvent(part.arrived, this.#driver.stream);
    part.isPending = false;
    return part.matrix as S;
  }

  /** Changes the slot matrices of this matrix; their contents are copied again. */
  change<S extends Slotted>(matrix: HostMatrix<S>, change: (slot: S) => void): void {
    const { stream, copyStream } = this.#driver;
    this.#driver.recordEvent(this.#tail, copyStream);
    this.#driver.waitEvent(this.#tail, stream);
    for (const slot of this.#slots) {
      change(slot.parts.get(this.#places.get(matrix)!)!.matrix as S);
      slot.layer = undefined;
      this.#driver.recordEvent(slot.left);
    }
    this.#current = undefined;
  }

  /** Waits for copies under way, since the caller frees the memory they read. */
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

  /** Predicted from the last traversal; on the first one, the neighbour in the same direction. */
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
