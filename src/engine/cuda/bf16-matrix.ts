/** Frozen bf16 rows with spare columns after their own, where scale·B goes: base and adapter are one product. */
import { KERNELS } from '../../generated/kernel-launchers.js';
import type { CudaDriver } from './driver.js';
import { FrozenMatrix, multiplyRows, type SmallProduct } from './frozen-matrix.js';
import { type DevicePointer, offset, ofWidth } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { TensorStore } from './tensor-store.js';
import { type CudaTensor, type DeviceRows, ELEMENT_BYTES } from './tensors.js';
import { convertRows, type WeightTarget } from './weight-stream.js';

const BYTES = ELEMENT_BYTES.bf16;
/** Rows per block of small_linear. */
const BLOCK_ROWS = 8;
/** Blocks of small_linear per multiprocessor. */
const RESIDENT_BLOCKS = 6;

export class Bf16Matrix extends FrozenMatrix {
  readonly smallRows = 16;
  readonly #store: TensorStore;
  #block: DeviceBlock;
  /** Row stride in elements. */
  #ld: number;

  /** @param spare columns that are ready for adapters */
  constructor(store: TensorStore, rows: number, columns: number, spare: number) {
    super(rows, columns);
    this.#store = store;
    this.#ld = this.paddedColumns + spare;
    this.#block = store.allocator.allocate(BYTES * Math.max(1, rows) * this.#ld, 'weights', 'weights');
    // Padding takes part in products with adapters: zeros.
    const unused = BYTES * (this.#ld - columns);
    store.driver.clearRows(offset(this.#block.address, BYTES * columns), BYTES * this.#ld, unused, rows);
  }

  get bytes(): number {
    return this.#block.bytes;
  }

  /** Device address of a row; changes when an adapter needs more spare columns. */
  address(row: number): DevicePointer {
    return offset(this.#block.address, BYTES * row * this.#ld);
  }

  product(row: number, x: DeviceRows, y: DeviceRows, rank = 0): void {
    const k = rank > 0 ? this.paddedColumns + rank : this.columns;
    // biome-ignore format: parameters by operand
    this.#store.products.run({
      m: x.rows, n: y.columns, k, a: x.address, lda: x.ld,
      b: this.address(row), ldb: this.#ld, transB: true, d: y.address, ldd: y.ld, type: y.type,
    });
  }

  transposedProduct(row: number, dy: DeviceRows, dx: DeviceRows, rank = 0, beta = 0): void {
    const n = rank > 0 ? this.paddedColumns + rank : this.columns;
    multiplyRows(this.#store, dy, { address: this.address(row), ld: this.#ld }, n, dx, beta);
  }

  adapterProduct(row: number, dy: DeviceRows, du: DeviceRows): void {
    multiplyRows(this.#store, dy, this.adapterAt(row), du.columns, du, 0);
  }

  smallProduct(row: number, product: SmallProduct): void {
    const { y, x, n, lowBlocks, a, lda, width, low, ready, target, activation, norm } = product;
    const { kernels } = this.#store;
    // As many blocks as are resident at once, each looping over rows.
    const most = Math.max(1, RESIDENT_BLOCKS * kernels.multiprocessors - lowBlocks);
    const blocks = lowBlocks + Math.min(most, Math.ceil((activation < 0 ? n : 2 * n) / BLOCK_ROWS));
    const w = this.address(row);
    const ldw = this.#ld;
    // biome-ignore-start format: parameters by operand
    if (norm) {
      kernels.launch(KERNELS.smallLinearNorm, [blocks], {
        y: y.address,
        x: x.address,
        w,
        ldw,
        a,
        lda,
        low,
        ready,
        N: n,
        K: x.columns,
        E: width,
        activation,
        target,
        sum: norm.sum,
        residual: norm.residual,
        normWeight: norm.weight,
        eps: norm.eps,
      });
    } else {
      kernels.launch(ofWidth(KERNELS.smallLinear, x.rows <= 8 ? 8 : 16), [blocks], {
        y: y.address,
        x: x.address,
        w,
        ldw,
        a,
        lda,
        low,
        ready,
        M: x.rows,
        N: n,
        K: x.columns,
        E: width,
        ldy: y.ld,
        ldx: x.ld,
        activation,
        target,
      });
    }
    // biome-ignore-end format: parameters by operand
  }

  gatherRows(row: number, ids: Int32Array): CudaTensor {
    return this.#store.gather({ address: this.address(row), ld: this.#ld, columns: this.columns }, ids);
  }

  readRows(row: number, count: number): CudaTensor {
    const out = this.#store.create([count, this.columns]);
    const pitch = BYTES * this.#ld;
    this.#store.driver.copyRows(out.address, BYTES * out.ld, this.address(row), pitch, BYTES * this.columns, count);
    return out;
  }

  override bf16Rows(row: number, count: number): DeviceRows {
    return { address: this.address(row), ld: this.#ld, rows: count, columns: this.columns, type: 'bf16' };
  }

  target(row: number, rows: number): WeightTarget {
    const { columns } = this;
    return {
      rows,
      columns,
      holds: (dtype) => dtype === 'bf16',
      upload: (driver, first, count, bytes, stream) => {
        driver.uploadRows(this.address(row + first), BYTES * this.#ld, bytes, BYTES * columns, count, stream);
      },
      convert: (stored) => {
        convertRows(this.#store.kernels, { address: this.address(row + stored.row), ld: this.#ld }, stored);
      },
    };
  }

  /** Queues a copy of all rows from `bytes`, where they are packed. */
  uploadAll(driver: Pick<CudaDriver, 'uploadRows'>, bytes: Uint8Array, stream: number): void {
    driver.uploadRows(this.#block.address, BYTES * this.#ld, bytes, BYTES * this.columns, this.rows, stream);
  }

  reserveAdapter(columns: number): void {
    if (this.#ld - this.paddedColumns >= columns) return;
    const { allocator, driver } = this.#store;
    const { rows, paddedColumns } = this;
    const ld = paddedColumns + columns;
    const block = allocator.allocate(BYTES * rows * ld, 'weights', 'weights');
    driver.clearRows(offset(block.address, BYTES * paddedColumns), BYTES * ld, BYTES * columns, rows);
    const [pitch, oldPitch] = [BYTES * ld, BYTES * this.#ld];
    driver.copyRows(block.address, pitch, this.#block.address, oldPitch, BYTES * paddedColumns, rows);
    allocator.free(this.#block);
    this.#block = block;
    this.#ld = ld;
    for (const adapter of this.adapters.values()) adapter.invalidate();
  }

  adapterAt(row: number): Pick<DeviceRows, 'address' | 'ld'> {
    return { address: offset(this.address(row), BYTES * this.paddedColumns), ld: this.#ld };
  }

  free(): void {
    this.#store.allocator.free(this.#block);
  }
}
