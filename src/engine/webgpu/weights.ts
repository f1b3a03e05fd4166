/** Streams weights to the device, in the format of frozen-weight.ts. */
import { EngineError } from '../../errors.js';
import { readScale, refuseNaN } from '../../formats/float8.js';
import { widen } from '../../formats/half-precision.js';
import { dequantizedSource, quantizedSource } from '../../formats/held-source.js';
import { expandAbsmax, readNf4State, requireNf4Blocks } from '../../formats/nf4.js';
import { DTYPE_BYTES, type DType, matrixShape, requireBytes, type WeightSource } from '../../formats/weight-source.js';
import type { WebgpuWeight, WeightFormat, WeightPart } from './frozen-weight.js';
import type { BufferRange } from './gpu-types.js';
import type { TensorStore } from './tensor-store.js';
import { partRows, type RowUnit, wholeRows } from './weight-parts.js';

/** Bytes that are read at once. */
const PIECE_BYTES = 16 << 20;

/** What packed values are multiplied with. */
interface Factors {
  readonly values: Float32Array;
  readonly block: readonly [rows: number, columns: number];
  /** Factors of the rows from `first` on, up to `end`. */
  slice(first: number, end: number): Float32Array;
}

/** A matrix as its words will be: 16 or 32 bits as stored, or packed with factors. */
interface Packed {
  readonly source: WeightSource;
  readonly format: WeightFormat;
  readonly factors?: Factors | undefined;
  /** Where a part may begin. */
  readonly unit: RowUnit;
}

/**
 * @throws OutOfMemoryError; EngineError if its bytes do not fill dtype and shape, or its blocks do not fit it;
 *   CheckpointError for values that are not finite where they are quantised or 8-bit floats; whatever the source throws
 */
export async function loadWeight(store: TensorStore, stored: WeightSource): Promise<WebgpuWeight> {
  store.queue.requireSound();
  if (stored.shape.length <= 1) return loadVector(store, dequantizedSource(stored));
  const { dtype } = stored;
  const { hold } = stored;
  const isQuantized = hold !== undefined && hold.format !== dtype;
  const load = () => pack(stored).then(async (packed) => ({ packed, parts: await uploadParts(store, packed) }));
  const { packed, parts } = await (isQuantized ? inTurn(store, load) : load());
  const { source, format, factors, unit } = packed;
  const [rows, columns] = matrixShape(source.shape);
  return store.weights.add({
    ...{ name: source.name, shape: source.shape, rows, columns, format, parts },
    dtype: dtype === 'f32' || dtype === 'f16' ? dtype : 'bf16',
    held: format === 'nf4' ? 'nf4' : format === 'e4m3' ? 'f8_e4m3' : undefined,
    block: factors?.block ?? [1, unit.columns],
  });
}

/** Ends of the turns so far. */
const turns = new WeakMap<TensorStore, Promise<unknown>>();

/** Quantising takes the thread, and has a whole matrix in memory: no two of them at once. */
function inTurn<T>(store: TensorStore, work: () => Promise<T>): Promise<T> {
  const own = (turns.get(store) ?? Promise.resolve()).then(work);
  turns.set(
    store,
    own.catch(() => {}),
  );
  return own;
}

export function releaseWeight(store: TensorStore, { parts }: Pick<WebgpuWeight, 'parts'>): void {
  // What is queued may still read it.
  store.queue.flush();
  for (const { values, factors } of parts)
    for (const range of [values, factors]) if (range) store.memory.freeFixed(range);
}

/** Widened: norms and biases are short. */
async function loadVector(store: TensorStore, source: WeightSource & { dtype: DType }): Promise<WebgpuWeight> {
  requireBytes(source);
  const { name, shape, dtype, byteLength } = source;
  const bytes = new Uint8Array(byteLength);
  await source.read(bytes, 0);
  const values = widen(bytes, dtype);
  const range = uploaded(store, values);
  const parts = [{ firstRow: 0, rows: 1, values: range }];
  try {
    await requireBuffers(store, parts);
  } catch (error) {
    releaseWeight(store, { parts });
    throw error;
  }
  return store.weights.add({
    ...{ name, shape, dtype, rows: 1, columns: values.length, format: 'f32', parts, block: [1, values.length] },
  });
}

/** A matrix in the format that it is held in; quantising happens here. */
async function pack(stored: WeightSource): Promise<Packed> {
  const { hold, name, shape } = stored;
  if (hold?.format === 'nf4') requireNf4Blocks(name, { blockSize: hold.blockSize, nestedBlockSize: 0 });
  requireBytes(stored);
  const quantized = await quantizedSource(stored);
  // 8-bit floats that nobody asked to hold become bf16, as on the other engines.
  const source = quantized.dtype === 'f8_e4m3' && !hold ? dequantizedSource(quantized) : quantized;
  const [, columns] = matrixShape(shape);
  if (source.dtype === 'nf4') {
    const { blockSize, absmax } = await readNf4State(source);
    const values = expandAbsmax(absmax);
    const slice = (first: number, end: number): Float32Array =>
      values.subarray((first * columns) / blockSize, Math.ceil((end * columns) / blockSize));
    const factors = { values, block: [1, blockSize], slice } as const;
    return { source, format: 'nf4', factors, unit: wholeRows(columns, blockSize) };
  }
  if (source.dtype === 'f8_e4m3') {
    const { factors: values, block, across } = await readScale(source);
    const slice = (first: number, end: number): Float32Array =>
      values.subarray(Math.floor(first / block[0]) * across, Math.ceil(end / block[0]) * across);
    const factors = { values, block, slice };
    return { source, format: 'e4m3', factors, unit: { columns, rows: block[0], mayDivide: true } };
  }
  return { source, format: source.dtype, unit: { columns, rows: 1, mayDivide: false } };
}

/** All parts, or none: what fails half-way leaves nothing behind. */
async function uploadParts(store: TensorStore, { source, format, factors, unit }: Packed): Promise<WeightPart[]> {
  const { name, shape, dtype } = source;
  const [rows, columns] = matrixShape(shape);
  const rowBytes = columns * DTYPE_BYTES[dtype];
  const parts: WeightPart[] = [];
  try {
    for (const { first, count } of partRows(rows, unit, Math.floor(store.memory.bindingBytes / rowBytes))) {
      if (count === 0) {
        throw new EngineError(
          `loadWeight: ${name}: ${unit.rows} rows of ${rowBytes} bytes are more than the ${store.memory.bindingBytes} ` +
            'that the device binds at once',
        );
      }
      const values = store.memory.createFixed(Math.ceil(count * rowBytes));
      parts.push({ firstRow: first, rows: count, values });
      if (factors) {
        const own = uploaded(store, factors.slice(first, first + count));
        parts[parts.length - 1] = { firstRow: first, rows: count, values, factors: own };
      }
      await uploadBytes(store, source, first * rowBytes, Math.ceil(count * rowBytes), values, format);
    }
    await requireBuffers(store, parts);
  } catch (error) {
    releaseWeight(store, { parts });
    throw error;
  }
  return parts;
}

/** Bytes `start` to `start + length` of the source. */
async function uploadBytes(
  store: TensorStore,
  source: WeightSource,
  start: number,
  length: number,
  target: BufferRange,
  format: WeightFormat,
): Promise<void> {
  for (let at = 0; at < length; at += PIECE_BYTES) {
    const bytes = Math.min(PIECE_BYTES, length - at);
    // A write takes whole words.
    const piece = new Uint8Array(4 * Math.ceil(bytes / 4));
    const read = piece.subarray(0, bytes);
    await source.read(read, start + at);
    if (format === 'e4m3' && read.some((code) => (code & 0x7f) === 0x7f)) refuseNaN(source.name);
    store.queue.upload({ ...target, offset: at }, piece);
    await store.queue.keepUploads();
  }
}

async function requireBuffers(store: TensorStore, parts: readonly WeightPart[]): Promise<void> {
  for (const { values, factors } of parts) {
    await store.queue.requireBuffer(values.buffer);
    if (factors) await store.queue.requireBuffer(factors.buffer);
  }
}

function uploaded(store: TensorStore, values: Float32Array): BufferRange {
  const range = store.memory.createFixed(values.byteLength);
  try {
    if (values.length > 0) store.queue.upload(range, values);
  } catch (error) {
    store.memory.freeFixed(range);
    throw error;
  }
  return range;
}
