/**
 * A frozen bf16 matrix in page-locked host memory, copied to a slot on the device while its layer is used. scale·B stays on
 * the device and is copied into the slot's spare columns, so products are those of a Bf16Matrix.
 */
import { EngineError } from '../../errors.js';
import type { WeightSource } from '../../formats/weight-source.js';
import { KERNELS } from '../../generated/kernel-launchers.js';
import { Bf16Matrix } from './bf16-matrix.js';
import type { PinnedBlock } from './driver.js';
import { FrozenMatrix, type MatrixAdapter, type SmallProduct } from './frozen-matrix.js';
import { pinnedForLayer, type StreamParts } from './host-layers.js';
import { grid2, offset } from './launch.js';
import type { HostMatrix } from './layer-stream.js';
import type { DeviceBlock } from './memory.js';
import { type CudaTensor, type DeviceRows, ELEMENT_BYTES } from './tensors.js';
import type { WeightTarget } from './weight-stream.js';

const BYTES = ELEMENT_BYTES.bf16;

export class StreamedMatrix extends FrozenMatrix implements HostMatrix<Bf16Matrix> {
  readonly smallRows = 16;
  readonly layer: number;
  readonly form: string;
  readonly #parts: StreamParts;
  readonly #host: PinnedBlock;
  /** Spare columns of the slot, for scale·B. */
  #spare: number;
  /** scale·B [rows, spare], allocated for the first adapter. */
  #adapters: DeviceBlock | undefined;
  /** By first row: adapter and version of the scale·B that the slot holds. */
  readonly #placed = new Map<number, { readonly adapter: MatrixAdapter; readonly version: number }>();

  /** @throws OutOfMemoryError if host or device memory is exhausted */
  constructor(parts: StreamParts, layer: number, rows: number, columns: number, spare: number) {
    super(rows, columns);
    this.#parts = parts;
    this.layer = layer;
    this.form = `${rows}×${columns}`;
    this.#spare = spare;
    this.#host = pinnedForLayer(parts.driver, BYTES * rows * columns);
    try {
      parts.stream.add(this);
    } catch (error) {
      this.#host.free();
      throw error;
    }
  }

  get bytes(): number {
    return BYTES * this.rows * this.columns;
  }

  makeSlot(): Bf16Matrix {
    return new Bf16Matrix(this.#parts.store, this.rows, this.columns, this.#spare);
  }

  copyTo(slot: Bf16Matrix, stream: number): void {
    slot.uploadAll(this.#parts.driver, this.#host.bytes, stream);
    this.#placed.clear();
  }

  /** Reads a weight into its rows. */
  load(source: WeightSource, row: number, rows: number): Promise<void> {
    const rowBytes = BYTES * this.columns;
    return this.#parts.weights.read(source, this.#host.bytes.subarray(row * rowBytes, (row + rows) * rowBytes));
  }

  product(row: number, x: DeviceRows, y: DeviceRows, rank = 0): void {
    this.#copy(row, y.columns, rank).product(row, x, y, rank);
  }

  transposedProduct(row: number, dy: DeviceRows, dx: DeviceRows, rank = 0, beta = 0): void {
    this.#copy(row, dy.columns, rank).transposedProduct(row, dy, dx, rank, beta);
  }

  adapterProduct(row: number, dy: DeviceRows, du: DeviceRows): void {
    this.#copy(row, dy.columns, du.columns).adapterProduct(row, dy, du);
  }

  smallProduct(row: number, product: SmallProduct): void {
    const rows = product.activation < 0 ? product.n : 2 * product.n;
    this.#copy(row, rows, product.width).smallProduct(row, product);
  }

  gatherRows(row: number, ids: Int32Array): CudaTensor {
    return this.#parts.stream.use<Bf16Matrix>(this).gatherRows(row, ids);
  }

  override bf16Rows(row: number, count: number): DeviceRows | undefined {
    return this.#parts.stream.use<Bf16Matrix>(this).bf16Rows(row, count);
  }

  readRows(row: number, count: number): CudaTensor {
    const { store, driver } = this.#parts;
    const out = store.create([count, this.columns]);
    const rowBytes = BYTES * this.columns;
    const bytes = this.#host.bytes.subarray(row * rowBytes, (row + count) * rowBytes);
    driver.uploadRows(out.address, BYTES * out.ld, bytes, rowBytes, count);
    return out;
  }

  target(): WeightTarget {
    throw new EngineError(
      'a streamed matrix is loaded by `load` into host memory, it has no rows on the device to fill',
    );
  }

  reserveAdapter(columns: number): void {
    if (this.#adapters && this.#spare >= columns) return;
    const { store, stream } = this.#parts;
    const spare = Math.max(this.#spare, columns);
    const block = store.allocator.allocate(BYTES * Math.max(1, this.rows * spare), 'weights', 'weights');
    if (spare > this.#spare) stream.change<Bf16Matrix>(this, (slot) => slot.reserveAdapter(spare));
    if (this.#adapters) store.allocator.free(this.#adapters);
    this.#adapters = block;
    this.#spare = spare;
    for (const adapter of this.adapters.values()) adapter.invalidate();
  }

  adapterAt(row: number): Pick<DeviceRows, 'address' | 'ld'> {
    return { address: offset(this.#adapters!.address, BYTES * row * this.#spare), ld: this.#spare };
  }

  free(): void {
    this.#parts.stream.remove(this);
    if (this.#adapters) this.#parts.store.allocator.free(this.#adapters);
    this.#host.free();
  }

  /** The slot that holds the matrix, with `columns` columns of scale·B for the rows from `row` on up to date. */
  #copy(row: number, rows: number, columns: number): Bf16Matrix {
    const { store, stream } = this.#parts;
    const slot = stream.use<Bf16Matrix>(this);
    if (columns === 0) return slot;
    const adapter = this.adapters.get(row);
    const placed = this.#placed.get(row);
    if (!adapter || (placed?.adapter === adapter && placed.version === adapter.version)) return slot;
    const [from, to] = [this.adapterAt(row), slot.adapterAt(row)];
    // biome-ignore format: parameters by operand
    store.kernels.launch(KERNELS.copyBf16, grid2(rows, columns), {
      out: to.address, x: from.address, rows, columns, ldo: to.ld, ldx: from.ld,
    });
    this.#placed.set(row, { adapter, version: adapter.version });
    return slot;
  }
}
