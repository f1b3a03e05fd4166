// Decoding: products with a few rows of x, bound by reading the weight once, and the largest logit of a row.

/**
 * y [M, N] = x·Wᵀ for M <= 8·HALVES. A block has 8 rows of W (the columns of the matrix instruction); its warps split K.
 * Lane t takes columns 8t .. 8t+7 of a run for both operands: the order of the depths within a run does not matter.
 */
template <int HALVES>
DEVICE void small_product(void* y, const bf16* x, const bf16* w, int M, int N, int K, int ldy, int ldx, int ldw, int kind) {
  constexpr int RUNS = 4 / HALVES;  // of 32 columns that a warp has under way
  __shared__ float partial[32][HALVES * 8][8];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int warps = blockDim.x >> 5, firstN = blockIdx.x * 8;
  const int last = last8(K);
  // Rows past the end are read from the last one: their results are not written.
  const bf16* weight = row_of(w, min(firstN + g, N - 1), ldw);
  const bf16* from[HALVES];
#pragma unroll
  for (int h = 0; h < HALVES; h++) from[h] = row_of(x, min(g + 8 * h, M - 1), ldx);
  float sums[4] = {};
  for (int c0 = warp * RUNS * 32; c0 < K; c0 += warps * RUNS * 32) {
    uint4 b[RUNS], a[HALVES][RUNS];
#pragma unroll
    for (int i = 0; i < RUNS; i++) b[i] = load_once(weight + min(c0 + i * 32 + t * 8, last));
#pragma unroll
    for (int h = 0; h < HALVES; h++) {
#pragma unroll
      for (int i = 0; i < RUNS; i++) a[h][i] = *(const uint4*)(from[h] + min(c0 + i * 32 + t * 8, last));
    }
    if (c0 + RUNS * 32 > K) {
#pragma unroll
      for (int i = 0; i < RUNS; i++) {
        const int left = K - (c0 + i * 32 + t * 8);
        b[i] = first8(b[i], left);
#pragma unroll
        for (int h = 0; h < HALVES; h++) a[h][i] = first8(a[h][i], left);
      }
    }
#pragma unroll
    for (int i = 0; i < RUNS; i++) {
      const uint4 low = a[0][i], high = HALVES == 2 ? a[HALVES - 1][i] : zero16();
      multiply_add(sums, low.x, high.x, low.y, high.y, b[i].x, b[i].y);
      multiply_add(sums, low.z, high.z, low.w, high.w, b[i].z, b[i].w);
    }
  }
#pragma unroll
  for (int h = 0; h < HALVES; h++) {
    partial[warp][h * 8 + g][t * 2] = sums[h * 2];
    partial[warp][h * 8 + g][t * 2 + 1] = sums[h * 2 + 1];
  }
  __syncthreads();
  const int row = threadIdx.x / 8, n = threadIdx.x % 8;
  if (row >= M || firstN + n >= N) return;
  float sum = 0.0f;
  for (int i = 0; i < warps; i++) sum += partial[i][row][n];
  if (kind) row_of((float*)y, row, ldy)[firstN + n] = sum;
  else row_of((bf16*)y, row, ldy)[firstN + n] = to_bf16(sum);
}

KERNEL __launch_bounds__(1024) small_linear(void* y, const bf16* x, const bf16* w, int M, int N, int K, int ldy, int ldx, int ldw, int kind) {
  small_product<1>(y, x, w, M, N, K, ldy, ldx, ldw, kind);
}
KERNEL __launch_bounds__(1024) small_linear_16(void* y, const bf16* x, const bf16* w, int M, int N, int K, int ldy, int ldx, int ldw, int kind) {
  small_product<2>(y, x, w, M, N, K, ldy, ldx, ldw, kind);
}

/** index[row] = the lowest index of the largest logit. */
KERNEL __launch_bounds__(1024) argmax_rows(int* index, const void* logits, int rows, int V, int ld, int kind) {
  __shared__ float values[32];
  __shared__ int places[32];
  const int row = blockIdx.x, lane = threadIdx.x & 31;
  float best = -INFINITY_F;
  int place = 0x7fffffff;
  for (int c = threadIdx.x * 8; c < V; c += blockDim.x * 8) {
    float v[8];
    if (!kind) load8(row_of((const bf16*)logits, row, ld), c, V, v);
    for (int i = 0; i < 8 && c + i < V; i++) {
      const float x = kind ? row_of((const float*)logits, row, ld)[c + i] : v[i];
      if (x > best || place == 0x7fffffff) {
        best = x;
        place = c + i;
      }
    }
  }
  for (int pass = 0; pass < 2; pass++) {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) {
      const float otherBest = __shfl_xor_sync(0xffffffffu, best, mask);
      const int otherPlace = __shfl_xor_sync(0xffffffffu, place, mask);
      if (otherBest > best || (otherBest == best && otherPlace < place)) {
        best = otherBest;
        place = otherPlace;
      }
    }
    if (pass == 1) break;
    if (lane == 0) {
      values[threadIdx.x >> 5] = best;
      places[threadIdx.x >> 5] = place;
    }
    __syncthreads();
    if (threadIdx.x >= 32) return;
    const bool used = lane < (int)(blockDim.x >> 5);
    best = used ? values[lane] : -INFINITY_F;
    place = used ? places[lane] : 0x7fffffff;
  }
  if (threadIdx.x == 0) index[row] = place;
}
