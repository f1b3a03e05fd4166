/**
 * What every engine calls a tensor, a frozen weight and a trainable parameter.
 *
 * A tensor is a handle to memory that the engine owns, counted by reference. The engine chooses its number format:
 * float32 on `cpu`, bfloat16 on `cuda`.
 */
import { EngineError } from '../errors.js';
import { type DType, type HeldFormat, sizeOf } from '../formats/weight-source.js';

/** A dense, row-major array in the engine's memory. */
export interface Tensor {
  /** Unique for the life of the process. */
  readonly id: number;
  /** Outermost extent first. */
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
}

/**
 * A frozen weight. `cpu` keeps the stored format (8-bit floats: bf16), `cuda` bf16, `tfjs` float32. Linear weights are
 * [out, in].
 */
export interface Weight {
  /** As in the checkpoint. */
  readonly name: string;
  /** Outermost extent first. */
  readonly shape: readonly number[];
  /** Storage dtype, as in the checkpoint; bf16 for f8_e4m3 and nf4. */
  readonly dtype: DType;
  /** Format in which the engine holds it, if other than `dtype`. */
  readonly held?: HeldFormat['format'] | undefined;
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

/** A parameter to be made. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Values in order. */
  readonly initial: Float32Array;
  /** The frozen weight that it is used with: an engine of several devices keeps both on one. Default: the first device. */
  readonly beside?: Weight | undefined;
}

/** All trainable parameters of a run. */
export interface ParameterSet {
  /** In the order in which they were given, without gaps in the flat arrays. */
  readonly parameters: readonly Parameter[];
  /** Elements over all parameters. */
  readonly size: number;
}

/** What is expected of a matrix; an extent that is left out may be any. */
export interface Extents {
  readonly rows?: number;
  readonly columns?: number;
}

/**
 * Checks that a tensor or weight is a matrix of these extents.
 * @throws EngineError naming the operation, the array's part in it, and both shapes
 */
export function requireMatrix(
  { shape }: { readonly shape: readonly number[] },
  operation: string,
  what: string,
  { rows, columns }: Extents = {},
): void {
  const [r, c] = shape;
  if (shape.length === 2 && r === (rows ?? r) && c === (columns ?? c)) return;
  const expected = `[${rows ?? 'any'}, ${columns ?? 'any'}]`;
  throw new EngineError(`${operation}: ${what} has shape [${shape.join(', ')}], expected ${expected}`);
}

/** @throws EngineError if so many values do not fill the shape */
export function requireFilled({ length }: ArrayLike<number>, shape: readonly number[], what: string): void {
  if (length === sizeOf(shape)) return;
  throw new EngineError(`${what}: ${length} values do not fill the shape [${shape.join(', ')}]`);
}
