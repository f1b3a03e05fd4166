// Shared by products with a few rows of x, for all weight formats.

#define LOW_SPLITS 4  // u = x·Aᵀ is split along K, a thread block per part

/** RMS norm of the single row of x, fused before the product. */
struct RowNorm {
  bf16* sum;
  const bf16* residual;
  const bf16* weight;
  float eps;
};

/**
 * normed = bf16(bf16(s·rstd)·weight) with s = bf16(x + residual), as rms_norm_forward rounds it; zeros up to a multiple
 * of 8.
 */
template <int THREADS>
DEVICE void normalize_row(bf16* normed, const bf16* x, const RowNorm& norm, int columns, bool writes_sum) {
  constexpr int batch = 640 / THREADS, stride = THREADS * 8;  // 16-byte loads under way at once
  uint4 weights[batch];
  auto load_weights = [&](int from) {
#pragma unroll
    for (int i = 0; i < batch; i++)
      weights[i] = from + i * stride < columns ? load8(norm.weight, from + i * stride, columns) : zero16();
  };
  const int own = threadIdx.x * 8;
  float squares = 0.0f;
  for (int from = own; from < columns; from += batch * stride) {
    uint4 held[batch], added[batch];
#pragma unroll
    for (int i = 0; i < batch; i++) {
      const int c = from + i * stride;
      held[i] = c < columns ? load8(x, c, columns) : zero16();
      added[i] = norm.residual && c < columns ? load8(norm.residual, c, columns) : zero16();
    }
#pragma unroll
    for (int i = 0; i < batch; i++) {
      const int c = from + i * stride;
      if (c >= columns) continue;
      float s[8], r[8];
      unpack8(held[i], s);
      unpack8(added[i], r);
#pragma unroll
      for (int j = 0; j < 8; j++) s[j] = round_bf16(s[j] + r[j]);
#pragma unroll
      for (int j = 0; j < 8; j++) squares += s[j] * s[j];
      const uint4 packed = pack8(s);
      *(uint4*)(normed + c) = packed;
      if (writes_sum) store8(norm.sum, c, columns, packed);
    }
  }
  load_weights(own);
  const float scale = rsqrtf(block_sum(squares) / (float)columns + norm.eps);
  for (int from = own; from < columns; from += batch * stride) {
    if (from > own) load_weights(from);
#pragma unroll
    for (int i = 0; i < batch; i++) {
      const int c = from + i * stride;
      if (c >= columns) continue;
      float s[8], w[8];
      unpack8(*(const uint4*)(normed + c), s);
      unpack8(weights[i], w);
#pragma unroll
      for (int j = 0; j < 8; j++) s[j] = round_bf16(s[j] * scale) * w[j];
      *(uint4*)(normed + c) = pack8(s);
    }
  }
  __syncthreads();
}
