/**
 * Frozen rows in bitsandbytes' NF4: 4-bit codes in row-major blocks, and the absmax of each block as float32 or, with
 * double quantisation, in 8 bits. Each weight of a stack starts a new block.
 */
import { EngineError } from '../../errors.js';
import { DynamicMap } from '../../formats/dynamic-map.js';
import type { Nf4Absmax, StoredDType } from '../../formats/weight-source.js';
import { KERNELS } from '../../generated/kernel-launchers.js';
import { roundUp } from '../arena.js';
import type { SmallProduct } from './frozen-matrix.js';
import { type DevicePointer, type Grid, offset, ofWidth } from './launch.js';
import type { DeviceBlock } from './memory.js';
import { PackedMatrix, type Part, type WideRows } from './packed-matrix.js';
import { type PackedMemory, ResidentMemory } from './packed-memory.js';
import type { TensorStore } from './tensor-store.js';
import { type StoredRows, storedSource, type WeightTarget } from './weight-stream.js';

export interface Nf4Format {
  /** Values per block, a power of two. */
  readonly blockSize: number;
  /** Blocks that share a nested absmax, a power of two; 0 where absmax is float32. */
  readonly nestedBlockSize: number;
}

/** A table is the dynamic map, then the offset; TABLE_SIZE floats with padding. */
const MAP_SIZE = 256;
const TABLE_SIZE = 260;
/** Quantisation blocks per thread block of nf4_quantize and absmax_quantize. */
const BLOCKS_A_LAUNCH = 8;
const ALIGNMENT = 16;

interface Nf4Part extends Part {
  /** Its first block. */
  readonly block: number;
  /** Number of its table, in the order of loading. */
  readonly table: number;
}

/** Parameters of the kernels that read the matrix. */
interface Nf4Layout {
  readonly codes: DevicePointer;
  /** 8-bit codes of absmax with double quantisation; `absmax` is then the nested one. */
  readonly absmaxCodes: DevicePointer | undefined;
  readonly absmax: DevicePointer;
  readonly tables: readonly (DevicePointer | undefined)[];
  /** First row of each part. */
  readonly partRows: readonly number[];
  /** First block of each part: value (r, c) of the part is value partBlock·blockSize + r·columns + c. */
  readonly partBlocks: readonly number[];
  /** log2 of the block sizes. */
  readonly blockShift: number;
  readonly nestedShift: number;
}

export class Nf4Matrix extends PackedMatrix<Nf4Part> {
  override readonly held = 'nf4';
  readonly format: Nf4Format;
  readonly memory: PackedMemory;
  /** Bytes from the start of `memory`: codes come first, tables last. */
  readonly #absmaxCodes: number;
  readonly #absmax: number;
  readonly #tables: number;
  /** By address of `memory`: cached until a part is added. */
  readonly #layouts = new Map<DevicePointer, Nf4Layout>();
  /** Blocks used by the parts so far. */
  #taken = 0;
  readonly #blocks: number;

  constructor(
    store: TensorStore,
    rows: number,
    columns: number,
    { maxParts, format }: { readonly maxParts: number; readonly format: Nf4Format },
    makeMemory: (bytes: number) => PackedMemory = (bytes) => new ResidentMemory(store.allocator, bytes),
  ) {
    super(store, rows, columns, maxParts);
    this.format = format;
    const { blockSize, nestedBlockSize } = format;
    // Each part starts a new nested block.
    const unit = Math.max(1, nestedBlockSize);
    const slack = maxParts > 1 ? maxParts : 0;
    this.#blocks = roundUp(Math.ceil((rows * columns) / blockSize), unit) + slack * unit;
    const codeBytes = roundUp((this.#blocks * blockSize) / 2, ALIGNMENT);
    const absmaxCodeBytes = nestedBlockSize > 0 ? roundUp(this.#blocks, ALIGNMENT) : 0;
    const absmaxBytes = roundUp((4 * this.#blocks) / unit, ALIGNMENT);
    const tableBytes = nestedBlockSize > 0 ? maxParts * 4 * TABLE_SIZE : 0;
    this.#absmaxCodes = codeBytes;
    this.#absmax = codeBytes + absmaxCodeBytes;
    this.#tables = this.#absmax + absmaxBytes;
    this.memory = makeMemory(this.#tables + tableBytes);
  }

  get layout(): Nf4Layout {
    const { address } = this.memory;
    const known = this.#layouts.get(address);
    if (known) return known;
    const isNested = this.format.nestedBlockSize > 0;
    const layout = {
      codes: address,
      absmaxCodes: isNested ? offset(address, this.#absmaxCodes) : undefined,
      absmax: offset(address, this.#absmax),
      tables: this.ofParts(({ table }) => (isNested ? this.#tableAt(address, table) : undefined), undefined),
      partRows: this.ofParts(({ row }) => row, this.rows),
      partBlocks: this.ofParts(({ block }) => block, 0),
      blockShift: Math.log2(this.format.blockSize),
      nestedShift: Math.log2(Math.max(1, this.format.nestedBlockSize)),
    };
    this.#layouts.set(address, layout);
    return layout;
  }

  /** Rows of x up to which a kernel takes two blocks of a row at once; it has the fused norm. */
  get #pairRows(): number {
    return this.columns % (2 * 64) === 0 && this.format.nestedBlockSize !== 1 ? 4 : 0;
  }

  protected smallBlocks(rows: number): number {
    return rows <= this.#pairRows ? 3 : rows <= 8 ? 4 : 2;
  }

  override get smallNormColumns(): number {
    return this.#pairRows > 0 ? super.smallNormColumns : 0;
  }

  /** The kernels for few rows take blocks of 64 that do not cross rows. */
  get smallRows(): number {
    return this.format.blockSize === 64 && this.columns % 64 === 0 ? 16 : 0;
  }

  smallProduct(row: number, product: SmallProduct): void {
    const { y, x, n, a, lda, width, low, ready, target, activation, norm } = product;
    const { kernels } = this.store;
    const grid = this.smallGrid(product);
    const { codes, absmaxCodes, absmax, tables, nestedShift, partRows, partBlocks } = this.layout;
    const adapter = width > 0 ? this.adapterAt(row) : undefined;
    const b = adapter?.address;
    const ldb = adapter ? adapter.ld : 0;
    // biome-ignore-start format: parameters by operand
    if (norm) {
      kernels.launch(KERNELS.smallLinearNormNf4, grid, {
        y: y.address,
        x: x.address,
        codes,
        absmaxCodes,
        absmax,
        tables,
        nestedShift,
        partRows,
        partBlocks,
        first: row,
        a,
        lda,
        b,
        ldb,
        low,
        ready,
        N: n,
        K: this.columns,
        E: width,
        activation,
        target,
        sum: norm.sum,
        residual: norm.residual,
        normWeight: norm.weight,
        eps: norm.eps,
      });
    } else {
      kernels.launch(ofWidth(KERNELS.smallLinearNf4, x.rows <= this.#pairRows ? 4 : x.rows <= 8 ? 8 : 16), grid, {
        y: y.address,
        x: x.address,
        codes,
        absmaxCodes,
        absmax,
        tables,
        nestedShift,
        partRows,
        partBlocks,
        first: row,
        a,
        lda,
        b,
        ldb,
        low,
        ready,
        M: x.rows,
        N: n,
        K: this.columns,
        E: width,
        ldy: y.ld,
        ldx: x.ld,
        activation,
        target,
      });
    }
    // biome-ignore-end format: parameters by operand
  }

  protected widen(
    { out, ldo, first, rows, index, rank }: WideRows,
    grid: Grid,
    b: DevicePointer | undefined,
    ldb: number,
  ) {
    // biome-ignore format: parameters by operand
    this.store.kernels.launch(KERNELS.widenNf4, grid, {
      out, ldo, b, ldb, index, first, rows, K: this.columns, E: rank, ...this.layout,
    });
  }

  target(row: number, rows: number, stored?: Nf4Absmax): WeightTarget {
    const part = this.#addPart(row, rows);
    return stored ? this.#storedTarget(part, stored) : new QuantizedTarget(this, this.store, part);
  }

  /** Device address of the codes, from this value of the part on. */
  codesAt({ block }: Nf4Part, value: number): DevicePointer {
    return offset(this.memory.address, (block * this.format.blockSize + value) / 2);
  }

  absmaxAt({ block }: Nf4Part): DevicePointer {
    const { nestedBlockSize } = this.format;
    return offset(this.memory.address, this.#absmax + (4 * block) / Math.max(1, nestedBlockSize));
  }

  /** undefined where absmax is float32. */
  absmaxCodesAt({ block }: Nf4Part): DevicePointer | undefined {
    if (this.format.nestedBlockSize === 0) return undefined;
    return offset(this.memory.address, this.#absmaxCodes + block);
  }

  /** Its map [256] and offset; undefined where absmax is float32. */
  tableAt({ table }: Nf4Part): DevicePointer | undefined {
    return this.format.nestedBlockSize > 0 ? this.#tableAt(this.memory.address, table) : undefined;
  }

  #tableAt(address: DevicePointer, table: number): DevicePointer {
    return offset(address, this.#tables + 4 * TABLE_SIZE * table);
  }

  #addPart(row: number, rows: number): Nf4Part {
    const { blockSize, nestedBlockSize } = this.format;
    const count = roundUp(Math.ceil((rows * this.columns) / blockSize), Math.max(1, nestedBlockSize));
    const part = { row, rows, block: this.#taken, table: this.parts.length };
    this.addPart(part);
    this.#layouts.clear();
    this.#taken += count;
    return part;
  }

  #storedTarget(part: Nf4Part, stored: Nf4Absmax): WeightTarget {
    const { staging } = this.store;
    const { columns } = this;
    const { rows } = part;
    const blocks = Math.ceil((rows * columns) / this.format.blockSize);
    if ('absmax' in stored) {
      requireLength(stored.absmax, blocks, 'absmax');
      staging.upload(this.absmaxAt(part), stored.absmax);
    } else {
      requireLength(stored.codes, blocks, 'codes of absmax');
      requireLength(stored.nestedAbsmax, Math.ceil(blocks / stored.nestedBlockSize), 'nested absmax');
      requireLength(stored.map, MAP_SIZE, 'values of the map');
      staging.upload(this.absmaxCodesAt(part)!, stored.codes);
      staging.upload(this.absmaxAt(part), stored.nestedAbsmax);
      staging.upload(this.tableAt(part)!, Float32Array.of(...stored.map, stored.offset));
    }
    return {
      rows,
      columns,
      rowMultiple: 2,
      holds: () => true,
      upload: (driver, first, _count, bytes, stream) =>
        driver.upload(this.codesAt(part, first * columns), bytes, stream),
      convert: () => undefined,
    };
  }
}

function requireLength({ length }: ArrayLike<number>, needed: number, what: string): void {
  if (length === needed) return;
  throw new EngineError(`loadWeight: ${length} ${what} for 4-bit values, expected ${needed}`);
}

/** The map of double quantisation; slow to build, so it is built once. */
let nestedMap: DynamicMap | undefined;

/** Quantises pieces as they arrive, and their absmax once all have. */
class QuantizedTarget implements WeightTarget {
  readonly rows: number;
  readonly columns: number;
  readonly rowMultiple: number;
  readonly quantizes = true;
  readonly #matrix: Nf4Matrix;
  readonly #store: TensorStore;
  readonly #part: Nf4Part;
  /** float32 absmax of all blocks until `finish` quantises it. */
  #absmax: DeviceBlock | undefined;

  constructor(matrix: Nf4Matrix, store: TensorStore, part: Nf4Part) {
    this.rows = part.rows;
    this.columns = matrix.columns;
    this.#matrix = matrix;
    this.#store = store;
    this.#part = part;
    // Pieces start at block boundaries.
    const { blockSize, nestedBlockSize } = matrix.format;
    this.rowMultiple = blockSize / powerOfTwoIn(this.columns, blockSize);
    if (nestedBlockSize > 0) this.#absmax = store.allocator.allocate(4 * this.#blocks, 'weight conversion');
  }

  get #blocks(): number {
    return Math.ceil((this.rows * this.columns) / this.#matrix.format.blockSize);
  }

  holds(_dtype: StoredDType): boolean {
    return false;
  }

  upload(): void {}

  convert(stored: StoredRows): void {
    const { blockSize } = this.#matrix.format;
    const n = stored.rows * stored.columns;
    const first = stored.row * stored.columns;
    const absmax = this.#absmax?.address ?? this.#matrix.absmaxAt(this.#part);
    this.#store.kernels.launch(KERNELS.nf4Quantize, [Math.ceil(n / blockSize / BLOCKS_A_LAUNCH)], {
      ...storedSource(stored),
      codes: this.#matrix.codesAt(this.#part, first),
      absmax: offset(absmax, (4 * first) / blockSize),
      n,
      blockSize,
    });
  }

  finish(): void {
    const absmax = this.#absmax?.address;
    const table = this.#matrix.tableAt(this.#part);
    if (!absmax || !table) return;
    const { kernels } = this.#store;
    const n = this.#blocks;
    const blockSize = this.#matrix.format.nestedBlockSize;
    nestedMap ??= new DynamicMap(true);
    const map = nestedMap;
    this.#store.staging.upload(table, map.values);
    kernels.launch(KERNELS.absmaxMean, [1], { mean: offset(table, 4 * MAP_SIZE), x: absmax, n });
    const midpoints = this.#store.allocator.allocate(map.midpoints.byteLength, 'weight conversion');
    this.#store.staging.upload(midpoints.address, map.midpoints);
    kernels.launch(KERNELS.absmaxQuantize, [Math.ceil(n / blockSize / BLOCKS_A_LAUNCH)], {
      codes: this.#matrix.absmaxCodesAt(this.#part)!,
      nested: this.#matrix.absmaxAt(this.#part),
      ...{ absmax, table, midpoints: midpoints.address, n, blockSize },
    });
    this.#store.allocator.free(midpoints);
  }

  release(): void {
    if (this.#absmax) this.#store.allocator.free(this.#absmax);
    this.#absmax = undefined;
  }
}

/** The largest power of two that divides `value`, at most `limit`. */
function powerOfTwoIn(value: number, limit: number): number {
  return Math.min(limit, value & -value);
}
