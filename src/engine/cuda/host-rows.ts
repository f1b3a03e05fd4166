/** An embedding table in host memory: only the rows that are looked up are copied to the device. */
import { EngineError } from '../../errors.js';
import type { WeightSource } from '../../formats/weight-source.js';
import type { CudaDriver } from './driver.js';
import { FrozenMatrix } from './frozen-matrix.js';
import type { HostWeights } from './host-weights.js';
import { offset } from './launch.js';
import type { Staging } from './staging.js';
import type { TensorStore } from './tensor-store.js';
import { type CudaTensor, type DeviceRows, ELEMENT_BYTES } from './tensors.js';
import type { WeightTarget } from './weight-stream.js';

/** Bytes of rows per upload. */
const PIECE_BYTES = 16 << 20;

interface HostRowsParts {
  readonly store: TensorStore;
  readonly driver: Pick<CudaDriver, 'uploadRows'>;
  readonly staging: Pick<Staging, 'take' | 'giveBack'>;
  readonly weights: HostWeights;
}

export class HostRows extends FrozenMatrix {
  readonly smallRows = 0;
  readonly #parts: HostRowsParts;
  readonly #rowBytes: number;
  #host: Uint8Array;

  constructor(parts: HostRowsParts, rows: number, columns: number) {
    super(rows, columns);
    this.#parts = parts;
    this.#rowBytes = ELEMENT_BYTES.bf16 * columns;
    this.#host = new Uint8Array(rows * this.#rowBytes);
  }

  get bytes(): number {
    return this.#host.length;
  }

  /** Reads a weight into its rows. */
  load(source: WeightSource, row: number, rows: number): Promise<void> {
    return this.#parts.weights.read(source, this.#host.subarray(row * this.#rowBytes, (row + rows) * this.#rowBytes));
  }

  gatherRows(row: number, ids: Int32Array): CudaTensor {
    // Each distinct row once: most tokens of an image have the same id.
    const places = new Map<number, number>();
    const index = ids.map((id) => {
      const place = places.get(id) ?? places.size;
      places.set(id, place);
      return place;
    });
    const rows = this.#upload([...places.keys()].map((id) => row + id));
    const out = this.#parts.store.gather(rows, index);
    this.#parts.store.release(rows);
    return out;
  }

  readRows(row: number, count: number): CudaTensor {
    return this.#upload(Array.from({ length: count }, (_, i) => row + i));
  }

  #upload(rows: readonly number[]): CudaTensor {
    const { store, driver, staging } = this.#parts;
    const rowBytes = this.#rowBytes;
    const out = store.create([rows.length, this.columns]);
    const most = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
    for (let first = 0; first < rows.length; first += most) {
      const piece = rows.slice(first, first + most);
      const block = staging.take(piece.length * rowBytes);
      for (const [i, row] of piece.entries()) {
        block.pinned.bytes.set(this.#host.subarray(row * rowBytes, (row + 1) * rowBytes), i * rowBytes);
      }
      const pitch = ELEMENT_BYTES.bf16 * out.ld;
      const bytes = block.pinned.bytes.subarray(0, piece.length * rowBytes);
      driver.uploadRows(offset(out.address, first * pitch), pitch, bytes, rowBytes, piece.length);
      staging.giveBack(block);
    }
    return out;
  }

  free(): void {
    this.#host = new Uint8Array(0);
  }

  product(): void {
    throw this.#refusal();
  }

  transposedProduct(): void {
    throw this.#refusal();
  }

  adapterProduct(): void {
    throw this.#refusal();
  }

  smallProduct(): void {
    throw this.#refusal();
  }

  target(): WeightTarget {
    throw this.#refusal();
  }

  reserveAdapter(): void {
    throw this.#refusal();
  }

  adapterAt(): Pick<DeviceRows, 'address' | 'ld'> {
    throw this.#refusal();
  }

  #refusal(): EngineError {
    return new EngineError(
      `a table [${this.rows}, ${this.columns}] in host memory supports row lookups only, not products`,
      {
        hint: "It was loaded as an embedding table. createEngine('cuda', { cuda: { offload: 'none' } }) keeps all weights on the card.",
      },
    );
  }
}
