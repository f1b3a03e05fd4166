/**
 * bfloat16 and IEEE half precision as 16-bit patterns, to and from float32. Widening is exact; narrowing rounds to the
 * nearest, ties to even, as torch and the hardware do.
 */
import type { DType } from './weight-source.js';

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** float32 bit pattern → bfloat16 bit pattern. */
function bfloat16Bits(bits: number): number {
  // A NaN whose payload lies in the low half would round to infinity: keep its top half and set the quiet bit.
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** float32 bit pattern → float16 bit pattern. */
function float16Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff);
  // From 65520 on, the nearest half is infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  // Below 2⁻¹⁴ the result is a multiple of 2⁻²⁴; up to 2⁻²⁵ it is zero.
  if (magnitude <= 0x33000000) return sign;
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const quotient = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (quotient + (rest > half || (rest === half && (quotient & 1) === 1) ? 1 : 0));
}

/** Any float32 bits; the array is viewed, not copied. */
function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Narrows to bfloat16 bit patterns, into `target` where given. */
export function float32ToBfloat16(
  values: Float32Array,
  target: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) target[i] = bfloat16Bits(bits[i]!);
  return target;
}

/** Widens bfloat16 bit patterns, into `target` where given. Exact. */
export function bfloat16ToFloat32(
  values: Uint16Array,
  target: Float32Array = new Float32Array(values.length),
): Float32Array {
  const bits = bitsOf(target);
  for (let i = 0; i < values.length; i++) bits[i] = values[i]! << 16;
  return target;
}

/** Narrows to float16 bit patterns, into `target` where given. */
export function float32ToFloat16(
  values: Float32Array,
  target: Uint16Array = new Uint16Array(values.length),
): Uint16Array {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) target[i] = float16Bits(bits[i]!);
  return target;
}

/** Widens float16 bit patterns, into `target` where given. Exact. */
export function float16ToFloat32(
  values: Uint16Array,
  target: Float32Array = new Float32Array(values.length),
): Float32Array {
  const bits = bitsOf(target);
  for (let i = 0; i < values.length; i++) {
    const half = values[i]!;
    const sign = (half & 0x8000) << 16;
    const exponent = (half >>> 10) & 0x1f;
    const mantissa = half & 0x3ff;
    if (exponent === 0) {
      scratch[0] = mantissa * 2 ** -24;
      bits[i] = scratchBits[0]! | sign;
    } else {
      bits[i] = sign | ((exponent === 0x1f ? 0xff : exponent + 112) << 23) | (mantissa << 13);
    }
  }
  return target;
}

/** Stored values as float32. Those of f32 share the memory of `bytes`, which starts at a whole element. */
export function widen({ buffer, byteOffset, byteLength }: Uint8Array, dtype: DType): Float32Array {
  if (dtype === 'f32') return new Float32Array(buffer, byteOffset, byteLength / 4);
  return (dtype === 'bf16' ? bfloat16ToFloat32 : float16ToFloat32)(new Uint16Array(buffer, byteOffset, byteLength / 2));
}

/** Rounds each value in place to the nearest one that `dtype` can hold. */
export function roundToDtype(values: Float32Array, dtype: DType): Float32Array {
  if (dtype === 'bf16') {
    const bits = bitsOf(values);
    for (let i = 0; i < bits.length; i++) bits[i] = bfloat16Bits(bits[i]!) << 16;
  } else if (dtype === 'f16') float16ToFloat32(float32ToFloat16(values), values);
  return values;
}
