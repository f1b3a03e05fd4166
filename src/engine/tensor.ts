/**
 * What every engine calls a tensor, a frozen weight and a trainable parameter.
 *
 * A tensor is a handle to memory that the engine owns, counted by reference. Its number format is the engine's own
 * business (float32 on `cpu`, bfloat16 on `cuda`); the model never asks.
 */
import { EngineError } from '../errors.js';

/** A dense, row-major array in the engine's memory. */
export interface Tensor {
  /** Unique for the life of the process. */
  readonly id: number;
  /** Outermost extent first. */
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
}

/** Number formats in which weights are kept. */
export type DType = 'f32' | 'bf16' | 'f16';

/** Number formats of weights in files. 8-bit floats stand there with a scale, and become bf16 while they are loaded. */
export type StoredDType = DType | 'f8_e4m3';

/** Bytes of one element. */
export const DTYPE_BYTES: Readonly<Record<StoredDType, number>> = { f32: 4, bf16: 2, f16: 2, f8_e4m3: 1 };

/** What the 8-bit numbers of a matrix are multiplied with: one factor for each block of rows and columns. */
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
  /** Becomes the weight's; stands in messages. */
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

/**
 * A frozen weight. `cpu` keeps the stored format (8-bit floats: bf16), `cuda` bf16, `tfjs` float32. Linear weights are
 * [out, in].
 */
export interface Weight {
  /** That of its source. */
  readonly name: string;
  /** That of its source. */
  readonly shape: readonly number[];
  /** That of its source, bf16 for f8_e4m3; whatever the engine computes with. */
  readonly dtype: DType;
}

/** A trainable array: float32 value and gradient. */
export interface Parameter {
  /** As `createParameters` was given it. */
  readonly name: string;
  /** As `createParameters` was given it. */
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
  /** First element in the flat arrays that `readParameters` and `readGradients` give. */
  readonly offset: number;
  /** Freed with its set. */
  readonly value: Tensor;
  /** Sum of all gradients since `zeroGradients`; freed with its set. */
  readonly grad: Tensor;
}

/** All trainable numbers of a run. */
export interface ParameterSet {
  /** In the order in which they were given, without gaps in the flat arrays. */
  readonly parameters: readonly Parameter[];
  /** Elements over all parameters. */
  readonly size: number;
}

/**
 * Checks that a tensor is a matrix [rows, columns]; -1 leaves an extent open.
 * @throws EngineError naming the operation, the tensor's part in it, and both shapes
 */
export function requireMatrix(tensor: Tensor, rows: number, columns: number, operation: string, what: string): void {
  const [r, c] = tensor.shape;
  if (tensor.shape.length === 2 && (rows < 0 || r === rows) && (columns < 0 || c === columns)) return;
  const open = (extent: number): string => (extent < 0 ? 'any' : String(extent));
  const expected = `[${open(rows)}, ${open(columns)}]`;
  throw new EngineError(`${operation}: ${what} has shape [${tensor.shape.join(', ')}], expected ${expected}`);
}

export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}
