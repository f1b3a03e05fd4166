// Prepended: common.cu, lora-helpers.cuh
// Gradients of A and B and their way back into the frozen weights' extra columns. Both gradients are products over the
// rows, left [T, e]ᵀ · right [T, columns]: blocks take a range of rows and write fp32 partials; the last block of the
// same columns adds these in their order, so the result does not depend on timing.

#define STRIDE 72  // of a shared row of 64: rows of 144 bytes meet no bank twice in ldmatrix

struct Tiles {
  __align__(16) bf16 right[4][64][STRIDE];  // by mask: [row][column]
  __align__(16) bf16 left[64][STRIDE];      // [row][e]
};

/**
 * 64 e by 64 columns over rows begin .. end. `slots` <= SLOTS masked copies of the right tile (SLOTS 0: one, without a
 * mask); e-tile m (16 wide) uses copy slot_of[m], whose bits start at bits + part·rows·kb. Warps 0-3 take rows 0-31 of
 * a step, 4-7 rows 32-63.
 */
template <int SLOTS>
DEVICE void product_of_rows(Tiles& tiles, float (&sums)[4][2][4], const bf16* left, const bf16* right, const u8* bits,
                            int begin, int end, int width, int ldleft, int ldright, int column, int column_end,
                            int rows, int kb, int slots, u32 slot_of, u32 part_of_slot) {
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int vector = (threadIdx.x & 7) * 8, local_row = threadIdx.x >> 3;
  const int depth = (warp >> 2) * 32, local_column = (warp & 3) * 16;
  const int c = min(column + vector, (column_end - 1) & ~7), left_column = min(vector, width - 8);
  uint4 next_left[2], next_right[2];
  u32 next_bits[2][SLOTS + 1];
  for (int r0 = begin - 64; r0 < end; r0 += 64) {
    if (r0 >= begin) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int r = local_row + i * 32;
        *(uint4*)&tiles.left[r][vector] = next_left[i];
        if (SLOTS == 0) *(uint4*)&tiles.right[0][r][vector] = next_right[i];
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) {
          if (slot < slots) *(uint4*)&tiles.right[slot][r][vector] = keep8(next_right[i], next_bits[i][slot]);
        }
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; i++) {
      // Columns past the end give results that are not written; rows past the end meet zeros on the left.
      const int r = r0 + 64 + local_row + i * 32;
      const int from = min(r, end - 1);
      next_right[i] = load_once(row_of(right, from, ldright) + c);
      next_left[i] = *(const uint4*)(row_of(left, from, ldleft) + left_column);
      if (r >= end) next_left[i] = zero16();
#pragma unroll
      for (int slot = 0; slot < SLOTS; slot++) {
        const int part = (part_of_slot >> (8 * min(slot, slots - 1))) & 0xffu;
        next_bits[i][slot] = bits[((i64)part * rows + from) * kb + c / 8];
      }
    }
    if (r0 >= begin) {
      u32 b[2][4];  // [depth step][tile 0 low, high depths, tile 1 low, high]
      int current = -1;
#pragma unroll
      for (int m = 0; m < 4; m++) {
        if (m * 16 >= width) break;
        const int slot = (slot_of >> (8 * m)) & 0xffu;
        if (slot != current) {
          current = slot;
#pragma unroll
          for (int step = 0; step < 2; step++) {
            load_matrices_transposed(
                b[step], &tiles.right[slot][depth + step * 16 + (lane & 15)][local_column + (lane >> 4) * 8]);
          }
        }
#pragma unroll
        for (int step = 0; step < 2; step++) {
          u32 a[4];
          load_matrices_transposed(a,
                                   &tiles.left[depth + step * 16 + (lane >> 4) * 8 + (lane & 7)][m * 16 + (lane & 8)]);
          multiply_add(sums[m][0], a[0], a[1], a[2], a[3], b[step][0], b[step][1]);
          multiply_add(sums[m][1], a[0], a[1], a[2], a[3], b[step][2], b[step][3]);
        }
      }
    }
    __syncthreads();
  }
}

/** Adds the two halves of the block and writes its sums, element (e, column) at e·stride_e + column·stride_c. */
DEVICE void write_partial(Tiles& tiles, float (&sums)[4][2][4], float* partial, int width, int column, int column_end,
                          i64 stride_e, i64 stride_c) {
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
    if (e < width && c < column_end)
      partial[e * stride_e + c * stride_c] = sums[i / 8][i / 4 % 2][i % 4] + exchange[i * 32];
  }
}

/**
 * grad_i [r_i, K] += factor_i · Σ rows du[row][s_i + e]·mask⊙x[row][k], by way of partial [splits][E][K].
 * Launch: grid [ceil(K/64), splits, ceil(E/64)].
 */
KERNEL __launch_bounds__(256, 3)
    lora_gradient_a(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3,
                    float* partial, u32* counters, const bf16* du, const bf16* x, const u8* NULLABLE bits, int rows,
                    int K, int E, int lddu, int ldx, int kb, int start1, int start2, int start3, int rank0, int rank1,
                    int rank2, int rank3, int split_rows, float keep0, float keep1, float keep2, float keep3) {
  __shared__ Tiles tiles;
  float sums[4][2][4] = {};
  const int first_e = blockIdx.z * 64, width = min(64, E - first_e), column = blockIdx.x * 64;
  const int begin = blockIdx.y * split_rows, end = min(rows, begin + split_rows);
  if (bits) {
    int slots = 0, last = -1;
    u32 slot_of = 0, part_of_slot = 0;
    for (int m = 0; m * 16 < width; m++) {
      const int part = part_of(first_e + m * 16, start1, start2, start3);
      if (part != last) part_of_slot |= (u32)part << (8 * slots++);
      last = part;
      slot_of |= (u32)(slots - 1) << (8 * m);
    }
    if (slots == 1)
      product_of_rows<1>(tiles, sums, du + first_e, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, 1, 0,
                         part_of_slot);
    else
      product_of_rows<4>(tiles, sums, du + first_e, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, slots,
                         slot_of, part_of_slot);
  } else {
    product_of_rows<0>(tiles, sums, du + first_e, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, 1, 0, 0);
  }
  write_partial(tiles, sums, partial + ((i64)blockIdx.y * E + first_e) * K, width, column, K, K, 1);
  if (!is_last_block(counters + blockIdx.z * gridDim.x + blockIdx.x, gridDim.y)) return;
  for (int i = threadIdx.x; i < width * 64; i += 256) {
    const int e = first_e + i / 64, k = column + i % 64;
    const int part = part_of(e, start1, start2, start3), local = e - pick(part, 0, start1, start2, start3);
    float* grad = pick(part, grad0, grad1, grad2, grad3);
    if (k >= K || !grad || local >= pick(part, rank0, rank1, rank2, rank3)) continue;
    grad[(i64)local * K + k] +=
        pick(part, keep0, keep1, keep2, keep3) * sum_of_splits(partial + (i64)e * K + k, gridDim.y, (i64)E * K);
  }
}

/**
 * grad_i [columns of part i, r_i] += factor_i · Σ rows dy[row][n]·u[row][s_i + e], by way of partial
 * [splits][N][width].
 * Launch: grid [Σ ceil(columns of a part/64), splits, ceil(width/64)].
 */
KERNEL __launch_bounds__(256, 3)
    lora_gradient_b(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3,
                    float* partial, u32* counters, const bf16* u, const bf16* dy, int rows, int N, int width, int ldu,
                    int lddy, int first_column1, int first_column2, int first_column3, int start1, int start2,
                    int start3, int E, int rank0, int rank1, int rank2, int rank3, int split_rows, float factor0,
                    float factor1, float factor2, float factor3) {
  __shared__ Tiles tiles;
  float sums[4][2][4] = {};
  int tile = blockIdx.x, part = 0;
  for (; part < 3; part++) {
    const int count = (pick(part, first_column1, first_column2, first_column3, N) -
                       pick(part, 0, first_column1, first_column2, first_column3) + 63) /
                      64;
    if (tile < count) break;
    tile -= count;
  }
  const int first_column = pick(part, 0, first_column1, first_column2, first_column3),
            column = first_column + tile * 64, column_end = pick(part, first_column1, first_column2, first_column3, N);
  const int first_local = blockIdx.z * 64, first_e = pick(part, 0, start1, start2, start3) + first_local;
  const int part_width = min(min(64, width - first_local), pick(part, start1, start2, start3, E) - first_e);
  float* grad = pick(part, grad0, grad1, grad2, grad3);
  if (part_width <= 0 || !grad) return;
  const int begin = blockIdx.y * split_rows, end = min(rows, begin + split_rows);
  product_of_rows<0>(tiles, sums, u + first_e, dy, 0, begin, end, part_width, ldu, lddy, column, column_end, rows, 0, 1,
                     0, 0);
  write_partial(tiles, sums, partial + (i64)blockIdx.y * N * width + first_local, part_width, column, column_end, 1,
                width);
  if (!is_last_block(counters + blockIdx.z * gridDim.x + blockIdx.x, gridDim.y)) return;
  const int rank = pick(part, rank0, rank1, rank2, rank3);
  const float factor = pick(part, factor0, factor1, factor2, factor3);
  for (int i = threadIdx.x; i < part_width * 64; i += 256) {
    const int n = column + i / part_width, local = first_local + i % part_width;
    if (n >= column_end || local >= rank) continue;
    grad[(i64)(n - first_column) * rank + local] +=
        factor * sum_of_splits(partial + (i64)n * width + local, gridDim.y, (i64)N * width);
  }
}

/**
 * The end of lora_gradient_b alone, for partial sums that another kernel has made.
 * Launch: grid [ceil(N·width/1024)].
 */
KERNEL __launch_bounds__(256)
    lora_finish_b(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3,
                  const float* partial, int N, int width, int splits, int first_column1, int first_column2,
                  int first_column3, int rank0, int rank1, int rank2, int rank3, float factor0, float factor1,
                  float factor2, float factor3) {
#pragma unroll
  for (int turn = 0; turn < 4; turn++) {
    const i64 i = ((i64)blockIdx.x * 4 + turn) * 256 + threadIdx.x;
    const int n = i / width, local = i % width;
    const int part = part_of(n, first_column1, first_column2, first_column3),
              rank = pick(part, rank0, rank1, rank2, rank3);
    float* grad = pick(part, grad0, grad1, grad2, grad3);
    if (n >= N || local >= rank || !grad) continue;
    grad[(i64)(n - pick(part, 0, first_column1, first_column2, first_column3)) * rank + local] +=
        pick(part, factor0, factor1, factor2, factor3) * sum_of_splits(partial + i, splits, (i64)N * width);
  }
}

/**
 * Table entries of 8 words: target address (2), first value, rows, columns, target stride, factor bits, first block.
 * Launch: grid [Σ ceil(elements of an entry/4096)].
 */
KERNEL __launch_bounds__(256) lora_refresh(const float* values, const int* table, int entries) {
  int low = 0, high = entries;  // the last entry whose first block is not past this one
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table[middle * 8 + 7] <= (int)blockIdx.x)
      low = middle;
    else
      high = middle;
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
