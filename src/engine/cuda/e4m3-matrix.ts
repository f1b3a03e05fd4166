/** Frozen rows in e4m3: codes with a float32 scale per row, or the checkpoint's 2-D block scales. */
import { KERNELS } from '../../generated/kernel-launchers.js';
import { roundUp } from '../arena.js';
import type { E4m3Rows, SmallProduct } from './frozen-matrix.js';
import { type DevicePointer, type Grid, grid2, offset, ofWidth } from './launch.js';
import type { DeviceBlock } from './memory.js';
import { PackedMatrix, type Part, type WideRows } from './packed-matrix.js';
import { type PackedMemory, ResidentMemory } from './packed-memory.js';
import type { TensorStore } from './tensor-store.js';
import { type Scale, type StoredRows, storedSource, type WeightTarget } from './weight-stream.js';

/** Row strides in bytes are multiples of this. */
const ROW_MULTIPLE = 16;

/** Element (r, c) of a part is code · factors[⌊r / blockRows⌋ · across + ⌊c / blockColumns⌋]. */
interface E4m3Part extends Part {
  blockRows: number;
  blockColumns: number;
  across: number;
  /** 2-D block scales, which stay on the device; undefined with a scale per row. */
  block: DeviceBlock | undefined;
}

export class E4m3Matrix extends PackedMatrix<E4m3Part> {
  override readonly held = 'f8_e4m3';
  /** Row stride of the codes in bytes; padded with zeros. */
  readonly ld: number;
  /** Codes, then scales: float32 [rows]. */
  readonly memory: PackedMemory;

  constructor(
    store: TensorStore,
    rows: number,
    columns: number,
    maxParts: number,
    makeMemory: (bytes: number) => PackedMemory = (bytes) => new ResidentMemory(store.allocator, bytes),
  ) {
    super(store, rows, columns, maxParts);
    this.ld = roundUp(columns, ROW_MULTIPLE);
    this.memory = makeMemory((this.ld + 4) * rows);
  }

  /** Device address of the codes of a row. */
  codesAt(row: number): DevicePointer {
    return offset(this.memory.address, row * this.ld);
  }

  /** Device address of the row scales from `row` on; undefined if a weight has block scales. */
  scalesAt(row: number): DevicePointer | undefined {
    return this.parts.some(({ block }) => block) ? undefined : this.#scalesFrom(row);
  }

  /** The kernels for few rows take one scale per row, and rows of whole 16-byte vectors. */
  get smallRows(): number {
    return this.columns === this.ld && this.scalesAt(0) ? 16 : 0;
  }

  protected smallBlocks(rows: number): number {
    return rows <= 8 ? 4 : 2;
  }

  smallProduct(row: number, product: SmallProduct): void {
    const { y, x, n, a, lda, width, low, ready, target, activation, norm } = product;
    const { kernels } = this.store;
    const grid = this.smallGrid(product);
    const [codes, scales] = [this.codesAt(row), this.scalesAt(row)!];
    const adapter = width > 0 ? this.adapterAt(row) : undefined;
    const [b, ldb] = [adapter?.address, adapter ? adapter.ld : 0];
    // biome-ignore-start format: parameters by operand
    if (norm) {
      kernels.launch(KERNELS.smallLinearNormE4m3, grid, {
        y: y.address,
        x: x.address,
        codes,
        scales,
        ldc: this.ld,
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
      kernels.launch(ofWidth(KERNELS.smallLinearE4m3, x.rows <= 8 ? 8 : 16), grid, {
        y: y.address,
        x: x.address,
        codes,
        scales,
        ldc: this.ld,
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

  override e4m3Rows(row: number): E4m3Rows | undefined {
    const scales = this.scalesAt(row);
    return scales && { codes: this.codesAt(row), ld: this.ld, scales };
  }

  protected override freeParts(): void {
    for (const { block } of this.parts) if (block) this.store.allocator.free(block);
  }

  protected widen(
    { out, ldo, first, rows, index, rank }: WideRows,
    grid: Grid,
    b: DevicePointer | undefined,
    ldb: number,
  ) {
    const codes = this.codesAt(0);
    const factors = this.ofParts((part) => this.#factorsOf(part), undefined as DevicePointer | undefined);
    // biome-ignore format: parameters by operand
    this.store.kernels.launch(KERNELS.widenE4m3, grid, {
      out, ldo, b, ldb, index, first, rows, K: this.columns, E: rank,
      codes, ldc: this.ld, factors,
      partRows: this.ofParts(({ row }) => row, this.rows),
      blockHeights: this.ofParts(({ blockRows }) => blockRows, 1),
      blockWidths: this.ofParts(({ blockColumns }) => blockColumns, 1),
      widths: this.ofParts(({ across }) => across, 1),
    });
  }

  target(row: number, rows: number): WeightTarget {
    // biome-ignore format: a scale per row, until a stored scale says otherwise
    const part: E4m3Part = { row, rows, blockRows: 1, blockColumns: this.columns, across: 1, block: undefined };
    this.addPart(part);
    const { ld, columns } = this;
    this.store.driver.clearRows(offset(this.codesAt(row), columns), ld, ld - columns, rows);
    return {
      rows,
      columns,
      quantizes: true,
      holds: () => false,
      upload: () => undefined,
      convert: (stored) => this.#convert(part, stored),
      finish: (scale) => scale && this.#takeScale(part, scale),
    };
  }

  #convert({ row }: E4m3Part, stored: StoredRows): void {
    const { kernels } = this.store;
    const { rows, columns } = stored;
    const out = this.codesAt(row + stored.row);
    const flag = stored.flag!;
    if (stored.scale) {
      const parameters = { out, x: stored.address, rows, columns, ldo: this.ld, flag };
      kernels.launch(KERNELS.e4m3Copy, grid2(rows, columns), parameters);
      return;
    }
    const { x, kind } = storedSource(stored);
    const scales = this.#scalesFrom(row + stored.row);
    kernels.launch(KERNELS.e4m3Quantize, [rows], { codes: out, scales, x, kind, columns, ldc: this.ld, flag });
  }

  #scalesFrom(row: number): DevicePointer {
    return offset(this.memory.address, this.ld * this.rows + 4 * row);
  }

  #factorsOf({ block, row }: E4m3Part): DevicePointer {
    return block?.address ?? this.#scalesFrom(row);
  }

  /** Expands stored factors to one per row, or copies them where they vary within a row. */
  #takeScale(part: E4m3Part, { factors, block: [blockRows, blockColumns], across }: Scale): void {
    const { allocator, driver, kernels } = this.store;
    if (across === 1) {
      const { rows } = part;
      const parameters = { scales: this.#scalesFrom(part.row), factors: factors.address, rows, blockRows };
      kernels.launch(KERNELS.expandScales, [Math.ceil(rows / 256)], parameters);
      return;
    }
    const bytes = 4 * across * Math.ceil(part.rows / blockRows);
    part.block = allocator.allocate(bytes, 'weights', 'weights');
    driver.copy(part.block.address, factors.address, bytes);
    Object.assign(part, { blockRows, blockColumns, across });
  }
}
