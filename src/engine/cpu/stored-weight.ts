/** A frozen f32, bf16 or f16 weight as the checkpoint has it, outside the wasm memory in a buffer of all threads. */
import { EngineError } from '../../errors.js';
import { dequantizedSource } from '../../formats/held-source.js';
import {
  DTYPE_BYTES,
  type DType,
  type HeldFormat,
  requireBytes,
  sizeOf,
  type WeightSource,
} from '../../formats/weight-source.js';
import type { CpuRuntime } from './cpu-runtime.js';
import type { FrozenWeight } from './frozen-weight.js';
import type { WeightBytes } from './kernel-instance.js';
import type { FrozenRows } from './matmul.js';

/** How rows lie in the buffer: what `stageRows` of wasm/widen.ts reads. */
interface RowLayout {
  readonly held: HeldFormat['format'];
  /** The kernels' number of the format. */
  readonly kernelFormat: number;
  /** Bytes from one row to the next. */
  readonly rowBytes: number;
  readonly byteLength: number;
}

/** Of what is kept as it is stored. */
const KERNEL_FORMATS: Readonly<Record<DType, number>> = { f32: 0, bf16: 1, f16: 2 };

/** Weights are read in pieces of this many bytes; many weights may be on their way at once. */
const PIECE_BYTES = 4 << 20;

/**
 * Most values of a frozen matrix that is kept in float32 as well: widening it anew for each product would cost as much
 * as a product of few rows. All such weights of a model of billions of parameters are some MiB.
 */
const MAX_WIDENED = 1 << 16;

let nextId = 1;

export class StoredWeight implements FrozenWeight, FrozenRows, WeightBytes {
  readonly id = nextId++;
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly held: HeldFormat['format'] | undefined;
  readonly rows: number;
  readonly columns: number;
  readonly kernelFormat: number;
  readonly rowBytes: number;
  readonly byteLength: number;
  readonly buffer: SharedArrayBuffer;
  /** The whole buffer, little-endian; filled once, before the first use. */
  readonly bytes: Uint8Array;
  widened: number | undefined;
  readonly #runtime: CpuRuntime;

  /** @param layout default: values of `dtype`, row-major; other formats pass theirs and override `read` */
  constructor(runtime: CpuRuntime, name: string, shape: readonly number[], dtype: DType, layout?: RowLayout) {
    this.#runtime = runtime;
    this.name = name;
    this.shape = shape;
    this.dtype = dtype;
    this.held = layout?.held;
    this.columns = shape.at(-1) ?? 1;
    this.rows = sizeOf(shape.slice(0, -1));
    this.kernelFormat = layout?.kernelFormat ?? KERNEL_FORMATS[dtype];
    this.rowBytes = layout?.rowBytes ?? this.columns * DTYPE_BYTES[dtype];
    this.byteLength = layout?.byteLength ?? this.rows * this.rowBytes;
    try {
      this.buffer = new SharedArrayBuffer(this.byteLength);
    } catch (cause) {
      throw new EngineError(`cannot allocate ${this.byteLength} bytes for the weight ${name}`, {
        cause,
        hint: 'The machine has too little free memory for this model.',
      });
    }
    this.bytes = new Uint8Array(this.buffer);
    runtime.addWeight(this);
  }

  /** @throws EngineError if there is no room, or the source is of another length; then nothing is kept */
  static async load(runtime: CpuRuntime, stored: WeightSource): Promise<StoredWeight> {
    const source = dequantizedSource(stored);
    requireBytes(source);
    return new StoredWeight(runtime, source.name, source.shape, source.dtype).fill(source);
  }

  /** Reads all values; releases the weight on failure. */
  protected async fill(source: WeightSource): Promise<this> {
    const { rows, columns, shape } = this;
    try {
      await this.read(source);
      if (shape.length === 1 || rows * columns <= MAX_WIDENED) {
        this.widened = this.#runtime.alloc(4 * rows * columns);
        this.widenRows(0, rows, this.widened);
      }
      return this;
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Fills `bytes` from its source. */
  protected read(source: WeightSource): Promise<void> {
    return readPieces(source, this.rowBytes, (bytes, at) => this.bytes.set(bytes, at));
  }

  product(m: number, x: number, y: number): void {
    const { rows: n, columns: k } = this;
    this.#runtime.matmul({ m, n, k, a: x, b: this.widened ?? this, transB: true, c: y });
  }

  transposedProduct(m: number, dy: number, dx: number, beta = 0): void {
    const { rows: k, columns: n } = this;
    this.#runtime.matmul({ m, n, k, a: dy, b: this.widened ?? this, c: dx, beta });
  }

  gatherRows(ids: ArrayLike<number>, target: number): void {
    for (let i = 0; i < ids.length; i++) if (!(ids[i]! >= 0 && ids[i]! < this.rows)) throw this.#outside(ids[i]!);
    const table = this.#runtime.allocI32(ids);
    try {
      this.#widen(table, 0, ids.length, target);
    } finally {
      this.#runtime.free(table);
    }
  }

  widenRows(start: number, end: number, target: number): void {
    if (start < 0 || end > this.rows) throw this.#outside(start, end);
    this.#widen(0, start, end - start, target);
  }

  release(): void {
    this.#runtime.dropWeight(this);
    if (this.widened !== undefined) this.#runtime.free(this.widened);
    this.widened = undefined;
  }

  /** @param ids address of the list of rows; 0 for those from `first` on */
  #widen(ids: number, first: number, rows: number, target: number): void {
    const { id, kernelFormat, columns } = this;
    const grain = Math.ceil(40_000 / Math.max(1, columns));
    this.#runtime.parallel('gatherWeightRows', rows, grain, [ids, first, id, kernelFormat, columns, target]);
  }

  #outside(...rows: number[]): EngineError {
    return new EngineError(`${this.name} [${this.shape}] has no rows ${rows.join(' to ')}`);
  }
}

/** Reads a source in pieces of whole units. A piece is valid during the call of `take`; offsets are in bytes. */
export async function readPieces(
  source: WeightSource,
  unitBytes: number,
  take: (piece: Uint8Array, offset: number) => void,
): Promise<void> {
  const { byteLength } = source;
  if (unitBytes === 0) return;
  const pieceBytes = unitBytes * Math.max(1, Math.floor(PIECE_BYTES / unitBytes));
  // Through ordinary memory: not every source can write into shared memory.
  const memory = new Uint8Array(Math.min(pieceBytes, byteLength));
  for (let offset = 0; offset < byteLength; offset += pieceBytes) {
    const piece = memory.subarray(0, Math.min(pieceBytes, byteLength - offset));
    await source.read(piece, offset);
    take(piece, offset);
  }
}
