// Prepended: common.cu, e4m3-helpers.cuh
// Kernels that quantise to e4m3 what they compute, or compute something else from what they quantise. Codes, scales and
// other outputs have the same bits as those of the separate kernels.

/** out = activation(gate) ⊙ up as in gated_activation_forward, and its codes. columns <= 4096·VECTORS. */
template <int VECTORS>
DEVICE void quantize_gated_row(bf16* out, u8* codes, float* scales, const bf16* gate, const bf16* up, int columns,
                               int kind) {
  uint4 held[VECTORS];
  float amax = 0.0f;
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    float g[8], u[8];
    unpack8(load_once(gate + c), g);
    unpack8(load_once(up + c), u);
#define CALL(KIND) gated_forward<KIND>(g, u)
    BY_KIND(CALL)
#undef CALL
    held[i] = pack8(g);
    *(uint4*)(out + c) = held[i];
    amax = largest8(held[i], nullptr, c, amax);
  }
  amax = fmaxf(block_max(amax), LEAST_AMAX);
  if (threadIdx.x == 0) *scales = __fdiv_rn(amax, E4M3_MAX);
  const float inverse = __fdiv_rn(E4M3_MAX, amax);
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c < columns) quantize8(codes, held[i], nullptr, c, inverse);
  }
}

/**
 * gated_activation_forward with the codes of out and a scale per row. columns <= 4096·W.
 * Launch: grid [rows], block min(512, 32·ceil(columns/(256·W))).
 */
#define GATED_ACTIVATION_E4M3(W)                                                                                       \
  KERNEL __launch_bounds__(512)                                                                                        \
      gated_activation_e4m3_##W(bf16* out, u8* codes, float* scales, const bf16* gate, const bf16* up, int rows,       \
                                int columns, int ldo, int ldcodes, int ldgate, int ldup, int kind) {                   \
    const int row = blockIdx.x;                                                                                        \
    quantize_gated_row<W>(row_of(out, row, ldo), row_of(codes, row, ldcodes), scales + row, row_of(gate, row, ldgate), \
                          row_of(up, row, ldup), columns, kind);                                                       \
  }
GATED_ACTIVATION_E4M3(2)
GATED_ACTIVATION_E4M3(4)
GATED_ACTIVATION_E4M3(8)

#define NORM_VECTORS 4  // 8 elements each, by at most 512 threads: 16384 columns

/**
 * rms_norm_forward with the codes of y and a scale per row. columns: a multiple of 16.
 * Launch: grid [rows], block min(512, 32·ceil(columns/512)).
 */
KERNEL __launch_bounds__(512)
    rms_norm_e4m3(bf16* y, u8* codes, float* scales, bf16* NULLABLE sum, float* NULLABLE rstd, const bf16* x,
                  const bf16* NULLABLE residual, const bf16* weight, int rows, int columns, int ldy, int ldcodes,
                  int ldsum, int ldx, int ldresidual, float eps) {
  const int row = blockIdx.x;
  x = row_of(x, row, ldx);
  uint4 held[NORM_VECTORS];
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < NORM_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    held[i] = c < columns ? *(const uint4*)(x + c) : zero16();
  }
  if (residual) {
    residual = row_of(residual, row, ldresidual);
#pragma unroll
    for (int i = 0; i < NORM_VECTORS; i++) {
      const int c = (threadIdx.x + i * blockDim.x) * 8;
      if (c >= columns) continue;
      float a[8], b[8];
      unpack8(held[i], a);
      unpack8(*(const uint4*)(residual + c), b);
#pragma unroll
      for (int j = 0; j < 8; j++) a[j] += b[j];
      held[i] = pack8(a);
    }
  }
  if (sum) sum = row_of(sum, row, ldsum);
#pragma unroll
  for (int i = 0; i < NORM_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    if (sum) *(uint4*)(sum + c) = held[i];
    float s[8];
    unpack8(held[i], s);
#pragma unroll
    for (int j = 0; j < 8; j++) squares += s[j] * s[j];
  }
  const float scale = rsqrtf(block_sum(squares) / (float)columns + eps);
  if (rstd && threadIdx.x == 0) rstd[row] = scale;
  y = row_of(y, row, ldy);
  float amax = 0.0f;
#pragma unroll
  for (int i = 0; i < NORM_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    float s[8], w[8];
    unpack8(held[i], s);
    unpack8(*(const uint4*)(weight + c), w);
#pragma unroll
    for (int j = 0; j < 8; j++) s[j] = round_bf16(s[j] * scale) * w[j];
    held[i] = pack8(s);
    *(uint4*)(y + c) = held[i];
    amax = largest8(held[i], nullptr, c, amax);
  }
  amax = fmaxf(block_max(amax), LEAST_AMAX);
  if (threadIdx.x == 0) scales[row] = __fdiv_rn(amax, E4M3_MAX);
  const float inverse = __fdiv_rn(E4M3_MAX, amax);
  codes = row_of(codes, row, ldcodes);
#pragma unroll
  for (int i = 0; i < NORM_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c < columns) quantize8(codes, held[i], nullptr, c, inverse);
  }
}

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
