/** Reads stored weights into host memory as packed bf16 rows. */
import { DTYPE_BYTES, sizeOf, type WeightSource } from '../../formats/weight-source.js';
import { Bf16Matrix } from './bf16-matrix.js';
import type { CudaDriver } from './driver.js';
import type { DevicePointer } from './launch.js';
import type { Staging } from './staging.js';
import type { TensorStore } from './tensor-store.js';
import { ELEMENT_BYTES } from './tensors.js';
import type { WeightStream } from './weight-stream.js';

/** Bytes per read, and of rows per conversion on the device. */
const PIECE_BYTES = 32 << 20;

export type HostDriver = Pick<CudaDriver, 'downloadAsync' | 'createEvent' | 'recordEvent' | 'destroyEvent'>;

export class HostWeights {
  readonly #store: TensorStore;
  readonly #driver: HostDriver;
  readonly #staging: Pick<Staging, 'passed'>;
  readonly #stream: WeightStream;
  /** One matrix is filled at a time: device memory may be scarce. */
  #turn: Promise<void> = Promise.resolve();

  constructor(store: TensorStore, driver: HostDriver, staging: Pick<Staging, 'passed'>, stream: WeightStream) {
    this.#store = store;
    this.#driver = driver;
    this.#staging = staging;
    this.#stream = stream;
  }

  /** Fills `target` with the rows of a matrix. Formats other than bf16 are converted on the device and copied back. */
  async read(source: WeightSource, target: Uint8Array): Promise<void> {
    if (source.dtype === 'bf16') {
      for (let at = 0; at < target.length; at += PIECE_BYTES) {
        await source.read(target.subarray(at, at + PIECE_BYTES), at);
      }
      return;
    }
    await this.inTurn(() => this.#convert(source, target));
  }

  /** Runs `body` when those before it are done. */
  inTurn(body: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(body);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Copies what is queued so far at a device address; resolves when it has arrived. */
  async download(target: Uint8Array, from: DevicePointer): Promise<void> {
    const event = this.#driver.createEvent();
    try {
      this.#driver.downloadAsync(target, from);
      this.#driver.recordEvent(event);
      await this.#staging.passed(event);
    } finally {
      this.#driver.destroyEvent(event);
    }
  }

  async #convert(source: WeightSource, target: Uint8Array): Promise<void> {
    const columns = source.shape.at(-1)!;
    const rows = sizeOf(source.shape.slice(0, -1));
    // Scale blocks may cross piece boundaries, so a scaled weight is one piece.
    const most = source.scale ? rows : Math.max(1, Math.floor(PIECE_BYTES / (DTYPE_BYTES[source.dtype] * columns)));
    for (let row = 0; row < rows; row += most) {
      const count = Math.min(most, rows - row);
      await this.#convertRows(rowsOf(source, row, count), columns, target.subarray(2 * row * columns));
    }
  }

  async #convertRows(source: WeightSource, columns: number, target: Uint8Array): Promise<void> {
    const rows = source.shape[0]!;
    const matrix = new Bf16Matrix(this.#store, rows, columns, 0);
    const event = this.#driver.createEvent();
    try {
      await this.#stream.fill(matrix.target(0, rows), source);
      const rowBytes = ELEMENT_BYTES.bf16 * columns;
      const isPacked = matrix.paddedColumns === columns;
      const copies = isPacked ? 1 : rows;
      const bytes = isPacked ? rows * rowBytes : rowBytes;
      for (let i = 0; i < copies; i++) {
        this.#driver.downloadAsync(target.subarray(i * rowBytes, i * rowBytes + bytes), matrix.address(i));
      }
      this.#driver.recordEvent(event);
      await this.#staging.passed(event);
    } finally {
      this.#driver.destroyEvent(event);
      matrix.free();
    }
  }
}

function rowsOf(source: WeightSource, row: number, count: number): WeightSource {
  const columns = source.shape.at(-1)!;
  const first = row * columns * DTYPE_BYTES[source.dtype];
  return {
    ...source,
    shape: [count, columns],
    byteLength: count * columns * DTYPE_BYTES[source.dtype],
    read: (target, offset = 0) => source.read(target, first + offset),
  };
}
