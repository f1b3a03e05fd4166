// c = alpha · op(a) · op(b) + beta · c in float32: matrix products, packed and register-blocked after Goto and van de
// Geijn (2008). matmul.ts beside this folder chooses the kernel and the tiles.
//
// A tile of c is made by one thread, in blocks of k: the block of op(b) is packed into panels of 8 columns, and each
// 6 rows of a run against each panel. The order in which a number of c is summed depends on k alone.
import { madd } from './simd';
import { scratch } from './thread';
import { stageRows } from './widen';

/** Rows and columns of the register block: 12 accumulators, 2 vectors of b and one of a fill 15 registers. */
const MR: i32 = 6;
const NR: i32 = 8;

/** Longest block of k, and widest tile (MAX_TILE_COLUMNS in ../matmul.ts): one packed block fills 384 KiB. */
const MAX_KC: i32 = 384;
const MAX_NC: i32 = 256;

/** Scratch area: packed panels, the float32 block of a frozen weight, the same as stored, one register block. */
const STAGED: usize = <usize>(MAX_KC * MAX_NC * 4);
const RAW: usize = STAGED * 2;
const BLOCK: usize = RAW + STAGED / 2;

/**
 * Item i: tile i of c, row by row of tiles.
 * Arguments: a, lda, b (heap) or weight, ldb, c, ldc, m, n, k, transB, frozen (0 or 1), dtype, bRow, bColumn, tileM,
 * tileN; alpha, beta. op(a) is stored [m, k].
 */
export function matmulTiles(args: usize, start: i32, end: i32): void {
  const m = load<i32>(args, 24);
  const n = load<i32>(args, 28);
  const tileM = load<i32>(args, 56);
  const tileN = load<i32>(args, 60);
  const tilesN = (n + tileN - 1) / tileN;
  for (let tile = start; tile < end; tile++) {
    const i = (tile / tilesN) * tileM;
    const j = (tile % tilesN) * tileN;
    matmulTile(args, i, min(tileM, m - i), j, min(tileN, n - j));
  }
}

function matmulTile(args: usize, i0: i32, rows: i32, j0: i32, columns: i32): void {
  const lda = load<usize>(args, 4) << 2;
  const ldc = load<usize>(args, 20) << 2;
  const a = load<usize>(args) + <usize>i0 * lda;
  const c = load<usize>(args, 16) + <usize>i0 * ldc + (<usize>j0 << 2);
  const k = load<i32>(args, 32);
  const alpha = load<f32>(args, 64);
  const beta = load<f32>(args, 68);
  const packed = scratch();
  const block = scratch() + BLOCK;
  // Blocks of k of about the same length, a multiple of 4.
  const blocks = max(1, (k + MAX_KC - 1) / MAX_KC);
  const blockLength = max(4, (((k + blocks - 1) / blocks) + 3) & ~3);
  for (let k0 = 0; k0 == 0 || k0 < k; k0 += blockLength) {
    const kc = min(blockLength, k - k0);
    packB(args, k0, kc, j0, columns, packed);
    const keep = k0 == 0 ? beta : 1;
    for (let i = 0; i < rows; i += MR) {
      const height = min(MR, rows - i);
      const aPanel = a + <usize>i * lda + (<usize>k0 << 2);
      for (let j = 0; j < columns; j += NR) {
        registerBlock(aPanel, lda, height, packed + <usize>j * (<usize>kc << 2), kc, block);
        addBlock(block, c + <usize>i * ldc + (<usize>j << 2), ldc, height, min(NR, columns - j), alpha, keep);
      }
    }
  }
}

/**
 * 6 rows of a times a panel of 8 columns, to `block` [6, 8]; rows from `height` on repeat the last one.
 * The sums are only stored here: anything more at the end (a factor, an old value) costs V8's register allocator a
 * spill of accumulators in the loop, and a quarter of the speed. It is exported so that it is not inlined.
 */
export function registerBlock(a: usize, lda: usize, height: i32, b: usize, kc: i32, block: usize): void {
  const last = height - 1;
  let a0 = a;
  let a1 = a + lda * <usize>min(1, last);
  let a2 = a + lda * <usize>min(2, last);
  let a3 = a + lda * <usize>min(3, last);
  let a4 = a + lda * <usize>min(4, last);
  let a5 = a + lda * <usize>last;
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  let c40 = c00;
  let c41 = c00;
  let c50 = c00;
  let c51 = c00;
  const end = b + (<usize>kc << 5);
  while (b < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a0);
    c00 = madd(x, b0, c00);
    c01 = madd(x, b1, c01);
    x = v128.load32_splat(a1);
    c10 = madd(x, b0, c10);
    c11 = madd(x, b1, c11);
    x = v128.load32_splat(a2);
    c20 = madd(x, b0, c20);
    c21 = madd(x, b1, c21);
    x = v128.load32_splat(a3);
    c30 = madd(x, b0, c30);
    c31 = madd(x, b1, c31);
    x = v128.load32_splat(a4);
    c40 = madd(x, b0, c40);
    c41 = madd(x, b1, c41);
    x = v128.load32_splat(a5);
    c50 = madd(x, b0, c50);
    c51 = madd(x, b1, c51);
    a0 += 4;
    a1 += 4;
    a2 += 4;
    a3 += 4;
    a4 += 4;
    a5 += 4;
    b += 32;
  }
  v128.store(block, c00, 0);
  v128.store(block, c01, 16);
  v128.store(block, c10, 32);
  v128.store(block, c11, 48);
  v128.store(block, c20, 64);
  v128.store(block, c21, 80);
  v128.store(block, c30, 96);
  v128.store(block, c31, 112);
  v128.store(block, c40, 128);
  v128.store(block, c41, 144);
  v128.store(block, c50, 160);
  v128.store(block, c51, 176);
}

/** c = alpha · block + keep · c for the part of a register block that lies inside c. */
function addBlock(block: usize, c: usize, ldc: usize, height: i32, width: i32, alpha: f32, keep: f32): void {
  const end = block + (<usize>height << 5);
  if (width == NR) {
    const scale = f32x4.splat(alpha);
    const factor = f32x4.splat(keep);
    for (; block < end; block += 32, c += ldc) {
      let sum0 = f32x4.mul(v128.load(block), scale);
      let sum1 = f32x4.mul(v128.load(block, 16), scale);
      if (keep != 0) {
        sum0 = f32x4.add(sum0, f32x4.mul(v128.load(c), factor));
        sum1 = f32x4.add(sum1, f32x4.mul(v128.load(c, 16), factor));
      }
      v128.store(c, sum0);
      v128.store(c, sum1, 16);
    }
    return;
  }
  for (; block < end; block += 32, c += ldc) {
    for (let j: usize = 0; j < <usize>width; j++) {
      const sum = alpha * load<f32>(block + (j << 2));
      const at = c + (j << 2);
      store<f32>(at, keep != 0 ? sum + load<f32>(at) * keep : sum);
    }
  }
}

/** op(b)[k0.., j0..] to panels of 8 columns, [kc][8] each, the last filled up with zeros. */
function packB(args: usize, k0: i32, kc: i32, j0: i32, columns: i32, packed: usize): void {
  if (kc == 0) return;
  let b = load<usize>(args, 8);
  let ldb = load<usize>(args, 12) << 2;
  const transposed = load<i32>(args, 36);
  if (load<i32>(args, 40)) {
    const row = load<i32>(args, 48) + (transposed ? j0 : k0);
    const column = load<i32>(args, 52) + (transposed ? k0 : j0);
    const stagedRows = transposed ? columns : kc;
    const stagedColumns = transposed ? kc : columns;
    const staged = scratch() + STAGED;
    stageRows(<i32>b, load<i32>(args, 44), row, stagedRows, column, stagedColumns, scratch() + RAW, staged);
    b = staged;
    ldb = <usize>stagedColumns << 2;
  } else if (transposed) {
    b += <usize>j0 * ldb + (<usize>k0 << 2);
  } else {
    b += <usize>k0 * ldb + (<usize>j0 << 2);
  }
  let j = 0;
  if (!transposed) {
    for (; j <= columns - 4 * NR; j += 4 * NR) {
      packWideRows(b + (<usize>j << 2), ldb, kc, packed);
      packed += <usize>kc << 7;
    }
  }
  for (; j < columns; j += NR) {
    const width = min(NR, columns - j);
    if (transposed) packTransposed(b + <usize>j * ldb, ldb, kc, width, packed);
    else packRows(b + (<usize>j << 2), ldb, kc, width, packed);
    packed += <usize>kc << 5;
  }
}

/** Four panels of b stored [k, n] at once, so that each line of the cache is read once. */
function packWideRows(b: usize, ldb: usize, kc: i32, to0: usize): void {
  const panel = <usize>kc << 5;
  const end = to0 + panel;
  let to1 = to0 + panel;
  let to2 = to1 + panel;
  let to3 = to2 + panel;
  while (to0 < end) {
    v128.store(to0, v128.load(b));
    v128.store(to0, v128.load(b, 16), 16);
    v128.store(to1, v128.load(b, 32));
    v128.store(to1, v128.load(b, 48), 16);
    v128.store(to2, v128.load(b, 64));
    v128.store(to2, v128.load(b, 80), 16);
    v128.store(to3, v128.load(b, 96));
    v128.store(to3, v128.load(b, 112), 16);
    b += ldb;
    to0 += 32;
    to1 += 32;
    to2 += 32;
    to3 += 32;
  }
}

/** One panel of b stored [k, n]. */
function packRows(b: usize, ldb: usize, kc: i32, width: i32, to: usize): void {
  const end = to + (<usize>kc << 5);
  if (width == NR) {
    for (; to < end; to += 32, b += ldb) {
      v128.store(to, v128.load(b));
      v128.store(to, v128.load(b, 16), 16);
    }
    return;
  }
  for (; to < end; to += 32, b += ldb) {
    for (let j: usize = 0; j < <usize>NR; j++) {
      store<f32>(to + (j << 2), j < <usize>width ? load<f32>(b + (j << 2)) : 0);
    }
  }
}

/** One panel of b stored [n, k]. */
function packTransposed(b: usize, ldb: usize, kc: i32, width: i32, to: usize): void {
  let k = 0;
  if (width == NR) {
    for (; k <= kc - 4; k += 4) {
      transpose4(b, ldb, to, 32);
      transpose4(b + (ldb << 2), ldb, to + 16, 32);
      b += 16;
      to += 128;
    }
  }
  for (; k < kc; k++) {
    for (let j: usize = 0; j < <usize>NR; j++) {
      store<f32>(to + (j << 2), j < <usize>width ? load<f32>(b + j * ldb) : 0);
    }
    b += 4;
    to += 32;
  }
}

/** A 4 × 4 block, transposed; row distances in bytes. */
// @ts-ignore: decorator
@inline
function transpose4(from: usize, fromRow: usize, to: usize, toRow: usize): void {
  const r0 = v128.load(from);
  const r1 = v128.load(from + fromRow);
  const r2 = v128.load(from + fromRow * 2);
  const r3 = v128.load(from + fromRow * 3);
  const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const t1 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  const t2 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(t0, t1, 0, 1, 4, 5));
  v128.store(to + toRow, v128.shuffle<f32>(t0, t1, 2, 3, 6, 7));
  v128.store(to + toRow * 2, v128.shuffle<f32>(t2, t3, 0, 1, 4, 5));
  v128.store(to + toRow * 3, v128.shuffle<f32>(t2, t3, 2, 3, 6, 7));
}

/**
 * Item i: columns 16·i.. of a matrix [rows, columns], written as rows of its transpose.
 * Arguments: from, row distance, rows, columns, to, row distance of the target.
 */
export function transpose(args: usize, start: i32, end: i32): void {
  const from = load<usize>(args);
  const fromRow = load<usize>(args, 4) << 2;
  const rows = load<i32>(args, 8);
  const columns = load<i32>(args, 12);
  const to = load<usize>(args, 16);
  const toRow = load<usize>(args, 20) << 2;
  for (let item = start; item < end; item++) {
    const first = item << 4;
    const last = min(columns, first + 16);
    let i = 0;
    for (; i <= rows - 4; i += 4) {
      let j = first;
      for (; j <= last - 4; j += 4) {
        transpose4(from + <usize>i * fromRow + (<usize>j << 2), fromRow, to + <usize>j * toRow + (<usize>i << 2), toRow);
      }
      for (; j < last; j++) copyColumn(from, fromRow, to, toRow, i, i + 4, j);
    }
    for (let j = first; j < last; j++) copyColumn(from, fromRow, to, toRow, i, rows, j);
  }
}

function copyColumn(from: usize, fromRow: usize, to: usize, toRow: usize, i: i32, end: i32, j: i32): void {
  for (; i < end; i++) {
    store<f32>(to + <usize>j * toRow + (<usize>i << 2), load<f32>(from + <usize>i * fromRow + (<usize>j << 2)));
  }
}

/**
 * Few rows of a against b stored [n, k]: dot products along the stored rows, nothing packed. Item j: column j of c.
 * Arguments as for matmulTiles.
 */
export function matmulDots(args: usize, start: i32, end: i32): void {
  const a = load<usize>(args);
  const lda = load<usize>(args, 4) << 2;
  const b = load<usize>(args, 8);
  const ldb = load<usize>(args, 12) << 2;
  const c = load<usize>(args, 16);
  const ldc = load<usize>(args, 20) << 2;
  const m = load<i32>(args, 24);
  const k = load<i32>(args, 32);
  if (!load<i32>(args, 40)) {
    for (let j = start; j < end; j++) dots(args, a, lda, m, b + <usize>j * ldb, k, c + (<usize>j << 2), ldc, true);
    return;
  }
  // Whole rows of a frozen weight, as many at a time as the scratch area takes; longer rows piece by piece.
  const dtype = load<i32>(args, 44);
  const bRow = load<i32>(args, 48);
  const bColumn = load<i32>(args, 52);
  const room: i32 = 1 << 14;
  const piece = min(k, room);
  const group = max(1, room / max(1, k));
  const raw = scratch() + STAGED;
  for (let j = start; j < end; j += group) {
    const rows = min(group, end - j);
    for (let k0 = 0; k0 < k; k0 += piece) {
      const length = min(piece, k - k0);
      stageRows(<i32>b, dtype, bRow + j, rows, bColumn + k0, length, raw, scratch());
      for (let r = 0; r < rows; r++) {
        const row = scratch() + ((<usize>r * <usize>length) << 2);
        dots(args, a + (<usize>k0 << 2), lda, m, row, length, c + (<usize>(j + r) << 2), ldc, k0 == 0);
      }
    }
  }
}

/** One column of c: each row of a times `row`, which holds one column of op(b). */
function dots(args: usize, a: usize, lda: usize, m: i32, row: usize, k: i32, c: usize, ldc: usize, first: bool): void {
  const alpha = load<f32>(args, 64);
  const keep = first ? load<f32>(args, 68) : 1;
  for (let i = 0; i < m; i++) {
    const sum = alpha * dot(a, row, k);
    store<f32>(c, keep != 0 ? sum + load<f32>(c) * keep : sum);
    a += lda;
    c += ldc;
  }
}

function dot(a: usize, b: usize, k: i32): f32 {
  let sum0 = f32x4.splat(0);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  let i = 0;
  for (; i <= k - 16; i += 16) {
    sum0 = madd(v128.load(a), v128.load(b), sum0);
    sum1 = madd(v128.load(a, 16), v128.load(b, 16), sum1);
    sum2 = madd(v128.load(a, 32), v128.load(b, 32), sum2);
    sum3 = madd(v128.load(a, 48), v128.load(b, 48), sum3);
    a += 64;
    b += 64;
  }
  for (; i <= k - 4; i += 4) {
    sum0 = madd(v128.load(a), v128.load(b), sum0);
    a += 16;
    b += 16;
  }
  const sum = f32x4.add(f32x4.add(sum0, sum1), f32x4.add(sum2, sum3));
  let total: f32 =
    f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 1) + (f32x4.extract_lane(sum, 2) + f32x4.extract_lane(sum, 3));
  for (; i < k; i++) {
    total += load<f32>(a) * load<f32>(b);
    a += 4;
    b += 4;
  }
  return total;
}
