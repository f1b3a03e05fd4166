/**
 * Trainable parameters on the device, and the bf16 copies of them that linear layers compute with: A stacked over the
 * parts of a layer, scale·B where the frozen matrix has it. The copies are refreshed, all in one launch,
 * at the first use after the values changed.
 */
import { KERNELS } from '../../generated/kernel-launchers.js';
import { roundUp } from '../arena.js';
import type { LoraPart } from '../operations.js';
import { layOut, sizeOfAll } from '../parameter-layout.js';
import type { Parameter, ParameterSet, ParameterSpec } from '../tensor.js';
import type { FrozenMatrix, MatrixAdapter } from './frozen-matrix.js';
import { type DevicePointer, offset } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { TensorStore } from './tensor-store.js';
import { CudaTensor, ELEMENT_BYTES, Storage } from './tensors.js';
import type { UpdateGuard } from './update-guard.js';

/** Parts that the kernels of lora.cu take at once. */
export const MAX_PARTS = 4;
/** Ranks are padded to multiples of this. */
const RANK_MULTIPLE = 16;
const REFRESH_BLOCK = 4096;
const ENTRY_WORDS = 8;
const COPY_BYTES = ELEMENT_BYTES.bf16;

/** Values and gradients are flat float32 buffers; parameters are views into them. */
export class CudaParameterSet implements ParameterSet {
  readonly parameters: readonly (Parameter & { readonly value: CudaTensor; readonly grad: CudaTensor })[];
  readonly size: number;
  readonly values: CudaTensor;
  readonly gradients: CudaTensor;
  /** Counts changes of the values. */
  version = 1;
  /** While the gradients are summed over several ranks. */
  guard: UpdateGuard | undefined;
  readonly groups = new Set<AdapterGroup>();
  readonly #store: TensorStore;
  /** Table of lora_refresh for all groups, made when the groups or their places have changed. */
  #table: { readonly block: DeviceBlock; readonly entries: number; readonly blocks: number } | undefined;

  constructor(store: TensorStore, specs: readonly ParameterSpec[]) {
    this.#store = store;
    this.size = sizeOfAll(specs);
    this.values = flat(store, this.size, 'parameters');
    try {
      this.gradients = flat(store, this.size, 'gradients');
    } catch (error) {
      store.release(this.values);
      throw error;
    }
    this.parameters = layOut(specs, ({ shape, initial }, first) => {
      store.staging.upload(offset(this.values.address, 4 * first), initial);
      return { value: parameterView(this.values, shape, first), grad: parameterView(this.gradients, shape, first) };
    });
    this.zeroGradients();
  }

  get isReleased(): boolean {
    return this.values.isFreed;
  }

  zeroGradients(): void {
    this.#store.driver.fillBytes(this.gradients.address, 0, 4 * this.size);
    for (const { grad } of this.parameters) grad.isTouched = false;
  }

  /** Brings the copies up to date: all of them, or one that is new. */
  refresh(group: AdapterGroup): void {
    if (group.version === this.version) return;
    const others = [...this.groups].some((other) => other !== group && other.version !== this.version);
    if (!others) {
      const { words, blocks } = refreshTable([group]);
      this.#store.withTable(words, (table) => this.#launch(table, words.length / ENTRY_WORDS, blocks));
      group.version = this.version;
      return;
    }
    if (!this.#table) {
      const { words, blocks } = refreshTable([...this.groups]);
      this.#table = { block: this.#store.table(words), entries: words.length / ENTRY_WORDS, blocks };
    }
    this.#launch(this.#table.block.address, this.#table.entries, this.#table.blocks);
    for (const each of this.groups) each.version = this.version;
  }

  /** To be called when a group comes, goes or moves. */
  forgetTable(): void {
    if (this.#table) this.#store.allocator.free(this.#table.block);
    this.#table = undefined;
  }

  release(): void {
    for (const group of [...this.groups]) group.dispose();
    this.forgetTable();
    for (const { value, grad } of this.parameters) {
      value.isFreed = true;
      grad.isFreed = true;
    }
    this.#store.release(this.values);
    this.#store.release(this.gradients);
  }

  #launch(table: DevicePointer, entries: number, blocks: number): void {
    this.#store.kernels.launch(KERNELS.loraRefresh, [blocks], { values: this.values.address, table, entries });
  }
}

function flat(store: TensorStore, size: number, holder: string): CudaTensor {
  const block = store.allocator.allocate(4 * size, holder);
  return new CudaTensor([size], 'f32', new Storage(block), block.address, size);
}

function parameterView(of: CudaTensor, shape: readonly number[], first: number): CudaTensor {
  return new CudaTensor([...shape], 'f32', undefined, offset(of.address, 4 * first), shape.at(-1) ?? 1, true);
}

/** A part of a linear layer as its adapter sees it. */
interface AdapterPart {
  /** First row in the matrix. */
  readonly row: number;
  readonly rows: number;
  readonly lora: Pick<LoraPart, 'a' | 'b' | 'scale'> | undefined;
}

/** The adapters of the parts of one stacked linear layer. */
export class AdapterGroup implements MatrixAdapter {
  readonly set: CudaParameterSet;
  readonly parts: readonly AdapterPart[];
  /** Rank of each part, 0 without an adapter; four. */
  readonly ranks: readonly number[];
  /** First column of each part in u, then E for the unused ones; five. */
  readonly starts: readonly number[];
  /** Columns of u: the sum of the padded ranks. */
  readonly columns: number;
  /** Largest padded rank. */
  readonly width: number;
  /** Row stride of the stacked A [columns, in] in elements. */
  readonly lda: number;
  /** The version of the values that the copies are of; 0 for none. */
  version = 0;
  readonly #store: TensorStore;
  readonly #matrix: FrozenMatrix;
  readonly #block: DeviceBlock;
  #isDisposed = false;

  constructor(store: TensorStore, matrix: FrozenMatrix, set: CudaParameterSet, parts: readonly AdapterPart[]) {
    this.#store = store;
    this.#matrix = matrix;
    this.set = set;
    this.parts = parts;
    this.ranks = Array.from({ length: MAX_PARTS }, (_, i) => parts[i]?.lora?.a.shape[0] ?? 0);
    const padded = this.ranks.map((rank) => roundUp(rank, RANK_MULTIPLE));
    const starts = [0];
    for (const rank of padded) starts.push(starts.at(-1)! + rank);
    this.starts = starts;
    this.columns = this.starts[MAX_PARTS]!;
    this.width = Math.max(...padded);
    this.lda = matrix.paddedColumns;
    // First, as it may run out of memory, after which nobody would free the block.
    matrix.reserveAdapter(this.columns);
    const bytes = COPY_BYTES * this.columns * this.lda;
    this.#block = store.allocator.allocate(bytes, 'adapters');
    store.driver.fillBytes(this.#block.address, 0, bytes);
    const [first, last] = [parts[0]!, parts.at(-1)!];
    const { address, ld } = matrix.adapterAt(first.row);
    store.driver.clearRows(address, COPY_BYTES * ld, COPY_BYTES * this.columns, last.row + last.rows - first.row);
    matrix.adapters.get(first.row)?.dispose();
    matrix.adapters.set(first.row, this);
    set.groups.add(this);
    set.forgetTable();
  }

  /** That of the rows from `row` on. */
  static of(matrix: FrozenMatrix, row: number): AdapterGroup | undefined {
    const adapter = matrix.adapters.get(row);
    return adapter instanceof AdapterGroup ? adapter : undefined;
  }

  get a(): DevicePointer {
    return this.#block.address;
  }

  fits(parts: readonly AdapterPart[]): boolean {
    return (
      parts.length === this.parts.length &&
      parts.every(({ row, rows, lora }, i) => {
        const own = this.parts[i]!;
        return (
          row === own.row &&
          rows === own.rows &&
          lora?.a === own.lora?.a &&
          lora?.b === own.lora?.b &&
          lora?.scale === own.lora?.scale
        );
      })
    );
  }

  /** The copies are lost or lie elsewhere. */
  invalidate(): void {
    this.version = 0;
    this.set.forgetTable();
  }

  /** (address, first value, rows, columns, row stride of the target, factor) of each copy. */
  copies(): readonly (readonly [number, number, number, number, number, number])[] {
    const matrix = this.#matrix;
    return this.parts.flatMap(({ row, rows, lora }, i) => {
      if (!lora) return [];
      const [rank, start] = [this.ranks[i]!, this.starts[i]!];
      const b = matrix.adapterAt(row);
      return [
        [this.a + COPY_BYTES * start * this.lda, lora.a.offset, rank, matrix.columns, this.lda, 1] as const,
        [b.address + COPY_BYTES * start, lora.b.offset, rows, rank, b.ld, lora.scale] as const,
      ];
    });
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#store.allocator.free(this.#block);
    const row = this.parts[0]!.row;
    if (this.#matrix.adapters.get(row) === this) this.#matrix.adapters.delete(row);
    this.set.groups.delete(this);
    this.set.forgetTable();
  }
}

/** The table of lora_refresh (kernels/README.md). */
function refreshTable(groups: readonly AdapterGroup[]): { words: Int32Array; blocks: number } {
  const copies = groups.flatMap((group) => group.copies());
  const words = new Int32Array(ENTRY_WORDS * copies.length);
  const floats = new Float32Array(words.buffer);
  let blocks = 0;
  for (const [i, [address, first, rows, columns, ld, factor]] of copies.entries()) {
    const low = address % 4294967296;
    words.set([low, (address - low) / 4294967296, first, rows, columns, ld, 0, blocks], ENTRY_WORDS * i);
    floats[ENTRY_WORDS * i + 6] = factor;
    blocks += Math.ceil((rows * columns) / REFRESH_BLOCK);
  }
  return { words, blocks };
}
