/**
 * Elementary functions on four floats, and readers of a kernel's argument slots.
 * The polynomials are minimax fits made for this file (Remez exchange, relative error below 1e-8 before rounding).
 */

import { madd } from './simd';

/** Argument slot as an address, an integer or a float. */
// @ts-ignore: decorator
@inline
export function address(args: usize, slot: i32): usize {
  return load<u32>(args + (slot << 2));
}
// @ts-ignore: decorator
@inline
export function integer(args: usize, slot: i32): i32 {
  return load<i32>(args + (slot << 2));
}
// @ts-ignore: decorator
@inline
export function float(args: usize, slot: i32): f32 {
  return load<f32>(args + (slot << 2));
}

/** Sum of the four lanes. */
// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/** Adds four floats to two running sums in double precision. */
// @ts-ignore: decorator
@inline
export function addWide(sum: v128, v: v128): v128 {
  const low = f64x2.promote_low_f32x4(v);
  const high = f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
  return f64x2.add(sum, f64x2.add(low, high));
}

/** e^x within 2 ulp: x = n·ln 2 + r, then a polynomial in r, then two exact powers of two (subnormals, overflow). */
// @ts-ignore: decorator
@inline
export function exp4(value: v128): v128 {
  const x = f32x4.max(f32x4.min(value, f32x4.splat(89.0)), f32x4.splat(-104.5));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504)));
  // ln 2 in two parts; the first has few enough bits that n times it is exact.
  let r = madd(n, f32x4.splat(-0.693359375), x);
  r = madd(n, f32x4.splat(2.12194440e-4), r);
  let p = f32x4.splat(0.00139505399555);
  p = madd(p, r, f32x4.splat(0.00836891785883));
  p = madd(p, r, f32x4.splat(0.0416662050725));
  p = madd(p, r, f32x4.splat(0.166665186027));
  p = madd(p, r, f32x4.splat(0.500000009541));
  const y = f32x4.add(madd(f32x4.mul(r, r), p, r), f32x4.splat(1.0));
  const exponent = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(exponent, 1);
  const bias = i32x4.splat(127);
  const first = i32x4.shl(i32x4.add(half, bias), 23);
  const second = i32x4.shl(i32x4.add(i32x4.sub(exponent, half), bias), 23);
  return f32x4.mul(f32x4.mul(y, first), second);
}

/** 1 / (1 + e^-x). */
// @ts-ignore: decorator
@inline
export function sigmoid4(x: v128): v128 {
  const one = f32x4.splat(1.0);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))));
}

/** e^(-x²/2). */
// @ts-ignore: decorator
@inline
export function bell4(x: v128): v128 {
  return exp4(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5)));
}

/**
 * Φ(x) = (1 + erf(x/√2)) / 2. With t = 1/(1 + |x|/4), the lower tail is e^(-x²/2)·t·Q(t), Q a polynomial of degree 9:
 * no cancellation, so the tail keeps its relative accuracy.
 */
// @ts-ignore: decorator
@inline
export function normalCdf4(x: v128): v128 {
  const one = f32x4.splat(1.0);
  const z = f32x4.min(f32x4.abs(x), f32x4.splat(15.0));
  const t = f32x4.div(one, madd(z, f32x4.splat(0.25), one));
  let q = f32x4.splat(0.0165790591264);
  q = madd(q, t, f32x4.splat(-0.0627890313467));
  q = madd(q, t, f32x4.splat(0.0516451974156));
  q = madd(q, t, f32x4.splat(0.0284450786634));
  q = madd(q, t, f32x4.splat(0.0127044262065));
  q = madd(q, t, f32x4.splat(0.0866607002817));
  q = madd(q, t, f32x4.splat(0.0719981696408));
  q = madd(q, t, f32x4.splat(0.0955159707143));
  q = madd(q, t, f32x4.splat(0.0994925285064));
  q = madd(q, t, f32x4.splat(0.0997479048628));
  const tail = f32x4.mul(f32x4.mul(bell4(x), t), q);
  const negative = f32x4.lt(x, f32x4.splat(0.0));
  return v128.bitselect(tail, f32x4.sub(one, tail), negative);
}
