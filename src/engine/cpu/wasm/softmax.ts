/** Cross-entropy of rows of logits, the sum of exponentials in double precision. */
import { address, addWide, exp4, float, integer } from './vector-math';

/**
 * [logits, columns, targets, rowLoss, gradient, weights or 0, scale, smoothing]: rowLoss = log Σ e^logit - Σ wanted·logit
 * by row, where `wanted` gives smoothing/columns to each column and the rest to the target. With `gradient` the logits
 * are replaced by scale·weight·(softmax - wanted).
 */
export function softmaxLoss(args: usize, start: i32, end: i32): void {
  const columns = integer(args, 1);
  const gradient = integer(args, 4) != 0;
  const weights = address(args, 5);
  const smoothing = <f64>float(args, 7);
  const rest = 1.0 - smoothing;
  const whole = columns & ~3;
  for (let row = start; row < end; row++) {
    const logits = address(args, 0) + (<usize>row * columns << 2);
    const scale = weights ? float(args, 6) * load<f32>(weights + (<usize>row << 2)) : float(args, 6);
    const target = load<i32>(address(args, 2) + (<usize>row << 2));
    let peaks = f32x4.splat(-Infinity);
    for (let i = 0; i < whole; i += 4) peaks = f32x4.max(peaks, v128.load(logits + (<usize>i << 2)));
    let peak: f32 = max(
      max(f32x4.extract_lane(peaks, 0), f32x4.extract_lane(peaks, 1)),
      max(f32x4.extract_lane(peaks, 2), f32x4.extract_lane(peaks, 3)),
    );
    for (let i = whole; i < columns; i++) peak = max(peak, load<f32>(logits + (<usize>i << 2)));
    let chosen = <f64>load<f32>(logits + (<usize>target << 2));
    if (smoothing != 0) chosen = rest * chosen + smoothing * meanOf(logits, columns);
    const shift = f32x4.splat(peak);
    let sums = f64x2.splat(0.0);
    for (let i = 0; i < whole; i += 4) {
      const at = logits + (<usize>i << 2);
      const e = exp4(f32x4.sub(v128.load(at), shift));
      sums = addWide(sums, e);
      if (gradient) v128.store(at, e);
    }
    let total = f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1);
    for (let i = whole; i < columns; i++) {
      const at = logits + (<usize>i << 2);
      const e = f32x4.extract_lane(exp4(f32x4.splat(load<f32>(at) - peak)), 0);
      total += <f64>e;
      if (gradient) store<f32>(at, e);
    }
    store<f32>(address(args, 3) + (<usize>row << 2), <f32>(<f64>peak - chosen + NativeMath.log(total)));
    if (gradient) {
      const factor = <f32>(<f64>scale / total);
      const factors = f32x4.splat(factor);
      let i = 0;
      for (; i < whole; i += 4) {
        const at = logits + (<usize>i << 2);
        v128.store(at, f32x4.mul(v128.load(at), factors));
      }
      for (; i < columns; i++) {
        const at = logits + (<usize>i << 2);
        store<f32>(at, load<f32>(at) * factor);
      }
      if (smoothing != 0) subtract(logits, columns, <f32>(<f64>scale * smoothing / <f64>columns));
      const at = logits + (<usize>target << 2);
      store<f32>(at, load<f32>(at) - <f32>(<f64>scale * rest));
    }
  }
}

function meanOf(row: usize, columns: i32): f64 {
  let sums = f64x2.splat(0.0);
  let i = 0;
  for (; i + 4 <= columns; i += 4) sums = addWide(sums, v128.load(row + (<usize>i << 2)));
  let sum = f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1);
  for (; i < columns; i++) sum += <f64>load<f32>(row + (<usize>i << 2));
  return sum / <f64>columns;
}

function subtract(row: usize, columns: i32, value: f32): void {
  const values = f32x4.splat(value);
  let i = 0;
  for (; i + 4 <= columns; i += 4) {
    const at = row + (<usize>i << 2);
    v128.store(at, f32x4.sub(v128.load(at), values));
  }
  for (; i < columns; i++) {
    const at = row + (<usize>i << 2);
    store<f32>(at, load<f32>(at) - value);
  }
}
