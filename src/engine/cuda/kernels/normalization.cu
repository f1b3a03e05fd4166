// RMSNorm by row with the residual addition before it. One block a row; a row stays in registers between the passes.
// Launch: grid [rows], block min(1024, 32·ceil(columns/256)).

#define MAX_VECTORS 2  // 8 elements each, by at most 1024 threads: 16384 columns

/** sum = bf16(x + residual); y = bf16(bf16(sum·rstd)·weight), as transformers rounds it. */
KERNEL __launch_bounds__(1024) rms_norm_forward(bf16* y, bf16* NULLABLE sum, float* NULLABLE rstd, const bf16* x,
                                                const bf16* NULLABLE residual, const bf16* weight, int rows,
                                                int columns, int ldy, int ldsum, int ldx, int ldresidual, float eps) {
  const int row = blockIdx.x;
  x = row_of(x, row, ldx);
  if (residual) residual = row_of(residual, row, ldresidual);
  uint4 held[MAX_VECTORS], more[MAX_VECTORS];
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < MAX_VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    held[i] = c < columns ? load8(x, c, columns) : zero16();
    more[i] = residual && c < columns ? load8(residual, c, columns) : zero16();
  }
  if (residual) {
#pragma unroll
    for (int i = 0; i < MAX_VECTORS; i++) {
      float a[8], b[8];
      unpack8(held[i], a);
      unpack8(more[i], b);
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
template <int VECTORS>
DEVICE void rms_norm_backward(bf16* dx, const bf16* dy, const bf16* direct, const bf16* s, const float* rstd,
                              const bf16* weight, int columns, int lddx, int lddy, int lddirect, int lds) {
  const int row = blockIdx.x;
  dy = row_of(dy, row, lddy);
  s = row_of(s, row, lds);
  dx = row_of(dx, row, lddx);
  if (direct) direct = row_of(direct, row, lddirect);
  uint4 held_gradient[VECTORS], held_sum[VECTORS], held_direct[VECTORS], held_weight[VECTORS];
  float products = 0.0f;
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    held_gradient[i] = held_sum[i] = held_direct[i] = held_weight[i] = zero16();
    if (c >= columns) continue;
    held_gradient[i] = load8(dy, c, columns);
    held_sum[i] = load8(s, c, columns);
    if (direct) held_direct[i] = load8(direct, c, columns);
    held_weight[i] = load8(weight, c, columns);
  }
  const float scale = rstd[row];
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    float g[8], v[8], w[8];
    unpack8(held_gradient[i], g);
    unpack8(held_sum[i], v);
    unpack8(held_weight[i], w);
#pragma unroll
    for (int j = 0; j < 8; j++) products += g[j] * w[j] * v[j];
  }
  const float pull = block_sum(products) / (float)columns * scale * scale;
#pragma unroll
  for (int i = 0; i < VECTORS; i++) {
    const int c = (threadIdx.x + i * blockDim.x) * 8;
    if (c >= columns) continue;
    float g[8], v[8], w[8], d[8];
    unpack8(held_gradient[i], g);
    unpack8(held_sum[i], v);
    unpack8(held_weight[i], w);
    unpack8(held_direct[i], d);
#pragma unroll
    for (int j = 0; j < 8; j++) d[j] += scale * (g[j] * w[j] - v[j] * pull);
    store8(dx, c, columns, d);
  }
}

/** For as many columns: few vectors leave registers for other blocks beside this one. */
KERNEL __launch_bounds__(1024)
    rms_norm_backward_8192(bf16* dx, const bf16* dy, const bf16* NULLABLE direct, const bf16* s, const float* rstd,
                           const bf16* weight, int rows, int columns, int lddx, int lddy, int lddirect, int lds) {
  rms_norm_backward<1>(dx, dy, direct, s, rstd, weight, columns, lddx, lddy, lddirect, lds);
}
KERNEL __launch_bounds__(1024)
    rms_norm_backward_16384(bf16* dx, const bf16* dy, const bf16* NULLABLE direct, const bf16* s, const float* rstd,
                            const bf16* weight, int rows, int columns, int lddx, int lddy, int lddirect, int lds) {
  rms_norm_backward<2>(dx, dy, direct, s, rstd, weight, columns, lddx, lddy, lddirect, lds);
}
