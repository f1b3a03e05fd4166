/** A frozen weight, widened to float32 while it is loaded. */
import { bfloat16ToFloat32, float16ToFloat32 } from '../../formats/half-precision.js';
import { DTYPE_BYTES, type DType, sizeOf, type WeightSource } from '../../formats/weight-source.js';
import type { FrozenWeight } from './frozen-weight.js';
import { product, type TfNamespace, type TfTensor, takeRows } from './tf-namespace.js';

/** Elements of a weight that are read at once. */
const PIECE_ELEMENTS = 1 << 23;

/** Bytes that a weight of this shape takes. */
export function float32Bytes(shape: readonly number[]): number {
  return DTYPE_BYTES.f32 * sizeOf(shape);
}

export class Float32Weight implements FrozenWeight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly rows: number;
  readonly columns: number;
  readonly bytes: number;
  readonly #tf: TfNamespace;
  readonly #data: TfTensor;

  constructor(tf: TfNamespace, { name, shape, dtype }: Pick<FrozenWeight, 'name' | 'shape' | 'dtype'>, data: TfTensor) {
    this.#tf = tf;
    this.name = name;
    this.shape = shape;
    this.dtype = dtype;
    this.rows = sizeOf(shape.slice(0, -1));
    this.columns = shape.at(-1) ?? 1;
    this.bytes = float32Bytes(shape);
    this.#data = data;
  }

  product(x: TfTensor): TfTensor {
    return product(this.#tf, x, this.#data, false, true);
  }

  transposedProduct(dy: TfTensor): TfTensor {
    return product(this.#tf, dy, this.#data);
  }

  gatherRows(ids: Int32Array): TfTensor {
    return takeRows(this.#tf, this.#data, ids);
  }

  values(): TfTensor {
    return this.#data;
  }

  dispose(): void {
    this.#data.dispose();
  }
}

/** All values as float32, read in pieces so that the stored form is never held whole. */
export async function readWide(source: WeightSource): Promise<Float32Array> {
  const wide = new Float32Array(sizeOf(source.shape));
  const bytesEach = DTYPE_BYTES[source.dtype];
  for (let at = 0; at < wide.length; at += PIECE_ELEMENTS) {
    const target = wide.subarray(at, at + PIECE_ELEMENTS);
    if (source.dtype === 'f32') {
      await source.read(new Uint8Array(target.buffer, target.byteOffset, target.byteLength), bytesEach * at);
      continue;
    }
    const stored = new Uint16Array(target.length);
    await source.read(new Uint8Array(stored.buffer), bytesEach * at);
    if (source.dtype === 'bf16') bfloat16ToFloat32(stored, target);
    else float16ToFloat32(stored, target);
  }
  return wide;
}
