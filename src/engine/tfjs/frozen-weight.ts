/**
 * What operations may ask of a frozen weight, whatever format it is held in. A format is one class in a file of its own,
 * chosen in tensor-store.ts. Results belong to the `tf.tidy` around the call.
 */
import type { Weight } from '../tensor.js';
import type { TfTensor } from './tf-namespace.js';

/** Linear weights are [rows, columns] = [out, in]. */
export interface FrozenWeight extends Weight {
  /** Product of all extents but the last; 1 for a vector. */
  readonly rows: number;
  readonly columns: number;
  /** Memory, in bytes. */
  readonly bytes: number;

  /** x · Wᵀ */
  product(x: TfTensor): TfTensor;
  /** dy · W */
  transposedProduct(dy: TfTensor): TfTensor;
  gatherRows(ids: Int32Array): TfTensor;
  /** All values; the weight's own tensor where it holds one. */
  values(): TfTensor;
  dispose(): void;
}
