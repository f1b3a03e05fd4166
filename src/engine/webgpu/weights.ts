/** Streams weights to the device, in the format of frozen-weight.ts. */
import { EngineError } from '../../errors.js';
import { widen } from '../../formats/half-precision.js';
import { dequantizedSource } from '../../formats/held-source.js';
import { DTYPE_BYTES, type DType, matrixShape, requireBytes, type WeightSource } from '../../formats/weight-source.js';
import type { WebgpuWeight, WeightPart } from './frozen-weight.js';
import type { TensorStore } from './tensor-store.js';

/** Bytes that are read at once. */
const PIECE_BYTES = 16 << 20;

/** @throws OutOfMemoryError; EngineError if its bytes do not fill dtype and shape; whatever the source throws */
export async function loadWeight(store: TensorStore, stored: WeightSource): Promise<WebgpuWeight> {
  const source = dequantizedSource(stored);
  requireBytes(source);
  const weight = source.shape.length > 1 ? await loadMatrix(store, source) : await loadVector(store, source);
  return store.weights.add(weight);
}

export function releaseWeight(store: TensorStore, { parts }: WebgpuWeight): void {
  // What is queued may still read it.
  store.queue.flush();
  for (const { values, factors } of parts)
    for (const range of [values, factors]) if (range) store.memory.freeFixed(range);
}

/** Widened: norms and biases are short. */
async function loadVector(store: TensorStore, source: WeightSource & { dtype: DType }): Promise<WebgpuWeight> {
  const { name, shape, dtype, byteLength } = source;
  const bytes = new Uint8Array(byteLength);
  await source.read(bytes, 0);
  const values = widen(bytes, dtype);
  const range = store.memory.createFixed(values.byteLength);
  store.queue.upload(range, values);
  const parts = [{ firstRow: 0, rows: 1, values: range }];
  return { name, shape, dtype, rows: 1, columns: values.length, format: 'f32', parts, block: [1, values.length] };
}

async function loadMatrix(store: TensorStore, source: WeightSource & { dtype: DType }): Promise<WebgpuWeight> {
  const { name, shape, dtype } = source;
  const [rows, columns] = matrixShape(shape);
  const rowBytes = columns * DTYPE_BYTES[dtype];
  const parts: WeightPart[] = [];
  try {
    const most = rowsOfPart(store, name, rowBytes);
    for (let firstRow = 0; firstRow < rows; firstRow += most) {
      const count = Math.min(most, rows - firstRow);
      const values = store.memory.createFixed(count * rowBytes);
      parts.push({ firstRow, rows: count, values });
      for (let at = 0; at < count * rowBytes; at += PIECE_BYTES) {
        const length = Math.min(PIECE_BYTES, count * rowBytes - at);
        // A write takes whole words.
        const piece = new Uint8Array(4 * Math.ceil(length / 4));
        await source.read(piece.subarray(0, length), firstRow * rowBytes + at);
        store.queue.upload({ ...values, offset: at }, piece);
      }
    }
  } catch (error) {
    for (const { values } of parts) store.memory.freeFixed(values);
    throw error;
  }
  return { name, shape, dtype, rows, columns, format: dtype, parts, block: [1, columns] };
}

/** Rows that one binding holds: an even number, so that a part begins at a whole word. */
function rowsOfPart({ memory }: TensorStore, name: string, rowBytes: number): number {
  const most = 2 * Math.floor(memory.bindingBytes / rowBytes / 2);
  if (most >= 2) return most;
  throw new EngineError(
    `${name}: a row of ${rowBytes} bytes is more than half of the ${memory.bindingBytes} that the device binds`,
  );
}
