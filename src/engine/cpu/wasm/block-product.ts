/**
 * Products of small blocks that lie in the first cache levels, for attention: c (+)= a·b with b and c row-major.
 * a is read one number at a time through two strides, so that a transposed operand needs no copy. Strides in bytes.
 */
import { madd } from './simd';

/** c[m × n] = a[m × k]·b[k × n], or c += with `accumulate`. */
export function blockProduct(
  m: i32, n: i32, k: i32,
  a: usize, aRow: usize, aColumn: usize,
  b: usize, bRow: usize,
  c: usize, cRow: usize,
  accumulate: bool,
): void {
  const fours = m & ~3;
  if (fours) {
    let j = 0;
    for (; j + 8 <= n; j += 8) {
      const at = <usize>j << 2;
      for (let i = 0; i < fours; i += 4) {
        tile4x8(k, a + <usize>i * aRow, aRow, aColumn, b + at, bRow, c + <usize>i * cRow + at, cRow, accumulate);
      }
    }
    if (j < n) {
      for (let i = 0; i < fours; i++) {
        const at = <usize>j << 2;
        rowProduct(n - j, k, a + <usize>i * aRow, aColumn, b + at, bRow, c + <usize>i * cRow + at, accumulate);
      }
    }
  }
  for (let i = fours; i < m; i++) rowProduct(n, k, a + <usize>i * aRow, aColumn, b, bRow, c + <usize>i * cRow, accumulate);
}

// @ts-ignore: decorator
@inline
function tile4x8(
  k: i32,
  a: usize, aRow: usize, aColumn: usize,
  b: usize, bRow: usize,
  c: usize, cRow: usize,
  accumulate: bool,
): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  const c1 = c + cRow, c2 = c1 + cRow, c3 = c2 + cRow;
  if (accumulate) {
    c00 = v128.load(c); c01 = v128.load(c, 16);
    c10 = v128.load(c1); c11 = v128.load(c1, 16);
    c20 = v128.load(c2); c21 = v128.load(c2, 16);
    c30 = v128.load(c3); c31 = v128.load(c3, 16);
  }
  const a2 = aRow << 1, a3 = aRow + a2;
  for (let p = 0; p < k; p++) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, b0, c00); c01 = madd(x, b1, c01);
    x = v128.load32_splat(a + aRow);
    c10 = madd(x, b0, c10); c11 = madd(x, b1, c11);
    x = v128.load32_splat(a + a2);
    c20 = madd(x, b0, c20); c21 = madd(x, b1, c21);
    x = v128.load32_splat(a + a3);
    c30 = madd(x, b0, c30); c31 = madd(x, b1, c31);
    a += aColumn;
    b += bRow;
  }
  v128.store(c, c00); v128.store(c, c01, 16);
  v128.store(c1, c10); v128.store(c1, c11, 16);
  v128.store(c2, c20); v128.store(c2, c21, 16);
  v128.store(c3, c30); v128.store(c3, c31, 16);
}

/** One row of the result, 32 columns at a time so that wide rows of b are read along their lines. */
function rowProduct(
  n: i32, k: i32,
  a: usize, aColumn: usize,
  b: usize, bRow: usize,
  c: usize,
  accumulate: bool,
): void {
  let j = 0;
  for (; j + 32 <= n; j += 32) {
    const to = c + (<usize>j << 2);
    let from = b + (<usize>j << 2), x = a;
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    if (accumulate) {
      s0 = v128.load(to); s1 = v128.load(to, 16); s2 = v128.load(to, 32); s3 = v128.load(to, 48);
      s4 = v128.load(to, 64); s5 = v128.load(to, 80); s6 = v128.load(to, 96); s7 = v128.load(to, 112);
    }
    for (let p = 0; p < k; p++) {
      const v = v128.load32_splat(x);
      s0 = madd(v, v128.load(from), s0); s1 = madd(v, v128.load(from, 16), s1);
      s2 = madd(v, v128.load(from, 32), s2); s3 = madd(v, v128.load(from, 48), s3);
      s4 = madd(v, v128.load(from, 64), s4); s5 = madd(v, v128.load(from, 80), s5);
      s6 = madd(v, v128.load(from, 96), s6); s7 = madd(v, v128.load(from, 112), s7);
      x += aColumn;
      from += bRow;
    }
    v128.store(to, s0); v128.store(to, s1, 16); v128.store(to, s2, 32); v128.store(to, s3, 48);
    v128.store(to, s4, 64); v128.store(to, s5, 80); v128.store(to, s6, 96); v128.store(to, s7, 112);
  }
  for (; j + 4 <= n; j += 4) {
    const to = c + (<usize>j << 2);
    let from = b + (<usize>j << 2), x = a;
    let sum = accumulate ? v128.load(to) : f32x4.splat(0);
    for (let p = 0; p < k; p++) {
      sum = madd(v128.load32_splat(x), v128.load(from), sum);
      x += aColumn;
      from += bRow;
    }
    v128.store(to, sum);
  }
  for (; j < n; j++) {
    const to = c + (<usize>j << 2);
    let from = b + (<usize>j << 2), x = a;
    let sum: f32 = accumulate ? load<f32>(to) : 0;
    for (let p = 0; p < k; p++) {
      sum += load<f32>(x) * load<f32>(from);
      x += aColumn;
      from += bRow;
    }
    store<f32>(to, sum);
  }
}

/**
 * Copies `rows` rows of `columns` values into `target` turned over: target[column][row], `width` values a row of the
 * target (a multiple of 4), zeros where there is no source row up to the next multiple of 8.
 */
export function packTransposed(
  source: usize, sourceRow: usize, rows: i32, columns: i32,
  target: usize, width: i32,
): void {
  const targetRow = <usize>width << 2;
  const padded = (rows + 7) & ~7;
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    const r0 = source + <usize>row * sourceRow, r1 = r0 + sourceRow, r2 = r1 + sourceRow, r3 = r2 + sourceRow;
    let to = target + (<usize>row << 2);
    let i = 0;
    for (; i + 4 <= columns; i += 4) {
      const at = <usize>i << 2;
      const v0 = v128.load(r0 + at), v1 = v128.load(r1 + at), v2 = v128.load(r2 + at), v3 = v128.load(r3 + at);
      const t0 = v128.shuffle<i32>(v0, v1, 0, 4, 1, 5), t1 = v128.shuffle<i32>(v2, v3, 0, 4, 1, 5);
      const t2 = v128.shuffle<i32>(v0, v1, 2, 6, 3, 7), t3 = v128.shuffle<i32>(v2, v3, 2, 6, 3, 7);
      v128.store(to, v128.shuffle<i64>(t0, t1, 0, 2));
      v128.store(to + targetRow, v128.shuffle<i64>(t0, t1, 1, 3));
      v128.store(to + (targetRow << 1), v128.shuffle<i64>(t2, t3, 0, 2));
      v128.store(to + targetRow * 3, v128.shuffle<i64>(t2, t3, 1, 3));
      to += targetRow << 2;
    }
    for (; i < columns; i++) {
      const at = <usize>i << 2;
      store<f32>(to, load<f32>(r0 + at));
      store<f32>(to, load<f32>(r1 + at), 4);
      store<f32>(to, load<f32>(r2 + at), 8);
      store<f32>(to, load<f32>(r3 + at), 12);
      to += targetRow;
    }
  }
  for (; row < padded; row++) {
    const from = source + <usize>row * sourceRow;
    let to = target + (<usize>row << 2);
    for (let i = 0; i < columns; i++) {
      store<f32>(to, row < rows ? load<f32>(from + (<usize>i << 2)) : 0);
      to += targetRow;
    }
  }
}

/** Σ a[i]·b[i]. */
export function dot(a: usize, b: usize, n: i32): f32 {
  let s0 = f32x4.splat(0), s1 = s0;
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const at = <usize>i << 2;
    s0 = madd(v128.load(a + at), v128.load(b + at), s0);
    s1 = madd(v128.load(a + at, 16), v128.load(b + at, 16), s1);
  }
  s0 = f32x4.add(s0, s1);
  let sum =
    f32x4.extract_lane(s0, 0) + f32x4.extract_lane(s0, 1) + (f32x4.extract_lane(s0, 2) + f32x4.extract_lane(s0, 3));
  for (; i < n; i++) sum += load<f32>(a + (<usize>i << 2)) * load<f32>(b + (<usize>i << 2));
  return sum;
}
