/**
 * Tensors of the `cuda` engine. A tensor is rows of a device block: bf16 with a row stride, or contiguous float32.
 *
 * - What comes from the program (`fromArray`) is float32 until an operation computes with it: then it becomes bf16 in
 *   place. Rotary tables, query scales and loss gradients are used as they came. Vectors stay float32.
 * - Views are column ranges of a wider block, without a copy. Several tensors then share one `Storage`.
 * - A `GradientHome` lets the gradients of such views be written side by side, so that the stacked product behind them
 *   reads them as one matrix.
 * - A tensor may be made again from others (`Recipe`): what backward needs of it is then not kept.
 * - Work that the next operation may do in the pass that it makes anyway is put off (`Unfinished`) or done ahead
 *   (`RowProducts`); neither changes a number that anybody sees.
 */

import { sizeOf } from '../../formats/weight-source.js';
import type { Tensor } from '../tensor.js';
import type { DeviceBlock } from './memory.js';
import type { Download } from './staging.js';

type ElementType = 'bf16' | 'f32';

export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = { bf16: 2, f32: 4 };

let nextId = 1;

/** A device block and the number of tensors that lie in it. */
export class Storage {
  readonly block: DeviceBlock;
  /** Row stride of everything inside, in elements. */
  readonly ld: number;
  users = 0;

  constructor(block: DeviceBlock, ld: number) {
    this.block = block;
    this.ld = ld;
  }
}

/** How to make a tensor again. */
interface Recipe {
  /** Kept alive while the recipe may be used. */
  readonly sources: readonly CudaTensor[];
  make(): CudaTensor;
  /** Of act(gate)·up of the two sources: the activation's number. Its backward takes an unfinished gradient. */
  readonly gatedBy?: number;
  /** Of a norm's result: bf16(bf16(sum·rstd)·weight). A kernel may make it on the way. */
  readonly norm?: NormRecipe;
}

interface NormRecipe {
  readonly sum: CudaTensor;
  /** float32 [T] */
  readonly rstd: CudaTensor;
  /** Address of the bf16 weight [C]. */
  weight(): number;
}

/** Work that a tensor's numbers lack. `TensorStore.use` has it done for whoever does not know of it. */
export interface Unfinished {
  finish(): void;
  /** The tensor is freed unread: what is due to others than its readers. */
  drop(): void;
}

/** Sums over the rows of a stacked output's gradient, made while it was written. They hold until its numbers change. */
interface RowProducts {
  /** [T, E]: the low-rank input that was multiplied with. */
  readonly u: CudaTensor;
  /** float32 [splits, N, width]: dyᵀ·u of each part by ranges of rows, as lora_gradient_b has it. */
  readonly partial: CudaTensor;
}

/** What a stacked adapted layer saved for the gradient of B. */
export interface OutputAdapter {
  readonly u: CudaTensor;
  readonly group: { readonly starts: readonly number[]; readonly columns: number; readonly width: number };
}

export class CudaTensor implements Tensor {
  readonly id = nextId++;
  readonly shape: readonly number[];
  readonly size: number;
  /** Product of all extents but the last; 1 for a vector. */
  readonly rows: number;
  readonly columns: number;
  type: ElementType;
  /** undefined for a tensor without elements of its own: a recipe, a mark, a result that waits. */
  storage: Storage | undefined;
  address: number;
  /** Row stride in elements. */
  ld: number;
  /** Columns behind its own (rounded up) that nobody else uses: a linear layer's scratch. */
  spare = 0;
  references = 1;
  isFreed = false;
  /** Lies inside a parameter set and is freed with it. */
  isParameter = false;
  /** Of a parameter's gradient: something was added since the gradients were zeroed. */
  isTouched = false;
  /** Where the gradient of this tensor should be written. */
  home: { readonly at: GradientHome; readonly column: number } | undefined;
  recipe: Recipe | undefined;
  unfinished: Unfinished | undefined;
  /** Of the gradient of one part of a stacked output. */
  rowProducts: RowProducts | undefined;
  /** The numbers, on their way to the host since they were computed. */
  early: Download | undefined;
  /** Called once, when the tensor is freed. */
  onFree: (() => void) | undefined;

  constructor(shape: readonly number[], type: ElementType, storage: Storage | undefined, address: number, ld: number) {
    this.shape = shape;
    this.size = sizeOf(shape);
    this.columns = shape.at(-1) ?? 1;
    this.rows = shape.length === 2 ? shape[0]! : sizeOf(shape.slice(0, -1));
    this.type = type;
    this.storage = storage;
    this.address = address;
    this.ld = ld;
    if (storage) storage.users++;
  }

  get isContiguous(): boolean {
    return this.ld === this.columns || this.rows <= 1;
  }
}

/** A stacked output of `columns` columns, part of which several tensors are. */
export class GradientHome {
  readonly rows: number;
  readonly columns: number;
  /** Of the layer whose output this is. */
  adapter: OutputAdapter | undefined;
  #storage: Storage | undefined;
  readonly #taken = new Set<number>();

  constructor(rows: number, columns: number) {
    this.rows = rows;
    this.columns = columns;
  }

  /**
   * Storage for the gradient of the columns from `column` on; the same one for all columns as long as a gradient in it
   * lives, and another if these columns are taken.
   */
  claim(column: number, create: () => Storage): Storage {
    if (!this.#storage || this.#storage.users === 0 || this.#taken.has(column)) {
      this.#storage = create();
      this.#taken.clear();
    }
    this.#taken.add(column);
    return this.#storage;
  }
}
