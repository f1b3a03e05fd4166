/**
 * Where the tensors of several engines lie, and their copies on the others. A tensor is the one of the engine that made
 * it; a copy is made at its first use elsewhere, and freed with the tensor or when its values change.
 */

import { EngineError } from '../../errors.js';
import { CountedTensor } from '../counted-tensors.js';
import type { Tensor } from '../tensor.js';
import type { PartEngine } from './part-engine.js';

/** An index of the parts. */
export type Place = number;

export class TensorPlaces {
  readonly #parts: readonly PartEngine[];
  readonly #places = new WeakMap<Tensor, Place>();
  /** By tensor: its copies by their places. */
  readonly #copies = new Map<Tensor, (Tensor | undefined)[]>();
  readonly #originals = new WeakMap<Tensor, Tensor>();

  constructor(parts: readonly PartEngine[]) {
    this.#parts = parts;
  }

  /** Notes where a tensor was made. */
  put(tensor: Tensor, place: Place): Tensor {
    this.#places.set(tensor, place);
    return tensor;
  }

  /** @throws EngineError for a tensor of another engine */
  of(tensor: Tensor | undefined, operation: string): Place {
    const place = tensor && this.#places.get(tensor);
    if (place !== undefined) return place;
    throw new EngineError(`${operation}: the tensor ${tensor ? 'belongs to another engine' : 'is missing'}`);
  }

  /** The tensor itself if it lies there, else its copy. */
  at(place: Place, tensor: Tensor, operation: string): Tensor {
    const own = this.of(tensor, operation);
    if (own === place) return tensor;
    let copies = this.#copies.get(tensor);
    const known = copies?.[place];
    if (known && !isFreed(known)) return known;
    const copy = this.put(this.#parts[place]!.receive(tensor, this.#parts[own]!), place);
    if (!copies) {
      copies = [];
      this.#copies.set(tensor, copies);
    }
    copies[place] = copy;
    this.#originals.set(copy, tensor);
    return copy;
  }

  retain(tensor: Tensor): void {
    this.#parts[this.of(tensor, 'retain')]!.retain(tensor);
  }

  release(tensor: Tensor): void {
    this.#parts[this.of(tensor, 'release')]!.release(tensor);
    if (isFreed(tensor)) this.dropCopies(tensor);
  }

  /** To be called before the values change, or may leave the device: copies are made anew then. */
  dropCopies(tensor: Tensor): void {
    const copies = this.#copies.get(tensor);
    if (!copies) return;
    this.#copies.delete(tensor);
    for (const copy of copies) if (copy) this.#drop(copy);
  }

  /** To be called before the values of a tensor change that may itself be a copy: it is one no longer. */
  detach(tensor: Tensor): void {
    this.dropCopies(tensor);
    const original = this.#originals.get(tensor);
    const copies = original && this.#copies.get(original);
    const place = copies ? copies.indexOf(tensor) : -1;
    if (!copies || place < 0) return;
    copies[place] = undefined;
    this.#drop(tensor);
  }

  /** To be called after tensors were freed by the parts themselves. */
  sweep(): void {
    for (const tensor of [...this.#copies.keys()]) if (isFreed(tensor)) this.dropCopies(tensor);
  }

  #drop(copy: Tensor): void {
    this.#originals.delete(copy);
    if (!isFreed(copy)) this.release(copy);
  }
}

function isFreed(tensor: Tensor): boolean {
  return tensor instanceof CountedTensor && tensor.isFreed;
}
