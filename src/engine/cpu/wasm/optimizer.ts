/**
 * AdamW and the gradient norm over flat arrays. An item is a block of 4096 elements, the last one shorter. Each number
 * is rounded where applyAdamW of ../optimizer.ts rounds it, so that both give the same bits.
 */
import { address, float, integer } from './vector-math';

const BLOCK: i32 = 4096;

/** a + b·c rounded once, from double: the product of two float32 is exact there. */
// @ts-ignore: decorator
@inline
function addProduct(a: v128, b: v128, c: v128): v128 {
  const low = f64x2.add(
    f64x2.promote_low_f32x4(a),
    f64x2.mul(f64x2.promote_low_f32x4(b), f64x2.promote_low_f32x4(c)),
  );
  const high = f64x2.add(
    f64x2.promote_low_f32x4(upper(a)),
    f64x2.mul(f64x2.promote_low_f32x4(upper(b)), f64x2.promote_low_f32x4(upper(c))),
  );
  return v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

// @ts-ignore: decorator
@inline
function upper(v: v128): v128 {
  return v128.shuffle<i64>(v, v, 1, 1);
}

/** [values, gradients, m, v, n, gradScale, decay, keep2, take1, take2, eps, stepSize, correction2]. */
export function adamW(args: usize, start: i32, end: i32): void {
  const last = min(end * BLOCK, integer(args, 4));
  const scale = f32x4.splat(float(args, 5));
  const decay = f32x4.splat(float(args, 6));
  const keep2 = f32x4.splat(float(args, 7));
  const take1 = f32x4.splat(float(args, 8));
  const take2 = f32x4.splat(float(args, 9));
  const eps = f32x4.splat(float(args, 10));
  const stepSize = f32x4.splat(float(args, 11));
  const correction2 = f32x4.splat(float(args, 12));
  const from = <usize>(start * BLOCK) << 2;
  let values = address(args, 0) + from;
  let gradients = address(args, 1) + from;
  let m = address(args, 2) + from;
  let v = address(args, 3) + from;
  let i = start * BLOCK;
  while (i < last) {
    const whole = i + 4 <= last;
    const g = f32x4.mul(read(gradients, whole), scale);
    const before = read(m, whole);
    const first = addProduct(before, take1, f32x4.sub(g, before));
    const second = addProduct(f32x4.mul(read(v, whole), keep2), f32x4.mul(take2, g), g);
    const divisor = f32x4.add(f32x4.div(f32x4.sqrt(second), correction2), eps);
    const change = f32x4.div(f32x4.mul(stepSize, first), divisor);
    write(m, first, whole);
    write(v, second, whole);
    write(values, f32x4.add(f32x4.mul(read(values, whole), decay), change), whole);
    const bytes: usize = whole ? 16 : 4;
    values += bytes;
    gradients += bytes;
    m += bytes;
    v += bytes;
    i += whole ? 4 : 1;
  }
}

// @ts-ignore: decorator
@inline
function read(at: usize, whole: bool): v128 {
  return whole ? v128.load(at) : v128.load32_zero(at);
}
// @ts-ignore: decorator
@inline
function write(at: usize, value: v128, whole: bool): void {
  if (whole) v128.store(at, value);
  else v128.store32_lane(at, value, 0);
}

/** [x, sums, n]: sums[item] (float64) = Σ x² over the item's block, summed in double. */
export function sumOfSquares(args: usize, start: i32, end: i32): void {
  const x = address(args, 0);
  for (let item = start; item < end; item++) {
    const last = min((item + 1) * BLOCK, integer(args, 2));
    let sum0 = f64x2.splat(0);
    let sum1 = sum0;
    let i = item * BLOCK;
    for (; i + 4 <= last; i += 4) {
      const value = v128.load(x + (<usize>i << 2));
      const low = f64x2.promote_low_f32x4(value);
      const high = f64x2.promote_low_f32x4(upper(value));
      sum0 = f64x2.add(sum0, f64x2.mul(low, low));
      sum1 = f64x2.add(sum1, f64x2.mul(high, high));
    }
    const both = f64x2.add(sum0, sum1);
    let sum = f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
    for (; i < last; i++) {
      const value = <f64>load<f32>(x + (<usize>i << 2));
      sum += value * value;
    }
    store<f64>(address(args, 1) + (<usize>item << 3), sum);
  }
}
