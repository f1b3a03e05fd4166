// RMSNorm by row with the residual addition before it. One block a row; a row stays in registers between the passes.
// Launch: grid [rows], block min(512, 32·ceil(columns/512)).

#define MAX_VECTORS 4  // 8 elements each, by at most 512 threads: 16384 columns

/** sum = bf16(x + residual); y = bf16(bf16(sum·rstd)·weight), as transformers rounds it. */
KERNEL __launch_bounds__(512) rms_norm_forward(bf16* y, bf16* NULLABLE sum, float* NULLABLE rstd, const bf16* x,
                                               const bf16* NULLABLE residual, const bf16* weight, int rows, int columns,
                                               int ldy, int ldsum, int ldx, int ldresidual, float eps) {
  const int row = blockIdx.x;
  x = row_of(x, row, ldx);
  uint4 held[MAX_VECTORS];
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < MAX_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    held[i] = c < columns ? load8(x, c, columns) : zero16();
  }
  if (residual) {
    residual = row_of(residual, row, ldresidual);
#pragma unroll
    for (int i = 0; i < MAX_VECTORS; i++) {
      const int c = (threadIdx.x + i * blockDim.x) * 8;
      if (c >= columns) continue;
      float a[8], b[8];
      unpack8(held[i], a);
      load8(residual, c, columns, b);
#pragma unroll
      for (int j = 0; j < 8; j++) a[j] += b[j];
      held[i] = pack8(a);
    }
  }
  if (sum) sum = row_of(sum, row, ldsum);
#pragma unroll
  for (int i = 0; i < MAX_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    if (sum) store8(sum, c, columns, held[i]);
    float s[8];
    unpack8(held[i], s);
#pragma unroll
    for (int j = 0; j < 8; j++) squares += s[j] * s[j];
  }
  const float scale = rsqrtf(block_sum(squares) / (float)columns + eps);
  if (rstd && threadIdx.x == 0) rstd[row] = scale;
  y = row_of(y, row, ldy);
#pragma unroll
  for (int i = 0; i < MAX_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    float s[8], w[8];
    unpack8(held[i], s);
    load8(weight, c, columns, w);
#pragma unroll
    for (int j = 0; j < 8; j++) s[j] = round_bf16(s[j] * scale) * w[j];
    store8(y, c, columns, s);
  }
}

/** With g = dy·weight: dx = rstd·(g - s·rstd²·mean(g·s)) + direct. */
KERNEL __launch_bounds__(512)
    rms_norm_backward(bf16* dx, const bf16* dy, const bf16* NULLABLE direct, const bf16* s, const float* rstd,
                      const bf16* weight, int rows, int columns, int lddx, int lddy, int lddirect, int lds) {
  const int row = blockIdx.x;
  dy = row_of(dy, row, lddy);
  s = row_of(s, row, lds);
  uint4 held_gradient[MAX_VECTORS], held_sum[MAX_VECTORS];
  float products = 0.0f;
#pragma unroll
  for (int i = 0; i < MAX_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    held_gradient[i] = c < columns ? load8(dy, c, columns) : zero16();
    held_sum[i] = c < columns ? load8(s, c, columns) : zero16();
  }
#pragma unroll
  for (int i = 0; i < MAX_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    float g[8], v[8], w[8];
    unpack8(held_gradient[i], g);
    unpack8(held_sum[i], v);
    load8(weight, c, columns, w);
#pragma unroll
    for (int j = 0; j < 8; j++) products += g[j] * w[j] * v[j];
  }
  const float scale = rstd[row];
  const float pull = block_sum(products) / (float)columns * scale * scale;
  dx = row_of(dx, row, lddx);
  if (direct) direct = row_of(direct, row, lddirect);
#pragma unroll
  for (int i = 0; i < MAX_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    float g[8], v[8], w[8], d[8];
    unpack8(held_gradient[i], g);
    unpack8(held_sum[i], v);
    load8(weight, c, columns, w);
    unpack8(direct ? load8(direct, c, columns) : zero16(), d);
#pragma unroll
    for (int j = 0; j < 8; j++) d[j] += scale * (g[j] * w[j] - v[j] * pull);
    store8(dx, c, columns, d);
  }
}
