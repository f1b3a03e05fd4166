// Frozen weights: their rows are copied in by the thread's JavaScript (they lie outside this memory) and widened here.
import { copyRows } from './host';
import { scratch } from './thread';
import { stageE4m3, stageNf4 } from './widen-quantized';

/** Stored formats, numbered as in stored-weight.ts, nf4-weight.ts and e4m3-weight.ts; float16 is 2. */
const F32: i32 = 0;
const BF16: i32 = 1;
const NF4: i32 = 3;
const E4M3: i32 = 4;

/** Four bfloat16 in the upper halves of their 32-bit lanes are float32 already. */
// @ts-ignore: decorator
@inline
function widenBf16(x: v128): v128 {
  return i32x4.shl(x, 16);
}

/** Four float16 in the lower halves of 32-bit lanes. A multiplication by 2¹¹² rebiases the exponent, subnormals too. */
// @ts-ignore: decorator
@inline
function widenF16(x: v128): v128 {
  const magnitude = v128.and(x, i32x4.splat(0x7fff));
  const finite = f32x4.mul(i32x4.shl(magnitude, 13), f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = v128.or(i32x4.shl(magnitude, 13), i32x4.splat(0x7f800000));
  const value = v128.bitselect(special, finite, i32x4.gt_s(magnitude, i32x4.splat(0x7bff)));
  return v128.or(value, i32x4.shl(v128.and(x, i32x4.splat(0x8000)), 16));
}

/** `count` 16-bit values at `from` as float32 to `to`. */
function widen(dtype: i32, from: usize, to: usize, count: i32): void {
  if (dtype == BF16) widenLoop(true, from, to, count);
  else widenLoop(false, from, to, count);
}

/** Inlined with a constant `bf16`, so that no loop asks for the format. */
// @ts-ignore: decorator
@inline
function widenLoop(bf16: bool, from: usize, to: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const x = v128.load(from);
    const low = i32x4.extend_low_i16x8_u(x);
    const high = i32x4.extend_high_i16x8_u(x);
    v128.store(to, bf16 ? widenBf16(low) : widenF16(low));
    v128.store(to, bf16 ? widenBf16(high) : widenF16(high), 16);
    from += 16;
    to += 32;
  }
  for (; i < count; i++) {
    const x = i32x4.splat(<i32>load<u16>(from));
    store<f32>(to, f32x4.extract_lane(bf16 ? widenBf16(x) : widenF16(x), 0));
    from += 2;
    to += 4;
  }
}

/**
 * Rows row..row+rows, columns column..column+columns of a frozen weight as float32 to `target`, rows one after the
 * other. `raw` has room for two bytes a value, and for 64 KiB beside one.
 */
export function stageRows(weight: i32, dtype: i32, row: i32, rows: i32, column: i32, columns: i32, raw: usize, target: usize): void {
  if (dtype == F32) {
    copyRows(weight, row, rows, column << 2, columns << 2, target);
  } else if (dtype == NF4) {
    stageNf4(weight, row, rows, column, columns, raw, target);
  } else if (dtype == E4M3) {
    stageE4m3(weight, row, rows, column, columns, raw, target);
  } else {
    copyRows(weight, row, rows, column << 1, columns << 1, raw);
    widen(dtype, raw, target, rows * columns);
  }
}

/**
 * Item i: row ids[i] of a frozen weight as float32 to row i of the target.
 * Arguments: ids (0: row first + i), first, weight, dtype, columns, target.
 */
export function gatherWeightRows(args: usize, start: i32, end: i32): void {
  const ids = load<usize>(args);
  const first = load<i32>(args, 4);
  const weight = load<i32>(args, 8);
  const dtype = load<i32>(args, 12);
  const columns = load<i32>(args, 16);
  const target = load<usize>(args, 20);
  // Long rows (a bias or a norm is one row) go piece by piece through the scratch area.
  const piece: i32 = 1 << 17;
  for (let i = start; i < end; i++) {
    const row = ids ? load<i32>(ids + (<usize>i << 2)) : first + i;
    for (let column = 0; column < columns; column += piece) {
      const to = target + ((<usize>i * <usize>columns + <usize>column) << 2);
      stageRows(weight, dtype, row, 1, column, min(piece, columns - column), scratch(), to);
    }
  }
}
