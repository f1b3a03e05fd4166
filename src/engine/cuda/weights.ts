/** Frozen weights on the device. Weights that share an input can lie in one stacked matrix; vectors are always bf16. */
import { EngineError } from '../../errors.js';
import { widen } from '../../formats/half-precision.js';
import { NESTED_BLOCK_SIZE } from '../../formats/nf4.js';
import {
  type DType,
  type HeldFormat,
  type Nf4Absmax,
  requireBytes,
  type StackPlace,
  sizeOf,
  type WeightSource,
} from '../../formats/weight-source.js';
import { roundUp } from '../arena.js';
import { HeldWeights } from '../held-weights.js';
import type { Weight } from '../tensor.js';
import { MAX_PARTS } from './adapters.js';
import { Bf16Matrix } from './bf16-matrix.js';
import { E4m3Matrix } from './e4m3-matrix.js';
import type { FrozenMatrix } from './frozen-matrix.js';
import { HostRows } from './host-rows.js';
import { type HostDriver, HostWeights } from './host-weights.js';
import type { DevicePointer } from './launch.js';
import { LayerStream } from './layer-stream.js';
import { type Nf4Format, Nf4Matrix } from './nf4-matrix.js';
import { PackedMatrix } from './packed-matrix.js';
import { type PackedMemory, StreamedMemory } from './packed-memory.js';
import type { Staging } from './staging.js';
import { StreamedMatrix } from './streamed-matrix.js';
import type { TensorStore } from './tensor-store.js';
import { bytesOf, mayLeave, type Offload, placeWeights, streamedWithLess } from './weight-placement.js';
import { type WeightDriver, WeightStream } from './weight-stream.js';

export class DeviceWeight implements Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly held: HeldFormat['format'] | undefined;
  /** Product of all extents but the last; 1 for a vector. */
  readonly rows: number;
  readonly columns: number;
  readonly matrix: FrozenMatrix;
  /** First row in the matrix. */
  readonly row: number;
  /** A vector as it was stored: small, and exact for whoever reads it back. */
  vector: Float32Array | undefined;

  constructor(name: string, shape: readonly number[], dtype: DType, matrix: FrozenMatrix, row: number) {
    this.name = name;
    this.shape = shape;
    this.dtype = dtype;
    this.columns = shape.at(-1) ?? 1;
    this.rows = sizeOf(shape.slice(0, -1));
    this.matrix = matrix;
    this.held = matrix.held;
    this.row = row;
    matrix.users++;
    matrix.places.add(row);
  }
}

export class WeightStore extends HeldWeights<DeviceWeight> {
  readonly #store: TensorStore;
  readonly #stream: WeightStream;
  readonly #stacks = new Map<string, FrozenMatrix>();
  /** Spare columns that a matrix reserves for each weight in it when it is loaded. */
  readonly #spareColumns: number;
  readonly #driver: WeightDriver & HostDriver;
  readonly #staging: Staging;
  readonly #host: HostWeights;
  /** By name: placement of weights that are not loaded yet. Others are placed on the device. */
  readonly #places = new Map<string, 'host rows' | { readonly stream: LayerStream; readonly layer: number }>();
  readonly #streams = new Set<LayerStream>();
  /** Bytes that would be streamed if the last model that was placed had less memory. */
  #nextStreamedBytes: number | undefined;

  /**
   * @param adapterRank rank for which spare columns are kept ready; a higher one costs a copy of the matrix
   * @param pieceBytes see WeightStream
   */
  constructor(
    store: TensorStore,
    driver: WeightDriver & HostDriver,
    staging: Staging,
    adapterRank: number,
    pieceBytes?: number,
  ) {
    super();
    this.#store = store;
    this.#stream = new WeightStream(store, driver, staging, pieceBytes);
    this.#spareColumns = roundUp(adapterRank, 16);
    this.#driver = driver;
    this.#staging = staging;
    this.#host = new HostWeights(store, driver, staging, this.#stream);
  }

  /** Bytes of a weight on the device. */
  bytesOf(source: WeightSource): number {
    return bytesOf(source, this.#spareColumns);
  }

  /** Bytes copied from host memory when each streamed layer is used once. */
  get streamedBytes(): number {
    return [...this.#streams].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get nextStreamedBytes(): number | undefined {
    return this.#nextStreamedBytes;
  }

  /**
   * Decides where the weights of a model are placed.
   * @returns whether layers are streamed
   * @throws OutOfMemoryError if no placement fits
   */
  place(
    sources: readonly WeightSource[],
    offload: Offload,
    trainingBytes: (tokens: number, offloadInputs?: boolean) => number,
  ): boolean {
    const { bytesInUse, limitBytes, overheadBytes = 0 } = this.#store.allocator.memory();
    const options = {
      ...{ offload, roomBytes: limitBytes - bytesInUse, overheadBytes: overheadBytes + bytesInUse },
      ...{ spareColumns: this.#spareColumns, trainingBytes },
    };
    const { embedding, layers, slots } = placeWeights(sources, options);
    this.#nextStreamedBytes = offload === 'auto' ? streamedWithLess(sources, options) : undefined;
    const stream = layers.size > 0 ? new LayerStream(this.#driver, slots) : undefined;
    if (stream) this.#streams.add(stream);
    for (const source of sources) {
      const { name, usage } = source;
      this.#places.delete(name);
      if (!mayLeave(source)) continue;
      if (usage === 'lookup' && embedding) this.#places.set(name, 'host rows');
      else if (typeof usage === 'object' && stream && layers.has(usage.layer)) {
        this.#places.set(name, { stream, layer: usage.layer });
      }
    }
    return stream !== undefined;
  }

  /** Loads may overlap: they share a ring of page-locked blocks, and are read in the order of the calls. */
  async load(source: WeightSource): Promise<DeviceWeight> {
    requireBytes(source);
    const { name, shape, dtype } = source;
    const absmax = await source.quantState?.read();
    const format = formatOf(source, absmax);
    const columns = shape.at(-1) ?? 1;
    const rows = sizeOf(shape.slice(0, -1));
    const stacked = source.stack && this.#stack(source.stack, rows, columns, format, name);
    let matrix: FrozenMatrix;
    if (stacked) matrix = stacked;
    else if (shape.length > 1) matrix = this.#matrix(rows, columns, 1, format, name);
    else matrix = new Bf16Matrix(this.#store, rows, columns, 0);
    const stored = dtype === 'f8_e4m3' || dtype === 'nf4' ? 'bf16' : dtype;
    const weight = new DeviceWeight(name, [...shape], stored, matrix, stacked ? source.stack!.row : 0);
    this.add(weight);
    const keep = (bytes: Uint8Array): void => {
      weight.vector = widen(bytes.slice(), stored);
    };
    this.#places.delete(name);
    try {
      const kept = shape.length === 1 ? keep : undefined;
      if (matrix instanceof StreamedMatrix || matrix instanceof HostRows) await matrix.load(source, weight.row, rows);
      else {
        const fill = () => this.#stream.fill(matrix.target(weight.row, rows, absmax), source, kept);
        await (matrix instanceof PackedMatrix ? matrix.memory.fill(fill) : fill());
      }
      return weight;
    } catch (error) {
      this.release(weight);
      throw error;
    }
  }

  /** The values as the device holds them; vectors as they were stored. */
  async read(weight: DeviceWeight): Promise<Float32Array> {
    if (weight.vector) return weight.vector.slice();
    const { matrix, rows, columns } = weight;
    const wide = new Float32Array(rows * columns);
    // A block of rows at a time: there may be no room for the whole in float32.
    const block = Math.max(1, Math.min(rows, Math.floor((1 << 24) / columns)));
    for (let row = 0; row < rows; row += block) {
      const narrow = matrix.readRows(weight.row + row, Math.min(block, rows - row));
      const part = this.#store.toF32(narrow);
      const values = this.#store.staging.download(part.address, 4 * part.size);
      this.#store.release(narrow);
      this.#store.release(part);
      wide.set(new Float32Array(await values.arrive()), row * columns);
    }
    return wide;
  }

  release(weight: DeviceWeight): void {
    this.held.delete(weight);
    const { matrix } = weight;
    if (--matrix.users > 0) return;
    for (const adapter of [...matrix.adapters.values()]) adapter.dispose();
    for (const [name, stacked] of this.#stacks) if (stacked === matrix) this.#stacks.delete(name);
    matrix.copies?.free();
    matrix.free();
    if (!isStreamed(matrix)) return;
    for (const stream of this.#streams) {
      if (stream.isEmpty && this.#streams.delete(stream)) stream.dispose();
    }
  }

  /** Waits for the weights on their way. */
  dispose(): Promise<void> {
    return this.#stream.dispose();
  }

  /** Frees the page-locked host memory of streamed layers. No copy may be under way. */
  disposeHost(): void {
    const streamed = new Set([...this.held].map(({ matrix }) => matrix).filter(isStreamed));
    for (const matrix of streamed) matrix.free();
    for (const stream of this.#streams) stream.dispose();
    this.#streams.clear();
  }

  /** Device address of a bf16 vector of this length. */
  vector(weight: Weight, length: number, operation: string): DevicePointer {
    return (this.useVector(weight, length, operation).matrix as Bf16Matrix).address(0);
  }

  /** @returns undefined for a weight that is held in another format than the stack */
  #stack(
    place: StackPlace,
    rows: number,
    columns: number,
    format: MatrixFormat,
    name: string,
  ): FrozenMatrix | undefined {
    const named = this.#stacks.get(place.name);
    // A place that is taken is of another model with the same names: that one's stack is complete.
    const known = named?.places.has(place.row) ? undefined : named;
    if (known && !isOfFormat(known, format)) return undefined;
    // Room for the adapters of q, k and v.
    const matrix = known ?? this.#matrix(place.rows, columns, 3, format, name);
    if (matrix.columns !== columns || matrix.rows !== place.rows || place.row + rows > place.rows) {
      throw new EngineError(
        `loadWeight: ${name} [${rows}, ${columns}] does not fit at row ${place.row} of the stack ${place.name} ` +
          `[${matrix.rows}, ${matrix.columns}]`,
      );
    }
    this.#stacks.set(place.name, matrix);
    return matrix;
  }

  /** Most scratch bytes of a product with any of the matrices. */
  get scratchBytes(): number {
    let most = 0;
    for (const { matrix } of this.held) most = Math.max(most, matrix.scratchBytes);
    return most;
  }

  /**
   * @param weights most weights in the matrix
   * @param name name of the first weight in it
   */
  #matrix(rows: number, columns: number, weights: number, format: MatrixFormat, name: string): FrozenMatrix {
    const spare = weights * this.#spareColumns;
    if (format === 'bf16') return this.#wholeMatrix(rows, columns, spare, name);
    const maxParts = weights === 1 ? 1 : MAX_PARTS;
    const memory = this.#streamedMemory(name);
    const matrix =
      format === 'f8_e4m3'
        ? new E4m3Matrix(this.#store, rows, columns, maxParts, memory)
        : new Nf4Matrix(this.#store, rows, columns, { maxParts, format }, memory);
    try {
      matrix.reserveAdapter(spare);
      return matrix;
    } catch (error) {
      matrix.free();
      throw error;
    }
  }

  #wholeMatrix(rows: number, columns: number, spare: number, name: string): FrozenMatrix {
    const place = this.#places.get(name);
    const shared = this.#shared;
    if (place === 'host rows') return new HostRows(shared, rows, columns);
    if (!place) return new Bf16Matrix(this.#store, rows, columns, spare);
    return new StreamedMatrix({ ...shared, stream: place.stream }, place.layer, rows, columns, spare);
  }

  /** undefined for a weight that is placed on the device. */
  #streamedMemory(name: string): ((bytes: number) => PackedMemory) | undefined {
    const place = this.#places.get(name);
    if (typeof place !== 'object') return undefined;
    return (bytes) => new StreamedMemory({ ...this.#shared, stream: place.stream }, place.layer, bytes);
  }

  get #shared() {
    return { store: this.#store, driver: this.#driver, staging: this.#staging, weights: this.#host };
  }
}

function isStreamed(matrix: FrozenMatrix): boolean {
  return (
    matrix instanceof StreamedMatrix || (matrix instanceof PackedMatrix && matrix.memory instanceof StreamedMemory)
  );
}

type MatrixFormat = 'bf16' | 'f8_e4m3' | Nf4Format;

/** The storage format of a weight. @throws EngineError for one that cannot be held as it should */
function formatOf({ name, shape, dtype, quantState, hold }: WeightSource, absmax: Nf4Absmax | undefined): MatrixFormat {
  if (shape.length < 2) return 'bf16';
  if (dtype === 'nf4') {
    if (!quantState || !absmax) throw new EngineError(`loadWeight: ${name}: 4-bit values without a quant state`);
    if (hold && hold.format !== 'nf4')
      throw new EngineError(`loadWeight: ${name} is stored as nf4 and cannot be held as ${hold.format}`);
    return nf4Format(name, quantState.blockSize, 'codes' in absmax ? absmax.nestedBlockSize : 0);
  }
  if (hold?.format === 'nf4') return nf4Format(name, hold.blockSize, hold.doubleQuantization ? NESTED_BLOCK_SIZE : 0);
  return hold?.format ?? 'bf16';
}

function nf4Format(name: string, blockSize: number, nestedBlockSize: number): Nf4Format {
  for (const size of nestedBlockSize > 0 ? [blockSize, nestedBlockSize] : [blockSize]) {
    if (Number.isInteger(Math.log2(size)) && size >= 32 && size <= 4096) continue;
    throw new EngineError(`loadWeight: ${name}: blocks of ${size} values, expected a power of two from 32 to 4096`);
  }
  return { blockSize, nestedBlockSize };
}

function isOfFormat(matrix: FrozenMatrix, format: MatrixFormat): boolean {
  if (typeof format === 'string') return (matrix.held ?? 'bf16') === format;
  const { blockSize, nestedBlockSize } = matrix instanceof Nf4Matrix ? matrix.format : { ...format, blockSize: 0 };
  return blockSize === format.blockSize && nestedBlockSize === format.nestedBlockSize;
}
