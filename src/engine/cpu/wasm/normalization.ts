/** RMSNorm by row: y = s·rstd·w with rstd = 1/√(mean(s²) + eps), s = x (+ residual). Sums run in double precision. */
import { address, addWide, float, integer } from './vector-math';

/** [x, residual or 0, weight, y, sum or 0, rstd or 0, columns, eps]; sum is written only with a residual. */
export function rmsNorm(args: usize, start: i32, end: i32): void {
  const columns = integer(args, 6);
  const eps = <f64>float(args, 7);
  const weight = address(args, 2);
  const whole = columns & ~3;
  for (let row = start; row < end; row++) {
    const offset = <usize>row * columns << 2;
    let x = address(args, 0) + offset;
    const y = address(args, 3) + offset;
    if (address(args, 1)) {
      const residual = address(args, 1) + offset;
      const sum = address(args, 4) + offset;
      let i = 0;
      for (; i < whole; i += 4) {
        const at = <usize>i << 2;
        v128.store(sum + at, f32x4.add(v128.load(x + at), v128.load(residual + at)));
      }
      for (; i < columns; i++) {
        const at = <usize>i << 2;
        store<f32>(sum + at, load<f32>(x + at) + load<f32>(residual + at));
      }
      x = sum;
    }
    let squares = f64x2.splat(0.0);
    for (let i = 0; i < whole; i += 4) {
      const v = v128.load(x + (<usize>i << 2));
      const low = f64x2.promote_low_f32x4(v);
      const high = f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
      squares = f64x2.add(squares, f64x2.add(f64x2.mul(low, low), f64x2.mul(high, high)));
    }
    let total = f64x2.extract_lane(squares, 0) + f64x2.extract_lane(squares, 1);
    for (let i = whole; i < columns; i++) {
      const v = <f64>load<f32>(x + (<usize>i << 2));
      total += v * v;
    }
    const rstd = <f32>(1.0 / sqrt<f64>(total / <f64>columns + eps));
    if (address(args, 5)) store<f32>(address(args, 5) + (<usize>row << 2), rstd);
    const scale = f32x4.splat(rstd);
    let i = 0;
    for (; i < whole; i += 4) {
      const at = <usize>i << 2;
      v128.store(y + at, f32x4.mul(f32x4.mul(v128.load(x + at), scale), v128.load(weight + at)));
    }
    for (; i < columns; i++) {
      const at = <usize>i << 2;
      store<f32>(y + at, load<f32>(x + at) * rstd * load<f32>(weight + at));
    }
  }
}

/** [dy, dsum or 0, sum, rstd, weight, dx, columns]: with g = dy·w, dx = rstd·(g - s·rstd²·mean(g·s)) + dsum. */
export function rmsNormBackward(args: usize, start: i32, end: i32): void {
  const columns = integer(args, 6);
  const weight = address(args, 4);
  const whole = columns & ~3;
  for (let row = start; row < end; row++) {
    const offset = <usize>row * columns << 2;
    const dy = address(args, 0) + offset;
    const direct = address(args, 1) ? address(args, 1) + offset : 0;
    const s = address(args, 2) + offset;
    const dx = address(args, 5) + offset;
    const rstd = load<f32>(address(args, 3) + (<usize>row << 2));
    let products = f64x2.splat(0.0);
    for (let i = 0; i < whole; i += 4) {
      const at = <usize>i << 2;
      const g = f32x4.mul(v128.load(dy + at), v128.load(weight + at));
      products = addWide(products, f32x4.mul(g, v128.load(s + at)));
    }
    let total = f64x2.extract_lane(products, 0) + f64x2.extract_lane(products, 1);
    for (let i = whole; i < columns; i++) {
      const at = <usize>i << 2;
      total += <f64>(load<f32>(dy + at) * load<f32>(weight + at) * load<f32>(s + at));
    }
    const pull = <f32>((total / <f64>columns) * <f64>rstd * <f64>rstd);
    const pulls = f32x4.splat(pull);
    const scale = f32x4.splat(rstd);
    let i = 0;
    for (; i < whole; i += 4) {
      const at = <usize>i << 2;
      const g = f32x4.mul(v128.load(dy + at), v128.load(weight + at));
      let value = f32x4.mul(scale, f32x4.sub(g, f32x4.mul(v128.load(s + at), pulls)));
      if (direct) value = f32x4.add(value, v128.load(direct + at));
      v128.store(dx + at, value);
    }
    for (; i < columns; i++) {
      const at = <usize>i << 2;
      const g = load<f32>(dy + at) * load<f32>(weight + at);
      let value = rstd * (g - load<f32>(s + at) * pull);
      if (direct) value += load<f32>(direct + at);
      store<f32>(dx + at, value);
    }
  }
}
