// Prepended: common.cu, lora-helpers.cuh
// The low-rank path's products with x: u = dropout(x)·Aᵀ, and dx += mask⊙(du·A). Parts of a stacked layer own column
// ranges of u that start at 0, start1, start2, start3, multiples of 16. Bits are those of dropout.cu.

/**
 * Keep words of up to four parts, first .. last: lane t of each group of four reads the row and place that `at` gives
 * it (one word is 32 columns), so that a quarter of the loads does; `share_byte` hands a lane its own byte of lane i's
 * word.
 */
DEVICE void load_keeps(u32 (&words)[4], const u8* at, int first, int last, i64 stride) {
#pragma unroll
  for (int i = 0; i < 4; i++) words[i] = i == 0 || last > first ? *(const u32*)(at + min(first + i, last) * stride) : 0;
}
DEVICE u32 share_byte(u32 word, int i) {
  const int lane = threadIdx.x & 31;
  return (__shfl_sync(0xffffffffu, word, (lane & 28) | i) >> (8 * (lane & 3))) & 0xffu;
}

#define DOWN_WARPS 16

/**
 * 32 rows by 8·TILES columns of u a block; its warps take every 16th run of 32 columns of x. The order of the depths
 * within a run does not matter as long as both operands agree: lane t takes columns 8t .. 8t+7, one wide load.
 */
template <int TILES>
DEVICE void lora_down(bf16* u, bf16* saved, const bf16* x, const bf16* a, const u8* bits, int rows, int K, int E,
                      int ldu, int ldsaved, int ldx, int lda, int kb, int start1, int start2, int start3, float keep0,
                      float keep1, float keep2, float keep3) {
  // By registers: rows of A under way, and whether x is fetched a turn ahead.
  constexpr int batch = TILES > 4 ? 2 : TILES;
  constexpr bool is_ahead = TILES <= 4;
  __shared__ float partial[DOWN_WARPS][16][34];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int first_row = blockIdx.x * 32, first_e = blockIdx.y * TILES * 8;
  const int first_part = part_of(first_e, start1, start2, start3);
  const int last_part = part_of(min(first_e + TILES * 8, E) - 1, start1, start2, start3);
  int row[4];  // g, g+8 of both halves; rows past the end read the last one again
#pragma unroll
  for (int i = 0; i < 4; i++) row[i] = min(first_row + i * 8 + g, rows - 1);
  float sums[2][TILES][4] = {};
  const int last = last8(K);

  uint4 ahead[4];
  u32 ahead_keeps[4];
  const auto fetch = [&](int run) {
    const int at = min(run * 32 + t * 8, last);
#pragma unroll
    for (int i = 0; i < 4; i++) ahead[i] = load_once(row_of(x, row[i], ldx) + at);
    if (bits)
      load_keeps(ahead_keeps, bits + run * 4 + (i64)min(first_row + t * 8 + g, rows - 1) * kb, first_part, last_part,
                 (i64)rows * kb);
  };
  if (is_ahead && warp * 32 < K) fetch(warp);
#pragma unroll 1
  for (int run = warp; run * 32 < K; run += DOWN_WARPS) {
    const int c = run * 32 + t * 8;
    const int at = min(c, last);
    uint4 raw[4], kept[4], b[batch];
    u32 keeps[4];
    if (!is_ahead) fetch(run);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      raw[i] = ahead[i];
      keeps[i] = ahead_keeps[i];
    }
    if (is_ahead && (run + DOWN_WARPS) * 32 < K) fetch(run + DOWN_WARPS);
    if (run * 32 + 32 > K) {
#pragma unroll
      for (int i = 0; i < 4; i++) raw[i] = first8(raw[i], K - c);
    }
    int current = -1;
#pragma unroll
    for (int n = 0; n < TILES; n++) {
      if (n % batch == 0) {
#pragma unroll
        for (int i = 0; i < batch; i++) {
          b[i] = *(const uint4*)(row_of(a, min(first_e + (n + i) * 8, E - 8) + g, lda) + at);
        }
      }
      if (n % 2 == 0) {
        const int part = part_of(first_e + n * 8, start1, start2, start3);
        if (part != current) {
          current = part;
          const u32 word = pick(part - first_part, keeps[0], keeps[1], keeps[2], keeps[3]);
#pragma unroll
          for (int i = 0; i < 4; i++) kept[i] = bits ? keep8(raw[i], share_byte(word, i)) : raw[i];
        }
      }
#pragma unroll
      for (int m = 0; m < 2; m++) {
        multiply_add(sums[m][n], kept[2 * m].x, kept[2 * m + 1].x, kept[2 * m].y, kept[2 * m + 1].y, b[n % batch].x,
                     b[n % batch].y);
        multiply_add(sums[m][n], kept[2 * m].z, kept[2 * m + 1].z, kept[2 * m].w, kept[2 * m + 1].w, b[n % batch].z,
                     b[n % batch].w);
      }
    }
  }

  // Sum over the warps, 16 rows by 32 columns at a time, in the order of the warps.
#pragma unroll
  for (int m = 0; m < 2; m++) {
#pragma unroll
    for (int group = 0; group < TILES; group += 4) {
      __syncthreads();
#pragma unroll
      for (int n = group; n < group + 4 && n < TILES; n++) {
        const int at = (n - group) * 8 + t * 2;
        partial[warp][g][at] = sums[m][n][0];
        partial[warp][g][at + 1] = sums[m][n][1];
        partial[warp][g + 8][at] = sums[m][n][2];
        partial[warp][g + 8][at + 1] = sums[m][n][3];
      }
      __syncthreads();
      const int r = first_row + m * 16 + (threadIdx.x >> 5), e = first_e + group * 8 + lane;
      if (r >= rows || e >= E || group * 8 + lane >= TILES * 8) continue;
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < DOWN_WARPS; w++) sum += partial[w][threadIdx.x >> 5][lane];
      const bf16 value = to_bf16(sum * pick(part_of(e, start1, start2, start3), keep0, keep1, keep2, keep3));
      row_of(u, r, ldu)[e] = value;
      if (saved) row_of(saved, r, ldsaved)[e] = value;
    }
  }
}

/** Launch: grid [ceil(rows/32), ceil(E/W)], W = min(E, 64). */
#define LORA_DOWN(COLUMNS)                                                                                       \
  KERNEL __launch_bounds__(512)                                                                                  \
      lora_down_##COLUMNS(bf16* u, bf16* NULLABLE saved, const bf16* x, const bf16* a, const u8* NULLABLE bits,  \
                          int rows, int K, int E, int ldu, int ldsaved, int ldx, int lda, int kb, int start1,    \
                          int start2, int start3, float keep0, float keep1, float keep2, float keep3) {          \
    lora_down<COLUMNS / 8>(u, saved, x, a, bits, rows, K, E, ldu, ldsaved, ldx, lda, kb, start1, start2, start3, \
                           keep0, keep1, keep2, keep3);                                                          \
  }
LORA_DOWN(16)
LORA_DOWN(32)
LORA_DOWN(48)
LORA_DOWN(64)

/**
 * dx += Σ parts keep·mask⊙(du·A). 64 rows by 128 columns a block, 16 by 64 a warp. Columns of a run of 32 are permuted
 * on the way into shared memory (8t + 2j + i to 8j + 2t + i), so that a lane's results of four tiles are 8 neighbours.
 * Launch: grid [ceil(K/128), ceil(rows/64)].
 */
KERNEL __launch_bounds__(256, 2)
    lora_input_gradient(bf16* dx, const bf16* du, const bf16* a, const u8* NULLABLE bits, int rows, int K, int E,
                        int lddx, int lddu, int lda, int kb, int start1, int start2, int start3, float keep0,
                        float keep1, float keep2, float keep3) {
  __shared__ __align__(16) bf16 tile_a[64][136];  // [e][column]
  __shared__ __align__(16) bf16 tile_u[64][72];   // [row][e]
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int first_row = blockIdx.y * 64, first_column = blockIdx.x * 128;
  const int local_row = (warp & 3) * 16 + g, local_column = (warp >> 2) * 64;
  // Rows and columns past the end are read from the last ones: their results are not written.
  const int last = last8(K);
  uint4 held[2][2];  // [row g, g+8][run]
#pragma unroll
  for (int h = 0; h < 2; h++) {
#pragma unroll
    for (int run = 0; run < 2; run++) {
      const int r = min(first_row + local_row + h * 8, rows - 1), c = first_column + local_column + run * 32 + t * 8;
      held[h][run] = *(const uint4*)(row_of(dx, r, lddx) + min(c, last));
    }
  }
  u32 keeps[4];  // lane t reads row g + 8·(t / 2), run t % 2
  if (bits) {
    const int r = min(first_row + local_row + (t >> 1) * 8, rows - 1);
    const int byte = min((first_column + local_column) / 8 + (t & 1) * 4, kb - 4);
    load_keeps(keeps, bits + (i64)r * kb + byte, 0, part_of(E - 1, start1, start2, start3), (i64)rows * kb);
  }
  float total[8][4] = {}, sums[8][4] = {};
  for (int first_e = 0; first_e < E; first_e += 64) {
    const int width = min(64, E - first_e);
    __syncthreads();
    for (int i = threadIdx.x; i < width * 16; i += 256) {
      const int e = i / 16, c = i % 16 * 8;
      const uint4 v = *(const uint4*)(row_of(a, first_e + e, lda) + min(first_column + c, last));
      u32* to = (u32*)&tile_a[e][c / 32 * 32 + c % 32 / 8 * 2];
      to[0] = v.x;
      to[4] = v.y;
      to[8] = v.z;
      to[12] = v.w;
    }
    for (int i = threadIdx.x; i < 64 * (width / 8); i += 256) {
      const int r = i / (width / 8), e = i % (width / 8) * 8;
      *(uint4*)&tile_u[r][e] = *(const uint4*)(row_of(du, min(first_row + r, rows - 1), lddu) + first_e + e);
    }
    __syncthreads();
    for (int e = 0; e < width; e += 16) {
      const u32* low = (const u32*)&tile_u[local_row][e + t * 2];
      const u32* high = (const u32*)&tile_u[local_row + 8][e + t * 2];
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        u32 b[4];
        load_matrices_transposed(b, &tile_a[e + (lane & 15)][local_column + n * 8 + (lane >> 4) * 8]);
        multiply_add(sums[n], low[0], high[0], low[4], high[4], b[0], b[1]);
        multiply_add(sums[n + 1], low[0], high[0], low[4], high[4], b[2], b[3]);
      }
      const int part = part_of(first_e + e, start1, start2, start3);
      if (first_e + e + 16 < E && part_of(first_e + e + 16, start1, start2, start3) == part) continue;
      const float keep = pick(part, keep0, keep1, keep2, keep3);
#pragma unroll
      for (int h = 0; h < 2; h++) {
#pragma unroll
        for (int run = 0; run < 2; run++) {
          const u32 byte = bits ? share_byte(pick(part, keeps[0], keeps[1], keeps[2], keeps[3]), h * 2 + run) : 0xff;
#pragma unroll
          for (int j = 0; j < 8; j++) {
            float& sum = sums[run * 4 + j / 2][h * 2 + j % 2];
            if ((byte >> j) & 1) total[run * 4 + j / 2][h * 2 + j % 2] += sum * keep;
            sum = 0.0f;
          }
        }
      }
    }
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
#pragma unroll
    for (int run = 0; run < 2; run++) {
      const int r = first_row + local_row + h * 8, c = first_column + local_column + run * 32 + t * 8;
      if (r >= rows || c >= K) continue;
      float v[8];
      unpack8(held[h][run], v);
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] += total[run * 4 + j / 2][h * 2 + j % 2];
      store8(row_of(dx, r, lddx), c, K, v);
    }
  }
}
