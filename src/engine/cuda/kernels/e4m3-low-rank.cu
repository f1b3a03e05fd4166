// Prepended: common.cu, e4m3-helpers.cuh
// The low-rank parts of e4m3 products: what the product of codes lacks, taken where its operand is quantised.

/**
 * out [R, 2·n] = b [2·n, ...]ᵀ of two stacked parts: row e of the columns of part i is b's column i·R + e.
 * Launch: grid [ceil(2·n/256)].
 */
#define TRANSPOSE_LOW_RANK(R)                                                                      \
  KERNEL __launch_bounds__(256) transpose_low_rank_##R(bf16* out, const bf16* b, int n, int ldb) { \
    const int row = blockIdx.x * 256 + threadIdx.x;                                                \
    if (row >= 2 * n) return;                                                                      \
    const bf16* from = row_of(b, row, ldb) + (row < n ? 0 : R);                                    \
    _Pragma("unroll") for (int e = 0; e < R; e += 8) {                                             \
      const uint4 v = *(const uint4*)(from + e);                                                   \
      const u32 words[4] = {v.x, v.y, v.z, v.w};                                                   \
      _Pragma("unroll") for (int j = 0; j < 8; j++) {                                              \
        out[(e + j) * 2 * n + row] = (bf16)(words[j / 2] >> (16 * (j % 2)));                       \
      }                                                                                            \
    }                                                                                              \
  }
TRANSPOSE_LOW_RANK(16)
TRANSPOSE_LOW_RANK(32)

#define LOW_WARPS 8

/**
 * A block has 16 rows of one part; its warps take every 8th run of 64 columns. The order of the depths within a run
 * does not matter as long as both operands agree: lane t takes columns 8t .. 8t+7 of either half, one wide load each.
 */
template <int TILES>
DEVICE void quantize_low_rank(u8* codes, float* scales, bf16* du, const bf16* x, const float* factors, const u32* most,
                              const bf16* b, int rows, int n, int ldcodes, int lddu, int ldx) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890  // cards with e4m3 products
  __shared__ float partial[LOW_WARPS][16][8 * TILES + 2];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  int row[2];  // g and g + 8; past the end it is the last row, again
  float inverse[2];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    row[i] = min((int)blockIdx.x * 16 + i * 8 + g, rows - 1);
    inverse[i] = __fdiv_rn(E4M3_MAX, fmaxf(__uint_as_float(most[row[i]]), LEAST_AMAX));
  }
  const int part = blockIdx.y;
  float sums[TILES][4] = {};
  uint4 ahead[2][2];
  const auto fetch = [&](int half, int run) {
    const int c = run * 64 + half * 32 + t * 8;
#pragma unroll
    for (int i = 0; i < 2; i++) ahead[half][i] = c < n ? load_once(row_of(x, row[i], ldx) + part * n + c) : zero16();
  };
  fetch(0, warp);
  fetch(1, warp);
#pragma unroll 1
  for (int run = warp; run * 64 < n; run += LOW_WARPS) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int c = run * 64 + half * 32 + t * 8, column = part * n + c;
      const uint4 held[2] = {ahead[half][0], ahead[half][1]};
      uint4 v[TILES];
      const int from = g * 2 * n + part * n + min(c, n - 8);
#pragma unroll
      for (int tile = 0; tile < TILES; tile++) v[tile] = *(const uint4*)(b + (from + tile * 16 * n));
      const float4 low = *(const float4*)(factors + part * n + min(c, n - 8)),
                   high = *(const float4*)(factors + part * n + min(c, n - 8) + 4);
      fetch(half, run + LOW_WARPS);
#pragma unroll
      for (int tile = 0; tile < TILES; tile++) {
        multiply_add(sums[tile], held[0].x, held[1].x, held[0].y, held[1].y, v[tile].x, v[tile].y);
        multiply_add(sums[tile], held[0].z, held[1].z, held[0].w, held[1].w, v[tile].z, v[tile].w);
      }
#pragma unroll
      for (int i = 0; i < 2; i++) {
        if (c >= n) continue;
        float scaled[8];
        unpack8(held[i], scaled);
        scaled[0] *= low.x, scaled[1] *= low.y, scaled[2] *= low.z, scaled[3] *= low.w;
        scaled[4] *= high.x, scaled[5] *= high.y, scaled[6] *= high.z, scaled[7] *= high.w;
        store_e4m3(row_of(codes, row[i], ldcodes) + column, scaled, inverse[i]);
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
    for (int i = 0; i < 4; i++) partial[warp][g + i / 2 * 8][tile * 8 + t * 2 + i % 2] = sums[tile][i];
  }
  __syncthreads();
  // In the order of the warps.
  for (int i = threadIdx.x; i < 16 * 8 * TILES; i += 32 * LOW_WARPS) {
    const int local = i / (8 * TILES), e = i % (8 * TILES), r = blockIdx.x * 16 + local;
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < LOW_WARPS; w++) sum += partial[w][local][e];
    if (r < rows) row_of(du, r, lddu)[part * 8 * TILES + e] = to_bf16(sum);
  }
  const int r = blockIdx.x * 16 + threadIdx.x;
  if (part == 0 && threadIdx.x < 16 && r < rows)
    scales[r] = __fdiv_rn(fmaxf(__uint_as_float(most[r]), LEAST_AMAX), E4M3_MAX);
#endif
}

/**
 * For x [T, 2·n], the gradient of two stacked parts: codes of x ⊙ factors with a scale per row, computed from `most`
 * (bits of the largest magnitude of each row), and du [T, 2·R] = x·b, b [R, 2·n] of transpose_low_rank.
 * Launch: grid [ceil(rows/16), 2].
 */
#define QUANTIZE_LOW_RANK(R)                                                                                          \
  KERNEL __launch_bounds__(256, 3)                                                                                    \
      quantize_low_rank_##R(u8* codes, float* scales, bf16* du, const bf16* x, const float* factors, const u32* most, \
                            const bf16* b, int rows, int n, int ldcodes, int lddu, int ldx) {                         \
    quantize_low_rank<R / 8>(codes, scales, du, x, factors, most, b, rows, n, ldcodes, lddu, ldx);                    \
  }
QUANTIZE_LOW_RANK(16)
QUANTIZE_LOW_RANK(32)

/**
 * A block has 8 rows, which are the columns of the products' right operand; a warp takes every 8th run of 32 columns,
 * lane (g, t) columns 8t .. 8t+7 of row g. On the left is bᵀ: lane g has columns 2·TILES·g .. of b, of which the even
 * ones are rows g of its tiles and the odd ones rows g + 8. The second pass finds x in the caches.
 */
template <int TILES>
DEVICE void quantize_adapted(u8* codes, float* scales, bf16* du, const bf16* x, const float* factors, const bf16* b,
                             int rows, int columns, int ldcodes, int lddu, int ldx, int ldb) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890
  constexpr int width = 16 * TILES;
  __shared__ float partial[LOW_WARPS][8][width + 1];
  __shared__ float largest[LOW_WARPS][8];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int first = blockIdx.x * 8;
  const bf16* own = row_of(x, min(first + g, rows - 1), ldx);
  float sums[TILES][4] = {}, amax = 0.0f;
#pragma unroll 2
  for (int run = warp * 32; run < columns; run += LOW_WARPS * 32) {
    const int c = run + t * 8, from = min(c, columns - 8);
    const uint4 held = c < columns ? *(const uint4*)(own + from) : zero16();
    amax = largest8(held, factors, from, amax);
    const u32 right[4] = {held.x, held.y, held.z, held.w};
#pragma unroll
    for (int half = 0; half < 2; half++) {
      u32 v[4][TILES];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const u32* at = (const u32*)row_of(b, from + half * 4 + i, ldb) + g * TILES;
        if (TILES == 2) {
          const uint2 words = *(const uint2*)at;
          v[i][0] = words.x, v[i][TILES - 1] = words.y;
        } else {
          v[i][0] = *at;
        }
      }
#pragma unroll
      for (int tile = 0; tile < TILES; tile++) {
        multiply_add(sums[tile], permute_bytes(v[0][tile], v[1][tile], 0x5410),
                     permute_bytes(v[0][tile], v[1][tile], 0x7632), permute_bytes(v[2][tile], v[3][tile], 0x5410),
                     permute_bytes(v[2][tile], v[3][tile], 0x7632), right[half * 2], right[half * 2 + 1]);
      }
    }
  }
  amax = fmaxf(amax, __shfl_xor_sync(0xffffffffu, amax, 1));
  amax = fmaxf(amax, __shfl_xor_sync(0xffffffffu, amax, 2));
  if (t == 0) largest[warp][g] = amax;
#pragma unroll
  for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
    for (int i = 0; i < 4; i++) partial[warp][t * 2 + i % 2][(g * TILES + tile) * 2 + i / 2] = sums[tile][i];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 8 * width; i += 32 * LOW_WARPS) {
    const int local = i / width, e = i % width;
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < LOW_WARPS; w++) sum += partial[w][local][e];
    if (first + local < rows) row_of(du, first + local, lddu)[e] = to_bf16(sum);
  }
  const int row = first + warp;
  if (row >= rows) return;
  amax = LEAST_AMAX;
#pragma unroll
  for (int w = 0; w < LOW_WARPS; w++) amax = fmaxf(amax, largest[w][warp]);
  if (lane == 0) scales[row] = __fdiv_rn(amax, E4M3_MAX);
  const float inverse = __fdiv_rn(E4M3_MAX, amax);
  x = row_of(x, row, ldx), codes = row_of(codes, row, ldcodes);
#pragma unroll 4
  for (int c = lane * 8; c < columns; c += 256) quantize8(codes, *(const uint4*)(x + c), factors, c, inverse);
#endif
}

/**
 * codes [T, columns] of x ⊙ factors with a scale per row, as in quantize_e4m3, and du [T, E] = x·b, b [columns, E].
 * Launch: grid [ceil(rows/8)].
 */
#define QUANTIZE_ADAPTED(E)                                                                                  \
  KERNEL __launch_bounds__(256, 3)                                                                           \
      quantize_adapted_##E(u8* codes, float* scales, bf16* du, const bf16* x, const float* NULLABLE factors, \
                           const bf16* b, int rows, int columns, int ldcodes, int lddu, int ldx, int ldb) {  \
    quantize_adapted<E / 16>(codes, scales, du, x, factors, b, rows, columns, ldcodes, lddu, ldx, ldb);      \
  }
QUANTIZE_ADAPTED(16)
QUANTIZE_ADAPTED(32)

/**
 * A warp has 64 rows by 32 columns. The order of the depths does not matter as long as both operands agree; column n of
 * tile j is the one that makes lane t's results columns 8t .. 8t+7.
 */
template <int DEPTHS>
DEVICE void low_rank_up(bf16* y, const bf16* u, const bf16* b, int rows, int columns, int ldy, int ldu, int ldb) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900  // cards with row scales
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int group = blockIdx.x * 256 + warp * 32, c = group + t * 8;
  if (group >= columns) return;
  uint2 right[4][DEPTHS];
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const uint2* from = (const uint2*)row_of(b, min(group + (g >> 1) * 8 + j * 2 + (g & 1), columns - 1), ldb) + t;
#pragma unroll
    for (int k = 0; k < DEPTHS; k++) right[j][k] = from[k * 4];
  }
#pragma unroll
  for (int tile = 0; tile < 4; tile++) {
    const int row = blockIdx.y * 64 + tile * 16 + g;
    const uint2 *low = (const uint2*)row_of(u, min(row, rows - 1), ldu) + t,
                *high = (const uint2*)row_of(u, min(row + 8, rows - 1), ldu) + t;
    float sums[4][4] = {};
#pragma unroll
    for (int k = 0; k < DEPTHS; k++) {
      const uint2 p = low[k * 4], q = high[k * 4];
#pragma unroll
      for (int j = 0; j < 4; j++) multiply_add(sums[j], p.x, q.x, p.y, q.y, right[j][k].x, right[j][k].y);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
      float v[8];
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] = sums[j / 2][i * 2 + j % 2];
      if (row + i * 8 < rows && c < columns) *(uint4*)(row_of(y, row + i * 8, ldy) + c) = pack8(v);
    }
  }
#endif
}

/**
 * y [T, columns] = u·bᵀ, u [T, E], b [columns, E]. columns: a multiple of 8.
 * Launch: grid [ceil(columns/256), ceil(rows/64)].
 */
#define LOW_RANK_UP(E)                                                                                           \
  KERNEL __launch_bounds__(256)                                                                                  \
      low_rank_up_##E(bf16* y, const bf16* u, const bf16* b, int rows, int columns, int ldy, int ldu, int ldb) { \
    low_rank_up<E / 16>(y, u, b, rows, columns, ldy, ldu, ldb);                                                  \
  }
LOW_RANK_UP(16)
LOW_RANK_UP(32)
LOW_RANK_UP(64)
