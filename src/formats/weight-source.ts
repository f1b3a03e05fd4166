/** Number formats of weights, and a tensor in a file as whoever loads it sees it. */
import { EngineError } from '../errors.js';

/** Number formats in which weights are kept. */
export type DType = 'f32' | 'bf16' | 'f16';

/** Number formats of weights in files. 8-bit floats come with a scale, and become bf16 while they are loaded. */
export type StoredDType = DType | 'f8_e4m3';

export const DTYPE_BYTES: Readonly<Record<StoredDType, number>> = { f32: 4, bf16: 2, f16: 2, f8_e4m3: 1 };

/** What the 8-bit values of a matrix are multiplied with: one factor for each block of rows and columns. */
export interface WeightScale {
  /** Rows and columns of a block; the last blocks may be cut. The matrix itself where one factor serves all. */
  readonly block: readonly [rows: number, columns: number];
  /** The factors, row-major over the blocks. */
  read(): Promise<Float32Array>;
}

/** Rows row..row + out of a matrix that weights with the same input share: one product then serves them all. */
export interface StackPlace {
  /** The same for all weights of the stack. */
  readonly name: string;
  /** First row of the weight in the stack. */
  readonly row: number;
  /** Rows of the whole stack. */
  readonly rows: number;
}

/** A tensor in a file, to be streamed into the engine. */
export interface WeightSource {
  /** Becomes the weight's name, also in messages. */
  readonly name: string;
  /** Outermost extent first. */
  readonly shape: readonly number[];
  /** Number format of the bytes that `read` gives. */
  readonly dtype: StoredDType;
  /** Bytes of all elements in that format. */
  readonly byteLength: number;
  /** Given where the dtype is f8_e4m3, and only there. */
  readonly scale?: WeightScale | undefined;
  /** A hint that an engine may use or ignore. */
  readonly stack?: StackPlace | undefined;
  /** Fills `target` with the tensor's bytes from `offset` on (little-endian, row-major). */
  read(target: Uint8Array, offset?: number): Promise<void>;
}

/** @throws EngineError if the bytes of a source do not fill its dtype and shape */
export function requireBytes({ name, shape, dtype, byteLength }: WeightSource): void {
  const needed = sizeOf(shape) * DTYPE_BYTES[dtype];
  if (byteLength === needed) return;
  throw new EngineError(
    `loadWeight: ${name} has ${byteLength} bytes, [${shape.join(', ')}] of ${dtype} needs ${needed}`,
  );
}

/** Elements of an array of this shape. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}
