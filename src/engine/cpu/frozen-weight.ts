/** A frozen weight: kept in its stored format outside the wasm memory, in a buffer that every thread can read. */
import { EngineError } from '../../errors.js';
import { DTYPE_BYTES, type DType, sizeOf } from '../../formats/weight-source.js';
import type { Weight } from '../tensor.js';

/** How a kernel is told the stored format (wasm/widen.ts). */
export const STORED_AS: Readonly<Record<DType, number>> = { f32: 0, bf16: 1, f16: 2 };

let nextId = 1;

export class FrozenWeight implements Weight {
  readonly id = nextId++;
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Product of all extents but the last; 1 for a vector. */
  readonly rows: number;
  readonly columns: number;
  readonly buffer: SharedArrayBuffer;
  /** The stored bytes, little-endian, row-major; to be filled once, before the first use. */
  readonly bytes: Uint8Array;

  constructor(name: string, shape: readonly number[], dtype: DType) {
    this.name = name;
    this.shape = shape;
    this.dtype = dtype;
    this.columns = shape.at(-1) ?? 1;
    this.rows = sizeOf(shape.slice(0, -1));
    const byteLength = sizeOf(shape) * DTYPE_BYTES[dtype];
    try {
      this.buffer = new SharedArrayBuffer(byteLength);
    } catch (cause) {
      throw new EngineError(`cannot allocate ${byteLength} bytes for the weight ${name}`, {
        cause,
        hint: 'The machine has too little free memory for this model.',
      });
    }
    this.bytes = new Uint8Array(this.buffer);
  }

  get rowBytes(): number {
    return this.columns * DTYPE_BYTES[this.dtype];
  }
}
