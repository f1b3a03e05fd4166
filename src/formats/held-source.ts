/** Weights in the format that an engine holds: dequantised to bf16 while they are read, or quantised, on the host. */
import { CheckpointError } from '../errors.js';
import { dequantizeRun, quantizeRows, readScale } from './float8.js';
import { widen } from './half-precision.js';
import { dequantizeNf4, expandAbsmax, Nf4Quantizer } from './nf4.js';
import { DTYPE_BYTES, type DType, matrixShape, sizeOf, type WeightSource } from './weight-source.js';

/** A weight in 16 or 32 bits. */
export type HeldSource = WeightSource & { readonly dtype: DType };

/** About as many values are quantised at a time. */
const PIECE_VALUES = 1 << 20;

/**
 * The weight dequantised to bf16 on the host while it is read; one in 16 or 32 bits as it is. Offsets and lengths count
 * the bf16 bytes.
 */
export function dequantizedSource(source: WeightSource): HeldSource {
  if (source.dtype === 'f8_e4m3') return dequantizedE4m3(source);
  if (source.dtype === 'nf4') return dequantizedNf4(source);
  return source as HeldSource;
}

/**
 * The weight quantised on the host to the format of its `hold`, whole in memory; without a `hold`, or stored in that
 * format already, the weight as it is. `dequantizedSource` of the result has the values that an engine holding the format
 * computes with.
 * @throws CheckpointError for a value that is not finite; what the source throws
 */
export async function quantizedSource(source: WeightSource): Promise<WeightSource> {
  const { hold } = source;
  if (!hold || hold.format === source.dtype) return source;
  const { name, shape, stack } = source;
  if (hold.format === 'nf4') {
    const quantizer = new Nf4Quantizer(name, sizeOf(shape), hold.blockSize);
    await eachPiece(source, PIECE_VALUES, (values) => quantizer.push(values));
    const absmax = quantizer.finish(hold.doubleQuantization);
    const quantState = { blockSize: hold.blockSize, read: async () => absmax };
    return { ...inMemory(quantizer.codes), name, shape, dtype: 'nf4', stack, hold, quantState };
  }
  const [rows, columns] = matrixShape(shape);
  const codes = new Uint8Array(rows * columns);
  const scales = new Float32Array(rows);
  await eachPiece(source, Math.max(1, Math.floor(PIECE_VALUES / columns)) * columns, (values, start) => {
    quantizeRows(name, values, columns, codes.subarray(start), scales.subarray(start / columns));
  });
  const scale = { block: [1, columns], read: async () => scales } as const;
  return { ...inMemory(codes), name, shape, dtype: 'f8_e4m3', stack, hold, scale };
}

/**
 * The values in order, widened to float32; those of 8-bit floats rounded to bf16 first.
 * @param visit receives a piece, which the next one overwrites, and the index of its first value
 */
async function eachPiece(
  stored: WeightSource,
  pieceValues: number,
  visit: (values: Float32Array, start: number) => void,
): Promise<void> {
  const source = dequantizedSource(stored);
  const size = sizeOf(source.shape);
  const width = DTYPE_BYTES[source.dtype];
  const piece = new Uint8Array(Math.min(pieceValues, size) * width);
  for (let start = 0; start < size; start += pieceValues) {
    const part = piece.subarray(0, Math.min(pieceValues, size - start) * width);
    await source.read(part, start * width);
    visit(widen(part, source.dtype), start);
  }
}

function dequantizedE4m3(source: WeightSource): HeldSource {
  const { name, shape, stack, byteLength } = source;
  requireWhole(source, sizeOf(shape));
  let scale: ReturnType<typeof readScale> | undefined;
  const tables: Uint16Array[] = [];
  const read = async (target: Uint8Array, offset = 0): Promise<void> => {
    scale ??= readScale(source);
    const factors = await scale;
    const codes = new Uint8Array(target.length / 2);
    await source.read(codes, offset / 2);
    const values = new Uint16Array(target.buffer, target.byteOffset, codes.length);
    dequantizeRun(codes, offset / 2, values, source, factors, tables);
  };
  return { name, shape, dtype: 'bf16', byteLength: 2 * byteLength, stack, read };
}

function dequantizedNf4(source: WeightSource): HeldSource {
  const { name, shape, stack, quantState } = source;
  const size = sizeOf(shape);
  requireWhole(source, Math.ceil(size / 2));
  if (!quantState) throw new CheckpointError(`${name}: 4-bit values came without their quant state`);
  let absmax: Promise<Float32Array> | undefined;
  const read = async (target: Uint8Array, offset = 0): Promise<void> => {
    absmax ??= quantState.read().then(expandAbsmax);
    const factors = await absmax;
    const values = new Uint16Array(target.buffer, target.byteOffset, target.length / 2);
    const start = offset / 2;
    const codes = new Uint8Array(Math.ceil((start + values.length) / 2) - Math.floor(start / 2));
    await source.read(codes, Math.floor(start / 2));
    // The source may outlive its last read; its factors, megabytes of them, should not.
    if (start + values.length >= size) absmax = undefined;
    dequantizeNf4(codes, factors, quantState.blockSize, start, values);
  };
  return { name, shape, dtype: 'bf16', byteLength: 2 * size, stack, read };
}

function requireWhole({ name, shape, dtype, byteLength }: WeightSource, needed: number): void {
  if (byteLength === needed) return;
  throw new CheckpointError(`${name} has ${byteLength} bytes, [${shape.join(', ')}] of ${dtype} needs ${needed}`);
}

function inMemory(bytes: Uint8Array): Pick<WeightSource, 'byteLength' | 'read'> {
  const read = async (target: Uint8Array, offset = 0): Promise<void> =>
    target.set(bytes.subarray(offset, offset + target.length));
  return { byteLength: bytes.length, read };
}
