// Cross-entropy over a vocabulary that comes in chunks of logits [rows, n]: a running maximum and sum of exponentials
// by row, then the loss, then the gradient of a chunk. Logits are bf16 (kind 0) or fp32 (kind 1).
// Launch: grid [rows].

#define LOWEST -3.0e38f

template <class L>
DEVICE void load_logits(const L* row, int c, int n, float (&v)[8]);
template <>
DEVICE void load_logits<bf16>(const bf16* row, int c, int n, float (&v)[8]) {
  load8(row, c, n, v);
}
template <>
DEVICE void load_logits<float>(const float* row, int c, int n, float (&v)[8]) {
  if (c + 8 <= n) {
    *(float4*)v = *(const float4*)(row + c);
    *(float4*)(v + 4) = *(const float4*)(row + c + 4);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = c + i < n ? row[c + i] : 0.0f;
  }
}
DEVICE float logit_at(const bf16* row, int c) { return from_bf16(row[c]); }
DEVICE float logit_at(const float* row, int c) { return row[c]; }

template <class L>
DEVICE void chunk(float* row_max, float* row_sum, float* target_logit, const L* logits, const int* targets, int n,
                  int ld, int first_column, int is_first) {
  __shared__ float peaks[32];
  const int row = blockIdx.x;
  logits = row_of(logits, row, ld);
  float peak = LOWEST, sum = 0.0f;
  for (int c = threadIdx.x * 8; c < n; c += blockDim.x * 8) {
    float v[8];
    load_logits(logits, c, n, v);
    float high = peak;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (c + i >= n) v[i] = -INFINITY_F;
      high = fmaxf(high, v[i]);
    }
    sum *= __expf(peak - high);
    peak = high;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += __expf(v[i] - peak);
  }
  const float warp_peak = warp_max(peak);
  if ((threadIdx.x & 31) == 0) peaks[threadIdx.x >> 5] = warp_peak;
  __syncthreads();
  const float top = warp_max((threadIdx.x & 31) < blockDim.x >> 5 ? peaks[threadIdx.x & 31] : LOWEST);
  const float total = block_sum(sum * __expf(peak - top));
  if (threadIdx.x != 0) return;
  const float before = is_first ? LOWEST : row_max[row];
  const float now = fmaxf(before, top);
  row_max[row] = now;
  row_sum[row] = (is_first ? 0.0f : row_sum[row] * __expf(before - now)) + total * __expf(top - now);
  const int local = targets[row] - first_column;
  if (local >= 0 && local < n) target_logit[row] = logit_at(logits, local);
}

KERNEL __launch_bounds__(512)
    cross_entropy_chunk(float* row_max, float* row_sum, float* target_logit, const void* logits, const int* targets,
                        int rows, int n, int ld, int first_column, int is_first, int kind) {
  if (kind)
    chunk(row_max, row_sum, target_logit, (const float*)logits, targets, n, ld, first_column, is_first);
  else
    chunk(row_max, row_sum, target_logit, (const bf16*)logits, targets, n, ld, first_column, is_first);
}

/** Whether a value precedes another: NaN first, then the larger, then the lower index. */
DEVICE bool comes_first(float value, int index, float other, int other_index) {
  const bool is_nan = (__float_as_uint(value) & 0x7fffffffu) > 0x7f800000u;
  const bool is_other_nan = (__float_as_uint(other) & 0x7fffffffu) > 0x7f800000u;
  if (is_nan || is_other_nan) return is_nan && (!is_other_nan || index < other_index);
  return value > other || (value == other && index < other_index);
}

/** fp32 rows need not be 16-byte aligned. */
DEVICE void load_row(const bf16* row, int c, int n, float (&v)[8]) { load_logits(row, c, n, v); }
DEVICE void load_row(const float* row, int c, int n, float (&v)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = row[min(c + i, n - 1)];
}

template <class L>
DEVICE void largest(float* largest_value, int* largest_index, const L* logits, int n, int ld) {
  __shared__ float values[32];
  __shared__ int indices[32];
  const int row = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  logits = row_of(logits, row, ld);
  float value = -INFINITY_F;
  int index = n;
  for (int c = threadIdx.x * 8; c < n; c += blockDim.x * 8) {
    float v[8];
    load_row(logits, c, n, v);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (c + i >= n || !comes_first(v[i], c + i, value, index)) continue;
      value = v[i];
      index = c + i;
    }
  }
  auto reduce = [&]() {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) {
      const float other = __shfl_xor_sync(0xffffffffu, value, mask);
      const int other_index = __shfl_xor_sync(0xffffffffu, index, mask);
      if (!comes_first(other, other_index, value, index)) continue;
      value = other;
      index = other_index;
    }
  };
  reduce();
  if (lane == 0) {
    values[warp] = value;
    indices[warp] = index;
  }
  __syncthreads();
  if (warp > 0) return;
  const bool is_warp = lane < (int)(blockDim.x >> 5);
  value = is_warp ? values[lane] : -INFINITY_F;
  index = is_warp ? indices[lane] : n;
  reduce();
  if (lane > 0) return;
  largest_value[row] = value;
  largest_index[row] = index;
}

/** The largest value of each row and its lowest index; the first NaN where there is one. */
KERNEL __launch_bounds__(1024)
    largest_logit(float* largest_value, int* largest_index, const void* logits, int n, int ld, int kind) {
  if (kind)
    largest(largest_value, largest_index, (const float*)logits, n, ld);
  else
    largest(largest_value, largest_index, (const bf16*)logits, n, ld);
}

template <class L>
DEVICE float sum_of_row(const L* logits, int n) {
  float sum = 0.0f;
  for (int c = threadIdx.x * 8; c < n; c += blockDim.x * 8) {
    float v[8];
    load_logits(logits, c, n, v);
    sum += ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
  }
  return block_sum(sum);
}

/**
 * Label smoothing, for logits that hold the whole vocabulary: target_logit = own · target_logit + each · Σ logits, by
 * row.
 */
KERNEL __launch_bounds__(512) cross_entropy_smooth(float* target_logit, const void* logits, int rows, int n, int ld,
                                                   float own, float each, int kind) {
  const int row = blockIdx.x;
  const float sum =
      kind ? sum_of_row(row_of((const float*)logits, row, ld), n) : sum_of_row(row_of((const bf16*)logits, row, ld), n);
  if (threadIdx.x == 0) target_logit[row] = own * target_logit[row] + each * sum;
}

/**
 * One block: row_loss = max + log(sum) - target logit; loss = scale · Σ weight · row_loss, added in a fixed order in
 * double. Default weight: 1. Launch: grid [1].
 */
KERNEL __launch_bounds__(1024)
    cross_entropy_finish(float* row_loss, float* loss, const float* row_max, const float* row_sum,
                         const float* target_logit, const float* NULLABLE weights, int rows, float scale) {
  __shared__ double sums[1024];
  double sum = 0.0;
  for (int row = threadIdx.x; row < rows; row += blockDim.x) {
    const double value = (double)row_max[row] - (double)target_logit[row] + log((double)row_sum[row]);
    row_loss[row] = (float)value;
    sum += weights ? (double)weights[row] * value : value;
  }
  sums[threadIdx.x] = sum;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *loss = (float)(sums[0] * (double)scale);
}

template <class L>
DEVICE void gradient(bf16* dlogits, const L* logits, const float* row_max, const float* row_sum, const int* targets,
                     const float* weights, int rows, int n, int ldd, int ld, int first_column, float whole_scale,
                     float own, float other) {
  const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (c >= n) return;
  for (int row = blockIdx.y; row < rows; row += gridDim.y) {
    float v[8];
    load_logits(row_of(logits, row, ld), c, n, v);
    const float scale = weights ? whole_scale * weights[row] : whole_scale;
    const float peak = row_max[row], factor = scale / row_sum[row];
    const int target = targets[row] - first_column - c;
    const float hit = scale * own, miss = scale * other;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = __expf(v[i] - peak) * factor - (i == target ? hit : miss);
    store8(row_of(dlogits, row, ldd), c, n, v);
  }
}

/**
 * dlogits = (softmax - wanted) · scale · weight of the row · (*loss_gradient), wanted: `own` for the target, `other`
 * for the others (1, 0).
 * Launch: grid2(rows, n).
 */
KERNEL __launch_bounds__(128)
    cross_entropy_gradient(bf16* dlogits, const void* logits, const float* row_max, const float* row_sum,
                           const int* targets, const float* NULLABLE weights, const float* NULLABLE loss_gradient,
                           int rows, int n, int ldd, int ld, int first_column, float scale, int kind, float own,
                           float other) {
  if (loss_gradient) scale *= *loss_gradient;
  if (kind)
    gradient(dlogits, (const float*)logits, row_max, row_sum, targets, weights, rows, n, ldd, ld, first_column, scale,
             own, other);
  else
    gradient(dlogits, (const bf16*)logits, row_max, row_sum, targets, weights, rows, n, ldd, ld, first_column, scale,
             own, other);
}
