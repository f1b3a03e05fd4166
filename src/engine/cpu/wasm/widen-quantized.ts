// Dequantises rows to float32 of their values rounded to bf16. Byte layout and header fields: ../nf4-weight.ts and
// ../e4m3-weight.ts.
import { copyRows } from './host';

/** Header sizes and offsets; the nf4 header ends with the 16 values and the 256 of the dynamic map. */
const NF4_VALUES: usize = 32;
const NF4_MAP: usize = NF4_VALUES + 4 * 16;
const NF4_HEADER: i32 = <i32>NF4_MAP + 4 * 256;
const E4M3_HEADER: i32 = 16;

/** Most factors copied in at once: rows are processed in groups. */
const MAX_FACTORS: i32 = 12288;

/** Four float32 rounded to bf16, to the nearest, ties to even. They must not be NaN. */
// @ts-ignore: decorator
@inline
function roundToBf16(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  const rounded = i32x4.add(x, i32x4.add(odd, i32x4.splat(0x7fff)));
  return v128.and(rounded, i32x4.splat(0xffff0000));
}

// @ts-ignore: decorator
@inline
function lookUpBytes(table: v128, indices: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i8x16.relaxed_swizzle(table, indices) : i8x16.swizzle(table, indices);
}

/** `stageRows` of nf4: [header | codes, two a byte | absmax as float32, or its 8-bit codes | their nested absmax]. */
export function stageNf4(weight: i32, row: i32, rows: i32, column: i32, columns: i32, raw: usize, target: usize): void {
  copyRows(weight, 0, 1, 0, NF4_HEADER, raw);
  const wide = load<i32>(raw);
  const shift = load<i32>(raw, 4);
  // Rows of odd length begin in the middle of a byte: one by one.
  const group = wide & 1 ? 1 : max(1, (MAX_FACTORS << shift) / wide);
  for (let r = 0; r < rows; r += group) {
    const to = target + (<usize>(r * columns) << 2);
    stageNf4Rows(weight, row + r, min(group, rows - r), column, columns, raw, to);
  }
}

function stageNf4Rows(weight: i32, row: i32, rows: i32, column: i32, columns: i32, raw: usize, target: usize): void {
  const wide = <u64>load<i32>(raw);
  const shift = <u64>load<i32>(raw, 4);
  const absmaxAt = load<i32>(raw, 8);
  const nestedAt = load<i32>(raw, 12);
  const nestedShift = <u64>load<i32>(raw, 16);
  const offset = load<f32>(raw, 20);
  const mask = (1 << <i32>shift) - 1;
  const start = <u64>row * wide + column;

  const table = raw + NF4_HEADER;
  const codes = table + 4 * 16;
  const odd = <i32>start & 1;
  const codeBytes = (odd + columns + 1) >> 1;
  if (rows == 1) copyRows(weight, 0, 1, NF4_HEADER + <i32>(start >> 1), codeBytes, codes);
  else copyRows(weight, row, rows, NF4_HEADER + (column >> 1), codeBytes, codes);

  const firstBlock = start >> shift;
  const blocks = <i32>(((start + <u64>(rows - 1) * wide + columns - 1) >> shift) - firstBlock) + 1;
  const absmax = (codes + <usize>(rows * codeBytes) + 3) & ~3;
  const nested = (absmax + <usize>blocks + 3) & ~3;
  const firstNested = firstBlock >> nestedShift;
  if (nestedAt) {
    copyRows(weight, 0, 1, absmaxAt + <i32>firstBlock, blocks, absmax);
    const count = <i32>(((firstBlock + blocks - 1) >> nestedShift) - firstNested) + 1;
    copyRows(weight, 0, 1, nestedAt + (<i32>firstNested << 2), count << 2, nested);
  } else {
    copyRows(weight, 0, 1, absmaxAt + (<i32>firstBlock << 2), blocks << 2, absmax);
  }

  for (let r = 0; r < rows; r++) {
    let at = start + <u64>r * wide;
    const from = codes + <usize>(r * codeBytes);
    let half = odd;
    let to = target + (<usize>(r * columns) << 2);
    const end = to + (<usize>columns << 2);
    while (to < end) {
      const block = at >> shift;
      const run = min(<i32>((end - to) >> 2), mask + 1 - (<i32>at & mask));
      const entry = <usize>(block - firstBlock);
      let factor: f32;
      if (nestedAt) {
        const scale = load<f32>(nested + (<usize>((block >> nestedShift) - firstNested) << 2));
        factor = load<f32>(raw + NF4_MAP + (<usize>load<u8>(absmax + entry) << 2)) * scale + offset;
      } else {
        factor = load<f32>(absmax + (entry << 2));
      }
      lookUpBlock(raw + NF4_VALUES, factor, table, from, half, run, to);
      half += run;
      at += run;
      to += <usize>run << 2;
    }
  }
}

/** `count` codes from half byte `half` after `from` on: the 16 values times `factor`, looked up. */
// @ts-ignore: decorator
@inline
function lookUpBlock(values: usize, factor: f32, table: usize, from: usize, half: i32, count: i32, to: usize): void {
  const scale = f32x4.splat(factor);
  const t0 = roundToBf16(f32x4.mul(v128.load(values), scale));
  const t1 = roundToBf16(f32x4.mul(v128.load(values, 16), scale));
  const t2 = roundToBf16(f32x4.mul(v128.load(values, 32), scale));
  const t3 = roundToBf16(f32x4.mul(v128.load(values, 48), scale));
  v128.store(table, t0);
  v128.store(table, t1, 16);
  v128.store(table, t2, 32);
  v128.store(table, t3, 48);
  // A table for each of the two bytes of bf16.
  const t01 = v128.shuffle<i8>(t0, t1, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
  const t23 = v128.shuffle<i8>(t2, t3, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
  const low = v128.shuffle<i64>(t01, t23, 0, 2);
  const high = v128.shuffle<i64>(t01, t23, 1, 3);
  const zero = i32x4.splat(0);
  let i = 0;
  if (half & 1 && count > 0) {
    store<f32>(to, valueOf(table, from, half));
    i = 1;
  }
  let byte = from + ((half + i) >> 1);
  for (; i <= count - 16; i += 16) {
    const pairs = v128.load64_zero(byte);
    const codes = v128.shuffle<i8>(
      i8x16.shr_u(pairs, 4), v128.and(pairs, i8x16.splat(15)),
      0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
    );
    const lows = lookUpBytes(low, codes);
    const highs = lookUpBytes(high, codes);
    const first = v128.shuffle<i8>(lows, highs, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const second = v128.shuffle<i8>(lows, highs, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const out = to + (<usize>i << 2);
    v128.store(out, v128.shuffle<i16>(zero, first, 0, 8, 1, 9, 2, 10, 3, 11));
    v128.store(out, v128.shuffle<i16>(zero, first, 4, 12, 5, 13, 6, 14, 7, 15), 16);
    v128.store(out, v128.shuffle<i16>(zero, second, 0, 8, 1, 9, 2, 10, 3, 11), 32);
    v128.store(out, v128.shuffle<i16>(zero, second, 4, 12, 5, 13, 6, 14, 7, 15), 48);
    byte += 8;
  }
  for (; i < count; i++) store<f32>(to + (<usize>i << 2), valueOf(table, from, half + i));
}

/** The even code of a byte is in its high half. */
// @ts-ignore: decorator
@inline
function valueOf(table: usize, from: usize, half: i32): f32 {
  const pair = <usize>load<u8>(from + (half >> 1));
  return load<f32>(table + ((half & 1 ? pair & 15 : pair >> 4) << 2));
}

/** `stageRows` of e4m3: [header | codes | scales of blocks of rows and columns]. */
export function stageE4m3(weight: i32, row: i32, rows: i32, column: i32, columns: i32, raw: usize, target: usize): void {
  copyRows(weight, 0, 1, 0, E4M3_HEADER, raw);
  const blockRows = load<i32>(raw);
  const blockColumns = load<i32>(raw, 4);
  const across = load<i32>(raw, 8);
  const scalesAt = load<i32>(raw, 12);
  const scales = raw + E4M3_HEADER;
  const group = max(1, MAX_FACTORS / across - 1);
  for (let r0 = 0; r0 < rows; r0 += group) {
    const count = min(group, rows - r0);
    const first = (row + r0) / blockRows;
    const factors = ((row + r0 + count - 1) / blockRows - first + 1) * across;
    copyRows(weight, 0, 1, scalesAt + ((first * across) << 2), factors << 2, scales);
    const codes = scales + (<usize>factors << 2);
    copyRows(weight, row + r0, count, E4M3_HEADER + column, columns, codes);
    for (let r = 0; r < count; r++) {
      const own = scales + (<usize>(((row + r0 + r) / blockRows - first) * across) << 2);
      let from = codes + <usize>(r * columns);
      let to = target + (<usize>((r0 + r) * columns) << 2);
      let at = column;
      while (at < column + columns) {
        const block = at / blockColumns;
        const run = min(column + columns, (block + 1) * blockColumns) - at;
        scaleRun(from, load<f32>(own + (<usize>block << 2)), run, to);
        from += run;
        to += <usize>run << 2;
        at += run;
      }
    }
  }
}

/** `count` codes times a scale. */
// @ts-ignore: decorator
@inline
function scaleRun(from: usize, factor: f32, count: i32, to: usize): void {
  const scale = f32x4.splat(factor);
  let i = 0;
  for (; i <= count - 16; i += 16) {
    const x = v128.load(from + i);
    const low = i16x8.extend_low_i8x16_s(x);
    const high = i16x8.extend_high_i8x16_s(x);
    const out = to + (<usize>i << 2);
    v128.store(out, scaleE4m3(i32x4.extend_low_i16x8_s(low), scale));
    v128.store(out, scaleE4m3(i32x4.extend_high_i16x8_s(low), scale), 16);
    v128.store(out, scaleE4m3(i32x4.extend_low_i16x8_s(high), scale), 32);
    v128.store(out, scaleE4m3(i32x4.extend_high_i16x8_s(high), scale), 48);
  }
  for (; i < count; i++) {
    const code = i32x4.splat(<i32>load<i8>(from + i));
    store<f32>(to + (<usize>i << 2), f32x4.extract_lane(scaleE4m3(code, scale), 0));
  }
}

/** Four codes, sign-extended, times a scale. A multiplication by 2¹²⁰ rebiases the exponent, subnormals too. */
// @ts-ignore: decorator
@inline
function scaleE4m3(codes: v128, scale: v128): v128 {
  const bits = v128.and(i32x4.shl(codes, 20), i32x4.splat(0x87f00000));
  const value = f32x4.mul(bits, f32x4.splat(reinterpret<f32>(0x7b800000)));
  return roundToBf16(f32x4.mul(value, scale));
}
