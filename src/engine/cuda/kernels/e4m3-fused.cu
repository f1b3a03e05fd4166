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
