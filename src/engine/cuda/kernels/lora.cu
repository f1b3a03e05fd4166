// Prepended: common.cu, lora-helpers.cuh, dropout-helpers.cuh
// The low-rank path's products with x: u = dropout(x)·Aᵀ, and dx += mask⊙(du·A). Parts of a stacked layer own column
// ranges of u that start at 0, start1, start2, start3, multiples of 16. The way down makes the masks, a bit an element,
// [part][row][kb bytes], bit i of byte b for column 8b + i, 1 = kept; backward reads them.

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

#define DOWN_ROWS 64

/** Shared place of vector v (8 columns) of a row of 64, so that the lanes of a load meet no bank twice. */
DEVICE int down_place(int row, int vector) { return row * 8 + (vector ^ ((row & 1) << 2)); }

/**
 * 64 rows by 8·TILES columns of u a block, over a range of columns of x, 64 at a time: a warp has 16 rows and 32
 * columns. The order of the depths within these 32 does not matter as long as both operands agree: lane t takes columns
 * 8t .. 8t+7, and makes the bits of just these. The last block of the same rows adds up the sums of the ranges.
 */
template <int TILES>
DEVICE void lora_down(bf16* u, bf16* saved, float* partial, u32* counters, const bf16* x, const bf16* a, u8* bits,
                      const u32* row_keys, int rows, int K, int E, int ldu, int ldsaved, int ldx, int lda, int kb,
                      int split_columns, int start1, int start2, int start3, u32 seed0, u32 seed1, u32 seed2, u32 seed3,
                      u32 threshold0, u32 threshold1, u32 threshold2, u32 threshold3, float keep0, float keep1,
                      float keep2, float keep3) {
  constexpr int stages = TILES > 6 ? 2 : TILES > 2 ? 3 : 4, lines = DOWN_ROWS + TILES * 8, width = TILES * 8;
  __shared__ uint4 tiles[stages][lines * 8];  // rows of x, then those of A
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int first_row = blockIdx.x * DOWN_ROWS, first_e = blockIdx.y * width;
  const int begin = blockIdx.z * split_columns, end = min(K, begin + split_columns), last = last8(K);
  const int local_row = (warp & 3) * 16 + g, vector = (warp >> 2) * 4 + t;

  // Rows past the end are the last one again; columns past the end are zeros.
  const auto fetch = [&](int stage, int first) {
#pragma unroll
    for (int i = 0; i < (lines * 8 + 255) / 256; i++) {
      const int at = threadIdx.x + i * 256, line = at >> 3, c = first + (at & 7) * 8;
      if (lines * 8 % 256 != 0 && at >= lines * 8) break;
      const bf16* from = line < DOWN_ROWS ? row_of(x, min(first_row + line, rows - 1), ldx)
                                          : row_of(a, min(first_e + line - DOWN_ROWS, E - 1), lda);
      copy_16_bytes(&tiles[stage][down_place(line, at & 7)], from + min(c, last), c < K);
    }
  };
#pragma unroll
  for (int i = 0; i < stages - 1; i++) {
    if (begin + i * 64 < end) fetch(i, begin + i * 64);
    close_copy_group();
  }
  RowHash hashes[TILES / 2][2];  // by 16 columns of u; rows g, g+8
  if (row_keys) {
#pragma unroll
    for (int k = 0; k < TILES / 2; k++) {
      const u32 seed = pick(part_of(first_e + k * 16, start1, start2, start3), seed0, seed1, seed2, seed3);
#pragma unroll
      for (int h = 0; h < 2; h++) hashes[k][h] = row_hash(row_keys[min(first_row + local_row + h * 8, rows - 1)], seed);
    }
  }

  float sums[TILES][4] = {};
  int stage = 0;
#pragma unroll 1
  for (int first = begin; first < end; first += 64) {
    wait_copy_groups<stages - 2>();
    __syncthreads();
    const int ahead = first + (stages - 1) * 64;
    if (ahead < end) fetch(stage == 0 ? stages - 1 : stage - 1, ahead);
    close_copy_group();
    const uint4* tile = tiles[stage];
    const int c = first + vector * 8;
    uint4 raw[2], kept[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      raw[h] = tile[down_place(local_row + h * 8, vector)];
      if (first + 64 > K) raw[h] = first8(raw[h], K - c);
      kept[h] = raw[h];
    }
    int current = -1;
#pragma unroll
    for (int n = 0; n < TILES; n++) {
      const int part = part_of(first_e + n * 8, start1, start2, start3);
      if (n % 2 == 0 && row_keys && part != current && first_e + n * 8 < E) {
        current = part;
        const u32 threshold = pick(part, threshold0, threshold1, threshold2, threshold3);
#pragma unroll
        for (int h = 0; h < 2; h++) {
          u32 byte = keep_byte(hashes[n / 2][h], c, threshold);
          kept[h] = keep8(raw[h], byte);
          const int r = first_row + local_row + h * 8;
          if (c + 8 > K) byte &= c < K ? (1u << (K - c)) - 1 : 0;
          if (bits && r < rows && c / 8 < kb) bits[((i64)part * rows + r) * kb + c / 8] = (u8)byte;
        }
      }
      const uint4 b = tile[down_place(DOWN_ROWS + n * 8 + g, vector)];
      multiply_add(sums[n], kept[0].x, kept[1].x, kept[0].y, kept[1].y, b.x, b.y);
      multiply_add(sums[n], kept[0].z, kept[1].z, kept[0].w, kept[1].w, b.z, b.w);
    }
    stage = stage == stages - 1 ? 0 : stage + 1;
  }

  // Both halves of the columns, then all ranges.
  wait_copy_groups<0>();
  __syncthreads();
  float* exchange = (float*)tiles + (warp & 3) * TILES * 4 * 32 + lane;
  if (warp >= 4) {
#pragma unroll
    for (int i = 0; i < TILES * 4; i++) exchange[i * 32] = sums[i / 4][i % 4];
  }
  __syncthreads();
  const auto keep_of = [&](int e) { return pick(part_of(e, start1, start2, start3), keep0, keep1, keep2, keep3); };
  const bool is_whole = gridDim.z == 1;
  if (warp < 4) {
#pragma unroll
    for (int i = 0; i < TILES * 2; i++) {  // column pairs of rows g, g+8
      const int r = first_row + local_row + i % 2 * 8, e = first_e + i / 2 * 8 + t * 2;
      if (r >= rows || e >= E) continue;
      const float low = sums[i / 2][i % 2 * 2] + exchange[i * 64],
                  high = sums[i / 2][i % 2 * 2 + 1] + exchange[i * 64 + 32];
      if (is_whole) {
        const float keep = keep_of(e);
        const u32 pair = pack_bf16(low * keep, high * keep);
        *(u32*)(row_of(u, r, ldu) + e) = pair;
        if (saved) *(u32*)(row_of(saved, r, ldsaved) + e) = pair;
      } else {
        *(float2*)(partial + ((i64)blockIdx.z * rows + r) * E + e) = make_float2(low, high);
      }
    }
  }
  if (is_whole || !is_last_block(counters + blockIdx.y * gridDim.x + blockIdx.x, gridDim.z)) return;
#pragma unroll
  for (int i = 0; i < DOWN_ROWS * width / 4 / 256; i++) {
    const int at = threadIdx.x + i * 256, r = first_row + at / (width / 4), e = first_e + at % (width / 4) * 4;
    if (r >= rows || e >= E) continue;
    const float* from = partial + (i64)r * E + e;
    float4 sum = load_fresh(from);
#pragma unroll 4
    for (int split = 1; split < (int)gridDim.z; split++) {
      const float4 more = load_fresh(from + (i64)split * rows * E);
      sum = make_float4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);
    }
    const float keep = keep_of(e);
    const uint2 packed = make_uint2(pack_bf16(sum.x * keep, sum.y * keep), pack_bf16(sum.z * keep, sum.w * keep));
    *(uint2*)(row_of(u, r, ldu) + e) = packed;
    if (saved) *(uint2*)(row_of(saved, r, ldsaved) + e) = packed;
  }
}

/** Launch: grid [ceil(rows/64), ceil(E/W), splits], W = min(E, 64). */
#define LORA_DOWN(COLUMNS)                                                                                             \
  KERNEL __launch_bounds__(256, 3) lora_down_##COLUMNS(                                                                \
      bf16* u, bf16* NULLABLE saved, float* NULLABLE partial, u32* NULLABLE counters, const bf16* x, const bf16* a,    \
      u8* NULLABLE bits, const u32* NULLABLE row_keys, int rows, int K, int E, int ldu, int ldsaved, int ldx, int lda, \
      int kb, int split_columns, int start1, int start2, int start3, u32 seed0, u32 seed1, u32 seed2, u32 seed3,       \
      u32 threshold0, u32 threshold1, u32 threshold2, u32 threshold3, float keep0, float keep1, float keep2,           \
      float keep3) {                                                                                                   \
    lora_down<COLUMNS / 8>(u, saved, partial, counters, x, a, bits, row_keys, rows, K, E, ldu, ldsaved, ldx, lda, kb,  \
                           split_columns, start1, start2, start3, seed0, seed1, seed2, seed3, threshold0, threshold1,  \
                           threshold2, threshold3, keep0, keep1, keep2, keep3);                                        \
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
