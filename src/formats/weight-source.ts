/** Number formats of weights, and a tensor in a file as whoever loads it sees it. */
import { EngineError } from '../errors.js';

/** Number formats in which weights are kept. */
export type DType = 'f32' | 'bf16' | 'f16';

/**
 * Number formats of weights in files. 8-bit floats come with scales, 4-bit codes with a quant state. Both become bf16
 * while they are loaded, unless the engine holds them as they are.
 */
export type StoredDType = DType | 'f8_e4m3' | 'nf4';

/** Bytes of a value. Two nf4 codes share a byte, the even element in the high half. */
export const DTYPE_BYTES: Readonly<Record<StoredDType, number>> = { f32: 4, bf16: 2, f16: 2, f8_e4m3: 1, nf4: 0.5 };

/** What `nf4` values are multiplied with: the largest magnitude of each block of `blockSize` values, row-major. */
export type Nf4Absmax =
  | { readonly absmax: Float32Array }
  /** 8-bit codes of absmax - offset in blocks of their own: absmax = map[code] · nestedAbsmax + offset. */
  | {
      readonly codes: Uint8Array;
      /** [256] */
      readonly map: Float32Array;
      readonly nestedAbsmax: Float32Array;
      readonly nestedBlockSize: number;
      readonly offset: number;
    };

/** Beside the 4-bit codes of a matrix; bitsandbytes calls it the quant state. */
export interface Nf4State {
  /** Values of a block: a power of two, 32 to 4096. Blocks run through the matrix row-major, the last one may be cut. */
  readonly blockSize: number;
  read(): Promise<Nf4Absmax>;
}

/** Format in which an engine holds a matrix, if not as it is stored. */
export type HeldFormat =
  | { readonly format: 'nf4'; readonly blockSize: number; readonly doubleQuantization: boolean }
  /** With one scale for each row, or the stored scales of an e4m3 matrix. */
  | { readonly format: 'f8_e4m3' };

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

/**
 * How a weight is used: `lookup` if only single rows are read, or as part of a decoder layer; layers run one after the
 * other.
 */
export type WeightUsage = 'lookup' | { readonly layer: number };

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
  /** Given where the dtype is nf4, and only there. */
  readonly quantState?: Nf4State | undefined;
  /**
   * Format to keep a matrix in; engines that do not list it in `heldFormats` refuse. Default: f32, bf16 and f16 as they
   * are stored, nf4 as nf4, f8_e4m3 as bf16.
   */
  readonly hold?: HeldFormat | undefined;
  /** A hint that an engine may use or ignore. */
  readonly stack?: StackPlace | undefined;
  /** A hint that an engine may use or ignore. Default: the whole weight may be needed at any time. */
  readonly usage?: WeightUsage | undefined;
  /**
   * Place in the order in which a model uses its weights, from 0; those of one layer share a number. An engine of several
   * devices cuts the model between two numbers. Default: 0.
   */
  readonly stage?: number | undefined;
  /** Fills `target` with the tensor's bytes from `offset` on (little-endian, row-major). */
  read(target: Uint8Array, offset?: number): Promise<void>;
}

/** @throws EngineError if the bytes of a source do not fill its dtype and shape */
export function requireBytes({ name, shape, dtype, byteLength }: WeightSource): void {
  const needed = Math.ceil(sizeOf(shape) * DTYPE_BYTES[dtype]);
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

/** Rows and columns of a weight: the last extent counts columns. */
export function matrixShape(shape: readonly number[]): [rows: number, columns: number] {
  return [sizeOf(shape.slice(0, -1)), shape.at(-1) ?? 1];
}
