/**
 * Frozen weights on the device: as they are stored, cut into parts of whole rows where a binding holds less. Buffers of
 * weights are never written by a launch: kernels bind them `read`, as `array<u32>` (vectors: `array<f32>`).
 *
 * | format | word i holds | factors |
 * | --- | --- | --- |
 * | f32 | value i | |
 * | bf16, f16 | values 2i (low half) and 2i + 1 | |
 * | e4m3 | values 4i … 4i + 3, from the lowest byte | float32, one for each block of rows and columns, row-major |
 * | nf4 | values 8i … 8i + 7, two a byte, the even one in the high half of its byte | float32 absmax, one a block |
 *
 * Values are row-major without padding: a row of odd length may start inside a word. A part begins at a whole word, and at
 * the beginning of a block of factors: indices inside a part count from its first row.
 */
import type { DType, HeldFormat } from '../../formats/weight-source.js';
import type { Weight } from '../tensor.js';
import type { BufferRange } from './gpu-types.js';

export type WeightFormat = DType | 'e4m3' | 'nf4';

export interface WeightPart {
  /** Of the matrix. */
  readonly firstRow: number;
  readonly rows: number;
  readonly values: BufferRange;
  /** Of e4m3 and nf4. */
  readonly factors?: BufferRange | undefined;
}

export interface WebgpuWeight extends Weight {
  readonly held?: HeldFormat['format'] | undefined;
  readonly rows: number;
  readonly columns: number;
  /** Of the words. Vectors are widened when they are loaded: f32. */
  readonly format: WeightFormat;
  readonly parts: readonly WeightPart[];
  /** e4m3: rows and columns of a block of one factor. nf4: 1 row, and the values of a block, which runs across rows. */
  readonly block: readonly [rows: number, columns: number];
}
