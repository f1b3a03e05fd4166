// Gradients of A and B and their way back into the frozen weights' extra columns. Both gradients are products over the
// rows, left [T, e]ᵀ · right [T, columns]: blocks take a range of rows and write fp32 partials; the last block of the same
// columns adds these in their order, so the result does not depend on timing.

DEVICE int part_of(int e, int start1, int start2, int start3) { return (e >= start1) + (e >= start2) + (e >= start3); }

template <class V>
DEVICE V pick(int i, V v0, V v1, V v2, V v3) {
  return i == 0 ? v0 : i == 1 ? v1 : i == 2 ? v2 : v3;
}

#define STRIDE 72  // of a shared row of 64: rows of 144 bytes meet no bank twice in ldmatrix

struct Tiles {
  __align__(16) bf16 right[4][64][STRIDE];  // by mask: [row][column]
  __align__(16) bf16 left[64][STRIDE];      // [row][e]
};

/**
 * 64 e by 64 columns over rows begin .. end. `slots` <= SLOTS masked copies of the right tile (SLOTS 0: one, without a
 * mask); e-tile m (16 wide) uses copy slotOf[m], whose bits start at bits + part·rows·kb. Warps 0-3 take rows 0-31 of a step, 4-7 rows 32-63.
 */
template <int SLOTS>
DEVICE void product_of_rows(Tiles& tiles, float (&sums)[4][2][4], const bf16* left, const bf16* right, const u8* bits, int begin, int end, int width, int ldleft, int ldright, int column, int columnEnd, int rows, int kb, int slots, u32 slotOf, u32 partOfSlot) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int vector = (threadIdx.x & 7) * 8, localRow = threadIdx.x >> 3;
  const int depth = (warp >> 2) * 32, localColumn = (warp & 3) * 16;
  const int c = min(column + vector, (columnEnd - 1) & ~7), leftColumn = min(vector, width - 8);
  uint4 nextLeft[2], nextRight[2];
  u32 nextBits[2][SLOTS + 1];
  for (int r0 = begin - 64; r0 < end; r0 += 64) {
    if (r0 >= begin) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int r = localRow + i * 32;
        *(uint4*)&tiles.left[r][vector] = nextLeft[i];
        if (SLOTS == 0) *(uint4*)&tiles.right[0][r][vector] = nextRight[i];
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) {
          if (slot < slots) *(uint4*)&tiles.right[slot][r][vector] = keep8(nextRight[i], nextBits[i][slot]);
        }
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; i++) {
      // Columns past the end give results that are not written; rows past the end meet zeros on the left.
      const int r = r0 + 64 + localRow + i * 32;
      const int from = min(r, end - 1);
      nextRight[i] = load_once(row_of(right, from, ldright) + c);
      nextLeft[i] = *(const uint4*)(row_of(left, from, ldleft) + leftColumn);
      if (r >= end) nextLeft[i] = zero16();
#pragma unroll
      for (int slot = 0; slot < SLOTS; slot++) {
        const int part = (partOfSlot >> (8 * min(slot, slots - 1))) & 0xffu;
        nextBits[i][slot] = bits[((i64)part * rows + from) * kb + c / 8];
      }
    }
    if (r0 >= begin) {
      u32 b[2][4];  // [depth step][tile 0 low, high depths, tile 1 low, high]
      int current = -1;
#pragma unroll
      for (int m = 0; m < 4; m++) {
        if (m * 16 >= width) break;
        const int slot = (slotOf >> (8 * m)) & 0xffu;
        if (slot != current) {
          current = slot;
#pragma unroll
          for (int step = 0; step < 2; step++) {
            load_matrices_transposed(b[step], &tiles.right[slot][depth + step * 16 + (lane & 15)][localColumn + (lane >> 4) * 8]);
          }
        }
#pragma unroll
        for (int step = 0; step < 2; step++) {
          u32 a[4];
          load_matrices_transposed(a, &tiles.left[depth + step * 16 + (lane >> 4) * 8 + (lane & 7)][m * 16 + (lane & 8)]);
          multiply_add(sums[m][0], a[0], a[1], a[2], a[3], b[step][0], b[step][1]);
          multiply_add(sums[m][1], a[0], a[1], a[2], a[3], b[step][2], b[step][3]);
        }
      }
    }
    __syncthreads();
  }
}

/** Adds the two halves of the block and writes its sums, element (e, column) at e·strideE + column·strideC. */
DEVICE void write_partial(Tiles& tiles, float (&sums)[4][2][4], float* partial, int width, int column, int columnEnd, i64 strideE, i64 strideC) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  float* exchange = (float*)tiles.right + (warp & 3) * 32 * 32 + lane;
  if (warp >= 4) {
#pragma unroll
    for (int i = 0; i < 32; i++) exchange[i * 32] = sums[i / 8][i / 4 % 2][i % 4];
  }
  __syncthreads();
  if (warp >= 4) return;
#pragma unroll
  for (int i = 0; i < 32; i++) {
    const int e = i / 8 * 16 + i % 4 / 2 * 8 + g;
    const int c = column + warp * 16 + i / 4 % 2 * 8 + t * 2 + i % 2;
    if (e < width && c < columnEnd) partial[e * strideE + c * strideC] = sums[i / 8][i / 4 % 2][i % 4] + exchange[i * 32];
  }
}

/** grad_i [r_i, K] += factor_i · Σ rows du[row][s_i + e]·mask⊙x[row][k], by way of partial [splits][E][K]. */
KERNEL __launch_bounds__(256, 3) lora_gradient_a(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3, float* partial, u32* counters, const bf16* du, const bf16* x, const u8* NULLABLE bits, int rows, int K, int E, int lddu, int ldx, int kb, int start1, int start2, int start3, int rank0, int rank1, int rank2, int rank3, int splitRows, float keep0, float keep1, float keep2, float keep3) {
  __shared__ Tiles tiles;
  float sums[4][2][4] = {};
  const int firstE = blockIdx.z * 64, width = min(64, E - firstE), column = blockIdx.x * 64;
  const int begin = blockIdx.y * splitRows, end = min(rows, begin + splitRows);
  if (bits) {
    int slots = 0, last = -1;
    u32 slotOf = 0, partOfSlot = 0;
    for (int m = 0; m * 16 < width; m++) {
      const int part = part_of(firstE + m * 16, start1, start2, start3);
      if (part != last) partOfSlot |= (u32)part << (8 * slots++);
      last = part;
      slotOf |= (u32)(slots - 1) << (8 * m);
    }
    if (slots == 1) product_of_rows<1>(tiles, sums, du + firstE, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, 1, 0, partOfSlot);
    else product_of_rows<4>(tiles, sums, du + firstE, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, slots, slotOf, partOfSlot);
  } else {
    product_of_rows<0>(tiles, sums, du + firstE, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, 1, 0, 0);
  }
  write_partial(tiles, sums, partial + ((i64)blockIdx.y * E + firstE) * K, width, column, K, K, 1);
  if (!is_last_block(counters + blockIdx.z * gridDim.x + blockIdx.x, gridDim.y)) return;
  for (int i = threadIdx.x; i < width * 64; i += 256) {
    const int e = firstE + i / 64, k = column + i % 64;
    const int part = part_of(e, start1, start2, start3), local = e - pick(part, 0, start1, start2, start3);
    float* grad = pick(part, grad0, grad1, grad2, grad3);
    if (k >= K || !grad || local >= pick(part, rank0, rank1, rank2, rank3)) continue;
    grad[(i64)local * K + k] += pick(part, keep0, keep1, keep2, keep3) * sum_of_splits(partial + (i64)e * K + k, gridDim.y, (i64)E * K);
  }
}

/** grad_i [columns of part i, r_i] += factor_i · Σ rows dy[row][n]·u[row][s_i + e], by way of partial [splits][N][width]. */
KERNEL __launch_bounds__(256, 3) lora_gradient_b(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3, float* partial, u32* counters, const bf16* u, const bf16* dy, int rows, int N, int width, int ldu, int lddy, int firstColumn1, int firstColumn2, int firstColumn3, int start1, int start2, int start3, int E, int rank0, int rank1, int rank2, int rank3, int splitRows, float factor0, float factor1, float factor2, float factor3) {
  __shared__ Tiles tiles;
  float sums[4][2][4] = {};
  int tile = blockIdx.x, part = 0;
  for (; part < 3; part++) {
    const int count = (pick(part, firstColumn1, firstColumn2, firstColumn3, N) - pick(part, 0, firstColumn1, firstColumn2, firstColumn3) + 63) / 64;
    if (tile < count) break;
    tile -= count;
  }
  const int firstColumn = pick(part, 0, firstColumn1, firstColumn2, firstColumn3), column = firstColumn + tile * 64, columnEnd = pick(part, firstColumn1, firstColumn2, firstColumn3, N);
  const int firstLocal = blockIdx.z * 64, firstE = pick(part, 0, start1, start2, start3) + firstLocal;
  const int partWidth = min(min(64, width - firstLocal), pick(part, start1, start2, start3, E) - firstE);
  float* grad = pick(part, grad0, grad1, grad2, grad3);
  if (partWidth <= 0 || !grad) return;
  const int begin = blockIdx.y * splitRows, end = min(rows, begin + splitRows);
  product_of_rows<0>(tiles, sums, u + firstE, dy, 0, begin, end, partWidth, ldu, lddy, column, columnEnd, rows, 0, 1, 0, 0);
  write_partial(tiles, sums, partial + (i64)blockIdx.y * N * width + firstLocal, partWidth, column, columnEnd, 1, width);
  if (!is_last_block(counters + blockIdx.z * gridDim.x + blockIdx.x, gridDim.y)) return;
  const int rank = pick(part, rank0, rank1, rank2, rank3);
  const float factor = pick(part, factor0, factor1, factor2, factor3);
  for (int i = threadIdx.x; i < partWidth * 64; i += 256) {
    const int n = column + i / partWidth, local = firstLocal + i % partWidth;
    if (n >= columnEnd || local >= rank) continue;
    grad[(i64)(n - firstColumn) * rank + local] += factor * sum_of_splits(partial + (i64)n * width + local, gridDim.y, (i64)N * width);
  }
}

/** The end of lora_gradient_b alone, for partial sums that another kernel has made. */
KERNEL __launch_bounds__(256) lora_finish_b(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3, const float* partial, int N, int width, int splits, int firstColumn1, int firstColumn2, int firstColumn3, int rank0, int rank1, int rank2, int rank3, float factor0, float factor1, float factor2, float factor3) {
#pragma unroll
  for (int turn = 0; turn < 4; turn++) {
    const i64 i = ((i64)blockIdx.x * 4 + turn) * 256 + threadIdx.x;
    const int n = i / width, local = i % width;
    const int part = part_of(n, firstColumn1, firstColumn2, firstColumn3), rank = pick(part, rank0, rank1, rank2, rank3);
    float* grad = pick(part, grad0, grad1, grad2, grad3);
    if (n >= N || local >= rank || !grad) continue;
    grad[(i64)(n - pick(part, 0, firstColumn1, firstColumn2, firstColumn3)) * rank + local] += pick(part, factor0, factor1, factor2, factor3) * sum_of_splits(partial + i, splits, (i64)N * width);
  }
}

/** Table entries of 8 words: target address (2), first value, rows, columns, target stride, factor bits, first block. */
KERNEL __launch_bounds__(256) lora_refresh(const float* values, const int* table, int entries) {
  int low = 0, high = entries;  // the last entry whose first block is not past this one
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table[middle * 8 + 7] <= (int)blockIdx.x) low = middle;
    else high = middle;
  }
  const int* entry = table + low * 8;
  bf16* target = (bf16*)((u64)(u32)entry[0] | ((u64)(u32)entry[1] << 32));
  const float* source = values + (u32)entry[2];
  const u32 columns = entry[4], count = (u32)entry[3] * columns;
  const int stride = entry[5];
  const float factor = __int_as_float(entry[6]);
  const u32 first = ((int)blockIdx.x - entry[7]) * 4096u + threadIdx.x;
#pragma unroll 4
  for (u32 i = first; i < first - threadIdx.x + 4096u; i += 256) {
    if (i >= count) break;
    const u32 r = i / columns;
    row_of(target, r, stride)[i - r * columns] = to_bf16(factor * source[i]);
  }
}
