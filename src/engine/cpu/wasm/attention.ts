/**
 * Attention by segment without its [T, T] matrix (Dao et al. 2022, arXiv:2205.14135): blocks of 64 query rows meet
 * blocks of 64 keys, with a running maximum and sum by row. Backward recomputes the probabilities from the saved
 * log-sum-exp L: with P = e^(S - L), dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P ⊙ (dP - rowsum(dO ⊙ O)), dQ = scale·dS·K,
 * dK = scale·dSᵀ·Q. A (segment, key head) belongs to one thread, so sums do not depend on the number of threads.
 */
import { blockProduct, dot, packTransposed } from './block-product';
import { scratch } from './thread';
import { address, exp4, float, integer, sumLanes } from './vector-math';

/** Rows and keys of a block; TypeScript cuts the queries into tiles of as many rows. */
const BLOCK: i32 = 64;
const BLOCK_BYTES: usize = 256;
/** Rows or keys of a group: below the diagonal, a group meets only the keys or rows that one of its members sees. */
const GROUP: i32 = 8;
/** Below this many rows, turning the keys over costs more than it saves. */
const FEW_ROWS: i32 = 4;

/** Lanes column..column+3 that lie below `limit`. */
// @ts-ignore: decorator
@inline
function lanesBelow(column: i32, limit: i32): v128 {
  return i32x4.lt_s(i32x4.add(i32x4.splat(column), i32x4(0, 1, 2, 3)), i32x4.splat(limit));
}

/** Keys of a block from `firstKey` that the query at `position` in its segment sees. */
// @ts-ignore: decorator
@inline
function visible(keys: i32, firstKey: i32, position: i32, shift: i32, causal: bool): i32 {
  return causal ? max(0, min(keys, position + shift + 1 - firstKey)) : keys;
}

/**
 * An item is a (tile, head), heads innermost.
 * [q, k, v, out, lse or 0, tiles, queryStarts, keyStarts, keyLengths, heads, kvHeads, headDim, queryRows, causal,
 * scale];
 * tiles holds (segment, first query row) pairs, lse is [heads, queryRows].
 */
export function attention(args: usize, start: i32, end: i32): void {
  const heads = integer(args, 9);
  const kvHeads = integer(args, 10);
  const d = integer(args, 11);
  const queryRows = integer(args, 12);
  const causal = integer(args, 13) != 0;
  const scale = float(args, 14);
  const dBytes = <usize>d << 2;
  const queryBytes = <usize>heads * dBytes;
  const keyBytes = <usize>kvHeads * dBytes;
  // Scratch: query block, turned keys, scores, sums of values, row maxima, row sums.
  const queries = scratch();
  const turned = queries + <usize>BLOCK * dBytes;
  const scores = turned + <usize>BLOCK * dBytes;
  const sums = scores + <usize>BLOCK * BLOCK_BYTES;
  const peaks = sums + <usize>BLOCK * dBytes;
  const totals = peaks + BLOCK_BYTES;
  const infinite = f32x4.splat(-Infinity);

  for (let item = start; item < end; item++) {
    const head = item % heads;
    const tile = address(args, 5) + (<usize>(item / heads) << 3);
    const segment = <usize>load<i32>(tile) << 2;
    const firstRow = load<i32>(tile, 4);
    const segmentRow = load<i32>(address(args, 6) + segment);
    const segmentEnd = load<i32>(address(args, 6) + segment, 4);
    const keyStart = <usize>load<i32>(address(args, 7) + segment);
    const keyLength = load<i32>(address(args, 8) + segment);
    const rows = min(BLOCK, segmentEnd - firstRow);
    const shift = keyLength - (segmentEnd - segmentRow);
    const position = firstRow - segmentRow;
    const keyEnd = causal ? max(0, min(keyLength, position + rows + shift)) : keyLength;
    const kvOffset = <usize>((head * kvHeads) / heads) * dBytes;
    const q = address(args, 0) + <usize>firstRow * queryBytes + <usize>head * dBytes;
    const k = address(args, 1) + keyStart * keyBytes + kvOffset;
    const v = address(args, 2) + keyStart * keyBytes + kvOffset;

    for (let r = 0; r < rows; r++) {
      scaleRow(queries + <usize>r * dBytes, q + <usize>r * queryBytes, scale, d);
      store<f32>(peaks + (<usize>r << 2), -Infinity);
      store<f64>(totals + (<usize>r << 3), 0);
    }
    memory.fill(sums, 0, <usize>rows * dBytes);

    for (let key = 0; key < keyEnd; key += BLOCK) {
      const keys = min(BLOCK, keyEnd - key);
      const keyBlock = k + <usize>key * keyBytes;
      if (rows < FEW_ROWS) {
        for (let r = 0; r < rows; r++) {
          for (let j = 0; j < keys; j++) {
            const product = dot(queries + <usize>r * dBytes, keyBlock + <usize>j * keyBytes, d);
            store<f32>(scores + <usize>r * BLOCK_BYTES + (<usize>j << 2), product);
          }
        }
      } else {
        packTransposed(keyBlock, keyBytes, keys, d, turned, BLOCK);
        for (let r = 0; r < rows; r += GROUP) {
          const count = min(GROUP, rows - r);
          const seen = visible(keys, key, position + r + count - 1, shift, causal);
          const from = queries + <usize>r * dBytes;
          const to = scores + <usize>r * BLOCK_BYTES;
          blockProduct(count, (seen + 7) & ~7, d, from, dBytes, 4, turned, BLOCK_BYTES, to, BLOCK_BYTES, false);
        }
      }
      for (let r = 0; r < rows; r++) {
        const row = scores + <usize>r * BLOCK_BYTES;
        const limit = visible(keys, key, position + r, shift, causal);
        const groupLast = min(rows, (r & ~(GROUP - 1)) + GROUP) - 1;
        const padded = (visible(keys, key, position + groupLast, shift, causal) + 7) & ~7;
        if (limit == 0) {
          memory.fill(row, 0, <usize>padded << 2);
          continue;
        }
        let top = infinite;
        for (let j = 0; j < padded; j += 4) {
          const at = row + (<usize>j << 2);
          let value = v128.load(at);
          if (j + 4 > limit) {
            value = v128.bitselect(value, infinite, lanesBelow(j, limit));
            v128.store(at, value);
          }
          top = f32x4.max(top, value);
        }
        const before = load<f32>(peaks + (<usize>r << 2));
        const peak: f32 = max(
          before,
          max(
            max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)),
            max(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)),
          ),
        );
        const shift4 = f32x4.splat(peak);
        let total = f32x4.splat(0);
        for (let j = 0; j < padded; j += 4) {
          const at = row + (<usize>j << 2);
          const p = exp4(f32x4.sub(v128.load(at), shift4));
          v128.store(at, p);
          total = f32x4.add(total, p);
        }
        let sum = <f64>sumLanes(total);
        if (peak > before) {
          const shrink = f32x4.extract_lane(exp4(f32x4.splat(before - peak)), 0);
          const to = sums + <usize>r * dBytes;
          scaleRow(to, to, shrink, d);
          store<f32>(peaks + (<usize>r << 2), peak);
          sum += load<f64>(totals + (<usize>r << 3)) * <f64>shrink;
        } else sum += load<f64>(totals + (<usize>r << 3));
        store<f64>(totals + (<usize>r << 3), sum);
      }
      for (let r = 0; r < rows; r += GROUP) {
        const count = min(GROUP, rows - r);
        const seen = visible(keys, key, position + r + count - 1, shift, causal);
        const from = scores + <usize>r * BLOCK_BYTES;
        const to = sums + <usize>r * dBytes;
        blockProduct(count, d, seen, from, BLOCK_BYTES, 4, v + <usize>key * keyBytes, keyBytes, to, dBytes, true);
      }
    }

    for (let r = 0; r < rows; r++) {
      const total = load<f64>(totals + (<usize>r << 3));
      const from = sums + <usize>r * dBytes;
      const to = address(args, 3) + <usize>(firstRow + r) * queryBytes + <usize>head * dBytes;
      // A row that sees no key gives zeros, and e^(S - ∞) = 0 in backward. NaN goes through.
      const inverse: f32 = total != 0 ? <f32>(1.0 / total) : 0;
      scaleRow(to, from, inverse, d);
      if (address(args, 4)) {
        const lse: f32 = total != 0 ? <f32>(<f64>load<f32>(peaks + (<usize>r << 2)) + NativeMath.log(total)) : Infinity;
        store<f32>(address(args, 4) + (<usize>(head * queryRows + firstRow + r) << 2), lse);
      }
    }
  }
}

/**
 * An item is a (group of segments, key head), key heads innermost. dq, dk and dv start at zero and are added to; each
 * may be 0, which skips it.
 * [q, k, v, out, lse, dout, dq, dk, dv, rowSums, queryStarts, keyStarts, keyLengths, heads, kvHeads, headDim, queryRows,
 *  causal, segments, segmentsPerItem, scale]; rowSums is room for [heads, queryRows].
 */
export function attentionBackward(args: usize, start: i32, end: i32): void {
  const kvHeads = integer(args, 14);
  const perItem = integer(args, 19);
  for (let item = start; item < end; item++) {
    const first = (item / kvHeads) * perItem;
    const last = min(first + perItem, integer(args, 18));
    for (let segment = first; segment < last; segment++) segmentBackward(args, segment, item % kvHeads);
  }
}

function segmentBackward(args: usize, segment: i32, kvHead: i32): void {
  const heads = integer(args, 13);
  const kvHeads = integer(args, 14);
  const d = integer(args, 15);
  const queryRows = integer(args, 16);
  const causal = integer(args, 17) != 0;
  const scale = float(args, 20);
  const dBytes = <usize>d << 2;
  const queryBytes = <usize>heads * dBytes;
  const keyBytes = <usize>kvHeads * dBytes;
  const at = <usize>segment << 2;
  const rowStart = load<i32>(address(args, 10) + at);
  const rowCount = load<i32>(address(args, 10) + at, 4) - rowStart;
  const keyStart = <usize>load<i32>(address(args, 11) + at);
  const keyLength = load<i32>(address(args, 12) + at);
  const shift = keyLength - rowCount;
  // Heads h with ⌊h·K/H⌋ = kvHead.
  const firstHead = (kvHead * heads + kvHeads - 1) / kvHeads;
  const endHead = ((kvHead + 1) * heads + kvHeads - 1) / kvHeads;
  const blockBytes = <usize>BLOCK * dBytes;
  const turnedKeys = scratch();
  const turnedValues = turnedKeys + blockBytes;
  const dkSums = turnedValues + blockBytes;
  const dvSums = dkSums + blockBytes;
  const probabilities = dvSums + blockBytes;
  const dScores = probabilities + <usize>BLOCK * BLOCK_BYTES;
  const wantQ = address(args, 6) != 0;
  const wantK = address(args, 7) != 0;
  const wantV = address(args, 8) != 0;

  for (let head = firstHead; head < endHead; head++) {
    for (let r = rowStart; r < rowStart + rowCount; r++) {
      const offset = <usize>r * queryBytes + <usize>head * dBytes;
      const sum = dot(address(args, 3) + offset, address(args, 5) + offset, d);
      store<f32>(address(args, 9) + (<usize>(head * queryRows + r) << 2), sum);
    }
  }

  for (let key = 0; key < keyLength; key += BLOCK) {
    const keys = min(BLOCK, keyLength - key);
    const keyOffset = (keyStart + <usize>key) * keyBytes + <usize>kvHead * dBytes;
    packTransposed(address(args, 1) + keyOffset, keyBytes, keys, d, turnedKeys, BLOCK);
    packTransposed(address(args, 2) + keyOffset, keyBytes, keys, d, turnedValues, BLOCK);
    memory.fill(dkSums, 0, blockBytes << 1);
    for (let head = firstHead; head < endHead; head++) {
      for (let row = causal ? max(0, key - shift) : 0; row < rowCount; row += BLOCK) {
        const rows = min(BLOCK, rowCount - row);
        const offset = <usize>(rowStart + row) * queryBytes + <usize>head * dBytes;
        const q = address(args, 0) + offset;
        const dout = address(args, 5) + offset;
        for (let r = 0; r < rows; r += GROUP) {
          const count = min(GROUP, rows - r);
          const padded = (visible(keys, key, row + r + count - 1, shift, causal) + 7) & ~7;
          const at = <usize>r * BLOCK_BYTES;
          const from = <usize>r * queryBytes;
          blockProduct(count, padded, d, q + from, queryBytes, 4, turnedKeys, BLOCK_BYTES, probabilities + at, BLOCK_BYTES, false);
          blockProduct(count, padded, d, dout + from, queryBytes, 4, turnedValues, BLOCK_BYTES, dScores + at, BLOCK_BYTES, false);
        }
        const statistics = <usize>(head * queryRows + rowStart + row) << 2;
        for (let r = 0; r < rows; r++) {
          const limit = visible(keys, key, row + r, shift, causal);
          const groupLast = min(rows, (r & ~(GROUP - 1)) + GROUP) - 1;
          const padded = (visible(keys, key, row + groupLast, shift, causal) + 7) & ~7;
          const lse = f32x4.splat(load<f32>(address(args, 4) + statistics + (<usize>r << 2)));
          const rowSum = f32x4.splat(load<f32>(address(args, 9) + statistics + (<usize>r << 2)));
          const p = probabilities + <usize>r * BLOCK_BYTES;
          const ds = dScores + <usize>r * BLOCK_BYTES;
          for (let j = 0; j < padded; j += 4) {
            const column = <usize>j << 2;
            const score = f32x4.mul(v128.load(p + column), f32x4.splat(scale));
            let probability = exp4(f32x4.sub(score, lse));
            if (j + 4 > limit) probability = v128.and(probability, lanesBelow(j, limit));
            const pull = f32x4.mul(f32x4.sub(v128.load(ds + column), rowSum), f32x4.splat(scale));
            v128.store(p + column, probability);
            v128.store(ds + column, f32x4.mul(probability, pull));
          }
        }
        for (let j = 0; j < keys; j += GROUP) {
          // The first row that sees a key of this group; a row's columns are set up to its group's last key.
          const first = causal ? max(0, key + j - shift - row) : 0;
          if (first >= rows) break;
          const count = min(GROUP, keys - j);
          const p = <usize>first * BLOCK_BYTES + (<usize>j << 2);
          const rest = rows - first;
          const from = <usize>first * queryBytes;
          const to = <usize>j * dBytes;
          if (wantV) {
            blockProduct(count, d, rest, probabilities + p, 4, BLOCK_BYTES, dout + from, queryBytes, dvSums + to, dBytes, true);
          }
          if (wantK) blockProduct(count, d, rest, dScores + p, 4, BLOCK_BYTES, q + from, queryBytes, dkSums + to, dBytes, true);
        }
        if (wantQ) {
          const k = address(args, 1) + keyOffset;
          const dq = address(args, 6) + offset;
          for (let r = 0; r < rows; r += GROUP) {
            const count = min(GROUP, rows - r);
            const seen = visible(keys, key, row + r + count - 1, shift, causal);
            const from = dScores + <usize>r * BLOCK_BYTES;
            blockProduct(count, d, seen, from, BLOCK_BYTES, 4, k, keyBytes, dq + <usize>r * queryBytes, queryBytes, true);
          }
        }
      }
    }
    for (let j = 0; j < keys; j++) {
      const from = <usize>j * dBytes;
      const to = keyOffset + <usize>j * keyBytes;
      if (wantK) addRow(address(args, 7) + to, dkSums + from, d);
      if (wantV) addRow(address(args, 8) + to, dvSums + from, d);
    }
  }
}

/** target = factor·source. */
function scaleRow(target: usize, source: usize, factor: f32, n: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    v128.store(target + at, f32x4.mul(v128.load(source + at), f32x4.splat(factor)));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(target + at, load<f32>(source + at) * factor);
  }
}

function addRow(target: usize, source: usize, n: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    v128.store(target + at, f32x4.add(v128.load(target + at), v128.load(source + at)));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(target + at, load<f32>(target + at) + load<f32>(source + at));
  }
}
